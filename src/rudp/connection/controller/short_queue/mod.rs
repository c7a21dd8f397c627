//! [`ShortQueue`]: fills the line but not the queue in front of it.
//!
//! A session's small messages share their path with bulk transfers, and wait for whatever those leave standing in
//! a queue. So the window follows the queueing delay: the smallest round trip of the latest round less the
//! smallest of the last 5 to 10 s.
//!
//! - **Target.** 5 ms plus half the mean difference of two successive samples, at most 20 ms, so that jitter is
//!   not taken for a queue (fixed targets as in Swift and LEDBAT++ would be exceeded on radio links).
//! - **Slow start** ends at the third successive sample beyond the target, with half the window, because the
//!   samples are a round trip old (HyStart, RFC 9406).
//! - **Once per round** in which the window was the limit: at or below the target it grows by a datagram, then by
//!   one more in each further round while there is hardly a queue (Copa's velocity), up to 1/32 of the window,
//!   so that it overshoots the target by little. Above the target it shrinks by `0.8 × excess / round trip`, by
//!   half at most (Swift), and waits a round for the effect.
//! - **Loss** below 2 % of packets is not congestion. Above, the window shrinks once per round by four times the
//!   excess, at most 30 %. A round in which one packet in ten and at least four are lost counts as 30 % at once.
//!   This is gentler than RFC 9002 §7.3.2 by itself, but the queueing delay takes effect first and leaves less in
//!   a queue.
//! - **Marks** (CE) shrink the window by a fifth, or by half in slow start, once per round together with losses. A
//!   queue that marks belongs to a path that keeps its queues short by itself.
//! - **A stream of its own pace.** What the path has carried for the app without a queue, while the window was not
//!   the limit, it still carries when it becomes longer. So the delay does not reduce the window below what keeps
//!   that rate, and a quarter more, over the longer round trip; a window that is smaller grows to it. Losses and
//!   marks end this, and so does a time of 5 to 10 s without such a round.
//! - **Reducing in vain.** When the delay has stayed above the target for 8 rounds although the window was reduced
//!   in each, and has fallen by less than a quarter, or by less than half of what a queue of this end would have
//!   lost, it is not this end's. Reducing takes no more than half of the window meanwhile, and gives it back.
//!   - A delay of up to 40 ms is first taken for the path's own, as with radio links, which deliver in bursts: the
//!     more is sent, the more waits for a burst. It is added to the target, and fades by a quarter every 5 s.
//!   - **Competing.** Otherwise another flow fills the queue, or the path has become longer. The controller
//!     continues as [`NewReno`](super::NewReno) until the queue drains (Copa's mode switching), for 5 s at most
//!     before it tries again; a longer path is known by then, or after another 5 s. On a line so slow that the
//!     smallest window is a queue, there may be no other flow: if three times as much in flight brings hardly more,
//!     it assumes for five minutes that it is alone, or until it gets less than three quarters of that rate.
//! - **Drain.** When the last 5 s have not come near the previous minimum, the window is halved for two rounds,
//!   so that this end's own queue does not replace the minimum that is forgotten (LEDBAT++'s slowdown).
//! - **Persistent congestion** leaves four datagrams, and slow start up to half of the last window. The minimum
//!   is forgotten, since the path may be another (RFC 9002 §5.2).
//!
//! The window is sent at an even pace, once per round trip. In addition, what is sent in 40 ms, at most 19,200
//! bytes, may be in flight, since acks are delayed: otherwise a small message would wait for the next ack, not
//! for its turn.
//!
//! Rounds in which the window was not the limit change nothing, unless the path is congested: then a window
//! larger than what arrived in a round trip is cut to that and reduced from there (RFC 7661), with slow start up
//! to half of its former size. A thin stream keeps the initial window.

mod competing;
mod min_rtt;
mod queue_delay;

use std::time::Duration;

use self::competing::{Alone, Competing};
use self::queue_delay::QueueDelay;
use super::{Acked, Controller, Lost, MAX_WINDOW_BYTES, Marked, NewReno, after_mark, initial_window};
use crate::base::{Span, Timestamp};
use crate::rudp::connection::acks::MAX_UNACKED_BYTES;
use crate::rudp::connection::loss::LossShare;

