//! [`Results`]: the reports of a job's loads at their end.

use std::time::Duration;

use serde_json::Value;

use super::child::Child;
use crate::error::{Error, Result};

/// The reports of the loads, one each.
pub struct Results(Vec<Value>);

impl Results {
    /// Waits for the results of all loads.
    ///
    /// # Errors
    /// When a load fails or takes longer than `patience`.
    pub fn of(loads: &[Child], patience: Duration) -> Result<Self> {
        let read = |load: &Child| {
            let text = load.expect("result", patience)?;
            serde_json::from_str(&text).map_err(Error::while_doing("reading a result"))
        };
        loads.iter().map(read).collect::<Result<_>>().map(Self)
    }

    /// Returns the sum of a figure over all loads, or `None` if no load reports it.
    pub fn sum(&self, path: &str) -> Option<f64> {
        self.numbers(path).reduce(|sum, number| sum + number)
    }

    /// Returns the greatest value among the loads. For quantiles of several loads it is an upper bound of the
    /// common quantile.
    pub fn greatest(&self, path: &str) -> Option<f64> {
        self.numbers(path).reduce(f64::max)
    }

    /// Returns the ratio of two sums over all loads.
    pub fn ratio(&self, part: &str, whole: &str) -> Option<f64> {
        Some(self.sum(part)? / self.sum(whole).filter(|whole| *whole > 0.0)?)
    }

    /// Returns the first problem at a client.
    pub fn trouble(&self) -> Option<&str> {
        self.0.iter().find_map(|result| result.pointer("/inbox/first_trouble")?.as_str())
    }

    fn numbers(&self, path: &str) -> impl Iterator<Item = f64> {
        self.0.iter().filter_map(move |result| result.pointer(path)?.as_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn counts_are_added_and_quantiles_are_the_latest() {
        let load = |sent: u64, p99: f64| json!({ "sent": sent, "planned": 8, "inbox": { "latency": { "p99": p99 } } });
        let results = Results(vec![load(3, 50.0), load(5, 20.0)]);
        assert_eq!(results.sum("/sent"), Some(8.0));
        assert_eq!(results.ratio("/sent", "/planned"), Some(0.5));
        assert_eq!(results.greatest("/inbox/latency/p99"), Some(50.0));
        assert_eq!(results.sum("/lost"), None);
        assert_eq!(results.trouble(), None);
    }
}
