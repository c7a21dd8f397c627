//! REPAIR: lost messages arrive without a round trip, and at no cost when nothing is lost.

use super::attacks::Forger;
use super::trace::{Seen, seen, traced};
use super::*;
use crate::base::Truncated;
use crate::rudp::connection::controller::{Acked, Controller, Lost, Marked};
use crate::rudp::connection::repair::symbol;
use crate::wire::frame::{Ack, Frame, Lags, Message, MessageHead, Place, Repair};

const TICK: Duration = Duration::from_millis(8);
const DELIVERY: Delivery = Delivery::ReliableOrdered;

/// Returns a pair whose server knows its round trip and has measured losses.
fn lossy(share_percent: usize) -> Pair {
    let mut pair = Pair::new(9);
    for n in 0..20u8 {
        pair.send(SERVER, DELIVERY, &[n]);
        pair.run(TICK);
    }
    pair.run(SECOND);
    pair.received = [vec![], vec![]];
    let loss = pair.ends[SERVER].repair_encoder.loss_mut();
    (0..2_000).for_each(|packet| if packet % 100 < share_percent { loss.on_lost() } else { loss.on_acked() });
    pair
}

/// Sends `count` messages of the server, numbered from 0, a tick apart. The packets of those in `lost` do not
/// arrive.
fn stream(pair: &mut Pair, count: u8, lost: &[u8]) {
    for n in 0..count {
        pair.send(SERVER, DELIVERY, &[n; 40]);
        pair.loss = if lost.contains(&n) { 1.0 } else { 0.0 };
        pair.flush();
        pair.loss = 0.0;
        pair.run(TICK);
    }
}

/// Otherwise it would do so forever, since every connection begins with REPAIRs.
#[test]
fn an_end_at_rest_remembers_nothing_to_repair_with() {
    let mut pair = Pair::new(9);
    stream(&mut pair, 100, &[]);
    assert!(!pair.ends[CLIENT].repair_decoder.is_blank());
    pair.run(SECOND);
    assert!(pair.ends[CLIENT].repair_decoder.is_blank());
    stream(&mut pair, 3, &[1]);
    pair.run(SECOND);
    assert_eq!(pair.payloads(CLIENT).len(), 103);
}

fn firsts(pair: &Pair) -> Vec<u8> {
    pair.payloads(CLIENT).iter().map(|payload| payload[0]).collect()
}

// spec-test: REP-2, FRM-10
#[test]
fn a_single_loss_is_repaired_by_the_next_packet() {
    let mut pair = lossy(5);
    stream(&mut pair, 6, &[4]);
    // The one-way delay is 20 ms: what has arrived by now left 20 ms ago, and no ack of the gap has come
    // back.
    pair.run(Duration::from_millis(13));
    assert_eq!(firsts(&pair), [0, 1, 2, 3, 4, 5]);
    assert_eq!(pair.ends[CLIENT].stats().packets_repaired, 1);
    pair.run(SECOND);
    assert_eq!(firsts(&pair), [0, 1, 2, 3, 4, 5], "what is sent again is not delivered again");
}

// spec-test: REP-2
#[test]
fn two_losses_in_a_row_are_repaired_without_a_round_trip() {
    let mut pair = lossy(5);
    stream(&mut pair, 9, &[4, 5]);
    pair.run(Duration::from_millis(13));
    assert_eq!(firsts(&pair), (0..9).collect::<Vec<_>>());
    assert_eq!(pair.ends[CLIENT].stats().packets_repaired, 2);
}

// spec-test: REP-3
#[test]
fn a_packet_that_nothing_follows_is_repaired_by_one_of_its_own() {
    let mut pair = lossy(5);
    stream(&mut pair, 4, &[3]);
    pair.run(Duration::from_millis(14 + 20));
    assert_eq!(firsts(&pair), [0, 1, 2, 3], "14 ms after it left, and 20 ms on the way");
}

