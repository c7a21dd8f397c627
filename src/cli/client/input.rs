//! [`Lines`]: standard input, line by line.

use std::io;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Stdin};

/// Reads lines of bounded length.
pub struct Lines {
    input: BufReader<Stdin>,
    /// The part of the next line that was read so far.
    line: Vec<u8>,
}

/// Longest line, in bytes; several times what a command can contain.
const MAX_LINE_BYTES: usize = 1 << 20;

impl Lines {
    /// Creates a reader of standard input.
    pub fn new() -> Self {
        Self { input: BufReader::new(tokio::io::stdin()), line: Vec::new() }
    }

    /// Waits for the next line and returns it without its line end; `None` at the end of the input. Cancel
    /// safe.
    ///
    /// # Errors
    /// Those of the system, and [`io::ErrorKind::InvalidData`] for a line that is too long.
    pub async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        let room = MAX_LINE_BYTES + 1 - self.line.len();
        (&mut self.input).take(room as u64).read_until(b'\n', &mut self.line).await?;
        let mut line = std::mem::take(&mut self.line);
        let is_ended = line.pop_if(|last| *last == b'\n').is_some();
        if line.len() > MAX_LINE_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a line is longer than 1 MiB"));
        }
        Ok((is_ended || !line.is_empty()).then_some(line))
    }
}
