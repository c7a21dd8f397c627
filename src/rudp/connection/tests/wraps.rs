//! Sequences that begin near an edge: those that wrap continue, and those that end close or refuse by name.

use proptest::prelude::*;

use super::attacks::Forger;
use super::stream::MAX_MESSAGE_NUMBER;
use super::*;
use crate::base::{PacketNumber, Truncated};
use crate::wire::frame::{Frame, Message, MessageHead, Place};

/// Where numbers exceed their transmitted part, and where they end.
const EDGES: [u64; 9] =
    [0, 1 << 8, 1 << 14, 1 << 15, 1 << 16, 1 << 31, 1 << 32, 1 << 48, PacketNumber::MAX.0 + 1];

/// Lets both ends continue as if all packets and messages below these numbers had arrived.
pub(super) fn start_at(pair: &mut Pair, packets: u64, messages: u64) {
    for end in &mut pair.ends {
        end.sent.start_at(packets, packets.checked_sub(1));
        if let Some(last) = packets.checked_sub(1) {
            end.replay.accept(PacketNumber(last));
            end.acks.on_packet(pair.now, PacketNumber(last), false, false, &[]);
            end.acks.on_confirmed(last);
        }
        end.draw_next_skip();
        end.outbox.start_at(messages);
        end.receive_streams.values_mut().for_each(|stream| stream.start_at(messages));
    }
}

fn near_an_edge() -> impl Strategy<Value = u64> {
    (prop::sample::select(EDGES.to_vec()), -70_000i64..70_000)
        .prop_map(|(edge, offset)| edge.saturating_add_signed(offset).min(PacketNumber::MAX.0))
}

/// Distances from 0 to the longest that 32 bits can express.
fn distance() -> impl Strategy<Value = u64> {
    (0u32..31).prop_flat_map(|bits| 0u64..1 << bits)
}

proptest! {
    /// The receiver has opened the largest packet that it has acked, and perhaps some that left after this
    /// one. A packet later than the replay window is dropped.
    // spec-test: PKT-8, PKT-10
    #[test]
    fn a_packet_number_is_read_as_it_was_written(
        number in near_an_edge(), unacked in distance(), seen in 0.0f64..1.0, late in 0u64..2_048, is_late: bool
    ) {
        let acked = number.checked_sub(1).map(|before| before.saturating_sub(unacked));
        let mut pair = Pair::new(1);
        pair.ends[SERVER].sent.start_at(number, acked);
        let travels = pair.ends[SERVER].header(number).number;
        let span = number - acked.unwrap_or(0);
        let opened = if is_late { number + late } else { number - (span as f64 * seen) as u64 };
        prop_assert_eq!(travels.expand(opened), number);
        prop_assert!(travels.is_wide() || span < 1 << 15);
    }

    /// The sender of the packets has seen acks of what its peer knows that it has, or of more.
    // spec-test: ACK-2, ACK-5
    #[test]
    fn the_largest_of_an_ack_is_read_as_it_was_written(
        largest in near_an_edge(), unconfirmed in distance(), seen in 0.0f64..=1.0
    ) {
        let confirmed = largest.saturating_sub(unconfirmed);
        let mut tracker = AckTracker::new(Duration::ZERO);
        tracker.on_packet(Timestamp::ZERO, PacketNumber(largest), true, false, &[]);
        tracker.on_confirmed(confirmed);
        let ack = tracker.take(Timestamp::ZERO).unwrap();
        let acked = confirmed + ((largest - confirmed) as f64 * seen) as u64;
        prop_assert_eq!(ack.largest.expand(acked), largest);
    }
}

