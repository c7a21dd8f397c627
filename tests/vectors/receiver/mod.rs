//! The behaviour of a receiver: scripts of opened packets, played to a client's connection, and what follows
//! from each packet. `protocol-spec/vectors/README.md` describes the form.
//!
//! The connection may not delay its acks, and none of them is acknowledged, so an ack leaves after each
//! packet that asks for one and reports everything there is to report.

mod acks;
mod fragments;
mod keys;
mod order;
mod repairs;
mod script;
mod violations;

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rallypoint::base::{ConnectionId, PacketNumber, StreamId, Timestamp, Truncated, Writer};
use rallypoint::rudp::{Closed, Connection, ConnectionConfig, Event, PacketDropped, Payload, Role};
use rallypoint::secure::{HandshakeSecrets, PacketKeys};
use rallypoint::wire::frame::{Frame, read_frames, write_frames};
use rallypoint::wire::packet::{Direction, SealedHeader};
use rallypoint::wire::{CloseCode, Delivery, TransportParameters};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use self::script::{Script, Step};
use super::{Vectors, delivery_json, hex, written};

/// Time does not advance, so the delay of each ack is 0.
const NOW: Timestamp = Timestamp::ZERO;
const SERVER: ([u8; 4], u16) = ([192, 0, 2, 1], 4_000);

// spec-test: ACK-1, ACK-2, ACK-3, ACK-5, ACK-6, ACK-11, CON-5, ECN-5, FRM-1, FRM-2, FRM-6, FRM-8, FRM-9, FRM-10, FRM-12
// spec-test: PKT-9, REL-10, REL-12, STR-1, STR-2, STR-3, STR-4, STR-6, STR-7, STR-8, STR-9, STR-10
#[test]
fn receivers() {
    let mut vectors = Vectors::new("receiver");
    let scripts = [
        acks::scripts(),
        order::scripts(),
        keys::scripts(),
        fragments::scripts(),
        repairs::scripts(),
        violations::scripts(),
    ];
    for script in scripts.into_iter().flatten() {
        vectors.push(played(&script));
    }
    vectors.settle();
}

/// Returns the vector of a script: each step and its results.
fn played(script: &Script) -> Value {
    let mut client = Client::that_has_sent(script.sent);
    let steps: Vec<Value> = script.steps.iter().map(|step| client.step(script.name, step)).collect();
    let mut vector = json!({ "name": script.name, "steps": steps });
    if !script.sent.is_empty() {
        vector["sent"] = script.sent.iter().map(u64::to_string).collect();
    }
    vector
}

/// A client's connection, and its server.
struct Client {
    connection: Connection,
    server: PacketKeys,
    /// Largest number of the connection's packets.
    largest: Option<u64>,
}

impl Client {
    fn new(seed: u64) -> Self {
        let secrets =
            HandshakeSecrets::new(Zeroizing::new([1; 32]), Zeroizing::new([2; 32]), Zeroizing::new([3; 32]));
        let config = ConnectionConfig {
            max_ack_delay: Duration::ZERO,
            max_message_bytes: 1_200,
            receive_buffer_bytes: 65_536,
            ..ConnectionConfig::default()
        };
        let connection = Connection::new(
            NOW,
            Role::Client { id: ConnectionId(7) },
            SERVER.into(),
            secrets.client_keys(),
            TransportParameters::default(),
            config,
            StdRng::seed_from_u64(seed),
        );
        Self { connection, server: secrets.server_keys(), largest: None }
    }

    /// Returns a client whose packets so far had these numbers; which numbers it leaves out is random.
    /// Without numbers, returns a client that has only sent its first PING.
    fn that_has_sent(numbers: &[u64]) -> Self {
        let sends = |seed| {
            let mut client = Self::new(seed);
            let mut sent = client.hear();
            for _ in 1..numbers.len() {
                let payload = Payload::from(Bytes::from_static(b"x"));
                client.connection.send(NOW, StreamId(0), Delivery::ReliableOrdered, payload).unwrap();
                sent.extend(client.hear());
            }
            let is_it = numbers.is_empty() || sent.iter().map(|(number, _)| number).eq(numbers);
            is_it.then_some(client)
        };
        (0..100_000).find_map(sends).unwrap()
    }

