//! The client's end: an attempt to connect and the resulting connection. Everything that a simulation needs
//! of a client's part of `rudp` beyond [`Connection`]'s own methods is in this file.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::base::{Ecn, Envelope, Now, Timestamp, UserId};
use crate::rudp::{Connecting, ConnectingConfig, Connection, ConnectionConfig, Event, MemoryBudgets};
use crate::secure::TokenKey;
use crate::secure::token::{MintRequest, mint};

/// The server that clients connect to, and how they connect.
pub(super) struct Door {
    pub(super) server: SocketAddr,
    pub(super) name: String,
    pub(super) key: TokenKey,
    pub(super) protocol_id: u64,
    pub(super) connection: ConnectionConfig,
    /// Memory budgets shared by all clients.
    pub(super) budgets: MemoryBudgets,
}

impl Door {
    /// Returns the bytes of messages that all clients together keep.
    pub(super) fn held(&self) -> usize {
        self.budgets.receive.held() + self.budgets.send.held()
    }
}

/// One client's end.
pub(super) struct ClientEnd {
    server: SocketAddr,
    budgets: MemoryBudgets,
    stage: Stage,
}

enum Stage {
    Connecting(Box<Connecting>),
    Open(Box<Connection>),
    Failed,
}

/// An event of a client's end.
pub(super) enum ClientEvent {
    /// The connection is established.
    Open,
    Connection(Event),
}

/// Timeout of a connection attempt.
const DEADLINE: Duration = Duration::from_secs(3);

impl ClientEnd {
    /// Begins to connect with a new token.
    pub(super) fn connect(now: Now, user: UserId, door: &Door, rng: &mut StdRng) -> Self {
        let request = MintRequest::new(user, door.name.clone());
        let grant = mint(&door.key, request, now.wall, rng).expect("invariant: a legal request");
        let config = ConnectingConfig {
            connection: door.connection,
            timeout: DEADLINE,
            ..ConnectingConfig::new(door.protocol_id)
        };
        let rng = StdRng::from_rng(rng);
        let connecting = Connecting::new(now.mono, &door.name, door.server, &grant, config, rng);
        Self {
            server: door.server,
            budgets: door.budgets.clone(),
            stage: Stage::Connecting(Box::new(connecting)),
        }
    }

    /// Handles a datagram; one that is not from the server's address is ignored.
    pub(super) fn handle_datagram(&mut self, now: Timestamp, from: Envelope, datagram: BytesMut) {
        if from.route.remote != self.server {
            return;
        }
        match &mut self.stage {
            Stage::Connecting(connecting) => connecting.handle_datagram(now, datagram),
            Stage::Open(connection) => {
                let _ = connection.handle_packet(now, from, datagram);
            }
            Stage::Failed => {}
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Timestamp) {
        match &mut self.stage {
            Stage::Connecting(connecting) => connecting.handle_timeout(now),
            Stage::Open(connection) => connection.handle_timeout(now),
            Stage::Failed => {}
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Timestamp> {
        match &self.stage {
            Stage::Connecting(connecting) => connecting.poll_timeout(),
            Stage::Open(connection) => connection.poll_timeout(),
            Stage::Failed => None,
        }
    }

    pub(super) fn poll_event(&mut self) -> Option<ClientEvent> {
        if let Stage::Connecting(connecting) = &mut self.stage {
            let Ok(mut connection) = connecting.poll_outcome()? else {
                self.stage = Stage::Failed;
                return None;
            };
            connection.share_budgets(&self.budgets);
            self.stage = Stage::Open(connection);
            return Some(ClientEvent::Open);
        }
        self.connection()?.poll_event().map(ClientEvent::Connection)
    }

    /// Returns the next datagram for the server, and its ECN mark.
    pub(super) fn poll_transmit(&mut self, now: Timestamp) -> Option<(Ecn, Bytes)> {
        let mut out = BytesMut::new();
        let ecn = match &mut self.stage {
            Stage::Connecting(connecting) => {
                connecting.poll_transmit(now, &mut out).then_some(Ecn::NotEct)?
            }
            Stage::Open(connection) => connection.poll_transmit(now, &mut out)?.ecn,
            Stage::Failed => return None,
        };
        Some((ecn, out.freeze()))
    }

    /// Returns the connection, once it is established.
    pub(super) fn connection(&mut self) -> Option<&mut Connection> {
        match &mut self.stage {
            Stage::Open(connection) => Some(connection),
            Stage::Connecting(_) | Stage::Failed => None,
        }
    }

    /// Whether the attempt has failed or the connection is drained.
    pub(super) fn is_finished(&self) -> bool {
        match &self.stage {
            Stage::Connecting(_) => false,
            Stage::Open(connection) => connection.is_drained(),
            Stage::Failed => true,
        }
    }
}
