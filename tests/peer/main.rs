//! A connection as seen by a peer that holds the keys, opens each packet, and answers with arbitrary frames.
//! Tests rules that no well-behaved pair of ends comes near.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod acks;
mod bounds;
mod life;

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rallypoint::base::{ConnectionId, PacketNumber, StreamId, Timestamp, Truncated, Writer};
use rallypoint::rudp::{Closed, Connection, ConnectionConfig, Event, PacketDropped, Payload, Role};
use rallypoint::secure::{HandshakeSecrets, PacketKeys};
use rallypoint::wire::frame::{Ack, AckRun, Frame, Lags, Message, MessageHead, read_frames, write_frames};
use rallypoint::wire::packet::{Direction, SealedHeader};
use rallypoint::wire::{Delivery, TransportParameters};
use rand::SeedableRng;
use rand::rngs::StdRng;
use smallvec::SmallVec;
use zeroize::Zeroizing;

/// The peer's address.
const ADDRESS: ([u8; 4], u16) = ([192, 0, 2, 1], 4_000);
const CLIENT: ConnectionId = ConnectionId(0x0300_0001);

/// A server's connection, and the client that it is connected to.
struct Peer {
    now: Timestamp,
    connection: Connection,
    keys: PacketKeys,
    next: u64,
    /// Largest number of the connection's packets.
    largest: Option<u64>,
}

/// An opened packet of the connection.
struct Opened {
    header: SealedHeader,
    number: u64,
    bytes: usize,
    frames: Vec<Frame>,
}

fn secrets() -> HandshakeSecrets {
    HandshakeSecrets::new(Zeroizing::new([1; 32]), Zeroizing::new([2; 32]), Zeroizing::new([3; 32]))
}

impl Peer {
    fn new() -> Self {
        Self::with(TransportParameters::default(), ConnectionConfig::default())
    }

    /// Returns a connection with `config`, whose peer has sent `parameters`.
    fn with(parameters: TransportParameters, config: ConnectionConfig) -> Self {
        let secrets = secrets();
        let connection = Connection::new(
            Timestamp::ZERO,
            Role::Server,
            ADDRESS.into(),
            secrets.server_keys(),
            parameters,
            config,
            StdRng::seed_from_u64(4),
        );
        Self { now: Timestamp::ZERO, connection, keys: secrets.client_keys(), next: 0, largest: None }
    }

    /// Seals `frames` and hands the packet to the connection.
    fn say(&mut self, frames: &[Frame]) {
        self.try_say(frames).unwrap();
    }

    fn try_say(&mut self, frames: &[Frame]) -> Result<(), PacketDropped> {
        let header =
            SealedHeader { key_phase: false, connection: Some(CLIENT), number: Truncated::bits32(self.next) };
        let mut writer = Writer::new();
        header.write(&mut writer);
        let head = writer.finish();
        let mut writer = Writer::new();
        write_frames(frames, &mut writer);
        let mut payload = writer.into_inner();
        let tag = self.keys.seal.seal(PacketNumber(self.next), &head, &mut payload);
        let packet = BytesMut::from(&[&head[..], &payload, &tag].concat()[..]);
        self.next += 1;
        self.connection.handle_packet(self.now, ADDRESS.into(), packet)
    }

    /// Returns all packets that the connection sends now.
    fn hear(&mut self) -> Vec<Opened> {
        let mut heard = Vec::new();
        let mut packet = BytesMut::new();
        while self.connection.poll_transmit(self.now, &mut packet).is_some() {
            heard.push(self.open(std::mem::take(&mut packet)));
        }
        heard
    }

    fn open(&mut self, packet: BytesMut) -> Opened {
        let (header, length) = SealedHeader::read(&packet, Direction::ToClient).unwrap();
        let number = header.number.expand(self.largest.map_or(0, |largest| largest + 1));
        let mut body = packet[length..].to_vec();
        let opened = self.keys.open.open(PacketNumber(number), &packet[..length], &mut body).unwrap();
        let frames = read_frames(Bytes::copy_from_slice(opened)).unwrap();
        assert!(
            self.largest.is_none_or(|largest| number > largest),
            "number {number} after {:?}",
            self.largest
        );
        self.largest = Some(number);
        Opened { header, number, bytes: packet.len(), frames: frames.into_vec() }
    }

