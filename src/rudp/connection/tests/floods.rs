//! Floods by a peer that holds the keys: this end remembers little, and stays within the limits that it
//! announced.

use smallvec::smallvec;

use super::attacks::{Forger, message, place, seal_as_server};
use super::memory::budgets;
use super::wraps::start_at;
use super::*;
use crate::base::Truncated;
use crate::wire::frame::{Ack, AckRun, Fragment, FragmentHead, Frame, Lags, Message, MessageHead, Place};

pub(super) fn give(pair: &mut Pair, packet: BytesMut) {
    assert_eq!(pair.ends[SERVER].handle_packet(pair.now, CLIENT_ADDRESS.into(), packet), Ok(()));
    pair.flush();
}

fn empty(number: u64, delivery: Delivery) -> Frame {
    let head = match delivery {
        Delivery::Unreliable => MessageHead::Unreliable,
        _ => MessageHead::Numbered { place: place(number), delivery },
    };
    Frame::Message(Message { head, payload: Bytes::new() })
}

/// Returns the bytes that the server keeps about messages already delivered.
fn remembered_bytes(pair: &Pair) -> usize {
    pair.ends[SERVER].receive_streams.values().map(ReceiveStream::remembered_bytes).sum()
}

pub(super) fn piece(stream: u32, number: u64, delivery: Delivery, index: u32) -> Frame {
    let place = Place { stream: StreamId(stream), number: Truncated::bits32(number) };
    let head = FragmentHead { place, delivery, count: 2, total: 20, index };
    Frame::Fragment(Fragment { head, payload: vec![0; 10].into() })
}

/// A message without bytes costs its sender a few bytes on the wire, and must cost the receiver none.
// spec-test: REL-12, STR-8
#[test]
fn empty_messages_in_their_turn_leave_nothing_behind() {
    let mut pair = Pair::new(40);
    let mut forger = Forger::new();
    for first in (0..40_000).step_by(40) {
        let all = (first..first + 40).flat_map(|number| {
            let key = (number % 5_000) as u16;
            [
                empty(number, Delivery::Unreliable),
                empty(number, Delivery::ReliableOrdered),
                empty(number, Delivery::ReliableUnordered),
                empty(2 * number, Delivery::Sequenced { key }),
                empty(2 * number + 1, Delivery::ReliableLatest { key: key + 5_000 }),
            ]
        });
        let packet = forger.packet(&all.collect::<Vec<_>>());
        give(&mut pair, packet);
        assert_eq!(pair.received[SERVER].drain(..).count(), 200);
        assert_eq!(pair.ends[SERVER].receive_buffer.held(), 0);
        let remembered = remembered_bytes(&pair);
        assert!(remembered <= 256 * 16, "{remembered}");
    }
}

/// The peer is charged for none of them, so what is remembered of their numbers must not grow.
// spec-test: REL-10, REL-12
#[test]
fn empty_messages_behind_one_that_is_withheld_end_at_the_window() {
    let mut pair = Pair::new(41);
    let mut forger = Forger::new();
    for number in 1..4_096 {
        give(&mut pair, forger.packet(&[empty(number, Delivery::ReliableUnordered)]));
    }
    assert_eq!(pair.received[SERVER].len(), 4_095);
    assert_eq!(pair.closed[SERVER], None);
    assert_eq!((pair.ends[SERVER].receive_buffer.held(), remembered_bytes(&pair)), (0, 4_096 / 8));
    give(&mut pair, forger.packet(&[empty(4_096, Delivery::ReliableUnordered)]));
    let beyond = ProtocolViolation::BeyondWindow { number: 4_096 };
    assert_eq!(pair.closed[SERVER], Some(Closed::Violation(beyond)));
}

#[test]
fn a_gap_that_closes_leaves_nothing_behind_wherever_the_window_wraps() {
    let mut pair = Pair::new(49);
    let mut forger = Forger::new();
    let mut handed_up = 0;
    for first in (0..3 * 4_096).step_by(1_024) {
        for number in (first + 1..first + 1_024).chain(first..first + 1_024) {
            give(&mut pair, forger.packet(&[empty(number, Delivery::ReliableUnordered)]));
        }
        handed_up += 1_024;
        assert_eq!((pair.received[SERVER].len(), remembered_bytes(&pair)), (handed_up, 0));
    }
}

