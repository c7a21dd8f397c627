//! A peer that holds the keys sends whatever frames it likes: the connection never panics, and
//! stays within its budgets or ends.
// spec-test: ACK-6, REL-12, FRM-1
#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use rallypoint::base::{ConnectionId, PacketNumber, StreamId, Timestamp, Truncated, Writer};
use rallypoint::rudp::{Connection, ConnectionConfig, Event, Payload, Role};
use rallypoint::secure::HandshakeSecrets;
use rallypoint::wire::packet::SealedHeader;
use rallypoint::wire::{Delivery, TransportParameters};
use rand::SeedableRng;
use rand::rngs::StdRng;
use zeroize::Zeroizing;

fuzz_target!(|data: &[u8]| {
    let Some((&first, mut rest)) = data.split_first() else { return };
    let is_server = first & 1 == 0;
    let secrets = HandshakeSecrets::new([1; 32], Zeroizing::new([2; 32]), Zeroizing::new([3; 32]));
    let id = ConnectionId(0x0300_0001);
    let (role, keys, peer) = if is_server {
        (Role::Server, secrets.server_keys(), secrets.client_keys())
    } else {
        (Role::Client { id }, secrets.client_keys(), secrets.server_keys())
    };
    let config = ConnectionConfig { receive_buffer_bytes: 1 << 16, ..ConnectionConfig::default() };
    let parameters = TransportParameters::default();
    let mut now = Timestamp::ZERO;
    let mut connection = Connection::new(now, role, ADDRESS.into(), keys, parameters, config, StdRng::seed_from_u64(7));
    for stream in 1..4 {
        connection.open_stream(StreamId(stream));
    }
    let mut number = 0;
    while let Some((&[op, length], after)) = rest.split_first_chunk::<2>() {
        let (payload, after) = after.split_at(usize::from(length).min(after.len()));
        rest = after;
        now += std::time::Duration::from_micros(u64::from(op >> 3) << (op & 0x07));
        number += 1 + u64::from(op & 0x03) / 3;
        let connection_id = is_server.then_some(id);
        let header =
            SealedHeader { key_phase: false, connection: connection_id, number: Truncated::bits32(number) };
        let mut writer = Writer::new();
        header.write(&mut writer);
        let mut sealed = BytesMut::from(payload);
        let tag = peer.seal.seal(PacketNumber(number), writer.as_slice(), &mut sealed);
        let mut packet = BytesMut::from(writer.as_slice());
        packet.extend_from_slice(&sealed);
        packet.extend_from_slice(&tag);
        let _ = connection.handle_packet(now, (ADDRESS.0, 4_000 + u16::from(op & 0x20 != 0)).into(), packet);
        if op & 0x40 != 0 {
            let delivery = Delivery::ReliableLatest { key: u16::from(op) };
            let _ = connection.send(now, StreamId(1), delivery, Payload::from(Bytes::from_static(b"state")));
        }
        drain(&mut connection, now);
    }
});

/// Where the peer is, unless it moves to the next port.
const ADDRESS: ([u8; 4], u16) = ([192, 0, 2, 1], 4_000);

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
        assert!(out.len() <= 1_200);
        out.clear();
        sent += 1;
        assert!(sent < 10_000, "a turn ends");
    }
}
