//! Numbers given in the specification, tested from both sides.

use smallvec::smallvec;

use super::attacks::{Forger, fragment, place};
use super::floods::give;
use super::*;
use crate::base::Truncated;
use crate::wire::frame::{Ack, Frame, Lags, Message, MessageHead};

/// A message counts 64 bytes more than it has.
// spec-test: REL-12
#[test]
fn a_peer_may_fill_the_receive_buffer_to_its_last_byte() {
    let config = ConnectionConfig { receive_buffer_bytes: 65_536, ..ConnectionConfig::default() };
    let beyond = Closed::Violation(ProtocolViolation::ReceiveBuffer { max: 65_536 });
    for (total, held, closed) in [(65_472, 65_536, None), (65_473, 0, Some(beyond))] {
        let mut pair = Pair::with_config(3, config);
        give(&mut pair, Forger::new().packet(&[fragment(0, 64, total, 0)]));
        assert_eq!(pair.closed[SERVER], closed, "{total}");
        assert_eq!(pair.ends[SERVER].receive_buffer.held(), held, "{total}");
    }
}

/// None of the values before it need have left.
// spec-test: REL-10
#[test]
fn only_a_number_with_a_key_may_be_beyond_the_window() {
    for (delivery, may_be) in [
        (Delivery::ReliableOrdered, false),
        (Delivery::ReliableUnordered, false),
        (Delivery::ReliableLatest { key: 1 }, true),
        (Delivery::Sequenced { key: 2 }, true),
    ] {
        let mut pair = Pair::new(1);
        let head = MessageHead::Numbered { place: place(5_000), delivery };
        let message = Frame::Message(Message { head, payload: Bytes::from_static(b"far") });
        give(&mut pair, Forger::new().packet(&[message]));
        assert_eq!(pair.payloads(SERVER) == [b"far"], may_be, "{delivery:?}");
        let beyond = Closed::Violation(ProtocolViolation::BeyondWindow { number: 5_000 });
        assert_eq!(pair.closed[SERVER], (!may_be).then_some(beyond), "{delivery:?}");
    }
}

// spec-test: CLO-1
#[test]
fn a_close_of_an_unknown_code_is_one_of_none() {
    for code in [10, 999] {
        let mut pair = Pair::new(1);
        let reason = "of a later version".to_owned();
        give(&mut pair, Forger::new().packet(&[Frame::Close(Close { code, reason: reason.clone() })]));
        assert_eq!(pair.closed[SERVER], Some(Closed::ByPeer { code: CloseCode::None, reason }));
    }
}

/// Returns `times` distances, in packets, from one number that the server skips to the next.
fn left_out(seed: u64, times: usize) -> Vec<u64> {
    let (mut pair, mut forger) = (Pair::new(seed), Forger::new());
    let (mut gaps, mut gap) = (vec![], 0);
    while gaps.len() < times {
        pair.now += Duration::from_millis(1);
        pair.send(SERVER, Delivery::Unreliable, b"x");
        let number = pair.ends[SERVER].sent.next_number().0;
        assert!(pair.ends[SERVER].poll_transmit(pair.now, &mut BytesMut::new()).is_some());
        gap += 1;
        if pair.ends[SERVER].sent.next_number().0 > number + 1 {
            gaps.push(std::mem::take(&mut gap));
        }
        let runs = Some((1, smallvec![]));
        let ack = Ack { largest: Truncated::bits32(number), delay: 0, runs, repaired: Lags::new() };
        give(&mut pair, forger.packet(&[Frame::Ack(ack)]));
    }
    gaps
}

/// A peer that knew the skipped numbers would ack all others.
// spec-test: ACK-7
#[test]
fn the_numbers_left_out_are_one_in_1000_and_chosen_at_random() {
    let [first, second] = [1, 2].map(|seed| left_out(seed, 32));
    assert!(first.iter().zip(&second).all(|(a, b)| a != b), "{first:?} {second:?}");
    let all: std::collections::BTreeSet<u64> = first.iter().chain(&second).copied().collect();
    assert!(all.len() > 56, "ever other gaps: {all:?}");
    let mean = first.iter().chain(&second).sum::<u64>() / 64;
    assert!((800..=1_200).contains(&mean), "{mean}");
}
