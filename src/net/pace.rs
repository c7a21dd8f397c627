//! The time of the loop's next turn, apart from the events that it waits for.
//!
//! | turns come | effect |
//! |---|---|
//! | many times a millisecond | [`Slack`]: the timer does not wake the loop between them |
//! | after datagrams, if configured | [`BusyPoll`]: looks for more without sleeping |
//! | one after another | [`Round`]: reads on before it sends, and rests after long ones |

use std::time::Duration;

use crate::base::Timestamp;

/// The time by which the timer may end a wait later than its deadline.
///
/// Every turn that sends handles the deadlines that have come. While turns come many times a millisecond, the
/// timer only ensures that deadlines are handled if the turns cease: as one of many connections is always
/// near its deadline, a timer set to it would be set, or would fire, with nearly every turn.
#[derive(Debug)]
pub(super) struct Slack {
    last: Timestamp,
    /// Smoothed interval between turns.
    interval: Duration,
}

/// Slack in intervals between turns. If turns come at random, 3,000 in a row come before it is over.
const SLACK_INTERVALS: u32 = 8;
/// There is no slack if turns are less frequent than this.
const MAX_SLACK_INTERVAL: Duration = Duration::from_millis(1);
/// A longer silence carries no more information.
const MAX_INTERVAL: Duration = Duration::from_millis(8);

impl Slack {
    pub(super) fn new(now: Timestamp) -> Self {
        Self { last: now, interval: MAX_INTERVAL }
    }

    pub(super) fn on_turn(&mut self, now: Timestamp) {
        let interval = now.since(self.last).min(MAX_INTERVAL);
        self.interval = (self.interval * 7 + interval) / 8;
        self.last = now;
    }

    /// Returns the time to the next turn, on average.
    pub(super) fn next_turn(&self) -> Duration {
        self.interval
    }

    pub(super) fn time(&self) -> Duration {
        if self.interval < MAX_SLACK_INTERVAL { self.interval * SLACK_INTERVALS } else { Duration::ZERO }
    }
}

/// Decides whether to look for datagrams without sleeping.
#[derive(Debug)]
pub(super) struct BusyPoll {
    time: Duration,
    until: Timestamp,
}

impl BusyPoll {
    /// Creates one that is busy for `time` after each batch.
    pub(super) fn new(time: Duration) -> Self {
        Self { time, until: Timestamp::ZERO }
    }

    pub(super) fn on_datagrams(&mut self, now: Timestamp) {
        self.until = now + self.time;
    }

    pub(super) fn is_busy(&self, now: Timestamp) -> bool {
        now < self.until
    }
}

/// Divides the loop's turns into rounds. Each round reads what has arrived, then sends the output that this
/// causes.
///
/// A round costs much the same whether it finds one datagram or many, and everything for one receiver that
/// has arrived by the end of its reading leaves in one datagram. So long rounds become more efficient by
/// themselves, because more arrives while they last, and a loop with little time to spare settles at the
/// shortest rounds that it can afford.
///
/// If even those are long, the core is nearly saturated, and a rest after each round makes the rounds
/// slightly longer still. That delays data in transit by the rest, and saves its receivers datagrams. A
/// single long round was delayed by something else, and no rest follows it.
#[derive(Debug)]
pub(super) struct Round {
    began: Timestamp,
    /// Duration of the previous round.
    last: Duration,
    /// Whether the next turn belongs to this round.
    goes_on: bool,
}

/// Maximum time that a round keeps reading.
const MAX_READING: Duration = Duration::from_millis(16);
/// The rest is half of the time by which rounds exceed this.
const SHORT_ROUND: Duration = Duration::from_millis(4);
/// Latest end of a rest after the beginning of its round.
const LATEST_END: Duration = Duration::from_millis(24);

impl Round {
    pub(super) fn new(now: Timestamp) -> Self {
        Self { began: now, last: Duration::ZERO, goes_on: false }
    }

    pub(super) fn begin_turn(&mut self, now: Timestamp) {
        if !std::mem::replace(&mut self.goes_on, false) {
            self.began = now;
        }
    }

