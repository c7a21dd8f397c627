//! [`TraceFile`]: one connection's trace.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::{Folder, qlog};
use crate::base::{ConnectionId, Timestamp};
use crate::rudp::{Trace, TraceEvent, Vantage};

/// Maximum bytes of a file; a last line beyond them states that it was cut.
pub const MAX_FILE_BYTES: u64 = 64 << 20;

/// Bytes of lines that are buffered in memory.
const BUFFER_BYTES: usize = 32 << 10;
/// The first event after this time flushes the buffer, so that a killed process leaves a trace.
const FLUSH_EVERY: Duration = Duration::from_secs(1);

/// Writes the events of one connection. The file is created with the first event, so a handshake that nothing
/// follows leaves none.
pub struct TraceFile {
    folder: Arc<Folder>,
    connection: ConnectionId,
    vantage: Vantage,
    max_bytes: u64,
    /// Wall-clock time, in milliseconds since 1970, when the connection began.
    began_at: f64,
    state: State,
}

enum State {
    Waiting,
    Open(Open),
    /// Too many files, too many bytes, or a failure.
    Ended,
}

struct Open {
    path: PathBuf,
    out: BufWriter<File>,
    /// When the connection began, which is time 0 of the trace.
    began: Timestamp,
    flushed: Timestamp,
    bytes: u64,
}

impl TraceFile {
    /// Creates the trace of a connection that begins now.
    pub(super) fn new(folder: Arc<Folder>, connection: ConnectionId, vantage: Vantage) -> Self {
        let (max_bytes, began_at) = (MAX_FILE_BYTES, wall_millis());
        Self { folder, connection, vantage, max_bytes, began_at, state: State::Waiting }
    }

    #[cfg(test)]
    pub(super) fn with_max_bytes(self, max_bytes: u64) -> Self {
        Self { max_bytes, ..self }
    }

    /// Begins the file; `began` is when the connection began.
    fn begin(&self, began: Timestamp) -> State {
        let Some(number) = self.folder.next_file() else { return State::Ended };
        let side = qlog::side(self.vantage);
        let path = self.folder.path.join(format!("{side}-{:08x}-{number:04}.qlog", self.connection.0));
        let header = qlog::header(self.vantage, self.connection, self.began_at);
        // An older trace of the same name is not overwritten.
        let opened = File::create_new(&path).and_then(|file| {
            let mut out = BufWriter::with_capacity(BUFFER_BYTES, file);
            let bytes = write_line(&mut out, &header.to_string())?;
            Ok((out, bytes))
        });
        match opened {
            Ok((out, bytes)) => State::Open(Open { path, out, began, flushed: began, bytes }),
            Err(error) => {
                self.folder.failed(&path, &error);
                State::Ended
            }
        }
    }
}

impl Trace for TraceFile {
    fn event(&mut self, now: Timestamp, event: &TraceEvent<'_>) {
        if matches!(self.state, State::Waiting) {
            self.state = self.begin(now);
        }
        let State::Open(open) = &mut self.state else { return };
        let (name, data) = qlog::event(now, event);
        let is_last = matches!(event, TraceEvent::Closed(_));
        match open.write(now, name, &data, self.max_bytes, is_last) {
            Ok(true) => {}
            Ok(false) => self.state = State::Ended,
            Err(error) => {
                self.folder.failed(&open.path, &error);
                self.state = State::Ended;
            }
        }
    }
}

impl Open {
    /// Appends one event. Returns false if the file is full; its last line then states so.
    fn write(
        &mut self,
        now: Timestamp,
        name: &str,
        data: &Value,
        max_bytes: u64,
        flush: bool,
    ) -> io::Result<bool> {
        let at = millis(now.since(self.began));
        let line = |name: &str, data: &Value| format!(r#"{{"time":{at:.3},"name":"{name}","data":{data}}}"#);
        let text = line(name, data);
        if self.bytes + text.len() as u64 >= max_bytes {
            let (name, data) = qlog::cut(max_bytes);
            write_line(&mut self.out, &line(name, &data))?;
            self.out.flush()?;
            return Ok(false);
        }
        self.bytes += write_line(&mut self.out, &text)?;
        if flush || now.since(self.flushed) >= FLUSH_EVERY {
            self.flushed = now;
            self.out.flush()?;
        }
        Ok(true)
    }
}

/// Writes `text` and a line end; returns the bytes written.
fn write_line(out: &mut impl Write, text: &str) -> io::Result<u64> {
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")?;
    Ok(text.len() as u64 + 1)
}

pub(super) fn millis(time: Duration) -> f64 {
    // From whole microseconds: the quotient is then the float nearest to the decimal, and is printed short.
    time.as_micros() as f64 / 1e3
}

/// Returns the wall-clock time in ms since 1970, by which the traces of two ends are aligned.
pub(super) fn wall_millis() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, millis)
}
