//! Code shared by several fuzz targets.

pub mod checksum;
pub mod forger;
pub mod input;
pub mod pair;
pub mod promises;

pub use checksum::{CHECKSUM, GAME, set_checksum};
pub use forger::Forger;
pub use input::Input;
pub use pair::{CLIENT, Pair, SERVER};
