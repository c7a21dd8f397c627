//! What a connection promises its owner, one test per promise.

use super::*;

#[test]
fn a_message_crosses_in_one_delay() {
    for delivery in [Delivery::Unreliable, Delivery::ReliableOrdered, Delivery::Sequenced { key: 3 }] {
        let mut pair = Pair::new(1);
        pair.send(CLIENT, delivery, b"hello");
        pair.run(Duration::from_millis(20));
        pair.flush();
        assert_eq!(pair.payloads(SERVER), [b"hello"]);
        let stream = (delivery != Delivery::Unreliable).then_some(STREAM);
        assert_eq!(pair.received[SERVER][0].0, stream);
    }
}

/// When the end continues, 400 packets wait in its socket: more than an ack without runs names.
// spec-test: ACK-1, ACK-3
#[test]
fn nothing_counts_as_lost_that_an_end_which_stood_still_acks_at_once() {
    let mut pair = Pair::new(1);
    pair.send(CLIENT, Delivery::ReliableOrdered, &vec![0; 900_000]);
    pair.run(SECOND * 2);
    let before = pair.ends[CLIENT].stats();
    for _ in 0..400 {
        pair.send(CLIENT, Delivery::ReliableOrdered, &[0; 64]);
        pair.flush();
        pair.now += Duration::from_micros(25);
    }
    let after = pair.ends[CLIENT].stats();
    assert!(after.packets_sent - before.packets_sent >= 400, "each has left by itself");
    pair.now += Duration::from_millis(20);
    pair.run(SECOND);
    assert_eq!(pair.ends[CLIENT].stats().packets_lost, before.packets_lost);
    assert_eq!(pair.payloads(SERVER).len(), 401);
}

// spec-test: REL-5
#[test]
fn a_lost_tail_is_resent_by_the_probe() {
    let mut pair = Pair::new(2);
    pair.run(SECOND);
    pair.dark_until = pair.now + Duration::from_millis(1);
    pair.send(CLIENT, Delivery::ReliableOrdered, b"tail");
    pair.run(Duration::from_millis(200));
    assert_eq!(pair.payloads(SERVER), [b"tail"]);
    assert!((1..=2).contains(&pair.ends[CLIENT].stats().probes));
}

/// The server acks at once, so the client need not wait for as long as the server could have delayed the ack.
// spec-test: REL-5, REL-6
#[test]
fn a_silence_longer_than_acks_took_so_far_is_probed_though_packets_leave() {
    let mut pair = Pair::new(2);
    let say = |pair: &mut Pair| {
        pair.send(CLIENT, Delivery::ReliableOrdered, b"in");
        pair.run(Duration::from_millis(20));
        pair.send(SERVER, Delivery::Unreliable, b"out");
        pair.run(Duration::from_millis(10));
    };
    (0..50).for_each(|_| say(&mut pair));
    let before = pair.ends[CLIENT].stats().probes;
    pair.dark_until = pair.now + SECOND;
    let dark = pair.now;
    while pair.ends[CLIENT].stats().probes == before && pair.now < dark + SECOND {
        say(&mut pair);
    }
    assert!(pair.now < dark + Duration::from_millis(40 + 30 + 30), "{:?}", pair.now.since(dark));
    pair.run(SECOND);
    let probes = pair.ends[CLIENT].stats().probes - before;
    assert!((5..=9).contains(&probes), "{probes} in a second: ever farther apart");
}