/// Each stream has a window of its own; the receive buffer is shared by all.
// spec-test: REL-12
#[test]
fn thousands_of_unfinished_messages_on_many_streams_end_at_the_receive_buffer() {
    let config = ConnectionConfig { receive_buffer_bytes: 1 << 17, ..ConnectionConfig::default() };
    let mut pair = Pair::with_config(42, config);
    let budgets = budgets(1 << 30, 1 << 30);
    pair.ends[SERVER].share_budgets(&budgets);
    (1..=200).for_each(|stream| pair.ends[SERVER].open_stream(StreamId(stream)));
    let mut forger = Forger::new();
    let mut unfinished = 0;
    'flood: for number in 0..4_096u64 {
        for stream in 1..=200 {
            // The first fragment and the last are withheld alternately.
            let index = u32::from(number % 2 == 0);
            let key = number as u16;
            let modes = [
                (number, Delivery::ReliableOrdered),
                (number, Delivery::ReliableUnordered),
                (number, Delivery::ReliableLatest { key }),
            ];
            for (number, delivery) in modes {
                give(&mut pair, forger.packet(&[piece(stream, number, delivery, index)]));
                if pair.closed[SERVER].is_some() {
                    break 'flood;
                }
                unfinished += 1;
                let held = pair.ends[SERVER].receive_buffer.held();
                assert_eq!((held, budgets.receive.held()), (unfinished * 84, unfinished * 84));
            }
        }
    }
    let max = 1 << 17;
    assert_eq!(pair.closed[SERVER], Some(Closed::Violation(ProtocolViolation::ReceiveBuffer { max })));
    assert_eq!(unfinished, max / 84);
    assert_eq!(budgets.receive.held(), 0, "all of it is given back");
}

#[test]
fn a_withheld_piece_holds_back_its_own_stream_alone() {
    let mut pair = Pair::new(43);
    pair.ends[SERVER].open_stream(StreamId(2));
    let mut forger = Forger::new();
    give(
        &mut pair,
        forger.packet(&[piece(1, 0, Delivery::ReliableOrdered, 1), message(1, 3), message(2, 4)]),
    );
    assert!(pair.received[SERVER].is_empty());
    for index in [0, 1] {
        give(&mut pair, forger.packet(&[piece(2, 0, Delivery::ReliableOrdered, index)]));
    }
    assert_eq!(pair.received[SERVER].len(), 1);
    give(&mut pair, forger.packet(&[piece(1, 0, Delivery::ReliableOrdered, 0)]));
    assert_eq!(pair.payloads(SERVER).iter().map(|bytes| bytes.len()).collect::<Vec<_>>(), [20, 20, 3, 4]);
    assert_eq!(pair.ends[SERVER].receive_buffer.held(), 0);
}

/// A waiting message is counted by its own bytes, so it must not keep more than these.
// spec-test: REL-12
#[test]
fn a_message_that_waits_does_not_keep_its_datagram() {
    let mut pair = Pair::new(44);
    let mut forger = Forger::new();
    let filler = Message { head: MessageHead::Unreliable, payload: vec![0; 1_000].into() };
    give(&mut pair, forger.packet(&[Frame::Message(filler), message(1, 1), message(2, 1)]));
    give(&mut pair, forger.packet(&[message(0, 1)]));
    let received = &pair.received[SERVER];
    assert_eq!(received.len(), 4);
    assert!(received.iter().skip(2).all(|(.., payload)| payload.is_unique()), "slices of one datagram");
}

