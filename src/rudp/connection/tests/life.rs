//! The life of a connection: silence, signs of life, and its end.

use super::*;

// spec-test: CON-3
#[test]
fn silence_ends_the_connection_after_the_idle_timeout() {
    let mut pair = Pair::new(10);
    pair.run(SECOND);
    pair.dark_until = Timestamp::MAX;
    pair.run(Duration::from_millis(9_900) - Duration::from_millis(3_000));
    assert_eq!(pair.closed, [None, None]);
    pair.run(SECOND * 4);
    assert_eq!(pair.closed, [Some(Closed::TimedOut), Some(Closed::TimedOut)]);
    assert!(pair.ends.iter().all(Connection::is_drained));
}

/// From the last packet that came to the one that asks for an ack, where nothing else is sent.
// spec-test: CON-4
#[test]
fn a_keepalive_leaves_in_its_time() {
    let millis = Duration::from_millis;
    for (keepalive, idle, at) in [
        (3_000, 10_000, [(CLIENT, 3_000), (SERVER, 3_750)].as_slice()),
        (9_000, 30_000, &[(CLIENT, 9_000), (SERVER, 11_250)]),
        (3_000, 6_000, &[(CLIENT, 2_000), (SERVER, 2_500)]),
        (0, 10_000, &[(CLIENT, 100)]),
    ] {
        let config = ConnectionConfig {
            keepalive: millis(keepalive),
            idle_timeout: millis(idle),
            ..ConnectionConfig::default()
        };
        for &(end, expected) in at {
            let case = format!("{end}: {keepalive} of {idle}");
            let mut pair = Pair::with_config(10, config);
            pair.run(SECOND);
            pair.send(1 - end, Delivery::ReliableOrdered, b"heard");
            pair.run(millis(30));
            pair.dark_until = Timestamp::MAX;
            let received = pair.ends[end].stats().packets_received;
            let heard = pair.now - millis(10);
            // The ack, which asks for none.
            pair.run(millis(60));
            let sent = pair.ends[end].stats().packets_sent;
            pair.run((heard + millis(expected - 1)).since(pair.now));
            assert_eq!(pair.ends[end].stats().packets_sent, sent, "{case}");
            pair.run(millis(1));
            assert_eq!(pair.ends[end].stats().packets_sent, sent + 1, "{case}");
            assert_eq!(pair.ends[end].stats().packets_received, received);
        }
    }
    assert_eq!(ConnectionConfig::default().keepalive, millis(3_000));
}

/// However long the path is.
// spec-test: CON-4
#[test]
fn of_two_silent_ends_only_the_client_asks() {
    for delay in [0, 1, 10, 100, 300] {
        let mut pair = Pair::new(12);
        pair.delay = Duration::from_millis(delay);
        pair.run(SECOND * 20);
        let sent = |pair: &Pair| pair.ends.each_ref().map(|end| end.stats().packets_sent);
        let before = sent(&pair);
        pair.run(SECOND * 300);
        let [by_client, by_server] = [CLIENT, SERVER].map(|end| sent(&pair)[end] - before[end]);
        assert!((80..=100).contains(&by_client), "{delay} ms: {by_client}");
        assert!(by_client.abs_diff(by_server) <= 1, "{delay} ms: {by_client} and {by_server}");
    }
}

/// Small packets pass, so the peer is not silent. Progress is checked every 20 s, or once per idle timeout if
/// that is longer.
// spec-test: CON-9
#[test]
fn a_peer_that_does_not_take_a_reliable_message_is_given_up_at_the_third_look() {
    let large = [Delivery::ReliableOrdered, Delivery::ReliableUnordered, Delivery::ReliableLatest { key: 1 }];
    for (large, (idle, third_look)) in large.into_iter().flat_map(|it| [(it, (10, 60)), (it, (30, 90))]) {
        let config = ConnectionConfig { idle_timeout: SECOND * idle, ..ConnectionConfig::default() };
        let mut pair = Pair::with_config(10, config);
        pair.run(SECOND);
        pair.mtu = 600;
        pair.send(CLIENT, Delivery::Unreliable, &[0; 100]);
        pair.run(SECOND * 40);
        assert_eq!(pair.closed, [None, None], "nothing waits to be acked");
        pair.send(CLIENT, large, &[0; 5_000]);
        for _ in 1..third_look {
            pair.run(SECOND);
            pair.send(CLIENT, Delivery::ReliableUnordered, &[0; 100]);
        }
        assert_eq!(pair.closed, [None, None], "{large:?}");
        pair.run(SECOND * 2);
        assert_eq!(pair.closed, [Some(Closed::TimedOut), Some(Closed::TimedOut)], "{large:?}");
        assert_eq!(pair.payloads(SERVER).len(), third_look);
    }
}