/// Twice on each path, since what arrives after the first silence restarts the series. A probe timeout of the
/// second path is longer than 300 ms.
// spec-test: REL-6
#[test]
fn probes_of_a_silence_are_ever_farther_apart_up_to_a_bound() {
    for delay in [20, 200] {
        let mut pair = Pair::new(2);
        pair.delay = Duration::from_millis(delay);
        for _ in 0..2 {
            for n in 0..30u8 {
                pair.send(CLIENT, Delivery::ReliableOrdered, &[n]);
                pair.run(Duration::from_millis(30));
            }
            // The PING that the client sends at the end of the stream is answered.
            pair.run(SECOND * 2);
            let rtt = pair.ends[CLIENT].rtt;
            let timeout = rtt.probe_timeout(Duration::from_millis(40));
            let longest = timeout.max(Duration::from_millis(300));
            pair.dark_until = Timestamp::MAX;
            pair.send(CLIENT, Delivery::ReliableOrdered, b"in the dark");
            let mut at = vec![pair.now];
            while at.len() < 8 {
                let before = pair.ends[CLIENT].stats().probes;
                pair.run(Duration::from_millis(1));
                at.extend((pair.ends[CLIENT].stats().probes > before).then_some(pair.now));
            }
            let further = [0.25, 0.5, 1.0, 2.0, 4.0, 8.0].map(|factor| timeout.mul_f64(factor));
            let wanted =
                std::iter::once(rtt.answer_timeout()).chain(further).map(|wanted| wanted.min(longest));
            for (pair, wanted) in at.windows(2).zip(wanted) {
                let apart = pair[1].since(pair[0]);
                assert!(apart.abs_diff(wanted) <= Duration::from_millis(1), "{apart:?} and not {wanted:?}");
            }
            pair.dark_until = pair.now;
        }
    }
}

/// Runs for a millisecond at a time until `holds` returns true.
fn run_until(pair: &mut Pair, holds: impl Fn(&Pair) -> bool) {
    let end = pair.now + SECOND * 10;
    while !holds(pair) {
        assert!(pair.now < end, "it never comes to that");
        pair.run(Duration::from_millis(1));
    }
}

/// This holds however many large messages were sent before it.
// spec-test: REL-7
#[test]
fn a_probe_carries_a_small_message_behind_large_ones() {
    let config = ConnectionConfig { repair_bytes_per_second: 0, ..ConnectionConfig::default() };
    let mut pair = Pair::with_config(2, config);
    // The window grows.
    (0..400).for_each(|_| pair.send(CLIENT, Delivery::ReliableUnordered, &[0; 1_000]));
    pair.run(SECOND * 2);
    let arrived = pair.payloads(SERVER).len();
    pair.dark_until = pair.now + Duration::from_millis(1);
    for _ in 0..40 {
        pair.send(CLIENT, Delivery::ReliableUnordered, &[0; 513]);
    }
    pair.send(CLIENT, Delivery::ReliableUnordered, b"small");
    pair.flush();
    let before = pair.ends[CLIENT].stats();
    run_until(&mut pair, |pair| pair.ends[CLIENT].stats().probes > before.probes);
    let probed = pair.ends[CLIENT].stats();
    run_until(&mut pair, |pair| pair.payloads(SERVER).len() > arrived);
    assert_eq!(pair.payloads(SERVER)[arrived..], [b"small"]);
    let stats = pair.ends[CLIENT].stats();
    assert_eq!(stats.packets_sent - probed.packets_sent, stats.probes - probed.probes, "probes alone");
}

// spec-test: REL-7
#[test]
fn probes_carry_more_and_more_of_what_is_unacked_and_each_sixth_nothing() {
    let mut pair = Pair::new(2);
    pair.run(SECOND);
    pair.dark_until = pair.now + SECOND * 9;
    for _ in 0..40 {
        pair.send(CLIENT, Delivery::ReliableOrdered, &[0; 60]);
        pair.flush();
    }
    let mut sizes = vec![];
    while sizes.len() < 13 {
        let before = pair.ends[CLIENT].stats();
        pair.run(Duration::from_millis(1));
        let stats = pair.ends[CLIENT].stats();
        if stats.probes > before.probes {
            sizes.push(stats.bytes_sent - before.bytes_sent);
        }
    }
    assert!(sizes[..5].is_sorted() && sizes[0] < 250 && sizes[3] > 1_000, "{sizes:?}");
    for sixth in [5, 11] {
        assert!(sizes[sixth] < 60 && sizes[sixth + 1] > 1_000, "{sizes:?}");
    }
}

