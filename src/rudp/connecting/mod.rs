//! [`Connecting`]: the client's side of the handshake, sans-IO; it ends in a [`Connection`].
//!
//! HELLO is sent until the server answers it or the attempt's own deadline passes. Clear answers are not
//! authenticated. A REJECT therefore only determines what is reported at the deadline, which it brings
//! forward; a RETRY only makes HELLO carry its cookie; and a HELLO_ACK counts when its Noise message opens.

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{Connection, ConnectionConfig, Role, Tracer, Vantage};
use crate::base::Timestamp;
use crate::secure::token::TOKEN_MAX_BYTES;
use crate::secure::{Agreed, Binding, ConnectGrant, HandshakeError, Initiator};
use crate::wire::RejectCode;
use crate::wire::packet::{
    ClearHeader, ClearKind, ClearPacket, Echo, Hello, HelloAck, PROTOCOL_VERSION, Reject, Retry, is_clear,
};

/// Configuration of an attempt to connect, besides its grant.
#[derive(Debug, Clone, Copy)]
pub struct ConnectingConfig {
    /// Identifies the game, as configured at the server.
    pub protocol_id: u64,
    /// Configuration of the resulting connection.
    pub connection: ConnectionConfig,
    /// How long to try. Default 5 s.
    pub timeout: Duration,
}

impl ConnectingConfig {
    /// Returns the default configuration for one game.
    pub fn new(protocol_id: u64) -> Self {
        Self { protocol_id, connection: ConnectionConfig::default(), timeout: Duration::from_secs(5) }
    }
}

/// An attempt to connect. Sans-IO; see [`crate::rudp`] for the calling contract.
pub struct Connecting {
    config: ConnectingConfig,
    remote: SocketAddr,
    tracer: Option<Arc<dyn Tracer>>,
    rng: StdRng,
    initiator: Initiator,
    hello: Hello,
    /// Headers of the HELLOs sent, which a REJECT for another version echoes.
    sent: [Option<Echo>; HELLO_FORMS],
    retries: usize,
    /// Error to report if the attempt fails.
    failure: ConnectError,
    /// When the next HELLO is due.
    due: Timestamp,
    interval: Duration,
    deadline: Timestamp,
    /// A connection is boxed, so that handing it over leaves no copy of its keys behind.
    outcome: Option<Result<Box<Connection>, ConnectError>>,
    is_done: bool,
}

/// Most RETRYs that an attempt follows. Spec: HSK-5.
const RETRIES_MAX: usize = 2;
/// Number of different HELLOs: one for each cookie, and one without.
const HELLO_FORMS: usize = RETRIES_MAX + 1;

/// Time from the first HELLO to its first repetition. Spec: HSK-14.
const FIRST_INTERVAL: Duration = Duration::from_millis(250);
/// Longest time between two HELLOs. A handshake that loses each packet with probability one half still mostly
/// succeeds before the deadline. Spec: HSK-14.
const MAX_INTERVAL: Duration = Duration::from_millis(500);

/// How long an attempt continues after the first REJECT. Spec: HSK-7.
const AFTER_REJECT: Duration = Duration::from_secs(1);

/// Why an attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The server, or somebody impersonating it, refused, and no better answer arrived within a second.
    #[error("refused: {0}")]
    Refused(RejectCode),
    /// No answer arrived before the deadline.
    #[error("no answer: is a server there, with this protocol id, this token key and the right time?")]
    NoAnswer,
    /// The grant's token is not 1 to 900 bytes long, so it cannot be valid. Spec: TOK-1.
    #[error("the grant's token has {bytes} bytes, allowed are 1 to {TOKEN_MAX_BYTES}")]
    Token {
        /// Length of the token.
        bytes: usize,
    },
    /// The server proved its identity, but its answer breaks the protocol.
    #[error("server breaks the protocol: {0}")]
    Handshake(HandshakeError),
}

impl ConnectError {
    /// Returns true when another attempt, with a new grant, may succeed.
    pub fn may_reconnect(&self) -> bool {
        match self {
            Self::NoAnswer => true,
            Self::Token { .. } | Self::Handshake(_) => false,
            Self::Refused(code) => match code {
                RejectCode::Version
                | RejectCode::WrongServer
                | RejectCode::TokenInvalid
                | RejectCode::Denied => false,
                RejectCode::TokenExpired
                | RejectCode::TokenUsed
                | RejectCode::Full
                | RejectCode::Draining
                | RejectCode::UserLimit
                | RejectCode::AddressLimit => true,
            },
        }
    }
}

impl Connecting {
    /// Starts an attempt to connect to `server`, named as in the token, at its address `remote`.
    ///
    /// # Several attempts with one token
    ///
    /// Where the server has several addresses, there may be an attempt for each, with one token, one after
    /// the other or at the same time. HELLOs do not spend the token. But each attempt that reaches the server
    /// begins a handshake there, which counts for 8 s unless it is confirmed, and a token may have two of
    /// them: the server refuses a third with `user_limit`. The next attempt should therefore begin only when
    /// those before have failed or have been silent for a while; the async client waits for a second.
    ///
    /// The first sealed packet that arrives spends the token, and the token's other handshake comes to
    /// nothing (its client gets `replaced`). An attempt sends HELLOs only; the first sealed packet is the
    /// first that its [`Connection`] returns from `poll_transmit`, whatever that holds, a CLOSE as well. So
    /// once [`Connecting::poll_outcome`] of one attempt has returned the connection that is to be used, the
    /// connection of no other attempt may be polled for datagrams: drop it, without closing it. Drop the
    /// attempts that still wait, too. Spec: TOK-8, HSK-11, HSK-13.
    pub fn new(
        now: Timestamp,
        server: &str,
        remote: SocketAddr,
        grant: &ConnectGrant,
        config: ConnectingConfig,
        mut rng: StdRng,
    ) -> Self {
        let bytes = grant.token.len();
        let is_sound = (1..=TOKEN_MAX_BYTES).contains(&bytes);
        let token = Bytes::copy_from_slice(grant.token.as_bytes());
        let binding = Binding { protocol_id: config.protocol_id, server, token: &token };
        let (initiator, noise) =
            Initiator::start(binding, &grant.psk, &config.connection.parameters(), &mut rng);
        Self {
            config,
            remote,
            tracer: None,
            rng,
            initiator,
            hello: Hello { token, cookie: None, noise },
            sent: [None; HELLO_FORMS],
            retries: 0,
            failure: if is_sound { ConnectError::NoAnswer } else { ConnectError::Token { bytes } },
            due: now,
            interval: FIRST_INTERVAL,
            deadline: if is_sound { now + config.timeout } else { now },
            outcome: None,
            is_done: false,
        }
    }