// spec-test: CON-9
#[test]
fn a_peer_that_takes_a_little_now_and_then_is_not_given_up() {
    let mut pair = Pair::new(10);
    pair.run(SECOND);
    pair.send(CLIENT, Delivery::ReliableOrdered, &vec![0; 1_000_000]);
    for _ in 0..10 {
        pair.mtu = 600;
        pair.run(SECOND * 19);
        pair.mtu = 2_000;
        pair.run(Duration::from_millis(310));
    }
    assert_eq!((pair.payloads(SERVER).len(), &pair.closed), (0, &[None, None]));
    pair.mtu = 2_000;
    pair.run(SECOND * 3);
    assert_eq!(pair.payloads(SERVER).len(), 1);
}

// spec-test: CON-4
#[test]
fn keepalive_holds_an_idle_connection_open() {
    let mut pair = Pair::new(11);
    pair.run(SECOND * 120);
    assert_eq!(pair.closed, [None, None]);
    assert!(pair.ends[CLIENT].stats().packets_sent < 200, "but says little");
}

/// Sends `messages` messages of the server, `apart` from each other.
fn stream(pair: &mut Pair, messages: usize, apart: Duration) {
    for _ in 0..messages {
        pair.send(SERVER, Delivery::Sequenced { key: 1 }, b"here");
        pair.run(apart);
    }
}

// spec-test: CON-10
#[test]
fn a_client_that_only_listens_is_soon_heard_from_its_new_address() {
    for loss in [0.0, 0.2] {
        for seed in 0..40 {
            let mut pair = Pair::new(seed);
            stream(&mut pair, 100, Duration::from_millis(33));
            pair.client_at = ([192, 0, 2, 1], 4_001).into();
            pair.loss = loss;
            pair.received[CLIENT].clear();
            let (moved, mut longest) = (pair.now, SECOND * 3 / 4);
            if loss > 0.0 {
                longest *= 2;
            }
            while pair.received[CLIENT].is_empty() {
                stream(&mut pair, 1, Duration::from_millis(33));
                assert!(pair.now.since(moved) < longest, "{loss}, seed {seed}");
            }
        }
    }
}

/// A client that receives no stream sends no PING, and the server never sends one.
// spec-test: CON-10
#[test]
fn the_end_of_a_stream_costs_one_ping() {
    for (apart, messages, pings) in [(33, 8, 1), (33, 6, 0), (249, 30, 1), (251, 30, 0)] {
        let mut pair = Pair::new(3);
        pair.run(SECOND);
        stream(&mut pair, messages - 1, Duration::from_millis(apart));
        stream(&mut pair, 1, Duration::from_millis(220));
        let before = pair.ends.each_ref().map(|end| end.stats().packets_sent);
        pair.run(SECOND * 2);
        let after = pair.ends.each_ref().map(|end| end.stats().packets_sent);
        assert_eq!([after[0] - before[0], after[1] - before[1]], [pings; 2], "{messages} times {apart} ms");
    }
    let mut pair = Pair::new(3);
    pair.run(SECOND);
    for _ in 0..30 {
        pair.send(CLIENT, Delivery::Unreliable, b"here");
        pair.run(Duration::from_millis(33));
    }
    pair.run(Duration::from_millis(200));
    let before = pair.ends[SERVER].stats().packets_sent;
    pair.run(SECOND * 2);
    let answer = 1;
    assert_eq!(pair.ends[SERVER].stats().packets_sent, before + answer, "the client heard a stream of acks");
}

// spec-test: CON-6
#[test]
fn a_close_arrives_with_its_reason_although_packets_are_lost() {
    for seed in 0..50 {
        let mut pair = Pair::new(seed);
        pair.run(SECOND);
        pair.loss = 0.3;
        let now = pair.now;
        pair.ends[SERVER].close(now, CloseCode::ShuttingDown, "maintenance");
        pair.run(SECOND * 3);
        let reason = "maintenance".to_owned();
        let told = Closed::ByPeer { code: CloseCode::ShuttingDown, reason: reason.clone() };
        assert_eq!(pair.closed[CLIENT], Some(told), "seed {seed}");
        assert_eq!(pair.closed[SERVER], Some(Closed::Local { code: CloseCode::ShuttingDown, reason }));
        assert!(pair.ends.iter().all(Connection::is_drained));
    }
}