// spec-test: REL-7
#[test]
fn a_probe_carries_no_more_empty_messages_than_others() {
    let mut pair = Pair::new(2);
    pair.run(SECOND);
    pair.dark_until = pair.now + SECOND * 9;
    for _ in 0..400 {
        pair.send(CLIENT, Delivery::ReliableOrdered, &[]);
    }
    pair.flush();
    let before = pair.ends[CLIENT].stats();
    while pair.ends[CLIENT].stats().probes == before.probes {
        pair.run(Duration::from_millis(1));
    }
    let bytes = pair.ends[CLIENT].stats().bytes_sent - before.bytes_sent;
    assert!((20..700).contains(&bytes), "{bytes} bytes for 32 messages and what protects them");
}

// spec-test: REL-4
#[test]
fn a_lost_packet_is_resent_after_a_later_one_is_acked() {
    let mut pair = Pair::new(3);
    for n in 0..20u8 {
        pair.send(CLIENT, Delivery::ReliableOrdered, &[n]);
        pair.run(Duration::from_millis(30));
    }
    let probes = pair.ends[CLIENT].stats().probes;
    pair.dark_until = pair.now + Duration::from_millis(1);
    pair.send(CLIENT, Delivery::ReliableOrdered, &[20]);
    pair.run(Duration::from_millis(5));
    pair.send(CLIENT, Delivery::ReliableOrdered, &[21]);
    pair.run(SECOND);
    assert_eq!(pair.payloads(SERVER).len(), 22);
    assert_eq!(pair.ends[CLIENT].stats().packets_lost, 1);
    assert_eq!(pair.ends[CLIENT].stats().probes, probes, "no need to wait for the probe");
}

/// Sends 300 messages per mode both ways over a bad link, and checks each mode's promise.
fn every_mode_keeps_its_promise(seed: u64) {
    let mut pair = Pair::new(seed);
    (pair.loss, pair.duplicate, pair.reorder) = (0.2, 0.1, 0.3);
    let mut rng = StdRng::seed_from_u64(seed);
    for n in 0..300u32 {
        for from in [CLIENT, SERVER] {
            for (mode, delivery) in [
                Delivery::Unreliable,
                Delivery::Sequenced { key: 1 },
                Delivery::ReliableUnordered,
                Delivery::ReliableOrdered,
                Delivery::ReliableLatest { key: 1 },
            ]
            .into_iter()
            .enumerate()
            {
                let mut payload = vec![mode as u8];
                payload.extend(n.to_be_bytes());
                if delivery.is_reliable() && rng.random_bool(0.03) {
                    payload.resize(rng.random_range(1..9_000usize).max(5), 9);
                }
                pair.send(from, delivery, &payload);
            }
        }
        let pause = rng.random_range(0..8_000);
        pair.run(Duration::from_micros(pause));
    }
    pair.loss = 0.0;
    pair.run(SECOND * 3);
    for end in [CLIENT, SERVER] {
        assert_eq!(pair.closed[end], None);
        let of = |mode: u8| -> Vec<u32> {
            let payloads = pair.received[end].iter().filter(|(.., payload)| payload[0] == mode);
            payloads.map(|(.., payload)| u32::from_be_bytes(payload[1..5].try_into().unwrap())).collect()
        };
        let unique = |mut numbers: Vec<u32>| {
            numbers.sort_unstable();
            numbers.windows(2).all(|pair| pair[0] < pair[1])
        };
        let rising = |numbers: &[u32]| numbers.windows(2).all(|pair| pair[0] < pair[1]);
        assert!(unique(of(0)), "unreliable: nothing twice");
        assert!(rising(&of(1)), "sequenced: never back");
        assert!(unique(of(2)) && of(2).len() == 300, "unordered: each once");
        assert_eq!(of(3), (0..300).collect::<Vec<u32>>(), "ordered: each once, in order");
        assert!(rising(&of(4)), "latest: never back");
        assert_eq!(of(4).last(), Some(&299), "latest: the newest arrives");
    }
    for end in &pair.ends {
        assert_eq!(end.queued_bytes(), 0, "all is settled");
        assert_eq!(end.receive_buffer.held(), 0);
    }
}

