//! A pure model of an impaired link: given a time and a datagram, it determines what arrives and when.
//!
//! A link is one direction; two of them make a path. It is driven by a seed, so the same datagrams at the
//! same times meet the same fate. `rallypoint netsim` puts it between real sockets, the simulation between
//! simulated ones. The model depends on neither.

mod bottleneck;
mod loss;
#[cfg(test)]
mod tests;

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rand::Rng;
use rand::rngs::StdRng;
use smallvec::SmallVec;

use self::bottleneck::Bottleneck;
use self::loss::Bursts;
use crate::base::{Ecn, Timestamp};

/// What a link does to datagrams. The default does nothing: all arrive at once and unchanged.
#[derive(Debug, Clone, PartialEq)]
pub struct Impairments {
    /// Share of datagrams lost, 0 to 1.
    pub loss: f64,
    /// Mean number of datagrams lost in a row; 1, or less than independent losses have, means independent.
    pub burst: f64,
    /// One-way delay.
    pub delay: Duration,
    /// Most that is added to the delay, uniformly. Keeps the order, as a queue does.
    pub jitter: Duration,
    /// Share that arrives twice.
    pub duplicate: f64,
    /// Share held back until after some later ones.
    pub reorder: f64,
    /// Share that arrives with flipped bits.
    pub corrupt: f64,
    /// Bits per second, UDP and IPv4 headers included; `None` for no limit.
    pub rate: Option<u64>,
    /// Longest time in the queue before a line of limited rate.
    pub queue: Duration,
    /// Time in that queue after which a datagram that came marked ECT leaves it marked CE; `None` for never.
    pub mark_after: Option<Duration>,
    /// Treatment of marked datagrams.
    pub marks: Marks,
    /// Longest datagram that passes, in bytes of UDP payload; `None` for any.
    pub mtu: Option<usize>,
    /// Periods in which nothing passes.
    pub blackhole: Option<Blackhole>,
}

/// What happens to datagrams that are marked ECT or CE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Marks {
    /// They pass unchanged.
    #[default]
    Keep,
    /// They pass without their marks.
    Clear,
    /// They are dropped.
    Drop,
    /// They pass marked CE.
    Congest,
}

/// Recurring periods in which nothing passes. The first begins `every` after the link's first datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blackhole {
    /// Time from one start to the next, and until the first.
    pub every: Duration,
    /// Duration of each period.
    pub lasting: Duration,
}

/// A datagram that comes out of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// Time of arrival.
    pub at: Timestamp,
    /// ECN mark.
    pub ecn: Ecn,
    /// The datagram.
    pub datagram: Bytes,
}

/// What a link has done so far, in datagrams unless bytes are stated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Datagrams put in.
    pub offered: u64,
    /// Bytes put in.
    pub offered_bytes: u64,
    /// Datagrams delivered, copies included.
    pub delivered: u64,
    /// Bytes delivered.
    pub delivered_bytes: u64,
    /// Lost by chance.
    pub lost: u64,
    /// Dropped by a full queue.
    pub queue_full: u64,
    /// Dropped as longer than the MTU.
    pub too_long: u64,
    /// Marked CE by this link.
    pub congested: u64,
    /// Dropped for their marks.
    pub marks_dropped: u64,
    /// Dropped in a blackhole.
    pub blackholed: u64,
    /// Delivered a second time.
    pub duplicated: u64,
    /// Held back.
    pub reordered: u64,
    /// Delivered with flipped bits.
    pub corrupted: u64,
}

/// One direction of an impaired path.
#[derive(Debug)]
pub struct Link {
    impairments: Impairments,
    rng: StdRng,
    bursts: Bursts,
    line: Option<Bottleneck>,
    /// When the first datagram came; blackholes are timed from it.
    began: Option<Timestamp>,
    /// When the last datagram came.
    came: Timestamp,
    /// Smoothed time between datagrams; those held back wait a few of these.
    gap: Duration,
    /// When the latest datagram arrives; jitter does not let the next one arrive earlier.
    latest: Timestamp,
    counts: Counts,
}

