//! Attacks by a peer that holds the keys, or by a stranger.

use proptest::prelude::*;
use smallvec::smallvec;

use super::*;
use crate::base::{DecodeError, OutOfBounds, PacketNumber, Truncated, Writer};
use crate::secure::SealKey;
use crate::wire::SealedHeader;
use crate::wire::frame::{
    Ack, AckRun, Fragment, FragmentHead, Frame, Lags, Message, MessageHead, Place, write_frames,
};

/// A client that seals arbitrary content.
pub(super) struct Forger {
    seal: SealKey,
    key_phase: bool,
    next: u64,
}

impl Forger {
    pub(super) fn new() -> Self {
        Self::starting_at(0)
    }

    /// Creates a forger whose first packet has this number.
    pub(super) fn starting_at(next: u64) -> Self {
        Self { seal: keys().client_keys().seal, key_phase: false, next }
    }

    /// Continues with the next generation of keys.
    pub(super) fn renew(&mut self) {
        self.seal = self.seal.next();
        self.key_phase = !self.key_phase;
    }

    fn seal(&mut self, payload: &[u8]) -> BytesMut {
        self.next += 1;
        let number = Truncated::bits32(self.next - 1);
        let header = SealedHeader { key_phase: self.key_phase, connection: Some(ConnectionId(7)), number };
        seal_as(&mut self.seal, header, self.next - 1, payload)
    }

    pub(super) fn packet(&mut self, frames: &[Frame]) -> BytesMut {
        let mut writer = Writer::new();
        write_frames(frames, &mut writer);
        self.seal(writer.as_slice())
    }
}

fn seal_as(seal: &mut SealKey, header: SealedHeader, number: u64, payload: &[u8]) -> BytesMut {
    let mut writer = Writer::new();
    header.write(&mut writer);
    let mut payload = payload.to_vec();
    let tag = seal.seal(PacketNumber(number), writer.as_slice(), &mut payload);
    writer.slice(&payload);
    writer.slice(&tag);
    writer.into_inner()
}

/// Returns a packet that only the server can seal.
pub(super) fn seal_as_server(seal: &mut SealKey, number: u64, frames: &[Frame]) -> BytesMut {
    let mut writer = Writer::new();
    write_frames(frames, &mut writer);
    let header = SealedHeader { key_phase: false, connection: None, number: Truncated::bits32(number) };
    seal_as(seal, header, number, writer.as_slice())
}

/// Returns how a server closes, if it does, when a client sends these frames in one packet.
fn answer(frames: &[Frame]) -> Option<Closed> {
    let mut pair = Pair::new(1);
    // Packets in flight, so that acks have a target: packets 0 to 4 of the server.
    for n in 0..5u8 {
        pair.send(SERVER, Delivery::Unreliable, &[n]);
        let mut packet = BytesMut::new();
        assert!(pair.ends[SERVER].poll_transmit(pair.now, &mut packet).is_some());
    }
    let packet = Forger::new().packet(frames);
    assert_eq!(pair.ends[SERVER].handle_packet(pair.now, CLIENT_ADDRESS.into(), packet), Ok(()));
    pair.flush();
    pair.ends[SERVER].audit();
    pair.closed[SERVER].clone()
}

fn violation(frames: &[Frame]) -> ProtocolViolation {
    match answer(frames) {
        Some(Closed::Violation(violation)) => violation,
        other => panic!("no violation but {other:?}"),
    }
}

pub(super) fn place(number: u64) -> Place {
    Place { stream: STREAM, number: Truncated::bits32(number) }
}

pub(super) fn message(number: u64, bytes: usize) -> Frame {
    let head = MessageHead::Numbered { place: place(number), delivery: Delivery::ReliableOrdered };
    Frame::Message(Message { head, payload: vec![0; bytes].into() })
}

pub(super) fn fragment(number: u64, count: u32, total: u32, index: u32) -> Frame {
    let delivery = Delivery::ReliableOrdered;
    let head = FragmentHead { place: place(number), delivery, count, total, index };
    let payload = vec![0; head.payload_bytes()].into();
    Frame::Fragment(Fragment { head, payload })
}

