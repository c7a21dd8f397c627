//! Small messages leave before large ones, and neither starves the other.

use super::*;
use crate::rudp::connection::outbox::Passed;
use crate::rudp::connection::sent::SentFrame;
use crate::rudp::connection::stream::SendPart;

const OTHER: StreamId = StreamId(2);
const LARGE: usize = 300_000;

fn pair(receive_buffer_bytes: usize) -> Pair {
    let mut pair =
        Pair::with_config(3, ConnectionConfig { receive_buffer_bytes, ..ConnectionConfig::default() });
    pair.ends[SERVER].open_stream(OTHER);
    pair.ends[CLIENT].open_stream(OTHER);
    pair
}

fn send_other(pair: &mut Pair, payload: &[u8]) -> Result<Sent, SendError> {
    let payload = Bytes::copy_from_slice(payload).into();
    pair.ends[SERVER].send(pair.now, OTHER, Delivery::ReliableOrdered, payload)
}

fn sizes(pair: &Pair) -> Vec<usize> {
    pair.payloads(CLIENT).iter().map(|payload| payload.len()).collect()
}

#[test]
fn a_small_message_does_not_wait_for_a_large_one() {
    let mut pair = pair(1 << 21);
    for _ in 0..100 {
        pair.send(SERVER, Delivery::ReliableOrdered, &[0; 10_000]);
    }
    pair.run(Duration::from_millis(50));
    send_other(&mut pair, &[1; 100]).unwrap();
    pair.run(SECOND * 10);
    assert_eq!(pair.received[CLIENT].len(), 101);
    let before = sizes(&pair).iter().position(|size| *size == 100).unwrap();
    assert!(before < 12, "{before} large ones arrive before it: more than were under way");
}

/// More small messages than the line takes: without its turns the large one would leave after all of them.
#[test]
fn small_messages_leave_a_fifth_of_the_line_to_a_large_one() {
    let mut pair = pair(1 << 21);
    pair.send(SERVER, Delivery::ReliableOrdered, &vec![0; LARGE / 3]);
    let mut sent = 0;
    while !sizes(&pair).contains(&(LARGE / 3)) {
        while send_other(&mut pair, &[1; 1_000]).is_ok() {
            sent += 1;
        }
        pair.run(Duration::from_millis(1));
        assert!(sent < 5_000, "the large message starves");
    }
    let small = sizes(&pair).len() - 1;
    assert!(small > 200, "and the small ones are not kept waiting for it: {small}");
}

/// Returns an outbox with one stream.
fn outbox() -> Outbox {
    let config = ConnectionConfig::default();
    let mut outbox = Outbox::new(&config, &config.parameters());
    outbox.open(STREAM);
    outbox
}

#[test]
fn the_first_message_leaves_before_all_that_were_never_sent() {
    let mut outbox = outbox();
    let value = Delivery::Sequenced { key: 1 };
    let of = |bytes: usize| Payload::from(Bytes::from(vec![0; bytes]));
    for (delivery, bytes) in [(value, 1), (Delivery::ReliableOrdered, 2), (Delivery::Unreliable, 3)] {
        outbox.push(STREAM, delivery, of(bytes)).unwrap();
    }
    assert_eq!(outbox.push_first(STREAM, of(1_163)), Err(SendError::TooLarge { bytes: 1_163, max: 1_162 }));
    assert_eq!(outbox.push_first(STREAM, of(1_162)), Ok(Sent::Queued));
    assert_eq!(outbox.push(STREAM, Delivery::Unreliable, of(4)), Ok(Sent::Queued));
    let left: Vec<_> = std::iter::from_fn(|| {
        let next = outbox.next(&mut Passed::default())?;
        outbox.on_sent(&next);
        Some(next.payload.len())
    })
    .collect();
    assert_eq!(left, [1_162, 1, 2, 3, 4]);
}

/// Messages that are dropped behind many waiting ones leave places, but at most a part of all.
// spec-test: REL-11
#[test]
fn unreliable_messages_that_are_shed_behind_others_leave_little() {
    let mut outbox = outbox();
    for _ in 0..5_000 {
        outbox.push(STREAM, Delivery::ReliableOrdered, Payload::default()).unwrap();
    }
    let payload = Payload::from(Bytes::from(vec![0; 960]));
    for _ in 0..20_000 {
        outbox.push(STREAM, Delivery::Unreliable, payload.clone()).unwrap();
    }
    // 256 messages of 1,024 bytes are kept.
    assert!((5_256..=2 * 5_256).contains(&outbox.places()), "{}", outbox.places());
    let mut left = 0;
    while let Some(next) = outbox.next(&mut Passed::default()) {
        outbox.on_sent(&next);
        left += usize::from(next.payload.len() == 960);
    }
    assert_eq!((left, outbox.is_waiting()), (256, true), "the rest is beyond the window");
}

