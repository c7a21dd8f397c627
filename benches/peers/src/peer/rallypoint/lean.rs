//! The library's core with one socket each, in one loop without tasks, as the cheapest possible client.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{SocketAddr, UdpSocket};

use bytes::{Bytes, BytesMut};
use rallypoint::base::{SessionKind, Slot, Timestamp};
use rallypoint::client::core::{Core, Disconnected, Event, Output};
use rallypoint::client::{Delivery, To};
use rallypoint::rudp::{Connecting, ConnectingConfig};
use rallypoint::wire::command::{Create, InitialProperties, Join};
use rallypoint::wire::{Admission, IdleTtl, MaxMembers, OnOwnerLeave, Request, Settings, Value};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::{GAME, grant};
use crate::error::{Error, Result};
use crate::load::{CONNECT_NANOS, Clients, Inbox, Spec};
use crate::sys::{self, Epoll, READABLE, ReceiveBatch};

/// Number of datagrams received with one call.
const BATCH: usize = 16;
/// Size of a memory block in bytes.
const BLOCK_BYTES: usize = 16 << 10;

struct LeanClients {
    clients: Vec<One>,
    server: SocketAddr,
    epoll: Epoll,
    ready: Vec<usize>,
    /// Clients that send at the beginning of the turn.
    dirty: Vec<usize>,
    /// Times in nanoseconds at which clients want to be woken; a client whose time changed has more than one
    /// entry.
    timers: BinaryHeap<Reverse<(u64, usize)>>,
    received: ReceiveBatch,
    /// Memory for received datagrams, reused once no part of it is referenced.
    block: BytesMut,
    datagram: BytesMut,
    inbox: Inbox,
}

struct One {
    core: Core,
    socket: UdpSocket,
    /// The earliest of its entries in the timers.
    timer: u64,
    slot: Option<Slot>,
    answer: Option<Value>,
}

/// Connects the clients and has them enter sessions that are open to all.
pub fn connect(spec: &Spec, inbox: &Inbox) -> Result<Box<dyn Clients>> {
    let mut clients = LeanClients {
        clients: Vec::new(),
        server: spec.server,
        epoll: Epoll::new().map_err(Error::io("making an epoll"))?,
        ready: Vec::new(),
        dirty: Vec::new(),
        timers: BinaryHeap::new(),
        received: ReceiveBatch::new(BATCH),
        block: BytesMut::new(),
        datagram: BytesMut::new(),
        inbox: inbox.clone(),
    };
    let until = sys::nanos() + CONNECT_NANOS;
    let mut session = None;
    for number in 0..spec.clients() {
        clients.begin(spec, number)?;
        clients.wait(until, |clients| clients.clients[number].core.is_connected().then_some(()))?;
        let request = match session.filter(|_| !number.is_multiple_of(spec.members)) {
            Some(session) => Request::Join(Join::Session(session)),
            None => Request::Create(open_session(spec.members)?),
        };
        let core = &mut clients.clients[number].core;
        core.request(now(), &request).map_err(Error::while_doing("asking for a session"))?;
        clients.dirty.push(number);
        match clients.wait(until, |clients| clients.clients[number].answer.take())? {
            Value::Entered(entered) => {
                session = Some(entered.session);
                clients.clients[number].slot = Some(entered.slot);
                inbox.join(number);
            }
            _ => return Err(Error::bound("the server answers something else")),
        }
    }
    Ok(Box::new(clients))
}

fn open_session(members: usize) -> Result<Create> {
    let wrong = || Error::while_doing("describing a session");
    let seats = u16::try_from(members).map_err(Error::while_doing("counting seats"))?;
    let settings = Settings {
        kind: SessionKind(1),
        max_members: MaxMembers::new(seats).map_err(wrong())?,
        idle_ttl: IdleTtl::new(60).map_err(wrong())?,
        on_owner_leave: OnOwnerLeave::Transfer,
        admission: Admission::Open,
    };
    Ok(Create { settings, properties: InitialProperties::new(Vec::new()).map_err(wrong())? })
}

fn now() -> Timestamp {
    Timestamp::from_micros(sys::nanos() / 1_000)
}

