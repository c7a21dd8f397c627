//! Admission: the steps from a HELLO to a half-open connection, in a fixed order, each cheaper than the next.
//!
//! Spec: HSK-10. The order keeps a flood cheap, and decides which answer a HELLO with several faults gets.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::half_open::{HalfOpen, TIMEOUT_MAX};
use super::{ANSWERS_MAX, DropReason, Endpoint, is_closing};
use crate::base::{ConnectionId, DecodeError, Now, Route, Timestamp, UnixTime, UserId};
use crate::rudp::{Connection, Role, Vantage};
use crate::secure::token::{self, TokenError};
use crate::secure::{Binding, Claims, LedgerError, Responder, TokenUse};
use crate::wire::packet::{
    ClearHeader, ClearKind, ClearPacket, EPHEMERAL_BYTES, Echo, HELLO_BYTES, Hello, HelloAck,
    PROTOCOL_VERSION, Reject, Retry,
};
use crate::wire::{RejectCode, TransportParameters};

/// How far a token's `iat` may lie ahead of this server's clock. Spec: TOK-4.
const CLOCK_SKEW_MAX: Duration = Duration::from_secs(60);

/// How long a half-open connection keeps its place for certain: longer than a client takes to confirm it.
const PLACE_KEPT: Duration = Duration::from_secs(1);

/// A request for a connection, made with a valid, unused token by a client that knows the token's secret.
pub struct Incoming {
    claims: Claims,
    from: Route,
    /// True when the HELLO carried a valid cookie for its address.
    is_proven: bool,
    echo: Echo,
    ephemeral: [u8; EPHEMERAL_BYTES],
    parameters: TransportParameters,
    responder: Responder,
}

impl Incoming {
    /// Returns the claims of the token.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// Returns the address that the HELLO came from, which may not be proven yet.
    pub fn from(&self) -> SocketAddr {
        self.from.remote
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming")
            .field("claims", &self.claims)
            .field("from", &self.from)
            .finish_non_exhaustive()
    }
}

/// Why a HELLO is not admitted.
enum Stop {
    /// It was answered before and gets the same answer again.
    Repeat(Bytes),
    /// It must be sent again with a cookie.
    Retry(Echo),
    /// It is dropped without an answer.
    Drop(DropReason),
    /// It is refused, with a REJECT unless too many are being sent.
    Reject(DropReason, RejectCode, Echo),
}

impl Endpoint {
    /// Takes a clear packet through all steps except the last.
    pub(super) fn handle_clear(&mut self, now: Now, from: Route, packet: &Bytes) -> Option<Incoming> {
        match self.admit(now, from, packet) {
            Ok(incoming) => return Some(incoming),
            Err(Stop::Repeat(answer)) => self.answer(from, answer),
            Err(Stop::Retry(echo)) => self.retry(now.mono, from, echo),
            Err(Stop::Drop(reason)) => self.counters.count_dropped(reason),
            Err(Stop::Reject(reason, code, echo)) => self.reject(now.mono, from, reason, code, echo),
        }
        None
    }

    // spec: HSK-8, HSK-10
    fn admit(&mut self, now: Now, from: Route, packet: &Bytes) -> Result<Incoming, Stop> {
        let hello = self.read_hello(packet)?;
        self.repeat_answer(from, &hello)?;
        self.ask_for_cookie(now.mono, from, &hello)?;
        let claims = self.open_token(self.ledger.advance(now.wall), &hello)?;
        self.check_unspent(now.mono, from, &claims, &hello)?;
        let (responder, parameters) = self.verify_secret(&claims, &hello)?;
        self.check_limits(from, &claims, &hello)?;
        let (echo, ephemeral) = (hello.echo(), hello.ephemeral());
        let is_proven = self.has_cookie(now.mono, from, &hello);
        Ok(Incoming { claims, from, is_proven, echo, ephemeral, parameters, responder })
    }

