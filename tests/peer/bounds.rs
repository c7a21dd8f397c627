//! What a connection sends to a peer that acks nothing.

use std::collections::BTreeSet;

use super::*;

fn numbers(heard: &[Opened]) -> Vec<u64> {
    let frames = heard.iter().flat_map(|packet| &packet.frames);
    frames.filter_map(message_number).map(|number| number.expand(0)).collect()
}

/// Numbers of the messages that leave within two seconds.
fn all_numbers(peer: &mut Peer) -> BTreeSet<u64> {
    let mut all = BTreeSet::new();
    for _ in 0..200 {
        all.extend(numbers(&peer.hear()));
        peer.wait(Duration::from_millis(10));
    }
    all
}

// spec-test: REL-1, REL-7
#[test]
fn a_probe_carries_the_small_messages_under_way_again_in_a_new_packet() {
    let mut peer = Peer::new();
    for bytes in [100, 513, 512] {
        peer.send(Delivery::ReliableOrdered, bytes);
    }
    let first = peer.hear();
    assert_eq!(numbers(&first), [0, 1, 2]);
    let last = first.last().unwrap().number;
    // Packets of a REPAIR alone come before.
    let probe = (0..40).find_map(|_| {
        peer.wait(Duration::from_millis(10));
        peer.hear()
            .into_iter()
            .find(|packet| packet.frames.iter().any(|frame| message_number(frame).is_some()))
    });
    let probe = probe.unwrap();
    assert!(probe.number > last);
    assert!(probe.frames.iter().any(Frame::is_ack_eliciting));
    assert_eq!(numbers(std::slice::from_ref(&probe)), [0, 2], "513 bytes are too many");
}

/// An empty message counts 64 bytes of the peer's room.
// spec-test: REL-12
#[test]
fn no_more_leaves_than_the_peer_has_room_for() {
    let room = TransportParameters { receive_buffer_bytes: 65_536, ..TransportParameters::default() };
    let mut peer = Peer::with(room, ConnectionConfig::default());
    (0..2_000).for_each(|_| peer.send(Delivery::ReliableUnordered, 0));
    assert!(all_numbers(&mut peer).into_iter().eq(0..1_024));
    let freed = (0..100).any(|_| {
        peer.ack();
        peer.wait(Duration::from_millis(10));
        numbers(&peer.hear()).contains(&1_024)
    });
    assert!(freed, "acks set it free");
}

// spec-test: REL-10
#[test]
fn no_number_leaves_that_is_beyond_the_window() {
    let mut peer = Peer::new();
    peer.widen_window();
    (0..6_000).for_each(|_| peer.send(Delivery::ReliableUnordered, 0));
    assert!(all_numbers(&mut peer).into_iter().eq(0..4_096));
}

/// The receiver remembers so many keys.
// spec-test: STR-8
#[test]
fn no_keyed_value_leaves_that_is_256_above_one_unsettled() {
    let mut peer = Peer::new();
    (0..600).for_each(|key| peer.send(Delivery::ReliableLatest { key }, 0));
    assert!(all_numbers(&mut peer).into_iter().eq(0..256));
}