// spec-test: ACK-6
#[test]
fn an_ack_of_a_packet_never_sent_closes() {
    let ack = |largest, runs| {
        Frame::Ack(Ack { largest: Truncated::bits32(largest), delay: 0, runs, repaired: Lags::new() })
    };
    assert_eq!(violation(&[ack(9_999, None)]), ProtocolViolation::AckOfUnsent { number: 9_999 });
    // The first run, a gap and a run that go below 0.
    let one_run = |gap, run| smallvec![AckRun { gap, run }];
    for (number, runs) in [(4, (6, smallvec![])), (0, (5, one_run(1, 1))), (0, (3, one_run(1, 9)))] {
        assert_eq!(violation(&[ack(4, Some(runs))]), ProtocolViolation::AckOfUnsent { number });
    }
    assert_eq!(answer(&[ack(4, None)]), None);
    assert_eq!(violation(&[ack(5, None)]), ProtocolViolation::AckOfUnsent { number: 5 });
    let repaired = |largest, lag| {
        let repaired = smallvec![lag];
        Frame::Ack(Ack { largest: Truncated::bits32(largest), delay: 0, runs: None, repaired })
    };
    assert_eq!(violation(&[repaired(4, 5)]), ProtocolViolation::AckOfUnsent { number: 4 });
    assert_eq!(answer(&[repaired(4, 4)]), None);
}

// spec-test: ACK-3
#[test]
fn an_ack_without_runs_settles_256_packets() {
    let mut sent = SentPackets::new();
    (0..300).for_each(|_| sent.on_sent(Timestamp::ZERO, 10, true, Ecn::Ect0, Default::default()));
    let ack = Ack { largest: Truncated::bits32(299), delay: 0, runs: None, repaired: Lags::new() };
    let mut outcome = sent::AckOutcome::default();
    assert_eq!(sent.on_ack(&ack, &mut outcome), Ok(()));
    assert_eq!(outcome.packets.len(), 256);
}

// spec-test: REL-9
#[test]
fn so_many_packets_may_be_unsettled_and_no_more() {
    let mut sent = SentPackets::new();
    for _ in 0..1_536 {
        assert!(!sent.is_full());
        sent.on_sent(Timestamp::ZERO, 10, true, Ecn::Ect0, Default::default());
    }
    assert!(sent.is_full());
}

// spec-test: REL-9
#[test]
fn while_so_many_packets_are_unsettled_a_probe_carries_nothing_new() {
    let mut pair = Pair::new(2);
    pair.run(SECOND);
    pair.dark_until = pair.now + SECOND;
    pair.send(SERVER, Delivery::ReliableOrdered, b"old");
    pair.flush();
    let (now, server) = (pair.now, &mut pair.ends[SERVER]);
    (0..2_000).for_each(|_| server.sent.on_sent(now, 10, true, Ecn::NotEct, Default::default()));
    pair.send(SERVER, Delivery::ReliableOrdered, b"new");
    let sent = pair.ends[SERVER].stats().packets_sent;
    pair.run(Duration::from_millis(900));
    let stats = pair.ends[SERVER].stats();
    assert!(stats.probes > 1 && stats.packets_sent > sent, "{stats:?}");
    assert_eq!(pair.ends[SERVER].outbox.places(), 1, "it waits");
}

// spec-test: ACK-6
#[test]
fn a_peer_that_names_a_number_left_out_as_repaired_is_caught() {
    let (mut pair, mut forger) = (Pair::new(2), Forger::new());
    pair.ends[SERVER].sent.skip(pair.now);
    let skipped = pair.ends[SERVER].sent.next_number().0 - 1;
    pair.send(SERVER, Delivery::Unreliable, b"x");
    assert!(pair.ends[SERVER].poll_transmit(pair.now, &mut BytesMut::new()).is_some());
    let largest = Truncated::bits32(skipped + 1);
    let ack = Ack { largest, delay: 0, runs: Some((1, smallvec![])), repaired: smallvec![1] };
    let packet = forger.packet(&[Frame::Ack(ack)]);
    let _ = pair.ends[SERVER].handle_packet(pair.now, CLIENT_ADDRESS.into(), packet);
    assert!(pair.ends[SERVER].is_closed());
}

