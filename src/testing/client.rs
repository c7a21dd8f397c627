//! A user's client: connects, does what its user wants, crashes or leaves, and comes back.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::actor::{self, Board};
use super::checker::{Checker, Life};
use crate::base::{ConnectionId, Envelope, InviteId, Now, Timestamp, UserId};
use crate::client::core::{Core, Disconnected, Event, Output};
use crate::rudp::{Connecting, ConnectingConfig, ConnectionConfig, Trace, TraceEvent, Tracer, Vantage};
use crate::secure::TokenKey;
use crate::secure::token::{MintRequest, mint};
use crate::wire::CloseCode;

/// The server that clients connect to, and how they connect.
pub(super) struct Way {
    pub(super) server: SocketAddr,
    pub(super) name: String,
    pub(super) key: TokenKey,
    pub(super) protocol_id: u64,
    pub(super) connection: ConnectionConfig,
    /// Counts the renewals of the clients' keys, in a run in which there are any.
    pub(super) renewals: Option<Renewals>,
}

impl Way {
    /// Begins to connect as `user`, with a freshly minted grant.
    pub(super) fn connecting(&self, now: Now, user: &UserId, rng: &mut StdRng) -> Connecting {
        let request = MintRequest::new(user.clone(), self.name.clone());
        let grant = mint(&self.key, request, now.wall, rng).expect("invariant: a legal request");
        let config =
            ConnectingConfig { connection: self.connection, ..ConnectingConfig::new(self.protocol_id) };
        let rng = StdRng::from_rng(rng);
        let connecting = Connecting::new(now.mono, &self.name, self.server, &grant, config, rng);
        connecting.with_tracer(self.renewals.clone().map(|counts| Arc::new(counts) as Arc<dyn Tracer>))
    }
}

/// Number of renewals of the clients' keys.
#[derive(Debug, Clone, Default)]
pub(super) struct Renewals(Arc<AtomicU64>);