// spec-test: STR-2, STR-7
#[test]
fn every_mode_keeps_its_promise_over_a_bad_link() {
    for seed in 0..20 {
        every_mode_keeps_its_promise(seed);
    }
}

// spec-test: FRM-5
#[test]
fn a_message_of_a_mebibyte_arrives_whole() {
    let mut pair = Pair::new(5);
    pair.loss = 0.05;
    let large: Vec<u8> = (0..1 << 20).map(|n: u32| (n % 251) as u8).collect();
    pair.send(CLIENT, Delivery::ReliableOrdered, &large);
    pair.send(CLIENT, Delivery::ReliableUnordered, b"small");
    pair.run(SECOND * 10);
    assert_eq!(pair.payloads(SERVER)[0], b"small", "a small message need not wait");
    assert!(pair.payloads(SERVER)[1] == large);
}

#[test]
fn what_is_too_large_is_refused_by_name() {
    let mut pair = Pair::new(6);
    let max = pair.ends[CLIENT].max_payload_bytes(Delivery::Unreliable);
    for delivery in [Delivery::Unreliable, Delivery::Sequenced { key: 0 }] {
        let payload = Bytes::from(vec![0; max + 1]).into();
        let error = SendError::TooLarge { bytes: max + 1, max };
        assert_eq!(pair.ends[CLIENT].send(pair.now, STREAM, delivery, payload), Err(error));
    }
    let payload = Bytes::from(vec![0; (1 << 20) + 1]).into();
    let error = SendError::TooLarge { bytes: (1 << 20) + 1, max: 1 << 20 };
    assert_eq!(pair.ends[CLIENT].send(pair.now, STREAM, Delivery::ReliableOrdered, payload), Err(error));
}

// spec-test: REL-13
#[test]
fn a_full_send_buffer_blocks_and_drains() {
    let config = ConnectionConfig { send_buffer_bytes: 10_000, ..ConnectionConfig::default() };
    let mut pair = Pair::with_config(7, config);
    let send = |pair: &mut Pair| {
        let payload = Bytes::from(vec![0; 936]).into();
        pair.ends[CLIENT].send(pair.now, STREAM, Delivery::ReliableOrdered, payload)
    };
    for _ in 0..10 {
        assert_eq!(send(&mut pair), Ok(Sent::Queued));
    }
    assert_eq!(send(&mut pair), Err(SendError::WouldBlock));
    pair.run(SECOND);
    assert_eq!(send(&mut pair), Ok(Sent::Queued));
}

// spec-test: REL-11
#[test]
fn old_unreliable_messages_give_way_to_new_ones() {
    let config = ConnectionConfig { unreliable_buffer_bytes: 1_000, ..ConnectionConfig::default() };
    let mut pair = Pair::with_config(8, config);
    for n in 0..100u8 {
        pair.send(CLIENT, Delivery::Unreliable, &[n; 36]);
    }
    assert_eq!(pair.ends[CLIENT].stats().messages_shed, 90);
    pair.run(SECOND);
    assert_eq!(pair.payloads(SERVER).first(), Some(&&[90u8; 36][..]));
    // A message for which there is no room at all is dropped at once, and `send` reports it.
    for delivery in [Delivery::Unreliable, Delivery::Sequenced { key: 1 }] {
        let payload = Bytes::from(vec![0; 937]);
        let sent = pair.ends[CLIENT].send(pair.now, STREAM, delivery, payload.into());
        assert_eq!(sent, Ok(Sent::Shed));
        let payload = Bytes::from(vec![0; 936]);
        let sent = pair.ends[CLIENT].send(pair.now, STREAM, delivery, payload.into());
        assert_eq!(sent, Ok(Sent::Queued));
        pair.run(SECOND);
    }
}