/// Delay-based congestion control.
#[derive(Debug)]
pub struct ShortQueue {
    datagram: usize,
    /// Longest time that the peer delays an ack.
    ack_delay: Span,
    /// Bytes that leave in a round trip. More may be in flight: see [`Controller::window_bytes`].
    window: usize,
    slow_start_threshold: usize,
    delay: QueueDelay,
    loss: LossShare,
    round: Round,
    /// Bytes acked in the last round, scaled to a round trip.
    arrived: usize,
    /// Datagrams by which the next round below the target increases the window.
    velocity: u32,
    /// When the window was last reduced for loss or marks.
    reduced_at: Timestamp,
    /// The window was reduced a round ago: the packets measured now were sent before that.
    settling: bool,
    vain: Vain,
    /// Bytes a second that are acked, smoothed over rounds.
    rate: u64,
    carried: Carried,
    /// Whether the last time of competing showed that no other flow is there.
    alone: Alone,
    mode: Mode,
}

#[derive(Debug)]
enum Mode {
    Delay,
    /// Rare.
    Competing(Box<Competing>),
    /// Half of `window` is used for `rounds` more rounds.
    Draining {
        rounds: u32,
    },
}

/// The rate of the app that the path has carried without a queue while the window was not the limit.
#[derive(Debug, Default)]
struct Carried {
    /// Bytes a second, smoothed over rounds.
    rate: u32,
    /// There was such a round in this period of the minimum.
    is_recent: bool,
}

/// Successive rounds that reduced the window without much effect on the delay.
#[derive(Debug)]
struct Vain {
    rounds: u32,
    /// The window before the first of them.
    window: u32,
    /// They reduce it no further.
    least: u32,
    /// The queueing delay before the first of them.
    queueing: Span,
}

/// One round trip: it ends when a packet that was sent after its start is acked.
#[derive(Debug, Default)]
struct Round {
    since: Timestamp,
    shortest: Option<Span>,
    bound: bool,
    acked: u32,
    acked_bytes: usize,
    lost: u32,
    /// The window was reduced for loss or marks in this round.
    reduced: bool,
}

/// Successive samples beyond the target that end slow start.
const SAMPLES_OVER_TARGET: u32 = 3;
/// A round increases the window by at most this part of it, or by one datagram: the queue that this adds is seen
/// more than a round later, when as much again has been sent.
const ROUNDS_TO_DOUBLE: usize = 32;
/// Packets over which losses are averaged, enough that chance is not taken for congestion.
const LOSS_PACKETS: u16 = 512;
/// Share of packets lost that is not congestion.
const TOLERATED_LOSS: f32 = 0.02;
/// Largest part of the window that losses take in a round.
const MOST_FOR_LOSS: f32 = 0.3;
/// Rounds that reduce the window without effect before the controller competes.
const ROUNDS_IN_VAIN: u32 = 8;
/// Rounds with half the window, to find the minimum round trip.
const DRAIN_ROUNDS: u32 = 2;
/// Datagrams in the smallest window.
const MIN_DATAGRAMS: usize = 4;
/// Most bytes for which a peer delays an ack. Spec: ACK-4.
const HELD_BYTES: usize = MAX_UNACKED_BYTES as usize;

impl Vain {
    const NONE: Self = Self { rounds: 0, window: 0, least: 0, queueing: Span::ZERO };

    /// Returns whether the delay has fallen by at least half of what a queue of this end would have lost to the
    /// smaller `window`.
    fn has_worked(&self, window: usize, rtt: Duration, queueing: Duration) -> bool {
        let before = self.queueing.get();
        let reduced = self.window.saturating_sub(narrow(window));
        let expected = (rtt.saturating_sub(queueing) + before) * reduced / self.window.max(1);
        before.saturating_sub(queueing) * 2 >= expected
    }
}

impl Carried {
    /// Notes the `rate` of a round without a queue in which the window was not the limit.
    fn on_round(&mut self, rate: usize) {
        let rate = narrow(rate);
        self.rate = if self.rate == 0 { rate } else { self.rate - self.rate / 8 + rate / 8 };
        self.is_recent = true;
    }

    /// Notes that a period of the minimum is over.
    fn end_period(&mut self) {
        if !std::mem::take(&mut self.is_recent) {
            self.rate = 0;
        }
    }

    /// Returns the window that keeps this rate over a round trip of `rtt`, with a quarter more to catch up.
    fn window(&self, rtt: Duration) -> usize {
        scaled(self.rate as usize, rtt * 5 / 4, Duration::from_secs(1))
    }
}

