//! Heads: what stands before the payload in an event, encoded once for all who receive it.

use bytes::Bytes;

use super::session::{MESSAGE, SENT};
use crate::base::{EventNumber, MemberId, Wire, Writer};
use crate::wire::Delivery;

/// Head of the numbered `message` event; the payload follows it to the end. Spec: EVT-8.
///
/// ```text
/// 0x64 | event number varint | sender varint
/// ```
pub fn message_head(number: EventNumber, sender: MemberId) -> Bytes {
    let mut writer = Writer::with_capacity(16);
    writer.u8(MESSAGE);
    number.write(&mut writer);
    sender.write(&mut writer);
    writer.finish()
}

/// Head of the unnumbered `sent` event; the payload follows it to the end. Spec: EVT-10.
///
/// ```text
/// 0x70 + delivery mode | sender varint | [key u16]
/// ```
pub fn sent_head(delivery: Delivery, sender: MemberId) -> Bytes {
    let mut writer = Writer::with_capacity(16);
    writer.u8(SENT + delivery.mode());
    sender.write(&mut writer);
    delivery.write_key(&mut writer);
    writer.finish()
}