    /// Step 1: checks length, magic and checksum, then the version, then the form.
    // spec: PKT-2, PKT-3, PKT-4, HSK-1, HSK-4
    fn read_hello(&self, packet: &Bytes) -> Result<Hello, Stop> {
        if packet.len() != HELLO_BYTES {
            return Err(Stop::Drop(DropReason::BadLength));
        }
        let (header, body) = ClearHeader::read(self.config.protocol_id, packet)
            .map_err(|_: DecodeError| Stop::Drop(DropReason::BadChecksum))?;
        if header.kind != ClearKind::Hello as u8 {
            return Err(Stop::Drop(DropReason::Malformed));
        }
        if header.version != PROTOCOL_VERSION {
            return Err(Stop::Reject(DropReason::BadVersion, RejectCode::Version, header.echo()));
        }
        match ClearPacket::read_body(header, body) {
            Ok(ClearPacket::Hello(hello)) => Ok(hello),
            _ => Err(Stop::Drop(DropReason::Malformed)),
        }
    }

    /// Step 2: repeats the answer to a HELLO that was answered before, if it comes from the same host.
    // spec: HSK-6, TOK-6
    fn repeat_answer(&self, from: Route, hello: &Hello) -> Result<(), Stop> {
        match self.half_opens.of_caller(hello.ephemeral(), from.remote) {
            // Spent by another half-open connection, possibly at another worker, which keeps its own.
            Some(half_open) if self.ledger.is_spent(&half_open.claims.id) => {
                Err(Stop::Reject(DropReason::TokenUsed, RejectCode::TokenUsed, hello.echo()))
            }
            Some(half_open) => Err(Stop::Repeat(half_open.answer.clone())),
            None => Ok(()),
        }
    }

    /// Step 3: under load, requires a cookie that proves the address.
    // spec: HSK-5
    fn ask_for_cookie(&mut self, now: Timestamp, from: Route, hello: &Hello) -> Result<(), Stop> {
        let hellos = self.hellos.count(now);
        let is_loaded = hellos >= self.config.cookie_from_hellos_per_second
            || self.half_opens.len() * 2 > self.config.max_half_open
            || self.half_opens.of_prefix(from.remote) >= self.config.cookie_from_half_open_per_prefix;
        if is_loaded && !self.has_cookie(now, from, hello) { Err(Stop::Retry(hello.echo())) } else { Ok(()) }
    }

    /// Returns true when the sender has proven its address.
    fn has_cookie(&self, now: Timestamp, from: Route, hello: &Hello) -> bool {
        let echo = hello.echo();
        hello.cookie.as_ref().is_some_and(|cookie| self.cookies.verify(now, from.remote, echo, cookie))
    }

    /// Step 4: checks the token, its times and its audience.
    // spec: TOK-1, TOK-4, TOK-5
    fn open_token(&self, wall: UnixTime, hello: &Hello) -> Result<Claims, Stop> {
        let claims = token::open(&self.config.keys.keys(), &hello.token).map_err(|error| match error {
            TokenError::Claims(_) => Stop::Drop(DropReason::TokenMalformed),
            TokenError::Malformed | TokenError::UnknownKey | TokenError::Forged => {
                Stop::Drop(DropReason::TokenForged)
            }
        })?;
        if wall >= claims.expires {
            return Err(Stop::Reject(DropReason::TokenExpired, RejectCode::TokenExpired, hello.echo()));
        }
        if claims.issued > wall + CLOCK_SKEW_MAX {
            return Err(Stop::Drop(DropReason::TokenEarly));
        }
        let audiences = &self.config.audiences;
        if !audiences.is_empty() && !audiences.contains(&claims.audience) {
            return Err(Stop::Reject(DropReason::WrongServer, RejectCode::WrongServer, hello.echo()));
        }
        Ok(claims)
    }