/// Sends `count` messages of each mode in each direction; all must arrive, once.
fn exchange(pair: &mut Pair, count: u32) {
    let modes = [
        Delivery::ReliableOrdered,
        Delivery::ReliableUnordered,
        Delivery::ReliableLatest { key: 1 },
        Delivery::Sequenced { key: 2 },
        Delivery::Unreliable,
    ];
    for n in 0..count {
        for (from, delivery) in [CLIENT, SERVER].into_iter().flat_map(|end| modes.map(|mode| (end, mode))) {
            pair.send(from, delivery, &n.to_be_bytes());
        }
        pair.run(Duration::from_millis(3));
    }
    pair.run(SECOND);
    for end in [CLIENT, SERVER] {
        for mode in modes {
            let all = pair.received[end].iter().filter(|(_, delivery, _)| *delivery == mode);
            assert_eq!(all.count() as u32, count, "{mode:?}");
        }
    }
}

// spec-test: PKT-8, STR-6
#[test]
fn packets_and_messages_pass_every_edge() {
    for edge in EDGES {
        let mut pair = Pair::new(edge);
        let last = edge.min(PacketNumber::MAX.0 - 2_000);
        start_at(
            &mut pair,
            last.saturating_sub(100),
            edge.min(MAX_MESSAGE_NUMBER - 1_000).saturating_sub(50),
        );
        exchange(&mut pair, 100);
        assert!(pair.ends.iter().all(|end| end.sent.next_number().0 > last), "{edge}");
        assert_eq!(pair.closed, [None, None], "{edge}");
    }
}

/// No number is used twice under a key, and none that the receiver would not take is used.
// spec-test: KEY-8, PKT-7
#[test]
fn the_connection_ends_before_its_packet_numbers_do() {
    let mut pair = Pair::new(30);
    start_at(&mut pair, PacketNumber::MAX.0 - 300, 0);
    for n in 0..400u32 {
        let payload = Bytes::copy_from_slice(&n.to_be_bytes()).into();
        let _ = pair.ends[SERVER].send(pair.now, STREAM, Delivery::ReliableOrdered, payload);
        pair.run(Duration::from_millis(3));
    }
    assert_eq!(pair.closed[SERVER], Some(Closed::KeyLimit(KeyLimit::UsedUp)));
    assert!(matches!(pair.closed[CLIENT], Some(Closed::ByPeer { code: CloseCode::Internal, .. })));
    assert!(pair.received[CLIENT].len() > 200);
    assert!(pair.ends[SERVER].sent.next_number() <= PacketNumber::MAX);
}

// spec-test: KEY-8
#[test]
fn the_last_64_packet_numbers_are_for_closes_alone() {
    let mut pair = Pair::new(30);
    start_at(&mut pair, (1 << 62) - 70, 0);
    let server = &mut pair.ends[SERVER];
    server.next_skip = PacketNumber::MAX;
    let (mut number, mut packet) = (0, BytesMut::new());
    while !server.is_closed() {
        let message = Bytes::from_static(b"a packet").into();
        server.send(pair.now, STREAM, Delivery::Unreliable, message).unwrap();
        number = server.sent.next_number().0;
        packet.clear();
        assert!(server.poll_transmit(pair.now, &mut packet).is_some());
    }
    assert_eq!(number, (1 << 62) - 64, "of the first CLOSE");
}

// spec-test: PKT-7
#[test]
fn a_number_beyond_the_largest_is_dropped() {
    let mut pair = Pair::new(31);
    start_at(&mut pair, PacketNumber::MAX.0, 0);
    let mut forger = Forger::starting_at(PacketNumber::MAX.0);
    let fates = [(); 2].map(|()| {
        pair.ends[SERVER].handle_packet(pair.now, CLIENT_ADDRESS.into(), forger.packet(&[Frame::Ping]))
    });
    assert_eq!(fates, [Ok(()), Err(PacketDropped::Malformed)]);
}

// spec-test: KEY-5
#[test]
fn keys_are_renewed_after_2_to_the_22_packets() {
    let mut pair = Pair::new(32);
    pair.send(SERVER, Delivery::Unreliable, b"acked");
    pair.run(SECOND);
    pair.ends[SERVER].keys.wear((1 << 22) - 1);
    for phases in [0, 1] {
        pair.send(SERVER, Delivery::Unreliable, b"a packet");
        pair.flush();
        assert_eq!(pair.ends[SERVER].keys.phases(), phases);
    }
}

