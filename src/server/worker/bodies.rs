//! [`Bodies`]: reused memory for the payloads that members send.

use std::collections::VecDeque;

use bytes::BytesMut;

use crate::wire::{Body, MAX_RECEIVED_DATAGRAM_BYTES};

/// Copies payloads out of the datagrams that they arrived in. A datagram may be a hundred times as large as
/// the payload, and would be kept for as long as the payload waits for its receivers, which are charged for
/// its own bytes only.
///
/// A copy reuses the memory of an earlier one whose receivers have all acked it. So a worker whose members
/// send at a steady rate allocates nothing for their payloads.
#[derive(Default)]
pub(super) struct Bodies {
    /// By size class, each twice as large as the one before. The least recently used block comes first.
    blocks: [VecDeque<BytesMut>; CLASSES],
}

/// Bytes of the smallest block.
const SMALLEST: usize = 64;
/// 64 B to 16 KiB: everything that arrives in one datagram.
const CLASSES: usize = 9;
/// Maximum number of bytes kept of each size; beyond it the oldest block is forgotten, and freed by its last
/// receiver.
const KEPT_BYTES: usize = 512 << 10;

impl Bodies {
    /// Returns the same payload in its own memory. A payload longer than a datagram arrived in fragments, and
    /// its message is not much longer, so it is not copied.
    pub(super) fn copy(&mut self, body: Body) -> Body {
        let size = body.len().next_power_of_two().max(SMALLEST);
        let class = (size / SMALLEST).ilog2() as usize;
        let Some(blocks) = self.blocks.get_mut(class).filter(|_| body.len() < LONGEST) else { return body };
        let mut block = blocks.pop_front().unwrap_or_else(|| BytesMut::with_capacity(size));
        if !block.try_reclaim(size) {
            blocks.push_back(block);
            block = BytesMut::with_capacity(size);
        }
        let copy = body.copied_to(&mut block);
        blocks.push_back(block);
        if blocks.len() > KEPT_BYTES / size {
            blocks.pop_front();
        }
        copy
    }

    /// Returns the number of blocks that are kept.
    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.blocks.iter().map(VecDeque::len).sum()
    }
}

/// Payloads of at least this length did not arrive in one datagram.
const LONGEST: usize = MAX_RECEIVED_DATAGRAM_BYTES as usize;

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    use crate::wire::Delivery;

    fn body(bytes: usize) -> Body {
        Body::new(Delivery::ReliableOrdered, Bytes::from(vec![7; bytes])).unwrap()
    }

    #[test]
    fn a_copy_is_the_same_bytes_elsewhere() {
        let mut bodies = Bodies::default();
        for bytes in [0, 1, 64, 65, 1_024, LONGEST - 1] {
            let datagram = Bytes::from(vec![7; LONGEST]);
            let original = Body::new(Delivery::ReliableOrdered, datagram.slice(..bytes)).unwrap();
            assert_eq!(bodies.copy(original), body(bytes));
            assert!(datagram.is_unique(), "a slice of the datagram is left");
        }
        let long = body(LONGEST);
        assert_eq!(bodies.copy(long.clone()).bytes().as_ptr(), long.bytes().as_ptr());
    }

    #[test]
    fn memory_is_used_again_once_nobody_reads_it() {
        let mut bodies = Bodies::default();
        let first = bodies.copy(body(40));
        let place = first.bytes().as_ptr();
        let second = bodies.copy(body(50));
        assert_ne!(second.bytes().as_ptr(), place);
        drop(first);
        // The ring reaches its block again.
        let places = [0, 1].map(|_| bodies.copy(body(60)).bytes().as_ptr());
        assert!(places.contains(&place));
        assert_eq!(second, body(50));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut bodies = Bodies::default();
        let kept: Vec<_> = (0..KEPT_BYTES / 1_024 * 3).map(|_| bodies.copy(body(1_000))).collect();
        assert_eq!(bodies.kept(), KEPT_BYTES / 1_024);
        assert!(kept.iter().all(|copy| *copy == body(1_000)));
    }
}