    /// Step 5: checks that the token has not made its connection. While it may be making it, the address must
    /// prove itself; otherwise copies of a HELLO from forged addresses would take up all handshakes of its
    /// token.
    // spec: TOK-6, HSK-11
    fn check_unspent(&self, now: Timestamp, from: Route, claims: &Claims, hello: &Hello) -> Result<(), Stop> {
        match self.ledger.use_of(&claims.id) {
            Some(TokenUse::Spent) => {
                Err(Stop::Reject(DropReason::TokenUsed, RejectCode::TokenUsed, hello.echo()))
            }
            Some(TokenUse::HalfOpen(1..)) if !self.has_cookie(now, from, hello) => {
                Err(Stop::Retry(hello.echo()))
            }
            Some(TokenUse::HalfOpen(_)) | None => Ok(()),
        }
    }

    /// Step 6: checks that the sender knows the token's secret.
    // spec: HSK-2, HSK-9
    fn verify_secret(
        &mut self,
        claims: &Claims,
        hello: &Hello,
    ) -> Result<(Responder, TransportParameters), Stop> {
        let binding =
            Binding { protocol_id: self.config.protocol_id, server: &claims.audience, token: &hello.token };
        Responder::read(binding, &claims.psk, &hello.noise, &mut self.rng)
            .map_err(|_| Stop::Drop(DropReason::HandshakeForged))
    }

    /// Step 7: checks the limits of the server, the user and the address's prefix.
    fn check_limits(&self, from: Route, claims: &Claims, hello: &Hello) -> Result<(), Stop> {
        let (half_opens, config) = (&self.half_opens, &self.config);
        let refuse = |reason, code| Err(Stop::Reject(reason, code, hello.echo()));
        if self.draining {
            return refuse(DropReason::Draining, RejectCode::Draining);
        }
        if self.has_no_place() && self.closing.is_empty() {
            return refuse(DropReason::Full, RejectCode::Full);
        }
        if half_opens.len() >= config.max_half_open && !half_opens.may_yield(&claims.user, from.remote) {
            return refuse(DropReason::HandshakesFull, RejectCode::Full);
        }
        if half_opens.of_user(&claims.user) >= config.max_half_open_per_user {
            return refuse(DropReason::UserLimit, RejectCode::UserLimit);
        }
        if half_opens.of_prefix(from.remote) >= config.max_half_open_per_prefix {
            return refuse(DropReason::AddressLimit, RejectCode::AddressLimit);
        }
        Ok(())
    }

    /// Returns true if no further connection has a place, unless a closing one gives its own.
    fn has_no_place(&self) -> bool {
        self.connections.len() + self.half_opens.len() >= self.config.max_connections
    }

    /// Returns the half-open connection that must give its place to one by this user from this address, if
    /// any must.
    ///
    /// # Errors
    /// [`DropReason::HandshakesFull`] if one must and none may.
    fn yielding(
        &self,
        now: Timestamp,
        user: &UserId,
        from: Route,
    ) -> Result<Option<ConnectionId>, DropReason> {
        if self.half_opens.len() < self.config.max_half_open {
            return Ok(None);
        }
        let until = now + self.half_open_timeout().saturating_sub(PLACE_KEPT);
        self.half_opens.yielding(until, user, from.remote).map(Some).ok_or(DropReason::HandshakesFull)
    }

    /// Makes places for a connection: ends `yielding`, and closing connections where there is no other place.
    ///
    /// # Errors
    /// [`DropReason::Full`] if that is not enough.
    fn make_places(&mut self, now: Timestamp, yielding: Option<ConnectionId>) -> Result<(), DropReason> {
        if let Some(half_open) = yielding {
            self.end_half_open(now, half_open);
        }
        while self.has_no_place() {
            let closing = self.closing.pop_front().ok_or(DropReason::Full)?;
            if is_closing(&self.connections, closing) {
                self.drop_connection(now, closing);
            }
        }
        Ok(())
    }

    fn half_open_timeout(&self) -> Duration {
        self.config.half_open_timeout.min(TIMEOUT_MAX)
    }

