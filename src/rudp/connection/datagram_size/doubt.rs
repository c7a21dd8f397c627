//! [`Doubt`]: whether large packets are lost because of their size.

use crate::base::Timestamp;

/// Losses of large packets in a row. Chance or a full queue loses some, but then one of that size arrives.
#[derive(Debug, Default)]
pub struct Doubt {
    /// The smallest of them; everything that has arrived since the first was smaller still.
    bytes: usize,
    losses: u32,
    /// Packets sent before this time belong to the last loss.
    since: Option<Timestamp>,
}

/// Consecutive losses that show a black hole. RFC 8899 §4.3.
const MAX_LOSSES: u32 = 3;

impl Doubt {
    /// Notes that a packet of `bytes` bytes arrived.
    pub fn on_acked(&mut self, bytes: usize) {
        if bytes >= self.bytes {
            *self = Self { since: self.since, ..Self::default() };
        }
    }

    /// Notes losses of large packets found at the same time; the largest had `bytes` bytes and was sent at
    /// `sent_at`. Returns whether this must be a black hole.
    pub fn on_lost(&mut self, now: Timestamp, bytes: usize, sent_at: Timestamp) -> bool {
        if self.since.is_some_and(|since| sent_at < since) {
            return false;
        }
        self.since = Some(now);
        self.bytes = if self.losses == 0 { bytes } else { self.bytes.min(bytes) };
        self.losses += 1;
        self.losses == MAX_LOSSES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Loses each packet at the time at which the next one is sent. Returns whether one of them was one too
    /// many.
    fn lose(doubt: &mut Doubt, millis: impl IntoIterator<Item = u64>, bytes: usize) -> bool {
        millis
            .into_iter()
            .any(|at| doubt.on_lost(Timestamp::from_millis(at + 1), bytes, Timestamp::from_millis(at)))
    }

    #[test]
    fn three_losses_without_an_arrival_are_a_black_hole() {
        let mut doubt = Doubt::default();
        assert!(!lose(&mut doubt, 0..2, 1_452));
        doubt.on_acked(1_452);
        assert!(!lose(&mut doubt, 2..4, 1_452));
        assert!(lose(&mut doubt, 4..5, 1_452));
    }

    #[test]
    fn what_was_under_way_at_a_loss_is_one_with_it() {
        let mut doubt = Doubt::default();
        assert!(!lose(&mut doubt, [50], 1_452));
        assert!(!lose(&mut doubt, 0..50, 1_452));
    }

    #[test]
    fn smaller_packets_that_arrive_excuse_nothing() {
        let mut doubt = Doubt::default();
        for at in 0..3 {
            doubt.on_acked(1_300);
            assert_eq!(lose(&mut doubt, [at], 1_452), at == 2);
        }
    }

    /// Each of another size, as the last datagrams of several messages are.
    // spec-test: MTU-4
    #[test]
    fn losses_of_different_sizes_are_a_black_hole_unless_one_as_large_as_the_smallest_arrives() {
        for (sizes, smallest) in [([9_000, 1_452, 1_300], 1_452), ([1_300, 9_000, 1_452], 1_300)] {
            for (arrives, expected) in [(smallest - 1, true), (smallest, false)] {
                let ([first, second, third], mut doubt) = (sizes, Doubt::default());
                assert!(!lose(&mut doubt, [0], first));
                assert!(!lose(&mut doubt, [1], second));
                doubt.on_acked(arrives);
                assert_eq!(lose(&mut doubt, [2], third), expected, "{sizes:?}, {arrives} arrive");
            }
        }
    }
}
