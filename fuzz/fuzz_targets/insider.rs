//! A peer that holds the keys sends arbitrary frames: the connection never panics, and stays within its
//! budgets or ends.
// spec-test: ACK-6, REL-12, FRM-1
#![no_main]

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use rallypoint::base::{StreamId, Timestamp};
use rallypoint::rudp::{Connection, ConnectionConfig, Event, Payload};
use rallypoint::wire::Delivery;
use rallypoint_fuzz::{Forger, Input};

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let is_server = !input.bool();
    let config = ConnectionConfig { receive_buffer_bytes: 1 << 16, ..ConnectionConfig::default() };
    let (mut forger, mut connection) = Forger::with_victim(is_server, config);
    let mut now = Timestamp::ZERO;
    for stream in 1..4 {
        connection.open_stream(StreamId(stream));
    }
    forger.skip(1);
    while !input.is_empty() {
        let (op, length) = (input.byte(), usize::from(input.byte()));
        now += Duration::from_micros(u64::from(op >> 3) << (op & 0x07));
        forger.skip(u64::from(op & 0x03) / 3);
        let packet = forger.seal(input.bytes(length));
        let (ip, port) = Forger::ADDRESS;
        let _ = connection.handle_packet(now, (ip, port + u16::from(op & 0x20 != 0)).into(), packet);
        if op & 0x40 != 0 {
            let delivery = Delivery::ReliableLatest { key: u16::from(op) };
            let _ = connection.send(now, StreamId(1), delivery, Payload::from(Bytes::from_static(b"state")));
        }
        drain(&mut connection, now);
        connection.audit();
    }
});

fn drain(connection: &mut Connection, now: Timestamp) {
    if connection.poll_timeout().is_some_and(|at| at <= now) {
        connection.handle_timeout(now);
    }
    while let Some(event) = connection.poll_event() {
        if let Event::Message { payload, .. } = event {
            assert!(payload.len() <= 1 << 20);
        }
    }
    let mut out = BytesMut::new();
    let mut sent = 0;
    while connection.poll_transmit(now, &mut out).is_some() {
        assert!(out.len() <= ConnectionConfig::default().max_datagram_bytes);
        out.clear();
        sent += 1;
        assert!(sent < 10_000, "a turn ends");
    }
}
