//! Packets in flight: acks, losses, and their consequences.

mod frame;
mod outcome;
mod patience;

use std::collections::VecDeque;
use std::time::Duration;

pub use self::frame::{SentFrame, SentFrames};
pub use self::outcome::{AckOutcome, AckedPacket, LossOutcome, LostPacket};
use self::patience::Patience;
use super::error::ProtocolViolation;
use super::rtt::RttEstimator;
use crate::base::{Ecn, PacketNumber, Timestamp, prefetch, prefetch_end};
use crate::wire::frame::{Ack, CLEAN_ACK_NUMBERS};

/// All sent packets that may still be acked, in order of their numbers.
#[derive(Debug)]
pub struct SentPackets {
    packets: VecDeque<SentPacket>,
    /// Number of the first packet in `packets`.
    base: u64,
    /// Packets with smaller numbers left on a former path.
    path_begins: u64,
    /// Numbers from `path_begins` on that were taken before a round trip of this path was measured.
    unmeasured: u32,
    largest_acked: Option<u64>,
    /// When the largest acked packet was sent.
    largest_acked_at: Timestamp,
    /// Those of packets of this path.
    bytes_in_flight: u32,
    /// When the oldest packet was sent that asks for an ack and is newer than any acked one; kept because it
    /// is needed with each packet.
    unanswered_since: Option<Timestamp>,
    patience: Patience,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// In flight, and the peer will ack it.
    InFlight,
    /// Sent, but nothing in it asks for an ack.
    Quiet,
    /// Skipped on purpose: nobody can have received it.
    Skipped,
    Acked,
    Lost,
}

#[derive(Debug)]
struct SentPacket {
    sent_at: Timestamp,
    bytes: u32,
    state: State,
    ecn: Ecn,
    frames: SentFrames,
}

impl SentPacket {
    fn as_lost(&self, number: u64, is_former: bool) -> LostPacket {
        let (number, is_marked) = (PacketNumber(number), self.ecn != Ecn::NotEct);
        LostPacket { number, bytes: self.bytes as usize, sent_at: self.sent_at, is_marked, is_former }
    }
}

/// Packets that an ack usually settles where the peer's acks wait for its own packets.
const SETTLED_BY_AN_ACK: usize = 3;

/// How long a lost packet is remembered, in RTTs, to detect a spurious loss.
const REMEMBER_RTTS: u32 = 4;
/// Minimum time for which a size probe is remembered, since a late ack of it counts.
const REMEMBER_SIZE_PROBE: Duration = Duration::from_secs(1);
/// Numbers kept for a CLOSE: more than the times that it is sent, skipped numbers included.
const CLOSE_NUMBERS: u64 = 64;
/// Maximum number of packets remembered; when it is reached, nothing new leaves until old ones are settled.
/// Spec: REL-9.
pub const MAX_SPAN_PACKETS: usize = 1_536;

/// Maximum number of packets remembered, including those that leave when nothing new may. Beyond it the
/// oldest are declared lost, so that a peer that never acks cannot make this end remember more.
const MAX_REMEMBERED_PACKETS: usize = 2 * MAX_SPAN_PACKETS;

impl SentPackets {
    /// Starts with nothing sent.
    pub fn new() -> Self {
        Self {
            packets: VecDeque::new(),
            base: 0,
            path_begins: 0,
            unmeasured: u32::MAX,
            largest_acked: None,
            largest_acked_at: Timestamp::ZERO,
            bytes_in_flight: 0,
            unanswered_since: None,
            patience: Patience::default(),
        }
    }

    /// Notes that a round trip of this path was measured.
    pub fn on_measured(&mut self) {
        let taken = self.next_number().0 - self.path_begins;
        self.unmeasured = self.unmeasured.min(u32::try_from(taken).unwrap_or(u32::MAX));
    }

    /// Notes that what leaves from now on takes another path. What is in flight on the former one uses
    /// nothing of the new one's window: most of it is lost, and no ack would tell so for a round trip.
    // spec: PTH-8
    pub fn on_new_path(&mut self) {
        (self.path_begins, self.unmeasured) = (self.next_number().0, u32::MAX);
        self.bytes_in_flight = 0;
        self.patience = Patience::default();
    }

    /// Returns whether any packet was acked that left on this path.
    pub fn has_acked_on_path(&self) -> bool {
        self.largest_acked.is_some_and(|largest| largest >= self.path_begins)
    }

    /// Prefetches the memory in which the next packet will be recorded.
    pub fn prefetch_to_send(&self) {
        prefetch_end(&self.packets);
    }

    /// Prefetches the packets that the next ack is likely to settle.
    pub fn prefetch_to_ack(&self) {
        self.packets.iter().take(SETTLED_BY_AN_ACK).for_each(prefetch);
    }

    /// Returns the number that the next packet gets.
    pub fn next_number(&self) -> PacketNumber {
        PacketNumber(self.base + self.packets.len() as u64)
    }

