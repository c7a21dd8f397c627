//! [`NewReno`]: RFC 9002 §7 and appendix B.

use super::{Acked, Controller, Lost, MAX_WINDOW_BYTES, Marked, after_mark, initial_window};
use crate::base::Timestamp;

/// Grows until packets are lost, then halves. Fills whatever queue the path has.
#[derive(Debug)]
pub struct NewReno {
    datagram: usize,
    window: usize,
    slow_start_threshold: usize,
    /// Losses of packets sent before this time belong to a reduction already made.
    recovery_since: Option<Timestamp>,
    /// Bytes acked in congestion avoidance that have not increased the window yet.
    credit: usize,
}

impl NewReno {
    /// Starts with the initial window.
    pub fn new(datagram: usize) -> Self {
        Self {
            datagram,
            window: initial_window(datagram),
            slow_start_threshold: usize::MAX,
            recovery_since: None,
            credit: 0,
        }
    }

    /// Continues with a window that another controller has found.
    pub fn at(datagram: usize, window: usize) -> Self {
        Self { window, slow_start_threshold: window, ..Self::new(datagram) }
    }

    /// Continues with `window`, once for everything sent before now.
    fn reduce(&mut self, now: Timestamp, newest_sent_at: Timestamp, window: usize) {
        if self.recovery_since.is_some_and(|since| newest_sent_at <= since) {
            return;
        }
        self.recovery_since = Some(now);
        self.window = window.max(2 * self.datagram);
        self.slow_start_threshold = self.window;
        self.credit = 0;
    }
}

impl Controller for NewReno {
    fn on_acked(&mut self, _now: Timestamp, acked: &Acked) {
        let in_recovery = self.recovery_since.is_some_and(|since| acked.sent_at <= since);
        if acked.app_limited || in_recovery {
            return;
        }
        if self.is_in_slow_start() {
            self.window += acked.bytes;
        } else {
            self.credit += acked.bytes;
            if self.credit >= self.window {
                self.credit -= self.window;
                self.window += self.datagram;
            }
        }
        self.window = self.window.min(MAX_WINDOW_BYTES);
    }

    fn on_lost(&mut self, now: Timestamp, lost: &Lost) {
        self.reduce(now, lost.newest_sent_at, self.window / 2);
        if lost.persistent {
            self.window = 2 * self.datagram;
            self.recovery_since = None;
        }
    }

    fn on_marked(&mut self, now: Timestamp, marked: &Marked) {
        let window = after_mark(self.window, self.is_in_slow_start());
        self.reduce(now, marked.newest_sent_at, window);
    }

    fn on_spurious(&mut self) {}

    fn window_bytes(&self) -> usize {
        self.window
    }

    fn is_in_slow_start(&self) -> bool {
        self.window < self.slow_start_threshold
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn ack(reno: &mut NewReno, sent_at: u64, bytes: usize) {
        let acked = Acked { bytes, sent_at: at(sent_at), rtt: None, app_limited: false };
        reno.on_acked(at(sent_at + 40), &acked);
    }

    fn lose(reno: &mut NewReno, now: u64, sent_at: u64) {
        let newest_sent_at = at(sent_at);
        reno.on_lost(at(now), &Lost { packets: 1, newest_sent_at, app_limited: false, persistent: false });
    }

    /// Ten datagrams of 1,200 bytes are acked in the first round trip, which gives 24,000. A loss halves the
    /// window.
    #[test]
    fn it_doubles_a_round_trip_halves_on_loss_and_adds_one_datagram_a_window() {
        let mut reno = NewReno::new(1_200);
        assert_eq!(reno.window_bytes(), 12_000);
        (0..10).for_each(|_| ack(&mut reno, 0, 1_200));
        assert_eq!(reno.window_bytes(), 24_000);
        lose(&mut reno, 100, 50);
        assert_eq!(reno.window_bytes(), 12_000);
        (0..9).for_each(|_| ack(&mut reno, 101, 1_200));
        assert_eq!(reno.window_bytes(), 12_000, "10,800 of 12,000 bytes acked");
        ack(&mut reno, 101, 1_200);
        assert_eq!(reno.window_bytes(), 13_200);
    }

    // RFC 9002 §7.3.2
    #[test]
    fn one_round_trips_losses_reduce_once_and_acks_of_it_do_not_grow() {
        let mut reno = NewReno::new(1_200);
        lose(&mut reno, 100, 50);
        lose(&mut reno, 110, 60);
        ack(&mut reno, 90, 1_200);
        assert_eq!(reno.window_bytes(), 6_000);
        lose(&mut reno, 200, 101);
        assert_eq!(reno.window_bytes(), 3_000, "sent after the reduction: a new one");
    }

    fn mark(reno: &mut NewReno, now: u64, sent_at: u64) {
        reno.on_marked(at(now), &Marked { newest_sent_at: at(sent_at), app_limited: false });
    }

    /// Half of 12,000 bytes in slow start. Then four fifths, RFC 8511, down to two datagrams.
    // spec-test: ECN-6
    #[test]
    fn marks_reduce_once_a_round_trip_and_by_less_than_losses() {
        let mut reno = NewReno::new(1_200);
        mark(&mut reno, 100, 50);
        assert_eq!(reno.window_bytes(), 6_000);
        mark(&mut reno, 110, 60);
        lose(&mut reno, 120, 100);
        assert_eq!(reno.window_bytes(), 6_000, "sent before: the same congestion");
        mark(&mut reno, 200, 101);
        assert_eq!(reno.window_bytes(), 4_800);
        (0..100).for_each(|round| mark(&mut reno, 300 + round, 300 + round));
        assert_eq!(reno.window_bytes(), 2_400);
    }

    // RFC 9002 §7.6.2
    #[test]
    fn persistent_congestion_leaves_two_datagrams_and_slow_start() {
        let mut reno = NewReno::new(1_200);
        lose(&mut reno, 100, 50);
        let newest_sent_at = at(1_000);
        reno.on_lost(at(1_040), &Lost { packets: 1, newest_sent_at, app_limited: false, persistent: true });
        assert_eq!(reno.window_bytes(), 2_400);
        ack(&mut reno, 101, 1_200);
        assert_eq!(reno.window_bytes(), 3_600, "up to the threshold of 6,000 it is slow start");
    }

    // RFC 9002 §7.8
    #[test]
    fn a_window_that_is_not_used_does_not_grow() {
        let mut reno = NewReno::new(1_200);
        let acked = Acked { bytes: 1_200, sent_at: at(0), rtt: None, app_limited: true };
        reno.on_acked(at(40), &acked);
        assert_eq!(reno.window_bytes(), 12_000);
    }
}
