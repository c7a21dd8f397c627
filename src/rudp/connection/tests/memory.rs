//! Memory that the connections of a process share.

use super::attacks::{Forger, message};
use super::floods::{give, piece};
use super::*;
use crate::base::Truncated;
use crate::wire::frame::{Frame, Message, MessageHead, Place};

/// Returns the budgets of a process, with `receive` and `send` bytes.
pub(super) fn budgets(receive: usize, send: usize) -> MemoryBudgets {
    MemoryBudgets { receive: MemoryBudget::new(receive), ..MemoryBudgets::new(0, send) }
}

pub(super) fn send(pair: &mut Pair, delivery: Delivery, bytes: usize) -> Result<Sent, SendError> {
    pair.ends[SERVER].send(pair.now, STREAM, delivery, Bytes::from(vec![7; bytes]).into())
}

fn pairs(count: u64, budgets: &MemoryBudgets) -> Vec<Pair> {
    let pair = |seed| {
        let mut pair = Pair::new(seed);
        pair.ends[SERVER].share_budgets(budgets);
        pair
    };
    (0..count).map(pair).collect()
}

// spec-test: REL-13
#[test]
fn what_waits_for_many_slow_readers_has_a_ceiling() {
    const OWN: usize = 160 << 10;
    let budgets = budgets(0, 1 << 20);
    let mut slow = pairs(8, &budgets);
    let mut refused = 0;
    for _ in 0..50 {
        for pair in &mut slow {
            match send(pair, Delivery::ReliableOrdered, 20_000) {
                Ok(_) => {}
                Err(SendError::WouldBlock) => refused += 1,
                Err(error) => panic!("{error}"),
            }
        }
        let queued: usize = slow.iter().map(|pair| pair.ends[SERVER].queued_bytes()).sum();
        assert!(queued <= (1 << 20) + 8 * OWN && budgets.send.held() <= 1 << 20, "{queued} bytes wait");
    }
    assert!(refused > 200, "{refused} were refused");
    // A peer that takes what it is sent is not affected.
    let mut quick = pairs(1, &budgets).remove(0);
    for _ in 0..10 {
        assert_eq!(send(&mut quick, Delivery::ReliableOrdered, 100_000), Ok(Sent::Queued));
        quick.run(SECOND);
    }
    assert_eq!(quick.received[CLIENT].len(), 10);
    let held = budgets.send.held();
    slow[0].run(10 * SECOND);
    assert!(budgets.send.held() < held, "what was acked is given back");
    assert_eq!(send(&mut slow[1], Delivery::ReliableOrdered, 20_000), Ok(Sent::Queued));
    slow[1].ends[SERVER].close(Timestamp::from_millis(1_000), CloseCode::None, "");
    drop(slow);
    assert_eq!(budgets.send.held(), 0);
}

/// A sender that waits for room gets it eventually.
// spec-test: REL-13
#[test]
fn what_no_empty_buffer_takes_is_too_large() {
    let config = ConnectionConfig { send_buffer_bytes: 30_000, ..ConnectionConfig::default() };
    let mut pair = Pair::with_config(8, config);
    let max = 30_000 - 64;
    let delivery = Delivery::ReliableOrdered;
    assert_eq!(pair.ends[SERVER].max_payload_bytes(delivery), max);
    assert_eq!(send(&mut pair, delivery, max + 1), Err(SendError::TooLarge { bytes: max + 1, max }));
    assert_eq!(send(&mut pair, delivery, max), Ok(Sent::Queued));
    assert_eq!(send(&mut pair, delivery, 0), Err(SendError::WouldBlock));
}