    fn step(&mut self, script: &str, step: &Step) -> Value {
        let (number, frames) = match step {
            Step::Packet(number, frames) => (*number, frames),
            Step::Finish(stream) => {
                self.connection.finish_stream(*stream);
                return json!({ "finish": stream.0 });
            }
        };
        let mut value = json!({ "number": number.to_string(), "frames": hex(frames) });
        let dropped = self.take(number, frames).err();
        let events: Vec<Event> = std::iter::from_fn(|| self.connection.poll_event()).collect();
        let heard: Vec<Frame> = self.hear().into_iter().flat_map(|(_, frames)| frames).collect();
        if let Some(why) = dropped {
            assert!(events.is_empty() && heard.is_empty(), "{script}: {events:?}, {heard:?}");
            value["dropped"] = match why {
                PacketDropped::Replayed => "PKT-9".into(),
                PacketDropped::TooLate => "STR-10".into(),
                why => panic!("{script}: packet {number}: {why}"),
            };
            return value;
        }
        value["up"] = events.iter().filter_map(message_json).collect();
        let said = heard.iter().find_map(|frame| match frame {
            Frame::Close(close) => CloseCode::from_number(close.code.into()),
            _ => None,
        });
        match events.last() {
            Some(Event::Closed(Closed::ByPeer { code, .. })) => {
                assert_eq!(said, Some(CloseCode::None), "{script}: a CLOSE is answered");
                value["closed"] = code.name().into();
            }
            Some(Event::Closed(Closed::Violation(_))) => value["closes"] = said.unwrap().name().into(),
            Some(Event::Closed(closed)) => panic!("{script}: {closed}"),
            _ => value["ack"] = ack_json(&heard),
        }
        value
    }

    /// Seals a packet of the server and hands it to the connection.
    fn take(&mut self, number: u64, frames: &[u8]) -> Result<(), PacketDropped> {
        let header = SealedHeader { key_phase: false, connection: None, number: Truncated::bits32(number) };
        let header = written(|writer: &mut Writer| header.write(writer));
        let mut payload = frames.to_vec();
        let tag = self.server.seal.seal(PacketNumber(number), &header, &mut payload);
        let packet = BytesMut::from(&[&header[..], &payload, &tag].concat()[..]);
        assert!(packet.len() <= 1_200, "packet {number} has {} bytes", packet.len());
        self.connection.handle_packet(NOW, SERVER.into(), packet)
    }

    /// Returns the numbers and frames of all packets that the connection sends now.
    fn hear(&mut self) -> Vec<(u64, Vec<Frame>)> {
        let mut heard = Vec::new();
        let mut packet = BytesMut::new();
        while self.connection.poll_transmit(NOW, &mut packet).is_some() {
            heard.push(self.open(&std::mem::take(&mut packet)));
        }
        heard
    }

    fn open(&mut self, packet: &[u8]) -> (u64, Vec<Frame>) {
        let (header, length) = SealedHeader::read(packet, Direction::ToServer).unwrap();
        let number = header.number.expand(self.largest.map_or(0, |largest| largest + 1));
        self.largest = Some(number);
        let mut body = packet[length..].to_vec();
        let opened = self.server.open.open(PacketNumber(number), &packet[..length], &mut body).unwrap();
        (number, read_frames(Bytes::copy_from_slice(opened)).unwrap().into_vec())
    }
}

fn message_json(event: &Event) -> Option<Value> {
    let Event::Message { stream, delivery, payload } = event else { return None };
    let stream = stream.map(|stream| stream.0);
    Some(json!({ "stream": stream, "delivery": delivery_json(*delivery), "payload": hex(payload) }))
}

/// Returns the ack among `heard`, or null.
fn ack_json(heard: &[Frame]) -> Value {
    let mut acks = heard.iter().filter(|frame| matches!(frame, Frame::Ack(_)));
    let ack = acks.next();
    assert_eq!(acks.next(), None, "one packet is acked once");
    ack.map(|ack| hex(&written(|writer| write_frames(std::slice::from_ref(ack), writer)))).into()
}
