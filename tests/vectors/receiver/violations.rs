//! Packets that close the connection.

use bytes::Bytes;
use rallypoint::base::{StreamId, Truncated};
use rallypoint::wire::Delivery;
use rallypoint::wire::frame::{Fragment, FragmentHead, Frame, Place};

use super::acks::ack;
use super::script::{ORDERED, Script, UNORDERED, fragment, latest, message, sequenced, wide};

/// Number 3 was left out (ACK-7).
const SENT: &[u64] = &[0, 1, 2, 4];

pub(super) fn scripts() -> Vec<Script> {
    let mut scripts = frames();
    scripts.extend(acks());
    scripts.extend(messages());
    scripts.extend(fragments());
    scripts
}

fn frames() -> Vec<Script> {
    vec![
        Script::new("violation: a frame of no type, nothing of the packet is handled")
            .bytes(0, "23 00 00 02 6869 1f"),
        Script::new("violation: a frame of no type behind a CLOSE").bytes(0, "04 05 00 1f"),
        Script::new("violation: the last message has its length")
            .bytes(0, "23 00 00 02 6869 23 00 01 02 6869"),
    ]
}

fn acks() -> Vec<Script> {
    let acks = |name, ack| {
        let begun = Script::new(name).after_sending(SENT);
        begun.packet(0, &[message(ORDERED, 0, 0, "before"), ack, message(ORDERED, 0, 1, "behind")])
    };
    vec![
        acks("violation: an ack of a number above all that were sent", ack(100, Some((1, &[])), &[])),
        acks("violation: an ack of a number that was left out", ack(4, None, &[])),
        acks("violation: a run that has a number that was left out", ack(4, Some((2, &[(2, 1)])), &[])),
        acks("violation: an ack whose first run goes below 0", ack(2, Some((4, &[])), &[])),
        acks("violation: an ack whose gap goes below 0", ack(2, Some((2, &[(2, 1)])), &[])),
        acks("violation: a number as repaired that was left out", ack(4, Some((1, &[])), &[1])),
        acks("violation: a repaired number below 0", ack(2, Some((1, &[])), &[3])),
        acks("violation: more packets marked than sent", Frame::CeCount(100)),
        // Number 3 is remembered as long as 2 is not settled.
        Script::new("violation: the second of two acks names a number that was left out")
            .after_sending(SENT)
            .packet(0, &[ack(4, Some((1, &[(2, 2)])), &[])])
            .packet(1, &[ack(4, Some((3, &[])), &[])]),
    ]
}

fn messages() -> Vec<Script> {
    vec![
        Script::new("violation: an ordered message beyond the window").packet(
            0,
            &[
                message(ORDERED, 1, 0, "before"),
                wide(ORDERED, 1, 4_097, "x"),
                message(ORDERED, 1, 1, "behind"),
            ],
        ),
        Script::new("violation: an unordered message beyond the window")
            .packet(0, &[wide(UNORDERED, 1, 4_096, "x")]),
        Script::new("violation: a client takes 1,024 streams and no more")
            .packet(0, &[message(ORDERED, 1_023, 0, "the 1,024th")])
            .packet(1, &[message(ORDERED, 1_024, 0, "one too many")]),
        Script::new("violation: a finished stream makes room for one and not for two")
            .packet(0, &[message(ORDERED, 1_023, 0, "the 1,024th")])
            .finish(5)
            .packet(1, &[message(ORDERED, 1_024, 0, "in its place")])
            .packet(2, &[message(ORDERED, 1_025, 0, "one too many")]),
    ]
}

fn fragments() -> Vec<Script> {
    let first = |delivery| fragment(delivery, 0, "abcd", (0, 2));
    vec![
        Script::new("violation: fragments of one message with different totals")
            .packet(0, &[first(ORDERED)])
            .packet(1, &[fragment(ORDERED, 0, "abcdefgh", (1, 2))]),
        Script::new("violation: with different totals, although it was cut anew")
            .packet(0, &[first(ORDERED)])
            .packet(1, &[fragment(ORDERED, 0, "abcdefgh", (1, 3))]),
        Script::new("violation: with different keys")
            .packet(0, &[first(latest(7))])
            .packet(1, &[fragment(latest(8), 0, "abcd", (1, 2))]),
        Script::new("violation: the whole message while fragments of it wait")
            .packet(0, &[first(UNORDERED)])
            .packet(1, &[message(UNORDERED, 1, 0, "abcd")]),
        Script::new("violation: a sequenced message with the number of a latest one whose fragments wait")
            .packet(0, &[first(latest(7))])
            .packet(1, &[message(sequenced(8), 1, 0, "abcd")]),
        Script::new("violation: a message larger than the end takes")
            .packet(0, &[begun(UNORDERED, 0, 1_200)])
            .packet(1, &[begun(UNORDERED, 1, 1_201)]),
        // 51 messages count as 64,464 bytes, and one more exceeds the buffer by 192 bytes.
        Script::new("violation: more incomplete messages than the end has room for")
            .packet(0, &(0..51).map(|number| begun(UNORDERED, number, 1_200)).collect::<Vec<_>>())
            .packet(1, &[begun(UNORDERED, 51, 1_200)]),
        out_of_order(),
    ]
}

/// An empty message counts as 64 bytes, so 1,024 that wait for number 0 have room.
fn out_of_order() -> Script {
    let begun = Script::new("violation: more messages out of order than the end has room for");
    let waiting =
        |first: u64| (first..first + 128).map(|number| wide(ORDERED, 1, number, "")).collect::<Vec<_>>();
    (0..8)
        .fold(begun, |script, packet| script.packet(packet, &waiting(1 + packet * 128)))
        .packet(8, &[wide(ORDERED, 1, 1_025, "")])
}

/// Returns the first fragment of a message that has 600 or more.
fn begun(delivery: Delivery, number: u64, total: u32) -> Frame {
    let place = Place { stream: StreamId(1), number: Truncated::bits8(number) };
    let head = FragmentHead { place, delivery, count: total.div_ceil(2), total, index: 0 };
    Frame::Fragment(Fragment { head, payload: Bytes::from(vec![b'x'; head.payload_bytes()]) })
}
