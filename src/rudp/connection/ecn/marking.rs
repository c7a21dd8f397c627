//! [`Marking`]: which packets are marked.

use crate::base::{Ecn, PacketNumber};
use crate::rudp::connection::error::ProtocolViolation;

/// Whether a path carries marked packets, in the terms of RFC 9000 A.4.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EcnState {
    /// None of the packets that test the path was acked yet, and too few were lost.
    Testing,
    /// A packet that tests the path was acked, and its mark was read.
    Capable,
    /// The first ones were all lost or arrived without marks, or the peer does not read marks: nothing is
    /// marked any more.
    Failed,
}

/// Decides whether the next packet is marked ECT(0), and tracks what the peer reports of marked ones.
#[derive(Debug)]
pub struct Marking {
    state: EcnState,
    /// Older packets say nothing about the path as it is now.
    since: PacketNumber,
    /// Marked packets lost since then.
    lost: u32,
    /// The peer has reported a count on this path.
    is_read: bool,
    /// Packets sent with a mark.
    sent: u64,
    /// Largest count that the peer has reported.
    told: u64,
}

/// Marked packets lost, while none is acked, after which a path counts as one that drops them.
const LOST_UNTIL_FAILED: u32 = 3;
/// Unanswered probes after which the path may be another one.
const PROBES_UNTIL_DOUBT: u32 = 3;

impl Marking {
    /// Starts without knowledge of the path.
    pub fn new() -> Self {
        Self { state: EcnState::Testing, since: PacketNumber(0), lost: 0, is_read: false, sent: 0, told: 0 }
    }

    /// Returns what is known of the path.
    pub fn state(&self) -> EcnState {
        self.state
    }

    /// Returns the mark of packet `number`, which leaves now, after `probes` unanswered probes.
    ///
    /// Only packets that ask for an ack are marked, and during a test none while a probe is unanswered, so
    /// that acks and probes get through whatever the path does to marks. An end that only acks would not
    /// notice that its marked packets are dropped.
    // spec: ECN-1, ECN-2
    pub fn mark_next(&mut self, number: PacketNumber, eliciting: bool, probes: u32) -> Ecn {
        if self.state == EcnState::Capable && probes >= PROBES_UNTIL_DOUBT {
            self.test_again(number);
        }
        let is_marked = match self.state {
            EcnState::Testing => eliciting && probes == 0,
            EcnState::Capable => eliciting,
            EcnState::Failed => false,
        };
        self.sent += u64::from(is_marked);
        if is_marked { Ecn::Ect0 } else { Ecn::NotEct }
    }

    /// Notes that the peer's packet holds a count.
    pub fn on_read(&mut self) {
        self.is_read = true;
    }

    /// Notes that packet `number`, which was sent with a mark, was acked. A peer that reads the mark reports
    /// a count in the same packet.
    // spec: ECN-2
    pub fn on_acked(&mut self, number: PacketNumber) {
        if number >= self.since {
            self.state = if self.is_read { EcnState::Capable } else { EcnState::Failed };
        }
    }

    /// Notes that packet `number`, which was sent with a mark, was lost.
    // spec: ECN-2
    pub fn on_lost(&mut self, number: PacketNumber) {
        if self.state == EcnState::Testing && number >= self.since {
            self.lost += 1;
            if self.lost >= LOST_UNTIL_FAILED {
                self.state = EcnState::Failed;
            }
        }
    }

    /// Tests the path again: from packet `next` on, packets take another one.
    pub fn on_new_path(&mut self, next: PacketNumber) {
        self.is_read = false;
        self.test_again(next);
    }

    fn test_again(&mut self, next: PacketNumber) {
        (self.state, self.since, self.lost) = (EcnState::Testing, next, 0);
    }

    /// Takes the peer's count of packets that met congestion, of the `all` that have numbers. Returns whether
    /// the count has grown and is at most the number of packets that this end marked.
    ///
    /// # Errors
    /// [`ProtocolViolation::CeOfUnsent`].
    // spec: ECN-5
    pub fn on_told(&mut self, count: u64, all: u64) -> Result<bool, ProtocolViolation> {
        if count > all {
            return Err(ProtocolViolation::CeOfUnsent { count });
        }
        // A larger count means that the path marks packets that it must not.
        let is_news = count > self.told && count <= self.sent;
        self.told = self.told.max(count);
        Ok(is_news)
    }

