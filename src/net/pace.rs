//! When the loop takes its next turn, beyond what it waits for.
//!
//! | turns come | what it does |
//! |---|---|
//! | many times a millisecond | [`Slack`]: does not have its timer wake it between them |
//! | after datagrams, if so configured | [`BusyPoll`]: looks for more without sleeping |
//! | one after the other, most of the time | [`Load`]: takes them at intervals |

use std::time::Duration;

use crate::base::Timestamp;

/// How much later than a deadline the timer may end a wait.
///
/// Every turn sees to the deadlines that have come. While turns come many times a millisecond the timer
/// need not end a wait for them: most of its wake-ups would find that the next datagram has come as well.
#[derive(Debug)]
pub(super) struct Slack {
    last: Timestamp,
    /// Smoothed time from one turn to the next.
    interval: Duration,
}

/// A deadline is seen to so much later at most than it comes, and only while turns are faster than that.
const MAX_SLACK: Duration = Duration::from_millis(1);

impl Slack {
    pub(super) fn new(now: Timestamp) -> Self {
        Self { last: now, interval: MAX_SLACK }
    }

    pub(super) fn on_turn(&mut self, now: Timestamp) {
        // A longer silence says no more than that it was one.
        let interval = now.since(self.last).min(MAX_SLACK * 2);
        self.interval = (self.interval * 7 + interval) / 8;
        self.last = now;
    }

    /// Within so long the next turn is likely to come.
    pub(super) fn next_turn(&self) -> Duration {
        if self.interval < MAX_SLACK { self.interval * 4 } else { MAX_SLACK * 8 }
    }

    pub(super) fn time(&self) -> Duration {
        if self.interval < MAX_SLACK { (self.interval * 2).min(MAX_SLACK) } else { Duration::ZERO }
    }
}

/// Whether to look for datagrams without sleeping.
#[derive(Debug)]
pub(super) struct BusyPoll {
    time: Duration,
    until: Timestamp,
}