// spec-test: ACK-6, ACK-7
#[test]
fn a_peer_that_acks_everything_is_caught_by_a_number_left_out() {
    let mut pair = Pair::new(2);
    let mut forger = Forger::new();
    for n in 0..20_000u64 {
        pair.now += Duration::from_millis(1);
        pair.send(SERVER, Delivery::Unreliable, b"x");
        let mut packet = BytesMut::new();
        assert!(pair.ends[SERVER].poll_transmit(pair.now, &mut packet).is_some());
        let largest = pair.ends[SERVER].sent.next_number().0 - 1;
        let ack = Ack { largest: Truncated::bits32(largest), delay: 0, runs: None, repaired: Lags::new() };
        let _ = pair.ends[SERVER].handle_packet(
            pair.now,
            CLIENT_ADDRESS.into(),
            forger.packet(&[Frame::Ack(ack)]),
        );
        if pair.ends[SERVER].is_closed() {
            assert!(n > 10, "not by chance at once");
            return;
        }
    }
    panic!("20,000 packets were acked blindly");
}

// spec-test: REL-10
#[test]
fn a_number_beyond_the_window_closes() {
    assert_eq!(violation(&[message(4_096, 1)]), ProtocolViolation::BeyondWindow { number: 4_096 });
    assert_eq!(answer(&[message(4_095, 1)]), None);
}

/// Its place in the window is that of a number that has arrived.
// spec-test: REL-10
#[test]
fn a_number_a_window_above_one_that_came_early_closes() {
    let message = |number| {
        let place = Place { stream: StreamId::CONTROL, number: Truncated::bits32(number) };
        let head = MessageHead::Numbered { place, delivery: Delivery::ReliableUnordered };
        Frame::Message(Message { head, payload: Bytes::from_static(b"x") })
    };
    let frames = [message(5), message(4_096 + 5)];
    assert_eq!(violation(&frames), ProtocolViolation::BeyondWindow { number: 4_096 + 5 });
}

// spec-test: FRM-6
#[test]
fn fragments_that_contradict_each_other_close() {
    for second in [fragment(0, 2, 30, 1), fragment(0, 3, 30, 1)] {
        let frames = [fragment(0, 2, 20, 0), second];
        assert_eq!(violation(&frames), ProtocolViolation::FragmentMismatch { number: 0 });
    }
    let whole = [fragment(0, 2, 20, 0), message(0, 20)];
    assert_eq!(violation(&whole), ProtocolViolation::FragmentMismatch { number: 0 });
}

// spec-test: FRM-6
#[test]
fn a_message_larger_than_the_victim_takes_closes() {
    let config = ConnectionConfig { max_message_bytes: 2_000, ..ConnectionConfig::default() };
    let unreliable = Message { head: MessageHead::Unreliable, payload: vec![0; 2_001].into() };
    let frames = [message(0, 2_001), fragment(0, 2, 4_000, 0), Frame::Message(unreliable)];
    for (bytes, frame) in [2_001, 4_000, 2_001].into_iter().zip(frames) {
        let mut pair = Pair::with_config(3, config);
        let packet = Forger::new().packet(&[frame]);
        assert_eq!(pair.ends[SERVER].handle_packet(pair.now, CLIENT_ADDRESS.into(), packet), Ok(()));
        pair.flush();
        let violation = ProtocolViolation::MessageTooLarge { bytes, max: 2_000 };
        assert_eq!(pair.closed[SERVER], Some(Closed::Violation(violation)));
    }
}

/// A newer value of the second key makes the number old for it, but not for the first.
// spec-test: FRM-6
#[test]
fn a_fragment_that_gives_an_incomplete_message_another_key_closes() {
    let latest = |key| Delivery::ReliableLatest { key };
    let part = |key| {
        let head = FragmentHead { place: place(3), delivery: latest(key), count: 2, total: 20, index: 0 };
        Frame::Fragment(Fragment { head, payload: vec![0; 10].into() })
    };
    let head = MessageHead::Numbered { place: place(4), delivery: latest(2) };
    let newer = Frame::Message(Message { head, payload: vec![0; 20].into() });
    let frames = [part(1), newer, part(2)];
    assert_eq!(violation(&frames), ProtocolViolation::FragmentMismatch { number: 3 });
}

