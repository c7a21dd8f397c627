//! Frames: the contents of an opened packet.

use bytes::Bytes;
use rallypoint::base::{StreamId, Truncated};
use rallypoint::wire::Delivery;
use rallypoint::wire::frame::{
    Ack, AckRun, Close, Fragment, FragmentHead, Frame, Lags, Message, MessageHead, Place, Repair,
    read_frames, write_frames,
};
use serde_json::{Value, json};

use super::{Vectors, delivery_json, hex, truncated_json, unhex, written};

// spec-test: FRM-1, FRM-2, FRM-3, FRM-4, FRM-5, FRM-8, ACK-3, WIR-3
#[test]
fn frames() {
    let mut vectors = Vectors::new("frames");
    for (name, frames) in good() {
        let bytes = written(|writer| write_frames(&frames, writer));
        assert_eq!(read_frames(bytes.clone()), Ok(frames.clone().into()), "{name}");
        vectors.good(name, &bytes, frames.iter().map(frame_json).collect());
    }
    for (name, bytes) in BAD {
        let bytes = unhex(bytes);
        let error = read_frames(Bytes::from(bytes.clone())).expect_err(name);
        vectors.bad(name, &bytes, error);
    }
    vectors.settle();
}

/// The bytes of the example in frames.md.
// spec-test: ACK-3
#[test]
fn the_example_of_the_spec() {
    let runs = [AckRun { gap: 2, run: 2 }, AckRun { gap: 3, run: 1 }];
    let ack = Ack {
        largest: Truncated::Bits16(10),
        delay: 7,
        runs: Some((3, runs.into_iter().collect())),
        repaired: Lags::new(),
    };
    assert_eq!(
        written(|writer| write_frames(&[Frame::Ack(ack)], writer)),
        unhex("0a 000a 07 02 02 01 01 02 00")
    );
}

fn good() -> Vec<(&'static str, Vec<Frame>)> {
    let clean = |largest| Frame::Ack(Ack { largest, delay: 3, runs: None, repaired: Lags::new() });
    let repaired = |runs: Option<(u64, &[(u64, u64)])>, lags: &[u8]| {
        let run = |&(gap, run): &(u64, u64)| AckRun { gap, run };
        let runs = runs.map(|(first, runs)| (first, runs.iter().map(run).collect()));
        Frame::Ack(Ack { largest: Truncated::Bits16(900), delay: 255, runs, repaired: lags.into() })
    };
    let runs = |first, runs: &[(u64, u64)]| repaired(Some((first, runs)), &[]);
    let close = |code, reason: &str| Frame::Close(Close { code, reason: reason.into() });
    let ordered = Delivery::ReliableOrdered;
    vec![
        ("ping", vec![Frame::Ping]),
        ("path challenge", vec![Frame::PathChallenge(*b"01234567")]),
        ("path response", vec![Frame::PathResponse(*b"01234567")]),
        ("close without a reason", vec![close(0, "")]),
        ("close with a reason", vec![close(5, "bis später")]),
        ("close with the largest code and reason", vec![close(16_383, &"x".repeat(128))]),
        ("clean ack, 16 bits", vec![clean(Truncated::Bits16(0xfffe))]),
        ("clean ack, 32 bits", vec![clean(Truncated::Bits32(0x0001_0000))]),
        ("ack with its first run alone", vec![runs(1, &[])]),
        ("ack with gaps", vec![runs(3, &[(2, 2), (3, 1)])]),
        ("ack with long runs", vec![runs(65_536, &[(65_536, 65_536)])]),
        ("ack with 32 gaps", vec![runs(1, &[(1, 1); 32])]),
        ("ack of a repaired packet", vec![repaired(None, &[1])]),
        ("ack with gaps and repaired packets", vec![repaired(Some((3, &[(2, 2)])), &[4, 5, 255])]),
        ("ack of 16 repaired packets", vec![repaired(None, &Vec::from_iter(1..=16))]),
        ("repair of one packet", vec![repair(&[1], b"\x00\x05\x33\x01\x07hi")]),
        ("repair of four packets", vec![repair(&[1, 2, 7, 255], b"\x00\x00\x10")]),
        ("repair before a message", vec![repair(&[1, 3], &[0x5a; 514]), unreliable(b"x")]),
        ("no packet met congestion", vec![clean(Truncated::Bits16(2)), Frame::CeCount(0)]),
        ("300 packets met congestion", vec![clean(Truncated::Bits16(900)), Frame::CeCount(300)]),
        ("padding", vec![Frame::Ping, Frame::Padding(5)]),
        ("padding without a zero", vec![Frame::Padding(0)]),
        ("a message before padding has its length", vec![unreliable(b"hello"), Frame::Padding(2)]),
        ("unreliable message", vec![unreliable(b"hello")]),
        ("sequenced message", vec![message(Delivery::Sequenced { key: 0x0102 }, 1, 9, b"at 3,4")]),
        ("unordered message", vec![message(Delivery::ReliableUnordered, 2, 255, b"x")]),
        ("ordered message", vec![message(ordered, 70, 0, b"on a stream of two bytes")]),
        ("latest message", vec![message(Delivery::ReliableLatest { key: 65_535 }, 3, 1, b"door open")]),
        ("empty message", vec![message(ordered, 0, 1, b"")]),
        ("message with a number of 32 bits", vec![wide(ordered, 1, 0x0102_0304, b"y")]),
        ("message on the last stream", vec![message(ordered, u32::MAX, 1, b"z")]),
        (
            "several frames: only the last leaves its length out",
            vec![
                clean(Truncated::Bits16(1)),
                message(ordered, 0, 1, b"one"),
                unreliable(b""),
                message(ordered, 0, 2, b"three"),
            ],
        ),
        ("a message before a ping has its length", vec![message(ordered, 0, 1, b"one"), Frame::Ping]),
        ("first fragment", vec![fragment(ordered, 3, 10, 0), Frame::Ping]),
        ("last fragment, shorter", vec![fragment(ordered, 3, 10, 2)]),
        ("fragments of one byte", vec![fragment(Delivery::ReliableUnordered, 2, 2, 1)]),
        ("fragment of a latest message", vec![fragment(Delivery::ReliableLatest { key: 7 }, 2, 9, 0)]),
        ("fragment of the largest message", vec![fragment(ordered, 1_024, 1 << 20, 1_023)]),
    ]
}