    /// Returns true if another turn may read what has arrived before anything is sent.
    pub(super) fn reads_on(&mut self, now: Timestamp) -> bool {
        self.goes_on = now.since(self.began) < MAX_READING;
        self.goes_on
    }

    /// Extends the round to the next turn, because not everything was sent.
    pub(super) fn sends_on(&mut self) {
        self.goes_on = true;
    }

    /// Ends the round; `deadline` is the machine's next one. Returns until when to rest, if at all. If
    /// something was due when the round began and still is, it has been left over, and there is no rest.
    pub(super) fn end(&mut self, now: Timestamp, deadline: Option<Timestamp>) -> Option<Timestamp> {
        let took = now.since(self.began);
        let long = took.min(std::mem::replace(&mut self.last, took));
        let until = (now + long.saturating_sub(SHORT_ROUND) / 2).min(self.began + LATEST_END);
        let is_behind = deadline.is_some_and(|at| at <= self.began);
        (until > now && !is_behind).then_some(until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_is_busy_for_a_while_after_each_batch() {
        let at = Timestamp::from_millis;
        let mut busy = BusyPoll::new(Duration::from_millis(2));
        assert!(!busy.is_busy(at(1)), "nothing came yet");
        busy.on_datagrams(at(10));
        assert_eq!([10, 11, 12].map(|millis| busy.is_busy(at(millis))), [true, true, false]);
        let mut never = BusyPoll::new(Duration::ZERO);
        never.on_datagrams(at(10));
        assert!(!never.is_busy(at(10)));
    }

    #[test]
    fn only_a_loop_that_turns_fast_lets_its_timer_wait() {
        let mut now = Timestamp::from_millis(1_000);
        let mut slack = Slack::new(now);
        assert_eq!(slack.time(), Duration::ZERO, "nothing is known yet");
        let mut turns = |slack: &mut Slack, count, micros| {
            for _ in 0..count {
                now += Duration::from_micros(micros);
                slack.on_turn(now);
            }
        };
        turns(&mut slack, 60, 100);
        assert!((800..=840).contains(&slack.time().as_micros()), "{:?}", slack.time());
        turns(&mut slack, 60, 700);
        assert!((5_500..=5_600).contains(&slack.time().as_micros()), "{:?}", slack.time());
        turns(&mut slack, 1, 60_000);
        assert_eq!(slack.time(), Duration::ZERO, "a pause ends it");
    }

    #[test]
    fn only_long_rounds_are_followed_by_rests() {
        let (began, millis) = (Timestamp::from_millis(1_000), Duration::from_millis);
        let mut round = Round::new(began);
        round.begin_turn(began);
        let mut rest = |took| round.end(began + millis(took), None).map(|until| until.since(began));
        assert_eq!([4, 4, 9, 4, 8].map(&mut rest), [None; 5], "a long one alone");
        assert_eq!(
            [8, 6, 20, 22, 23].map(&mut rest),
            [10, 7, 21, 24, 24].map(|until| Some(millis(until))),
            "half of what the shorter of two was beyond 4 ms, until 24 ms from its beginning"
        );
        assert_eq!([24, 25].map(&mut rest), [None, None]);
        let end = began + millis(8);
        assert_eq!(round.end(end, Some(began)), None, "something was left over");
        assert!(round.end(end, Some(began + millis(1))).is_some(), "due since then");
    }

    #[test]
    fn a_round_reads_on_for_a_while_and_sends_on_until_all_is_sent() {
        let at = Timestamp::from_millis;
        let mut round = Round::new(at(1_000));
        let reads_on = |round: &mut Round, millis| {
            round.begin_turn(at(millis));
            round.reads_on(at(millis))
        };
        assert_eq!(
            [1_100, 1_108, 1_115, 1_116, 1_117].map(|millis| reads_on(&mut round, millis)),
            [true, true, true, false, true],
            "then another begins"
        );
        round.sends_on();
        assert!(!reads_on(&mut round, 1_133), "the same round, 17 ms old");
    }
}
