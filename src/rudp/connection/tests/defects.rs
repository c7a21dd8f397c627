//! Regression tests, one per defect found.

use super::*;
use crate::base::{PacketNumber, Truncated};
use crate::rudp::connection::outbox::Passed;
use crate::wire::frame::{Frame, Message, MessageHead, Place};

#[test]
fn a_finished_stream_whose_last_message_is_sequenced_is_forgotten() {
    let mut pair = Pair::new(1);
    pair.send(SERVER, Delivery::Sequenced { key: 1 }, b"last");
    pair.ends[SERVER].finish_stream(STREAM);
    pair.run(SECOND);
    pair.ends[SERVER].audit();
}

/// There is no room for one part of a packet, which is dropped; its other part moves the position. An older
/// packet that arrives after it is late, although no packet as new counts as received.
// spec-test: STR-10, REL-14
#[test]
fn a_packet_is_late_also_behind_one_that_was_dropped() {
    let (mut pair, mut forger) = (Pair::new(1), attacks::Forger::new());
    pair.ends[SERVER].share_budgets(&memory::budgets(0, 0));
    let value = |number: Truncated, payload: &'static [u8]| {
        let place = Place { stream: STREAM, number };
        let head = MessageHead::Numbered { place, delivery: Delivery::ReliableLatest { key: 1 } };
        Frame::Message(Message { head, payload: payload.into() })
    };
    let first = forger.packet(&[Frame::Ping]);
    let old = forger.packet(&[value(Truncated::bits8(60), b"old")]);
    let dropped = forger.packet(&[attacks::message(5, 10), value(Truncated::bits32(300), b"new")]);
    let results = [first, dropped, old]
        .map(|packet| pair.ends[SERVER].handle_packet(pair.now, CLIENT_ADDRESS.into(), packet));
    assert_eq!(results, [Ok(()), Err(PacketDropped::OverBudget), Err(PacketDropped::TooLate)]);
    pair.flush();
    assert_eq!(pair.payloads(SERVER), [b"new"]);
}

/// A fragment declared lost arrives after all; then another one of its message is really lost.
#[test]
fn a_fragment_lost_after_another_came_late_is_sent_again() {
    let config = ConnectionConfig::default();
    let mut outbox = Outbox::new(&config, &config.parameters());
    outbox.open(STREAM);
    let payload = Bytes::from(vec![7; 3_000]).into();
    outbox.push(STREAM, Delivery::ReliableOrdered, payload).unwrap();
    let mut fragments = vec![];
    while let Some(next) = outbox.next(&mut Passed::default()) {
        fragments.extend(outbox.on_sent(&next));
    }
    let [Some((message, first)), Some((_, second)), _] = [0, 1, 2].map(|at| match fragments[at] {
        sent::SentFrame::Fragment(message, fragment) => Some((message, fragment)),
        _ => None,
    }) else {
        panic!("three fragments")
    };
    outbox.on_lost(message, Some(first));
    outbox.on_acked(message, Some(first));
    assert!(outbox.next(&mut Passed::default()).is_none());
    outbox.on_lost(message, Some(second));
    assert!(outbox.next(&mut Passed::default()).is_some());
}

/// Messages that wait for room in the peer's buffer must not hide those that occupy it.
#[test]
fn many_large_messages_all_arrive_through_a_small_buffer() {
    let config = ConnectionConfig { receive_buffer_bytes: 1 << 16, ..ConnectionConfig::default() };
    let mut pair = Pair::with_config(2, config);
    for n in 0..60 {
        pair.send(CLIENT, Delivery::ReliableUnordered, &[n; 20_000]);
    }
    pair.run(SECOND * 20);
    assert_eq!(pair.received[SERVER].len(), 60);
}

/// A message that overtakes keeps its room in the peer's buffer until the one that it overtook has arrived.
#[test]
fn small_messages_do_not_take_the_room_of_the_large_one_before_them() {
    let config = ConnectionConfig { receive_buffer_bytes: 1 << 16, ..ConnectionConfig::default() };
    let mut pair = Pair::with_config(4, config);
    for bytes in [40_000, 60_000] {
        pair.send(CLIENT, Delivery::ReliableOrdered, &vec![1; bytes]);
    }
    for _ in 0..800 {
        pair.send(CLIENT, Delivery::ReliableOrdered, &[2; 10]);
    }
    pair.run(SECOND * 10);
    assert_eq!(pair.received[SERVER].len(), 802);
}

/// The receiver's position does not move until a message is whole, so an acked fragment is no reason to write
/// the number in one byte.
// spec-test: STR-5
#[test]
fn a_value_in_fragments_arrives_although_many_before_it_never_left() {
    for seed in 0..20 {
        let mut pair = Pair::new(seed);
        pair.loss = 0.3;
        for n in 0..300u16 {
            pair.send(CLIENT, Delivery::ReliableLatest { key: 1 }, &n.to_be_bytes());
        }
        pair.send(CLIENT, Delivery::ReliableLatest { key: 1 }, &[7; 6_000]);
        pair.run(SECOND * 3);
        assert_eq!(pair.payloads(SERVER), [[7; 6_000]], "seed {seed}");
        assert_eq!(pair.ends[SERVER].receive_buffer.held(), 0, "seed {seed}");
    }
}

#[test]
fn limits_out_of_range_are_those_that_the_peer_was_told() {
    let config = ConnectionConfig { max_message_bytes: 500, ..ConnectionConfig::default() };
    let mut pair = Pair::with_config(3, config);
    pair.send(CLIENT, Delivery::ReliableOrdered, &[1; 1_100]);
    pair.run(SECOND);
    assert_eq!(pair.received[SERVER].len(), 1);
}

/// The peer learns of the new phase late; what it seals until then still opens.
// spec-test: KEY-4, KEY-7
#[test]
fn the_old_key_stays_until_the_peer_has_the_new_one() {
    let (mut client, mut server) =
        (KeyPhases::new(keys().client_keys()), KeyPhases::new(keys().server_keys()));
    let (now, keep) = (Timestamp::from_millis(5), Duration::from_millis(1));
    client.renew_after(1);
    client.seal(PacketNumber(0), &[], &mut []);
    client.on_acked(PacketNumber(0));
    assert!(client.is_renewal_due());
    client.renew(now, keep);
    assert!(client.phase());
    let mut open = |at, phase, number, server: &mut KeyPhases| {
        let mut sealed = server.seal(PacketNumber(number), &[], &mut []);
        client.open(at, keep, phase, PacketNumber(number), &[], &mut sealed).is_some()
    };
    assert!(open(now + SECOND, false, 9, &mut server), "long after the renewal");
    server.renew_after(1);
    server.on_acked(PacketNumber(9));
    let old = server.seal(PacketNumber(10), &[], &mut []);
    assert!(server.is_renewal_due());
    server.renew(now, keep);
    assert!(open(now + SECOND, true, 11, &mut server));
    let mut late = |at| client.open(at, keep, false, PacketNumber(10), &[], &mut old.clone()).is_some();
    assert!(late(now + SECOND), "so soon after the peer's");
    assert!(!late(now + SECOND + keep), "but not long after it");
}
