//! [`Error`]: why something in a run failed.

use std::fmt::Display;
use std::io;

/// Why something in a run failed. A peer that fails in a workload is reported with this text and the run
/// goes on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system refused something.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: String,
        /// What the system says.
        source: io::Error,
    },
    /// A library refused something, or a child did.
    #[error("{doing}: {why}")]
    Failed {
        /// What was being done.
        doing: String,
        /// What it says.
        why: String,
    },
    /// A bound on time or on a buffer was passed.
    #[error("{0}")]
    Bound(String),
}

/// What functions of this crate return.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A refusal by the system while `doing` something.
    pub fn io(doing: impl Display) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.to_string();
        move |source| Self::Io { doing, source }
    }

    /// The same by a library.
    pub fn while_doing<E: Display>(doing: impl Display) -> impl FnOnce(E) -> Self {
        let doing = doing.to_string();
        move |why| Self::Failed { doing, why: why.to_string() }
    }

    /// A bound that was passed.
    pub fn bound(what: impl Display) -> Self {
        Self::Bound(what.to_string())
    }
}