    /// Returns whether the only numbers left are those that a CLOSE may take. Spec: KEY-8.
    pub fn is_used_up(&self) -> bool {
        self.next_number().0 + CLOSE_NUMBERS > PacketNumber::MAX.0
    }

    /// Returns the distance from the largest acked number to the next one, which decides how many bytes a
    /// number takes.
    pub fn span(&self) -> u64 {
        self.next_number().0 - self.largest_acked.unwrap_or(0)
    }

    /// Returns when the largest acked packet was sent.
    pub fn largest_acked_at(&self) -> Timestamp {
        self.largest_acked_at
    }

    /// Returns the bytes in flight on this path.
    pub fn bytes_in_flight(&self) -> usize {
        self.bytes_in_flight as usize
    }

    /// Returns whether any packet is in flight, on whichever path.
    pub fn has_in_flight(&self) -> bool {
        self.packets.iter().any(|packet| packet.state == State::InFlight)
    }

    /// Returns whether so many packets are unsettled that nothing new may leave.
    pub fn is_full(&self) -> bool {
        self.packets.len() >= MAX_SPAN_PACKETS
    }

    /// Returns whether more packets are remembered than allowed, so that losses must be detected.
    pub fn is_overfull(&self) -> bool {
        self.packets.len() > MAX_REMEMBERED_PACKETS
    }

    /// Releases memory beyond what is in use.
    pub fn shrink(&mut self) {
        self.packets.shrink_to_fit();
    }

    /// Returns when the oldest packet was sent that asks for an ack and is newer than any acked one.
    pub fn unanswered_since(&self) -> Option<Timestamp> {
        self.unanswered_since
    }

    fn find_unanswered(&self) -> Option<Timestamp> {
        let mut newer = self.packets.iter().skip(self.older_than_acked());
        newer.find(|packet| packet.state == State::InFlight).map(|packet| packet.sent_at)
    }

    /// Returns true for a packet that was acked, and for one that is settled and forgotten.
    pub fn has_arrived(&self, number: PacketNumber) -> bool {
        let at = number.0.checked_sub(self.base).and_then(|at| usize::try_from(at).ok());
        at.is_none_or(|at| self.packets.get(at).is_some_and(|packet| packet.state == State::Acked))
    }

    /// Skips the next number. Spec: ACK-7.
    pub fn skip(&mut self, now: Timestamp) {
        let (state, frames) = (State::Skipped, SentFrames::new());
        self.packets.push_back(SentPacket { sent_at: now, bytes: 0, state, ecn: Ecn::NotEct, frames });
    }

    /// Records a packet with the next number, which was sent with the mark `ecn`.
    pub fn on_sent(&mut self, now: Timestamp, bytes: usize, eliciting: bool, ecn: Ecn, frames: SentFrames) {
        let state = if eliciting { State::InFlight } else { State::Quiet };
        let bytes = u32::try_from(bytes).expect("invariant: a datagram has less than 2^16 bytes");
        if eliciting {
            self.bytes_in_flight += bytes;
            self.unanswered_since.get_or_insert(now);
        }
        self.packets.push_back(SentPacket { sent_at: now, bytes, state, ecn, frames });
    }

    /// Takes an ack. Iterates over this end's own packets, within the runs that the ack names.
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

