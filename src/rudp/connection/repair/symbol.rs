//! Symbols, of which REPAIR frames are made. RFC 6363 calls them source symbols.

use bytes::{Bytes, BytesMut};

use crate::base::{DecodeError, Reader, Writer};
use crate::rudp::connection::error::ProtocolViolation;
use crate::wire::frame::{Frame, Frames, LengthField, MessageHead, SYMBOL_BYTES, read_frames};

/// Size of the content's length, which precedes the content.
const LENGTH_BYTES: usize = 2;

/// Replaces the content of `symbol` with the symbol of a packet with these messages, each with its payload in
/// two pieces. Returns false, and leaves nothing useful there, when no message is repairable or they are too
/// long.
// spec: FRM-9
pub fn write<'a>(
    messages: impl Iterator<Item = (MessageHead, [&'a [u8]; 2])>,
    symbol: &mut BytesMut,
) -> bool {
    symbol.clear();
    let mut writer = Writer::from(std::mem::take(symbol));
    writer.u16(0);
    let mut fits = true;
    let mut messages = messages.filter(|(head, _)| is_repairable(head)).peekable();
    while fits && let Some((head, pieces)) = messages.next() {
        let length = pieces.iter().map(|piece| piece.len()).sum();
        fits = writer.len() + length <= *SYMBOL_BYTES.end();
        if fits {
            let is_last = messages.peek().is_none();
            let length_field = if is_last { LengthField::Elided } else { LengthField::Present };
            head.write(&mut writer, length, length_field);
            pieces.iter().for_each(|piece| writer.slice(piece));
        }
    }
    *symbol = writer.into_inner();
    let length = u16::try_from(symbol.len() - LENGTH_BYTES);
    if let (Some(first), Ok(length)) = (symbol.first_chunk_mut(), length) {
        *first = length.to_be_bytes();
    }
    fits && SYMBOL_BYTES.contains(&symbol.len())
}

/// Returns the symbol of a packet with these messages, if it has one.
#[cfg(test)]
pub fn of(messages: impl Iterator<Item = (MessageHead, crate::rudp::Payload)>) -> Option<Bytes> {
    let messages: Vec<_> = messages.collect();
    let mut symbol = BytesMut::new();
    let is_one = write(messages.iter().map(|(head, payload)| (*head, payload.pieces())), &mut symbol);
    is_one.then(|| symbol.freeze())
}

/// Returns the messages of a symbol that was recovered from others.
///
/// # Errors
/// [`ProtocolViolation`] when it is not a symbol: its sender has XORed something else.
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

/// Returns whether symbols carry such a message: those of reliable modes only.
pub(super) fn is_repairable(head: &MessageHead) -> bool {
    matches!(head, MessageHead::Numbered { delivery, .. } if delivery.is_reliable())
}

/// XORs `other` into `sum`, which grows to the longer of both.
pub(super) fn add(sum: &mut BytesMut, other: &[u8]) {
    if sum.len() < other.len() {
        sum.resize(other.len(), 0);
    }
    sum.iter_mut().zip(other).for_each(|(byte, other)| *byte ^= other);
}