    /// Step 8: reserves the token, completes the handshake and answers it.
    // spec: HSK-11
    pub fn accept(&mut self, now: Now, incoming: Box<Incoming>) {
        let wall = self.ledger.advance(now.wall);
        let Incoming { claims, from, is_proven, echo, ephemeral, parameters, responder } = *incoming;
        let yielding = match self.yielding(now.mono, &claims.user, from) {
            Ok(yielding) => yielding,
            Err(reason) => return self.reject(now.mono, from, reason, RejectCode::Full, echo),
        };
        if let Err(error) = self.ledger.reserve(&claims.id, claims.expires, wall, is_proven) {
            let (reason, code) = match error {
                // Another worker was faster.
                LedgerError::Unproven => return self.retry(now.mono, from, echo),
                LedgerError::Spent => (DropReason::TokenUsed, RejectCode::TokenUsed),
                LedgerError::HalfOpen => (DropReason::UserLimit, RejectCode::UserLimit),
                LedgerError::Full => (DropReason::LedgerFull, RejectCode::Full),
            };
            return self.reject(now.mono, from, reason, code, echo);
        }
        // Others give their places only now that its token is reserved.
        if let Err(reason) = self.make_places(now.mono, yielding) {
            self.ledger.release(&claims.id);
            return self.reject(now.mono, from, reason, RejectCode::Full, echo);
        }
        let Some(id) = self.ids.take(now.mono, &mut self.rng) else {
            self.ledger.release(&claims.id);
            return self.reject(now.mono, from, DropReason::Full, RejectCode::Full, echo);
        };
        let own = self.config.connection.parameters();
        let Ok((noise, secrets)) = responder.answer(id, &own) else {
            self.ledger.release(&claims.id);
            self.ids.give_back(now.mono, id);
            return self.counters.count_dropped(DropReason::HandshakeForged);
        };
        let mut connection = Box::new(Connection::new(
            now.mono,
            Role::Server,
            from,
            secrets.server_keys(),
            parameters,
            self.config.connection,
            StdRng::from_rng(&mut self.rng),
        ));
        connection.share_budgets(&self.config.budgets);
        let tracer = self.config.tracer.as_ref();
        if let Some(trace) = tracer.and_then(|tracer| tracer.trace(id, Vantage::Server)) {
            connection.set_trace(now.mono, trace);
        }
        let answer = ClearPacket::HelloAck(HelloAck { echo, noise }).to_bytes(self.config.protocol_id);
        let end = now.mono + self.half_open_timeout();
        let half_open = HalfOpen { connection, claims, ephemeral, from: from.remote, answer: answer.clone() };
        self.half_opens.insert(end, id, half_open);
        self.answer(from, answer);
    }

    /// Refuses a request from [`ForOwner::Incoming`](super::ForOwner::Incoming), with a REJECT unless too
    /// many are being sent. The token remains unused.
    pub fn refuse(&mut self, now: Now, incoming: &Incoming, code: RejectCode) {
        let reason = match code {
            RejectCode::Draining => DropReason::Draining,
            RejectCode::Full => DropReason::Full,
            _ => DropReason::Refused,
        };
        self.reject(now.mono, incoming.from, reason, code, incoming.echo);
    }

    fn retry(&mut self, now: Timestamp, to: Route, echo: Echo) {
        self.counters.count_dropped(DropReason::NoCookie);
        self.counters.retries_sent += 1;
        let cookie = self.cookies.mint(now, to.remote, echo);
        self.answer(to, ClearPacket::Retry(Retry { echo, cookie }).to_bytes(self.config.protocol_id));
    }

    // spec: HSK-8
    fn reject(&mut self, now: Timestamp, to: Route, reason: DropReason, code: RejectCode, echo: Echo) {
        self.counters.count_dropped(reason);
        if self.rejects.take(now, self.config.max_rejects_per_second) {
            let reject = Reject { echo, code, version: PROTOCOL_VERSION };
            self.answer(to, ClearPacket::Reject(reject).to_bytes(self.config.protocol_id));
        }
    }

    fn answer(&mut self, to: Route, packet: Bytes) {
        debug_assert!(packet.len() <= HELLO_BYTES / 10, "an answer is a tenth of a HELLO at most");
        if self.answers.len() < ANSWERS_MAX {
            self.answers.push_back((to, packet));
        }
    }
}
