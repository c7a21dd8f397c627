//! What a running server counts, in a file for monitoring: Prometheus's text format, version 0.0.4.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tracing::warn;

use crate::base::sync::Mutex;
use crate::base::{Metric, MetricKind};
use crate::cli::output::Failure;
use crate::net::Traffic;
use crate::server::{Server, Totals};

/// A file that is written anew every [`EVERY`].
pub struct MetricsFile {
    path: PathBuf,
    /// Beside it, for a moment: a reader finds a whole file, the last one or the new one.
    draft: PathBuf,
    /// Held by the only one who writes.
    writing: Mutex<()>,
}

/// How often the file is written.
pub const EVERY: Duration = Duration::from_secs(5);

/// How long the end of the server waits for a file system that does not answer.
const LAST_WORDS: Duration = Duration::from_secs(1);

impl MetricsFile {
    /// One at `path`, where another regular file may be: it is replaced.
    ///
    /// # Errors
    /// [`Failure::Usage`] if anything else is there, which replacing would destroy: a device, a folder, a
    /// link.
    pub fn new(path: &Path) -> Result<Self, Failure> {
        if fs::symlink_metadata(path).is_ok_and(|there| !there.is_file()) {
            let path = path.display();
            return Err(Failure::Usage(format!(
                "--metrics {path} is there, but is no regular file to replace"
            )));
        }
        let mut draft = path.as_os_str().to_owned();
        draft.push(".new");
        Ok(Self { path: path.to_owned(), draft: draft.into(), writing: Mutex::default() })
    }

    /// Writes it for the first time. A full disk is only logged, as later: a server must be able to start
    /// again during one.
    ///
    /// # Errors
    /// [`Failure::Work`] if it cannot be written for any other reason.
    pub async fn begin(self: &Arc<Self>, server: &Server) -> Result<(), Failure> {
        match self.write(server).await {
            Err(error) if is_full(&error) => self.warn(&error),
            written => written.map_err(|error| {
                Failure::while_doing(format_args!("writing the metrics {}", self.path.display()), error)
            })?,
        }
        Ok(())
    }

    /// Writes it again and again. Never ends.
    pub async fn keep(self: &Arc<Self>, server: &Server) {
        loop {
            tokio::time::sleep(EVERY).await;
            self.write_or_warn(server).await;
        }
    }

    /// Writes it for the last time.
    pub async fn end(self: &Arc<Self>, server: &Server) {
        if tokio::time::timeout(LAST_WORDS, self.write_or_warn(server)).await.is_err() {
            warn!(path = %self.path.display(), "the metrics are not written: the file system does not answer");
        }
    }

    async fn write_or_warn(self: &Arc<Self>, server: &Server) {
        if let Err(error) = self.write(server).await {
            self.warn(&error);
        }
    }

    fn warn(&self, error: &io::Error) {
        warn!(path = %self.path.display(), %error, "the metrics cannot be written");
    }

    /// Writes it once; if that fails, the file that was there stays. Outside the runtime's thread, which also
    /// waits for signals: a file system may not answer for long.
    async fn write(self: &Arc<Self>, server: &Server) -> io::Result<()> {
        let (file, text) = (Arc::clone(self), text(&server.counters(), &server.traffic()));
        spawn_blocking(move || file.replace(&text)).await.unwrap_or_else(|error| Err(io::Error::other(error)))
    }

    fn replace(&self, text: &str) -> io::Result<()> {
        let _writing = self.writing.lock();
        let mut file = self.new_draft()?;
        let written = file.write_all(text.as_bytes());
        drop(file);
        written.and_then(|()| fs::rename(&self.draft, &self.path)).inspect_err(|_| {
            // An incomplete one tells nobody anything.
            let _ = fs::remove_file(&self.draft);
        })
    }

    /// Creates the draft, in place of one that a killed server left. What is not created here is not written
    /// to: its name is known to everyone, and it may be another's link to another's file.
    fn new_draft(&self) -> io::Result<File> {
        match File::create_new(&self.draft) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists && self.is_draft_replaceable() => {
                fs::remove_file(&self.draft)?;
                File::create_new(&self.draft)
            }
            created => created,
        }
    }

    fn is_draft_replaceable(&self) -> bool {
        fs::symlink_metadata(&self.draft).is_ok_and(|there| there.is_file() || there.is_symlink())
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
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

    /// An empty folder of its own, removed when dropped.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("rallypoint-metrics-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn metrics(&self) -> MetricsFile {
            MetricsFile::new(&self.0.join("prom")).unwrap_or_else(|failure| panic!("{failure}"))
        }

        fn names(&self) -> Vec<String> {
            let entries = fs::read_dir(&self.0).unwrap();
            let mut names: Vec<String> =
                entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_file_is_replaced_and_nothing_else_is() {
        let folder = Folder::new("replaced");
        fs::write(folder.0.join("prom"), "of an earlier run").unwrap();
        folder.metrics().replace("now").unwrap();
        assert_eq!(fs::read_to_string(folder.0.join("prom")).unwrap(), "now");
        let refused = MetricsFile::new(&folder.0).err().unwrap();
        assert!(matches!(&refused, Failure::Usage(why) if why.contains("no regular file")), "{refused}");
        assert_eq!(folder.names(), ["prom"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_draft_that_is_a_link_is_not_followed() {
        let folder = Folder::new("link");
        let (other, draft) = (folder.0.join("other"), folder.0.join("prom.new"));
        fs::write(&other, "mine").unwrap();
        std::os::unix::fs::symlink(&other, &draft).unwrap();
        folder.metrics().replace("now").unwrap();
        assert_eq!(fs::read_to_string(&other).unwrap(), "mine");
        assert_eq!(folder.names(), ["other", "prom"]);
        std::os::unix::fs::symlink(&other, folder.0.join("linked")).unwrap();
        assert!(MetricsFile::new(&folder.0.join("linked")).is_err(), "it would become a file");
    }

    #[test]
    fn a_draft_of_a_killed_server_is_replaced_and_a_failed_one_does_not_stay() {
        let folder = Folder::new("stale");
        let (metrics, draft) = (folder.metrics(), folder.0.join("prom.new"));
        fs::write(&draft, "half").unwrap();
        metrics.replace("now").unwrap();
        assert_eq!(folder.names(), ["prom"]);
        fs::remove_file(&metrics.path).unwrap();
        fs::create_dir(&metrics.path).unwrap();
        metrics.replace("later").unwrap_err();
        assert_eq!(folder.names(), ["prom"], "the draft could not be renamed");
        fs::create_dir(&draft).unwrap();
        assert_eq!(metrics.replace("later").unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert!(draft.is_dir(), "no draft of a server");
    }

    #[test]
    fn a_full_disk_is_known() {
        for (kind, expected) in [
            (ErrorKind::StorageFull, true),
            (ErrorKind::QuotaExceeded, true),
            (ErrorKind::PermissionDenied, false),
        ] {
            assert_eq!(is_full(&kind.into()), expected, "{kind}");
        }
    }
}