/// The XOR of a packet and its retransmission would be zero, and a packet needs no REPAIR of what it carries.
// spec-test: REP-2, REP-3
#[test]
fn what_leaves_again_is_covered_once_and_not_beside_itself() {
    let mut pair = lossy(5);
    stream(&mut pair, 3, &[]);
    pair.run(SECOND);
    let log = traced(&mut pair, SERVER);
    pair.dark_until = pair.now + 5 * SECOND;
    pair.send(SERVER, DELIVERY, b"tail");
    pair.run(SECOND);
    let events = seen(&log);
    let repairs = events.windows(2).filter_map(|two| match two {
        [(_, Seen::RepairSent(covered)), (_, Seen::Sent(_, beside))] => Some((covered.len(), beside.len())),
        _ => None,
    });
    assert_eq!(repairs.collect::<Vec<_>>(), [(1, 0); 2], "of the packet and of its first probe: {events:?}");
    let copies =
        events.iter().filter(|(_, seen)| matches!(seen, Seen::Sent(_, messages) if !messages.is_empty()));
    assert!(copies.count() > 3, "{events:?}");
}

/// The probe after a loss carries more than the packet that was lost: only the probe is worth a REPAIR then.
// spec-test: REP-2
#[test]
fn what_has_left_again_beside_other_messages_is_not_covered() {
    let mut pair = lossy(10);
    stream(&mut pair, 3, &[]);
    pair.run(SECOND);
    let log = traced(&mut pair, SERVER);
    pair.dark_until = pair.now + 5 * SECOND;
    for message in [b"first", b"later"] {
        pair.send(SERVER, DELIVERY, message);
        pair.run(TICK + TICK / 2);
    }
    pair.run(SECOND);
    let (mut sent, mut covered, mut repairs) = (Vec::new(), Vec::new(), 0);
    for (_, event) in seen(&log) {
        match event {
            Seen::RepairSent(packets) => covered.extend(packets),
            Seen::Sent(packet, messages) => {
                sent.push((packet, messages));
                for covered in covered.drain(..) {
                    let at = sent.iter().position(|(packet, _)| *packet == covered).unwrap();
                    let (before, later) = sent.split_at(at + 1);
                    let again = |held: &[_]| before[at].1.iter().all(|message| held.contains(message));
                    assert!(!later.iter().any(|(_, held)| again(held)), "{covered} of {sent:?}");
                    repairs += 1;
                }
            }
            _ => {}
        }
    }
    let both = sent.iter().filter(|(_, messages)| messages.len() == 2).count();
    assert!(both > 0 && repairs > 2, "{both} packets with both, {repairs} repairs: {sent:?}");
}

// spec-test: REP-1
#[test]
fn without_losses_repairs_end_soon() {
    let mut pair = Pair::new(3);
    stream(&mut pair, 200, &[]);
    stream(&mut pair, 200, &[]);
    let repairs = |pair: &Pair| [0, 1].map(|end| pair.ends[end].stats().repairs_sent);
    let before = repairs(&pair);
    assert!((50..=400).contains(&before[SERVER]), "{before:?}");
    stream(&mut pair, 200, &[]);
    assert_eq!(repairs(&pair), before);
}

// spec-test: REP-1
#[test]
fn who_says_little_learns_from_the_peer_that_nothing_is_lost() {
    for (lost, repairs) in [(&[][..], false), (&[10], true)] {
        let mut pair = Pair::new(3);
        // A skipped number also counts as missing.
        pair.ends[SERVER].next_skip = crate::base::PacketNumber::MAX;
        stream(&mut pair, 200, lost);
        stream(&mut pair, 200, &[]);
        assert_eq!(pair.ends[CLIENT].repair_encoder.is_on(), repairs, "lost: {lost:?}");
    }
}

// spec-test: REP-1
#[test]
fn repairs_end_when_nothing_is_lost_any_more() {
    let mut pair = lossy(5);
    for _ in 0..10 {
        stream(&mut pair, 200, &[]);
    }
    let before = pair.ends[SERVER].stats().repairs_sent;
    assert!(before > 100);
    stream(&mut pair, 200, &[]);
    assert_eq!(pair.ends[SERVER].stats().repairs_sent, before);
}

