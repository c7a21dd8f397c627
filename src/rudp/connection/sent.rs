//! Packets under way: acks, loss, and what to do about either.

use std::collections::VecDeque;
use std::time::Duration;

use smallvec::SmallVec;

use super::datagram_size::SizeProbe;
use super::error::ProtocolViolation;
use super::marks::CeReport;
use super::rtt::RttEstimator;
use super::stream::{MessageRef, Piece};
use crate::base::{Ecn, PacketNumber, Timestamp, prefetch, prefetch_end};
use crate::wire::frame::{Ack, CLEAN_ACK_NUMBERS};

/// What a packet carried that its fate matters to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SentFrame {
    /// Whole messages with numbers in a row: the first, and how many.
    Messages(MessageRef, u32),
    /// One fragment of a message.
    Fragment(MessageRef, Piece),
    /// An ack up to this number.
    Ack(u64),
    /// A count of packets that came marked CE.
    CeCount(CeReport),
    /// Nothing, in so many bytes.
    SizeProbe(SizeProbe),
}

impl SentFrame {
    /// The whole messages.
    pub fn messages(&self) -> impl Iterator<Item = MessageRef> + use<> {
        let row = match self {
            Self::Messages(first, count) => Some(first.row(*count)),
            _ => None,
        };
        row.into_iter().flatten()
    }

    /// Takes in `next`, if it goes on with the row of messages that this one is.
    pub fn join(&mut self, next: &Self) -> bool {
        let (Self::Messages(first, count), Self::Messages(next, more)) = (self, next) else { return false };
        let goes_on = MessageRef { number: first.number + u64::from(*count), ..*first } == *next;
        *count += if goes_on { *more } else { 0 };
        goes_on
    }
}

/// The frames of one packet.
pub type SentFrames = SmallVec<[SentFrame; 2]>;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Under way, and the peer will ack it.
    InFlight,
    /// Sent, but nothing in it asks for an ack.
    Quiet,
    /// Left out on purpose: nobody can have received it.
    Skipped,
    Acked,
    Lost,
}

#[derive(Debug)]
struct SentPacket {
    at: Timestamp,
    bytes: usize,
    state: State,
    ecn: Ecn,
    frames: SentFrames,
}

/// All sent packets that may still be acked, in the order of their numbers.
#[derive(Debug)]
pub struct SentPackets {
    packets: VecDeque<SentPacket>,
    /// Number of the first in `packets`.
    base: u64,
    largest_acked: Option<u64>,
    /// When that one left.
    largest_acked_at: Timestamp,
    bytes_in_flight: usize,
    /// When the oldest packet left that asks for an ack and is newer than any that was acked: kept, because
    /// it is asked for with each packet.
    unanswered_since: Option<Timestamp>,
    /// Factor on the reordering window, doubled by each spurious loss.
    patience: u32,
    /// Losses since the last that proved spurious.
    losses: u32,
}

/// One ack mostly settles fewer packets: what a session of 64 says in 33 ms.
const ACKED_AT_ONCE: usize = 64;

/// One mostly settles about so many, where the peer's acks wait for its packets.
const SETTLED_BY_AN_ACK: usize = 3;

/// What an ack brought.
#[derive(Debug, Default)]
pub struct AckOutcome {
    /// Frames that arrived.
    pub frames: SmallVec<[SentFrame; ACKED_AT_ONCE]>,
    /// Packets newly acked: their bytes and sending times.
    pub packets: SmallVec<[(usize, Timestamp); ACKED_AT_ONCE]>,
    /// When the largest was sent, if it is newly acked and asked for an ack: an RTT sample.
    pub largest_sent_at: Option<Timestamp>,
    /// The largest number newly acked.
    pub largest: Option<u64>,
    /// The largest number newly acked of a packet that left marked.
    pub marked: Option<PacketNumber>,
    /// Messages of packets that did not arrive, but were repaired.
    pub repaired: Vec<MessageRef>,
    /// Packets that had been taken for lost, and when they were sent.
    pub spurious: SmallVec<[(PacketNumber, Timestamp); 4]>,
}