const BAD: &[(&str, &str)] = &[
    ("no frame", ""),
    ("type 0", "00"),
    ("unknown type", "1f"),
    ("padding that is not zeros", "06 00 01"),
    ("ce count cut", "07"),
    ("ce count not in its shortest form", "07 4001"),
    ("type between ack and message", "10 0000 00"),
    ("ack of no repaired packet", "0c 0384 00 00"),
    ("ack of 17 repaired packets", "0c 0384 00 11 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f 10 11"),
    ("ack of itself as repaired", "0c 0384 00 01 00"),
    ("ack of a repaired packet twice", "0c 0384 00 02 01 01"),
    ("ack with cut lags", "0c 0384 00 02 01"),
    ("repair of no packet", "05 00 03 000133"),
    ("repair of five packets", "05 05 01 02 03 04 05 03 000133"),
    ("repair of itself", "05 01 00 03 000133"),
    ("repair of a packet twice", "05 02 01 01 03 000133"),
    ("repair with lags out of order", "05 02 02 01 03 000133"),
    ("repair with a symbol too short", "05 01 01 02 0000"),
    ("repair with a symbol above 514 bytes", "05 01 01 4203"),
    ("repair with a cut symbol", "05 01 01 04 000133"),
    ("type above fragment", "60"),
    ("unknown type after a known one", "01 ff"),
    ("cut path challenge", "02 00000000000000"),
    ("close code above its range", "04 80004000 00"),
    ("close code not in its shortest form", "04 4005 00"),
    (
        "close reason longer than 128 bytes",
        "04 00 4081 616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161",
    ),
    ("close reason that is not UTF-8", "04 00 02 c328"),
    ("close reason cut", "04 00 03 6162"),
    ("ack cut", "08 00"),
    ("ack with 33 gaps", "0a 0384 00 21 00"),
    ("ack with a run above 65,536", "0a 0384 00 00 80010000"),
    ("ack with a cut gap", "0a 0384 00 01 00 00"),
    ("unreliable message with a number's width", "38 00"),
    ("mode 5", "35 00 01 78"),
    ("mode 7", "37 00 01 78"),
    ("the last message has a length", "23 00 01 01 78"),
    ("length beyond the packet", "23 00 01 05 78"),
    ("length above 65,535", "23 00 01 80010000 01"),
    ("stream above 32 bits", "33 c000000100000000 01 78"),
    ("stream not in its shortest form", "33 4001 01 78"),
    ("message without its key", "31 00 01 00"),
    ("fragment of an unreliable message", "50 00 01 02 02 00 78"),
    ("fragment of a sequenced message", "51 00 01 0007 02 02 00 78"),
    ("fragment of mode 5", "55 00 01 02 02 00 78"),
    ("fragment count 1", "53 00 01 01 01 00 78"),
    ("fragment count above 1,024", "53 00 01 4401 4401 00 78"),
    ("fragments without a byte each", "53 00 01 03 02 00 78"),
    ("message above 1 MiB", "53 00 01 02 80100001 00 78"),
    ("fragment index equal to the count", "53 00 01 02 02 02 78"),
    ("fragment shorter than its unit", "53 00 01 02 04 00 78"),
    ("last fragment longer than what remains", "53 00 01 02 03 01 7879"),
    ("nothing remains for the last fragment", "53 00 01 04 05 00 7879"),
];

