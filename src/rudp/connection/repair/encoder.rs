//! [`RepairEncoder`]: which REPAIR frames leave, and when.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::BytesMut;
use smallvec::SmallVec;

use super::symbol;
use crate::base::{PacketNumber, Span, Timestamp, TokenBucket, prefetch};
use crate::rudp::connection::loss::LossShare;
use crate::wire::frame::{MessageHead, Repair};

/// The sender's side: the symbols of the packets that left last, while packets are being lost.
#[derive(Debug)]
pub struct RepairEncoder {
    loss: LossShare,
    /// No loss was seen in either direction yet: the share still decays from what was supposed at first.
    supposes: bool,
    /// `None` while there are no REPAIRs.
    memory: Option<Box<Memory>>,
    /// Smoothed time between two packets with symbols.
    pace: Span,
    /// The last packet that could have carried a REPAIR was passed over.
    passed_over: bool,
    budget: TokenBucket,
}

#[derive(Debug, Default)]
struct Memory {
    /// Symbols of packets that left, oldest first.
    sources: VecDeque<Source>,
    /// Memory for the next symbol, of one that was dropped.
    spare: BytesMut,
    /// Memory for the next REPAIR, of the one that left last.
    sum: BytesMut,
}

#[derive(Debug)]
struct Source {
    number: PacketNumber,
    symbol: BytesMut,
    left_at: Timestamp,
    /// REPAIRs that left for it in packets of their own.
    alone: u8,
    /// It needs none.
    arrived: bool,
}

/// The farthest that a REPAIR reaches back, in packets with symbols.
const MAX_SOURCES: usize = 6;
/// What the share lost is measured over.
const LOSS_PACKETS: u16 = 256;
/// Taken for lost before anything is known: the first loss must not be the one that is not repaired. It
/// fades below [`NIL`] while some 350 packets arrive, those of the peer counted: a path that loses in one
/// direction mostly loses in the other, too, and who says little learns it from who says much.
const FIRST_SHARE: f32 = 0.002;
/// With a smaller share lost there are no REPAIRs.
const NIL: f32 = 0.000_5;
/// With a smaller share lost every second packet has a REPAIR and each that follows a gap, above it all.
const LOW: f32 = 0.025;
/// After so long without a packet the next one after the coming one may be as late.
const GAP: Duration = Duration::from_millis(8);
/// From this share on a packet that nothing follows is repaired twice, or three times.
const ALONE_TWICE: f32 = 0.08;
const ALONE_THRICE: f32 = 0.15;
/// From this share on a packet has two REPAIRs, as they fit.
const HIGH: f32 = 0.25;
/// Packets that are farther apart on average are followed too late by what could repair them.
const THIN: Duration = Duration::from_millis(10);
/// Longer gaps say nothing of the pace.
const MAX_GAP: Duration = Duration::from_millis(100);

impl RepairEncoder {
    /// Nothing lost yet; REPAIRs take `bytes_per_second` at most.
    pub fn new(now: Timestamp, bytes_per_second: u64) -> Self {
        Self {
            loss: LossShare::over(LOSS_PACKETS).starting_at(FIRST_SHARE),
            supposes: true,
            memory: None,
            pace: Span::ZERO,
            passed_over: false,
            budget: TokenBucket::new(now, bytes_per_second, bytes_per_second),
        }
    }

    /// Asks for the memory that the next packet needs while REPAIRs leave.
    pub fn prefetch(&self) {
        if let Some(memory) = &self.memory {
            prefetch(&**memory);
        }
    }

    /// Where the fates of packets are told.
    pub fn loss_mut(&mut self) -> &mut LossShare {
        &mut self.loss
    }

    /// Packets of this end were lost, this many.
    pub fn on_lost(&mut self, packets: usize) {
        self.supposes &= packets == 0;
        (0..packets).for_each(|_| self.loss.on_lost());
    }

    /// A packet of the peer arrived; `is_next` when none between it and the one before is missing.
    pub fn on_received(&mut self, is_next: bool) {
        self.supposes &= is_next;
        if self.supposes {
            self.loss.on_acked();
        }
    }

    /// True while REPAIRs leave: then [`Self::on_sent`] wants every packet's messages.
    // spec: REP-1
    pub fn is_on(&self) -> bool {
        self.loss.share() >= NIL
    }

