//! [`Marks`]: explicit congestion notification, both sides of it. RFC 3168, RFC 9000 section 13.4.
//!
//! As a sender: whether the next packet is marked ECT(0), which depends on whether the path carries what is
//! marked, and how many of this end's packets met congestion, as the peer tells. As a receiver: how many
//! packets came marked CE, and whether the peer knows.
//!
//! The first count is sent even if it is 0: it tells the sender that ECN works on this path. A queue that marks does
//! not drop, so that a sender whose marks nobody reads would never hear of congestion. A path that drops what is marked
//! is found out as well. Spec: ECN-1 to ECN-6.

use super::error::ProtocolViolation;
use crate::base::{Ecn, PacketNumber};

/// Whether a path carries marked packets, in the words of RFC 9000 A.4.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EcnState {
    /// Of the packets that test it none was acked yet, and not enough were lost.
    Testing,
    /// One was, and its mark was read.
    Capable,
    /// The first ones were all lost, or came without marks, or nobody reads these: nothing is marked any more.
    Failed,
}

/// The marks of a connection.
#[derive(Debug)]
pub struct Marks {
    state: EcnState,
    /// Older packets tell nothing of the path as it is now.
    since: PacketNumber,
    /// Marked packets lost since then.
    lost: u32,
    /// The peer has told a count on this path.
    is_read: bool,
    /// Packets that left marked.
    sent: u64,
    /// Largest count that the peer has told.
    told: u64,
    /// Packets that came marked CE.
    received: u64,
    /// A marked packet came since the peer may have moved.
    are_coming: bool,
    /// How many of them the peer knows of; `None` when it may not even know that they are counted.
    confirmed: Option<u64>,
    /// How often the peer has asked whether this end is where it seems to be.
    asked: u32,
}

/// What the peer was told: how many packets came marked CE. It counts for the path of that time alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CeReport {
    /// The count.
    pub count: u64,
    asked: u32,
}

/// Marked packets that are lost, and none acked, before a path counts as one that drops them.
const LOST_UNTIL_FAILED: u32 = 3;
/// Probes without an answer after which it may be another path.
const PROBES_UNTIL_DOUBT: u32 = 3;

impl Marks {
    /// Nothing is known of the path.
    pub fn new() -> Self {
        Self {
            state: EcnState::Testing,
            since: PacketNumber(0),
            lost: 0,
            is_read: false,
            sent: 0,
            told: 0,
            received: 0,
            are_coming: false,
            confirmed: None,
            asked: 0,
        }
    }

    /// What is known of the path.
    pub fn state(&self) -> EcnState {
        self.state
    }

    /// The mark of packet `number`, which leaves now, after `probes` without an answer.
    ///
    /// Only packets are marked that ask for an ack, and no probe while nothing is known: whatever the path does to marks,
    /// acks and probes get through. An end that only acks would not notice that what it marks is dropped.
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

    /// The peer's packet holds a count.
    pub fn on_read(&mut self) {
        self.is_read = true;
    }

    /// Packet `number`, which left marked, was acked. A peer that reads its mark tells so in the same packet.
    // spec: ECN-2
    pub fn on_acked(&mut self, number: PacketNumber) {
        if number >= self.since {
            self.state = if self.is_read { EcnState::Capable } else { EcnState::Failed };
        }
    }

    /// Packet `number`, which left marked, was lost.
    // spec: ECN-2
    pub fn on_lost(&mut self, number: PacketNumber) {
        if self.state == EcnState::Testing && number >= self.since {
            self.lost += 1;
            if self.lost >= LOST_UNTIL_FAILED {
                self.state = EcnState::Failed;
            }
        }
    }

    /// From packet `next` on packets take another path.
    pub fn on_new_path(&mut self, next: PacketNumber) {
        self.is_read = false;
        self.test_again(next);
    }

    fn test_again(&mut self, next: PacketNumber) {
        (self.state, self.since, self.lost) = (EcnState::Testing, next, 0);
    }

    /// The peer tells how many packets, of the `all` with numbers, met congestion. True when there are more
    /// than it told before, and this end has marked as many.
    ///
    /// # Errors
    /// [`ProtocolViolation::CeOfUnsent`].
    // spec: ECN-5
    pub fn on_told(&mut self, count: u64, all: u64) -> Result<bool, ProtocolViolation> {
        if count > all {
            return Err(ProtocolViolation::CeOfUnsent { count });
        }
        // Above that the path marks what it must not.
        let is_news = count > self.told && count <= self.sent;
        self.told = self.told.max(count);
        Ok(is_news)
    }

    /// A packet that opened, and is no replay, came with the mark `ecn`.
    pub fn on_received(&mut self, ecn: Ecn) {
        self.are_coming |= ecn != Ecn::NotEct;
        self.received += u64::from(ecn == Ecn::Ce);
    }

    /// The peer asks whether this end is where it seems to be: its packets may take a new path, of which it
    /// wants to know whether marks arrive.
    pub fn on_challenge(&mut self) {
        (self.are_coming, self.confirmed) = (false, None);
        self.asked = self.asked.wrapping_add(1);
    }

