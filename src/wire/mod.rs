//! Packets, frames, commands and events as values, and their bytes.

mod delivery;
pub mod frame;
mod parameters;

pub use delivery::Delivery;
pub use parameters::TransportParameters;