// spec-test: REL-13
#[test]
fn a_value_has_the_room_of_the_one_that_it_replaces() {
    let config = ConnectionConfig { send_buffer_bytes: 30_000, ..ConnectionConfig::default() };
    let mut pair = Pair::with_config(8, config);
    let value = Delivery::ReliableLatest { key: 1 };
    assert_eq!(send(&mut pair, value, 20_000), Ok(Sent::Queued));
    assert_eq!(send(&mut pair, value, 20_000), Ok(Sent::Superseded));
    assert_eq!(send(&mut pair, Delivery::ReliableLatest { key: 2 }, 20_000), Err(SendError::WouldBlock));
    pair.run(SECOND * 5);
    assert_eq!(pair.received[CLIENT].len(), 1);
    // A value that has begun to leave in fragments is sent to the end.
    assert_eq!(send(&mut pair, value, 20_000), Ok(Sent::Queued));
    pair.flush();
    assert_eq!(send(&mut pair, value, 20_000), Err(SendError::WouldBlock));
}

/// Sequenced messages are in no budget once they have left.
#[test]
fn little_must_be_remembered_of_a_packet() {
    let mut pair = Pair::new(9);
    for n in 0..64 {
        let sequenced = Delivery::Sequenced { key: n };
        let delivery = if n % 2 == 0 { Delivery::ReliableUnordered } else { sequenced };
        assert_eq!(send(&mut pair, delivery, 0), Ok(Sent::Queued));
    }
    let before = pair.ends[SERVER].stats().packets_sent;
    pair.flush();
    assert_eq!(pair.ends[SERVER].stats().packets_sent - before, 4, "16 in each, though all would fit one");
    let remembered = pair.ends[SERVER].sent.frames_in_flight().count();
    assert!((64..72).contains(&remembered), "{remembered}");
}

// spec-test: REL-11
#[test]
fn without_memory_for_more_old_unreliable_messages_give_way() {
    let config = ConnectionConfig { unreliable_buffer_bytes: 1 << 20, ..ConnectionConfig::default() };
    let mut pair = Pair::with_config(8, config);
    pair.ends[SERVER].share_budgets(&budgets(0, 0));
    for n in 0..200 {
        let delivery = if n % 2 == 0 { Delivery::Unreliable } else { Delivery::Sequenced { key: n } };
        assert_eq!(send(&mut pair, delivery, 1_000), Ok(Sent::Queued));
    }
    let kept = (160 << 10) / 1_064;
    assert_eq!(pair.ends[SERVER].stats().messages_shed, 200 - kept);
    assert_eq!(send(&mut pair, Delivery::ReliableOrdered, 1_000), Err(SendError::WouldBlock));
    pair.run(5 * SECOND);
    assert_eq!(pair.received[CLIENT].len() as u64, kept);
    assert_eq!(send(&mut pair, Delivery::ReliableOrdered, 1_000), Ok(Sent::Queued));
}

/// Each connection keeps small messages that wait for a large one, which finds no room beside those of the
/// other connections.
// spec-test: REL-14
#[test]
fn connections_do_not_wait_for_each_others_memory_for_ever() {
    const LARGE: usize = 60_000;
    const MAX: usize = 70_000;
    let budgets = budgets(MAX, 0);
    let mut pairs = pairs(3, &budgets);
    for pair in &mut pairs {
        // The fragments are lost; the messages behind them are not.
        pair.mtu = 1_100;
        pair.send(CLIENT, Delivery::ReliableOrdered, &[0; LARGE]);
        (1..=20).for_each(|n| pair.send(CLIENT, Delivery::ReliableOrdered, &[n; 1_000]));
        pair.run(SECOND);
        pair.mtu = usize::MAX;
    }
    assert_eq!(budgets.receive.held(), 3 * 20 * 1_064);
    for _ in 0..1_000 {
        for pair in &mut pairs {
            pair.run(Duration::from_millis(10));
            assert!(budgets.receive.held() <= MAX + 3 * (LARGE + 64));
        }
    }
    for pair in &pairs {
        let firsts: Vec<u8> = pair.payloads(SERVER).iter().map(|payload| payload[0]).collect();
        assert_eq!(firsts, Vec::from_iter(0..=20));
    }
    assert_eq!(budgets.receive.held(), 0);
}