// spec-test: STR-7
#[test]
fn a_newer_value_replaces_one_that_waits() {
    let mut pair = Pair::new(9);
    let send = |pair: &mut Pair, n: u8| {
        let payload = Bytes::copy_from_slice(&[n]).into();
        pair.ends[CLIENT].send(pair.now, STREAM, Delivery::ReliableLatest { key: 4 }, payload).unwrap()
    };
    assert_eq!(send(&mut pair, 1), Sent::Queued);
    assert_eq!(send(&mut pair, 2), Sent::Superseded);
    pair.run(SECOND);
    assert_eq!(pair.payloads(SERVER), [[2]]);
}

// spec-test: STR-7
#[test]
fn what_may_be_lost_replaces_no_value_that_may_not() {
    let mut pair = Pair::new(9);
    pair.send(CLIENT, Delivery::ReliableLatest { key: 4 }, b"value");
    let payload = Payload::from(Bytes::from_static(b"newer"));
    let sent = pair.ends[CLIENT].send(pair.now, STREAM, Delivery::Sequenced { key: 4 }, payload);
    assert_eq!(sent, Ok(Sent::Queued));
    pair.run(SECOND);
    assert_eq!(pair.payloads(SERVER), [b"value", b"newer"]);
}

/// Its number is far above all that have arrived, but must not count as beyond the window.
// spec-test: REL-10
#[test]
fn a_value_that_replaced_thousands_arrives() {
    let mut pair = Pair::new(9);
    for n in 0..5_000u32 {
        pair.send(CLIENT, Delivery::ReliableLatest { key: 4 }, &n.to_be_bytes());
    }
    pair.run(SECOND);
    assert_eq!(pair.payloads(SERVER), [4_999u32.to_be_bytes()]);
    assert_eq!(pair.closed, [None, None]);
}

// spec-test: STR-4
#[test]
fn a_finished_stream_delivers_what_was_sent_and_ignores_what_comes() {
    let mut pair = Pair::new(13);
    pair.send(SERVER, Delivery::ReliableOrdered, b"last");
    pair.send(CLIENT, Delivery::ReliableOrdered, b"late");
    pair.ends[SERVER].finish_stream(STREAM);
    let payload = Payload::from(Bytes::new());
    let sent = pair.ends[SERVER].send(pair.now, STREAM, Delivery::ReliableOrdered, payload);
    assert_eq!(sent, Err(SendError::UnknownStream(STREAM)));
    pair.run(SECOND);
    assert_eq!(pair.payloads(CLIENT), [b"last"]);
    assert!(pair.payloads(SERVER).is_empty());
    assert_eq!(pair.closed, [None, None]);
    assert_eq!(pair.ends[CLIENT].queued_bytes(), 0, "it was acked all the same");
}

// spec-test: STR-4
#[test]
fn a_client_that_opens_a_stream_is_closed() {
    for stream in [StreamId(2), StreamId(9)] {
        let mut pair = Pair::new(14);
        pair.ends[CLIENT].open_stream(stream);
        let payload = Payload::from(Bytes::new());
        pair.ends[CLIENT].send(pair.now, stream, Delivery::ReliableOrdered, payload).unwrap();
        pair.run(SECOND);
        let violation = ProtocolViolation::UnknownStream(stream);
        assert_eq!(pair.closed[SERVER], Some(Closed::Violation(violation)));
        let told = &pair.closed[CLIENT];
        assert!(matches!(told, Some(Closed::ByPeer { code: CloseCode::ProtocolViolation, .. })), "{told:?}");
    }
}