/// A cut into two fragments, then one into three, late fragments of the first, and the rest of the second.
// spec-test: FRM-12
#[test]
fn a_message_that_is_cut_anew_arrives_once() {
    let (mut pair, mut forger) = (Pair::new(3), Forger::new());
    let mut say = |pair: &mut Pair, frames: &[Frame]| {
        let packet = forger.packet(frames);
        assert_eq!(pair.ends[SERVER].handle_packet(pair.now, CLIENT_ADDRESS.into(), packet), Ok(()));
        pair.flush();
        pair.payloads(SERVER).len()
    };
    assert_eq!(say(&mut pair, &[fragment(0, 2, 20, 0), fragment(0, 3, 20, 1)]), 0);
    let late = [fragment(0, 2, 20, 0), fragment(0, 2, 20, 1), fragment(0, 3, 20, 2)];
    assert_eq!(say(&mut pair, &late), 0, "two of either cut");
    assert_eq!(say(&mut pair, &[fragment(0, 3, 20, 0)]), 1);
    assert_eq!(say(&mut pair, &[fragment(0, 2, 20, 0), fragment(0, 3, 20, 0)]), 1, "it has arrived");
    assert_eq!(pair.ends[SERVER].receive_buffer.held(), 0);
}

// spec-test: REL-12
#[test]
fn a_stream_that_ends_gives_all_its_room_back() {
    let mut pair = Pair::new(3);
    // Of the numbers in order, only 0 is missing.
    let packet = Forger::new().packet(&[message(1, 30), message(2, 40), fragment(3, 2, 20, 0)]);
    assert_eq!(pair.ends[SERVER].handle_packet(pair.now, CLIENT_ADDRESS.into(), packet), Ok(()));
    assert_eq!(pair.ends[SERVER].receive_buffer.held(), 30 + 40 + 20 + 3 * 64);
    pair.ends[SERVER].finish_stream(STREAM);
    assert_eq!(pair.ends[SERVER].receive_buffer.held(), 0);
}

// spec-test: REL-12
#[test]
fn a_fragment_bomb_ends_at_the_receive_buffer() {
    let mut pair = Pair::new(3);
    let mut forger = Forger::new();
    let mut sent = 0;
    for number in 0..4_000 {
        // Each small fragment claims 512 KiB.
        let packet = forger.packet(&[fragment(number, 1_024, 1 << 19, 0)]);
        let _ = pair.ends[SERVER].handle_packet(pair.now, CLIENT_ADDRESS.into(), packet);
        sent += 1;
        let max = ConnectionConfig::default().receive_buffer_bytes;
        assert!(pair.ends[SERVER].receive_buffer.held() <= max);
        if pair.ends[SERVER].is_closed() {
            break;
        }
    }
    assert_eq!(sent, 8, "4 MiB hold seven of them");
    pair.flush();
    let max = 4 << 20;
    assert_eq!(pair.closed[SERVER], Some(Closed::Violation(ProtocolViolation::ReceiveBuffer { max })));
    assert_eq!(pair.ends[SERVER].receive_buffer.held(), 0, "and all of it is given back");
}

// spec-test: REL-14
#[test]
fn what_the_process_has_no_room_for_is_dropped_and_comes_again() {
    let mut pair = Pair::new(9);
    pair.run(SECOND);
    let budgets = memory::budgets(0, 0);
    pair.ends[SERVER].share_budgets(&budgets);
    pair.loss = 1.0;
    pair.send(CLIENT, Delivery::ReliableOrdered, b"is lost");
    pair.flush();
    pair.loss = 0.0;
    pair.send(CLIENT, Delivery::ReliableOrdered, &[1; 2_000]);
    pair.send(CLIENT, Delivery::ReliableUnordered, b"needs no room");
    pair.run(Duration::from_millis(30));
    assert_eq!(pair.payloads(SERVER), [b"needs no room"], "nobody else is held up");
    assert!(pair.ends[SERVER].stats().packets_dropped > 0);
    pair.run(SECOND);
    assert_eq!(pair.payloads(SERVER), [&b"needs no room"[..], b"is lost", &[1; 2_000]]);
    assert_eq!(budgets.receive.held(), 0);
}

// spec-test: REL-12
#[test]
fn a_flood_of_empty_messages_behind_a_gap_is_bounded() {
    let frames: Vec<Frame> = (1..4_096).map(|number| message(number, 0)).collect();
    let mut pair = Pair::new(4);
    let mut forger = Forger::new();
    for chunk in frames.chunks(100) {
        assert_eq!(
            pair.ends[SERVER].handle_packet(pair.now, CLIENT_ADDRESS.into(), forger.packet(chunk)),
            Ok(())
        );
    }
    assert_eq!(pair.ends[SERVER].receive_buffer.held(), 4_095 * 64, "each costs what it occupies");
}

