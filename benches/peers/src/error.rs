//! [`Error`]: why something in a run failed.

use std::fmt::Display;
use std::io;

/// Why something in a run failed. A peer that fails in a workload is reported with this text, and the run
/// continues.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system refused an operation.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: String,
        /// The system's error.
        source: io::Error,
    },
    /// A library or a child process refused an operation.
    #[error("{doing}: {why}")]
    Failed {
        /// What was being done.
        doing: String,
        /// The reason that it gives.
        why: String,
    },
    /// A limit on time or on a buffer was exceeded.
    #[error("{0}")]
    Bound(String),
}

/// The result type of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Makes an error of the system's refusal while `doing` something.
    pub fn io(doing: impl Display) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.to_string();
        move |source| Self::Io { doing, source }
    }

    /// Makes an error of a library's refusal while `doing` something.
    pub fn while_doing<E: Display>(doing: impl Display) -> impl FnOnce(E) -> Self {
        let doing = doing.to_string();
        move |why| Self::Failed { doing, why: why.to_string() }
    }

    /// Makes an error of a limit that was exceeded.
    pub fn bound(what: impl Display) -> Self {
        Self::Bound(what.to_string())
    }
}
