//! [`Figures`]: the measurements of a workload's run.

use std::time::Duration;

/// Totals of the members of a run over the counted time.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// Time from the call of `broadcast` to the delivery to the receiver, for every delivery; sorted.
    pub latencies_us: Vec<u64>,
    /// Those of the first member alone, which is the receiver of a bulk transfer; sorted.
    pub first_latencies_us: Vec<u64>,
    /// Deliveries that were due: messages sent times members.
    pub expected: u64,
    /// Messages that the server refused, excluding a flooder's.
    pub refused: u64,
    /// Datagrams that members sent and received.
    pub datagrams: u64,
    /// Bytes of UDP payload in those datagrams.
    pub bytes: u64,
    /// Bytes of large messages that arrived in the counted time.
    pub bulk_bytes: u64,
}

impl Figures {
    /// Adds the figures of another member or run. The latencies must be sorted afterwards.
    pub fn add(&mut self, other: Self) {
        self.latencies_us.extend(other.latencies_us);
        self.first_latencies_us.extend(other.first_latencies_us);
        self.expected += other.expected;
        self.refused += other.refused;
        self.datagrams += other.datagrams;
        self.bytes += other.bytes;
        self.bulk_bytes += other.bulk_bytes;
    }

    /// Returns the latency that the share `quantile` of all deliveries does not exceed; zero if there are no
    /// deliveries.
    pub fn latency(&self, quantile: f64) -> Duration {
        at_quantile(&self.latencies_us, quantile)
    }

    /// Returns the same latency for the first member alone.
    pub fn first_latency(&self, quantile: f64) -> Duration {
        at_quantile(&self.first_latencies_us, quantile)
    }

    /// Sorts the latencies.
    pub fn sort(&mut self) {
        self.latencies_us.sort_unstable();
        self.first_latencies_us.sort_unstable();
    }

    /// Returns datagrams per delivery, both directions together.
    #[allow(clippy::cast_precision_loss, reason = "figures for people; 2^53 is far away")]
    pub fn datagrams_per_delivery(&self) -> f64 {
        self.datagrams as f64 / self.expected.max(1) as f64
    }

    /// Returns bytes of UDP payload per delivery, both directions together.
    #[allow(clippy::cast_precision_loss, reason = "figures for people; 2^53 is far away")]
    pub fn bytes_per_delivery(&self) -> f64 {
        self.bytes as f64 / self.expected.max(1) as f64
    }
}

fn at_quantile(sorted_us: &[u64], quantile: f64) -> Duration {
    let count = sorted_us.len();
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share of a count is between 0 and the count; 2^53 is far away"
    )]
    let rank = (count as f64 * quantile).ceil() as usize;
    let at = sorted_us.get(rank.clamp(1, count.max(1)) - 1);
    Duration::from_micros(at.copied().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_a_latency_that_was_seen() {
        let figures = Figures { latencies_us: (1..=1_000).collect(), ..Figures::default() };
        assert_eq!(figures.latency(0.5), Duration::from_micros(500));
        assert_eq!(figures.latency(0.999), Duration::from_micros(999));
        assert_eq!(figures.latency(1.0), Duration::from_micros(1_000));
        assert_eq!(Figures::default().latency(0.5), Duration::ZERO);
    }
}