// spec-test: FRM-2, FRM-1
#[test]
fn frames_that_do_not_decode_close() {
    for content in [&[0x3f, 0xff][..], &[]] {
        let mut pair = Pair::new(6);
        let packet = Forger::new().seal(content);
        assert_eq!(pair.ends[SERVER].handle_packet(pair.now, CLIENT_ADDRESS.into(), packet), Ok(()));
        pair.run(SECOND);
        assert!(matches!(pair.closed[SERVER], Some(Closed::Violation(ProtocolViolation::Decode(_)))));
        let told = &pair.closed[CLIENT];
        assert!(matches!(told, Some(Closed::ByPeer { code: CloseCode::ProtocolViolation, .. })), "{told:?}");
    }
}

// spec-test: FRM-2
#[test]
fn frames_of_a_packet_are_handled_in_their_order() {
    let mut pair = Pair::new(6);
    let message = |payload: &'static [u8]| {
        Frame::Message(Message { head: MessageHead::Unreliable, payload: payload.into() })
    };
    let close = Frame::Close(Close { code: 0, reason: String::new() });
    let packet = Forger::new().packet(&[message(b"one"), message(b"two"), close, message(b"three")]);
    assert_eq!(pair.ends[SERVER].handle_packet(pair.now, CLIENT_ADDRESS.into(), packet), Ok(()));
    pair.flush();
    assert_eq!(pair.payloads(SERVER), [b"one", b"two"]);
}

/// A fragment that the message has no place for.
// spec-test: FRM-5, FRM-1
#[test]
fn a_fragment_whose_index_is_beyond_its_count_closes() {
    for index in [2, 3, 63] {
        let mut pair = Pair::new(6);
        let mut forger = Forger::new();
        // Ordered, to the packet's end; stream, number, count, total, index, payload.
        let piece = |index| [0x53, STREAM.0 as u8, 0, 2, 2, index, b'x'];
        let first = forger.seal(&piece(0));
        assert_eq!(pair.ends[SERVER].handle_packet(pair.now, CLIENT_ADDRESS.into(), first), Ok(()));
        let beyond = forger.seal(&piece(index));
        assert_eq!(pair.ends[SERVER].handle_packet(pair.now, CLIENT_ADDRESS.into(), beyond), Ok(()));
        pair.flush();
        let what = OutOfBounds::Range { what: "fragment index", value: index.into(), min: 0, max: 1 };
        let violation = ProtocolViolation::Decode(what.into());
        assert_eq!(pair.closed[SERVER], Some(Closed::Violation(violation)));
        assert!(pair.payloads(SERVER).is_empty());
        assert_eq!(pair.ends[SERVER].receive_buffer.held(), 0);
    }
}

/// Three fragments of two bytes each, for a message of four bytes in all.
// spec-test: FRM-5, FRM-1
#[test]
fn a_count_that_leaves_nothing_for_the_last_piece_closes() {
    let mut pair = Pair::new(6);
    // Ordered, to the packet's end; stream, number, count, total, index, payload.
    let packet = Forger::new().seal(&[0x53, STREAM.0 as u8, 0, 3, 4, 0, b'x', b'x']);
    assert_eq!(pair.ends[SERVER].handle_packet(pair.now, CLIENT_ADDRESS.into(), packet), Ok(()));
    pair.flush();
    let violation = ProtocolViolation::Decode(DecodeError::NotCanonical { what: "fragment count" });
    assert_eq!(pair.closed[SERVER], Some(Closed::Violation(violation)));
}

/// The message arrives so late that its one-byte number would denote another one.
// spec-test: STR-6, STR-10
#[test]
fn a_late_packet_with_an_ambiguous_number_is_dropped() {
    let mut pair = Pair::new(7);
    pair.delay = Duration::from_millis(1);
    pair.send(CLIENT, Delivery::ReliableOrdered, b"0");
    let mut late = BytesMut::new();
    assert!(pair.ends[CLIENT].poll_transmit(pair.now, &mut late).is_some());
    for n in 1..=256u32 {
        pair.send(CLIENT, Delivery::ReliableOrdered, &n.to_be_bytes());
        pair.run(Duration::from_millis(20));
    }
    pair.run(Duration::from_millis(200));
    assert_eq!(pair.received[SERVER].len(), 257, "the first was sent again");
    assert_eq!(
        pair.ends[SERVER].handle_packet(pair.now, CLIENT_ADDRESS.into(), late),
        Err(PacketDropped::TooLate)
    );
    pair.flush();
    assert_eq!(pair.received[SERVER].len(), 257);
}

