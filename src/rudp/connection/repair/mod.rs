//! Repair of lost packets without a round trip, by REPAIR frames.
//!
//! A thin stream learns of a loss a round trip later, and an ordered one holds everything behind it
//! up for as long. While packets are being lost, a packet that leaves anyway therefore carries the XOR of
//! what two or three earlier ones held: it repairs a single loss and most double ones for the bytes of one copy.
//! A packet that nothing follows is repaired by a packet of its own after a short while. Without
//! losses there is nothing of all this. Spec: REP-1 to REP-5; FRM-8 to FRM-10.
//!
//! What is repaired is not acked: its sender sends it again as after any loss, so that nothing depends on
//! whether a receiver repairs.

mod decoder;
mod encoder;
pub mod symbol;

pub use decoder::RepairDecoder;
pub use encoder::RepairEncoder;