    fn ack(&mut self) {
        self.ack_held_for(0);
    }

    /// Acks the newest packet, with `delay` steps of 256 µs as its delay.
    fn ack_held_for(&mut self, delay: u8) {
        let largest = Truncated::bits32(self.largest.unwrap());
        self.say(&[Frame::Ack(Ack {
            largest,
            delay,
            runs: Some((1, Default::default())),
            repaired: Lags::new(),
        })]);
    }

    fn send(&mut self, delivery: Delivery, bytes: usize) {
        let payload = Payload::from(Bytes::from(vec![7; bytes]));
        self.connection.send(self.now, StreamId(0), delivery, payload).unwrap();
    }

    /// Acks each of `heard`, so that none counts as lost.
    fn ack_all(&mut self, heard: &[Opened]) {
        let (mut first, mut runs) = (1, SmallVec::<[AckRun; 4]>::new());
        for pair in heard.windows(2).rev() {
            match pair[1].number - pair[0].number - 1 {
                0 => *runs.last_mut().map_or(&mut first, |last| &mut last.run) += 1,
                gap => runs.push(AckRun { gap, run: 1 }),
            }
        }
        let largest = Truncated::bits32(self.largest.unwrap());
        self.say(&[Frame::Ack(Ack { largest, delay: 0, runs: Some((first, runs)), repaired: Lags::new() })]);
    }

    /// Acks full congestion windows of large messages, after which the window holds more than 1,536 small
    /// packets.
    fn widen_window(&mut self) {
        (0..60).for_each(|_| self.send(Delivery::ReliableOrdered, 20_000));
        loop {
            let heard = self.hear();
            if heard.is_empty() {
                return;
            }
            self.now += Duration::from_millis(20);
            self.ack_all(&heard);
        }
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.connection.handle_timeout(self.now);
    }
}

fn message_number(frame: &Frame) -> Option<Truncated> {
    match frame {
        Frame::Message(Message { head: MessageHead::Numbered { place, .. }, .. }) => Some(place.number),
        _ => None,
    }
}

/// [`Peer::open`] asserts that every number is larger than the previous one.
// spec-test: PKT-7, PKT-11, MTU-1
#[test]
fn every_packet_has_a_number_of_its_own_and_1200_bytes_until_a_probe_was_acked() {
    let mut peer = Peer::new();
    let (mut probed, mut acked) = (1_200, 1_200);
    for round in 0..40 {
        peer.send(Delivery::ReliableOrdered, 10_000);
        peer.send(Delivery::Unreliable, 1_000);
        for packet in peer.hear() {
            if packet.frames.iter().any(|frame| matches!(frame, Frame::Padding(_))) {
                probed = packet.bytes;
            } else {
                assert!(packet.bytes <= acked, "{} bytes", packet.bytes);
            }
        }
        // Without an ack the same messages are sent again, as probes.
        peer.wait(Duration::from_millis(120));
        if round % 2 == 1 {
            peer.ack();
            acked = probed;
        }
    }
    assert_eq!(acked, 1_452);
    assert!(peer.largest.unwrap() > 100);
}

// spec-test: REL-9
#[test]
fn without_acks_new_packets_end() {
    let mut peer = Peer::new();
    peer.widen_window();
    let mut with_messages = 0;
    for _ in 0..4_000 {
        peer.now += Duration::from_micros(100);
        peer.send(Delivery::Unreliable, 1);
        for packet in peer.hear() {
            with_messages +=
                usize::from(packet.frames.iter().any(|frame| matches!(frame, Frame::Message(_))));
        }
    }
    assert!((1_000..=1_536).contains(&with_messages), "{with_messages} packets without an ack");
    peer.ack();
    peer.wait(Duration::from_secs(1));
    assert!(!peer.hear().is_empty(), "an ack sets it free");
}

