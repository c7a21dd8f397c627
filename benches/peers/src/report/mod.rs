//! [`Report`]: the measurements of a run, for people and for scripts.

mod machine;
mod table;

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

pub use self::table::table;
use crate::peer::Peer;
use crate::stage::{Figures, Options, Workload};

/// The result of a peer's repetition of a workload: figures by name, or the reason for its failure.
pub type Outcome = Result<Figures, String>;

/// The measurements of a run.
pub struct Report {
    head: Map<String, Value>,
    rows: Vec<Row>,
}

/// One peer in one workload.
struct Row {
    workload: Workload,
    peer: Peer,
    outcomes: Vec<Outcome>,
}

impl Report {
    /// Returns a report without results that describes the machine as it is now.
    pub fn new(options: &Options) -> Self {
        let mut head = Map::new();
        let started = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        head.insert("started_unix_s".to_owned(), started.into());
        head.insert("command".to_owned(), std::env::args().collect::<Vec<_>>().join(" ").into());
        head.insert("commit".to_owned(), machine::commit().into());
        head.insert("machine".to_owned(), machine::describe());
        head.insert("load_average_before".to_owned(), machine::load_average().into());
        head.insert("repetitions".to_owned(), options.repetitions.into());
        head.insert("counted_ms".to_owned(), options.counted_ms.into());
        head.insert("warmup_ms".to_owned(), options.warmup_ms.into());
        head.insert("seed".to_owned(), options.seed.into());
        Self { head, rows: Vec::new() }
    }

    /// Adds one repetition.
    pub fn add(&mut self, workload: Workload, peer: Peer, outcome: Outcome) {
        match self.rows.iter_mut().find(|row| row.workload == workload && row.peer == peer) {
            Some(row) => row.outcomes.push(outcome),
            None => self.rows.push(Row { workload, peer, outcomes: vec![outcome] }),
        }
    }

    /// Adds what is known only at the end.
    pub fn finish(&mut self) {
        self.head.insert("load_average_after".to_owned(), machine::load_average().into());
    }

    /// Returns the report as one object: for each peer in each workload every repetition, the medians, and
    /// the medians as multiples of Rallypoint's and of `raw-mmsg`'s.
    pub fn to_json(&self) -> Value {
        let mut object = self.head.clone();
        let rows = self.rows.iter().map(|row| {
            let medians = row.medians();
            let failures: Vec<&String> = row.outcomes.iter().filter_map(|it| it.as_ref().err()).collect();
            let repetitions: Vec<&Figures> = row.outcomes.iter().filter_map(|it| it.as_ref().ok()).collect();
            json!({
                "workload": row.workload.to_string(),
                "peer": row.peer.name(),
                "failed": failures,
                "repetitions": repetitions,
                "median": medians,
                "to_rallypoint": self.multiples(row, &medians, Peer::Rallypoint),
                "to_raw_mmsg": self.multiples(row, &medians, Peer::RawMmsg),
            })
        });
        object.insert("results".to_owned(), rows.collect());
        Value::Object(object)
    }

    /// Returns medians as multiples of those of another peer in the same workload.
    fn multiples(&self, row: &Row, medians: &Figures, of: Peer) -> Figures {
        let other = self.rows.iter().find(|other| other.workload == row.workload && other.peer == of);
        let other = other.map(Row::medians).unwrap_or_default();
        let multiple = |(name, value): (&String, &f64)| {
            let whole = other.get(name).filter(|whole| **whole > 0.0)?;
            Some((name.clone(), value / whole))
        };
        medians.iter().filter_map(multiple).collect()
    }
}

impl Row {
    /// Returns the medians of the successful repetitions.
    fn medians(&self) -> Figures {
        let well: Vec<&Figures> = self.outcomes.iter().filter_map(|it| it.as_ref().ok()).collect();
        let names: std::collections::BTreeSet<&String> = well.iter().flat_map(|it| it.keys()).collect();
        let median = |name: &String| {
            let values: Vec<f64> = well.iter().filter_map(|it| it.get(name).copied()).collect();
            median(values)
        };
        names.into_iter().filter_map(|name| Some((name.clone(), median(name)?))).collect()
    }
}

/// Returns the middle value, or the mean of the middle two.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    let upper = values.get(half).copied()?;
    if values.len() % 2 == 1 { Some(upper) } else { values.get(half - 1).map(|lower| (lower + upper) / 2.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }
}