impl Renewals {
    pub(super) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Tracer for Renewals {
    fn trace(&self, _: ConnectionId, _: Vantage) -> Option<Box<dyn Trace>> {
        Some(Box::new(self.clone()))
    }
}

impl Trace for Renewals {
    fn event(&mut self, _: Timestamp, event: &TraceEvent<'_>) {
        if let TraceEvent::KeyUpdated { .. } = event {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Capacity of a sleeping process's socket, in datagrams.
const SOCKET_DATAGRAMS: usize = 200;

/// Longest time after which a client that a newer one has replaced connects again.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(6);

/// A client of one user, and its current connection. Some users have two.
pub(super) struct SimClient {
    pub(super) user: UserId,
    pub(super) addr: SocketAddr,
    /// Its address before it moved.
    former: SocketAddr,
    pub(super) life: Life,
    pub(super) core: Option<Core>,
    /// Invites that the user knows of, including ended ones.
    pub(super) invites: Vec<InviteId>,
    /// Number of messages sent in this life.
    pub(super) serial: u32,
    /// Time of the user's next action.
    pub(super) acts_at: Timestamp,
    /// Mean time between two of them.
    pub(super) pace: Duration,
    /// Time of the next change of address.
    pub(super) moves_at: Timestamp,
    /// Until then the process does nothing; datagrams wait in its socket.
    pub(super) asleep_until: Timestamp,
    socket: VecDeque<(Envelope, BytesMut)>,
    pub(super) rng: StdRng,
    /// It is closing its connection and does nothing more in this life.
    pub(super) leaving: bool,
}

impl SimClient {
    /// A user who has not connected yet.
    pub(super) fn new(user: UserId, arrives: Timestamp, pace: Duration, rng: StdRng) -> Self {
        let nowhere = SocketAddr::from(([10, 0, 0, 0], 0));
        Self {
            user,
            addr: nowhere,
            former: nowhere,
            life: Life(0),
            core: None,
            invites: Vec::new(),
            serial: 0,
            acts_at: arrives,
            pace,
            moves_at: Timestamp::MAX,
            asleep_until: Timestamp::ZERO,
            socket: VecDeque::new(),
            rng,
            leaving: false,
        }
    }

    /// Whether commands can be sent.
    pub(super) fn is_up(&self) -> bool {
        !self.leaving && self.core.as_ref().is_some_and(Core::is_connected)
    }

    pub(super) fn connect(&mut self, now: Now, life: Life, way: &Way, checker: &mut Checker) {
        let connecting = way.connecting(now, &self.user, &mut self.rng);
        let [_, high, mid, low] = life.0.to_be_bytes();
        self.addr = SocketAddr::from(([10, high, mid, low], self.rng.random_range(1_024..=u16::MAX)));
        self.former = self.addr;
        self.life = life;
        self.serial = 0;
        self.leaving = false;
        self.core = Some(Core::new(way.server, connecting));
        checker.born(life, self.user.clone());
    }

    /// Takes another port, as after a NAT rebinding, an address in another network, or its former address.
    pub(super) fn change_address(&mut self) {
        let SocketAddr::V4(mut addr) = self.addr else { return };
        let former = std::mem::replace(&mut self.former, self.addr);
        match self.rng.random_range(0..4) {
            0 | 1 => addr.set_port(self.rng.random_range(1_024..=u16::MAX)),
            2 => {
                // The remaining octets identify the life, so that no two clients share an address.
                let [_, high, mid, low] = addr.ip().octets();
                addr.set_ip([self.rng.random_range(11..=99), high, mid, low].into());
            }
            _ => {
                self.addr = former;
                return;
            }
        }
        self.addr = addr.into();
    }

    /// Ends the process without closing its connection.
    pub(super) fn crash(&mut self, now: Timestamp, checker: &mut Checker) {
        self.socket.clear();
        if self.core.take().is_some() {
            checker.crashed(now, self.life);
        }
    }

    pub(super) fn deliver(&mut self, from: Envelope, datagram: BytesMut) {
        if self.core.is_some() && self.socket.len() < SOCKET_DATAGRAMS {
            self.socket.push_back((from, datagram));
        }
    }

    /// Returns the time of the next action that is due, apart from newly arriving datagrams.
    pub(super) fn next_at(&self) -> Option<Timestamp> {
        let due = self.core.as_ref().and_then(Core::poll_timeout);
        let next = [due, Some(self.acts_at), Some(self.moves_at)].into_iter().flatten().min();
        // Datagrams in the socket wait only for the end of a nap.
        let woken = (!self.socket.is_empty()).then_some(self.asleep_until);
        next.into_iter().chain(woken).min().map(|at| at.max(self.asleep_until))
    }

    /// Does what is due, reports everything to the checker, and sends.
    pub(super) fn run(
        &mut self,
        now: Timestamp,
        board: &mut Board,
        checker: &mut Checker,
        send: &mut dyn FnMut(Envelope, Bytes),
    ) {
        if self.asleep_until > now {
            return;
        }
        let Some(core) = &mut self.core else { return };
        for (from, datagram) in self.socket.drain(..) {
            core.handle_datagram(now, from, datagram);
        }
        if core.poll_timeout().is_some_and(|at| at <= now) {
            core.handle_timeout(now);
        }
        self.hear(now, board, checker);
        if self.is_up() && self.acts_at <= now {
            actor::act(self, now, board, checker);
            self.hear(now, board, checker);
        }
        let Some(core) = &mut self.core else { return };
        let mut datagram = BytesMut::new();
        while let Some(to) = core.poll_transmit(now, &mut datagram) {
            send(to, datagram.split().freeze());
        }
        if core.is_finished() {
            self.core = None;
        }
    }

    /// Closes the connection in an orderly way.
    pub(super) fn leave(&mut self, now: Timestamp) {
        self.leaving = true;
        if let Some(core) = &mut self.core {
            core.close(now, "enough");
        }
    }

    fn hear(&mut self, now: Timestamp, board: &mut Board, checker: &mut Checker) {
        let Some(core) = &mut self.core else { return };
        while let Some(output) = core.poll_output() {
            match output {
                Output::Connected => checker.connected(now, self.life),
                Output::Result { request, outcome } => checker.result(now, self.life, request, &outcome),
                Output::Event(event) => {
                    checker.event(now, self.life, &event, core);
                    match event {
                        Event::Invited(invitation) => self.invites.push(invitation.invite),
                        Event::Entered { session, .. } => board.note(session),
                        // Both clients of a user would otherwise replace each other all the time.
                        Event::Disconnected(Disconnected::ByServer { code: CloseCode::Replaced, .. })
                            if self.acts_at < Timestamp::MAX =>
                        {
                            self.acts_at = now + self.rng.random_range(Duration::ZERO..LONGEST_PAUSE);
                        }
                        _ => {}
                    }
                }
            }
        }
    }
}
