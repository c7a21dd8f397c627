//! The client's end: an attempt to connect and the connection that comes of it. All that a simulation
//! asks of a client's part of `rudp` beyond [`Connection`]'s own methods goes through here.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::base::{Ecn, Envelope, Now, Timestamp, UserId};
use crate::rudp::{Connecting, ConnectingConfig, Connection, ConnectionConfig, Event, MemoryBudgets};
use crate::secure::TokenKey;
use crate::secure::token::{MintRequest, mint};

/// Whom clients connect to, and how.
pub(super) struct Door {
    pub(super) server: SocketAddr,
    pub(super) name: String,
    pub(super) key: TokenKey,
    pub(super) protocol_id: u64,
    pub(super) connection: ConnectionConfig,
    /// What all clients keep together.
    pub(super) budgets: MemoryBudgets,
}

impl Door {
    /// Bytes of messages that all clients together keep.
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

/// What a client's end tells.
pub(super) enum ClientEvent {
    /// There is a connection.
    Open,
    Connection(Event),
}

/// How long a client tries.
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

    /// Takes a datagram. What is not from the server's address is nobody's.
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
            self.stage = Stage::Open(Box::new(connection));
            return Some(ClientEvent::Open);
        }
        self.connection()?.poll_event().map(ClientEvent::Connection)
    }

    /// The next datagram, for the server, and its mark.
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

    /// The connection, once there is one.
    pub(super) fn connection(&mut self) -> Option<&mut Connection> {
        match &mut self.stage {
            Stage::Open(connection) => Some(connection),
            Stage::Connecting(_) | Stage::Failed => None,
        }
    }

    /// True when nothing will come of it any more.
    pub(super) fn is_finished(&self) -> bool {
        match &self.stage {
            Stage::Connecting(_) => false,
            Stage::Open(connection) => connection.is_drained(),
            Stage::Failed => true,
        }
    }
}