/// Others that begin messages of a gigabyte delay no connection with small ones.
// spec-test: REL-14
#[test]
fn the_first_bytes_of_each_connection_are_its_own() {
    let budgets = MemoryBudgets::new(0, 1 << 30);
    let mut pair = pairs(1, &budgets).remove(0);
    let mut forger = Forger::new();
    let number = |number| message(number, 1_000);
    give(&mut pair, forger.packet(&[Frame::Ping]));
    let mut kept = 0;
    while pair.ends[SERVER]
        .handle_packet(pair.now, CLIENT_ADDRESS.into(), forger.packet(&[number(kept + 1)]))
        .is_ok()
    {
        kept += 1;
        assert!(kept < 1_000);
    }
    assert_eq!(kept, (64 << 10) / 1_064);
    assert_eq!(budgets.receive.held(), 0);
    give(&mut pair, forger.packet(&[number(0)]));
    assert_eq!(pair.payloads(SERVER).len() as u64, kept + 1);
}

/// Neither waits for the other, but there is only the room of one of them.
// spec-test: REL-14
#[test]
fn without_memory_two_messages_of_a_packet_are_one_too_many() {
    let budgets = budgets(0, 0);
    let mut pair = pairs(1, &budgets).remove(0);
    let mut forger = Forger::new();
    give(&mut pair, forger.packet(&[Frame::Ping]));
    let pieces = [Delivery::ReliableOrdered, Delivery::ReliableUnordered].map(|it| piece(1, 0, it, 0));
    let packet = forger.packet(&pieces);
    let dropped = pair.ends[SERVER].handle_packet(pair.now, CLIENT_ADDRESS.into(), packet);
    assert_eq!((dropped, budgets.receive.held()), (Err(PacketDropped::OverBudget), 84));
}

/// A peer that completes nothing gets one message more than there is memory for, however many it begins.
// spec-test: REL-14
#[test]
fn without_memory_one_message_of_a_connection_is_taken_at_a_time() {
    let budgets = budgets(0, 0);
    let mut pair = pairs(1, &budgets).remove(0);
    pair.ends[SERVER].open_stream(StreamId(2));
    let mut forger = Forger::new();
    let ordered = |stream, number, index| piece(stream, number, Delivery::ReliableOrdered, index);
    give(&mut pair, forger.packet(&[ordered(1, 0, 0)]));
    let drop = |pair: &mut Pair, packet| {
        let dropped = pair.ends[SERVER].handle_packet(pair.now, CLIENT_ADDRESS.into(), packet);
        assert_eq!(dropped, Err(PacketDropped::OverBudget));
        pair.flush();
    };
    for more in [
        ordered(2, 0, 0),
        ordered(1, 1, 0),
        piece(1, 0, Delivery::ReliableUnordered, 0),
        piece(1, 0, Delivery::ReliableLatest { key: 1 }, 1),
        message(2, 10),
    ] {
        drop(&mut pair, forger.packet(&[more]));
        assert_eq!(budgets.receive.held(), 84);
    }
    assert!(pair.received[SERVER].is_empty());
    // The rest of it comes in a packet with a message for which there is no room, as it would again and
    // again.
    let packet = [message(2, 10), ordered(1, 0, 1), Frame::Ping, message(1, 3)];
    drop(&mut pair, forger.packet(&packet));
    assert_eq!((pair.payloads(SERVER).len(), budgets.receive.held()), (2, 0));
    drop(&mut pair, forger.packet(&[message(4, 10)]));
    give(&mut pair, forger.packet(&packet));
    assert_eq!(pair.payloads(SERVER).iter().map(|bytes| bytes.len()).collect::<Vec<_>>(), [20, 3, 10]);
    give(&mut pair, forger.packet(&[ordered(2, 0, 0)]));
    assert_eq!(budgets.receive.held(), 84);
}

