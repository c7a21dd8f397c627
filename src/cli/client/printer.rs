//! [`Printer`]: lines to standard output, without ever waiting for who reads them.

use std::collections::VecDeque;
use std::io::{self, Write};

use tokio::sync::{mpsc, oneshot};

use crate::cli::output::Failure;

/// Writes lines on a thread of its own, since one that nobody reads blocks it: for some thousand lines the client still
/// answers its server, and always whoever wants it to end.
pub struct Printer {
    /// Lines that the thread has not taken.
    waiting: VecDeque<String>,
    lines: mpsc::Sender<String>,
    written: oneshot::Receiver<io::Result<()>>,
}

/// Lines that may wait before the client reads no more events.
const MAX_WAITING: usize = 1_024;
/// Lines on their way to the thread.
const HANDED_ON: usize = 64;

impl Printer {
    /// Begins with nothing.
    pub fn new() -> Self {
        let (lines, mut to_write) = mpsc::channel::<String>(HANDED_ON);
        let (tell, written) = oneshot::channel();
        std::thread::spawn(move || {
            let mut outcome = Ok(());
            while let Some(line) = to_write.blocking_recv() {
                let mut out = io::stdout().lock();
                outcome = outcome.and(writeln!(out, "{line}").and_then(|()| out.flush()));
            }
            // Who has finished waits for it; who was told to end at once does not.
            let _ = tell.send(outcome);
        });
        Self { waiting: VecDeque::new(), lines, written }
    }

    /// Adds a line.
    pub fn push(&mut self, line: String) {
        self.waiting.push_back(line);
    }

    /// True while nobody reads: no more should be added.
    pub fn is_behind(&self) -> bool {
        self.waiting.len() >= MAX_WAITING
    }

    /// Hands on what waits, as fast as it is written. Loses nothing when it is cancelled.
    pub async fn hand_on(&mut self) {
        while !self.waiting.is_empty() {
            // The thread ends after the printer.
            let Ok(permit) = self.lines.reserve().await else { return };
            if let Some(line) = self.waiting.pop_front() {
                permit.send(line);
            }
        }
    }

    /// Waits until all is written.
    ///
    /// # Errors
    /// [`Failure::Work`] when some of it could not be, as on a full disk; that nobody reads it is no failure.
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