fn unreliable(payload: &'static [u8]) -> Frame {
    Frame::Message(Message { head: MessageHead::Unreliable, payload: Bytes::from_static(payload) })
}

fn message(delivery: Delivery, stream: u32, number: u8, payload: &'static [u8]) -> Frame {
    let place = Place { stream: StreamId(stream), number: Truncated::Bits8(number) };
    let head = MessageHead::Numbered { place, delivery };
    Frame::Message(Message { head, payload: Bytes::from_static(payload) })
}

fn wide(delivery: Delivery, stream: u32, number: u32, payload: &'static [u8]) -> Frame {
    let place = Place { stream: StreamId(stream), number: Truncated::Bits32(number) };
    let head = MessageHead::Numbered { place, delivery };
    Frame::Message(Message { head, payload: Bytes::from_static(payload) })
}

fn repair(lags: &[u8], symbol: &'static [u8]) -> Frame {
    Frame::Repair(Repair { lags: lags.iter().copied().collect(), symbol: Bytes::from_static(symbol) })
}

fn fragment(delivery: Delivery, count: u32, total: u32, index: u32) -> Frame {
    let place = Place { stream: StreamId(5), number: Truncated::Bits8(200) };
    let head = FragmentHead { place, delivery, count, total, index };
    Frame::Fragment(Fragment { head, payload: vec![0x61; head.payload_bytes()].into() })
}

pub(crate) fn frame_json(frame: &Frame) -> Value {
    match frame {
        Frame::Ping => json!({ "type": "ping" }),
        Frame::PathChallenge(data) => json!({ "type": "path_challenge", "data": hex(data) }),
        Frame::PathResponse(data) => json!({ "type": "path_response", "data": hex(data) }),
        Frame::Close(close) => json!({ "type": "close", "code": close.code, "reason": close.reason }),
        Frame::Repair(Repair { lags, symbol }) => {
            json!({ "type": "repair", "lags": lags.as_slice(), "symbol": hex(symbol) })
        }
        Frame::Padding(zeros) => json!({ "type": "padding", "zeros": zeros }),
        Frame::CeCount(count) => json!({ "type": "ce_count", "count": count }),
        Frame::Ack(ack) => ack_json(ack),
        Frame::Message(Message { head, payload }) => match head {
            MessageHead::Unreliable => json!({
                "type": "message", "delivery": delivery_json(Delivery::Unreliable), "payload": hex(payload),
            }),
            MessageHead::Numbered { place, delivery } => json!({
                "type": "message", "stream": place.stream.0, "number": truncated_json(place.number),
                "delivery": delivery_json(*delivery), "payload": hex(payload),
            }),
        },
        Frame::Fragment(Fragment { head, payload }) => json!({
            "type": "fragment", "stream": head.place.stream.0, "number": truncated_json(head.place.number),
            "delivery": delivery_json(head.delivery), "count": head.count, "total": head.total,
            "index": head.index, "payload": hex(payload),
        }),
    }
}

fn ack_json(ack: &Ack) -> Value {
    let runs = ack.runs.as_ref().map(|(first, then)| {
        let then: Vec<Value> =
            then.iter().map(|AckRun { gap, run }| json!({ "gap": gap, "run": run })).collect();
        json!({ "first": first, "then": then })
    });
    let (largest, repaired) = (truncated_json(ack.largest), ack.repaired.as_slice());
    json!({ "type": "ack", "largest": largest, "delay": ack.delay, "runs": runs, "repaired": repaired })
}
