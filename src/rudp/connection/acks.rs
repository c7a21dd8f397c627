//! The receiver's side of acks: what arrived, and when to acknowledge it.

mod runs;
mod told;

use std::collections::BTreeSet;
use std::time::Duration;

use smallvec::SmallVec;

use self::runs::Runs;
use self::told::Told;
use crate::base::{Blank, PacketNumber, Rare, Span, Timestamp, Truncated};
use crate::wire::frame::{Ack, AckRun, CLEAN_ACK_NUMBERS, Lags, MAX_ACK_RUNS, MAX_REPAIRED};

/// Received packet numbers, and the ack that is owed for them. Spec: ACK-3.
#[derive(Debug)]
#[repr(C)] // Fields that each outgoing packet reads come first.
pub struct AckTracker {
    deadline: Option<Timestamp>,
    /// Ack-eliciting packets that no ack has named yet, and their bytes.
    unacked: u32,
    unacked_bytes: u32,
    runs: Runs,
    largest_at: Timestamp,
    /// When the last ack left.
    acked_at: Timestamp,
    max_delay: Span,
    received: u64,
    told: Told,
    repaired: Rare<Repaired>,
}

/// The newest packets repaired by REPAIR frames that no ack has named yet.
#[derive(Debug, Default)]
struct Repaired(Vec<u64>);

impl Blank for Repaired {
    const BLANK: &'static Self = &Self(Vec::new());
}

/// A connection's first ack-eliciting packets are acked at once, because the peer has no RTT sample yet.
const PROMPT_PACKETS: u64 = 8;
/// An ack leaves at once when this many ack-eliciting packets wait for one.
const MAX_UNACKED: u32 = 16;
/// An ack also leaves at once when this many bytes wait for one: those of `MAX_UNACKED` packets that fit
/// every path. A sender's window counts bytes.
pub const MAX_UNACKED_BYTES: u32 = MAX_UNACKED * 1_200;

impl AckTracker {
    /// Creates a tracker that has received nothing; acks wait at most `max_delay`.
    pub fn new(max_delay: Duration) -> Self {
        Self {
            runs: Runs::default(),
            largest_at: Timestamp::ZERO,
            acked_at: Timestamp::ZERO,
            unacked: 0,
            unacked_bytes: 0,
            deadline: None,
            max_delay: max_delay.into(),
            received: 0,
            told: Told::default(),
            repaired: Rare::new(),
        }
    }

    /// Records a packet that opened and is not a replay; it holds what is needed to repair `repairable`.
    ///
    /// `prompt` requests an ack without delay. Spec: ACK-4.
    // spec: ACK-4
    pub fn on_packet(
        &mut self,
        now: Timestamp,
        number: PacketNumber,
        eliciting: bool,
        prompt: bool,
        repairable: &[PacketNumber],
    ) {
        let is_missing = |number: &u64| !repairable.contains(&PacketNumber(*number));
        let in_order = self
            .largest()
            .is_none_or(|largest| number.0 > largest && !(largest + 1..number.0).any(|it| is_missing(&it)));
        match self.largest() {
            Some(largest) if number.0 < largest => self.told.on_late(number.0, largest),
            _ => self.largest_at = now,
        }
        self.runs.insert(number.0);
        if !eliciting {
            return;
        }
        self.received += 1;
        self.unacked += 1;
        let at_once = prompt || !in_order || self.received <= PROMPT_PACKETS || self.unacked >= MAX_UNACKED;
        let due = if at_once { now } else { now + self.max_delay.get() };
        self.deadline = Some(self.deadline.map_or(due, |deadline| deadline.min(due)));
    }

    /// Counts the `bytes` of the packet just recorded, which asks for an ack.
    // spec: ACK-4
    pub fn on_bytes(&mut self, now: Timestamp, bytes: usize) {
        self.unacked_bytes = self.unacked_bytes.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        if self.unacked_bytes >= MAX_UNACKED_BYTES {
            self.hurry(now);
        }
    }

    /// Notes that a packet that was repairable, by the one just recorded, was not taken: the gap stays.
    // spec: ACK-4
    pub fn on_unrepaired(&mut self, now: Timestamp) {
        if self.unacked > 0 {
            self.hurry(now);
        }
    }

