//! Limits on what a connection sends to a peer that sends no acks.

use std::collections::BTreeSet;

use super::*;

fn numbers(heard: &[Opened]) -> Vec<u64> {
    let frames = heard.iter().flat_map(|packet| &packet.frames);
    frames.filter_map(message_number).map(|number| number.expand(0)).collect()
}

/// Returns the numbers of the messages that are sent within two seconds.
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
    let mut carried = vec![];
    for _ in 0..100 {
        peer.wait(Duration::from_millis(10));
        for packet in peer.hear() {
            assert!(packet.number > last && packet.frames.iter().any(Frame::is_ack_eliciting));
            carried.push(numbers(std::slice::from_ref(&packet)));
        }
    }
    // Packets with only a REPAIR come between.
    carried.retain(|numbers| !numbers.is_empty());
    assert_eq!(carried[..3], [[0], [0], [0]], "128, 256 and 512 bytes");
    assert!(carried[3..].iter().all(|numbers| *numbers == [0, 2]), "513 bytes are too many: {carried:?}");
}

/// An empty message counts as 64 bytes of the peer's receive buffer.
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

/// The receiver remembers 256 keys.
// spec-test: STR-8
#[test]
fn no_keyed_value_leaves_that_is_256_above_one_unsettled() {
    let mut peer = Peer::new();
    (0..600).for_each(|key| peer.send(Delivery::ReliableLatest { key }, 0));
    assert!(all_numbers(&mut peer).into_iter().eq(0..256));
}