/// Its timer alone would repeat the CLOSE 900 ms after the outage.
// spec-test: CON-6
#[test]
fn who_goes_on_talking_is_told_of_the_close_again() {
    let mut pair = Pair::new(1);
    stream(&mut pair, 30, Duration::from_millis(33));
    let closes_at = pair.now;
    pair.ends[SERVER].close(closes_at, CloseCode::ShuttingDown, "");
    pair.dark_until = closes_at + Duration::from_millis(1_400);
    while pair.closed[CLIENT].is_none() {
        pair.send(CLIENT, Delivery::Unreliable, b"are you there?");
        pair.run(Duration::from_millis(33));
    }
    let told = pair.now.since(closes_at);
    assert!((1_400..1_600).contains(&told.as_millis()), "{told:?}");
    pair.run(SECOND * 4);
    assert!(pair.ends.iter().all(Connection::is_drained));
}

/// A CLOSE is never sent more often than at first, however many packets arrive.
// spec-test: CON-6
#[test]
fn a_close_is_no_answer_to_each_packet() {
    let mut pair = Pair::new(1);
    stream(&mut pair, 30, Duration::from_millis(33));
    pair.ends[SERVER].close(pair.now, CloseCode::ShuttingDown, "");
    let server = &mut pair.ends[SERVER];
    let mut said = Vec::new();
    for millis in 0..4_000 {
        let now = pair.now + Duration::from_millis(millis);
        if let State::Closing(closing) = &mut server.state {
            closing.hasten(now, server.rtt.probe_timeout(Duration::ZERO));
        }
        while server.poll_transmit(now, &mut BytesMut::new()).is_some() {
            said.push(millis);
        }
        server.handle_timeout(now);
    }
    // A round trip takes 40 ms. After 32 CLOSEs only the timer counts.
    assert!((32..=36).contains(&said.len()), "{said:?}");
    assert!(said.windows(2).all(|pair| pair[1] - pair[0] >= 40), "{said:?}");
}

// spec-test: CON-6
#[test]
fn a_close_outlives_an_outage_and_ends_without_an_answer() {
    for (outage, is_told) in [(Duration::from_millis(2_500), true), (SECOND * 4, false)] {
        let mut pair = Pair::new(1);
        pair.run(SECOND);
        pair.loss = 1.0;
        let now = pair.now;
        pair.ends[SERVER].close(now, CloseCode::ShuttingDown, "");
        let sent = pair.ends[SERVER].stats().packets_sent;
        pair.run(outage);
        assert_eq!(pair.ends[SERVER].is_drained(), !is_told);
        let said = pair.ends[SERVER].stats().packets_sent - sent;
        assert!((4..=8).contains(&said), "{said}");
        pair.loss = 0.0;
        pair.run(SECOND);
        assert_eq!(pair.closed[CLIENT].is_some(), is_told);
        assert!(pair.ends[SERVER].is_drained());
    }
}

#[test]
fn a_closed_connection_takes_no_messages() {
    let mut pair = Pair::new(12);
    let now = pair.now;
    pair.ends[CLIENT].close(now, CloseCode::None, "");
    let payload = Payload::from(Bytes::new());
    assert_eq!(pair.ends[CLIENT].send(now, STREAM, Delivery::Unreliable, payload), Err(SendError::Closed));
}

// spec-test: CON-6
#[test]
fn a_close_that_arrives_before_the_own_has_left_is_answered() {
    let mut pair = Pair::new(10);
    pair.run(SECOND);
    let (now, mut packet) = (pair.now, BytesMut::new());
    pair.ends[CLIENT].close(now, CloseCode::None, "");
    pair.ends[CLIENT].poll_transmit(now, &mut packet).unwrap();
    pair.ends[SERVER].close(now, CloseCode::Replaced, "");
    assert_eq!(pair.ends[SERVER].handle_packet(now, CLIENT_ADDRESS.into(), packet), Ok(()));
    pair.run(Duration::from_millis(50));
    assert!(pair.ends.iter().all(Connection::is_drained), "the client need not repeat it for three seconds");
    let local = |code| Some(Closed::Local { code, reason: String::new() });
    assert_eq!(pair.closed, [local(CloseCode::None), local(CloseCode::Replaced)]);
}
