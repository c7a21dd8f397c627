//! [`Framed`]: a TCP connection that carries messages.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::message::MAX_BYTES;
use crate::peer::Traffic;

/// A connection that carries messages, each after its length in two bytes.
pub struct Framed {
    stream: TcpStream,
    /// The start of a message that is not complete yet.
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
    traffic: Arc<Traffic>,
}

/// Maximum number of bytes that wait to be written.
const MAX_OUTGOING: usize = 4 << 20;
/// Maximum number of bytes read at once.
const CHUNK: usize = 64 << 10;
/// Size in bytes of a length.
const HEAD: usize = 2;

impl Framed {
    /// Wraps a connected stream, and counts its bytes in `traffic`.
    pub fn new(stream: TcpStream, traffic: Arc<Traffic>) -> Result<Self> {
        stream.set_nodelay(true).map_err(Error::io("turning Nagle's algorithm off"))?;
        stream.set_nonblocking(true).map_err(Error::io("setting a socket up"))?;
        Ok(Self { stream, incoming: Vec::new(), outgoing: Vec::new(), traffic })
    }

    /// Returns the socket, to wait for.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Queues a message; returns true if no other was queued.
    pub fn queue(&mut self, message: &[u8]) -> Result<bool> {
        if self.outgoing.len() + message.len() > MAX_OUTGOING {
            return Err(Error::bound("too much waits for a connection"));
        }
        let was_empty = self.outgoing.is_empty();
        let len = u16::try_from(message.len()).map_err(Error::while_doing("framing a message"))?;
        self.outgoing.extend_from_slice(&len.to_le_bytes());
        self.outgoing.extend_from_slice(message);
        Ok(was_empty)
    }

    /// Writes as much of the queue as the system accepts; the rest follows when the socket is writable again.
    pub fn flush(&mut self) -> Result<()> {
        let mut written = 0;
        while written < self.outgoing.len() {
            match self.stream.write(&self.outgoing[written..]) {
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // The connection is gone, which the reader notices.
                Err(error) if is_gone(error.kind()) => written = self.outgoing.len(),
                Err(error) => return Err(Error::io("writing")(error)),
            }
        }
        self.traffic.add(0, written as u64);
        self.outgoing.drain(..written);
        Ok(())
    }

    /// Reads until nothing is left and gives each message to `take`; returns false at the stream's end.
    pub fn read(&mut self, mut take: impl FnMut(&[u8])) -> Result<bool> {
        let mut chunk = [0; CHUNK];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return Ok(false),
                Ok(count) => {
                    self.traffic.add(0, count as u64);
                    self.cut(&chunk[..count], &mut take)?;
                    // A short read means that nothing is left, as epoll(7) states for streams.
                    if count < CHUNK {
                        return Ok(true);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_gone(error.kind()) => return Ok(false),
                Err(error) => return Err(Error::io("reading")(error)),
            }
        }
    }

    fn cut(&mut self, chunk: &[u8], take: &mut impl FnMut(&[u8])) -> Result<()> {
        if !self.incoming.is_empty() {
            self.incoming.extend_from_slice(chunk);
            let whole = std::mem::take(&mut self.incoming);
            let rest = messages(&whole, take)?;
            self.incoming.extend_from_slice(&whole[rest..]);
            return Ok(());
        }
        let rest = messages(chunk, take)?;
        self.incoming.extend_from_slice(&chunk[rest..]);
        Ok(())
    }
}

/// Gives each complete message to `take`; returns where the rest begins.
fn messages(bytes: &[u8], take: &mut impl FnMut(&[u8])) -> Result<usize> {
    let mut at = 0;
    while let Some(&[low, high]) = bytes.get(at..at + HEAD) {
        let len = usize::from(u16::from_le_bytes([low, high]));
        if len > MAX_BYTES {
            return Err(Error::bound("a message is too long"));
        }
        let Some(message) = bytes.get(at + HEAD..at + HEAD + len) else { break };
        take(message);
        at += HEAD + len;
    }
    Ok(at)
}

fn is_gone(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted)
}

#[cfg(test)]
mod tests {
    use super::messages;

    #[test]
    fn messages_are_cut_from_a_stream() {
        let mut seen = Vec::new();
        let rest = messages(&[1, 0, 7, 2, 0, 8, 9, 3, 0, 1], &mut |message| seen.push(message.to_vec()));
        assert_eq!(rest.ok(), Some(7));
        assert_eq!(seen, [vec![7], vec![8, 9]]);
        assert!(messages(&[255, 255, 1], &mut |_| {}).is_err());
    }
}
