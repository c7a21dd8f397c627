//! Datagrams to an endpoint, including HELLOs with a valid token and the answers of a real client. Nothing
//! panics, and the answers to unproven addresses are at most a tenth of the bytes received from them.
// spec-test: HSK-8
#![no_main]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use rallypoint::base::{Now, Timestamp, UnixTime, WorkerId};
use rallypoint::rudp::{
    Connecting, ConnectingConfig, Connection, Endpoint, EndpointConfig, EndpointEvent, ForOwner,
};
use rallypoint::secure::{ConnectGrant, Psk, TokenKey, TokenLedger};
use rallypoint::wire::packet::is_clear;
use rallypoint_fuzz::{CHECKSUM, GAME, set_checksum};
use rand::SeedableRng;
use rand::rngs::StdRng;

const SERVER: &str = "127.0.0.1:7777";
const TOKENS: &str = include_str!("../../protocol-spec/vectors/tokens.json");

fuzz_target!(|data: &[u8]| {
    let mut world = World::new();
    let mut rest = data;
    while let Some((&op, after)) = rest.split_first() {
        rest = world.step(op, after);
        world.drain();
    }
    let counters = world.endpoint.counters();
    assert!(counters.unproven_bytes_sent * 10 <= counters.unproven_bytes_received);
});

struct World {
    now: u64,
    endpoint: Endpoint,
    connecting: Connecting,
    client: Option<Connection>,
    /// The last datagram that the client has sent, and the last that the endpoint has sent.
    last: [BytesMut; 2],
}

impl World {
    fn new() -> Self {
        let key: [u8; 32] = std::array::from_fn(|at| 0x70 + at as u8);
        let mut config =
            EndpointConfig::new(GAME, vec![SERVER.into()], Arc::new(TokenKey::from_bytes(&key).into()));
        config.cookie_from_hellos_per_second = 8;
        let ledger = Arc::new(TokenLedger::new(16));
        let endpoint = Endpoint::new(Arc::new(config), WorkerId(3), ledger, StdRng::seed_from_u64(1));
        let tokens: serde_json::Value = serde_json::from_str(TOKENS).expect("the vectors are JSON");
        let grant = ConnectGrant {
            token: tokens[0]["token"].as_str().expect("a token").to_owned(),
            psk: Psk::new(std::array::from_fn(|at| at as u8)),
            servers: vec![SERVER.into()],
            audience: None,
            expires: UnixTime::from_secs(1_801_396_860),
        };
        let config = ConnectingConfig::new(GAME);
        let connecting = Connecting::new(
            Timestamp::ZERO,
            SERVER,
            ([127, 0, 0, 1], 7_777).into(),
            &grant,
            config,
            StdRng::seed_from_u64(2),
        );
        Self { now: 0, endpoint, connecting, client: None, last: Default::default() }
    }

    fn now(&self) -> Now {
        // 2027-01-31T12:00:30Z, within the tokens' validity.
        let wall = UnixTime::from_secs(1_801_396_830) + Duration::from_micros(self.now);
        Now { mono: Timestamp::from_micros(self.now), wall }
    }

    /// Performs one operation; returns the rest of the input.
    fn step<'a>(&mut self, op: u8, input: &'a [u8]) -> &'a [u8] {
        let address = SocketAddr::from(([10, 0, 0, op >> 5], 4_000));
        match op & 0x07 {
            0 => {
                let length = input.first().map_or(0, |&byte| usize::from(byte) * 8).min(input.len());
                let (datagram, rest) = input.split_at(length);
                self.hand_to_server(address, BytesMut::from(datagram));
                rest
            }
            1 => {
                self.now += u64::from(input.first().copied().unwrap_or(0)) << (op >> 4);
                self.endpoint.handle_timeout(self.now().mono);
                self.connecting.handle_timeout(self.now().mono);
                input.get(1..).unwrap_or_default()
            }
            2 => {
                let mut datagram = BytesMut::new();
                if self.connecting.poll_transmit(self.now().mono, &mut datagram) {
                    self.last[0] = datagram;
                }
                input
            }
            // The last datagram again, unchanged or changed.
            3 => {
                self.hand_to_server(address, self.last[0].clone());
                input
            }
            4 => {
                let (datagram, rest) = changed(&self.last[0], input);
                self.hand_to_server(address, datagram);
                rest
            }
            5 => {
                self.connecting.handle_datagram(self.now().mono, self.last[1].clone());
                input
            }
            6 => {
                let (datagram, rest) = changed(&self.last[1], input);
                self.connecting.handle_datagram(self.now().mono, datagram);
                rest
            }
            _ => {
                let now = self.now().mono;
                let mut datagram = BytesMut::new();
                if self
                    .client
                    .as_mut()
                    .is_some_and(|client| client.poll_transmit(now, &mut datagram).is_some())
                {
                    self.last[0] = datagram;
                }
                input
            }
        }
    }

    fn hand_to_server(&mut self, from: SocketAddr, datagram: BytesMut) {
        let now = self.now();
        if let Some(ForOwner::Incoming(incoming)) = self.endpoint.handle_datagram(now, from.into(), datagram)
        {
            self.endpoint.accept(now, incoming);
        }
    }

    fn drain(&mut self) {
        let now = self.now().mono;
        while let Some(event) = self.endpoint.poll_event() {
            if let EndpointEvent::Connected { connection, .. } = event {
                assert!(self.endpoint.connection(connection).is_some());
            }
        }
        let mut datagram = BytesMut::new();
        while self.endpoint.poll_transmit(now, &mut datagram).is_some() {
            self.last[1] = std::mem::take(&mut datagram);
        }
        if let Some(Ok(client)) = self.connecting.poll_outcome() {
            self.client = Some(*client);
        }
    }
}

/// Returns `datagram` with one byte changed, which `input` selects. A clear packet then gets a checksum that
/// fits: otherwise it would be dropped for that, and nothing behind would be read.
fn changed<'a>(datagram: &BytesMut, input: &'a [u8]) -> (BytesMut, &'a [u8]) {
    let mut datagram = datagram.clone();
    let Some((&[high, low, by], rest)) = input.split_first_chunk::<3>() else { return (datagram, &[]) };
    let at = usize::from(u16::from_be_bytes([high, low]));
    if let Some(byte) = datagram.get_mut(at) {
        *byte ^= by;
    }
    if is_clear(&datagram) && !CHECKSUM.contains(&at) {
        set_checksum(&mut datagram);
    }
    (datagram, rest)
}