// spec-test: STR-5
#[test]
fn message_numbers_take_a_byte_while_few_are_unsettled() {
    let mut peer = Peer::new();
    for number in 0..200u64 {
        peer.send(Delivery::ReliableOrdered, 1);
        for frame in peer.hear().iter().flat_map(|packet| &packet.frames) {
            let Some(found) = message_number(frame) else { continue };
            assert_eq!(found.is_wide(), number >= 63, "message {number}");
        }
    }
}

/// Each value replaces the one sent before it, but none of them has moved the peer's position.
// spec-test: STR-5
#[test]
fn a_value_far_above_the_last_acked_one_has_its_number_in_4_bytes() {
    let mut peer = Peer::new();
    peer.widen_window();
    for number in 0..=300u64 {
        peer.send(Delivery::ReliableLatest { key: 1 }, 1);
        let heard = peer.hear();
        let numbers = heard.iter().flat_map(|packet| &packet.frames).filter_map(message_number);
        let wanted = if number < 63 { Truncated::bits8(number) } else { Truncated::bits32(number) };
        assert_eq!(numbers.collect::<Vec<_>>(), [wanted]);
    }
}

// spec-test: STR-7
#[test]
fn values_that_are_replaced_while_they_wait_take_up_no_numbers() {
    let mut peer = Peer::new();
    (0..300).for_each(|_| peer.send(Delivery::ReliableLatest { key: 1 }, 1));
    let heard = peer.hear();
    let numbers = heard.iter().flat_map(|packet| &packet.frames).filter_map(message_number);
    assert_eq!(numbers.collect::<Vec<_>>(), [Truncated::bits8(0)]);
}

// spec-test: FRM-7
#[test]
fn a_path_challenge_is_answered_with_its_data() {
    let mut peer = Peer::new();
    peer.say(&[Frame::PathChallenge(*b"whoareu?")]);
    let answers: Vec<Frame> = peer.hear().into_iter().flat_map(|packet| packet.frames).collect();
    assert!(answers.contains(&Frame::PathResponse(*b"whoareu?")), "{answers:?}");
    peer.say(&[Frame::PathResponse(*b"unasked!")]);
    peer.hear();
    assert!(!peer.connection.is_closed(), "one that was not asked for is ignored");
}

// spec-test: ACK-1, ACK-9
#[test]
fn acks_alone_are_not_acked_but_every_257th_packet_asks_for_one() {
    let mut peer = Peer::new();
    let mut quiet = 0;
    let mut asked = 0;
    for _ in 0..1_000 {
        peer.say(&[Frame::Ping]);
        let heard = peer.hear();
        let acked =
            heard.iter().flat_map(|packet| &packet.frames).any(|frame| matches!(frame, Frame::Ack(_)));
        assert!(acked, "a PING is acked at once");
        for packet in heard {
            let asks = packet.frames.iter().any(Frame::is_ack_eliciting);
            quiet = if asks { 0 } else { quiet + 1 };
            asked += usize::from(asks);
            assert!(quiet <= 256);
        }
    }
    assert!((3..10).contains(&asked), "{asked} of 1,000");
    peer.ack();
    assert!(peer.hear().is_empty(), "an ack asks for nothing");
}

/// The same through the public API as in the unit tests: the connection to a peer that sends a false ack is
/// closed.
// spec-test: ACK-6
#[test]
fn an_ack_of_what_was_never_sent_ends_the_connection() {
    let mut peer = Peer::new();
    peer.send(Delivery::ReliableOrdered, 1);
    peer.hear();
    let runs = Some((1, Default::default()));
    peer.say(&[Frame::Ack(Ack { largest: Truncated::bits32(5_000), delay: 0, runs, repaired: Lags::new() })]);
    let closed = std::iter::from_fn(|| peer.connection.poll_event())
        .find(|event| matches!(event, Event::Closed(Closed::Violation(_))));
    assert!(closed.is_some());
}