    /// Makes the ack that is owed leave at once.
    fn hurry(&mut self, now: Timestamp) {
        self.deadline = Some(self.deadline.map_or(now, |deadline| deadline.min(now)));
    }

    /// Notes that the packet just recorded arrived marked CE. The peer should learn of it soon, but not by
    /// more acks: one leaves at once only if the last one left at least the maximum ack delay ago.
    // spec: ECN-4
    pub fn on_marked(&mut self, now: Timestamp) {
        if self.unacked > 0 && now >= self.acked_at + self.max_delay.get() {
            self.deadline = Some(now);
        }
    }

    /// Notes that a packet that did not arrive was repaired and its messages were accepted.
    // spec: ACK-11
    pub fn on_repaired(&mut self, number: PacketNumber) {
        let Repaired(repaired) = &mut *self.repaired;
        repaired.push(number.0);
        repaired.drain(..repaired.len().saturating_sub(MAX_REPAIRED));
    }

    /// Releases memory beyond what is in use.
    pub fn shrink(&mut self) {
        self.runs.shrink();
        if self.repaired.0.is_empty() {
            self.repaired.clear();
        }
    }

    /// Returns when an ack must leave on its own.
    pub fn deadline(&self) -> Option<Timestamp> {
        self.deadline
    }

    /// Returns whether an outgoing packet should carry an ack.
    pub fn is_pending(&self) -> bool {
        self.unacked > 0
    }

    /// Returns the largest number received.
    pub fn largest(&self) -> Option<u64> {
        self.runs.largest()
    }

    /// Notes that the peer acked a packet that carried an ack up to `largest`. The short form is then safe,
    /// and what that ack reported need not be repeated. RFC 9000 §13.2.4.
    pub fn on_confirmed(&mut self, largest: u64) {
        self.told.on_confirmed(largest);
    }

    /// Takes the ack for what arrived, without what the peer is known to know (ACK-10); it then counts as
    /// sent. Returns `None` when nothing has arrived.
    pub fn take(&mut self, now: Timestamp) -> Option<Ack> {
        let ack = self.peek(now)?;
        self.acked_at = now;
        (self.unacked, self.unacked_bytes) = (0, 0);
        self.deadline = None;
        if let Some(Repaired(repaired)) = self.repaired.get_mut() {
            repaired.clear();
        }
        Some(ack)
    }

    fn peek(&self, now: Timestamp) -> Option<Ack> {
        let (first, last) = self.runs.iter().next()?;
        let is_wide = self.told.needs_wide(last);
        let largest = if is_wide { Truncated::bits32(last) } else { Truncated::bits16(last) };
        let delay = Ack::delay_of(now.since(self.largest_at));
        let repaired = self.repaired_below(last);
        if self.is_clean(first, last) {
            return Some(Ack { largest, delay, runs: None, repaired });
        }
        let mut runs = SmallVec::new();
        let mut floor = first;
        let untold = self.runs.iter().skip(1).take_while(|(_, last)| !self.told.knows(*last));
        for (first, last) in untold.take(MAX_ACK_RUNS) {
            runs.push(AckRun { gap: floor - last - 1, run: last - first + 1 });
            floor = first;
        }
        Some(Ack { largest, delay, runs: Some((last - first + 1, runs)), repaired })
    }

    /// Returns whether an ack without runs would be correct for the newest run, `first..=last`, and would
    /// cover all packets that the peer may not know of.
    // spec: ACK-3
    fn is_clean(&self, first: u64, last: u64) -> bool {
        let Some(beyond) = last.checked_sub(CLEAN_ACK_NUMBERS) else { return first == 0 };
        let is_untold = |run: (u64, u64)| run.0 <= beyond && !self.told.knows(run.1.min(beyond));
        first <= beyond + 1 && !self.runs.iter().any(is_untold)
    }