impl BusyPoll {
    /// For so long after each batch.
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

/// How much of its time the loop is at work, and how far apart it takes its turns for that.
///
/// A turn costs much the same whether it finds one datagram or many, and what has come for one receiver by
/// its end leaves in one datagram. So a loop that would soon have no time left takes fewer turns: the next
/// round of them starts an interval after the last, reads all that has come, and sends once. That adds an
/// interval to what is on its way, and less than the queue before a loop without time left would.
#[derive(Debug)]
pub(super) struct Load {
    /// When the time that is being measured started, and the work in it.
    since: Timestamp,
    work: Duration,
    /// When the round started, and the turn in it.
    round: Timestamp,
    turn: Timestamp,
    is_gathering: bool,
    /// From the start of one round to that of the next, at least.
    interval: Duration,
}

/// Work is measured over so long.
const MEASURED: Duration = Duration::from_millis(20);
/// The interval grows by a quarter and this, and one that is shorter than half of it is none.
const LEAST_INTERVAL: Duration = Duration::from_micros(500);
const MAX_INTERVAL: Duration = Duration::from_millis(16);

impl Load {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            since: now,
            work: Duration::ZERO,
            round: now,
            turn: now,
            is_gathering: false,
            interval: Duration::ZERO,
        }
    }

    pub(super) fn begin_turn(&mut self, now: Timestamp) {
        if !std::mem::replace(&mut self.is_gathering, false) {
            self.round = now;
        }
        self.turn = now;
    }

    /// True when the turn may read on in another one before anything is sent: the round is young enough.
    pub(super) fn may_gather(&mut self, now: Timestamp) -> bool {
        self.is_gathering = now.since(self.round) < self.interval;
        self.is_gathering
    }

    /// More than seven eighths of the time at work lengthen the interval. Less than three quarters shorten
    /// it, so that it is no longer than the load asks for, and less than half do so fast.
    pub(super) fn end_turn(&mut self, now: Timestamp) {
        self.work += now.since(self.turn);
        let measured = now.since(self.since);
        if measured < MEASURED {
            return;
        }
        self.interval = if self.work * 8 > measured * 7 {
            (self.interval * 5 / 4 + LEAST_INTERVAL).min(MAX_INTERVAL)
        } else if self.work * 2 < measured {
            self.interval * 3 / 4
        } else if self.work * 4 < measured * 3 {
            self.interval * 15 / 16
        } else {
            self.interval
        };
        if self.interval < LEAST_INTERVAL / 2 {
            self.interval = Duration::ZERO;
        }
        self.since = now;
        self.work = Duration::ZERO;
    }

    /// When the next round may begin, if not at once.
    pub(super) fn rest(&self) -> Option<Timestamp> {
        (self.interval > Duration::ZERO).then(|| self.round + self.interval)
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
        turns(&mut slack, 50, 100);
        assert!((200..=210).contains(&slack.time().as_micros()), "{:?}", slack.time());
        turns(&mut slack, 50, 700);
        assert_eq!(slack.time(), MAX_SLACK);
        turns(&mut slack, 3, 60_000);
        assert_eq!(slack.time(), Duration::ZERO, "a few slow turns end it");
    }

    /// Turns as fast as they can be, of 60 us and this part of the time since the one before; the interval
    /// and the share of time at work at their end.
    fn after(load: &mut Load, now: &mut Timestamp, turns: u32, part: f64) -> (Duration, f64) {
        let (begin, mut work) = (*now, Duration::ZERO);
        let mut last = *now;
        for _ in 0..turns {
            let this = Duration::from_micros(60) + now.since(last).mul_f64(part);
            last = *now;
            load.begin_turn(*now);
            load.end_turn(*now + this);
            *now = (*now + this.max(Duration::from_micros(100))).max(load.rest().unwrap_or_default());
            work += this;
        }
        (load.interval, work.as_secs_f64() / now.since(begin).as_secs_f64())
    }

    #[test]
    fn only_a_loop_that_is_at_work_most_of_the_time_takes_its_turns_at_intervals() {
        let mut now = Timestamp::from_millis(1_000);
        let mut load = Load::new(now);
        assert_eq!(after(&mut load, &mut now, 5_000, 0.1).0, Duration::ZERO);
        assert_eq!(load.rest(), None);
        after(&mut load, &mut now, 5_000, 0.6);
        let (interval, work) = after(&mut load, &mut now, 1_000, 0.6);
        assert_eq!(load.rest(), Some(load.round + interval));
        assert!(interval > Duration::ZERO && work < 0.8, "{interval:?} {work}");
        assert_eq!(after(&mut load, &mut now, 5_000, 0.0).0, Duration::ZERO, "it ends with the load");
    }

    #[test]
    fn an_interval_has_a_limit() {
        let mut now = Timestamp::from_millis(1_000);
        let mut load = Load::new(now);
        assert_eq!(after(&mut load, &mut now, 2_000, 1.0).0, MAX_INTERVAL);
    }

    #[test]
    fn an_interval_is_no_longer_than_the_load_asks_for() {
        let mut now = Timestamp::from_millis(1_000);
        let mut load = Load::new(now);
        after(&mut load, &mut now, 2_000, 1.0);
        let (interval, _) = after(&mut load, &mut now, 20_000, 0.5);
        assert!(
            interval < LEAST_INTERVAL * 2,
            "at work for more than half of the time, but not for all: {interval:?}"
        );
    }

    #[test]
    fn a_round_reads_on_for_an_interval_at_most() {
        let at = Timestamp::from_millis;
        let mut load = Load::new(at(1_000));
        assert!(!load.may_gather(at(1_000)), "there is no interval");
        load.interval = Duration::from_millis(10);
        let may_gather = |load: &mut Load, millis| {
            load.begin_turn(at(millis));
            load.may_gather(at(millis))
        };
        assert_eq!(
            [1_100, 1_105, 1_109, 1_110, 1_111].map(|millis| may_gather(&mut load, millis)),
            [true, true, true, false, true]
        );
        assert_eq!(load.rest(), Some(at(1_121)), "counted from the round that began last");
    }
}