/// What loss detection found.
#[derive(Debug, Default)]
pub struct LossOutcome {
    /// Frames to send again.
    pub frames: Vec<SentFrame>,
    /// Packets lost: their bytes and sending times.
    pub packets: SmallVec<[(usize, Timestamp); 8]>,
    /// Their numbers.
    pub numbers: SmallVec<[PacketNumber; 8]>,
    /// Those of them that left marked.
    pub marked: SmallVec<[PacketNumber; 8]>,
    /// Longest time from the sending of one packet to that of a later one, which is lost, with nothing acked that was
    /// sent in between: persistent congestion, RFC 9002 §7.6.
    pub longest_run: Duration,
}

/// A lost packet is remembered so long, in RTTs, to find out that it was not lost.
const REMEMBER_RTTS: u32 = 4;
/// A size probe is remembered so long at least: its ack counts although it comes late.
const REMEMBER_SIZE_PROBE: Duration = Duration::from_secs(1);
/// Kept for a CLOSE: more than it is said, left out numbers included.
const CLOSE_NUMBERS: u64 = 64;
const MIN_REORDER_WINDOW: Duration = Duration::from_millis(1);
const MAX_PATIENCE: u32 = 8;
/// After so many losses without a spurious one the reordering window is halved again.
const LOSSES_UNTIL_IMPATIENT: u32 = 16;
/// Packets remembered at most; beyond it nothing new leaves until old ones are settled. Spec: REL-9.
pub const MAX_SPAN_PACKETS: usize = 1_536;

/// Packets remembered at most, those counted that leave when nothing new may: beyond it the oldest are
/// taken for lost, so that a peer that never acks cannot make this end remember more.
const MAX_REMEMBERED_PACKETS: usize = 2 * MAX_SPAN_PACKETS;

impl SentPackets {
    /// Nothing sent.
    pub fn new() -> Self {
        Self {
            packets: VecDeque::new(),
            base: 0,
            largest_acked: None,
            largest_acked_at: Timestamp::ZERO,
            bytes_in_flight: 0,
            unanswered_since: None,
            patience: 1,
            losses: 0,
        }
    }

    /// Asks for the memory that the next packet will be remembered in.
    pub fn prefetch_to_send(&self) {
        prefetch_end(&self.packets);
    }

    /// Asks for that of the packets that the next ack is likely to settle.
    pub fn prefetch_to_ack(&self) {
        self.packets.iter().take(SETTLED_BY_AN_ACK).for_each(prefetch);
    }

    /// The number that the next packet gets.
    pub fn next_number(&self) -> PacketNumber {
        PacketNumber(self.base + self.packets.len() as u64)
    }

    /// True when the numbers left are only those that a CLOSE may take. Spec: KEY-8.
    pub fn is_used_up(&self) -> bool {
        self.next_number().0 + CLOSE_NUMBERS > PacketNumber::MAX.0
    }

    /// Numbers from the largest acked to the next: decides how many bytes a number takes.
    pub fn span(&self) -> u64 {
        self.next_number().0 - self.largest_acked.unwrap_or(0)
    }

    /// When the largest acked packet left.
    pub fn largest_acked_at(&self) -> Timestamp {
        self.largest_acked_at
    }

    /// Bytes under way.
    pub fn bytes_in_flight(&self) -> usize {
        self.bytes_in_flight
    }

    /// True when so many packets are unsettled that nothing new may leave.
    pub fn is_full(&self) -> bool {
        self.packets.len() >= MAX_SPAN_PACKETS
    }

    /// True when more packets are remembered than may be: losses must be detected.
    pub fn is_overfull(&self) -> bool {
        self.packets.len() > MAX_REMEMBERED_PACKETS
    }

    /// Gives back memory beyond what is in use.
    pub fn shrink(&mut self) {
        self.packets.shrink_to_fit();
    }

    /// When the oldest packet left that asks for an ack and is newer than any that was acked.
    pub fn unanswered_since(&self) -> Option<Timestamp> {
        self.unanswered_since
    }

    fn find_unanswered(&self) -> Option<Timestamp> {
        let mut newer = self.packets.iter().skip(self.older_than_acked());
        newer.find(|packet| packet.state == State::InFlight).map(|packet| packet.at)
    }

