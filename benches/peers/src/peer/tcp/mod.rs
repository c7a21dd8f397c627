//! `tcp`: frames after a length of two bytes, with an edge-triggered epoll.
//!
//! `TCP_NODELAY` is set at both ends, so that no small segment waits for an ack; everything a turn of the
//! loop has for a connection leaves with one write at the end of the turn. No encryption. Bytes are those of
//! the stream, because the system does not report its segments.

use std::collections::HashMap;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;

use super::Traffic;
use crate::error::{Error, Result};
use crate::rooms::Rooms;
use crate::stage::Announce;
use crate::sys::{Epoll, READ_WRITE_EDGES, READABLE};

mod clients;
mod framed;

pub use self::clients::connect;
use self::framed::Framed;

/// The listener's token.
const LISTENER: usize = usize::MAX;
/// Maximum number of clients.
const MAX_CLIENTS: usize = 65_536;

#[derive(Default)]
struct Server {
    rooms: Rooms,
    connections: HashMap<usize, Framed>,
    next: usize,
    traffic: Arc<Traffic>,
    /// Connections to be flushed at the end of the turn.
    dirty: Vec<usize>,
}

/// Runs the server.
pub fn serve(announce: Announce) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(Error::io("binding"))?;
    listener.set_nonblocking(true).map_err(Error::io("binding"))?;
    let mut epoll = Epoll::new().map_err(Error::io("making an epoll"))?;
    epoll.add(&listener, LISTENER, READABLE).map_err(Error::io("waiting for a socket"))?;
    let addr = listener.local_addr().map_err(Error::io("binding"))?;
    let (mut server, mut ready) = (Server::default(), Vec::new());
    let traffic = Arc::clone(&server.traffic);
    announce.ready(addr, "", move || Some(traffic.counts()))?;
    loop {
        epoll.wait(None, &mut ready).map_err(Error::io("waiting"))?;
        for token in &ready {
            if *token == LISTENER {
                server.accept(&listener, &epoll)?;
            } else {
                server.serve(*token)?;
            }
        }
        server.flush()?;
    }
}

impl Server {
    fn accept(&mut self, listener: &TcpListener, epoll: &Epoll) -> Result<()> {
        while let Ok((stream, _)) = listener.accept() {
            if self.connections.len() >= MAX_CLIENTS {
                return Err(Error::bound("too many clients"));
            }
            let framed = Framed::new(stream, Arc::clone(&self.traffic))?;
            epoll
                .add(framed.stream(), self.next, READ_WRITE_EDGES)
                .map_err(Error::io("waiting for a socket"))?;
            self.connections.insert(self.next, framed);
            self.next += 1;
        }
        Ok(())
    }

    /// Reads a connection until nothing is left, and forwards the messages.
    fn serve(&mut self, number: usize) -> Result<()> {
        let Some(connection) = self.connections.get_mut(&number) else { return Ok(()) };
        // The edge may also mean that it is writable again.
        self.dirty.push(number);
        let mut messages = Vec::new();
        let is_open = connection.read(|message| messages.push(message.to_vec()))?;
        for message in messages {
            for recipient in self.rooms.recipients(number, &message)? {
                if let Some(connection) = self.connections.get_mut(recipient)
                    && connection.queue(&message)?
                {
                    self.dirty.push(*recipient);
                }
            }
        }
        if !is_open {
            self.connections.remove(&number);
        }
        Ok(())
    }

    /// Writes everything this turn has queued.
    fn flush(&mut self) -> Result<()> {
        for number in self.dirty.drain(..) {
            if let Some(connection) = self.connections.get_mut(&number) {
                connection.flush()?;
            }
        }
        Ok(())
    }
}
