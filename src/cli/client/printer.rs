//! [`Printer`]: writes lines to standard output, without ever waiting for their reader.

use std::collections::VecDeque;
use std::io::{self, Write};

use tokio::sync::{mpsc, oneshot};

use crate::cli::output::Failure;

/// Writes lines on its own thread, because a line that nobody reads blocks it. Until about a thousand lines
/// wait, the client still answers its server; it always reacts to a request to end.
pub struct Printer {
    /// Lines not yet passed to the thread.
    waiting: VecDeque<String>,
    lines: mpsc::Sender<String>,
    written: oneshot::Receiver<io::Result<()>>,
}

/// Lines that may wait before the client stops reading events.
const MAX_WAITING: usize = 1_024;
/// Lines on their way to the thread.
const HANDED_ON: usize = 64;

impl Printer {
    /// Creates a printer without lines and starts its thread.
    pub fn new() -> Self {
        let (lines, mut to_write) = mpsc::channel::<String>(HANDED_ON);
        let (tell, written) = oneshot::channel();
        std::thread::spawn(move || {
            let mut outcome = Ok(());
            while let Some(line) = to_write.blocking_recv() {
                let mut out = io::stdout().lock();
                outcome = outcome.and(writeln!(out, "{line}").and_then(|()| out.flush()));
            }
            // A client that has finished waits for this; one that was told to end at once does not.
            let _ = tell.send(outcome);
        });
        Self { waiting: VecDeque::new(), lines, written }
    }

    /// Adds a line.
    pub fn push(&mut self, line: String) {
        self.waiting.push_back(line);
    }

    /// Returns true while the reader is behind: no more lines should be added.
    pub fn is_behind(&self) -> bool {
        self.waiting.len() >= MAX_WAITING
    }

    /// Passes on the waiting lines as fast as they are written. Cancel safe.
    pub async fn hand_on(&mut self) {
        while !self.waiting.is_empty() {
            // The thread ends after the printer.
            let Ok(permit) = self.lines.reserve().await else { return };
            if let Some(line) = self.waiting.pop_front() {
                permit.send(line);
            }
        }
    }

    /// Waits until everything is written.
    ///
    /// # Errors
    /// [`Failure::Work`] if a part could not be written, as on a full disk; a missing reader is not a
    /// failure.
    pub async fn finish(mut self) -> Result<(), Failure> {
        self.hand_on().await;
        drop(self.lines);
        match self.written.await {
            Ok(Err(error)) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Failure::while_doing("writing to standard output", error))
            }
            _ => Ok(()),
        }
    }
}
