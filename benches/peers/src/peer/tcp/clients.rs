//! The clients of `tcp`, with one connection each.

use std::net::TcpStream;

use super::framed::Framed;
use crate::error::{Error, Result};
use crate::load::{Clients, Inbox, Spec, join_all};
use crate::peer::Traffic;
use crate::sys::{self, Epoll, READ_WRITE_EDGES};

struct TcpClients {
    clients: Vec<Framed>,
    epoll: Epoll,
    ready: Vec<usize>,
    /// Clients to be flushed at the beginning of the turn.
    dirty: Vec<usize>,
    inbox: Inbox,
}

/// Connects the clients.
pub fn connect(spec: &Spec, inbox: &Inbox) -> Result<Box<dyn Clients>> {
    let epoll = Epoll::new().map_err(Error::io("making an epoll"))?;
    let mut clients = Vec::new();
    for number in 0..spec.clients() {
        let stream = TcpStream::connect(spec.server).map_err(Error::io("connecting"))?;
        let framed = Framed::new(stream, Traffic::shared())?;
        epoll.add(framed.stream(), number, READ_WRITE_EDGES).map_err(Error::io("waiting for a socket"))?;
        clients.push(framed);
    }
    let (ready, dirty) = (Vec::new(), Vec::new());
    let mut clients = TcpClients { clients, epoll, ready, dirty, inbox: inbox.clone() };
    join_all(spec, &mut clients, inbox)?;
    Ok(Box::new(clients))
}

impl Clients for TcpClients {
    fn send(&mut self, client: usize, body: &[u8]) -> Result<()> {
        if self.clients[client].queue(body)? {
            self.dirty.push(client);
        }
        Ok(())
    }

    fn turn(&mut self, deadline: u64) -> Result<()> {
        for client in self.dirty.drain(..) {
            self.clients[client].flush()?;
        }
        let wait = deadline.saturating_sub(sys::nanos());
        self.epoll.wait(Some(wait), &mut self.ready).map_err(Error::io("waiting"))?;
        for number in &self.ready {
            let (client, inbox) = (&mut self.clients[*number], &self.inbox);
            if !client.read(|message| inbox.take(*number, message))? {
                return Err(Error::bound("the server has closed a connection"));
            }
            client.flush()?;
        }
        Ok(())
    }
}
