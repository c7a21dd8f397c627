//! How much may be in flight, and how fast it leaves: the interface for congestion control.
//!
//! | file | what it is |
//! |---|---|
//! | `short_queue` | the default: keeps the path's queue short |
//! | `new_reno` | RFC 9002, for comparison, and used by the default beside a flow that fills the queue |
//! | `pacer` | spreads packets over the round trip |
//! | `congestion` | controller and pacer of one connection, and what they allow now |

mod congestion;
mod new_reno;
mod pacer;
mod short_queue;

use std::time::Duration;

pub use self::congestion::Congestion;
use self::new_reno::NewReno;
use self::pacer::Pacer;
use self::short_queue::ShortQueue;
use super::config::CongestionControl;
use crate::base::Timestamp;

/// Decides how many bytes may be in flight; every packet's fate is reported to it.
pub trait Controller: Send + Sync {
    /// Notes that a packet was acked.
    fn on_acked(&mut self, now: Timestamp, acked: &Acked);

    /// Notes packets that were found lost at the same time.
    fn on_lost(&mut self, now: Timestamp, lost: &Lost);

    /// Notes that packets arrived marked CE: a queue on the path has grown, and nothing is lost.
    fn on_marked(&mut self, now: Timestamp, marked: &Marked);

    /// Notes that a packet declared lost has arrived after all.
    fn on_spurious(&mut self);

    /// Returns the bytes that may be in flight.
    fn window_bytes(&self) -> usize;

    /// Returns whether the window grows by what is acked.
    fn is_in_slow_start(&self) -> bool;

    /// Returns how many times the paced bytes leave in a round trip, as a fraction. It is somewhat more than
    /// one, so that the window is the limit that binds. RFC 9002 §7.7.
    fn pacing_gain(&self) -> (u64, u64) {
        if self.is_in_slow_start() { (2, 1) } else { (5, 4) }
    }

    /// Returns the bytes that leave in a round trip.
    fn paced_bytes(&self) -> usize {
        self.window_bytes()
    }

    /// Returns the bytes per second at which packets leave when a round trip takes `smoothed`.
    fn pacing_bytes_per_second(&self, smoothed: Duration) -> u64 {
        let (numerator, denominator) = self.pacing_gain();
        let round = u64::try_from(smoothed.as_micros()).unwrap_or(u64::MAX).max(1);
        (self.paced_bytes() as u64).saturating_mul(1_000_000 * numerator) / round.saturating_mul(denominator)
    }
}

/// A packet that was acked.
#[derive(Clone, Copy, Debug)]
pub struct Acked {
    /// Size as UDP payload.
    pub bytes: usize,
    /// When it was sent.
    pub sent_at: Timestamp,
    /// The round-trip time without the peer's ack delay, if this packet gives a sample.
    pub rtt: Option<Duration>,
    /// The window held nothing back from when the packet was sent until now. RFC 9002 §7.8.
    pub app_limited: bool,
}

/// Packets that were found lost at the same time.
#[derive(Clone, Copy, Debug)]
pub struct Lost {
    /// Number of packets; at least 1.
    pub packets: u32,
    /// When the newest of them was sent.
    pub newest_sent_at: Timestamp,
    /// The window has held nothing back since then.
    pub app_limited: bool,
    /// Nothing got through for several probe timeouts. RFC 9002 §7.6.
    pub persistent: bool,
}

/// Packets that arrived marked CE, which the peer reported at the same time.
#[derive(Clone, Copy, Debug)]
pub struct Marked {
    /// When the newest packet that may be among them was sent: the newest acked one.
    pub newest_sent_at: Timestamp,
    /// The window has held nothing back since then.
    pub app_limited: bool,
}

/// Returns the window after a mark. A queue that marks packets is kept short, so the window must shrink less
/// than after a loss (RFC 8511); but in slow start it exceeds what the path carries by up to a factor of two.
// spec: ECN-6
pub fn after_mark(window: usize, in_slow_start: bool) -> usize {
    if in_slow_start { window / 2 } else { window / 5 * 4 }
}

/// Creates the controller that `control` selects, for datagrams of up to `datagram` bytes and a peer that
/// delays acks by up to `ack_delay`.
fn new(
    control: CongestionControl,
    now: Timestamp,
    datagram: usize,
    ack_delay: Duration,
) -> Box<dyn Controller> {
    match control {
        CongestionControl::Delay => Box::new(ShortQueue::new(now, datagram, ack_delay)),
        CongestionControl::NewReno => Box::new(NewReno::new(datagram)),
    }
}

/// Returns the bytes that may be in flight at first. RFC 9002 §7.2.
// spec: REL-8
fn initial_window(datagram: usize) -> usize {
    (10 * datagram).min(14_720.max(2 * datagram))
}

/// Maximum of any window. A larger one gains nothing, and a peer that acks anything cannot make this end send
/// without bound.
pub const MAX_WINDOW_BYTES: usize = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    // spec-test: REL-8
    #[test]
    fn no_window_is_larger_than_16_mebibytes_whatever_is_acked() {
        for control in [CongestionControl::Delay, CongestionControl::NewReno] {
            let mut controller = new(control, Timestamp::ZERO, 1_200, Duration::from_millis(40));
            let acked = Acked { bytes: 9_000, sent_at: Timestamp::ZERO, rtt: None, app_limited: false };
            (0..4_000).for_each(|_| controller.on_acked(Timestamp::from_millis(40), &acked));
            assert_eq!(controller.window_bytes(), 16_777_216, "{control:?}");
        }
    }
}
