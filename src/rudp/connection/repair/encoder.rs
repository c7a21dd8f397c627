//! [`RepairEncoder`]: decides which REPAIR frames leave, and when.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::BytesMut;
use smallvec::SmallVec;

use super::contents::Contents;
use super::symbol;
use crate::base::{PacketNumber, Span, Timestamp, TokenBucket, prefetch};
use crate::rudp::connection::loss::LossShare;
use crate::wire::frame::{MessageHead, Repair};

/// The sender's side: the symbols of the packets sent last, kept while packets are being lost.
#[derive(Debug)]
pub struct RepairEncoder {
    loss: LossShare,
    /// No loss has been seen in either direction yet: the share still decays from its assumed initial value.
    supposes: bool,
    /// `None` while there are no REPAIRs.
    memory: Option<Box<Memory>>,
    /// Smoothed time between two packets with symbols.
    pace: Span,
    /// Flips with each packet that could carry a REPAIR.
    is_other_turn: bool,
    budget: TokenBucket,
}

#[derive(Debug, Default)]
struct Memory {
    /// Symbols of sent packets, oldest first.
    sources: VecDeque<Source>,
    /// Symbol and messages of the packet that is being written.
    next: Option<(BytesMut, Contents)>,
    /// Memory for the next symbol, taken from a dropped one.
    spare: BytesMut,
    /// Memory for the next REPAIR, taken from the last one sent.
    sum: BytesMut,
}

#[derive(Debug)]
struct Source {
    number: PacketNumber,
    symbol: BytesMut,
    contents: Contents,
    left_at: Timestamp,
    /// REPAIRs sent for it in packets of their own.
    alone: u8,
    /// It arrived, or a later packet carries its messages, too: it needs no REPAIR.
    is_settled: bool,
}

/// How many packets are being lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    /// So few that no REPAIRs are sent.
    Off,
    /// Every second packet and each one after a gap carry a REPAIR.
    Low,
    /// All packets do.
    Medium,
    /// All packets carry two, if they fit.
    High,
}

/// How far back a REPAIR reaches, in packets with symbols.
const MAX_SOURCES: usize = 6;
/// Number of packets over which the loss share is measured.
const LOSS_PACKETS: u16 = 256;
/// Loss share assumed before anything is known, so that even the first loss is repaired. It falls below
/// [`LOW`] after some 350 packets, those of the peer included: a path that loses packets in one direction
/// usually does so in the other, and an end that sends little learns this from an end that sends much.
const FIRST_SHARE: f32 = 0.002;
/// The loss shares at which [`Level::Low`], [`Level::Medium`] and [`Level::High`] begin.
const LOW: f32 = 0.000_5;
const MEDIUM: f32 = 0.025;
const HIGH: f32 = 0.25;
/// After a gap this long, the packet after the next one may be as late.
const GAP: Duration = Duration::from_millis(8);
/// From these loss shares on, a packet that nothing follows is repaired twice or three times.
const ALONE_TWICE: f32 = 0.08;
const ALONE_THRICE: f32 = 0.15;
/// Packets that are farther apart on average are followed too late by those that could repair them.
const THIN: Duration = Duration::from_millis(10);
/// Longer gaps say nothing about the pace.
const MAX_GAP: Duration = Duration::from_millis(100);

impl RepairEncoder {
    /// Starts without losses; REPAIRs use at most `bytes_per_second`.
    pub fn new(now: Timestamp, bytes_per_second: u64) -> Self {
        Self {
            loss: supposed(),
            supposes: true,
            memory: None,
            pace: Span::ZERO,
            is_other_turn: false,
            budget: TokenBucket::new(now, bytes_per_second, bytes_per_second),
        }
    }

    /// Starts over on a path of which nothing is known.
    // spec: PTH-8
    pub fn on_new_path(&mut self) {
        (self.loss, self.supposes) = (supposed(), true);
    }

    /// Prefetches the memory that the next packet needs while REPAIRs are sent.
    pub fn prefetch(&self) {
        if let Some(memory) = &self.memory {
            prefetch(&**memory);
        }
    }

    /// Returns the loss share, to which the fates of packets are reported.
    pub fn loss_mut(&mut self) -> &mut LossShare {
        &mut self.loss
    }

    /// Notes that `packets` packets of this end were lost.
    pub fn on_lost(&mut self, packets: usize) {
        self.supposes &= packets == 0;
        (0..packets).for_each(|_| self.loss.on_lost());
    }

    /// Notes that a packet of the peer arrived; `is_next` when none is missing between it and the one before.
    pub fn on_received(&mut self, is_next: bool) {
        self.supposes &= is_next;
        if self.supposes {
            self.loss.on_acked();
        }
    }

    /// Returns whether REPAIRs are sent, in which case [`Self::on_content`] needs every packet's messages.
    // spec: REP-1
    pub fn is_on(&self) -> bool {
        self.level() != Level::Off
    }

    fn level(&self) -> Level {
        match self.loss.share() {
            share if share < LOW => Level::Off,
            share if share < MEDIUM => Level::Low,
            share if share < HIGH => Level::Medium,
            _ => Level::High,
        }
    }

