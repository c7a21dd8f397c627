//! [`TraceFolder`]: traces of connections as files, one per connection. Spec: trace.md.
//!
//! | file | what it does |
//! |---|---|
//! | `file` | one connection's lines, buffered and bounded |
//! | `qlog` | an event as a name and a JSON object |
//!
//! A file that cannot be written ends its trace, never its connection; the first such failure of a folder is
//! logged as a warning. The bounds are `MAX_FILES` and `file::MAX_FILE_BYTES`.

mod file;
mod qlog;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use tracing::warn;

use self::file::TraceFile;
use super::output::Failure;
use crate::base::ConnectionId;
use crate::rudp::{Trace, Tracer, Vantage};

/// Maximum number of files that one process writes; further connections are not traced.
const MAX_FILES: u32 = 1_000;

/// The folder for the traces of this process's connections.
#[derive(Debug)]
pub struct TraceFolder(Arc<Folder>);

/// State shared by the files of a folder.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
    max_files: u32,
    /// Number of files begun, plus one after the first that exceeded the maximum.
    files: AtomicU32,
    has_failed: AtomicBool,
}

impl TraceFolder {
    /// Traces into the folder `path`, which is created if it does not exist.
    ///
    /// # Errors
    /// [`Failure::Work`] if the folder does not exist and cannot be created.
    pub fn open(path: &Path) -> Result<Arc<Self>, Failure> {
        let made = std::fs::create_dir_all(path);
        made.map_err(|error| Failure::while_doing(format_args!("making {}", path.display()), error))?;
        Ok(Arc::new(Self::new(path, MAX_FILES)))
    }

    fn new(path: &Path, max_files: u32) -> Self {
        let path = path.to_owned();
        let (files, has_failed) = (AtomicU32::new(0), AtomicBool::new(false));
        Self(Arc::new(Folder { path, max_files, files, has_failed }))
    }
}

impl Tracer for TraceFolder {
    fn trace(&self, connection: ConnectionId, vantage: Vantage) -> Option<Box<dyn Trace>> {
        Some(Box::new(TraceFile::new(Arc::clone(&self.0), connection, vantage)))
    }
}

impl Folder {
    /// Counts a new file and returns its number, from 1; `None` if it exceeds the maximum.
    fn next_file(&self) -> Option<u32> {
        let next = |files: u32| (files <= self.max_files).then_some(files + 1);
        let number = self.files.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).ok()? + 1;
        if number > self.max_files {
            warn!(max = self.max_files, "as many traces as there may be: further connections have none");
            return None;
        }
        Some(number)
    }

    /// Logs the first failure of the folder.
    fn failed(&self, path: &Path, error: &dyn fmt::Display) {
        if !self.has_failed.swap(true, Ordering::Relaxed) {
            warn!(path = %path.display(), %error, "a trace cannot be written, and ends; further ones are not told");
        }
    }
}

#[cfg(test)]
mod tests;