impl ShortQueue {
    /// Begins with the initial window in slow start. The peer delays acks for up to `ack_delay`.
    pub fn new(now: Timestamp, datagram: usize, ack_delay: Duration) -> Self {
        Self {
            datagram,
            ack_delay: ack_delay.into(),
            window: initial_window(datagram),
            slow_start_threshold: usize::MAX,
            delay: QueueDelay::new(now),
            loss: LossShare::over(LOSS_PACKETS),
            round: Round { since: now, ..Round::default() },
            arrived: 0,
            velocity: 1,
            reduced_at: Timestamp::ZERO,
            settling: false,
            vain: Vain::NONE,
            rate: 0,
            carried: Carried::default(),
            alone: Alone::default(),
            mode: Mode::Delay,
        }
    }

    /// Returns the bytes that have arrived and whose ack the peer still delays.
    fn held(&self) -> usize {
        scaled(self.window, self.ack_delay.get(), self.delay.round_trip()).min(HELD_BYTES)
    }

    fn least_window(&self) -> usize {
        MIN_DATAGRAMS * self.datagram
    }

    fn set_window(&mut self, bytes: usize) {
        self.window = bytes.clamp(self.least_window(), MAX_WINDOW_BYTES);
    }

    /// Continues with `window`, which was not found by slow start.
    fn go_on_with(&mut self, window: usize) {
        self.set_window(window);
        self.slow_start_threshold = self.window;
        self.velocity = 1;
    }

    fn on_sample(&mut self, rtt: Duration) {
        self.delay.on_sample(rtt);
        let span = Span::from(rtt);
        self.round.shortest = Some(self.round.shortest.map_or(span, |shortest| shortest.min(span)));
        if self.is_in_slow_start()
            && self.round.bound
            && self.delay.samples_over_target() >= SAMPLES_OVER_TARGET
        {
            self.go_on_with((self.window / 2).max(self.carried.window(rtt)));
        }
    }

    fn end_round(&mut self, now: Timestamp) {
        let round = std::mem::replace(&mut self.round, Round { since: now, ..Round::default() });
        let tells_rate = self.follow_rate(&round, now.since(round.since));
        if let Some(shortest) = round.shortest.map(Span::get) {
            let (queueing, in_slow_start) = (self.delay.of(shortest), self.is_in_slow_start());
            if !round.bound && queueing <= self.delay.target() {
                let length = now.since(round.since).max(shortest);
                self.carried.on_round(scaled(round.acked_bytes, Duration::from_secs(1), length));
            }
            match &mut self.mode {
                Mode::Delay if round.bound && !in_slow_start => {
                    self.follow_delay(now, shortest, queueing, round.reduced);
                }
                Mode::Delay => {}
                Mode::Competing(_) => self.compete(now, queueing, tells_rate),
                Mode::Draining { rounds } => {
                    *rounds -= 1;
                    if *rounds == 0 {
                        self.mode = Mode::Delay;
                        self.begin_period(now);
                    }
                }
            }
        }
        if self.delay.is_period_over(now) {
            match self.mode {
                Mode::Delay if round.bound && self.delay.may_hide_a_queue() => {
                    self.mode = Mode::Draining { rounds: DRAIN_ROUNDS };
                }
                Mode::Draining { .. } => {}
                Mode::Delay | Mode::Competing(_) => self.begin_period(now),
            }
        }
    }

    /// Begins the next period of the minimum.
    fn begin_period(&mut self, now: Timestamp) {
        self.delay.begin_period(now);
        self.carried.end_period();
    }

    /// Notes what arrived in a `round` of this `length`. Returns true if that shows the rate of the line.
    fn follow_rate(&mut self, round: &Round, length: Duration) -> bool {
        let round_trip = self.delay.round_trip();
        // In a longer round nothing was sent for a while.
        let longest = (round_trip + self.ack_delay.get()) * 2;
        self.arrived = scaled(round.acked_bytes, round_trip, length.min(longest));
        let tells_rate = round.bound && length <= longest;
        if tells_rate {
            let rate = scaled(round.acked_bytes, Duration::from_secs(1), length) as u64;
            self.rate = if self.rate == 0 { rate } else { self.rate.midpoint(rate) };
        }
        tells_rate
    }