    /// True for a packet that was acked, and for one that is settled and forgotten.
    pub fn has_arrived(&self, number: PacketNumber) -> bool {
        let at = number.0.checked_sub(self.base).and_then(|at| usize::try_from(at).ok());
        at.is_none_or(|at| self.packets.get(at).is_some_and(|packet| packet.state == State::Acked))
    }

    /// Leaves the next number out. Spec: ACK-7.
    pub fn skip(&mut self, now: Timestamp) {
        let (state, frames) = (State::Skipped, SentFrames::new());
        self.packets.push_back(SentPacket { at: now, bytes: 0, state, ecn: Ecn::NotEct, frames });
    }

    /// Takes note of a packet with the next number, which left with the mark `ecn`.
    pub fn on_sent(&mut self, now: Timestamp, bytes: usize, eliciting: bool, ecn: Ecn, frames: SentFrames) {
        let state = if eliciting { State::InFlight } else { State::Quiet };
        if eliciting {
            self.bytes_in_flight += bytes;
            self.unanswered_since.get_or_insert(now);
        }
        self.packets.push_back(SentPacket { at: now, bytes, state, ecn, frames });
    }

    /// Takes an ack. Walks this end's own packets, within the runs that the ack names.
    ///
    /// # Errors
    /// [`ProtocolViolation::AckOfUnsent`].
    // spec: ACK-6
    pub fn on_ack(&mut self, ack: &Ack, outcome: &mut AckOutcome) -> Result<(), ProtocolViolation> {
        let taken = self.take_runs(ack, outcome);
        self.unanswered_since = self.find_unanswered();
        taken
    }

    fn take_runs(&mut self, ack: &Ack, outcome: &mut AckOutcome) -> Result<(), ProtocolViolation> {
        let largest = ack.largest.expand(self.largest_acked.unwrap_or(0));
        if largest >= self.next_number().0 {
            return Err(ProtocolViolation::AckOfUnsent { number: largest });
        }
        match &ack.runs {
            None => {
                self.ack_run(largest.saturating_sub(CLEAN_ACK_NUMBERS - 1), largest, largest, outcome)?;
            }
            Some((first, runs)) => {
                let below = |number: u64, by: u64| {
                    number.checked_sub(by).ok_or(ProtocolViolation::AckOfUnsent { number })
                };
                let mut floor = below(largest, first - 1)?;
                self.ack_run(floor, largest, largest, outcome)?;
                for run in runs {
                    let last = below(floor, run.gap + 1)?;
                    floor = below(last, run.run - 1)?;
                    self.ack_run(floor, last, largest, outcome)?;
                }
            }
        }
        for lag in &ack.repaired {
            let number = largest.checked_sub(u64::from(*lag));
            self.on_repaired(number.ok_or(ProtocolViolation::AckOfUnsent { number: largest })?, outcome)?;
        }
        self.largest_acked = Some(self.largest_acked.map_or(largest, |old| old.max(largest)));
        Ok(())
    }

    /// A packet did not arrive, but its messages did: they are not sent again. It is as lost as before. It holds them no
    /// longer: what names it again finds nothing.
    // spec: ACK-11
    fn on_repaired(&mut self, number: u64, outcome: &mut AckOutcome) -> Result<(), ProtocolViolation> {
        let at = number.checked_sub(self.base).and_then(|at| usize::try_from(at).ok());
        let Some(packet) = at.and_then(|at| self.packets.get_mut(at)) else { return Ok(()) };
        if packet.state == State::Skipped {
            return Err(ProtocolViolation::AckOfUnsent { number });
        }
        outcome.repaired.extend(packet.frames.iter().flat_map(SentFrame::messages));
        packet.frames.retain(|frame| !matches!(frame, SentFrame::Messages(..)));
        Ok(())
    }

