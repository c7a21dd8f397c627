//! Standard output, for results only, and the exit status, which states how a subcommand ended.
//!
//! The reader of the results may stop reading (`| head -1`): a closed pipe ends nothing, because servers and
//! checks continue without a reader.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

/// How a subcommand failed.
#[derive(Debug)]
pub enum Failure {
    /// Wrong usage: exit status 2.
    Usage(String),
    /// The work failed, or one of its checks: exit status 1.
    Work(String),
}

impl Failure {
    /// Returns the failure of work that failed because of `error`, while doing `what`.
    pub fn while_doing(what: impl fmt::Display, error: impl fmt::Display) -> Self {
        Self::Work(format!("{what}: {error}"))
    }

    /// Returns the exit status for this failure.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Usage(_) => ExitCode::from(2),
            Self::Work(_) => ExitCode::from(1),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(text) | Self::Work(text) => f.write_str(text),
        }
    }
}

/// Writes one line of results to standard output, without buffering.
pub fn result_line(line: impl fmt::Display) {
    let mut out = io::stdout().lock();
    // A reader that has gone away is no reason to stop.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Writes the product of a subcommand to standard output.
///
/// # Errors
/// [`Failure::Work`] if it cannot be written, as to a full disk; a missing reader is not a failure.
pub fn product(text: impl fmt::Display) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::while_doing("writing to standard output", error))
        }
        _ => Ok(()),
    }
}

/// Writes one human-readable line to standard error.
pub fn note(line: impl fmt::Display) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Reports where a socket listens, on standard output, or on standard error if standard output carries JSON.
pub fn listening_on(addr: impl fmt::Display, json: bool) {
    if json {
        note(format_args!("listening on {addr}"))
    } else {
        result_line(format_args!("listening on {addr}"))
    }
}

/// A human-readable table of results in two columns.
#[derive(Default)]
pub struct Table {
    rows: Vec<(String, String)>,
}

impl Table {
    /// Creates a table without rows.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a row.
    pub fn row(&mut self, name: impl Into<String>, value: impl fmt::Display) -> &mut Self {
        self.rows.push((name.into(), value.to_string()));
        self
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        for (index, (name, value)) in self.rows.iter().enumerate() {
            let end = if index == 0 { "" } else { "\n" };
            write!(f, "{end}  {name:<width$}  {value}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_lines_its_values_up() {
        let mut table = Table::new();
        table.row("sent", 10).row("delivered", 7);
        assert_eq!(table.to_string(), "  sent       10\n  delivered  7");
    }
}
