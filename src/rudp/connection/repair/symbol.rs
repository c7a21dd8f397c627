//! Symbols: what REPAIR frames are made of. RFC 6363 calls this a source symbol.

use bytes::{Bytes, BytesMut};

use crate::base::{DecodeError, Reader, Writer};
use crate::rudp::Payload;
use crate::rudp::connection::error::ProtocolViolation;
use crate::wire::frame::{Frame, Frames, MessageHead, SYMBOL_BYTES, read_frames};

/// Bytes of a symbol before its content: the content's length.
const LENGTH_BYTES: usize = 2;

/// The symbol of a packet with these messages; `None` when none is repairable, or they are too long.
// spec: FRM-9
pub fn of(messages: impl Iterator<Item = (MessageHead, Payload)>) -> Option<Bytes> {
    let mut writer = Writer::new();
    writer.u16(0);
    let mut messages = messages.filter(|(head, _)| is_repairable(head)).peekable();
    while let Some((head, payload)) = messages.next() {
        if writer.len() + payload.len() > *SYMBOL_BYTES.end() {
            return None;
        }
        head.write(&mut writer, payload.len(), messages.peek().is_none());
        payload.write_range(0, payload.len(), &mut writer);
    }
    let mut symbol = writer.into_inner();
    if !SYMBOL_BYTES.contains(&symbol.len()) {
        return None;
    }
    let length = u16::try_from(symbol.len() - LENGTH_BYTES).ok()?;
    symbol.get_mut(..LENGTH_BYTES)?.copy_from_slice(&length.to_be_bytes());
    Some(symbol.freeze())
}

/// The messages of a symbol that was put together from others.
///
/// # Errors
/// [`ProtocolViolation`] when it is none: its sender has XORed something else.
// spec: FRM-10
pub fn messages(symbol: Bytes) -> Result<Frames, ProtocolViolation> {
    let mut reader = Reader::new(symbol);
    let length = usize::from(reader.u16("content length")?);
    let content = reader.bytes("content", length)?;
    if reader.rest().iter().any(|byte| *byte != 0) {
        return Err(DecodeError::NotCanonical { what: "end of a symbol" }.into());
    }
    let frames = read_frames(content)?;
    let repairable = |frame: &Frame| matches!(frame, Frame::Message(message) if is_repairable(&message.head));
    if frames.iter().all(repairable) { Ok(frames) } else { Err(ProtocolViolation::NotRepairable) }
}

/// True for the messages that symbols carry: those of reliable modes.
fn is_repairable(head: &MessageHead) -> bool {
    matches!(head, MessageHead::Numbered { delivery, .. } if delivery.is_reliable())
}

/// XORs `other` into `sum`, which grows to the longer of both.
pub(super) fn add(sum: &mut BytesMut, other: &[u8]) {
    if sum.len() < other.len() {
        sum.resize(other.len(), 0);
    }
    sum.iter_mut().zip(other).for_each(|(byte, other)| *byte ^= other);
}