    /// Returns the repaired packets that no ack has named yet, as far as an ack can name them.
    fn repaired_below(&self, largest: u64) -> Lags {
        let Repaired(repaired) = &*self.repaired;
        let lags: BTreeSet<u8> = repaired
            .iter()
            .filter_map(|number| u8::try_from(largest.checked_sub(*number)?).ok().filter(|lag| *lag > 0))
            .collect();
        lags.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DELAY: Duration = Duration::from_millis(10);

    fn tracker(numbers: &[u64]) -> AckTracker {
        let mut tracker = AckTracker::new(DELAY);
        for &number in numbers {
            tracker.on_packet(Timestamp::ZERO, PacketNumber(number), true, false, &[]);
        }
        tracker
    }

    /// Returns the numbers that an ack names, as its receiver reads it.
    fn named(ack: &Ack, expected: u64) -> BTreeSet<u64> {
        let largest = ack.largest.expand(expected);
        let Some((first, runs)) = &ack.runs else {
            return (largest.saturating_sub(CLEAN_ACK_NUMBERS - 1)..=largest).collect();
        };
        let mut floor = largest + 1 - first;
        let mut numbers: BTreeSet<u64> = (floor..=largest).collect();
        for AckRun { gap, run } in runs {
            let last = floor - gap - 1;
            floor = last + 1 - run;
            numbers.extend(floor..=last);
        }
        numbers
    }

    // spec-test: ACK-11
    #[test]
    fn of_too_many_repaired_packets_the_newest_are_named() {
        let mut tracker = tracker(&[100]);
        (80..100).for_each(|number| tracker.on_repaired(PacketNumber(number)));
        let lags: Vec<u8> = tracker.take(Timestamp::ZERO).unwrap().repaired.into_iter().collect();
        assert_eq!(lags, (1..=16).collect::<Vec<u8>>());
    }

    // spec-test: ACK-4
    #[test]
    fn an_ack_waits_unless_there_is_a_gap() {
        let mut tracker = tracker(&[0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(tracker.deadline(), Some(Timestamp::ZERO), "first packets are acked at once");
        tracker.take(Timestamp::ZERO);
        let now = Timestamp::from_millis(50);
        tracker.on_packet(now, PacketNumber(8), true, false, &[]);
        assert_eq!(tracker.deadline(), Some(now + DELAY));
        tracker.on_packet(now, PacketNumber(10), true, false, &[]);
        assert_eq!(tracker.deadline(), Some(now), "a gap is told at once");
        tracker.take(now);
        tracker.on_packet(now, PacketNumber(9), true, false, &[]);
        assert_eq!(tracker.deadline(), Some(now), "so is what fills it");
    }

    /// 19,200 bytes are 16 packets of the size that every path carries.
    // spec-test: ACK-4
    #[test]
    fn an_ack_leaves_at_once_when_19_200_bytes_wait() {
        let mut tracker = tracker(&[0, 1, 2, 3, 4, 5, 6, 7]);
        let now = Timestamp::from_millis(50);
        for (first, bytes) in [(8, [9_600, 9_599]), (10, [9_600, 9_600]), (12, [19_199, 0])] {
            tracker.take(now);
            for (number, bytes) in (first..).zip(bytes) {
                tracker.on_packet(now, PacketNumber(number), true, false, &[]);
                tracker.on_bytes(now, bytes);
            }
            let is_full = bytes.iter().sum::<usize>() == 19_200;
            assert_eq!(tracker.deadline(), Some(if is_full { now } else { now + DELAY }));
        }
    }

    // spec-test: ECN-4
    #[test]
    fn a_mark_is_told_at_once_when_the_last_ack_is_long_ago() {
        let mut tracker = tracker(&[0, 1, 2, 3, 4, 5, 6, 7]);
        let at = |tracker: &mut AckTracker, millis, number| {
            let now = Timestamp::from_millis(millis);
            tracker.on_packet(now, PacketNumber(number), true, false, &[]);
            tracker.on_marked(now);
            tracker.deadline().unwrap().since(Timestamp::ZERO).as_millis()
        };
        tracker.take(Timestamp::from_millis(50));
        assert_eq!(at(&mut tracker, 55, 8), 65, "it waits as any other does");
        assert_eq!(at(&mut tracker, 60, 9), 60, "the last ack was 10 ms ago");
    }

    // spec-test: ACK-1
    #[test]
    fn packets_that_ask_for_no_ack_arm_nothing() {
        let mut tracker = AckTracker::new(DELAY);
        tracker.on_packet(Timestamp::ZERO, PacketNumber(0), false, false, &[]);
        assert_eq!(tracker.deadline(), None);
        assert!(!tracker.is_pending());
    }

    // spec-test: ACK-5
    #[test]
    fn an_unconfirmed_span_widens_the_number() {
        let mut tracker = tracker(&[40_000]);
        assert!(tracker.take(Timestamp::ZERO).unwrap().largest.is_wide());
        tracker.on_confirmed(39_000);
        assert!(!tracker.take(Timestamp::ZERO).unwrap().largest.is_wide());
    }

    // spec-test: ACK-2
    #[test]
    fn an_ack_tells_how_long_it_was_held_in_steps_of_256_microseconds() {
        let held = [(255, 0), (256, 1), (2_000, 7), (65_279, 254), (65_280, 255), (1_000_000, 255)];
        for (micros, steps) in held {
            let ack = tracker(&[3]).take(Timestamp::ZERO + Duration::from_micros(micros)).unwrap();
            assert_eq!(ack.delay, steps, "{micros} µs");
            assert_eq!(ack.held(), Duration::from_micros(256) * u32::from(steps));
        }
    }

    // spec-test: ACK-2
    #[test]
    fn a_late_packet_does_not_change_how_long_the_largest_was_held() {
        let mut tracker = tracker(&[3]);
        let at = |millis| Timestamp::ZERO + Duration::from_millis(millis);
        tracker.on_packet(at(10), PacketNumber(1), true, false, &[]);
        assert_eq!(tracker.take(at(20)).unwrap().delay, 78, "20 ms of 256 µs");
    }

    // spec-test: ACK-3
    #[test]
    fn an_ack_is_clean_only_when_all_that_it_then_names_arrived() {
        let arrived = |numbers: std::ops::RangeInclusive<u64>| {
            let numbers: Vec<u64> = numbers.collect();
            tracker(&numbers).take(Timestamp::ZERO).unwrap().runs
        };
        assert_eq!(arrived(1..=255), Some((255, SmallVec::new())), "0 is missing");
        assert_eq!(arrived(1..=256), None);
        assert_eq!(arrived(0..=3), None, "nothing is below 0");
    }

    // spec-test: ACK-3
    #[test]
    fn an_ack_is_not_clean_while_more_than_it_would_then_name_may_be_unknown() {
        let all: Vec<u64> = (0..=400).collect();
        let mut tracker = tracker(&all);
        let told = |tracker: &mut AckTracker| named(&tracker.take(Timestamp::ZERO).unwrap(), 0);
        assert_eq!(told(&mut tracker), all.iter().copied().collect());
        tracker.on_confirmed(400);
        assert_eq!(tracker.take(Timestamp::ZERO).unwrap().runs, None);
        for (newest, is_clean) in [(656, true), (657, false)] {
            (tracker.largest().unwrap() + 1..=newest).for_each(|number| {
                tracker.on_packet(Timestamp::ZERO, PacketNumber(number), true, false, &[]);
            });
            assert_eq!(tracker.take(Timestamp::ZERO).unwrap().runs.is_none(), is_clean, "up to {newest}");
        }
    }

    // spec-test: ACK-3
    #[test]
    fn what_comes_late_and_far_below_the_largest_is_named() {
        let numbers: Vec<u64> = (0..=400).filter(|number| *number != 1).collect();
        let mut tracker = tracker(&numbers);
        tracker.on_confirmed(400);
        assert_eq!(tracker.take(Timestamp::ZERO).unwrap().runs, None, "the peer knows");
        tracker.on_packet(Timestamp::ZERO, PacketNumber(1), true, false, &[]);
        assert!(named(&tracker.take(Timestamp::ZERO).unwrap(), 0).contains(&1));
        tracker.on_packet(Timestamp::ZERO, PacketNumber(401), true, false, &[]);
        tracker.on_confirmed(401);
        assert_eq!(tracker.take(Timestamp::ZERO).unwrap().runs, None);
    }

    // spec-test: ACK-10
    #[test]
    fn what_the_peer_knows_to_have_arrived_is_not_told_again() {
        let mut tracker = tracker(&[0, 1, 3, 4, 6]);
        let runs = |tracker: &mut AckTracker| tracker.take(Timestamp::ZERO).unwrap().runs.unwrap().1.len();
        assert_eq!(runs(&mut tracker), 2);
        tracker.on_packet(Timestamp::ZERO, PacketNumber(8), true, false, &[]);
        tracker.on_confirmed(6);
        assert_eq!(runs(&mut tracker), 0, "only 8 is new");
        tracker.on_packet(Timestamp::ZERO, PacketNumber(2), true, false, &[]);
        assert_eq!(named(&tracker.take(Timestamp::ZERO).unwrap(), 0), BTreeSet::from([0, 1, 2, 3, 4, 6, 8]));
        tracker.on_confirmed(8);
        assert_eq!(runs(&mut tracker), 2, "that ack up to 8 may have left before 2 arrived");
        tracker.on_packet(Timestamp::ZERO, PacketNumber(10), true, false, &[]);
        tracker.on_confirmed(10);
        assert_eq!(runs(&mut tracker), 0);
    }

    // spec-test: ACK-11
    #[test]
    fn a_repaired_packet_is_named_once_by_how_far_it_is_below_the_largest() {
        let mut tracker = tracker(&[1, 600]);
        for number in [599, 345, 344, 601] {
            tracker.on_repaired(PacketNumber(number));
        }
        assert_eq!(tracker.take(Timestamp::ZERO).unwrap().repaired.as_slice(), [1, 255]);
        assert!(tracker.take(Timestamp::ZERO).unwrap().repaired.is_empty());
    }

    proptest! {
        // spec-test: ACK-3
        #[test]
        fn an_ack_names_only_what_arrived_and_the_newest_of_it(
            numbers in prop::collection::vec(0u64..600, 1..300)
        ) {
            let ack = tracker(&numbers).take(Timestamp::ZERO).unwrap();
            let received: BTreeSet<u64> = numbers.iter().copied().collect();
            let named = named(&ack, 0);
            prop_assert_eq!(named.last(), received.last());
            prop_assert!(named.is_subset(&received));
        }

        /// Packets and acks are lost or late, and acks may or may not be confirmed. The last ack leaves
        /// nothing unknown, and none names a packet that did not arrive.
        // spec-test: ACK-1, ACK-3, ACK-10
        #[test]
        fn in_the_end_the_peer_knows_of_all_that_arrived(
            missing in prop::collection::btree_set(0u64..3_000, 0..20),
            late in prop::collection::btree_map(0u64..3_000, 0u64..600, 0..8),
            acks in prop::collection::vec((1u64..700, any::<bool>(), any::<bool>()), 1..40),
        ) {
            let mut order: Vec<u64> = (0..3_000).filter(|number| !missing.contains(number)).collect();
            order.sort_by_key(|number| (number + late.get(number).copied().unwrap_or(0), *number));
            let (mut tracker, mut arrived) = (AckTracker::new(DELAY), BTreeSet::new());
            let (mut known, mut left) = (BTreeSet::new(), acks.iter().cycle());
            let mut next = left.next().unwrap();
            let mut waits = next.0;
            for (at, number) in order.iter().enumerate() {
                tracker.on_packet(Timestamp::ZERO, PacketNumber(*number), true, false, &[]);
                arrived.insert(*number);
                waits -= 1;
                let is_last = at + 1 == order.len();
                if waits > 0 && !is_last {
                    continue;
                }
                let ack = tracker.take(Timestamp::ZERO).unwrap();
                let named = named(&ack, *arrived.last().unwrap());
                prop_assert!(named.is_subset(&arrived));
                let (_, comes, is_confirmed) = *next;
                if comes || is_last {
                    known.extend(named.iter().copied());
                    if is_confirmed {
                        tracker.on_confirmed(*named.last().unwrap());
                    }
                }
                next = left.next().unwrap();
                waits = next.0;
            }
            prop_assert_eq!(known, arrived);
        }

        // spec-test: ACK-3
        #[test]
        fn an_ack_names_all_that_arrived_while_the_runs_are_few(
            numbers in prop::collection::vec(0u64..64, 1..100), row in 0u64..2_000
        ) {
            let numbers: Vec<u64> = numbers.into_iter().chain(64..64 + row).collect();
            let ack = tracker(&numbers).take(Timestamp::ZERO).unwrap();
            prop_assert_eq!(named(&ack, 0), numbers.into_iter().collect::<BTreeSet<u64>>());
        }
    }
}
