//! How much may be under way, and how fast it leaves: the port for congestion control.
//!
//! | file | what it is |
//! |---|---|
//! | `short_queue` | the default: keeps the queue of the path short |
//! | `new_reno` | RFC 9002, to compare, and what the default does beside a flow that fills the queue |
//! | `min_rtt` | the smallest round trip of the last seconds |
//! | `pacer` | spreads packets over the round trip |
//! | `congestion` | both for one connection, and what they allow now |

mod congestion;
mod min_rtt;
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

/// Decides how many bytes may be under way. Told of every packet's fate.
pub trait Controller: Send + Sync {
    /// A packet was acked.
    fn on_acked(&mut self, now: Timestamp, acked: &Acked);

    /// Packets were found lost, all at once.
    fn on_lost(&mut self, now: Timestamp, lost: &Lost);

    /// Packets have arrived marked CE: a queue on the path has grown, and nothing is lost.
    fn on_marked(&mut self, now: Timestamp, marked: &Marked);

    /// A packet taken for lost has arrived after all.
    fn on_spurious(&mut self);

    /// Bytes that may be under way.
    fn window_bytes(&self) -> usize;

    /// True while the window grows by what is acked.
    fn is_in_slow_start(&self) -> bool;

    /// How many times the paced bytes leave in a round trip, as a fraction. RFC 9002 §7.7: somewhat
    /// more than one, so that it is the window that binds.
    fn pacing_gain(&self) -> (u64, u64) {
        if self.is_in_slow_start() { (2, 1) } else { (5, 4) }
    }

    /// What leaves in a round trip, in bytes.
    fn paced_bytes(&self) -> usize {
        self.window_bytes()
    }

    /// Bytes a second at which packets leave when round trips take `smoothed`.
    fn pacing_bytes_per_second(&self, smoothed: Duration) -> u64 {
        let (numerator, denominator) = self.pacing_gain();
        let round = u64::try_from(smoothed.as_micros()).unwrap_or(u64::MAX).max(1);
        (self.paced_bytes() as u64).saturating_mul(1_000_000 * numerator) / round.saturating_mul(denominator)
    }
}

/// A packet that was acked.
#[derive(Clone, Copy, Debug)]
pub struct Acked {
    /// Bytes, UDP payload.
    pub bytes: usize,
    /// When it was sent.
    pub sent_at: Timestamp,
    /// The round trip without the time that the peer held the ack, if this packet gives a sample.
    pub rtt: Option<Duration>,
    /// The window did not hold anything back from when it was sent to now. RFC 9002 §7.8.
    pub app_limited: bool,
}

/// Packets that were found lost at the same time.
#[derive(Clone, Copy, Debug)]
pub struct Lost {
    /// How many; 1 at least.
    pub packets: u32,
    /// When the newest of them was sent.
    pub newest_sent_at: Timestamp,
    /// The window did not hold anything back since then.
    pub app_limited: bool,
    /// Nothing got through for several probe timeouts. RFC 9002 §7.6.
    pub persistent: bool,
}

/// Packets that arrived marked CE, of which the peer told at the same time.
#[derive(Clone, Copy, Debug)]
pub struct Marked {
    /// When the newest packet was sent that they may be: the newest that was acked.
    pub newest_sent_at: Timestamp,
    /// The window did not hold anything back since then.
    pub app_limited: bool,
}

/// The window after a mark. What marks keeps its queue short, so that less has to go than after a loss
/// (RFC 8511); but slow start has gone beyond what the path takes by up to twice.
// spec: ECN-6
pub fn after_mark(window: usize, in_slow_start: bool) -> usize {
    if in_slow_start { window / 2 } else { window / 5 * 4 }
}

/// The controller that `control` names, for datagrams of up to `datagram` bytes and a peer that holds acks back for
/// up to `ack_delay`.
pub fn new(
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

/// Bytes that may be under way at first. RFC 9002 §7.2.
// spec: REL-8
fn initial_window(datagram: usize) -> usize {
    (10 * datagram).min(14_720.max(2 * datagram))
}

/// No window is larger: beyond it nothing is gained, and a peer that acks anything cannot make this
/// end send without bound.
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