    /// Acks the numbers `first..=last` as far as they are remembered.
    fn ack_run(
        &mut self,
        first: u64,
        last: u64,
        largest: u64,
        outcome: &mut AckOutcome,
    ) -> Result<(), ProtocolViolation> {
        for number in first.max(self.base)..=last {
            let Some(packet) =
                usize::try_from(number - self.base).ok().and_then(|at| self.packets.get_mut(at))
            else {
                break;
            };
            match packet.state {
                State::Acked => continue,
                State::Skipped => return Err(ProtocolViolation::AckOfUnsent { number }),
                State::InFlight => {
                    self.bytes_in_flight -= packet.bytes;
                    outcome.packets.push((packet.bytes, packet.at));
                    if number == largest {
                        outcome.largest_sent_at = Some(packet.at);
                    }
                }
                State::Lost => {
                    self.patience = (self.patience * 2).min(MAX_PATIENCE);
                    self.losses = 0;
                    outcome.spurious.push((PacketNumber(number), packet.at));
                }
                State::Quiet => {}
            }
            packet.state = State::Acked;
            if packet.ecn != Ecn::NotEct {
                outcome.marked = outcome.marked.max(Some(PacketNumber(number)));
            }
            if self.largest_acked.is_none_or(|acked| number > acked) {
                self.largest_acked_at = self.largest_acked_at.max(packet.at);
            }
            outcome.largest = Some(outcome.largest.map_or(number, |old| old.max(number)));
            outcome.frames.extend(packet.frames.drain(..));
        }
        Ok(())
    }

    /// How long after a packet left it is lost, if a newer one was acked: a round trip, and the time by
    /// which it may still arrive later than that one. Spec: REL-4.
    fn loss_wait(&self, rtt: &RttEstimator) -> Duration {
        let reorder_window = (rtt.smoothed() / 8).max(MIN_REORDER_WINDOW) * self.patience;
        rtt.conservative() + reorder_window
    }

    /// Finds the packets that are lost: a later one was acked, and a round trip and the reordering
    /// window have passed since they left. No run of losses begins before `path_since`. Returns when to look
    /// again.
    // spec: REL-4
    pub fn detect_lost(
        &mut self,
        now: Timestamp,
        path_since: Timestamp,
        rtt: &RttEstimator,
        outcome: &mut LossOutcome,
    ) -> Option<Timestamp> {
        let wait = self.loss_wait(rtt);
        let mut again = None;
        let older = self.older_than_acked();
        let too_many = self.packets.len().saturating_sub(MAX_REMEMBERED_PACKETS);
        let mut run_since = None;
        for (at, packet) in self.packets.iter_mut().enumerate().take(older.max(too_many)) {
            match packet.state {
                State::InFlight => {}
                State::Acked => run_since = None,
                State::Lost if packet.at >= path_since => run_since = run_since.or(Some(packet.at)),
                State::Lost => {}
                State::Quiet | State::Skipped => {}
            }
            if packet.state != State::InFlight {
                continue;
            }
            let due = packet.at + wait;
            if due > now && at >= too_many {
                again = Some(due);
                break;
            }
            packet.state = State::Lost;
            self.losses += 1;
            self.bytes_in_flight -= packet.bytes;
            let number = PacketNumber(self.base + at as u64);
            outcome.numbers.push(number);
            if packet.ecn != Ecn::NotEct {
                outcome.marked.push(number);
            }
            outcome.packets.push((packet.bytes, packet.at));
            if packet.at >= path_since {
                let run = packet.at.since(*run_since.get_or_insert(packet.at));
                outcome.longest_run = outcome.longest_run.max(run);
            }
            outcome.frames.extend(packet.frames.iter().copied());
        }
        // Beyond `older` where too many are remembered.
        if !outcome.packets.is_empty() {
            self.unanswered_since = self.find_unanswered();
        }
        if self.losses >= LOSSES_UNTIL_IMPATIENT {
            self.losses = 0;
            self.patience = (self.patience / 2).max(1);
        }
        self.forget(now, rtt);
        again
    }

    /// When [`Self::detect_lost`] is next due.
    pub fn loss_deadline(&self, rtt: &RttEstimator) -> Option<Timestamp> {
        let mut older = self.packets.iter().take(self.older_than_acked());
        let oldest = older.find(|packet| packet.state == State::InFlight)?;
        Some(oldest.at + self.loss_wait(rtt))
    }

