//! [`Frames`] and [`Outgoing`]: messages on a stream, in both directions.

use std::cell::RefCell;

use bytes::Bytes;
use quinn::{RecvStream, SendStream};
use tokio::sync::Notify;

use crate::error::{Error, Result};
use crate::message::MAX_BYTES;

/// Maximum number of bytes read at once.
const CHUNK: usize = 64 << 10;
/// Maximum number of bytes that wait to be written.
const MAX_OUTGOING: usize = 4 << 20;
/// Size in bytes of a length.
const HEAD: usize = 2;

/// Reads the messages of a stream.
pub struct Frames {
    stream: RecvStream,
    /// The start of a message that is not complete yet.
    rest: Vec<u8>,
}

impl Frames {
    /// Reads from `stream`.
    pub fn new(stream: RecvStream) -> Self {
        Self { stream, rest: Vec::new() }
    }

    /// Returns the next bytes; nothing at the end of the stream or connection.
    pub async fn read(&mut self) -> Option<Bytes> {
        self.stream.read_chunk(CHUNK, true).await.ok().flatten().map(|chunk| chunk.bytes)
    }

    /// Gives each complete message to `take`, and keeps the rest.
    ///
    /// # Errors
    /// [`Error::Bound`] for a message that is too long, or an error of `take`.
    pub fn cut(&mut self, chunk: &[u8], take: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        if self.rest.is_empty() {
            let end = messages(chunk, take)?;
            self.rest.extend_from_slice(&chunk[end..]);
            return Ok(());
        }
        self.rest.extend_from_slice(chunk);
        let end = messages(&self.rest, take)?;
        self.rest.drain(..end);
        Ok(())
    }
}

/// Gives each complete message to `take`; returns where the rest begins.
fn messages(bytes: &[u8], take: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<usize> {
    let mut at = 0;
    while let Some(&[low, high]) = bytes.get(at..at + HEAD) {
        let len = usize::from(u16::from_le_bytes([low, high]));
        if len > MAX_BYTES {
            return Err(Error::bound("a message is too long"));
        }
        let Some(message) = bytes.get(at + HEAD..at + HEAD + len) else { break };
        take(message)?;
        at += HEAD + len;
    }
    Ok(at)
}

/// Bytes that wait to be written to a stream.
#[derive(Default)]
pub struct Outgoing {
    bytes: RefCell<Vec<u8>>,
    queued: Notify,
}

impl Outgoing {
    /// Queues a message.
    ///
    /// # Errors
    /// [`Error::Bound`] when too much is already queued.
    pub fn queue(&self, message: &[u8]) -> Result<()> {
        let mut bytes = self.bytes.borrow_mut();
        if bytes.len() + message.len() > MAX_OUTGOING {
            return Err(Error::bound("too much waits for a connection"));
        }
        let len = u16::try_from(message.len()).map_err(Error::while_doing("framing a message"))?;
        bytes.extend_from_slice(&len.to_le_bytes());
        bytes.extend_from_slice(message);
        self.queued.notify_one();
        Ok(())
    }

    /// Writes what is queued, until the connection ends.
    pub async fn write_to(&self, mut stream: SendStream) {
        loop {
            self.queued.notified().await;
            let bytes = std::mem::take(&mut *self.bytes.borrow_mut());
            if !bytes.is_empty() && stream.write_all(&bytes).await.is_err() {
                return;
            }
        }
    }
}