    /// The count that the peer is not known to have, for a packet with an ack.
    // spec: ECN-3
    pub fn news(&self) -> Option<CeReport> {
        let is_news = self.are_coming && self.confirmed < Some(self.received);
        is_news.then_some(CeReport { count: self.received, asked: self.asked })
    }

    /// A packet that told this was acked.
    pub fn on_confirmed(&mut self, told: CeReport) {
        if told.asked == self.asked {
            self.confirmed = self.confirmed.max(Some(told.count));
        }
    }

    /// Packets that came marked CE, and those that the peer has told of.
    pub fn counts(&self) -> (u64, u64) {
        (self.received, self.told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn number(number: u64) -> PacketNumber {
        PacketNumber(number)
    }

    // spec-test: ECN-1, ECN-2
    #[test]
    fn acks_are_not_marked_nor_probes_on_a_path_not_known() {
        let mut marks = Marks::new();
        assert_eq!(marks.mark_next(number(0), true, 0), Ecn::Ect0);
        assert_eq!(marks.mark_next(number(1), false, 0), Ecn::NotEct);
        assert_eq!(marks.mark_next(number(2), true, 1), Ecn::NotEct);
        marks.on_read();
        marks.on_acked(number(0));
        assert_eq!(marks.state(), EcnState::Capable);
        assert_eq!(marks.mark_next(number(3), true, 2), Ecn::Ect0);
        assert_eq!(marks.mark_next(number(4), false, 0), Ecn::NotEct, "nobody would notice that it is lost");
    }

    // spec-test: ECN-2
    #[test]
    fn a_path_that_clears_marks_is_given_up() {
        let mut marks = Marks::new();
        marks.on_acked(number(0));
        assert_eq!(marks.mark_next(number(1), true, 0), Ecn::NotEct);
    }

    // spec-test: ECN-2
    #[test]
    fn a_path_is_given_up_at_the_third_loss_unless_a_marked_packet_arrives() {
        let mut marks = Marks::new();
        marks.on_read();
        (0..2).for_each(|lost| marks.on_lost(number(lost)));
        assert_eq!(marks.state(), EcnState::Testing);
        marks.on_lost(number(2));
        assert_eq!(marks.mark_next(number(3), true, 0), Ecn::NotEct);
        marks.on_acked(number(2));
        assert_eq!(marks.state(), EcnState::Capable, "that loss was none");
        (4..9).for_each(|lost| marks.on_lost(number(lost)));
        assert_eq!(marks.state(), EcnState::Capable, "losses are congestion from now on");
    }

    // spec-test: ECN-2
    #[test]
    fn what_left_before_tells_nothing_of_a_new_path() {
        let mut marks = Marks::new();
        marks.on_read();
        marks.on_new_path(number(10));
        (0..10).for_each(|lost| marks.on_lost(number(lost)));
        marks.on_acked(number(9));
        assert_eq!(marks.state(), EcnState::Testing);
        marks.on_read();
        marks.on_acked(number(10));
        assert_eq!(marks.state(), EcnState::Capable);
        assert_eq!(marks.mark_next(number(11), true, 3), Ecn::NotEct, "three probes went unanswered");
        marks.on_acked(number(10));
        assert_eq!(marks.state(), EcnState::Testing);
        marks.on_acked(number(11));
        assert_eq!(marks.state(), EcnState::Capable, "it is the same peer");
    }

    // spec-test: ECN-3
    #[test]
    fn a_count_is_told_until_it_is_known_to_have_arrived() {
        let mut marks = Marks::new();
        let news = |marks: &Marks| marks.news().map(|told| told.count);
        marks.on_received(Ecn::NotEct);
        assert_eq!(news(&marks), None);
        marks.on_received(Ecn::Ect0);
        assert_eq!(news(&marks), Some(0), "they arrive");
        let mut told: Vec<_> = (0..3)
            .map(|_| {
                marks.on_received(Ecn::Ce);
                marks.news().unwrap()
            })
            .collect();
        let last = told.remove(2);
        assert_eq!(last.count, 3);
        marks.on_confirmed(told[1]);
        assert_eq!(marks.news(), Some(last));
        marks.on_confirmed(last);
        marks.on_confirmed(told[0]);
        assert_eq!(marks.news(), None);
        marks.on_challenge();
        assert_eq!(marks.news(), None);
        marks.on_confirmed(last);
        marks.on_received(Ecn::Ect0);
        assert_eq!(news(&marks), Some(3), "on the new path they arrive, too, which was not said yet");
    }

    // spec-test: ECN-5
    #[test]
    fn a_count_that_does_not_grow_or_cannot_be_is_none() {
        let mut marks = Marks::new();
        (0..4).for_each(|sent| _ = marks.mark_next(number(sent), true, 0));
        assert_eq!(marks.on_told(2, 9), Ok(true));
        assert_eq!(marks.on_told(2, 9), Ok(false));
        assert_eq!(marks.on_told(1, 9), Ok(false));
        assert_eq!(marks.on_told(5, 9), Ok(false), "four were marked");
        assert_eq!(marks.on_told(10, 9), Err(ProtocolViolation::CeOfUnsent { count: 10 }));
    }
}
