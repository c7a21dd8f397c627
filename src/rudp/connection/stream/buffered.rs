//! [`Buffered`]: how much waits in a buffer.

use std::ops::{AddAssign, SubAssign};

use crate::wire::frame::MESSAGE_OVERHEAD_BYTES;

/// Messages in a buffer, and the bytes that they count there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Buffered {
    pub messages: usize,
    /// Payloads, and [`MESSAGE_OVERHEAD_BYTES`] for each message.
    pub bytes: usize,
}

/// Fewest bytes that a MESSAGE frame has in front of its payload: type, stream, number and length.
const HEAD_BYTES: usize = 4;

impl Buffered {
    /// Returns one message with a payload of `payload_bytes`.
    pub fn message(payload_bytes: usize) -> Self {
        Self { messages: 1, bytes: payload_bytes + MESSAGE_OVERHEAD_BYTES }
    }

    /// Returns about how many bytes the messages take in packets, when no more than `most` bytes of them may be
    /// under way.
    pub fn frame_bytes(&self, most: usize) -> usize {
        let all = self.bytes - self.messages * (MESSAGE_OVERHEAD_BYTES - HEAD_BYTES);
        if self.bytes <= most {
            return all;
        }
        let part = all as u64 * most as u64 / self.bytes as u64;
        usize::try_from(part).expect("invariant: a part of `all`")
    }
}

impl AddAssign for Buffered {
    fn add_assign(&mut self, other: Self) {
        self.messages += other.messages;
        self.bytes += other.bytes;
    }
}

impl SubAssign for Buffered {
    fn sub_assign(&mut self, other: Self) {
        self.messages -= other.messages;
        self.bytes -= other.bytes;
    }
}