/// One packet arrives after it was declared lost.
// spec-test: REP-1
#[test]
fn a_loss_that_was_none_ends_repairs_again() {
    let mut pair = lossy(0);
    stream(&mut pair, 1, &[]);
    pair.send(SERVER, DELIVERY, b"late");
    pair.flush();
    let late = pair.wires.pop_back().unwrap();
    stream(&mut pair, 10, &[]);
    assert!(pair.ends[SERVER].repair_encoder.is_on());
    pair.wires.push_back(late);
    pair.run(Duration::from_millis(30));
    assert!(!pair.ends[SERVER].repair_encoder.is_on());
}

/// Unreliable messages, which are never repaired, do not displace earlier packets.
// spec-test: REP-2
#[test]
fn nothing_is_repaired_that_was_acked() {
    let mut pair = lossy(1);
    stream(&mut pair, 40, &[]);
    pair.run(SECOND / 2);
    let before = pair.ends[SERVER].stats().repairs_sent;
    for _ in 0..40 {
        pair.send(SERVER, Delivery::Unreliable, b"none");
        pair.run(Duration::from_millis(20));
    }
    assert_eq!(pair.ends[SERVER].stats().repairs_sent, before);
}

// spec-test: REP-4
#[test]
fn repairs_stay_within_their_budget() {
    let config = ConnectionConfig { repair_bytes_per_second: 1_000, ..ConnectionConfig::default() };
    let mut pair = Pair::with_config(4, config);
    let loss = pair.ends[SERVER].repair_encoder.loss_mut();
    (0..2_000).for_each(|_| loss.on_lost());
    stream(&mut pair, 125, &[]);
    let repairs = pair.ends[SERVER].stats().repairs_sent;
    // Each has 52 bytes, and the budget starts with a second's worth.
    assert!((30..=40).contains(&repairs), "{repairs}");
    assert_eq!(ConnectionConfig::default().repair_bytes_per_second, 65_536);
}

/// A controller that lets nothing more leave.
struct Shut;

impl Controller for Shut {
    fn on_acked(&mut self, _: Timestamp, _: &Acked) {}
    fn on_lost(&mut self, _: Timestamp, _: &Lost) {}
    fn on_marked(&mut self, _: Timestamp, _: &Marked) {}
    fn on_spurious(&mut self) {}
    fn window_bytes(&self) -> usize {
        0
    }
    fn is_in_slow_start(&self) -> bool {
        false
    }
}

/// The last packet sent is due for a REPAIR of its own.
// spec-test: REP-4
#[test]
fn no_repair_leaves_while_the_window_is_full() {
    for is_full in [false, true] {
        let mut pair = lossy(10);
        pair.dark_until = Timestamp::MAX;
        pair.send(SERVER, DELIVERY, b"a source");
        pair.flush();
        if is_full {
            let smoothed = pair.ends[SERVER].rtt();
            pair.ends[SERVER].congestion.replace(Box::new(Shut), smoothed);
        }
        let before = pair.ends[SERVER].stats().repairs_sent;
        // Longer than until the first probes, which carry messages.
        pair.run(Duration::from_millis(if is_full { 1_000 } else { 15 }));
        assert_eq!(pair.ends[SERVER].stats().repairs_sent == before, is_full);
        assert_eq!(pair.ends[SERVER].stats().probes > 2, is_full);
    }
}

// spec-test: FRM-10, ACK-11
#[test]
fn a_packet_that_is_repaired_is_lost_but_what_it_held_is_not_sent_again() {
    let mut pair = lossy(5);
    let lost = pair.ends[SERVER].stats().packets_lost;
    stream(&mut pair, 6, &[4]);
    let sent = pair.ends[SERVER].stats().packets_sent;
    pair.run(Duration::from_millis(200));
    let stats = pair.ends[SERVER].stats();
    assert_eq!((stats.packets_lost, stats.packets_sent), (lost + 1, sent));
    assert_eq!((firsts(&pair).len(), pair.ends[SERVER].queued_bytes()), (6, 0));
}

