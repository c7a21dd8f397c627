//! `serve`: the server, until it is told to stop.

pub mod config;
