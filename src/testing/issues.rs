//! What a checker has found broken.

use std::fmt;

use crate::base::Timestamp;

/// What is broken, a line each.
#[derive(Debug, Default)]
pub(super) struct Issues {
    pub(super) lines: Vec<String>,
    pub(super) now: Timestamp,
}

/// Issues that are listed; a broken promise is seldom broken only once.
const MAX_ISSUES: usize = 20;

impl Issues {
    pub(super) fn add(&mut self, issue: impl fmt::Display) {
        if self.lines.len() < MAX_ISSUES {
            self.lines.push(format!("{:?}: {issue}", self.now));
        }
    }
}
