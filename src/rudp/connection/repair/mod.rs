//! Repair of lost packets without a round trip, by REPAIR frames.
//!
//! A thin stream detects a loss a round trip later, and an ordered stream delays everything behind it for
//! as long. While packets are being lost, a packet that leaves anyway therefore carries the XOR of what two
//! or three earlier ones held. It repairs a single loss and most double ones for the bytes of one copy. A
//! packet that nothing follows is repaired by a packet of its own after a short while. Without losses no
//! REPAIRs are sent. Spec: REP-1 to REP-5; FRM-8 to FRM-10.
//!
//! A repaired packet is not acked but named as repaired: its sender does not send its messages again, and
//! otherwise treats it as lost.

mod contents;
mod decoder;
mod encoder;
pub mod symbol;

pub use decoder::RepairDecoder;
pub use encoder::RepairEncoder;
