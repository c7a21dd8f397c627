//! Packets, frames, commands and events as values, and their bytes.

mod delivery;

pub use delivery::Delivery;
