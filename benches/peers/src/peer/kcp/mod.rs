//! `kcp`: KCP in its turbo mode, over the same loop and system calls as `raw-mmsg`.
//!
//! KCP is a library without sockets and without encryption. The settings follow its README. `nodelay(1, 10,
//! 2, 1)` means no doubling of the resend timeout, the clock every 10 ms, a resend after two later acks, and
//! no congestion window. Windows are 1,024, as its README recommends for fast links. A connection is flushed
//! directly after a send, at the end of the turn. Acks alone wait for the next flush, 10 ms at most, except
//! those of clients in `loss`, which leave at once (`flush_ack`). Stream mode is off: a message is a
//! segment, so that none waits for others to fill one.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::{self, Write};
use std::net::SocketAddrV4;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::sync::Arc;

use kcp::Kcp;

use super::Traffic;
use crate::error::{Error, Result};
use crate::message::MAX_BYTES;
use crate::rooms::Rooms;
use crate::stage::Announce;
use crate::sys::{self, ReceiveBatch, SendBatch};

mod clients;

pub use self::clients::connect;

/// Time between two updates of a connection, in milliseconds.
const INTERVAL_MS: u32 = 10;
const INTERVAL_NANOS: u64 = 10_000_000;
/// Maximum number of segments in flight, and kept out of order.
const WINDOW: u16 = 1_024;
/// Maximum number of segments queued for one connection.
const MAX_WAITING: usize = 16_384;
/// Maximum number of clients.
const MAX_CLIENTS: usize = 65_536;
/// Number of datagrams received with one call.
const BATCH: usize = 64;

/// Converts to milliseconds as KCP counts them.
#[allow(clippy::cast_possible_truncation)]
fn millis(nanos: u64) -> u32 {
    (nanos / 1_000_000) as u32
}

/// Returns a connection in turbo mode.
fn turbo<O: Write>(conversation: u32, output: O, now: u64) -> Result<Kcp<O>> {
    let mut kcp = Kcp::new(conversation, output);
    kcp.set_nodelay(true, INTERVAL_MS as i32, 2, true);
    kcp.set_wndsize(WINDOW, WINDOW);
    kcp.update(millis(now)).map_err(Error::while_doing("starting a connection"))?;
    Ok(kcp)
}

/// Queues a message on a connection.
fn queue<O: Write>(kcp: &mut Kcp<O>, message: &[u8]) -> Result<()> {
    if kcp.wait_snd() >= MAX_WAITING {
        return Err(Error::bound("too many segments wait for a connection"));
    }
    kcp.send(message).map(|_| ()).map_err(Error::while_doing("sending"))
}

/// Returns the next complete message of a connection, in `buffer`.
fn next_message<'a, O: Write>(kcp: &mut Kcp<O>, buffer: &'a mut [u8]) -> Result<Option<&'a [u8]>> {
    if kcp.peeksize().is_err() {
        return Ok(None);
    }
    let len = kcp.recv(buffer).map_err(Error::while_doing("receiving"))?;
    Ok(Some(&buffer[..len]))
}

/// Collects the datagrams of the server's connections.
struct Output {
    batch: Rc<RefCell<SendBatch>>,
    to: SocketAddrV4,
}

impl Write for Output {
    fn write(&mut self, datagram: &[u8]) -> io::Result<usize> {
        self.batch.borrow_mut().push(self.to, datagram);
        Ok(datagram.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Default)]
struct Server {
    rooms: Rooms,
    numbers: HashMap<SocketAddrV4, usize>,
    connections: Vec<Connection>,
    /// Connections to be flushed at the end of the turn.
    dirty: Vec<usize>,
    batch: Rc<RefCell<SendBatch>>,
}

struct Connection {
    kcp: Kcp<Output>,
    is_dirty: bool,
}

/// Runs the server.
pub fn serve(announce: Announce) -> Result<()> {
    let socket = sys::udp_server().map_err(Error::io("binding"))?;
    let traffic = Traffic::shared();
    let read = Arc::clone(&traffic);
    let addr = socket.local_addr().map_err(Error::io("binding"))?;
    announce.ready(addr, "", move || Some(read.counts()))?;
    let (mut server, mut received) = (Server::default(), ReceiveBatch::new(BATCH));
    let mut next_update = sys::nanos();
    loop {
        let wait = next_update.saturating_sub(sys::nanos());
        if sys::wait_readable(socket.as_raw_fd(), wait).map_err(Error::io("waiting"))? {
            let count = received.receive(&socket, false).map_err(Error::io("receiving"))?;
            let now = sys::nanos();
            for index in 0..count {
                let (from, datagram) = received.get(index);
                traffic.add(1, datagram.len() as u64);
                server.take(from, datagram, now)?;
            }
        }
        let now = sys::nanos();
        if now >= next_update {
            next_update = now + INTERVAL_NANOS;
            for connection in &mut server.connections {
                connection.kcp.update(millis(now)).map_err(Error::while_doing("updating"))?;
            }
        }
        server.flush(now)?;
        let mut batch = server.batch.borrow_mut();
        let (sent, bytes) = (batch.sent, batch.sent_bytes);
        batch.flush(&socket);
        traffic.add(batch.sent - sent, batch.sent_bytes - bytes);
    }
}

impl Server {
    fn take(&mut self, from: SocketAddrV4, datagram: &[u8], now: u64) -> Result<()> {
        if datagram.len() < kcp::KCP_OVERHEAD {
            return Err(Error::bound("a datagram that is no segment"));
        }
        let number = match self.numbers.get(&from) {
            Some(number) => *number,
            None => self.admit(from, datagram, now)?,
        };
        let kcp = &mut self.connections[number].kcp;
        kcp.input(datagram).map_err(Error::while_doing("reading a segment"))?;
        let mut buffer = [0; MAX_BYTES];
        while let Some(message) = next_message(&mut self.connections[number].kcp, &mut buffer)? {
            for recipient in self.rooms.recipients(number, message)? {
                let connection = &mut self.connections[*recipient];
                queue(&mut connection.kcp, message)?;
                if !connection.is_dirty {
                    connection.is_dirty = true;
                    self.dirty.push(*recipient);
                }
            }
        }
        Ok(())
    }

    fn admit(&mut self, from: SocketAddrV4, datagram: &[u8], now: u64) -> Result<usize> {
        if self.connections.len() >= MAX_CLIENTS {
            return Err(Error::bound("too many clients"));
        }
        let output = Output { batch: Rc::clone(&self.batch), to: from };
        let kcp = turbo(kcp::get_conv(datagram), output, now)?;
        self.connections.push(Connection { kcp, is_dirty: false });
        let number = self.connections.len() - 1;
        self.numbers.insert(from, number);
        Ok(number)
    }

    /// Sends everything this turn has queued.
    fn flush(&mut self, now: u64) -> Result<()> {
        for number in self.dirty.drain(..) {
            let connection = &mut self.connections[number];
            connection.is_dirty = false;
            // The update sets the current time; otherwise a segment's timestamp would be old.
            connection.kcp.update(millis(now)).map_err(Error::while_doing("updating"))?;
            connection.kcp.flush().map_err(Error::while_doing("flushing"))?;
        }
        Ok(())
    }
}
