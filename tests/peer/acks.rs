//! When acks are sent, and what they count for.

use rallypoint::wire::frame::{Fragment, FragmentHead, Place, Repair};
use smallvec::smallvec;

use super::*;

fn place(number: u64) -> Place {
    Place { stream: StreamId(0), number: Truncated::bits32(number) }
}

fn message(number: u64) -> Frame {
    let head = MessageHead::Numbered { place: place(number), delivery: Delivery::ReliableUnordered };
    Frame::Message(Message { head, payload: Bytes::from_static(b"x") })
}

fn fragment() -> Frame {
    let delivery = Delivery::ReliableOrdered;
    let head = FragmentHead { place: place(0), delivery, count: 2, total: 20, index: 0 };
    Frame::Fragment(Fragment { head, payload: Bytes::from(vec![0; 10]) })
}

fn is_ack_of(packets: &[Opened], number: u64) -> bool {
    let mut frames = packets.iter().flat_map(|packet| &packet.frames);
    frames.any(|frame| matches!(frame, Frame::Ack(ack) if ack.largest.expand(number) == number))
}

/// A peer past its first packets, which are acked at once.
fn settled() -> Peer {
    let config = ConnectionConfig { max_ack_delay: Duration::from_millis(10), ..ConnectionConfig::default() };
    let mut peer = Peer::with(TransportParameters::default(), config);
    (0..8).for_each(|_| peer.say(&[Frame::Ping]));
    assert!(is_ack_of(&peer.hear(), 7));
    peer
}

// spec-test: ACK-1
#[test]
fn each_packet_that_asks_for_an_ack_gets_one_and_no_other_does() {
    // It covers two packets that held nothing to repair, so it stays unresolved.
    let repair = Repair { lags: smallvec![1, 2], symbol: Bytes::from_static(&[0, 1, 0x33]) };
    let asking = [
        Frame::Ping,
        Frame::PathChallenge([1; 8]),
        Frame::PathResponse([1; 8]),
        Frame::Repair(repair),
        message(0),
        Frame::Message(Message { head: MessageHead::Unreliable, payload: Bytes::new() }),
        fragment(),
    ];
    for frame in asking {
        let mut peer = settled();
        peer.say(std::slice::from_ref(&frame));
        peer.wait(Duration::from_millis(10));
        assert!(is_ack_of(&peer.hear(), 8), "{frame:?}");
    }
    let mut peer = settled();
    peer.say(&[Frame::Padding(20)]);
    peer.ack();
    peer.wait(Duration::from_millis(100));
    assert!(peer.hear().is_empty(), "neither PADDING nor ACK asks for one");
}

// spec-test: ACK-4
#[test]
fn an_ack_leaves_within_its_delay_and_with_the_16th_packet_at_once() {
    let mut peer = settled();
    peer.say(&[message(0)]);
    assert!(peer.hear().is_empty());
    peer.wait(Duration::from_millis(9));
    peer.say(&[message(1)]);
    assert!(peer.hear().is_empty());
    peer.wait(Duration::from_millis(1));
    assert!(is_ack_of(&peer.hear(), 9), "a later packet puts it off no further");

    let mut peer = settled();
    (0..15).for_each(|number| peer.say(&[message(number)]));
    assert!(peer.hear().is_empty());
    peer.say(&[message(15)]);
    assert!(is_ack_of(&peer.hear(), 23));

    let mut peer = settled();
    peer.say(&[Frame::Ping]);
    assert!(is_ack_of(&peer.hear(), 8), "a PING does not wait");

    let mut peer = settled();
    peer.say(&[message(0)]);
    peer.send(Delivery::ReliableOrdered, 1);
    assert!(is_ack_of(&peer.hear(), 8), "it rides on a packet that leaves before");
}

// spec-test: ACK-4
#[test]
fn the_first_8_packets_of_a_connection_are_acked_at_once() {
    let mut peer = Peer::new();
    for number in 0..9 {
        peer.say(&[message(number)]);
        assert_eq!(is_ack_of(&peer.hear(), number), number < 8, "packet {number}");
    }
}

// spec-test: REL-3
#[test]
fn the_delay_that_an_ack_names_counts_up_to_what_was_agreed() {
    let mut peer = Peer::new();
    let mut sample = |round_trip, delay| {
        peer.send(Delivery::ReliableOrdered, 1);
        assert_eq!(peer.hear().len(), 1);
        peer.now += Duration::from_millis(round_trip);
        peer.ack_held_for(delay);
        peer.hear();
        peer.connection.rtt()
    };
    assert_eq!(sample(100, 0), Duration::from_millis(100));
    // 64 ms are claimed and 10 ms agreed: (7 × 100 + 140) / 8.
    assert_eq!(sample(150, 250), Duration::from_millis(105));
    // 105 - 10 is below the smallest sample: (7 × 105 + 105) / 8.
    assert_eq!(sample(105, 250), Duration::from_millis(105));
}
