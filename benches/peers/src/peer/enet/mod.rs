//! `enet`: the C library, with reliable packets on one channel.
//!
//! Uses the loop of its tutorial: `enet_host_service` waits for an event, `enet_host_check_events` takes the
//! rest that has been received, and `enet_host_flush` sends at the end of the turn what the turn has queued,
//! rather than at the next service. All recipients share one packet. Bandwidth is unlimited (0), and the
//! throttle, which shrinks the window of reliable packets when round trips vary, is off. No encryption, no
//! checksum. Pings are ENet's own; a peer is given up after 10 s at the earliest, as with the other peers.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use super::Traffic;
use crate::error::{Error, Result};
use crate::load::{CONNECT_NANOS, Clients, Inbox, Spec, join_all};
use crate::rooms::Rooms;
use crate::stage::Announce;
use crate::sys::{self, Epoll, READABLE};

mod host;

use self::host::{Happening, Host, Wait};

/// Longest wait of a service, because ENet checks resends and pings only then.
const TICK_MS: u32 = 10;
/// Shortest time without an ack after which a peer is given up.
const TIMEOUT_MS: u32 = 10_000;
const TICK_NANOS: u64 = 10_000_000;
/// Number of clients that connect at the same time.
const AT_ONCE: usize = 32;

/// Runs the server. Every flush of ENet goes through all peer slots, so the host has only as many as there
/// are clients.
pub fn serve(announce: Announce, clients: usize) -> Result<()> {
    host::start()?;
    let mut host = Host::listen(clients)?;
    sys::enlarge_server_buffers(&host).map_err(Error::io("enlarging buffers"))?;
    let traffic = Traffic::shared();
    let read = Arc::clone(&traffic);
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, host.port()?));
    announce.ready(addr, "", move || Some(read.counts()))?;
    let mut rooms = Rooms::default();
    loop {
        let mut happening = host.next(Wait::Serve(TICK_MS))?;
        while let Some(happened) = happening {
            match happened {
                Happening::Connected(peer) => {
                    host.keep_open(peer);
                    host.set_timeout(peer, TIMEOUT_MS);
                }
                Happening::Gone => {}
                Happening::Message(from, message) => {
                    let recipients = rooms.recipients(from, message.bytes())?;
                    host.send(recipients, message.bytes())?;
                }
            }
            happening = host.next(Wait::Queued)?;
        }
        host.flush();
        let (datagrams, bytes) = host.take_traffic();
        traffic.add(datagrams, bytes);
    }
}

struct EnetClients {
    clients: Vec<Host>,
    epoll: Epoll,
    ready: Vec<usize>,
    /// Clients to be flushed at the beginning of the turn.
    dirty: Vec<usize>,
    connected: usize,
    next_tick: u64,
    inbox: Inbox,
}

/// Connects the clients.
pub fn connect(spec: &Spec, inbox: &Inbox) -> Result<Box<dyn Clients>> {
    host::start()?;
    let mut clients = EnetClients {
        clients: Vec::new(),
        epoll: Epoll::new().map_err(Error::io("making an epoll"))?,
        ready: Vec::new(),
        dirty: Vec::new(),
        connected: 0,
        next_tick: 0,
        inbox: inbox.clone(),
    };
    let until = sys::nanos() + CONNECT_NANOS;
    while clients.connected < spec.clients() {
        let begun = clients.clients.len();
        if begun < spec.clients() && begun < clients.connected + AT_ONCE {
            let mut host = Host::connect(spec.server.port())?;
            sys::enlarge_client_buffers(&host).map_err(Error::io("enlarging buffers"))?;
            host.set_timeout(0, TIMEOUT_MS);
            clients.epoll.add(&host, begun, READABLE).map_err(Error::io("waiting for a socket"))?;
            clients.clients.push(host);
            clients.dirty.push(begun);
        }
        let now = sys::nanos();
        if now > until {
            return Err(Error::bound("connecting takes too long"));
        }
        clients.turn(now + 1_000_000)?;
    }
    join_all(spec, &mut clients, inbox)?;
    Ok(Box::new(clients))
}

impl EnetClients {
    fn serve(&mut self, number: usize) -> Result<()> {
        let host = &mut self.clients[number];
        let mut happening = host.next(Wait::Serve(0))?;
        while let Some(happened) = happening {
            match happened {
                Happening::Connected(_) => self.connected += 1,
                Happening::Gone => self.inbox.trouble(&"a client lost its connection"),
                Happening::Message(_, message) => self.inbox.take(number, message.bytes()),
            }
            happening = host.next(Wait::Queued)?;
        }
        Ok(())
    }
}

impl Clients for EnetClients {
    fn send(&mut self, client: usize, body: &[u8]) -> Result<()> {
        self.dirty.push(client);
        self.clients[client].send(&[0], body)
    }

    fn turn(&mut self, deadline: u64) -> Result<()> {
        for client in self.dirty.drain(..) {
            self.clients[client].flush();
        }
        let now = sys::nanos();
        if now >= self.next_tick {
            self.next_tick = now + TICK_NANOS;
            (0..self.clients.len()).try_for_each(|client| self.serve(client))?;
        }
        let wait = deadline.min(self.next_tick).saturating_sub(sys::nanos());
        let mut ready = std::mem::take(&mut self.ready);
        self.epoll.wait(Some(wait), &mut ready).map_err(Error::io("waiting"))?;
        ready.iter().try_for_each(|client| self.serve(*client))?;
        self.ready = ready;
        Ok(())
    }
}
