//! What a running server counts, in a file for monitoring: Prometheus's text format, version 0.0.4.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tracing::warn;

use crate::base::{Metric, MetricKind};
use crate::net::Traffic;
use crate::server::{Server, Totals};

/// A file that is written anew every [`EVERY`].
pub struct MetricsFile {
    path: PathBuf,
    /// Beside it, for a moment: a reader finds a whole file, the last one or the new one.
    draft: PathBuf,
}

/// How often the file is written.
pub const EVERY: Duration = Duration::from_secs(5);

impl MetricsFile {
    /// One at `path`, where another one may be: it is replaced.
    pub fn new(path: &Path) -> Self {
        let mut draft = path.as_os_str().to_owned();
        draft.push(".new");
        Self { path: path.to_owned(), draft: draft.into() }
    }

    /// Writes it once.
    ///
    /// # Errors
    /// Those of the system; the file that was there stays.
    pub fn write(&self, server: &Server) -> io::Result<()> {
        fs::write(&self.draft, text(&server.counters(), &server.traffic()))?;
        fs::rename(&self.draft, &self.path)
    }

    /// Writes it again and again. Never ends.
    pub async fn keep(&self, server: &Server) {
        loop {
            tokio::time::sleep(EVERY).await;
            self.write_or_warn(server);
        }
    }

    /// Writes it once, and logs why when it cannot be.
    pub fn write_or_warn(&self, server: &Server) {
        if let Err(error) = self.write(server) {
            warn!(path = %self.path.display(), %error, "the metrics cannot be written");
        }
    }
}

fn text(counters: &Totals, traffic: &Traffic) -> String {
    let mut text = String::new();
    counters.metrics().iter().for_each(|metric| push(&mut text, "", metric));
    traffic.metrics().iter().for_each(|metric| push(&mut text, "socket_", metric));
    let name = "rallypoint_dropped_total";
    push_head(&mut text, name, "counter", "Datagrams dropped, or the handshakes in them.");
    for (reason, count) in counters.dropped_by_reason() {
        let _ = writeln!(text, "{name}{{reason=\"{}\"}} {count}", reason.name());
    }
    text
}

fn push(text: &mut String, prefix: &str, metric: &Metric) {
    let (kind, suffix) = match metric.kind {
        MetricKind::Gauge => ("gauge", ""),
        MetricKind::Counter => ("counter", "_total"),
    };
    let name = format!("rallypoint_{prefix}{}{suffix}", metric.name);
    push_head(text, &name, kind, metric.help);
    let _ = writeln!(text, "{name} {}", metric.value);
}

/// `help` has no line break and no backslash, which the format would have escaped.
fn push_head(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rudp::DropReason;

    #[test]
    fn each_count_has_a_help_a_type_and_a_value() {
        let mut counters = Totals { sessions: 3, deliveries: u64::MAX, ..Totals::default() };
        counters.dropped[0] = 7;
        let text = text(&counters, &Traffic { bytes_in: 9, ..Traffic::default() });
        for lines in [
            "# HELP rallypoint_sessions Sessions now.\n# TYPE rallypoint_sessions gauge\nrallypoint_sessions 3\n",
            "# TYPE rallypoint_deliveries_total counter\nrallypoint_deliveries_total 18446744073709551615\n",
            "# TYPE rallypoint_socket_bytes_in_total counter\nrallypoint_socket_bytes_in_total 9\n",
            "# TYPE rallypoint_dropped_total counter\nrallypoint_dropped_total{reason=\"bad_length\"} 7\n",
            "\nrallypoint_dropped_total{reason=\"replayed\"} 0\n",
        ] {
            assert!(text.contains(lines), "{lines} in {text}");
        }
        let values = text.lines().filter(|line| !line.starts_with('#')).count();
        let metrics = counters.metrics().len() + Traffic::default().metrics().len();
        assert_eq!(values, metrics + DropReason::ALL.len());
        let count = |start: &str| text.lines().filter(|line| line.starts_with(start)).count();
        assert_eq!((count("# HELP "), count("# TYPE ")), (metrics + 1, metrics + 1));
        assert!(!text.contains('\\') && !text.contains("  "), "{text}");
    }
}
