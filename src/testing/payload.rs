//! Payloads that identify their sender and message, so that no message can be mistaken for another.

use bytes::{BufMut, Bytes, BytesMut};

use super::checker::{Life, Tag};

/// Returns the payload of the message `tag`, at least [`MIN_BYTES`] long.
pub(super) fn write(tag: Tag, bytes: usize) -> Bytes {
    let mut payload = BytesMut::with_capacity(bytes.max(MIN_BYTES));
    payload.put_u32(tag.life.0);
    payload.put_u32(tag.serial);
    payload.resize(bytes.max(MIN_BYTES), filler(tag));
    payload.freeze()
}

/// Whether the payload is an intruder's.
pub(super) fn is_strange(payload: &[u8]) -> bool {
    payload.ends_with(STRANGE)
}

/// Returns the message that `payload` belongs to; `None` if any byte of it is wrong or it is an intruder's.
pub(super) fn read(payload: &[u8]) -> Option<Tag> {
    if is_strange(payload) {
        return None;
    }
    let (life, rest) = payload.split_first_chunk()?;
    let (serial, rest) = rest.split_first_chunk()?;
    let tag = Tag { life: Life(u32::from_be_bytes(*life)), serial: u32::from_be_bytes(*serial) };
    rest.iter().all(|byte| *byte == filler(tag)).then_some(tag)
}

/// Ends the payloads that are not checked, which are those of an [intruder](super::intruder::Intruder).
const STRANGE: &[u8] = b"strange";

/// Returns the payload of an intruder's message: `bytes` zeros, and a few more that may be taken for a key or
/// a recipient.
pub(super) fn strange(bytes: usize) -> Bytes {
    let mut payload = BytesMut::zeroed(bytes + 8);
    payload.put_slice(STRANGE);
    payload.freeze()
}

/// Length of the shortest payload.
pub(super) const MIN_BYTES: usize = 8;

fn filler(tag: Tag) -> u8 {
    let [.., low] = tag.serial.to_be_bytes();
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_tells_its_tag_and_shows_damage() {
        let tag = Tag { life: Life(3), serial: 700 };
        let payload = write(tag, 40);
        assert_eq!((payload.len(), read(&payload)), (40, Some(tag)));
        let mut damaged = payload.to_vec();
        damaged[39] ^= 1;
        assert_eq!(read(&damaged), None);
        assert_eq!(read(&payload[..7]), None);
        assert!(is_strange(&strange(0)) && !is_strange(&payload));
        assert_eq!(read(&strange(0)), None, "though it would be one");
    }
}