    /// Notes the messages of the packet that is being written, each with its payload in two pieces. If a
    /// REPAIR can cover it, an earlier packet whose messages are all among them needs none any more.
    // spec: REP-2
    pub fn on_content<'a>(&mut self, messages: impl Iterator<Item = (MessageHead, [&'a [u8]; 2])> + Clone) {
        let Memory { sources, next, spare, .. } = &mut **self.memory.get_or_insert_default();
        if !symbol::write(messages.clone(), spare) {
            return;
        }
        let contents = Contents::of(messages.map(|(head, _)| head));
        for source in sources.iter_mut().filter(|source| !source.is_settled) {
            source.is_settled = source.contents.is_within(&contents);
        }
        *next = Some((std::mem::take(spare), contents));
    }

    /// Notes that the packet left as `number`.
    pub fn on_sent(&mut self, now: Timestamp, number: PacketNumber) {
        let Some(Memory { sources, next, spare, .. }) = self.memory.as_deref_mut() else { return };
        let Some((symbol, contents)) = next.take() else { return };
        let gap = sources.back().map(|last| now.since(last.left_at).min(MAX_GAP));
        sources.push_back(Source { number, symbol, contents, left_at: now, alone: 0, is_settled: false });
        if sources.len() > MAX_SOURCES
            && let Some(oldest) = sources.pop_front()
        {
            *spare = oldest.symbol;
        }
        if let Some(gap) = gap {
            self.on_gap(gap);
        }
    }

    /// Notes the gap between two packets with symbols.
    fn on_gap(&mut self, gap: Duration) {
        self.pace = ((self.pace.get() * 7 + gap) / 8).into();
    }

    /// Notes an ack; `has_arrived` states which sent packets have arrived.
    pub fn on_ack(&mut self, has_arrived: impl Fn(PacketNumber) -> bool) {
        let sources = self.memory.iter_mut().flat_map(|memory| &mut memory.sources);
        sources.for_each(|source| source.is_settled = source.is_settled || has_arrived(source.number));
    }

    /// Returns whether any packets are remembered that a REPAIR could cover.
    pub fn may_repair(&self) -> bool {
        self.memory.as_ref().is_some_and(|memory| memory.sources.iter().any(|source| !source.is_settled))
    }

    /// Returns when a REPAIR must leave even if nothing else does.
    // spec: REP-3
    pub fn deadline(&self, rtt: Duration) -> Option<Timestamp> {
        let newest = self.newest().filter(|newest| !newest.is_settled)?;
        (newest.alone < self.most_alone()).then(|| newest.left_at + self.wait(rtt, newest.alone))
    }

    /// Returns how many REPAIRs in packets of their own a packet gets that nothing follows.
    fn most_alone(&self) -> u8 {
        match (self.level(), self.loss.share()) {
            (Level::Off, _) => 0,
            // At a good pace, later packets repair this one soon enough for so few losses.
            (Level::Low, _) => u8::from(self.is_thin()),
            (_, share) if share < ALONE_TWICE => 1,
            (_, share) if share < ALONE_THRICE => 2,
            _ => 3,
        }
    }

    /// Returns how long after a packet the next REPAIR of it leaves, when `alone` have left.
    fn wait(&self, rtt: Duration, alone: u8) -> Duration {
        let first = if self.is_thin() {
            (rtt / 8).min(Duration::from_millis(10))
        } else {
            (rtt * 7 / 20).min(Duration::from_millis(14))
        };
        match alone {
            0 => first,
            1 => first * 3,
            _ => first * 6,
        }
    }

    /// Returns the REPAIRs, of at most `room` bytes, for a packet that leaves anyway as `number`.
    // spec: REP-2
    pub fn for_packet(&mut self, now: Timestamp, number: PacketNumber, room: usize) -> SmallVec<[Repair; 2]> {
        let level = self.level();
        if level == Level::Off {
            self.memory = None;
            return SmallVec::new();
        }
        self.is_other_turn = !self.is_other_turn;
        if self.skips(now, level) {
            return SmallVec::new();
        }
        let mut room = room;
        let mut repairs = SmallVec::new();
        for set in sets(level) {
            repairs.extend(self.repair(now, number, set, &mut room));
        }
        repairs
    }

    /// Returns whether the next packet carries no REPAIR.
    fn skips(&self, now: Timestamp, level: Level) -> bool {
        let Some(newest) = self.newest() else { return true };
        let follows_a_gap = now.since(newest.left_at) >= GAP;
        let was_repaired = self.is_thin() && newest.alone > 0;
        match level {
            Level::Off => true,
            Level::Low => was_repaired || (self.is_other_turn && !follows_a_gap),
            Level::Medium => was_repaired,
            Level::High => false,
        }
    }

    /// Returns the REPAIR for a packet of its own that leaves as `number`. It counts as sent even without
    /// room or budget; otherwise its deadline would never pass.
    // spec: REP-3
    pub fn for_itself(&mut self, now: Timestamp, number: PacketNumber, room: usize) -> Option<Repair> {
        let mut room = room;
        let repair = self.repair(now, number, &[1, 2], &mut room);
        if let Some(newest) = self.memory.as_mut().and_then(|memory| memory.sources.back_mut()) {
            newest.alone += 1;
        }
        repair
    }

    /// Stops repairing what was sent, and expects the next packet late.
    pub fn go_idle(&mut self) {
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

    /// Returns a REPAIR of the packets `back` places from the end, as far as they are remembered and not
    /// acked, if room and budget permit. Packets sent at this very moment are left out, since they would be
    /// lost together with this one.
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
            (source.left_at < now && lag > 0 && !source.is_settled).then_some((lag, &source.symbol))
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

/// Returns which packets each REPAIR of a packet covers, in places from the end.
fn sets(level: Level) -> &'static [&'static [usize]] {
    match level {
        Level::Off => &[],
        Level::Low => &[&[1, 2, 3]],
        Level::Medium => &[&[1, 3]],
        Level::High => &[&[1, 3], &[3, 6]],
    }
}

/// Returns the loss share of a path on which nothing has left.
fn supposed() -> LossShare {
    LossShare::over(LOSS_PACKETS).starting_at(FIRST_SHARE)
}
