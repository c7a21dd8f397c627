//! The clients of `kcp`, with one socket and one connection each.

use std::io::{self, Write};
use std::net::UdpSocket;
use std::rc::Rc;

use kcp::Kcp;

use super::{INTERVAL_NANOS, millis, next_message, queue, turbo};
use crate::error::{Error, Result};
use crate::load::{Clients, Inbox, Spec, join_all};
use crate::message::MAX_BYTES;
use crate::sys::{self, Epoll, READABLE, ReceiveBatch};

/// Number of datagrams received with one call.
const BATCH: usize = 16;

struct KcpClients {
    clients: Vec<Client>,
    epoll: Epoll,
    ready: Vec<usize>,
    /// Clients to be flushed at the beginning of the turn.
    dirty: Vec<usize>,
    received: ReceiveBatch,
    next_update: u64,
    /// Whether received segments are acked at once rather than with the clock.
    acks_at_once: bool,
    inbox: Inbox,
}

struct Client {
    kcp: Kcp<Output>,
    socket: Rc<UdpSocket>,
}

struct Output(Rc<UdpSocket>);

impl Write for Output {
    fn write(&mut self, datagram: &[u8]) -> io::Result<usize> {
        // A datagram that the system does not accept is lost, and is retransmitted.
        let _ = self.0.send(datagram);
        Ok(datagram.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Connects the clients.
pub fn connect(spec: &Spec, inbox: &Inbox) -> Result<Box<dyn Clients>> {
    let epoll = Epoll::new().map_err(Error::io("making an epoll"))?;
    let now = sys::nanos();
    let mut clients = Vec::new();
    for number in 0..spec.clients() {
        let socket = sys::udp_client(spec.server).map_err(Error::io("connecting"))?;
        epoll.add(&socket, number, READABLE).map_err(Error::io("waiting for a socket"))?;
        let socket = Rc::new(socket);
        let conversation = u32::try_from(number + 1).map_err(Error::while_doing("numbering a client"))?;
        let kcp = turbo(conversation, Output(Rc::clone(&socket)), now)?;
        clients.push(Client { kcp, socket });
    }
    let mut clients = KcpClients {
        clients,
        epoll,
        ready: Vec::new(),
        dirty: Vec::new(),
        received: ReceiveBatch::new(BATCH),
        next_update: now,
        // Through the relay, losses should be noticed early; elsewhere immediate acks would only cost time.
        acks_at_once: spec.server != spec.home,
        inbox: inbox.clone(),
    };
    join_all(spec, &mut clients, inbox)?;
    Ok(Box::new(clients))
}

impl Clients for KcpClients {
    fn send(&mut self, client: usize, body: &[u8]) -> Result<()> {
        queue(&mut self.clients[client].kcp, body)?;
        self.dirty.push(client);
        Ok(())
    }

    fn turn(&mut self, deadline: u64) -> Result<()> {
        let now = sys::nanos();
        for client in self.dirty.drain(..) {
            let kcp = &mut self.clients[client].kcp;
            kcp.update(millis(now)).map_err(Error::while_doing("updating"))?;
            kcp.flush().map_err(Error::while_doing("flushing"))?;
        }
        if now >= self.next_update {
            self.next_update = now + INTERVAL_NANOS;
            for client in &mut self.clients {
                client.kcp.update(millis(now)).map_err(Error::while_doing("updating"))?;
            }
        }
        let wait = deadline.min(self.next_update).saturating_sub(sys::nanos());
        self.epoll.wait(Some(wait), &mut self.ready).map_err(Error::io("waiting"))?;
        let mut buffer = [0; MAX_BYTES];
        for number in &self.ready {
            let client = &mut self.clients[*number];
            let count = self.received.receive(&client.socket, false).map_err(Error::io("receiving"))?;
            for index in 0..count {
                let datagram = self.received.get(index).1;
                client.kcp.input(datagram).map_err(Error::while_doing("reading a segment"))?;
            }
            if self.acks_at_once {
                client.kcp.flush_ack().map_err(Error::while_doing("acking"))?;
            }
            while let Some(message) = next_message(&mut client.kcp, &mut buffer)? {
                self.inbox.take(*number, message);
            }
        }
        Ok(())
    }
}