/// The first message of a late packet releases all that waited for it, including the next one in the packet.
// spec-test: STR-6, STR-10
#[test]
fn a_late_packet_that_moves_the_position_is_not_read_against_it() {
    let mut pair = Pair::new(10);
    let mut forger = Forger::new();
    let narrow = |number: u64| {
        let place = Place { stream: STREAM, number: Truncated::bits8(number) };
        let head = MessageHead::Numbered { place, delivery: Delivery::ReliableOrdered };
        Frame::Message(Message { head, payload: Bytes::from_static(b"old") })
    };
    let late = forger.packet(&[narrow(0), narrow(1)]);
    let early: Vec<Frame> = (1..200).map(|number| message(number, 1)).collect();
    assert_eq!(
        pair.ends[SERVER].handle_packet(pair.now, CLIENT_ADDRESS.into(), forger.packet(&early)),
        Ok(())
    );
    assert_eq!(pair.ends[SERVER].handle_packet(pair.now, CLIENT_ADDRESS.into(), late), Ok(()));
    // From position 200, number 1 in one byte reads as 257.
    let rest: Vec<Frame> = (200..=257).map(|number| message(number, 1)).collect();
    assert_eq!(
        pair.ends[SERVER].handle_packet(pair.now, CLIENT_ADDRESS.into(), forger.packet(&rest)),
        Ok(())
    );
    pair.flush();
    assert_eq!(pair.payloads(SERVER).len(), 258);
    assert_eq!(pair.payloads(SERVER).last(), Some(&&[0u8][..]), "message 257, not message 1 again");
}

/// Its key was forgotten, so the next fragment of the message counts as old, whether or not it is the last.
// spec-test: STR-8
#[test]
fn an_incomplete_message_below_the_floor_gives_its_room_back() {
    for count in [2, 3] {
        let mut pair = Pair::new(11);
        let mut forger = Forger::new();
        let mut give = |frame: Frame| {
            let packet = forger.packet(&[frame]);
            assert_eq!(pair.ends[SERVER].handle_packet(pair.now, CLIENT_ADDRESS.into(), packet), Ok(()));
            pair.ends[SERVER].receive_buffer.held()
        };
        let part = |index| {
            let delivery = Delivery::ReliableLatest { key: 0 };
            let head = FragmentHead { place: place(0), delivery, count, total: 20, index };
            Frame::Fragment(Fragment { head, payload: vec![0; head.payload_bytes()].into() })
        };
        let value = |number: u64, key| {
            let delivery = Delivery::ReliableLatest { key };
            let head = MessageHead::Numbered { place: place(number), delivery };
            Frame::Message(Message { head, payload: Bytes::new() })
        };
        assert_eq!(give(part(0)), 20 + 64);
        for key in 1..=600u16 {
            give(value(key.into(), key));
        }
        assert_eq!(give(part(1)), 0, "of {count} parts");
    }
}

/// Every answer is remembered until the peer acks it, which never happens.
#[test]
fn a_peer_that_only_asks_does_not_make_packets_pile_up() {
    let mut pair = Pair::new(12);
    let mut forger = Forger::new();
    let mut out = BytesMut::new();
    for _ in 0..20_000 {
        let packet = forger.packet(&[Frame::Ping]);
        assert_eq!(pair.ends[SERVER].handle_packet(pair.now, CLIENT_ADDRESS.into(), packet), Ok(()));
        while pair.ends[SERVER].poll_transmit(pair.now, &mut out).is_some() {
            out.clear();
        }
        assert!(pair.ends[SERVER].sent.remembered() < 4_000);
    }
}