/// What has already arrived needs no memory, and all fragments of a message count as one message, so a packet
/// of these is acked.
// spec-test: REL-14
#[test]
fn without_memory_a_message_in_pieces_of_one_packet_is_taken_and_old_ones_are_acked() {
    let all = [Delivery::ReliableOrdered, Delivery::ReliableUnordered, Delivery::ReliableLatest { key: 2 }];
    for delivery in all {
        let mut pair = pairs(1, &budgets(0, 0)).remove(0);
        let mut forger = Forger::new();
        let both = [0, 1].map(|index| piece(1, 0, delivery, index));
        for _ in 0..3 {
            give(&mut pair, forger.packet(&both));
        }
        // A message that waits does not shut out old ones either.
        give(&mut pair, forger.packet(&[piece(1, 7, Delivery::ReliableUnordered, 0)]));
        give(&mut pair, forger.packet(&both));
        assert_eq!(pair.payloads(SERVER).len(), 1, "{delivery:?}");
    }
}

/// One number with two keys denotes two messages.
// spec-test: REL-14
#[test]
fn without_memory_a_whole_message_lets_no_piece_of_another_key_in() {
    let budgets = budgets(0, 0);
    let mut pair = pairs(1, &budgets).remove(0);
    let mut forger = Forger::new();
    give(&mut pair, forger.packet(&[piece(1, 7, Delivery::ReliableUnordered, 0)]));
    let held = budgets.receive.held();
    for number in 0..10 {
        let head = MessageHead::Numbered {
            place: Place { stream: StreamId(1), number: Truncated::bits32(number) },
            delivery: Delivery::ReliableLatest { key: 1 },
        };
        let whole = Frame::Message(Message { head, payload: Bytes::from_static(b"x") });
        let other = piece(1, number, Delivery::ReliableLatest { key: 2 }, 0);
        let packet = forger.packet(&[whole, other]);
        let taken = pair.ends[SERVER].handle_packet(pair.now, CLIENT_ADDRESS.into(), packet);
        assert_eq!((taken, budgets.receive.held()), (Err(PacketDropped::OverBudget), held));
        pair.flush();
    }
}

/// There is room for the fragments of one of the messages, so nearly everything sent is dropped.
// spec-test: REL-14
#[test]
fn without_memory_many_large_messages_arrive_one_after_the_other() {
    const MESSAGES: usize = 9;
    let mut pair = pairs(1, &budgets(0, 0)).remove(0);
    pair.send(CLIENT, Delivery::ReliableOrdered, b"hello");
    pair.run(SECOND);
    for n in 1..=MESSAGES {
        pair.send(CLIENT, Delivery::ReliableUnordered, &[n as u8; 17_920]);
    }
    pair.run(SECOND * 60);
    assert_eq!(pair.received[SERVER].len(), 1 + MESSAGES, "some still wait");
}

/// Small messages wait for a large one, which finds no room beside another that lacks a fragment. All that a
/// probe carries is dropped.
// spec-test: REL-7, REL-14
#[test]
fn without_memory_a_probe_without_messages_tells_what_was_lost() {
    // Without size probes and REPAIRs, whose acks would reveal it as well.
    let config = ConnectionConfig {
        max_datagram_bytes: 1_200,
        repair_bytes_per_second: 0,
        ..ConnectionConfig::default()
    };
    for seed in 0..100 {
        let mut pair = Pair::with_config(seed, config);
        pair.ends[SERVER].share_budgets(&budgets(0, 0));
        pair.send(CLIENT, Delivery::ReliableOrdered, b"hello");
        pair.run(SECOND);
        pair.loss = 0.5;
        pair.send(CLIENT, Delivery::ReliableUnordered, &[1; 2_000]);
        pair.send(CLIENT, Delivery::ReliableOrdered, &[2; 2_000]);
        pair.flush();
        pair.loss = 0.0;
        (3..6).for_each(|n| pair.send(CLIENT, Delivery::ReliableOrdered, &[n; 20]));
        pair.run(SECOND * 30);
        assert_eq!(pair.received[SERVER].len(), 6, "seed {seed}");
    }
}