    /// Asks `tracer` whether to trace the resulting connection.
    pub fn with_tracer(self, tracer: Option<Arc<dyn Tracer>>) -> Self {
        Self { tracer, ..self }
    }

    /// Handles a datagram from the server's address. Anything that does not answer this attempt is dropped.
    // spec: HSK-3
    pub fn handle_datagram(&mut self, now: Timestamp, datagram: BytesMut) {
        if self.is_done || !is_clear(&datagram) {
            return;
        }
        let own = self.hello.echo();
        let Ok((header, body)) = ClearHeader::read(self.config.protocol_id, &datagram.freeze()) else {
            return;
        };
        // spec: PKT-2
        if header.version != PROTOCOL_VERSION && header.kind != ClearKind::Reject as u8 {
            return;
        }
        match ClearPacket::read_body(header, body) {
            Ok(ClearPacket::HelloAck(ack)) if ack.echo == own => self.finish(now, &ack),
            Ok(ClearPacket::Retry(retry)) if retry.echo == own => self.retry(now, &retry),
            Ok(ClearPacket::Reject(reject)) => self.note(now, own, &reject),
            _ => {}
        }
    }

    /// Ends the attempt once its deadline has passed.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        if !self.is_done && now >= self.deadline {
            self.end(Err(self.failure));
        }
    }

    /// Returns when [`Self::handle_timeout`] and [`Self::poll_transmit`] must be called next.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        (!self.is_done).then(|| self.due.min(self.deadline))
    }

    /// Appends HELLO to the empty `out` when it is due.
    // spec: HSK-14
    pub fn poll_transmit(&mut self, now: Timestamp, out: &mut BytesMut) -> bool {
        if self.is_done || now < self.due || now >= self.deadline {
            return false;
        }
        ClearPacket::Hello(self.hello.clone()).write(self.config.protocol_id, out);
        if let Some(sent) = self.sent.get_mut(self.retries) {
            *sent = out.first_chunk().copied().map(Echo);
        }
        self.due = now + self.interval.mul_f64(self.rng.random_range(0.8..1.2));
        self.interval = (self.interval * 2).min(MAX_INTERVAL);
        true
    }

    /// Returns the outcome of the attempt, once; `None` while it continues.
    ///
    /// The connection has a packet to send at once, which confirms the handshake.
    pub fn poll_outcome(&mut self) -> Option<Result<Box<Connection>, ConnectError>> {
        self.outcome.take()
    }

    // spec: HSK-12
    fn finish(&mut self, now: Timestamp, ack: &HelloAck) {
        match self.initiator.finish(&ack.noise) {
            Ok(Agreed { connection: id, parameters, secrets }) => {
                let rng = StdRng::from_rng(&mut self.rng);
                let (role, keys) = (Role::Client { id }, secrets.client_keys());
                let config = self.config.connection;
                let route = self.remote.into();
                let mut connection =
                    Box::new(Connection::new(now, role, route, keys, parameters, config, rng));
                let tracer = self.tracer.as_ref();
                if let Some(trace) = tracer.and_then(|tracer| tracer.trace(id, Vantage::Client)) {
                    connection.set_trace(now, trace);
                }
                self.end(Ok(connection));
            }
            Err(HandshakeError::NotAuthentic) => {}
            Err(error @ HandshakeError::Payload(_)) => self.end(Err(ConnectError::Handshake(error))),
        }
    }

    // spec: HSK-5
    fn retry(&mut self, now: Timestamp, retry: &Retry) {
        if self.retries == RETRIES_MAX || self.hello.cookie == Some(retry.cookie) {
            return;
        }
        self.retries += 1;
        self.hello.cookie = Some(retry.cookie);
        self.due = now;
        self.interval = FIRST_INTERVAL;
    }

    // spec: HSK-4, HSK-7
    fn note(&mut self, now: Timestamp, own: Echo, reject: &Reject) {
        let is_for_this = match reject.code {
            RejectCode::Version => self.sent.contains(&Some(reject.echo)),
            _ => reject.echo == own,
        };
        if is_for_this {
            if self.failure == ConnectError::NoAnswer {
                self.deadline = self.deadline.min(now + AFTER_REJECT);
            }
            self.failure = ConnectError::Refused(reject.code);
        }
    }

    fn end(&mut self, outcome: Result<Box<Connection>, ConnectError>) {
        self.is_done = true;
        self.outcome = Some(outcome);
    }
}

impl std::fmt::Debug for Connecting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connecting").field("remote", &self.remote).finish_non_exhaustive()
    }
}