/// It is as old as the value whose number it took.
// spec-test: REL-11
#[test]
fn a_value_that_gives_way_itself_is_reported_so() {
    let mut outbox = outbox();
    let value = Delivery::Sequenced { key: 1 };
    let mut push =
        |delivery, bytes| outbox.push(STREAM, delivery, Bytes::from(vec![0; bytes]).into()).unwrap();
    assert_eq!(push(value, 10), Sent::Queued);
    (0..255).for_each(|_| assert_eq!(push(Delivery::Unreliable, 960), Sent::Queued));
    assert_eq!(push(value, 900), Sent::Superseded, "262,144 bytes in all, less 60");
    assert_eq!(push(value, 1_000), Sent::Shed);
    assert_eq!(push(value, 900), Sent::Queued);
}

/// A packet examines a limited number of places, whatever waits there.
#[test]
fn the_search_for_what_may_leave_ends() {
    let mut outbox = outbox();
    outbox.open(OTHER);
    for _ in 0..10_000 {
        outbox.push(STREAM, Delivery::ReliableOrdered, Payload::default()).unwrap();
    }
    // As many leave as may be in flight; none of the others is in turn.
    while let Some(next) = outbox.next(&mut Passed::default()) {
        outbox.on_sent(&next);
    }
    outbox.push(OTHER, Delivery::ReliableOrdered, Payload::default()).unwrap();
    let mut passed = Passed::default();
    assert!(outbox.next(&mut passed).is_none());
    assert!((3_000..=4_096).contains(&passed.places()), "{passed:?}");
}

/// The small messages wait for a large one before them, which has many others before it.
#[test]
fn small_messages_that_must_wait_keep_no_other_stream_waiting() {
    let mut outbox = outbox();
    outbox.open(OTHER);
    let mut push = |stream, delivery, bytes: usize| {
        outbox.push(stream, delivery, Bytes::from(vec![0; bytes]).into()).unwrap();
    };
    (0..20).for_each(|_| push(STREAM, Delivery::ReliableOrdered, 10_000));
    (0..100).for_each(|_| push(STREAM, Delivery::ReliableOrdered, 10));
    push(OTHER, Delivery::ReliableOrdered, 20);
    push(OTHER, Delivery::Unreliable, 30);
    let mut passed = Passed::default();
    let first = [(); 2].map(|()| {
        let next = outbox.next(&mut passed).unwrap();
        outbox.on_sent(&next);
        next.payload.len()
    });
    assert_eq!(first, [20, 30]);
    let (mut begun, mut large, mut small) = (0, 0, 0);
    while let Some(next) = outbox.next(&mut Passed::default()) {
        outbox.on_sent(&next);
        match next.part {
            SendPart::Fragment(head) => {
                begun += u32::from(head.index == 0);
                large += next.payload.len();
            }
            SendPart::Whole(_) => small += 1,
        }
        assert!(small == 0 || begun == 20, "a small one leaves before the last large one has begun");
    }
    assert_eq!((large, small), (200_000, 100), "and all leave");
}

#[test]
fn empty_messages_give_a_large_one_its_turn_too() {
    let mut outbox = outbox();
    let mut push = |delivery, bytes: usize| {
        outbox.push(STREAM, delivery, Bytes::from(vec![0; bytes]).into()).unwrap();
    };
    push(Delivery::ReliableOrdered, 10_000);
    (0..1_000).for_each(|_| push(Delivery::Unreliable, 0));
    let mut before = 0;
    while let Some(next) = outbox.next(&mut Passed::default())
        && outbox.on_sent(&next).is_none()
    {
        before += 1;
    }
    assert!((1..500).contains(&before), "{before} empty ones before the first fragment");
}

/// A peer without memory drops the first message until it has the rest of the second, of which it has a
/// fragment.
// spec-test: REL-15
#[test]
fn what_is_lost_again_and_again_gives_the_rest_of_another_message_its_turn() {
    const PIECES: usize = 9;
    let mut outbox = outbox();
    let mut lost = Vec::new();
    let mut arrived = 0;
    for message in 0..2 {
        let payload = Bytes::from(vec![0; PIECES * 1_000]).into();
        outbox.push(STREAM, Delivery::ReliableUnordered, payload).unwrap();
        for _ in 0..if message == 0 { PIECES } else { 1 } {
            let next = outbox.next(&mut Passed::default()).unwrap();
            lost.push(outbox.on_sent(&next).unwrap());
        }
    }
    for round in 0.. {
        for frame in lost.drain(..) {
            match frame {
                SentFrame::Fragment(message, piece) if message.number == 0 => {
                    outbox.on_lost(message, Some(piece));
                }
                SentFrame::Fragment(message, piece) => {
                    outbox.on_acked(message, Some(piece));
                    arrived += 1;
                }
                other => panic!("{other:?}"),
            }
        }
        if arrived == PIECES {
            break;
        }
        assert!(round < 20, "{arrived} pieces of the second message have left");
        for _ in 0..5 {
            let next = outbox.next(&mut Passed::default()).unwrap();
            lost.push(outbox.on_sent(&next).unwrap());
        }
    }
}