impl Link {
    /// Creates an unused link.
    pub fn new(impairments: Impairments, mut rng: StdRng) -> Self {
        let bursts = Bursts::new(impairments.loss, impairments.burst, &mut rng);
        let line = line(&impairments);
        Self {
            impairments,
            rng,
            bursts,
            line,
            began: None,
            came: Timestamp::ZERO,
            gap: Duration::ZERO,
            latest: Timestamp::ZERO,
            counts: Counts::default(),
        }
    }

    /// Puts in a datagram marked `ecn` at `now`, which must never run backwards. Returns what arrives:
    /// nothing, the datagram, or the datagram and a copy; no arrival is before `now`.
    pub fn carry(&mut self, now: Timestamp, ecn: Ecn, datagram: Bytes) -> SmallVec<[Arrival; 2]> {
        self.note_pace(now);
        self.counts.offered += 1;
        self.counts.offered_bytes += length(&datagram);
        let Some((left, ecn)) = self.survive(now, ecn, datagram.len()) else { return SmallVec::new() };
        let mut arrivals = SmallVec::new();
        let at = self.arrival(left);
        if self.happens(self.impairments.duplicate) {
            self.counts.duplicated += 1;
            let again = at + self.up_to(self.impairments.jitter.max(MIN_HOLD));
            arrivals.push(self.deliver(again, ecn, datagram.clone()));
        }
        arrivals.push(self.deliver(at, ecn, datagram));
        arrivals
    }

    /// Returns what the link has done so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Replaces the impairments from now on; datagrams already under way are not affected.
    pub fn set(&mut self, impairments: Impairments) {
        self.bursts = Bursts::new(impairments.loss, impairments.burst, &mut self.rng);
        self.line = line(&impairments);
        self.began = None;
        self.impairments = impairments;
    }

    /// Lets datagrams of up to `mtu` bytes pass from now on.
    pub fn set_mtu(&mut self, mtu: usize) {
        self.impairments.mtu = Some(mtu);
    }

    /// Returns when a datagram leaves for the other end, and its mark then; `None` when it never does.
    fn survive(&mut self, now: Timestamp, ecn: Ecn, bytes: usize) -> Option<(Timestamp, Ecn)> {
        // Bursts advance whatever else happens, so that they do not depend on the other settings.
        let lost = self.bursts.next_is_lost(&mut self.rng);
        if self.impairments.mtu.is_some_and(|mtu| bytes > mtu) {
            self.counts.too_long += 1;
            return None;
        }
        if self.in_blackhole(now) {
            self.counts.blackholed += 1;
            return None;
        }
        if self.impairments.marks == Marks::Drop && ecn != Ecn::NotEct {
            self.counts.marks_dropped += 1;
            return None;
        }
        let passed = self.line.as_mut().map_or(Some((now, false)), |line| line.pass(now, bytes));
        let Some((left, is_congested)) = passed else {
            self.counts.queue_full += 1;
            return None;
        };
        if lost {
            // It used the line's time all the same.
            self.counts.lost += 1;
            return None;
        }
        Some((left, self.mark(ecn, is_congested)))
    }

    /// Returns the mark after the link of a datagram that came marked `ecn`.
    fn mark(&mut self, ecn: Ecn, is_congested: bool) -> Ecn {
        match self.impairments.marks {
            _ if ecn == Ecn::NotEct => ecn,
            Marks::Clear => Ecn::NotEct,
            Marks::Keep | Marks::Drop if !is_congested => ecn,
            Marks::Keep | Marks::Drop | Marks::Congest => {
                self.counts.congested += 1;
                Ecn::Ce
            }
        }
    }