// spec-test: STR-1
#[test]
fn a_stream_and_all_below_it_are_open_to_the_client_from_the_first_message() {
    let mut pair = Pair::new(14);
    let say = |pair: &mut Pair, from: usize, stream, text: &'static [u8]| {
        let payload = Payload::from(Bytes::from_static(text));
        pair.ends[from].send(pair.now, StreamId(stream), Delivery::ReliableOrdered, payload)
    };
    (2..=4).for_each(|stream| pair.ends[SERVER].open_stream(StreamId(stream)));
    assert_eq!(say(&mut pair, CLIENT, 0, b"zero"), Ok(Sent::Queued), "open from the beginning");
    assert_eq!(say(&mut pair, CLIENT, 3, b"early"), Err(SendError::UnknownStream(StreamId(3))));
    say(&mut pair, SERVER, 3, b"first").unwrap();
    pair.run(SECOND);
    for stream in [2, 3] {
        assert_eq!(say(&mut pair, CLIENT, stream, b"answer"), Ok(Sent::Queued), "stream {stream}");
    }
    assert_eq!(say(&mut pair, CLIENT, 4, b"early"), Err(SendError::UnknownStream(StreamId(4))));
    say(&mut pair, SERVER, 2, b"below").unwrap();
    pair.run(SECOND);
    assert_eq!(pair.payloads(CLIENT), [&b"first"[..], b"below"]);
    assert_eq!(pair.payloads(SERVER), [&b"zero"[..], b"answer", b"answer"]);
    assert_eq!(pair.closed, [None, None]);
}

// spec-test: REL-6
#[test]
fn traffic_resumes_at_once_after_a_blackhole() {
    let mut pair = Pair::new(15);
    for n in 0..100u32 {
        pair.send(CLIENT, Delivery::ReliableOrdered, &n.to_be_bytes());
        pair.run(Duration::from_millis(30));
    }
    let end = pair.now + SECOND * 5;
    pair.dark_until = end;
    for n in 100..200u32 {
        pair.send(CLIENT, Delivery::ReliableOrdered, &n.to_be_bytes());
        pair.run(Duration::from_millis(50));
    }
    pair.run(Duration::from_millis(300 + 60));
    assert_eq!(pair.received[SERVER].len(), 200, "one probe interval and 1.5 RTT after its end");
}

// spec-test: KEY-4, KEY-5, KEY-7
#[test]
fn keys_are_renewed_while_traffic_flows() {
    let mut pair = Pair::new(16);
    (pair.loss, pair.reorder) = (0.1, 0.2);
    pair.ends[CLIENT].keys.renew_after(40);
    pair.ends[SERVER].keys.renew_after(70);
    for n in 0..1_000u32 {
        pair.send(CLIENT, Delivery::ReliableOrdered, &n.to_be_bytes());
        pair.send(SERVER, Delivery::ReliableOrdered, &n.to_be_bytes());
        pair.run(Duration::from_millis(7));
    }
    pair.run(SECOND);
    for end in [CLIENT, SERVER] {
        assert_eq!(pair.received[end].len(), 1_000);
        assert!(pair.ends[end].keys.phases() > 5, "renewed {} times", pair.ends[end].keys.phases());
    }
}

#[test]
fn numbers_start_near_their_wrap_and_pass_it() {
    // 16-bit packet numbers and 8-bit message numbers wrap many times in a long run.
    let mut pair = Pair::new(19);
    pair.delay = Duration::from_millis(1);
    for n in 0..70_000u32 {
        pair.send(CLIENT, Delivery::ReliableOrdered, &n.to_be_bytes());
        pair.run(Duration::from_millis(1));
    }
    pair.run(SECOND);
    assert_eq!(pair.received[SERVER].len(), 70_000);
}

/// A fragment declared lost that arrives after all must not keep the others from being retransmitted.
#[test]
fn large_messages_survive_losses_that_were_none() {
    for seed in 0..40 {
        let mut pair = Pair::new(seed);
        (pair.loss, pair.reorder) = (0.2, 0.5);
        for n in 0..20u8 {
            pair.send(CLIENT, Delivery::ReliableOrdered, &[n; 12_000]);
            pair.run(Duration::from_millis(100));
        }
        pair.run(SECOND * 5);
        assert_eq!(pair.payloads(SERVER).len(), 20, "seed {seed}");
    }
}
