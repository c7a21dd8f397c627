//! Values of keys: which replace which, how many may be in flight, and what waits for them.

use super::memory::send;
use super::*;

// spec-test: STR-8
#[test]
fn every_key_gets_its_value_although_there_are_more_than_are_remembered() {
    for seed in 0..20 {
        let mut pair = Pair::new(seed);
        (pair.loss, pair.reorder) = (0.3, 0.3);
        for key in 0..1_500u16 {
            pair.send(CLIENT, Delivery::ReliableLatest { key }, &key.to_be_bytes());
            pair.send(CLIENT, Delivery::Sequenced { key: key + 10_000 }, b"");
        }
        pair.run(SECOND * 60);
        let values: std::collections::BTreeSet<&[u8]> = pair.payloads(SERVER).into_iter().collect();
        assert_eq!(values.iter().filter(|value| !value.is_empty()).count(), 1_500, "seed {seed}");
    }
}

/// Each value replaces the one before, so bytes alone would never fill the buffer.
// spec-test: REL-13
#[test]
fn a_peer_that_never_acks_keyed_values_holds_no_more_than_a_window_of_them() {
    let mut pair = Pair::new(10);
    pair.dark_until = Timestamp::MAX;
    let mut send = |key: u16, n: u32| {
        let payload = Bytes::copy_from_slice(&n.to_be_bytes()).into();
        let sent = pair.ends[SERVER].send(pair.now, STREAM, Delivery::ReliableLatest { key }, payload);
        pair.flush();
        assert!(pair.ends[SERVER].outbox.places() <= 16_384);
        sent
    };
    assert!((0..20_000).all(|n| send(1, n).is_ok()), "replaced values leave no trace");
    // A value that nothing replaces keeps the numbers behind it unsettled, but they are reused.
    assert!(send(0, 0).is_ok());
    assert!((0..20_000).all(|n| send(1, n).is_ok()));
    let held = (2..20_000).position(|key| send(key, 0) == Err(SendError::WouldBlock));
    assert!(held.is_some_and(|held| (8_000..=8_192).contains(&held)), "{held:?}");
    assert!(send(1, 0).is_ok(), "a key that waits takes its next value");
    assert_eq!(send(20_001, 0), Err(SendError::WouldBlock));
}

/// More values wait than may leave, all with different keys. Messages without a key pass them, even when they
/// are sent later.
#[test]
fn keyed_messages_that_must_wait_keep_nothing_else_waiting() {
    let mut pair = Pair::new(10);
    pair.delay = Duration::from_millis(50);
    pair.run(SECOND);
    for key in 0..2_000 {
        pair.send(SERVER, Delivery::ReliableLatest { key }, b"value");
    }
    pair.run(Duration::from_millis(120));
    pair.send(SERVER, Delivery::ReliableOrdered, b"order");
    pair.run(Duration::from_millis(60));
    let arrived = |pair: &Pair| pair.payloads(CLIENT).iter().position(|payload| *payload == &b"order"[..]);
    assert!(arrived(&pair).is_some_and(|at| at < 1_000), "{:?}", arrived(&pair));
    pair.run(SECOND * 2);
    assert_eq!(pair.payloads(CLIENT).len(), 2_001);
}

/// The values of one session must not delay those of another, which has a stream of its own.
#[test]
fn keyed_messages_that_must_wait_keep_no_keyed_one_of_another_stream_waiting() {
    const OTHER: StreamId = StreamId(STREAM.0 + 1);
    let mut pair = Pair::new(10);
    pair.delay = Duration::from_millis(50);
    pair.ends.iter_mut().for_each(|end| end.open_stream(OTHER));
    pair.run(SECOND);
    for key in 0..2_000 {
        pair.send(SERVER, Delivery::ReliableLatest { key }, b"value");
    }
    for (delivery, payload) in
        [(Delivery::Sequenced { key: 1 }, "place"), (Delivery::ReliableLatest { key: 2 }, "state")]
    {
        pair.ends[SERVER].send(pair.now, OTHER, delivery, Bytes::from(payload).into()).unwrap();
    }
    pair.run(Duration::from_millis(180));
    let arrived = |payload: &str| pair.payloads(CLIENT).iter().position(|it| *it == payload.as_bytes());
    let places = ["place", "state"].map(arrived);
    assert!(places.iter().all(|at| at.is_some_and(|at| at < 300)), "{places:?}");
    pair.run(SECOND * 2);
    assert_eq!(pair.payloads(CLIENT).len(), 2_002);
}

/// A message that may be lost is shed; it neither causes a refusal nor waits.
// spec-test: REL-11
#[test]
fn behind_too_many_keyed_messages_a_sequenced_one_gives_way() {
    let mut pair = Pair::new(8);
    let latest = |key| Delivery::ReliableLatest { key };
    (0..4_096).for_each(|key| assert_eq!(send(&mut pair, latest(key), 1), Ok(Sent::Queued)));
    assert_eq!(send(&mut pair, Delivery::Sequenced { key: 9_999 }, 1), Ok(Sent::Shed));
    (4_096..8_192).for_each(|key| assert_eq!(send(&mut pair, latest(key), 1), Ok(Sent::Queued)));
    assert_eq!(send(&mut pair, latest(9_999), 1), Err(SendError::WouldBlock));
    assert_eq!(pair.ends[SERVER].stats().messages_shed, 1);
    pair.run(10 * SECOND);
    assert_eq!(pair.received[CLIENT].len(), 8_192);
    assert_eq!(send(&mut pair, Delivery::Sequenced { key: 9_999 }, 1), Ok(Sent::Queued));
}

/// Its receiver keeps room for it until it is whole.
// spec-test: STR-7
#[test]
fn a_value_of_which_a_piece_has_left_follows_to_its_end() {
    let mut pair = Pair::new(12);
    let budgets = super::memory::budgets(1 << 20, 0);
    pair.ends[SERVER].share_budgets(&budgets);
    let value = Delivery::ReliableLatest { key: 1 };
    pair.send(CLIENT, value, &[1; 60_000]);
    pair.run(Duration::from_millis(21));
    assert_eq!(budgets.receive.held(), 60_064, "pieces have come, and not all");
    pair.send(CLIENT, value, &[2; 10]);
    pair.run(SECOND);
    assert_eq!(pair.payloads(SERVER), [[2; 10]]);
    assert_eq!(budgets.receive.held(), 0);
}