    /// Ends a round of competing.
    fn compete(&mut self, now: Timestamp, queueing: Duration, tells_rate: bool) {
        let (drained, least) = (queueing <= self.delay.target(), self.least_window());
        let Mode::Competing(competing) = &mut self.mode else { return };
        let is_in_vain = tells_rate && competing.on_round(self.rate, least);
        if !(is_in_vain || drained || competing.is_over(now)) {
            return;
        }
        let mut window = competing.reno.window_bytes();
        if is_in_vain {
            window = competing.window_before();
            self.alone = Alone::found(now, self.rate);
        }
        self.mode = Mode::Delay;
        self.go_on_with(window);
    }

    fn follow_delay(&mut self, now: Timestamp, rtt: Duration, queueing: Duration, reduced: bool) {
        let target = self.delay.target();
        self.alone.on_rate(self.rate);
        if std::mem::take(&mut self.settling) {
            return;
        }
        let has_worked = self.vain.has_worked(self.window, rtt, queueing);
        if queueing <= target {
            if has_worked {
                self.vain = Vain::NONE;
            }
            if queueing > target / 4 {
                self.velocity = 1;
            }
            if !reduced {
                self.set_window(self.window + self.velocity as usize * self.datagram);
                let most = narrow(self.window / self.datagram / ROUNDS_TO_DOUBLE).max(1);
                self.velocity = (self.velocity + 1).min(most);
            }
            return;
        }
        self.settling = true;
        if self.vain.rounds == 0 || (has_worked && queueing < self.vain.queueing.get() * 3 / 4) {
            let window = narrow(self.window);
            self.vain = Vain { rounds: 0, window, least: window / 2, queueing: queueing.into() };
        }
        let carries = narrow(self.carried.window(rtt));
        (self.vain.window, self.vain.least) = (self.vain.window.max(carries), self.vain.least.max(carries));
        self.vain.rounds += 1;
        if self.vain.rounds >= ROUNDS_IN_VAIN && !self.alone.holds(now) {
            return self.end_vain(now, queueing);
        }
        let less = scaled(self.window, (queueing - target) * 4 / 5, rtt);
        self.go_on_with(self.window.saturating_sub(less).max(self.vain.least as usize));
    }

    /// Ends successive rounds in vain with the window that was there before them: the `queueing` delay belongs to
    /// the path, or to another flow.
    fn end_vain(&mut self, now: Timestamp, queueing: Duration) {
        let Vain { window, queueing: before, .. } = std::mem::replace(&mut self.vain, Vain::NONE);
        let window = (window as usize).min(MAX_WINDOW_BYTES);
        // About the smallest window may be a queue by itself.
        let is_small = window <= 2 * self.least_window();
        if !is_small && self.delay.allow(queueing.max(before.get())) {
            return self.go_on_with(window);
        }
        let reno = NewReno::at(self.datagram, window);
        let competing = Competing::new(now, reno, self.window, self.window_bytes(), self.rate);
        self.mode = Mode::Competing(Box::new(competing));
    }

    /// Returns the part of the window that was used, which congestion reduces: all of it where it was the limit;
    /// `None` where it was not, although none of it was unused.
    // spec: REL-8
    fn window_in_use(&self, app_limited: bool) -> Option<usize> {
        if !app_limited {
            return Some(self.window);
        }
        let used = self.arrived.max(initial_window(self.datagram));
        (used < self.window).then_some(used)
    }

    /// Continues with `window`, which is less than the present one. A window that was not the limit has been useful
    /// before, and slow start finds it again sooner.
    fn reduce(&mut self, now: Timestamp, window: usize, app_limited: bool) {
        (self.round.reduced, self.reduced_at) = (true, now);
        (self.carried, self.vain.least) = (Carried::default(), self.vain.least.min(narrow(window / 2)));
        let before = self.window;
        if app_limited {
            self.go_on_with(window.max(initial_window(self.datagram)));
            self.slow_start_threshold = self.window.max(before / 2);
        } else {
            self.go_on_with(window);
        }
    }

    /// Starts again after persistent congestion. Packets of the same outage that are found lost later change nothing.
    fn begin_anew(&mut self, now: Timestamp) {
        let least = self.least_window();
        let is_again = self.is_in_slow_start() && self.window <= least;
        let before = if let Mode::Competing(_) = self.mode { self.window_bytes() } else { self.window };
        let threshold = if is_again { self.slow_start_threshold } else { (before / 2).max(least) };
        (self.mode, self.vain, self.carried) = (Mode::Delay, Vain::NONE, Carried::default());
        self.delay.forget_minimum(now);
        self.go_on_with(least);
        self.slow_start_threshold = threshold;
        (self.round.reduced, self.reduced_at, self.settling) = (true, now, false);
    }