/// A peer without memory for the rest of a packet keeps the fragments in it and does not ack them.
// spec-test: REL-15
#[test]
fn what_is_lost_again_and_again_lets_the_rest_of_its_own_message_leave() {
    let mut outbox = outbox();
    let payload = Bytes::from(vec![0; 9_000]).into();
    outbox.push(STREAM, Delivery::ReliableOrdered, payload).unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..10 {
        let lost: Vec<_> = (0..3)
            .map(|_| {
                let next = outbox.next(&mut Passed::default()).unwrap();
                outbox.on_sent(&next).unwrap()
            })
            .collect();
        for frame in lost {
            let SentFrame::Fragment(message, piece) = frame else { panic!("{frame:?}") };
            outbox.on_lost(message, Some(piece));
            seen.insert(format!("{piece:?}"));
        }
    }
    assert_eq!(seen.len(), 9, "{seen:?}");
}

/// Fragments are cut for datagrams that may be larger than a probe.
#[test]
fn a_probe_carries_what_fits_though_a_large_message_has_its_turn() {
    let mut outbox = outbox();
    let mut push = |delivery, bytes: usize| {
        outbox.push(STREAM, delivery, Bytes::from(vec![0; bytes]).into()).unwrap();
    };
    push(Delivery::ReliableOrdered, 10_000);
    (0..20).for_each(|_| push(Delivery::ReliableUnordered, 400));
    for _ in 0..15 {
        let small = outbox.next(&mut Passed::small_first()).unwrap();
        assert!((400..420).contains(&small.frame_bytes()));
        outbox.on_sent(&small);
    }
    let large = outbox.next(&mut Passed::default()).unwrap();
    assert!(large.frame_bytes() > 1_000, "its turn has come: {}", large.frame_bytes());
    let small = outbox.next(&mut Passed::small_first()).unwrap();
    assert!((400..420).contains(&small.frame_bytes()));
}

/// The application keeps sending small messages, which keep the peer's buffer full.
#[test]
fn a_large_message_has_its_claim_to_room_after_losses_too() {
    let config = ConnectionConfig { receive_buffer_bytes: 1 << 16, ..ConnectionConfig::default() };
    let mut outbox = Outbox::new(&config, &config.parameters());
    outbox.open(STREAM);
    // The small messages have a space of their own: behind a large one in theirs they would wait for it.
    let push = |outbox: &mut Outbox, bytes: usize| {
        let delivery = if bytes > 1_000 { Delivery::ReliableUnordered } else { Delivery::ReliableOrdered };
        outbox.push(STREAM, delivery, Bytes::from(vec![0; bytes]).into()).unwrap();
    };
    let leave = |outbox: &mut Outbox, passed: &mut Passed| {
        let next = outbox.next(passed)?;
        outbox.on_sent(&next)
    };
    let piece_of = |frame: &SentFrame| match frame {
        SentFrame::Fragment(message, piece) => (*message, Some(*piece)),
        other => (other.messages().next().unwrap(), None),
    };
    push(&mut outbox, 9_000);
    for _ in 0..2 {
        let pieces: Vec<_> = std::iter::from_fn(|| leave(&mut outbox, &mut Passed::default())).collect();
        assert_eq!(pieces.len(), 9);
        pieces.iter().map(piece_of).for_each(|(message, piece)| outbox.on_lost(message, piece));
    }
    while let Some(frame) = leave(&mut outbox, &mut Passed::default()) {
        let (message, piece) = piece_of(&frame);
        outbox.on_acked(message, piece);
    }
    let mut under_way = VecDeque::new();
    (0..50).for_each(|_| push(&mut outbox, 1_000));
    under_way.extend(std::iter::from_fn(|| leave(&mut outbox, &mut Passed::default())));
    push(&mut outbox, 60_000);
    for _ in 0..300 {
        push(&mut outbox, 1_000);
        // A packet with room for two.
        let mut passed = Passed::default();
        for _ in 0..2 {
            under_way.extend(leave(&mut outbox, &mut passed));
        }
        if under_way.iter().any(|frame| matches!(frame, SentFrame::Fragment(..))) {
            return;
        }
        if let Some(oldest) = under_way.pop_front() {
            outbox.on_acked(piece_of(&oldest).0, None);
        }
    }
    panic!("the large message waits");
}

