//! The server: joins transport, sessions and users, and runs them on workers.

pub mod budget;
pub mod directory;
pub mod mailbox;
