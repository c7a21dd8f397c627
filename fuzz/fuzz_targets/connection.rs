//! Calls on two connections in any order, over a link that loses, repeats, reorders and changes
//! packets: nothing panics, and every mode keeps its promise.
// spec-test: STR-2
#![no_main]

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use rallypoint::base::{ConnectionId, StreamId, Timestamp};
use rallypoint::rudp::{Connection, ConnectionConfig, Event, Payload, Role};
use rallypoint::secure::HandshakeSecrets;
use rallypoint::wire::{CloseCode, Delivery};
use rand::SeedableRng;
use rand::rngs::StdRng;
use zeroize::Zeroizing;

fuzz_target!(|data: &[u8]| {
    let mut pair = Pair::new();
    for chunk in data.chunks_exact(3) {
        let &[op, a, b] = chunk else { return };
        pair.step(op, a, b);
    }
    pair.run();
    pair.check();
});

struct End {
    connection: Connection,
    /// Packets on their way to this end.
    inbox: Vec<BytesMut>,
    /// Ordered and unordered messages sent on stream 0, which every input may use.
    sent: [Vec<Vec<u8>>; 2],
    received: [Vec<Vec<u8>>; 2],
    closed: bool,
}

/// Where both ends are.
const ADDRESS: ([u8; 4], u16) = ([192, 0, 2, 1], 4_000);

struct Pair {
    now: Timestamp,
    ends: [End; 2],
    serial: u32,
}

impl Pair {
    fn new() -> Self {
        let secrets = HandshakeSecrets::new([1; 32], Zeroizing::new([2; 32]), Zeroizing::new([3; 32]));
        let config = ConnectionConfig {
            send_buffer_bytes: 1 << 18,
            receive_buffer_bytes: 1 << 17,
            max_message_bytes: 1 << 16,
            ..ConnectionConfig::default()
        };
        let end = |role, keys, seed| End {
            connection: Connection::new(
                Timestamp::ZERO,
                role,
                ADDRESS.into(),
                keys,
                config.parameters(),
                config,
                StdRng::seed_from_u64(seed),
            ),
            inbox: Vec::new(),
            sent: Default::default(),
            received: Default::default(),
            closed: false,
        };
        let client = Role::Client { id: ConnectionId(0x0300_0001) };
        let ends = [end(client, secrets.client_keys(), 1), end(Role::Server, secrets.server_keys(), 2)];
        Self { now: Timestamp::ZERO, ends, serial: 0 }
    }

    fn step(&mut self, op: u8, a: u8, b: u8) {
        let at = usize::from(op >> 7);
        match op & 0x0f {
            0..=3 => self.send(at, StreamId(0), a, b),
            4 => self.send(at, StreamId(u32::from(op >> 4 & 0x07)), a, b),
            5 => self.ends[1].connection.open_stream(StreamId(u32::from(a & 0x07))),
            6 => {
                // Stream 0 lives as long as its connection.
                let stream = StreamId(u32::from(a & 0x07) + 1);
                self.ends[at].connection.finish_stream(stream);
            }
            7 => {
                let inbox = &mut self.ends[at].inbox;
                if let Some(packet) = inbox.get_mut(usize::from(a)) {
                    let index = usize::from(b) % packet.len();
                    packet[index] ^= 1 << (op >> 4 & 0x07);
                }
            }
            8 => self.drop_one(at, a),
            9 => self.repeat_one(at, a),
            10 | 11 => self.deliver(at, usize::from(a)),
            12 if a == 255 => self.ends[at].connection.close(self.now, CloseCode::None, "enough"),
            _ => self.wait(Duration::from_micros(u64::from(a) << (b & 0x0f))),
        }
        self.flush();
    }