/// A server that names a stream opens all below it as well.
#[test]
fn a_flood_of_streams_ends_at_their_number() {
    let mut seal = keys().server_keys().seal;
    let first_of = |stream| {
        let place = Place { stream: StreamId(stream), number: Truncated::bits8(0) };
        let head = MessageHead::Numbered { place, delivery: Delivery::ReliableOrdered };
        Frame::Message(Message { head, payload: Bytes::new() })
    };
    let max = MAX_STREAMS;
    let too_many = Some(Closed::Violation(ProtocolViolation::TooManyStreams { max }));
    for jump in [1_024, 5_000, u32::MAX] {
        let mut pair = Pair::new(45);
        let mut give = |pair: &mut Pair, number: u64, stream| {
            let packet = seal_as_server(&mut seal, number, &[first_of(stream)]);
            assert_eq!(pair.ends[CLIENT].handle_packet(pair.now, SERVER_ADDRESS.into(), packet), Ok(()));
            assert!(pair.ends[CLIENT].receive_streams.len() <= max);
            pair.flush();
        };
        for stream in 2..500 {
            give(&mut pair, stream.into(), stream);
        }
        assert_eq!(pair.closed[CLIENT], None);
        give(&mut pair, 1_000, jump);
        assert_eq!(pair.closed[CLIENT], too_many);
    }
}

/// Each ack costs a walk over what is in flight, and a packet may cost one such walk.
// spec-test: ACK-6, ACK-8
#[test]
fn of_the_acks_in_a_packet_the_first_is_taken() {
    let mut pair = Pair::new(46);
    for n in 0..5u8 {
        pair.send(SERVER, Delivery::Unreliable, &[n]);
        pair.flush();
    }
    let ack = |largest, first| {
        Frame::Ack(Ack {
            largest: Truncated::bits32(largest),
            delay: 0,
            runs: Some((first, smallvec![])),
            repaired: Lags::new(),
        })
    };
    let under_way = |pair: &Pair| pair.ends[SERVER].sent.bytes_in_flight();
    let each = under_way(&pair) / 5;
    let mut forger = Forger::new();
    give(&mut pair, forger.packet(&[ack(0, 1), ack(3, 4), ack(4, 5)]));
    assert_eq!(under_way(&pair), 4 * each);
    give(&mut pair, forger.packet(&[ack(4, 5)]));
    assert_eq!(under_way(&pair), 0);
}

/// Millions of numbers in one ack, most of them forgotten long ago.
// spec-test: ACK-6
#[test]
fn an_ack_of_the_longest_runs_costs_what_is_under_way() {
    let mut pair = Pair::new(47);
    start_at(&mut pair, 1 << 40, 0);
    for n in 0..5u8 {
        pair.send(SERVER, Delivery::Unreliable, &[n]);
        pair.flush();
    }
    let mut forger = Forger::starting_at(1 << 40);
    let runs = (0..32).map(|_| AckRun { gap: 1, run: 1 << 16 }).collect();
    for _ in 0..10_000 {
        let largest = Truncated::bits32((1 << 40) + 4);
        let ack = Ack {
            largest,
            delay: 0,
            runs: Some((1 << 16, smallvec::SmallVec::clone(&runs))),
            repaired: Lags::new(),
        };
        give(&mut pair, forger.packet(&[Frame::Ack(ack)]));
    }
    assert_eq!(pair.ends[SERVER].sent.bytes_in_flight(), 0);
    assert_eq!(pair.closed[SERVER], None);
}

/// The process has no room, but the peer sends: it is not silent.
// spec-test: CON-3, REL-14
#[test]
fn what_is_dropped_for_want_of_room_is_a_sign_of_life_once() {
    let mut pair = Pair::new(48);
    pair.ends[SERVER].share_budgets(&memory::budgets(0, 0));
    let mut forger = Forger::new();
    give(&mut pair, forger.packet(&[Frame::Ping]));
    let drop = |pair: &mut Pair, packet| {
        let dropped = pair.ends[SERVER].handle_packet(pair.now, CLIENT_ADDRESS.into(), packet);
        assert_eq!(dropped, Err(PacketDropped::OverBudget));
        pair.now += SECOND;
        pair.ends[SERVER].handle_timeout(pair.now);
        pair.flush();
    };
    for _ in 0..20 {
        drop(&mut pair, forger.packet(&[message(1, 100)]));
    }
    assert_eq!(pair.closed[SERVER], None);
    let copied = forger.packet(&[message(1, 100)]);
    for _ in 0..10 {
        assert_eq!(pair.closed[SERVER], None);
        drop(&mut pair, copied.clone());
    }
    assert_eq!(
        pair.closed[SERVER],
        Some(Closed::TimedOut),
        "whoever copies the peer's packets is not the peer"
    );
}
