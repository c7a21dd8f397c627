//! The server: joins transport, sessions and users, and runs them on workers.

pub mod budget;
pub mod counters;
pub mod directory;
pub mod keys;
pub mod limits;
pub mod mail;
pub mod mailbox;
pub mod roster;
pub mod shared;
pub mod worker;
