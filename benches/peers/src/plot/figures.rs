//! [`Figures`]: the medians of a report, in the form that pictures need.

use serde_json::Value;

/// The medians of a report, in the order of its rows.
pub struct Figures<'a> {
    rows: &'a [Value],
}

/// The peer that the pictures are about.
const OURS: &str = "rallypoint";

impl<'a> Figures<'a> {
    /// Reads a report; without results there are no figures.
    pub fn of(report: &'a Value) -> Self {
        Self { rows: report.get("results").and_then(Value::as_array).map_or(&[], Vec::as_slice) }
    }

    /// Returns the peers that took part in a workload, each with its figure if it has one.
    pub fn peers(&self, workload: &str, figure: &str) -> Vec<(&'a str, Option<f64>)> {
        let rows = self.rows.iter().filter(|row| text(row, "workload") == workload);
        rows.map(|row| (text(row, "peer"), median(row, figure))).collect()
    }

    /// Returns the figure of one peer.
    pub fn one(&self, workload: &str, peer: &str, figure: &str) -> Option<f64> {
        let row = self.rows.iter().find(|row| text(row, "workload") == workload && text(row, "peer") == peer);
        median(row?, figure)
    }

    /// Returns the measured losses in percent, in ascending order.
    pub fn losses(&self) -> Vec<u32> {
        let names = self.rows.iter().map(|row| text(row, "workload"));
        let mut losses: Vec<u32> =
            names.filter_map(|name| name.strip_prefix("loss-")?.parse().ok()).collect();
        losses.sort_unstable();
        losses.dedup();
        losses
    }
}

/// Returns a peer's colour, the same in all pictures; Rallypoint's stands out.
pub fn colour(peer: &str) -> &'static str {
    match peer {
        OURS => "#d1491b",
        "raw" | "raw-mmsg" => "#9aa5b1",
        "tcp" => "#5b8db8",
        "kcp" => "#b8860b",
        "enet" => "#2e8b57",
        "renet" => "#8e5ea2",
        "renet-tick" => "#c39bd3",
        "quinn" => "#2364aa",
        _ => "#616e7c",
    }
}

/// Returns true for the peer that the pictures are about.
pub fn is_ours(peer: &str) -> bool {
    peer == OURS
}

fn text<'a>(row: &'a Value, key: &str) -> &'a str {
    row.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn median(row: &Value, figure: &str) -> Option<f64> {
    row.get("median")?.get(figure)?.as_f64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn figures_are_found_by_workload_and_peer() {
        let row = |workload: &str, peer: &str, median: Value| json!({ "workload": workload, "peer": peer, "median": median });
        let report = json!({ "results": [
            row("loss-20", "kcp", json!({ "p99_us": 3.0 })),
            row("loss-5", "kcp", json!({ "p99_us": 2.0 })),
            row("loss-5", "raw", json!({})),
        ] });
        let figures = Figures::of(&report);
        assert_eq!(figures.losses(), [5, 20]);
        assert_eq!(figures.peers("loss-5", "p99_us"), [("kcp", Some(2.0)), ("raw", None)]);
        assert_eq!(figures.one("loss-20", "kcp", "p99_us"), Some(3.0));
        assert!(Figures::of(&json!({})).losses().is_empty());
    }
}