/// The peer can prevent a renewal of the keys by acking nothing.
// spec-test: KEY-8
#[test]
fn a_key_that_cannot_be_renewed_ends_the_connection() {
    let mut pair = Pair::new(32);
    pair.send(SERVER, Delivery::Unreliable, b"acked");
    pair.run(SECOND);
    pair.dark_until = Timestamp::MAX;
    pair.ends[SERVER].keys.wear(1 << 22);
    pair.send(SERVER, Delivery::Unreliable, b"first of its phase");
    pair.flush();
    assert_eq!(pair.ends[SERVER].keys.phases(), 1, "a packet of the phase before was acked");
    pair.ends[SERVER].keys.wear((1 << 23) - 3);
    for n in 0..3u8 {
        assert_eq!(pair.closed[SERVER], None);
        pair.send(SERVER, Delivery::Unreliable, &[n]);
        pair.flush();
    }
    assert_eq!(pair.closed[SERVER], Some(Closed::KeyLimit(KeyLimit::UsedUp)));
    assert_eq!(pair.ends[SERVER].keys.phases(), 1);
    pair.dark_until = pair.now;
    pair.run(SECOND);
    let told = &pair.closed[CLIENT];
    assert!(matches!(told, Some(Closed::ByPeer { code: CloseCode::Internal, .. })), "said again: {told:?}");
}

/// Copies of packets that opened do not count.
// spec-test: KEY-6
#[test]
fn too_many_packets_that_do_not_open_end_the_connection() {
    let mut pair = Pair::new(34);
    let mut forger = Forger::new();
    let first = forger.packet(&[Frame::Ping]);
    // Behind those of the client below.
    let last = (0..50).map(|_| forger.packet(&[Frame::Ping])).last().unwrap();
    let changed = |packet: &BytesMut| {
        let mut changed = packet.clone();
        *changed.last_mut().unwrap() ^= 1;
        changed
    };
    let take = |pair: &mut Pair, packet: BytesMut| {
        let fate = pair.ends[SERVER].handle_packet(pair.now, CLIENT_ADDRESS.into(), packet);
        pair.flush();
        fate
    };
    pair.ends[SERVER].keys.fail((1 << 36) - 2);
    assert_eq!(take(&mut pair, changed(&first)), Err(PacketDropped::DoesNotOpen));
    assert_eq!(take(&mut pair, first.clone()), Ok(()));
    assert_eq!(take(&mut pair, first), Err(PacketDropped::Replayed));
    assert_eq!(pair.closed[SERVER], None);
    // Nor is what has been counted forgotten with a key.
    pair.ends[CLIENT].keys.renew_after(1);
    (0..4).for_each(|_| {
        pair.send(CLIENT, Delivery::ReliableOrdered, b"renews");
        pair.run(Duration::from_millis(200));
    });
    assert!(pair.ends[SERVER].keys.phases() > 0);
    assert_eq!(pair.closed[SERVER], None);
    assert_eq!(take(&mut pair, changed(&last)), Err(PacketDropped::DoesNotOpen));
    assert_eq!(pair.closed[SERVER], Some(Closed::KeyLimit(KeyLimit::FailedOpens)));
    pair.run(SECOND);
    let told = &pair.closed[CLIENT];
    assert!(matches!(told, Some(Closed::ByPeer { code: CloseCode::TooManyFailedOpens, .. })), "{told:?}");
}