/// Message 4 waits for message 3, and there is no room for it.
// spec-test: ACK-11, REL-14
#[test]
fn what_could_be_repaired_but_not_kept_is_sent_again() {
    let mut pair = lossy(30);
    let config = ConnectionConfig::default();
    pair.ends[CLIENT].receive_buffer =
        stream::ReceiveBuffer::new(config.receive_buffer_bytes, MemoryBudget::new(0));
    stream(&mut pair, 3, &[]);
    for n in 3..8u8 {
        let is_lost = n < 5;
        pair.loss = f64::from(u8::from(is_lost));
        pair.send(SERVER, if is_lost { DELIVERY } else { Delivery::ReliableUnordered }, &[n; 40]);
        pair.run(TICK);
    }
    pair.run(SECOND);
    let mut arrived = firsts(&pair);
    assert!(arrived.iter().position(|n| *n == 3) < arrived.iter().position(|n| *n == 4));
    arrived.sort_unstable();
    assert_eq!(arrived, Vec::from_iter(0..8));
}

/// What would be recovered is neither a message nor an error.
// spec-test: FRM-8
#[test]
fn a_repair_of_a_packet_that_has_come_without_messages_repairs_nothing() {
    for symbol in [&[0, 0, 0][..], &[0, 1, 0xff], &[9; 20]] {
        let mut pair = Pair::new(1);
        let mut forger = Forger::new();
        let repair = Repair { lags: Lags::from_slice(&[1]), symbol: Bytes::from_static(symbol) };
        for frames in [vec![Frame::Ping], vec![Frame::Repair(repair)]] {
            let packet = forger.packet(&frames);
            assert_eq!(pair.ends[SERVER].handle_packet(pair.now, CLIENT_ADDRESS.into(), packet), Ok(()));
        }
        pair.flush();
        let stats = pair.ends[SERVER].stats();
        assert_eq!((stats.packets_repaired, &pair.closed[SERVER]), (0, &None), "{symbol:?}");
    }
}

/// A gap that the packet itself fills costs no ack of its own.
// spec-test: ACK-4
#[test]
fn a_gap_that_is_repaired_asks_for_no_prompt_ack() {
    for (share, acks) in [(5, 0), (0, 1)] {
        let mut pair = lossy(share);
        stream(&mut pair, 4, &[]);
        pair.run(SECOND);
        let loss = pair.ends[SERVER].repair_encoder.loss_mut();
        (0..2_000).for_each(|packet| if packet % 100 < share { loss.on_lost() } else { loss.on_acked() });
        let sent = pair.ends[CLIENT].stats().packets_sent;
        stream(&mut pair, 2, &[0]);
        pair.run(Duration::from_millis(13));
        assert_eq!(pair.ends[CLIENT].stats().packets_sent, sent + acks, "{share}");
    }
}

// spec-test: REP-1
#[test]
fn the_first_loss_of_a_connection_is_repaired() {
    let mut pair = Pair::new(9);
    pair.run(SECOND);
    stream(&mut pair, 20, &[10]);
    assert_eq!(pair.ends[CLIENT].stats().packets_repaired, 1);
}

fn frame(payload: &'static [u8], number: u64) -> (MessageHead, Payload) {
    let place = Place { stream: STREAM, number: Truncated::bits8(number) };
    (MessageHead::Numbered { place, delivery: DELIVERY }, Bytes::from_static(payload).into())
}

/// The example in frames.md.
// spec-test: FRM-9
#[test]
fn a_symbol_is_that_of_the_specification() {
    let symbol = symbol::of([frame(b"hi", 7), frame(b"yo", 8)].into_iter()).unwrap();
    assert_eq!(&symbol[..], b"\x00\x0b\x23\x01\x07\x02hi\x33\x01\x08yo");
}

// spec-test: FRM-9
#[test]
fn a_packet_with_too_much_or_nothing_to_repair_has_no_symbol() {
    assert_eq!(symbol::of(std::iter::empty()), None);
    assert_eq!(symbol::of(std::iter::once(frame(&[7; 510], 1))), None);
    assert!(symbol::of(std::iter::once(frame(&[7; 509], 1))).is_some());
    let unreliable = (MessageHead::Unreliable, Bytes::from_static(b"x").into());
    assert_eq!(symbol::of(std::iter::once(unreliable)), None);
    let place = Place { stream: STREAM, number: Truncated::bits8(1) };
    let head = MessageHead::Numbered { place, delivery: Delivery::Sequenced { key: 1 } };
    assert_eq!(symbol::of(std::iter::once((head, Bytes::from_static(b"x").into()))), None);
}

