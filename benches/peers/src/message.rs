//! A client's message: its body, and the stamp inside.

use crate::error::{Error, Result};

/// The stamp at the beginning of every message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// The purpose of the message.
    pub kind: Kind,
    /// The client that sends.
    pub sender: u32,
    /// Time of sending, by [`crate::sys::nanos`].
    pub sent_nanos: u64,
}

/// The purpose of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Puts the sender into this group; returned only to the sender.
    Join(u32),
    /// Goes to the group, not counted: sent during the warm-up.
    Early,
    /// Goes to the group, counted.
    Counted,
}

/// Size in bytes of a stamp, and of the shortest message.
pub const STAMP_BYTES: usize = 24;
/// Size in bytes of the longest message.
pub const MAX_BYTES: usize = 1_024;

const JOIN: u32 = 0;
const EARLY: u32 = 1;
const COUNTED: u32 = 2;

impl Stamp {
    /// Writes the stamp to the beginning of `body`, which is at least [`STAMP_BYTES`] long.
    pub fn write(&self, body: &mut [u8]) {
        let (kind, group) = match self.kind {
            Kind::Join(group) => (JOIN, group),
            Kind::Early => (EARLY, 0),
            Kind::Counted => (COUNTED, 0),
        };
        body[0..4].copy_from_slice(&kind.to_le_bytes());
        body[4..8].copy_from_slice(&group.to_le_bytes());
        body[8..12].copy_from_slice(&self.sender.to_le_bytes());
        body[12..16].fill(0);
        body[16..24].copy_from_slice(&self.sent_nanos.to_le_bytes());
    }

    /// Reads the stamp of a message.
    ///
    /// # Errors
    /// [`Error::Bound`] for a message that no client sends.
    pub fn read(body: &[u8]) -> Result<Self> {
        let stamp = body.get(..STAMP_BYTES).filter(|_| body.len() <= MAX_BYTES);
        let stamp = stamp.ok_or_else(|| Error::bound("a message has a wrong length"))?;
        let word = |at: usize| u32::from_le_bytes([stamp[at], stamp[at + 1], stamp[at + 2], stamp[at + 3]]);
        let kind = match word(0) {
            JOIN => Kind::Join(word(4)),
            EARLY => Kind::Early,
            COUNTED => Kind::Counted,
            other => return Err(Error::bound(format_args!("a message of unknown kind {other}"))),
        };
        let sent_nanos = u64::from(word(16)) | u64::from(word(20)) << 32;
        Ok(Self { kind, sender: word(8), sent_nanos })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_read_as_it_was_written() {
        for kind in [Kind::Join(7), Kind::Early, Kind::Counted] {
            let stamp = Stamp { kind, sender: 3, sent_nanos: 0x1234_5678_9abc_def0 };
            let mut body = [9; 64];
            stamp.write(&mut body);
            assert!(Stamp::read(&body).is_ok_and(|read| read == stamp));
        }
        assert!(Stamp::read(&[1; 64]).is_err() && Stamp::read(&[0; 23]).is_err());
    }
}