    /// Reduces the window by the losses above those tolerated, once per round.
    fn follow_loss(&mut self, now: Timestamp, app_limited: bool) {
        let all = self.round.acked + self.round.lost;
        let at_once = self.round.lost >= 4 && self.round.lost * 10 >= all;
        let excess = (self.loss.share() - TOLERATED_LOSS).max(0.0);
        if self.round.reduced || !(at_once || excess > 0.0) {
            return;
        }
        let Some(window) = self.window_in_use(app_limited) else { return };
        let part = if at_once { MOST_FOR_LOSS } else { (4.0 * excess).min(MOST_FOR_LOSS) };
        self.reduce(now, window - part_of(window, part), app_limited);
    }
}

/// Returns `bytes × part / whole`, without overflow even where a `usize` has 32 bits.
fn scaled(bytes: usize, part: Duration, whole: Duration) -> usize {
    let scaled = bytes as u128 * part.as_micros() / whole.as_micros().max(1);
    usize::try_from(scaled).unwrap_or(usize::MAX)
}

/// Returns a window or a rate, or the largest that 32 bits hold: each connection keeps several.
fn narrow(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a part of a window is between 0 and the window, and a window below 2^24"
)]
fn part_of(window: usize, part: f32) -> usize {
    (window as f32 * part) as usize
}

impl Controller for ShortQueue {
    fn on_acked(&mut self, now: Timestamp, acked: &Acked) {
        self.loss.on_acked();
        self.round.acked += 1;
        self.round.acked_bytes += acked.bytes;
        self.round.bound |= !acked.app_limited;
        if let Some(rtt) = acked.rtt {
            self.on_sample(rtt);
        }
        if let Mode::Competing(competing) = &mut self.mode {
            competing.reno.on_acked(now, acked);
        } else if self.is_in_slow_start() && !acked.app_limited && self.delay.samples_over_target() == 0 {
            self.set_window(self.window + acked.bytes);
        }
        if acked.sent_at >= self.round.since {
            self.end_round(now);
        }
    }

    fn on_lost(&mut self, now: Timestamp, lost: &Lost) {
        (0..lost.packets).for_each(|_| self.loss.on_lost());
        self.round.lost += lost.packets;
        if lost.persistent {
            return self.begin_anew(now);
        }
        if let Mode::Competing(competing) = &mut self.mode {
            competing.reno.on_lost(now, lost);
        } else {
            self.follow_loss(now, lost.app_limited);
        }
    }

    fn on_marked(&mut self, now: Timestamp, marked: &Marked) {
        if let Mode::Competing(competing) = &mut self.mode {
            return competing.reno.on_marked(now, marked);
        }
        if self.round.reduced || marked.newest_sent_at <= self.reduced_at {
            return;
        }
        let Some(window) = self.window_in_use(marked.app_limited) else { return };
        self.reduce(now, after_mark(window, self.is_in_slow_start()), marked.app_limited);
        self.settling |= !marked.app_limited;
    }

    fn on_spurious(&mut self) {
        self.loss.on_spurious();
    }

    fn window_bytes(&self) -> usize {
        match &self.mode {
            Mode::Delay if self.is_in_slow_start() => self.window,
            Mode::Delay => (self.window + self.held()).min(MAX_WINDOW_BYTES),
            Mode::Competing(competing) => competing.reno.window_bytes(),
            Mode::Draining { .. } => (self.window / 2).max(self.least_window()),
        }
    }

    fn is_in_slow_start(&self) -> bool {
        matches!(self.mode, Mode::Delay) && self.window < self.slow_start_threshold
    }

    fn pacing_gain(&self) -> (u64, u64) {
        match self.mode {
            Mode::Delay if !self.is_in_slow_start() => (1, 1),
            _ if self.is_in_slow_start() => (2, 1),
            _ => (5, 4),
        }
    }

    fn paced_bytes(&self) -> usize {
        if matches!(self.mode, Mode::Delay) { self.window } else { self.window_bytes() }
    }
}

#[cfg(test)]
mod tests;