// spec-test: KEY-4, KEY-5, KEY-7
#[test]
fn keys_may_be_renewed_again_and_again() {
    let mut pair = Pair::new(33);
    (pair.loss, pair.reorder, pair.duplicate) = (0.1, 0.2, 0.1);
    pair.delay = Duration::from_millis(1);
    pair.ends.iter_mut().for_each(|end| end.keys.renew_after(2));
    for n in 0..2_000u32 {
        pair.send(CLIENT, Delivery::ReliableOrdered, &n.to_be_bytes());
        pair.send(SERVER, Delivery::ReliableOrdered, &n.to_be_bytes());
        pair.run(Duration::from_millis(20));
    }
    pair.run(SECOND);
    for end in [CLIENT, SERVER] {
        assert_eq!(pair.received[end].len(), 2_000);
        assert!(pair.ends[end].keys.phases() > 260, "renewed {} times", pair.ends[end].keys.phases());
    }
}

/// Their packets cross, each the first of the new phase.
// spec-test: KEY-7
#[test]
fn both_ends_may_renew_at_the_same_time() {
    let mut pair = Pair::new(34);
    for renewals in 1..=3 {
        let send = |pair: &mut Pair| {
            [CLIENT, SERVER].into_iter().for_each(|end| pair.send(end, Delivery::ReliableOrdered, b"hello"));
        };
        // An ack in the present phase allows the next.
        send(&mut pair);
        pair.run(SECOND);
        pair.ends.iter_mut().for_each(|end| end.keys.renew_after(1));
        send(&mut pair);
        pair.flush();
        pair.ends.iter_mut().for_each(|end| end.keys.renew_after(1_000));
        pair.run(SECOND);
        for end in [CLIENT, SERVER] {
            assert_eq!(pair.ends[end].keys.phases(), renewals);
            assert_eq!(pair.received[end].len(), 2 * renewals as usize);
            assert_eq!(pair.ends[end].stats().packets_dropped, 0, "nothing is taken for a forgery");
        }
    }
}

fn numbered(delivery: Delivery, number: u64) -> Frame {
    let place = Place { stream: STREAM, number: Truncated::bits32(number) };
    Frame::Message(Message { head: MessageHead::Numbered { place, delivery }, payload: Bytes::new() })
}

const NUMBERED: [Delivery; 4] = [
    Delivery::ReliableOrdered,
    Delivery::ReliableUnordered,
    Delivery::ReliableLatest { key: 1 },
    Delivery::Sequenced { key: 2 },
];

// spec-test: STR-3
#[test]
fn a_message_without_a_number_left_is_refused_and_the_connection_stays() {
    for delivery in NUMBERED {
        let mut pair = Pair::new(34);
        start_at(&mut pair, 0, MAX_MESSAGE_NUMBER - 1);
        for n in 0..2u8 {
            pair.send(CLIENT, delivery, &[n]);
            pair.run(SECOND);
        }
        let none_left = pair.ends[CLIENT].send(pair.now, STREAM, delivery, Bytes::new().into());
        assert_eq!(none_left, Err(SendError::WouldBlock));
        pair.send(CLIENT, Delivery::Unreliable, b"has no number");
        pair.run(SECOND);
        assert_eq!(pair.payloads(SERVER), [&[0][..], &[1], b"has no number"]);
    }
}

// spec-test: STR-3
#[test]
fn a_message_number_beyond_the_largest_closes() {
    for delivery in NUMBERED {
        let mut pair = Pair::new(35);
        start_at(&mut pair, 0, MAX_MESSAGE_NUMBER);
        let (mut forger, number) = (Forger::new(), MAX_MESSAGE_NUMBER);
        for number in [number, number + 1] {
            let packet = forger.packet(&[numbered(delivery, number)]);
            assert_eq!(pair.ends[SERVER].handle_packet(pair.now, CLIENT_ADDRESS.into(), packet), Ok(()));
        }
        pair.flush();
        let beyond = ProtocolViolation::BeyondWindow { number: number + 1 };
        assert_eq!(pair.closed[SERVER], Some(Closed::Violation(beyond)));
        assert_eq!(pair.received[SERVER].len(), 1);
    }
}