    /// Returns when a datagram that has left arrives.
    fn arrival(&mut self, left: Timestamp) -> Timestamp {
        let at = left + self.impairments.delay + self.up_to(self.impairments.jitter);
        if self.happens(self.impairments.reorder) {
            self.counts.reordered += 1;
            let gaps = self.rng.random_range(1.0..3.0);
            return at.max(self.latest) + self.gap.mul_f64(gaps).clamp(MIN_HOLD, MAX_HOLD);
        }
        self.latest = self.latest.max(at);
        self.latest
    }

    fn deliver(&mut self, at: Timestamp, ecn: Ecn, datagram: Bytes) -> Arrival {
        self.counts.delivered += 1;
        self.counts.delivered_bytes += length(&datagram);
        if !datagram.is_empty() && self.happens(self.impairments.corrupt) {
            self.counts.corrupted += 1;
            return Arrival { at, ecn, datagram: self.corrupted(&datagram) };
        }
        Arrival { at, ecn, datagram }
    }

    /// Returns `datagram`, which must not be empty, with one to three bits flipped.
    fn corrupted(&mut self, datagram: &Bytes) -> Bytes {
        let mut bytes = BytesMut::from(&datagram[..]);
        // Distinct bytes; otherwise two flips could cancel each other.
        let flips = self.rng.random_range(1..=3).min(bytes.len());
        for index in rand::seq::index::sample(&mut self.rng, bytes.len(), flips) {
            if let Some(byte) = bytes.get_mut(index) {
                *byte ^= 1 << self.rng.random_range(0..8);
            }
        }
        bytes.freeze()
    }

    fn in_blackhole(&self, now: Timestamp) -> bool {
        let (Some(hole), Some(began)) = (self.impairments.blackhole, self.began) else { return false };
        let age = now.since(began).as_micros();
        let every = hole.every.as_micros().max(1);
        age >= every && age % every < hole.lasting.as_micros()
    }

    fn note_pace(&mut self, now: Timestamp) {
        if self.began.is_some() {
            self.gap = (self.gap * 7 + now.since(self.came).min(MAX_HOLD)) / 8;
        }
        self.began.get_or_insert(now);
        self.came = now;
    }

    fn happens(&mut self, share: f64) -> bool {
        share > 0.0 && self.rng.random_bool(share.min(1.0))
    }

    fn up_to(&mut self, longest: Duration) -> Duration {
        if longest.is_zero() { Duration::ZERO } else { self.rng.random_range(Duration::ZERO..=longest) }
    }
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.offered += other.offered;
        self.offered_bytes += other.offered_bytes;
        self.delivered += other.delivered;
        self.delivered_bytes += other.delivered_bytes;
        self.lost += other.lost;
        self.queue_full += other.queue_full;
        self.too_long += other.too_long;
        self.congested += other.congested;
        self.marks_dropped += other.marks_dropped;
        self.blackholed += other.blackholed;
        self.duplicated += other.duplicated;
        self.reordered += other.reordered;
        self.corrupted += other.corrupted;
    }
}

impl Default for Impairments {
    fn default() -> Self {
        Self {
            loss: 0.0,
            burst: 1.0,
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            duplicate: 0.0,
            reorder: 0.0,
            corrupt: 0.0,
            rate: None,
            queue: Duration::from_millis(100),
            mark_after: None,
            marks: Marks::Keep,
            mtu: None,
            blackhole: None,
        }
    }
}

/// Shortest time that a datagram is held back, past others of the same instant.
const MIN_HOLD: Duration = Duration::from_millis(1);
/// Longest time that a datagram is held back when later ones are rare.
const MAX_HOLD: Duration = Duration::from_millis(100);

fn line(impairments: &Impairments) -> Option<Bottleneck> {
    let mark_after = impairments.mark_after.unwrap_or(Duration::MAX);
    impairments.rate.map(|rate| Bottleneck::new(rate, impairments.queue, mark_after))
}

fn length(datagram: &Bytes) -> u64 {
    u64::try_from(datagram.len()).unwrap_or(u64::MAX)
}
