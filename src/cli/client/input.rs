//! [`Lines`]: standard input, line by line.

use std::io;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Stdin};

/// Reads lines of bounded length.
pub struct Lines {
    input: BufReader<Stdin>,
    /// What was read of the next line.
    line: Vec<u8>,
}

/// Longest line, in bytes; several times what a command can hold.
const MAX_LINE_BYTES: usize = 1 << 20;

impl Lines {
    /// Lines of standard input.
    pub fn new() -> Self {
        Self { input: BufReader::new(tokio::io::stdin()), line: Vec::new() }
    }

    /// The next line, without its end; `None` at the end of the input. Loses nothing when it is cancelled.
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
