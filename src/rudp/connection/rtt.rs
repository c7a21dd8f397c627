//! Round-trip time. RFC 9002 §5.

use std::time::Duration;

use crate::base::Span;

/// Smoothed RTT and its variation. Spec: REL-2.
#[derive(Clone, Copy, Debug)]
pub struct RttEstimator {
    latest: Span,
    smoothed: Span,
    variation: Span,
    minimum: Option<Span>,
    /// Smoothed time from the sending of the oldest packet that an ack settles to the ack, and its mean
    /// deviation.
    answer: Option<Span>,
    answer_variation: Span,
    /// Derived from the other fields; kept because it is needed with every packet.
    answer_timeout: Span,
}

/// RTT assumed until the first sample.
const INITIAL_RTT: Duration = Duration::from_millis(100);
/// Minimum margin for the variation in the probe timeout.
const GRANULARITY: Duration = Duration::from_millis(1);

impl RttEstimator {
    /// Starts without a sample; the RTT is assumed to be 100 ms.
    pub fn new() -> Self {
        let mut rtt = Self {
            latest: INITIAL_RTT.into(),
            smoothed: INITIAL_RTT.into(),
            variation: (INITIAL_RTT / 2).into(),
            minimum: None,
            answer: None,
            answer_variation: (INITIAL_RTT / 2).into(),
            answer_timeout: Span::ZERO,
        };
        rtt.renew_answer_timeout();
        rtt
    }

    /// Returns whether there has been a sample.
    pub fn has_sample(&self) -> bool {
        self.minimum.is_some()
    }

    /// Takes a sample: `sample` is the time from sending to the ack, and `ack_delay` is how long the peer
    /// held the packet, already clamped to the agreed maximum. RFC 9002 §5.3.
    // spec: REL-2
    pub fn update(&mut self, sample: Duration, ack_delay: Duration) {
        if let Some(minimum) = self.minimum {
            let minimum = minimum.get().min(sample);
            self.minimum = Some(minimum.into());
            let adjusted = if sample >= minimum + ack_delay { sample - ack_delay } else { sample };
            self.latest = adjusted.into();
            let deviation = self.smoothed().abs_diff(adjusted);
            self.variation = ((self.variation() * 3 + deviation) / 4).into();
            self.smoothed = ((self.smoothed() * 7 + adjusted) / 8).into();
        } else {
            self.minimum = Some(sample.into());
            self.latest = sample.into();
            self.smoothed = sample.into();
            self.variation = (sample / 2).into();
        }
        self.renew_answer_timeout();
    }

    /// Notes an ack; the oldest packet that it settles was sent `sample` ago. A time longer than a probe
    /// timeout means that acks were lost, not that they were delayed.
    pub fn on_answer(&mut self, sample: Duration, peer_ack_delay: Duration) {
        let sample = sample.min(self.probe_timeout(peer_ack_delay));
        if let Some(answer) = self.answer.map(Span::get) {
            let variation = (self.answer_variation.get() * 3 + answer.abs_diff(sample)) / 4;
            self.answer_variation = variation.into();
            self.answer = Some(((answer * 7 + sample) / 8).into());
        } else {
            self.answer = Some(sample.into());
            self.answer_variation = (sample / 2).into();
        }
        self.renew_answer_timeout();
    }

    fn renew_answer_timeout(&mut self) {
        let margin = (self.answer_variation.get() * 4).max(self.smoothed() * 3 / 4).max(GRANULARITY);
        self.answer_timeout = (self.answer.map_or(INITIAL_RTT, Span::get) + margin).into();
    }

    /// Returns the smoothed RTT.
    pub fn smoothed(&self) -> Duration {
        self.smoothed.get()
    }

    /// Returns the latest sample without the peer's ack delay: `adjusted_rtt` of RFC 9002 §5.3.
    pub fn latest(&self) -> Duration {
        self.latest.get()
    }

    /// Returns the mean deviation of the samples.
    pub fn variation(&self) -> Duration {
        self.variation.get()
    }

    /// Returns the smallest sample, once there is one.
    pub fn minimum(&self) -> Option<Duration> {
        self.minimum.map(Span::get)
    }

    /// Returns the larger of the latest and the smoothed RTT, which loss detection waits for.
    pub fn conservative(&self) -> Duration {
        self.latest.max(self.smoothed).get()
    }

    /// Returns the time without an ack after which a loss is probable, judged by how long acks have taken so
    /// far.
    // spec: REL-5
    pub fn answer_timeout(&self) -> Duration {
        self.answer_timeout.get()
    }

    /// Returns the time without an ack after which something is lost, even if the peer delays acks as long as
    /// it may.
    // spec: REL-5
    pub fn probe_timeout(&self, peer_ack_delay: Duration) -> Duration {
        self.smoothed() + (self.variation() * 4).max(GRANULARITY) + peer_ack_delay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// RFC 9002 §5.3, calculated by hand.
    // spec-test: REL-2
    #[test]
    fn samples_follow_rfc_9002() {
        let mut rtt = RttEstimator::new();
        rtt.update(ms(40), ms(25));
        assert_eq!((rtt.smoothed(), rtt.variation()), (ms(40), ms(20)), "the first sample is taken whole");
        rtt.update(ms(66), ms(10));
        // adjusted 56: variation (3·20 + |40 − 56|) / 4 = 19, smoothed (7·40 + 56) / 8 = 42
        assert_eq!((rtt.smoothed(), rtt.variation()), (ms(42), ms(19)));
        rtt.update(ms(45), ms(10));
        // 45 − 10 is below the minimum of 40, so the delay is not subtracted
        assert_eq!(rtt.latest(), ms(45));
        assert_eq!(rtt.minimum(), Some(ms(40)));
    }

    // spec-test: REL-5
    #[test]
    fn the_probe_timeout_adds_variation_and_the_peers_delay() {
        let mut rtt = RttEstimator::new();
        rtt.update(ms(40), ms(0));
        assert_eq!(rtt.probe_timeout(ms(10)), ms(40 + 80 + 10));
        for _ in 0..200 {
            rtt.update(ms(40), ms(0));
        }
        assert_eq!(rtt.probe_timeout(ms(10)), ms(40 + 1 + 10), "1 ms at least stands for the variation");
    }

    // spec-test: REL-5
    #[test]
    fn the_answer_timeout_adds_four_times_its_variation_or_three_quarters_of_the_round_trip() {
        let mut rtt = RttEstimator::new();
        rtt.update(ms(40), ms(0));
        rtt.on_answer(ms(100), ms(0));
        assert_eq!(rtt.answer_timeout(), ms(100 + 4 * 50));
        rtt.on_answer(ms(100), ms(0));
        assert_eq!(rtt.answer_timeout(), ms(100 + 4 * 75 / 2), "half of 75 ms: three quarters of 50");
        (0..200).for_each(|_| rtt.on_answer(ms(100), ms(0)));
        assert_eq!(rtt.answer_timeout(), ms(100 + 30));
        let mut late = RttEstimator::new();
        late.update(ms(40), ms(0));
        late.on_answer(ms(9_000), ms(10));
        assert_eq!(late.answer_timeout(), ms(130 + 4 * 65), "no sample is longer than a probe timeout");
    }
}
