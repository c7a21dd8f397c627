//! A server's endpoint and datagrams of clients, good and bad, in virtual time.

mod admission;
mod confirmation;
mod floods;
mod handshake;
mod moves;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;
use crate::base::UnixTime;
use crate::base::{Ecn, UserId};
use crate::rudp::{Connecting, ConnectingConfig};
use crate::secure::token::{MintRequest, mint};
use crate::secure::{ConnectGrant, KeyRing, TokenKey};
use crate::wire::RejectCode;
use crate::wire::packet::{ClearPacket, Hello};

const GAME: u64 = 0x1234;
const SERVER: &str = "127.0.0.1:7777";
/// Wall time at the beginning of a test.
const WALL: UnixTime = UnixTime::from_secs(1_800_000_000);

/// An endpoint, a backend and a clock.
struct Bed {
    endpoint: Endpoint,
    ledger: Arc<TokenLedger>,
    now: Now,
    rng: StdRng,
    /// Bytes of all datagrams that the endpoint sent.
    sent_bytes: u64,
}

impl Bed {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut EndpointConfig)) -> Self {
        let ledger = Arc::new(TokenLedger::new(1_000));
        let now = Now { mono: Timestamp::from_millis(5_000), wall: WALL };
        let mut rng = StdRng::seed_from_u64(1);
        let endpoint = endpoint(WorkerId(2), ledger.clone(), StdRng::from_rng(&mut rng), change);
        Self { endpoint, ledger, now, rng, sent_bytes: 0 }
    }

    fn advance(&mut self, time: Duration) {
        self.now = Now { mono: self.now.mono + time, wall: self.now.wall + time };
        self.endpoint.handle_timeout(self.now.mono);
    }

    fn grant(&mut self, user: &str) -> ConnectGrant {
        self.grant_of(&key(1), user, SERVER)
    }

    fn grant_of(&mut self, key: &TokenKey, user: &str, server: &str) -> ConnectGrant {
        let request = MintRequest::new(UserId::new(user).unwrap(), server);
        mint(key, request, self.now.wall, &mut self.rng).unwrap()
    }

    fn connecting(&mut self, grant: &ConnectGrant) -> Connecting {
        let rng = StdRng::from_rng(&mut self.rng);
        Connecting::new(self.now.mono, &grant.servers[0], address(0), grant, ConnectingConfig::new(GAME), rng)
    }

    /// Returns the first HELLO of a new attempt.
    fn hello(&mut self, grant: &ConnectGrant) -> Bytes {
        let mut connecting = self.connecting(grant);
        let mut out = BytesMut::new();
        assert!(connecting.poll_transmit(self.now.mono, &mut out));
        out.freeze()
    }

    /// Gives the endpoint a datagram, accepts the connection if it asks for one, and returns the answer.
    fn send(&mut self, from: SocketAddr, datagram: &[u8]) -> Option<ClearPacket> {
        if let Some(ForOwner::Incoming(incoming)) = self.input(from, datagram) {
            assert_eq!(incoming.from(), from);
            self.endpoint.accept(self.now, incoming);
        }
        self.answer(from)
    }

    /// Returns the HELLO with the cookie that the endpoint asks for.
    fn proven(&mut self, from: SocketAddr, hello: &[u8]) -> Bytes {
        let Some(ClearPacket::Retry(retry)) = self.send(from, hello) else { panic!("no RETRY") };
        changed(hello, |hello| hello.cookie = Some(retry.cookie))
    }

    fn input(&mut self, from: SocketAddr, datagram: &[u8]) -> Option<ForOwner> {
        self.endpoint.handle_datagram(self.now, from.into(), BytesMut::from(datagram))
    }

    /// Returns the one clear packet that the endpoint sends; sealed ones are lost.
    fn answer(&mut self, to: SocketAddr) -> Option<ClearPacket> {
        let mut answers = Vec::new();
        let mut out = BytesMut::new();
        while let Some(Envelope { route: Route { remote: address, .. }, ecn }) =
            self.endpoint.poll_transmit(self.now.mono, &mut out)
        {
            let datagram = out.split().freeze();
            self.sent_bytes += datagram.len() as u64;
            if is_clear(&datagram) {
                // spec: ECN-1
                assert_eq!((address, ecn), (to, Ecn::NotEct));
                answers.push(ClearPacket::read(GAME, &datagram).unwrap());
            }
        }
        assert!(answers.len() <= 1, "{answers:?}");
        answers.pop()
    }

    /// Returns why a datagram is dropped, and the code of the REJECT if it is answered with one.
    fn fate(&mut self, from: SocketAddr, datagram: &[u8]) -> (Vec<DropReason>, Option<RejectCode>) {
        let before = self.endpoint.counters().clone();
        let code = match self.send(from, datagram) {
            None => None,
            Some(ClearPacket::Reject(reject)) => Some(reject.code),
            Some(other) => panic!("neither dropped nor refused: {other:?}"),
        };
        let after = self.endpoint.counters();
        let dropped = DropReason::ALL.iter().copied();
        (dropped.filter(|reason| after.dropped(*reason) > before.dropped(*reason)).collect(), code)
    }

    /// Returns a connection that the client has and the endpoint has not confirmed.
    fn half_open(&mut self, from: SocketAddr, grant: &ConnectGrant) -> Connection {
        let mut connecting = self.connecting(grant);
        let mut hello = BytesMut::new();
        // Again with a cookie, if its address must prove itself.
        for _ in 0..2 {
            assert!(connecting.poll_transmit(self.now.mono, &mut hello));
            let answer = self.send(from, &hello.split()).expect("an answer").to_bytes(GAME);
            connecting.handle_datagram(self.now.mono, BytesMut::from(&answer[..]));
            if let Some(outcome) = connecting.poll_outcome() {
                return *outcome.unwrap_or_else(|error| panic!("{error}"));
            }
        }
        panic!("no connection")
    }

    fn drain_events(&mut self) -> Vec<EndpointEvent> {
        std::iter::from_fn(|| self.endpoint.poll_event()).collect()
    }
}

fn endpoint(
    worker: WorkerId,
    ledger: Arc<TokenLedger>,
    rng: StdRng,
    change: impl FnOnce(&mut EndpointConfig),
) -> Endpoint {
    let mut config =
        EndpointConfig::new(GAME, vec![SERVER.into()], Arc::new(KeyRing::new(vec![key(1), key(2)]).unwrap()));
    change(&mut config);
    Endpoint::new(Arc::new(config), worker, ledger, rng)
}

fn key(byte: u8) -> TokenKey {
    TokenKey::from_bytes(&[byte; 32])
}

fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, last], 4_000))
}

/// Returns the packet that a client has to send now.
fn packet_of(connection: &mut Connection, now: Now) -> BytesMut {
    let mut out = BytesMut::new();
    assert!(connection.poll_transmit(now.mono, &mut out).is_some());
    out
}

/// Returns `packet` with its HELLO changed and its checksum corrected.
fn changed(packet: &[u8], change: impl FnOnce(&mut Hello)) -> Bytes {
    match ClearPacket::read(GAME, &Bytes::copy_from_slice(packet)).unwrap() {
        ClearPacket::Hello(mut hello) => {
            change(&mut hello);
            ClearPacket::Hello(hello).to_bytes(GAME)
        }
        other => panic!("{other:?}"),
    }
}