    /// Notes that a packet did not arrive but its messages did, so that they are not sent again. The packet
    /// stays lost, but no longer holds them: naming it again has no effect.
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
            let is_former = number < self.path_begins;
            match packet.state {
                State::Acked => continue,
                State::Skipped => return Err(ProtocolViolation::AckOfUnsent { number }),
                State::InFlight => {
                    outcome.former_acked |= is_former;
                    if !is_former {
                        let SentPacket { bytes, sent_at, .. } = *packet;
                        self.bytes_in_flight -= bytes;
                        outcome.packets.push(AckedPacket { bytes: bytes as usize, sent_at });
                        if number == largest {
                            outcome.largest_sent_at = Some(sent_at);
                        }
                    }
                }
                State::Lost => {
                    outcome.former_acked |= is_former;
                    if !is_former {
                        self.patience.on_spurious();
                    }
                    outcome.spurious.push(packet.as_lost(number, is_former));
                }
                State::Quiet => {}
            }
            packet.state = State::Acked;
            if packet.ecn != Ecn::NotEct {
                outcome.marked = outcome.marked.max(Some(PacketNumber(number)));
            }
            if self.largest_acked.is_none_or(|acked| number > acked) {
                self.largest_acked_at = self.largest_acked_at.max(packet.sent_at);
            }
            outcome.largest = outcome.largest.max(Some(PacketNumber(number)));
            outcome.frames.extend(packet.frames.drain(..));
        }
        Ok(())
    }

    /// Returns how long after its sending a packet is lost if a newer one was acked: a round trip and the
    /// reordering window, within which it may still arrive after the newer one. Spec: REL-4.
    fn loss_wait(&self, rtt: &RttEstimator) -> Duration {
        rtt.conservative() + self.patience.window(rtt.smoothed())
    }

    /// Finds the packets that are lost: a later one was acked, and a round trip and the reordering window
    /// have passed since they were sent. No run of losses begins on a former path. Returns when to check
    /// again.
    // spec: REL-4
    pub fn detect_lost(
        &mut self,
        now: Timestamp,
        rtt: &RttEstimator,
        outcome: &mut LossOutcome,
    ) -> Option<Timestamp> {
        let again = self.mark_lost(now, self.loss_wait(rtt), outcome);
        // Packets newer than any acked one may be among them when too many are remembered.
        if !outcome.packets.is_empty() {
            self.unanswered_since = self.find_unanswered();
        }
        self.patience.settle();
        self.forget(now, rtt);
        again
    }

    /// Declares the packets lost that were sent `wait` ago and before an acked one, or that are too many to
    /// remember. Returns when the next one is due.
    fn mark_lost(&mut self, now: Timestamp, wait: Duration, outcome: &mut LossOutcome) -> Option<Timestamp> {
        let too_many = self.packets.len().saturating_sub(MAX_REMEMBERED_PACKETS);
        let candidates = self.older_than_acked().max(too_many);
        // When the first packet of the present run of losses was sent. RFC 9002 §7.6.2: not before the first sample.
        let mut run_since = None;
        for (at, (number, packet)) in (self.base..).zip(&mut self.packets).enumerate().take(candidates) {
            let is_former = number < self.path_begins;
            let is_measured = !is_former && number - self.path_begins >= u64::from(self.unmeasured);
            match packet.state {
                State::Quiet | State::Skipped => continue,
                State::Acked => {
                    run_since = None;
                    continue;
                }
                State::Lost => {
                    run_since = run_since.or(is_measured.then_some(packet.sent_at));
                    continue;
                }
                State::InFlight => {}
            }
            let due = packet.sent_at + wait;
            if due > now && at >= too_many {
                return Some(due);
            }
            packet.state = State::Lost;
            outcome.packets.push(packet.as_lost(number, is_former));
            if !is_former {
                self.patience.on_loss();
                self.bytes_in_flight -= packet.bytes;
            }
            if is_measured {
                let run = packet.sent_at.since(*run_since.get_or_insert(packet.sent_at));
                outcome.longest_run = outcome.longest_run.max(run);
            }
            outcome.frames.extend(packet.frames.iter().copied());
        }
        None
    }

    /// Returns when [`Self::detect_lost`] is next due.
    pub fn loss_deadline(&self, rtt: &RttEstimator) -> Option<Timestamp> {
        let mut older = self.packets.iter().take(self.older_than_acked());
        let oldest = older.find(|packet| packet.state == State::InFlight)?;
        Some(oldest.sent_at + self.loss_wait(rtt))
    }

    /// Returns the frames in flight, oldest first.
    pub fn frames_in_flight(&self) -> impl Iterator<Item = &SentFrame> + '_ {
        let waiting = self.packets.iter().filter(|packet| packet.state == State::InFlight);
        waiting.flat_map(|packet| &packet.frames)
    }

    /// Pretends that all numbers below `number` were sent and settled, with `acked` as the largest acked one.
    #[cfg(test)]
    pub fn start_at(&mut self, number: u64, acked: Option<u64>) {
        (self.base, self.largest_acked) = (number, acked);
    }

    /// Returns for how many packets memory is allocated.
    #[cfg(test)]
    pub fn capacity(&self) -> usize {
        self.packets.capacity()
    }

    /// Returns how many packets are remembered.
    #[cfg(test)]
    pub fn remembered(&self) -> usize {
        self.packets.len()
    }

    /// Recounts everything and compares.
    #[cfg(any(test, fuzzing))]
    pub fn audit(&self) {
        let flying = (self.base..).zip(&self.packets).filter(|(_, packet)| packet.state == State::InFlight);
        let on_path = flying.filter(|(number, _)| *number >= self.path_begins);
        assert_eq!(on_path.map(|(_, packet)| packet.bytes).sum::<u32>(), self.bytes_in_flight);
        assert_eq!(self.unanswered_since, self.find_unanswered());
    }

    /// Returns how many remembered packets were sent before the largest acked one.
    fn older_than_acked(&self) -> usize {
        let older = self.largest_acked.unwrap_or(0).saturating_sub(self.base);
        usize::try_from(older).unwrap_or(usize::MAX)
    }

    /// Drops settled packets from the old end.
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
                    packet.sent_at + remember <= now || self.packets.len() > MAX_SPAN_PACKETS / 2
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
    use crate::rudp::connection::stream::{MessageRef, Space};

    /// Naming a packet as repaired costs only what it frees, not what the packet once held.
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
}