/// Each tiny message that the peer has taken leaves room for another tiny one.
// spec-test: REL-16
#[test]
fn a_message_of_one_packet_finds_room_at_the_peer_beside_tiny_ones() {
    let config = ConnectionConfig { receive_buffer_bytes: 1 << 16, ..ConnectionConfig::default() };
    let mut outbox = Outbox::new(&config, &config.parameters());
    outbox.open(STREAM);
    let push = |outbox: &mut Outbox, delivery, bytes: usize| {
        outbox.push(STREAM, delivery, Bytes::from(vec![0; bytes]).into()).unwrap();
    };
    let leave = |outbox: &mut Outbox| {
        let next = outbox.next(&mut Passed::default())?;
        Some((outbox.on_sent(&next).unwrap(), next.payload.len()))
    };
    // A tiny one takes 74 bytes there.
    (0..1_000).for_each(|_| push(&mut outbox, Delivery::ReliableOrdered, 10));
    let mut under_way: VecDeque<_> = std::iter::from_fn(|| leave(&mut outbox)).collect();
    assert_eq!(under_way.len(), (1 << 16) / 74);
    push(&mut outbox, Delivery::ReliableUnordered, 1_000);
    for _ in 0..2_000 {
        let (oldest, _) = under_way.pop_front().unwrap();
        outbox.on_acked(oldest.messages().next().unwrap(), None);
        push(&mut outbox, Delivery::ReliableOrdered, 10);
        let left = leave(&mut outbox);
        if left.as_ref().is_some_and(|(_, bytes)| *bytes == 1_000) {
            return;
        }
        under_way.extend(left);
    }
    panic!("it waits");
}

/// The peer keeps 64 KiB, which smaller messages, whole or in fragments, could keep full forever.
// spec-test: REL-16
#[test]
fn a_large_message_finds_room_at_the_peer_beside_smaller_ones() {
    for smaller in [1_000, 5_000, 20_000] {
        let mut pair = pair(1 << 16);
        let mut waited = 0;
        for step in 0..5_000 {
            while pair.ends[SERVER].queued_bytes() < 1_000_000 {
                send_other(&mut pair, &vec![1; smaller]).unwrap();
            }
            if step == 500 {
                pair.send(SERVER, Delivery::ReliableOrdered, &[0; 60_000]);
            }
            pair.run(Duration::from_millis(2));
            waited += u32::from(step > 500 && !sizes(&pair).contains(&60_000));
        }
        // It leaves behind the megabyte that was sent before it, which takes a second.
        assert!(waited < 1_000, "beside messages of {smaller} bytes it takes {waited} times 2 ms");
        pair.run(SECOND * 20);
        let others = sizes(&pair).iter().filter(|size| **size == smaller).count();
        assert!(others > 100 && sizes(&pair).len() == others + 1, "{others} of {smaller} bytes");
    }
}

/// A small message behind a large one of its own stream must not overtake it.
#[test]
fn within_a_stream_the_order_stays() {
    let mut pair = pair(1 << 18);
    let mut expected = vec![];
    for round in 0..20 {
        let size = if round % 4 == 1 { 100_000 } else { 10 };
        expected.push(size);
        pair.send(SERVER, Delivery::ReliableOrdered, &vec![0; size]);
    }
    pair.run(SECOND * 10);
    assert_eq!(sizes(&pair), expected);
}

/// Small messages that were lost arrive again within a round trip although a transfer fills the line.
// spec-test: REL-8
#[test]
fn a_full_line_is_no_end_of_redundancy() {
    let mut pair = pair(1 << 22);
    for _ in 0..20 {
        send_other(&mut pair, &[1; 100]).unwrap();
        pair.run(SECOND / 10);
    }
    let loss = pair.ends[SERVER].repair_encoder.loss_mut();
    (0..2_000).for_each(|packet| if packet % 20 == 0 { loss.on_lost() } else { loss.on_acked() });
    pair.send(SERVER, Delivery::ReliableUnordered, &vec![0; 1_000_000]);
    let before = pair.ends[CLIENT].stats().packets_repaired;
    pair.loss = 0.1;
    for _ in 0..60 {
        send_other(&mut pair, &[1; 100]).unwrap();
        pair.run(Duration::from_millis(8));
    }
    assert!(pair.ends[CLIENT].stats().packets_repaired > before);
    assert!(!sizes(&pair).contains(&1_000_000), "the transfer goes on");
}