impl LeanClients {
    /// Adds a client and begins its handshake.
    fn begin(&mut self, spec: &Spec, number: usize) -> Result<()> {
        let socket = sys::udp_client(spec.server).map_err(Error::io("connecting"))?;
        self.epoll.add(&socket, number, READABLE).map_err(Error::io("waiting for a socket"))?;
        let (_, grant) = grant(spec, number)?;
        let (name, config) = (spec.server.to_string(), ConnectingConfig::new(GAME));
        let connecting = Connecting::new(now(), &name, spec.server, &grant, config, StdRng::from_os_rng());
        let core = Core::new(spec.server, connecting);
        self.clients.push(One { core, socket, timer: u64::MAX, slot: None, answer: None });
        self.dirty.push(number);
        Ok(())
    }

    /// Takes turns until `ask` returns something.
    fn wait<T>(&mut self, until: u64, mut ask: impl FnMut(&mut Self) -> Option<T>) -> Result<T> {
        loop {
            if let Some(answer) = ask(self) {
                return Ok(answer);
            }
            let now = sys::nanos();
            if now > until {
                return Err(Error::bound("connecting takes too long"));
            }
            self.turn(now + 10_000_000)?;
        }
    }

    /// Handles a client's outputs, sends its datagrams, and sets its timer.
    fn serve(&mut self, number: usize) -> Result<()> {
        let one = &mut self.clients[number];
        while let Some(output) = one.core.poll_output() {
            match output {
                Output::Connected => {}
                Output::Result { outcome, .. } => {
                    one.answer = Some(outcome.map_err(Error::while_doing("entering a session"))?);
                }
                Output::Event(Event::Message { payload, .. }) => self.inbox.take(number, &payload),
                Output::Event(Event::Refused { code, .. }) => self.inbox.trouble(&code),
                Output::Event(Event::Lagging { .. }) => self.inbox.trouble(&"a client lags"),
                Output::Event(Event::Disconnected(why)) if !matches!(why, Disconnected::ByClient) => {
                    self.inbox.trouble(&why);
                }
                Output::Event(_) => {}
            }
        }
        self.datagram.clear();
        while one.core.poll_transmit(now(), &mut self.datagram).is_some() {
            // A datagram that the system does not accept is lost, and is retransmitted.
            let _ = one.socket.send(&self.datagram);
            self.datagram.clear();
        }
        let timer = one.core.poll_timeout().map_or(u64::MAX, |timeout| timeout.as_micros() * 1_000);
        if timer < one.timer {
            one.timer = timer;
            self.timers.push(Reverse((timer, number)));
        }
        Ok(())
    }

    /// Wakes the clients that are due; returns when the next one is due.
    fn wake(&mut self, now_nanos: u64) -> Result<u64> {
        while let Some(&Reverse((timer, number))) = self.timers.peek() {
            if timer > now_nanos {
                return Ok(timer);
            }
            self.timers.pop();
            let one = &mut self.clients[number];
            if timer == one.timer {
                one.timer = u64::MAX;
                let now = now();
                if one.core.poll_timeout().is_some_and(|timeout| timeout <= now) {
                    one.core.handle_timeout(now);
                }
                self.serve(number)?;
            }
        }
        Ok(u64::MAX)
    }
}

impl Clients for LeanClients {
    fn send(&mut self, client: usize, body: &[u8]) -> Result<()> {
        self.dirty.push(client);
        let One { core, slot, .. } = &mut self.clients[client];
        let slot = slot.ok_or_else(|| Error::bound("a client is in no session"))?;
        let payload = Bytes::copy_from_slice(body);
        let sent = core.broadcast(now(), slot, To::All, Delivery::ReliableOrdered, payload);
        sent.map(|_| ()).map_err(Error::while_doing("sending"))
    }

    fn turn(&mut self, deadline: u64) -> Result<()> {
        let mut dirty = std::mem::take(&mut self.dirty);
        dirty.drain(..).try_for_each(|client| self.serve(client))?;
        self.dirty = dirty;
        let next = self.wake(sys::nanos())?;
        let mut ready = std::mem::take(&mut self.ready);
        let wait = deadline.min(next).saturating_sub(sys::nanos());
        self.epoll.wait(Some(wait), &mut ready).map_err(Error::io("waiting"))?;
        for number in &ready {
            let one = &mut self.clients[*number];
            let count = self.received.receive(&one.socket, false).map_err(Error::io("receiving"))?;
            let now = now();
            for index in 0..count {
                let (_, datagram) = self.received.get(index);
                if !self.block.try_reclaim(datagram.len()) {
                    self.block = BytesMut::with_capacity(BLOCK_BYTES);
                }
                self.block.extend_from_slice(datagram);
                one.core.handle_datagram(now, self.server.into(), self.block.split());
            }
            self.serve(*number)?;
        }
        self.ready = ready;
        Ok(())
    }
}