    fn send(&mut self, at: usize, stream: StreamId, a: u8, b: u8) {
        let key = u16::from(b & 0x03);
        let delivery = match a % 5 {
            0 => Delivery::Unreliable,
            1 => Delivery::Sequenced { key },
            2 => Delivery::ReliableUnordered,
            3 => Delivery::ReliableOrdered,
            _ => Delivery::ReliableLatest { key },
        };
        self.serial += 1;
        let length = 4 + (usize::from(b) << (a >> 5));
        let mut payload = self.serial.to_be_bytes().to_vec();
        payload.resize(length, a);
        let end = &mut self.ends[at];
        let answer =
            end.connection.send(self.now, stream, delivery, Payload::from(Bytes::from(payload.clone())));
        if let (Ok(_), Some(kind), StreamId(0)) = (answer, kind_of(delivery), stream) {
            end.sent[kind].push(payload);
        }
    }

    fn drop_one(&mut self, at: usize, index: u8) {
        let inbox = &mut self.ends[at].inbox;
        if usize::from(index) < inbox.len() {
            inbox.remove(usize::from(index));
        }
    }

    fn repeat_one(&mut self, at: usize, index: u8) {
        let inbox = &mut self.ends[at].inbox;
        if let Some(packet) = inbox.get(usize::from(index)).filter(|_| inbox.len() < 512) {
            let copy = packet.clone();
            inbox.push(copy);
        }
    }

    fn deliver(&mut self, at: usize, index: usize) {
        let end = &mut self.ends[at];
        if index >= end.inbox.len() {
            return;
        }
        let packet = end.inbox.remove(index);
        let _ = end.connection.handle_packet(self.now, ADDRESS.into(), packet);
        while let Some(event) = end.connection.poll_event() {
            match event {
                Event::Message { stream: Some(StreamId(0)), delivery, payload } => {
                    if let Some(kind) = kind_of(delivery) {
                        end.received[kind].push(payload.to_vec());
                    }
                }
                Event::Closed(_) => end.closed = true,
                _ => {}
            }
        }
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        for end in &mut self.ends {
            if end.connection.poll_timeout().is_some_and(|at| at <= self.now) {
                end.connection.handle_timeout(self.now);
            }
            while let Some(event) = end.connection.poll_event() {
                end.closed |= matches!(event, Event::Closed(_));
            }
        }
    }

    fn flush(&mut self) {
        for at in 0..2 {
            let mut out = BytesMut::new();
            while self.ends[at].connection.poll_transmit(self.now, &mut out).is_some() {
                assert!(out.len() <= 1_200);
                self.ends[1 - at].inbox.push(std::mem::take(&mut out));
            }
        }
    }

    /// Lets everything arrive.
    fn run(&mut self) {
        for _ in 0..2_000 {
            self.flush();
            let before: usize = self.ends.iter().map(|end| end.inbox.len()).sum();
            for at in 0..2 {
                while !self.ends[at].inbox.is_empty() {
                    self.deliver(at, 0);
                }
            }
            let idle = self.ends.iter().all(|end| end.connection.queued_bytes() == 0);
            if before == 0 && idle {
                return;
            }
            self.wait(Duration::from_millis(5));
        }
    }

    fn check(&self) {
        let closed = self.ends.iter().any(|end| end.closed || end.connection.is_closed());
        for at in 0..2 {
            let (from, to) = (&self.ends[at], &self.ends[1 - at]);
            assert!(from.sent[0].starts_with(&to.received[0]), "ordered messages come in order, once");
            let (mut sent, mut received) = (from.sent[1].clone(), to.received[1].clone());
            sent.sort();
            received.sort();
            let once = received.windows(2).all(|pair| pair[0] != pair[1]);
            assert!(once, "unordered messages come once");
            if !closed {
                assert_eq!(from.sent[0].len(), to.received[0].len(), "all ordered messages arrive");
                assert_eq!(sent, received, "all unordered messages arrive");
            }
        }
    }
}

/// Where a message is counted: ordered, unordered, or nowhere.
fn kind_of(delivery: Delivery) -> Option<usize> {
    match delivery {
        Delivery::ReliableOrdered => Some(0),
        Delivery::ReliableUnordered => Some(1),
        _ => None,
    }
}