/// Returns how a client closes, if it does, when a server sends one REPAIR of packet 0, which never arrived.
fn answer(symbol: &'static [u8]) -> Option<Closed> {
    let mut pair = Pair::new(1);
    let mut seal = keys().server_keys().seal;
    let repair =
        Frame::Repair(Repair { lags: [1].into_iter().collect(), symbol: Bytes::from_static(symbol) });
    let packet = attacks::seal_as_server(&mut seal, 1, &[repair]);
    assert_eq!(pair.ends[CLIENT].handle_packet(pair.now, SERVER_ADDRESS.into(), packet), Ok(()));
    pair.flush();
    assert!(
        pair.ends[CLIENT].acks.take(pair.now).is_none_or(|ack: Ack| ack.runs.is_some_and(|it| it.0 == 1))
    );
    pair.closed[CLIENT].clone()
}

/// The REPAIR is in packet 1, where one that covers packet 0 alone would repair it.
// spec-test: FRM-8
#[test]
fn a_repair_that_reaches_below_packet_0_repairs_nothing() {
    for (lags, repaired) in [(&[1][..], 1), (&[1, 2], 0)] {
        let mut pair = Pair::new(1);
        let symbol = Bytes::from_static(b"\x00\x05\x33\x01\x00hi");
        let repair = Frame::Repair(Repair { lags: Lags::from_slice(lags), symbol });
        let packet = attacks::seal_as_server(&mut keys().server_keys().seal, 1, &[repair]);
        assert_eq!(pair.ends[CLIENT].handle_packet(pair.now, SERVER_ADDRESS.into(), packet), Ok(()));
        pair.flush();
        assert_eq!((pair.payloads(CLIENT).len(), &pair.closed[CLIENT]), (repaired, &None), "{lags:?}");
    }
}

/// The REPAIR arrives first. The late packet then completes a newer one, whose messages move the position far
/// ahead.
// spec-test: FRM-10, STR-10
#[test]
fn a_late_packet_is_not_read_against_what_it_repairs() {
    let mut pair = Pair::new(1);
    let mut seal = keys().server_keys().seal;
    let value = |number, key, payload: &'static [u8]| {
        let place = Place { stream: STREAM, number };
        let head = MessageHead::Numbered { place, delivery: Delivery::ReliableLatest { key } };
        (head, Bytes::from_static(payload))
    };
    let late = value(Truncated::bits8(0), 1, b"late value");
    let lost = value(Truncated::bits32(198), 2, b"lost it");
    let symbols = [&late, &lost].map(|(head, payload)| {
        symbol::of(std::iter::once((*head, payload.clone().into()))).expect("it is short")
    });
    let symbol: Vec<u8> = symbols[0].iter().zip(&symbols[1]).map(|(a, b)| a ^ b).collect();
    let repair = Frame::Repair(Repair { lags: [1, 2].into_iter().collect(), symbol: symbol.into() });
    let (head, payload) = late;
    for (number, frame) in [(2, repair), (0, Frame::Message(Message { head, payload }))] {
        let packet = attacks::seal_as_server(&mut seal, number, &[frame]);
        assert_eq!(pair.ends[CLIENT].handle_packet(pair.now, SERVER_ADDRESS.into(), packet), Ok(()));
    }
    pair.flush();
    assert_eq!(pair.payloads(CLIENT), [&b"late value"[..], b"lost it"]);
}

