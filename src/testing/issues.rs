//! The broken promises that a checker has found.

use std::fmt;

use crate::base::Timestamp;

/// Broken promises, one per line.
#[derive(Debug, Default)]
pub(super) struct Issues {
    pub(super) lines: Vec<String>,
    pub(super) now: Timestamp,
}

/// Maximum number of issues listed; a broken promise is seldom broken only once.
const MAX_ISSUES: usize = 20;

/// Maximum length of an issue, which may contain a session with large properties.
const MAX_CHARS: usize = 4_000;

impl Issues {
    pub(super) fn add(&mut self, issue: impl fmt::Display) {
        if self.lines.len() < MAX_ISSUES {
            let line = format!("{:?}: {issue}", self.now);
            self.lines.push(line.chars().take(MAX_CHARS).collect());
        }
    }
}