    /// The frames under way, oldest first.
    pub fn frames_in_flight(&self) -> impl Iterator<Item = &SentFrame> + '_ {
        let waiting = self.packets.iter().filter(|packet| packet.state == State::InFlight);
        waiting.flat_map(|packet| &packet.frames)
    }

    /// As if all numbers below `number` were sent and settled, and `acked` the largest acked one.
    #[cfg(test)]
    pub fn start_at(&mut self, number: u64, acked: Option<u64>) {
        (self.base, self.largest_acked) = (number, acked);
    }

    /// Places that take memory.
    #[cfg(test)]
    pub fn capacity(&self) -> usize {
        self.packets.capacity()
    }

    /// Packets remembered.
    #[cfg(test)]
    pub fn remembered(&self) -> usize {
        self.packets.len()
    }

    /// Counts all again and compares.
    #[cfg(any(test, fuzzing))]
    pub fn audit(&self) {
        let flying = self.packets.iter().filter(|packet| packet.state == State::InFlight);
        assert_eq!(flying.map(|packet| packet.bytes).sum::<usize>(), self.bytes_in_flight);
        assert_eq!(self.unanswered_since, self.find_unanswered());
    }

    /// Remembered packets that left before the largest acked one.
    fn older_than_acked(&self) -> usize {
        let older = self.largest_acked.unwrap_or(0).saturating_sub(self.base);
        usize::try_from(older).unwrap_or(usize::MAX)
    }

    /// Drops what is settled from the old end.
    fn forget(&mut self, now: Timestamp, rtt: &RttEstimator) {
        let remember = rtt.conservative() * REMEMBER_RTTS;
        while let Some(packet) = self.packets.front() {
            // spec: MTU-3
            let probes_size = packet.frames.iter().any(|frame| matches!(frame, SentFrame::SizeProbe(_)));
            let remember = if probes_size { remember.max(REMEMBER_SIZE_PROBE) } else { remember };
            let settled = match packet.state {
                State::InFlight => false,
                State::Acked => true,
                State::Lost | State::Skipped | State::Quiet => {
                    packet.at + remember <= now || self.packets.len() > MAX_SPAN_PACKETS / 2
                }
            };
            if !settled {
                return;
            }
            self.packets.pop_front();
            self.base += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::StreamId;
    use crate::rudp::connection::stream::Space;

    /// Each naming costs what it frees, not what the packet has held.
    #[test]
    fn what_is_named_as_repaired_again_is_nothing() {
        let mut sent = SentPackets::new();
        let first = MessageRef { stream: StreamId(1), space: Space::Ordered, number: 7 };
        let frames = [SentFrame::Ack(1), SentFrame::Messages(first, 3)];
        sent.on_sent(Timestamp::ZERO, 100, true, Ecn::NotEct, frames.into_iter().collect());
        for expected in [3, 0] {
            let mut outcome = AckOutcome::default();
            sent.on_repaired(0, &mut outcome).unwrap();
            assert_eq!(outcome.repaired.len(), expected);
        }
        assert_eq!(sent.frames_in_flight().count(), 1, "the ack is as it was");
    }

    #[test]
    fn messages_with_numbers_in_a_row_are_one_frame() {
        let message = |stream, space, number| MessageRef { stream: StreamId(stream), space, number };
        let first = message(1, Space::Ordered, 7);
        let mut row = SentFrame::Messages(first, 1);
        assert!(row.join(&SentFrame::Messages(message(1, Space::Ordered, 8), 1)));
        assert!(row.join(&SentFrame::Messages(message(1, Space::Ordered, 9), 2)));
        let others = [
            (1, Space::Ordered, 10),
            (1, Space::Ordered, 12),
            (1, Space::Unordered, 11),
            (2, Space::Ordered, 11),
        ];
        for (stream, space, number) in others {
            assert!(!row.join(&SentFrame::Messages(message(stream, space, number), 1)), "{number}");
        }
        assert!(!row.join(&SentFrame::Ack(11)) && !SentFrame::Ack(7).join(&row));
        let numbers: Vec<_> = (7..=10).map(|number| message(1, Space::Ordered, number)).collect();
        assert_eq!(row.messages().collect::<Vec<_>>(), numbers);
        assert_eq!(SentFrame::Ack(7).messages().count(), 0);
    }
}
