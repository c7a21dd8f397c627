//! Heads: the parts of events before the payload, encoded once for all receivers.

use super::session::{MESSAGE, SENT};
use crate::base::{EventNumber, MemberId, Wire, Writer};
use crate::wire::Delivery;

/// Writes the head of the numbered `message` event; the payload follows it to the end. Spec: EVT-8.
///
/// ```text
/// 0x64 | event number varint | sender varint
/// ```
pub fn write_message_head(number: EventNumber, sender: MemberId, writer: &mut Writer) {
    writer.u8(MESSAGE);
    number.write(writer);
    sender.write(writer);
}

/// Writes the head of the unnumbered `sent` event; the payload follows it to the end. Spec: EVT-10.
///
/// ```text
/// 0x70 + delivery mode | sender varint | [key u16]
/// ```
pub fn write_sent_head(delivery: Delivery, sender: MemberId, writer: &mut Writer) {
    writer.u8(SENT + delivery.mode());
    sender.write(writer);
    delivery.write_key(writer);
}
