//! [`Connecting`]: the client's side of the handshake, sans-IO; it ends in a [`Connection`].
//!
//! HELLO is sent until the server answers it or the attempt's own deadline comes. Clear answers are
//! not authenticated: a REJECT only tells what to report at the deadline, a RETRY only makes HELLO
//! carry its cookie, and a HELLO_ACK counts when its Noise message opens.

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

/// What an attempt to connect needs to know besides its grant.
#[derive(Debug, Clone, Copy)]
pub struct ConnectingConfig {
    /// Names the game, as the server is configured.
    pub protocol_id: u64,
    /// For the connection that comes of it.
    pub connection: ConnectionConfig,
    /// How long to try. Default 5 s.
    pub timeout: Duration,
}

impl ConnectingConfig {
    /// The usual times, for one game.
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
    /// Headers of the HELLOs sent, by which a REJECT for another version names them.
    sent: [Option<Echo>; HELLO_FORMS],
    retries: usize,
    /// What has become of the attempt if it comes to nothing.
    failure: ConnectError,
    /// When HELLO leaves next.
    due: Timestamp,
    interval: Duration,
    deadline: Timestamp,
    outcome: Option<Result<Connection, ConnectError>>,
    is_done: bool,
}

/// RETRYs that an attempt follows. Spec: HSK-5.
const RETRIES_MAX: usize = 2;
/// HELLOs that differ: one for each cookie, and one without.
const HELLO_FORMS: usize = RETRIES_MAX + 1;

/// From the first HELLO to its first repetition. Spec: HSK-14.
const FIRST_INTERVAL: Duration = Duration::from_millis(250);
/// Longest time between two HELLOs: a handshake whose each packet is lost with probability one half mostly
/// succeeds before the deadline. Spec: HSK-14.
const MAX_INTERVAL: Duration = Duration::from_millis(500);

/// An attempt goes on for so long after the first REJECT. Spec: HSK-7.
const AFTER_REJECT: Duration = Duration::from_secs(1);

/// Why an attempt came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The server, or somebody in its name, refused, and no better answer came within a second.
    #[error("refused: {0}")]
    Refused(RejectCode),
    /// Nobody answered until the deadline.
    #[error("no answer: is a server there, with this protocol id, this token key and the right time?")]
    NoAnswer,
    /// The grant's token is not 1 to 900 bytes long, so that it is nobody's. Spec: TOK-1.
    #[error("the grant's token has {bytes} bytes, allowed are 1 to {TOKEN_MAX_BYTES}")]
    Token {
        /// Its length.
        bytes: usize,
    },
    /// The server proved that it is the server, but said what it may not.
    #[error("server breaks the protocol: {0}")]
    Handshake(HandshakeError),
}

impl ConnectError {
    /// True when another attempt, with a new grant, may go better.
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
    /// Begins an attempt to connect to `server`, by the name that the token has for it, at its address `remote`.
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

    /// Asks `tracer` whether the connection that comes of it is traced.
    pub fn with_tracer(self, tracer: Option<Arc<dyn Tracer>>) -> Self {
        Self { tracer, ..self }
    }

    /// Takes a datagram from the server's address. What is no answer to this attempt is dropped.
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

    /// Ends the attempt at its deadline.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        if !self.is_done && now >= self.deadline {
            self.end(Err(self.failure));
        }
    }

    /// When [`Self::handle_timeout`] and [`Self::poll_transmit`] must be called next.
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

    /// What came of the attempt, once; `None` while it goes on.
    ///
    /// The connection has a packet to send at once: it confirms the handshake.
    pub fn poll_outcome(&mut self) -> Option<Result<Connection, ConnectError>> {
        self.outcome.take()
    }

    // spec: HSK-12
    fn finish(&mut self, now: Timestamp, ack: &HelloAck) {
        match self.initiator.finish(&ack.noise) {
            Ok(Agreed { connection: id, parameters, secrets }) => {
                let rng = StdRng::from_rng(&mut self.rng);
                let (role, keys) = (Role::Client { id }, secrets.client_keys());
                let config = self.config.connection;
                let mut connection =
                    Connection::new(now, role, self.remote.into(), keys, parameters, config, rng);
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

    fn end(&mut self, outcome: Result<Connection, ConnectError>) {
        self.is_done = true;
        self.outcome = Some(outcome);
    }
}
