//! `client`: a client for a terminal or a pipe.

pub mod line;