/// The number of one message is ambiguous since packet 1 arrived, and for the other one there is no room.
/// Neither would be taken from packet 0 itself.
// spec-test: FRM-10, ACK-11
#[test]
fn what_is_repaired_but_not_taken_is_not_named() {
    let value = |number, key, payload: &'static [u8]| {
        let place = Place { stream: STREAM, number };
        let head = MessageHead::Numbered { place, delivery: Delivery::ReliableLatest { key } };
        (head, Payload::from(Bytes::from_static(payload)))
    };
    for (lost, named) in [
        (value(Truncated::bits8(0), 1, b"ambiguous"), false),
        (frame(b"out of its turn", 1), false),
        (frame(b"in its turn", 0), true),
    ] {
        let mut pair = Pair::new(1);
        let room = ConnectionConfig::default().receive_buffer_bytes;
        pair.ends[CLIENT].receive_buffer = stream::ReceiveBuffer::new(room, MemoryBudget::new(0));
        let symbol = symbol::of(std::iter::once(lost)).unwrap();
        let repair = Frame::Repair(Repair { lags: [2].into_iter().collect(), symbol });
        let (head, payload) = value(Truncated::bits32(300), 2, b"far");
        let far = Frame::Message(Message { head, payload: payload.body });
        let mut seal = keys().server_keys().seal;
        for (number, frame) in [(1, far), (2, repair)] {
            let packet = attacks::seal_as_server(&mut seal, number, &[frame]);
            assert_eq!(pair.ends[CLIENT].handle_packet(pair.now, SERVER_ADDRESS.into(), packet), Ok(()));
        }
        let ack = pair.ends[CLIENT].acks.take(pair.now).unwrap();
        assert_eq!(ack.repaired.as_slice(), if named { &[2][..] } else { &[] });
        assert_eq!(pair.ends[CLIENT].receive_buffer.held(), 0);
        pair.flush();
        assert_eq!(pair.payloads(CLIENT).len(), 1 + usize::from(named));
    }
}

/// There is no memory for what must wait for its turn.
// spec-test: ACK-4
#[test]
fn a_gap_whose_repair_is_not_taken_is_told_at_once() {
    for (lost, is_told) in [(frame(b"in its turn", 0), false), (frame(b"out of its turn", 1), true)] {
        let mut pair = Pair::new(1);
        let room = ConnectionConfig::default().receive_buffer_bytes;
        pair.ends[CLIENT].receive_buffer = stream::ReceiveBuffer::new(room, MemoryBudget::new(0));
        let repair =
            Repair { lags: Lags::from_slice(&[1]), symbol: symbol::of(std::iter::once(lost)).unwrap() };
        let mut seal = keys().server_keys().seal;
        let mut take = |pair: &mut Pair, number, frame| {
            let packet = attacks::seal_as_server(&mut seal, number, &[frame]);
            assert_eq!(pair.ends[CLIENT].handle_packet(pair.now, SERVER_ADDRESS.into(), packet), Ok(()));
        };
        // The first packets of a connection are acked at once.
        (0..8).for_each(|number| take(&mut pair, number, Frame::Ping));
        pair.flush();
        take(&mut pair, 9, Frame::Repair(repair));
        let acks = &pair.ends[CLIENT].acks;
        assert!(acks.is_pending());
        assert_eq!(acks.deadline() == Some(pair.now), is_told);
    }
}

// spec-test: FRM-10
#[test]
fn a_repair_of_a_message_that_may_not_be_closes() {
    let too_far = answer(b"\x00\x08\x3b\x01\x00\x00\x20\x00hi");
    assert_eq!(too_far, Some(Closed::Violation(ProtocolViolation::BeyondWindow { number: 8_192 })));
}

// spec-test: FRM-10
#[test]
fn a_repair_of_something_else_than_reliable_messages_closes() {
    assert_eq!(answer(b"\x00\x05\x33\x01\x00hi"), None);
    let not_repairable = Some(Closed::Violation(ProtocolViolation::NotRepairable));
    assert_eq!(answer(b"\x00\x01\x01"), not_repairable, "PING");
    assert_eq!(answer(b"\x00\x03\x30hi"), not_repairable, "an unreliable message");
    assert_eq!(answer(b"\x00\x07\x31\x01\x00\x00\x01hi"), not_repairable, "a sequenced message");
    for symbol in
        [&b"\x00\x09\x33\x01\x00hi"[..], b"\x00\x05\x33\x01\x00hi\x01", b"\x00\x00\x00", b"\x00\x02\x33\x01"]
    {
        let violation = answer(symbol);
        assert!(matches!(violation, Some(Closed::Violation(ProtocolViolation::Decode(_)))), "{symbol:?}");
    }
}
