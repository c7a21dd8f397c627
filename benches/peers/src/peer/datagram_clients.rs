//! The clients of `raw` and `raw-mmsg`, with one socket each.

use std::net::UdpSocket;

use crate::error::{Error, Result};
use crate::load::{Clients, Inbox, Spec, join_all};
use crate::sys::{self, Epoll, READABLE, ReceiveBatch};

struct DatagramClients {
    sockets: Vec<UdpSocket>,
    epoll: Epoll,
    ready: Vec<usize>,
    received: ReceiveBatch,
    inbox: Inbox,
}

/// Number of datagrams received with one call.
const BATCH: usize = 16;

/// Connects the clients.
pub fn connect(spec: &Spec, inbox: &Inbox) -> Result<Box<dyn Clients>> {
    let epoll = Epoll::new().map_err(Error::io("making an epoll"))?;
    let mut sockets = Vec::new();
    for client in 0..spec.clients() {
        let socket = sys::udp_client(spec.server).map_err(Error::io("connecting"))?;
        epoll.add(&socket, client, READABLE).map_err(Error::io("waiting for a socket"))?;
        sockets.push(socket);
    }
    let inbox = inbox.clone();
    let received = ReceiveBatch::new(BATCH);
    let mut clients = DatagramClients { sockets, epoll, ready: Vec::new(), received, inbox };
    let inbox = clients.inbox.clone();
    join_all(spec, &mut clients, &inbox)?;
    Ok(Box::new(clients))
}

impl Clients for DatagramClients {
    fn send(&mut self, client: usize, body: &[u8]) -> Result<()> {
        // A full buffer loses the message, as a network would; it counts as not delivered.
        match self.sockets[client].send(body) {
            Ok(_) => {}
            Err(error) => self.inbox.trouble(&error),
        }
        Ok(())
    }

    fn turn(&mut self, deadline: u64) -> Result<()> {
        let wait = deadline.saturating_sub(sys::nanos());
        self.epoll.wait(Some(wait), &mut self.ready).map_err(Error::io("waiting"))?;
        for client in &self.ready {
            let count = self.received.receive(&self.sockets[*client], false);
            for index in 0..count.map_err(Error::io("receiving"))? {
                self.inbox.take(*client, self.received.get(index).1);
            }
        }
        Ok(())
    }
}