/// A connection is not established, and delivers nothing, until it has accepted a whole packet of the peer.
// spec-test: REL-14
#[test]
fn without_memory_the_first_packet_hands_nothing_up() {
    let mut pair = pairs(1, &budgets(0, 0)).remove(0);
    let mut forger = Forger::new();
    let first = forger.packet(&[message(0, 10), message(2, 10)]);
    let dropped = pair.ends[SERVER].handle_packet(pair.now, CLIENT_ADDRESS.into(), first);
    assert_eq!((dropped, pair.ends[SERVER].poll_event()), (Err(PacketDropped::OverBudget), None));
    give(&mut pair, forger.packet(&[message(0, 10)]));
    assert_eq!(pair.payloads(SERVER), [[0; 10]]);
}

// spec-test: STR-4, REL-14
#[test]
fn without_memory_what_breaks_the_protocol_closes_all_the_same() {
    let mut pair = pairs(1, &budgets(0, 0)).remove(0);
    let mut forger = Forger::new();
    give(&mut pair, forger.packet(&[Frame::Ping]));
    let packet = forger.packet(&[message(2, 10), piece(9, 0, Delivery::ReliableOrdered, 0)]);
    let dropped = pair.ends[SERVER].handle_packet(pair.now, CLIENT_ADDRESS.into(), packet);
    assert_eq!(dropped, Err(PacketDropped::OverBudget));
    pair.flush();
    let unknown = ProtocolViolation::UnknownStream(StreamId(9));
    assert_eq!(pair.closed[SERVER], Some(Closed::Violation(unknown)));
}

/// Many connections are idle, so what few of them need is stored apart.
#[test]
fn a_connection_is_small() {
    assert!(size_of::<Connection>() <= 1_792, "{} bytes", size_of::<Connection>());
}

/// A packet that arrives late then counts as a replay; its sender sends the message again.
// spec-test: PKT-9
#[test]
fn a_connection_at_rest_takes_nothing_older_than_the_newest() {
    let replayed = Err(PacketDropped::Replayed);
    for (rest, unacked, late) in
        [(Duration::from_millis(100), false, Ok(())), (SECOND, false, replayed), (SECOND, true, Ok(()))]
    {
        let mut pair = Pair::new(62);
        pair.dark_until = Timestamp::MAX;
        let mut forger = Forger::new();
        let missing = forger.packet(&[message(0, 10)]);
        give(&mut pair, forger.packet(&[Frame::Ping]));
        if unacked {
            pair.send(SERVER, Delivery::ReliableOrdered, b"waits for an ack");
        }
        pair.run(rest);
        let taken = pair.ends[SERVER].handle_packet(pair.now, CLIENT_ADDRESS.into(), missing);
        assert_eq!(taken, late, "after {rest:?}, unacked: {unacked}");
        give(&mut pair, forger.packet(&[message(0, 10)]));
        assert_eq!(pair.payloads(SERVER), [[0; 10]], "once, after {rest:?}");
    }
}

#[test]
fn a_connection_at_rest_gives_back_what_its_traffic_took() {
    let mut pair = Pair::new(61);
    for n in 0..200u8 {
        pair.send(CLIENT, Delivery::ReliableOrdered, &[n; 40]);
        pair.send(SERVER, Delivery::ReliableOrdered, &[n; 40]);
    }
    let places =
        |pair: &Pair| [0, 1].map(|end| pair.ends[end].sent.capacity() + pair.ends[end].outbox.capacity());
    pair.run(Duration::from_millis(200));
    assert!(places(&pair).iter().all(|places| *places > 100), "{:?}", places(&pair));
    pair.run(SECOND);
    assert_eq!(places(&pair), [0, 0]);
    pair.send(CLIENT, Delivery::ReliableOrdered, b"once more");
    pair.run(SECOND);
    assert_eq!(pair.payloads(SERVER).last(), Some(&&b"once more"[..]));
}
