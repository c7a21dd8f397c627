//! [`Buffered`]: how much waits in a buffer.

use std::ops::SubAssign;

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
    /// Adds a message that counts `cost` bytes.
    pub fn add(&mut self, cost: usize) {
        self.messages += 1;
        self.bytes += cost;
    }

    /// Removes a message that counts `cost` bytes. If that is 0, there is none.
    pub fn remove(&mut self, cost: usize) {
        self.messages -= usize::from(cost > 0);
        self.bytes -= cost;
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

impl SubAssign for Buffered {
    fn sub_assign(&mut self, other: Self) {
        self.messages -= other.messages;
        self.bytes -= other.bytes;
    }
}