    /// A packet with these messages, each with its payload in two pieces, left as `number`.
    pub fn on_sent<'a>(
        &mut self,
        now: Timestamp,
        number: PacketNumber,
        messages: impl Iterator<Item = (MessageHead, [&'a [u8]; 2])>,
    ) {
        let mut messages = messages.peekable();
        if messages.peek().is_none() {
            return;
        }
        let Memory { sources, spare, .. } = &mut **self.memory.get_or_insert_default();
        if !symbol::write(messages, spare) {
            return;
        }
        let symbol = std::mem::take(spare);
        let gap = sources.back().map(|last| now.since(last.left_at).min(MAX_GAP));
        sources.push_back(Source { number, symbol, left_at: now, alone: 0, arrived: false });
        if sources.len() > MAX_SOURCES
            && let Some(oldest) = sources.pop_front()
        {
            *spare = oldest.symbol;
        }
        if let Some(gap) = gap {
            self.on_gap(gap);
        }
    }

    /// Two packets with symbols were so far apart.
    fn on_gap(&mut self, gap: Duration) {
        self.pace = ((self.pace.get() * 7 + gap) / 8).into();
    }

    /// An ack came; `has_arrived` tells of packets that left.
    pub fn on_ack(&mut self, has_arrived: impl Fn(PacketNumber) -> bool) {
        let sources = self.memory.iter_mut().flat_map(|memory| &mut memory.sources);
        sources.for_each(|source| source.arrived = source.arrived || has_arrived(source.number));
    }

    /// True while packets are remembered that a REPAIR could be made of.
    pub fn may_repair(&self) -> bool {
        self.memory.as_ref().is_some_and(|memory| memory.sources.iter().any(|source| !source.arrived))
    }

    /// When a REPAIR must leave although nothing else does.
    // spec: REP-3
    pub fn deadline(&self, rtt: Duration) -> Option<Timestamp> {
        let newest = self.newest().filter(|newest| !newest.arrived)?;
        let most = match self.loss.share() {
            // What leaves at a good pace is repaired by what follows, soon enough for so few losses.
            share if share < LOW => u8::from(self.is_on() && self.is_thin()),
            share if share < ALONE_TWICE => 1,
            share if share < ALONE_THRICE => 2,
            _ => 3,
        };
        let first = if self.is_thin() {
            (rtt / 8).min(Duration::from_millis(10))
        } else {
            (rtt * 7 / 20).min(Duration::from_millis(14))
        };
        let after = match newest.alone {
            0 => first,
            1 => first * 3,
            _ => first * 6,
        };
        (newest.alone < most).then(|| newest.left_at + after)
    }

    /// The REPAIRs, of `room` bytes at most, for a packet that leaves anyway as `number`.
    // spec: REP-2
    pub fn for_packet(&mut self, now: Timestamp, number: PacketNumber, room: usize) -> SmallVec<[Repair; 2]> {
        if !self.is_on() {
            self.memory = None;
            return SmallVec::new();
        }
        self.passed_over = !self.passed_over;
        let share = self.loss.share();
        let follows_a_gap = self.newest().is_some_and(|newest| now.since(newest.left_at) >= GAP);
        let was_repaired = self.is_thin() && self.newest().is_some_and(|newest| newest.alone > 0);
        let sets: &[&[usize]] = match share {
            share if share < LOW && self.passed_over && !follows_a_gap => &[],
            share if share < HIGH && was_repaired => &[],
            share if share < LOW => &[&[1, 2, 3]],
            share if share < HIGH => &[&[1, 3]],
            _ => &[&[1, 3], &[3, 6]],
        };
        let mut room = room;
        let mut repairs = SmallVec::new();
        for set in sets {
            repairs.extend(self.repair(now, number, set, &mut room));
        }
        repairs
    }

    /// The REPAIR for a packet of its own that leaves as `number`. Without room or budget for it, it counts
    /// as left all the same, or its time would never pass.
    // spec: REP-3
    pub fn for_itself(&mut self, now: Timestamp, number: PacketNumber, room: usize) -> Option<Repair> {
        let mut room = room;
        let repair = self.repair(now, number, &[1, 2], &mut room);
        if let Some(newest) = self.memory.as_mut().and_then(|memory| memory.sources.back_mut()) {
            newest.alone += 1;
        }
        repair
    }

    /// Nothing that left is repaired any more, and what follows comes late.
    pub fn rest(&mut self) {
        if self.memory.take().is_some() {
            self.on_gap(MAX_GAP);
        }
    }

    fn newest(&self) -> Option<&Source> {
        self.memory.as_ref()?.sources.back()
    }

    fn is_thin(&self) -> bool {
        self.pace.get() > THIN
    }

    /// A REPAIR of the packets that are so many places `back`, as far as they are remembered and not acked, if there
    /// are room and budget for it. What has left at this very moment would be lost with this packet.
    // spec: REP-4
    fn repair(
        &mut self,
        now: Timestamp,
        number: PacketNumber,
        back: &[usize],
        room: &mut usize,
    ) -> Option<Repair> {
        let Memory { sources, sum, .. } = &mut **self.memory.as_mut()?;
        let covered = back.iter().filter_map(|back| {
            let source = sources.get(sources.len().checked_sub(*back)?)?;
            let lag = u8::try_from(number.0.saturating_sub(source.number.0)).ok()?;
            (source.left_at < now && lag > 0 && !source.arrived).then_some((lag, &source.symbol))
        });
        let lags: SmallVec<_> = covered.clone().map(|(lag, _)| lag).collect();
        let longest = covered.clone().map(|(_, symbol)| symbol.len()).max()?;
        let bytes = Repair::encoded_len(lags.len(), longest);
        if bytes > *room || !self.budget.take(now, bytes as u64) {
            return None;
        }
        *room -= bytes;
        if !sum.try_reclaim(longest) {
            *sum = BytesMut::with_capacity(longest);
        }
        covered.for_each(|(_, symbol)| symbol::add(sum, symbol));
        Some(Repair { lags, symbol: sum.split().freeze() })
    }
}
