//! Two connections, a virtual clock and a link whose faults each test chooses.

mod attacks;
mod congestion;
mod datagram_size;
mod defects;
mod ecn;
mod fates;
mod floods;
mod key_abuse;
mod keyed;
mod life;
mod line;
mod memory;
mod moved;
mod numbers;
mod paths;
mod priority;
mod promises;
mod repair;
mod sequences;
mod trace;
mod wraps;

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use zeroize::Zeroizing;

use self::line::Line;
use super::*;
use crate::base::{Ecn, Envelope, Route};
use crate::secure::HandshakeSecrets;

const CLIENT: usize = 0;
const SERVER: usize = 1;
/// Addresses of the ends, in the tests in which they do not move.
const CLIENT_ADDRESS: ([u8; 4], u16) = ([192, 0, 2, 1], 4_000);
const SERVER_ADDRESS: ([u8; 4], u16) = ([198, 51, 100, 1], 7_777);
const STREAM: StreamId = StreamId(1);
const SECOND: Duration = Duration::from_secs(1);

struct Wire {
    arrives: Timestamp,
    to: usize,
    from: Envelope,
    address: SocketAddr,
    packet: BytesMut,
}

struct Pair {
    now: Timestamp,
    ends: [Connection; 2],
    wires: VecDeque<Wire>,
    /// One-way delay of each packet.
    delay: Duration,
    /// Shares of packets lost, duplicated, and held back for up to 30 ms.
    loss: f64,
    duplicate: f64,
    reorder: f64,
    /// All packets are lost until then.
    dark_until: Timestamp,
    /// Larger packets are lost.
    mtu: usize,
    /// What the path makes of a mark; `None` drops the packet.
    mark: fn(Ecn) -> Option<Ecn>,
    /// A line that the client's packets pass first.
    line: Option<Line>,
    /// Sizes of the packets above the base size, by the sending end.
    large: [Vec<usize>; 2],
    /// The client's address; packets to other addresses are lost.
    client_at: SocketAddr,
    /// Sends a copy of each of the client's packets from this address, with this delay.
    copier: Option<(SocketAddr, Duration)>,
    rng: StdRng,
    received: [Vec<(Option<StreamId>, Delivery, Bytes)>; 2],
    closed: [Option<Closed>; 2],
}

fn keys() -> HandshakeSecrets {
    HandshakeSecrets::new(Zeroizing::new([1; 32]), Zeroizing::new([2; 32]), Zeroizing::new([3; 32]))
}

impl Pair {
    fn new(seed: u64) -> Self {
        Self::with_config(seed, ConnectionConfig::default())
    }

    fn with_config(seed: u64, config: ConnectionConfig) -> Self {
        let now = Timestamp::from_millis(1_000);
        let end = |role, remote: ([u8; 4], u16), keys, salt| {
            let rng = StdRng::seed_from_u64(seed ^ salt);
            Connection::new(now, role, remote.into(), keys, config.parameters(), config, rng)
        };
        let id = ConnectionId(7);
        let mut pair = Self {
            now,
            ends: [
                end(Role::Client { id }, SERVER_ADDRESS, keys().client_keys(), 1),
                end(Role::Server, CLIENT_ADDRESS, keys().server_keys(), 2),
            ],
            wires: VecDeque::new(),
            delay: Duration::from_millis(20),
            loss: 0.0,
            duplicate: 0.0,
            reorder: 0.0,
            dark_until: Timestamp::ZERO,
            mtu: usize::MAX,
            mark: Some,
            line: None,
            large: [vec![], vec![]],
            client_at: CLIENT_ADDRESS.into(),
            copier: None,
            rng: StdRng::seed_from_u64(seed),
            received: [vec![], vec![]],
            closed: [None, None],
        };
        pair.ends[SERVER].open_stream(STREAM);
        pair.ends[CLIENT].open_stream(STREAM);
        pair
    }

    fn send(&mut self, from: usize, delivery: Delivery, payload: &[u8]) {
        let payload = Bytes::copy_from_slice(payload).into();
        self.ends[from].send(self.now, STREAM, delivery, payload).unwrap();
    }

    fn flush(&mut self) {
        for from in [CLIENT, SERVER] {
            let mut packet = BytesMut::new();
            while let Some(to) = self.ends[from].poll_transmit(self.now, &mut packet) {
                self.note_size(from, packet.len());
                self.carry(1 - from, to, std::mem::take(&mut packet));
            }
            while let Some(event) = self.ends[from].poll_event() {
                match event {
                    Event::Established | Event::AddressChanged(_) => {}
                    Event::Message { stream, delivery, payload } => {
                        assert_eq!(self.closed[from], None, "nothing after the close");
                        self.received[from].push((stream, delivery, payload));
                    }
                    Event::Closed(closed) => assert_eq!(self.closed[from].replace(closed), None),
                }
            }
        }
    }

    fn note_size(&mut self, from: usize, bytes: usize) {
        if bytes > BASE_DATAGRAM_BYTES {
            self.large[from].push(bytes);
        }
    }

    fn carry(&mut self, to: usize, Envelope { route, ecn }: Envelope, packet: BytesMut) {
        let address = route.remote;
        if let Some((from, later)) = self.copier.filter(|_| to == SERVER) {
            let (arrives, from) = (self.now + later, Route::from(from).marked(ecn));
            self.wires.push_back(Wire { arrives, to, from, address, packet: packet.clone() });
        }
        if self.now < self.dark_until || packet.len() > self.mtu || self.rng.random_bool(self.loss) {
            return;
        }
        let Some(ecn) = (self.mark)(ecn) else { return };
        let passed = match self.line.as_mut().filter(|_| to == SERVER) {
            Some(line) => line.pass(self.now, ecn, packet.len()),
            None => Some((self.now, ecn)),
        };
        let Some((left, ecn)) = passed else { return };
        let copies = 1 + usize::from(self.rng.random_bool(self.duplicate));
        for _ in 0..copies {
            let held = if self.rng.random_bool(self.reorder) { self.rng.random_range(0..30_000) } else { 0 };
            let arrives = left + self.delay + Duration::from_micros(held);
            let from = if to == SERVER { self.client_at } else { SERVER_ADDRESS.into() };
            let from = Route::from(from).marked(ecn);
            self.wires.push_back(Wire { arrives, to, from, address, packet: packet.clone() });
        }
    }

    /// Advances to the next event. Returns false when there is none until `end`.
    fn step(&mut self, end: Timestamp) -> bool {
        self.flush();
        let timeouts = self.ends.iter().filter_map(Connection::poll_timeout);
        let next = self.wires.iter().map(|wire| wire.arrives).chain(timeouts).min();
        let Some(next) = next.filter(|next| *next <= end) else {
            self.now = end;
            return false;
        };
        self.now = self.now.max(next);
        while let Some(at) = self.wires.iter().position(|wire| wire.arrives <= self.now) {
            let wire = self.wires.remove(at).unwrap();
            if wire.to == SERVER || wire.address == self.client_at {
                let _ = self.ends[wire.to].handle_packet(self.now, wire.from, wire.packet);
            }
        }
        for end in &mut self.ends {
            end.handle_timeout(self.now);
        }
        true
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        let mut steps = 0;
        while self.step(end) {
            steps += 1;
            assert!(steps < 2_000_000, "the timers make no progress");
        }
    }

    fn payloads(&self, end: usize) -> Vec<&[u8]> {
        self.received[end].iter().map(|(.., payload)| &payload[..]).collect()
    }
}
