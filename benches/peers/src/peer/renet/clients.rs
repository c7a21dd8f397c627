//! The clients of `renet`, with one socket and one connection each.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use renet::{Bytes, RenetClient};
use renet_netcode::{ClientAuthentication, ConnectToken, NetcodeClientTransport};

use super::{CHANNEL, GAME, KEY, TICK_NANOS, config, since_1970};
use crate::error::{Error, Result};
use crate::load::{CONNECT_NANOS, Clients, Inbox, Spec, join_all};
use crate::sys::{self, Epoll, READABLE};

/// Number of clients that connect at the same time.
const AT_ONCE: usize = 32;
/// Time without a packet after which a client gives up, as with the other peers.
const TIMEOUT_SECONDS: i32 = 10;

struct RenetClients {
    clients: Vec<One>,
    epoll: Epoll,
    ready: Vec<usize>,
    /// Clients that send at the beginning of the turn.
    dirty: Vec<usize>,
    next_tick: u64,
    inbox: Inbox,
}

struct One {
    client: RenetClient,
    transport: NetcodeClientTransport,
    updated: u64,
}

/// Connects the clients.
pub fn connect(spec: &Spec, inbox: &Inbox) -> Result<Box<dyn Clients>> {
    let mut clients = RenetClients {
        clients: Vec::new(),
        epoll: Epoll::new().map_err(Error::io("making an epoll"))?,
        ready: Vec::new(),
        dirty: Vec::new(),
        next_tick: 0,
        inbox: inbox.clone(),
    };
    let until = sys::nanos() + CONNECT_NANOS;
    while clients.connected() < spec.clients() {
        let begun = clients.clients.len();
        if begun < spec.clients() && begun < clients.connected() + AT_ONCE {
            let socket = sys::udp_unconnected().map_err(Error::io("connecting"))?;
            clients.epoll.add(&socket, begun, READABLE).map_err(Error::io("waiting for a socket"))?;
            clients.clients.push(One::new(spec, begun, socket)?);
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

impl One {
    fn new(spec: &Spec, number: usize, socket: UdpSocket) -> Result<Self> {
        let now = since_1970()?;
        // The server accepts a token that names it; the client goes to the first address, which may be a
        // relay's.
        let mut addresses: Vec<SocketAddr> = vec![spec.server];
        if spec.home != spec.server {
            addresses.push(spec.home);
        }
        let id = number as u64 + 1;
        let token = ConnectToken::generate(now, GAME, 300, id, TIMEOUT_SECONDS, addresses, None, &KEY);
        let connect_token = token.map_err(Error::while_doing("making a token"))?;
        let authentication = ClientAuthentication::Secure { connect_token };
        let transport = NetcodeClientTransport::new(now, authentication, socket);
        let transport = transport.map_err(Error::while_doing("starting a client"))?;
        Ok(Self { client: RenetClient::new(config()), transport, updated: sys::nanos() })
    }

    /// Takes the messages that have arrived.
    fn serve(&mut self, number: usize, inbox: &Inbox) -> Result<()> {
        let now = sys::nanos();
        let passed = Duration::from_nanos(now - self.updated);
        self.updated = now;
        self.client.update(passed);
        self.transport.update(passed, &mut self.client).map_err(Error::while_doing("receiving"))?;
        while let Some(message) = self.client.receive_message(CHANNEL) {
            inbox.take(number, &message);
        }
        Ok(())
    }

    fn send_packets(&mut self) -> Result<()> {
        if !self.client.is_connected() {
            return Ok(());
        }
        self.transport.send_packets(&mut self.client).map_err(Error::while_doing("sending"))
    }
}

impl RenetClients {
    fn connected(&self) -> usize {
        self.clients.iter().filter(|one| one.client.is_connected()).count()
    }
}

impl Clients for RenetClients {
    fn send(&mut self, client: usize, body: &[u8]) -> Result<()> {
        self.clients[client].client.send_message(CHANNEL, Bytes::copy_from_slice(body));
        self.dirty.push(client);
        Ok(())
    }

    fn turn(&mut self, deadline: u64) -> Result<()> {
        for client in self.dirty.drain(..) {
            self.clients[client].send_packets()?;
        }
        let now = sys::nanos();
        if now >= self.next_tick {
            self.next_tick = now + TICK_NANOS;
            for (number, one) in self.clients.iter_mut().enumerate() {
                one.serve(number, &self.inbox)?;
                one.send_packets()?;
            }
        }
        let wait = deadline.min(self.next_tick).saturating_sub(sys::nanos());
        self.epoll.wait(Some(wait), &mut self.ready).map_err(Error::io("waiting"))?;
        for number in &self.ready {
            self.clients[*number].serve(*number, &self.inbox)?;
        }
        Ok(())
    }
}