#[test]
fn a_peer_that_never_acks_holds_no_more_than_the_buffers() {
    let mut pair = Pair::new(8);
    pair.dark_until = Timestamp::MAX;
    let payload = Bytes::from(vec![0; 1_000]);
    let mut refused = 0;
    for _ in 0..10_000 {
        let sent =
            pair.ends[SERVER].send(pair.now, STREAM, Delivery::ReliableOrdered, payload.clone().into());
        refused += usize::from(sent == Err(SendError::WouldBlock));
        pair.flush();
    }
    assert!(refused > 5_000);
    let config = ConnectionConfig::default();
    assert!(pair.ends[SERVER].queued_bytes() <= config.send_buffer_bytes + config.unreliable_buffer_bytes);
    assert!(pair.ends[SERVER].sent.bytes_in_flight() <= 14_720 + BASE_DATAGRAM_BYTES);
}

// spec-test: PKT-9
#[test]
fn a_replayed_packet_has_no_effect() {
    let mut pair = Pair::new(17);
    pair.send(CLIENT, Delivery::Unreliable, b"once");
    let mut packet = BytesMut::new();
    assert!(pair.ends[CLIENT].poll_transmit(pair.now, &mut packet).is_some());
    assert_eq!(pair.ends[SERVER].handle_packet(pair.now, CLIENT_ADDRESS.into(), packet.clone()), Ok(()));
    assert_eq!(
        pair.ends[SERVER].handle_packet(pair.now, CLIENT_ADDRESS.into(), packet),
        Err(PacketDropped::Replayed)
    );
    pair.flush();
    assert_eq!(pair.payloads(SERVER), [b"once"]);
}

// spec-test: PKT-9, KEY-3
#[test]
fn a_tampered_packet_has_no_effect() {
    let mut pair = Pair::new(18);
    pair.send(CLIENT, Delivery::Unreliable, b"hello");
    let mut packet = BytesMut::new();
    assert!(pair.ends[CLIENT].poll_transmit(pair.now, &mut packet).is_some());
    for at in 0..packet.len() {
        let mut tampered = packet.clone();
        tampered[at] ^= 0x10;
        assert!(
            pair.ends[SERVER].handle_packet(pair.now, CLIENT_ADDRESS.into(), tampered).is_err(),
            "byte {at}"
        );
    }
    assert_eq!(
        pair.ends[SERVER].handle_packet(pair.now, CLIENT_ADDRESS.into(), packet),
        Ok(()),
        "the true one still opens"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A peer that holds the keys may send any bytes: the connection closes properly or continues.
    #[test]
    fn sealed_garbage_never_panics(
        payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..80), 1..20)
    ) {
        let mut pair = Pair::new(20);
        let mut forger = Forger::new();
        for payload in payloads {
            let _ = pair.ends[SERVER].handle_packet(pair.now, CLIENT_ADDRESS.into(), forger.seal(&payload));
            while pair.ends[SERVER].poll_event().is_some() {}
            let mut out = BytesMut::new();
            while pair.ends[SERVER].poll_transmit(pair.now, &mut out).is_some() {
                out.clear();
            }
            pair.now += Duration::from_millis(1);
            pair.ends[SERVER].handle_timeout(pair.now);
        }
    }
}

// spec-test: STR-8
#[test]
fn a_flood_of_keys_is_bounded_and_old_values_stay_old() {
    let mut pair = Pair::new(5);
    let mut forger = Forger::new();
    let keyed = |number: u64, key: u16| {
        let head = MessageHead::Numbered { place: place(number), delivery: Delivery::ReliableLatest { key } };
        Frame::Message(Message { head, payload: Bytes::copy_from_slice(&number.to_be_bytes()) })
    };
    for number in 0..1_000u16 {
        let packet = forger.packet(&[keyed(u64::from(number) + 1, number)]);
        assert_eq!(pair.ends[SERVER].handle_packet(pair.now, CLIENT_ADDRESS.into(), packet), Ok(()));
    }
    pair.flush();
    assert_eq!(pair.received[SERVER].len(), 1_000);
    // Key 0 was forgotten long ago, key 743 last; an old value of either is not new again.
    for (number, key) in [(0, 0), (744, 743)] {
        let packet = forger.packet(&[keyed(number, key)]);
        assert_eq!(pair.ends[SERVER].handle_packet(pair.now, CLIENT_ADDRESS.into(), packet), Ok(()));
    }
    pair.flush();
    assert_eq!(pair.received[SERVER].len(), 1_000);
}
