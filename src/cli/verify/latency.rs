//! [`Latency`]: how long deliveries took.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

/// A histogram of times in microseconds, with three digits.
#[derive(Debug)]
pub struct Latency {
    histogram: Histogram<u64>,
    /// The longest time; the histogram keeps only three digits of it.
    max: u64,
}

/// Longer times are counted as this long.
const LONGEST_MICROS: u64 = 600_000_000;

impl Latency {
    /// Creates a histogram without samples.
    pub fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, LONGEST_MICROS, 3);
        Self { histogram: histogram.expect("invariant: the bounds are legal"), max: 0 }
    }

    /// Adds a sample.
    pub fn record(&mut self, micros: u64) {
        let micros = micros.min(LONGEST_MICROS);
        self.max = self.max.max(micros);
        self.histogram.saturating_record(micros);
    }

    /// Returns the number of samples.
    pub fn samples(&self) -> u64 {
        self.histogram.len()
    }

    /// Returns the percentiles, the maximum and the number of samples; without samples, everything else is
    /// null.
    pub fn to_json(&self) -> Value {
        let at = |percentile| self.percentile(percentile);
        json!({
            "p50": at(50.0),
            "p90": at(90.0),
            "p99": at(99.0),
            "p999": at(99.9),
            "max": at(100.0),
            "samples": self.samples(),
        })
    }

    /// Returns the time, in microseconds, that `percentile` percent of the samples do not exceed; `None`
    /// without samples.
    pub fn percentile(&self, percentile: f64) -> Option<u64> {
        (!self.histogram.is_empty()).then(|| self.micros_at(percentile))
    }

    /// Returns no time above the longest recorded one, because the histogram's buckets round up.
    fn micros_at(&self, percentile: f64) -> u64 {
        self.histogram.value_at_percentile(percentile).min(self.max)
    }
}

impl Default for Latency {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.histogram.is_empty() {
            return f.write_str("no samples");
        }
        let at = |percentile| Millis(Duration::from_micros(self.micros_at(percentile)));
        let [p50, p90, p99, p999, max] = [50.0, 90.0, 99.0, 99.9, 100.0].map(at);
        write!(f, "p50 {p50}, p90 {p90}, p99 {p99}, p99.9 {p999}, max {max}")
    }
}

/// A time in milliseconds with two decimals.
struct Millis(Duration);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} ms", self.0.as_secs_f64() * 1_000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_and_maximum() {
        let mut latency = Latency::new();
        (1..=1_000).for_each(|micros| latency.record(micros));
        let json = latency.to_json();
        assert_eq!(
            (&json["p50"], &json["max"], &json["samples"]),
            (&json!(500), &json!(1_000), &json!(1_000))
        );
        assert_eq!(latency.to_string(), "p50 0.50 ms, p90 0.90 ms, p99 0.99 ms, p99.9 1.00 ms, max 1.00 ms");
    }

    #[test]
    fn without_samples_there_are_no_percentiles() {
        assert_eq!(Latency::new().to_json()["p50"], Value::Null);
        assert_eq!(Latency::new().percentile(50.0), None);
        assert_eq!(Latency::new().to_string(), "no samples");
    }

    #[test]
    fn what_is_beyond_the_scale_is_counted_at_its_end() {
        let mut latency = Latency::new();
        latency.record(u64::MAX);
        latency.record(0);
        assert_eq!(latency.samples(), 2);
        assert_eq!(latency.percentile(100.0), Some(LONGEST_MICROS));
    }

    #[test]
    fn no_time_is_longer_than_the_longest() {
        let mut latency = Latency::new();
        [70_001, 300_001].into_iter().for_each(|micros| latency.record(micros));
        assert_eq!(latency.percentile(100.0), Some(300_001), "of three digits 300,031 would be left");
    }
}