    /// Returns the largest count that the peer has reported.
    pub fn told(&self) -> u64 {
        self.told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn number(number: u64) -> PacketNumber {
        PacketNumber(number)
    }

    // spec-test: ECN-5
    #[test]
    fn a_count_that_was_too_large_is_the_least_for_later_ones() {
        let mut marking = Marking::new();
        (0..4).for_each(|it| _ = marking.mark_next(number(it), true, 0));
        assert_eq!(marking.on_told(7, 10), Ok(false), "more than were marked");
        (4..8).for_each(|it| _ = marking.mark_next(number(it), true, 0));
        assert_eq!(marking.on_told(6, 20), Ok(false), "7 was told before");
        assert_eq!(marking.on_told(8, 20), Ok(true));
    }

    // spec-test: ECN-1, ECN-2
    #[test]
    fn acks_are_not_marked_nor_probes_on_a_path_not_known() {
        let mut marking = Marking::new();
        assert_eq!(marking.mark_next(number(0), true, 0), Ecn::Ect0);
        assert_eq!(marking.mark_next(number(1), false, 0), Ecn::NotEct);
        assert_eq!(marking.mark_next(number(2), true, 1), Ecn::NotEct);
        marking.on_read();
        marking.on_acked(number(0));
        assert_eq!(marking.state(), EcnState::Capable);
        assert_eq!(marking.mark_next(number(3), true, 2), Ecn::Ect0);
        assert_eq!(
            marking.mark_next(number(4), false, 0),
            Ecn::NotEct,
            "nobody would notice that it is lost"
        );
    }

    // spec-test: ECN-2
    #[test]
    fn a_path_that_clears_marks_is_given_up() {
        let mut marking = Marking::new();
        marking.on_acked(number(0));
        assert_eq!(marking.mark_next(number(1), true, 0), Ecn::NotEct);
    }

    // spec-test: ECN-2
    #[test]
    fn a_path_is_given_up_at_the_third_loss_unless_a_marked_packet_arrives() {
        let mut marking = Marking::new();
        marking.on_read();
        (0..2).for_each(|lost| marking.on_lost(number(lost)));
        assert_eq!(marking.state(), EcnState::Testing);
        marking.on_lost(number(2));
        assert_eq!(marking.mark_next(number(3), true, 0), Ecn::NotEct);
        marking.on_acked(number(2));
        assert_eq!(marking.state(), EcnState::Capable, "that loss was none");
        (4..9).for_each(|lost| marking.on_lost(number(lost)));
        assert_eq!(marking.state(), EcnState::Capable, "losses are congestion from now on");
    }

    // spec-test: ECN-2
    #[test]
    fn what_left_before_tells_nothing_of_a_new_path() {
        let mut marking = Marking::new();
        marking.on_read();
        marking.on_new_path(number(10));
        (0..10).for_each(|lost| marking.on_lost(number(lost)));
        marking.on_acked(number(9));
        assert_eq!(marking.state(), EcnState::Testing);
        marking.on_read();
        marking.on_acked(number(10));
        assert_eq!(marking.state(), EcnState::Capable);
        assert_eq!(marking.mark_next(number(11), true, 3), Ecn::NotEct, "three probes went unanswered");
        marking.on_acked(number(10));
        assert_eq!(marking.state(), EcnState::Testing);
        marking.on_acked(number(11));
        assert_eq!(marking.state(), EcnState::Capable, "it is the same peer");
    }

    // spec-test: ECN-5
    #[test]
    fn a_count_that_does_not_grow_or_cannot_be_is_none() {
        let mut marking = Marking::new();
        (0..4).for_each(|sent| _ = marking.mark_next(number(sent), true, 0));
        assert_eq!(marking.on_told(2, 9), Ok(true));
        assert_eq!(marking.on_told(2, 9), Ok(false));
        assert_eq!(marking.on_told(1, 9), Ok(false));
        assert_eq!(marking.on_told(5, 9), Ok(false), "four were marked");
        assert_eq!(marking.on_told(10, 9), Err(ProtocolViolation::CeOfUnsent { count: 10 }));
    }
}
