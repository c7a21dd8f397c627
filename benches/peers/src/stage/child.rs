//! [`Child`]: a process of this binary.

use std::io::{BufRead, BufReader, Write};
use std::process::{self, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// A running child, ended when dropped.
pub struct Child {
    process: process::Child,
    name: &'static str,
    lines: Receiver<String>,
}

/// Maximum number of lines that wait to be read.
const LINES: usize = 64;
/// Time limit for a child to end by itself.
const GRACE: Duration = Duration::from_secs(2);

impl Child {
    /// Starts `peers ARGS…`. Its standard error goes to this process's standard error.
    ///
    /// # Errors
    /// The system's errors.
    pub fn start(name: &'static str, args: &[String]) -> Result<Self> {
        // Runs this same binary, even if the file at its path has been replaced meanwhile.
        let mut command = Command::new("/proc/self/exe");
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().map_err(Error::io(format_args!("starting the {name}")))?;
        let stdout = process.stdout.take().ok_or_else(|| Error::bound("a child without standard output"))?;
        let (said, lines) = sync_channel(LINES);
        // Ends with the child's standard output, or when the receiver is dropped.
        let read = move || {
            for line in BufReader::new(stdout).lines().map_while(std::result::Result::ok) {
                if said.send(line).is_err() {
                    break;
                }
            }
        };
        let child = Self { process, name, lines };
        thread::Builder::new().name(name.to_owned()).spawn(read).map_err(Error::io("starting a thread"))?;
        Ok(child)
    }

    /// Returns its process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Waits for the next line that begins with `word`, and returns the rest of it.
    ///
    /// # Errors
    /// When the child reports a failure, ends, or takes longer than `patience`.
    pub fn expect(&self, word: &str, patience: Duration) -> Result<String> {
        let until = Instant::now() + patience;
        let failed = |why: &str| Error::while_doing(format_args!("the {}", self.name))(why);
        loop {
            match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    if let Some(rest) = line.strip_prefix(word) {
                        return Ok(rest.trim().to_owned());
                    }
                    if let Some(why) = line.strip_prefix("failed: ") {
                        return Err(failed(why));
                    }
                }
                Err(RecvTimeoutError::Timeout) => return Err(failed("it takes too long")),
                Err(RecvTimeoutError::Disconnected) => return Err(failed("it has ended")),
            }
        }
    }

    /// Writes a line to the child.
    ///
    /// # Errors
    /// When it has ended.
    pub fn tell(&mut self, line: &str) -> Result<()> {
        let stdin =
            self.process.stdin.as_mut().ok_or_else(|| Error::bound("a child without standard input"))?;
        let written = writeln!(stdin, "{line}").and_then(|()| stdin.flush());
        written.map_err(Error::io(format_args!("writing to the {}", self.name)))
    }

    /// Asks the child for its counts, and waits for the answer.
    ///
    /// # Errors
    /// When it has ended or does not answer.
    pub fn ask(&mut self, patience: Duration) -> Result<String> {
        self.tell("counts")?;
        self.expect("", patience)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // The end of its input asks it to end.
        drop(self.process.stdin.take());
        let until = Instant::now() + GRACE;
        while Instant::now() < until {
            match self.process.try_wait() {
                Ok(None) => thread::sleep(Duration::from_millis(5)),
                Ok(Some(_)) | Err(_) => return,
            }
        }
        // It has not ended, so it is killed. An error means that it has ended meanwhile.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
