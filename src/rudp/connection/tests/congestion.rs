//! Bounds on the bytes in flight, one test per statement. The pair's link has no rate: a queue is modelled as
//! a longer delay.

use super::*;

const LARGE: usize = 400_000;

fn pair(congestion_control: CongestionControl) -> Pair {
    let config = ConnectionConfig { congestion_control, ..ConnectionConfig::default() };
    let mut pair = Pair::with_config(1, config);
    pair.run(SECOND);
    pair
}

fn window(pair: &Pair) -> usize {
    pair.ends[CLIENT].congestion.window_bytes()
}

fn send_bulk(pair: &mut Pair, messages: usize) {
    (0..messages).for_each(|_| pair.send(CLIENT, Delivery::ReliableUnordered, &vec![0; LARGE]));
}

/// The peer's buffer holds the transfer back, and not the window.
// spec-test: REL-8
#[test]
fn a_window_that_only_the_peers_buffer_keeps_from_use_grows_no_further() {
    for congestion_control in [CongestionControl::Delay, CongestionControl::NewReno] {
        let small = ConnectionConfig { receive_buffer_bytes: 1 << 16, ..ConnectionConfig::default() };
        let mut pair = Pair::with_config(1, ConnectionConfig { congestion_control, ..small });
        for _ in 0..3_000 {
            while pair.ends[CLIENT].queued_bytes() < 500_000 {
                pair.send(CLIENT, Delivery::ReliableOrdered, &[0; 5_000]);
            }
            pair.run(Duration::from_millis(5));
        }
        assert!(window(&pair) < 2 << 16, "{congestion_control:?}: {}", window(&pair));
    }
}

// spec-test: REL-8
#[test]
fn at_first_an_initial_window_leaves_and_no_more() {
    for control in [CongestionControl::Delay, CongestionControl::NewReno] {
        let mut pair = pair(control);
        send_bulk(&mut pair, 1);
        pair.run(Duration::from_millis(35));
        let in_flight = pair.ends[CLIENT].sent.bytes_in_flight();
        assert!((10_800..=14_720 + BASE_DATAGRAM_BYTES).contains(&in_flight), "{in_flight}");
    }
}

// spec-test: REL-8
#[test]
fn a_transfer_widens_the_window_and_a_thin_stream_does_not() {
    for control in [CongestionControl::Delay, CongestionControl::NewReno] {
        let mut pair = pair(control);
        for _ in 0..200 {
            pair.send(CLIENT, Delivery::ReliableOrdered, &[0; 64]);
            pair.run(Duration::from_millis(10));
        }
        assert_eq!(window(&pair), 12_000);
        send_bulk(&mut pair, 4);
        pair.run(SECOND);
        assert!(window(&pair) > 24_000);
    }
}

/// Bursts that fit the window and that only the pacer spreads: of large messages, and of small ones, which
/// count several times their size in a buffer.
// spec-test: REL-8
#[test]
fn a_window_that_only_the_pacer_keeps_from_use_grows_no_further() {
    for control in [CongestionControl::Delay, CongestionControl::NewReno] {
        for delivery in [Delivery::Unreliable, Delivery::ReliableOrdered] {
            for (messages, bytes) in [(15, 1_000), (1_000, 10)] {
                let mut pair = pair(control);
                for _ in 0..300 {
                    (0..messages).for_each(|_| pair.send(CLIENT, delivery, &vec![0; bytes]));
                    pair.run(Duration::from_millis(100));
                }
                let window = window(&pair);
                assert!(window < 26_000, "{control:?}, {delivery:?} of {bytes} bytes: {window}");
            }
        }
    }
}

/// 16 Mbit/s of messages that may be lost on a line of 10 Mbit/s, after a transfer that has left a large
/// window.
// spec-test: REL-8
#[test]
fn what_a_line_does_not_take_is_shed_before_it_and_not_in_its_queue() {
    let mut pair = pair(CongestionControl::Delay);
    send_bulk(&mut pair, 10);
    pair.run(SECOND * 2);
    assert!(window(&pair) > 150_000, "{}", window(&pair));
    pair.line = Some(Line::marking_after(SECOND));
    let mut dropped = 0;
    for second in 0..10 {
        for _ in 0..1_000 {
            (0..2).for_each(|_| pair.send(CLIENT, Delivery::Unreliable, &[0; 1_000]));
            pair.run(Duration::from_millis(1));
        }
        if second == 4 {
            dropped = pair.line.as_ref().unwrap().dropped;
        }
    }
    let late = pair.line.as_ref().unwrap().dropped - dropped;
    assert!(late < 100, "of 10,000 in five seconds {late} were dropped");
    assert!(pair.ends[CLIENT].stats().messages_shed > 3_000);
}

// spec-test: REL-8
#[test]
fn the_window_shrinks_when_the_queue_grows() {
    let mut pair = pair(CongestionControl::Delay);
    send_bulk(&mut pair, 8);
    pair.run(Duration::from_millis(250));
    let before = window(&pair);
    pair.delay = Duration::from_millis(50);
    pair.run(Duration::from_millis(500));
    assert!(window(&pair) < before / 2, "{before} to {}", window(&pair));
}

// spec-test: REL-8
#[test]
fn new_reno_halves_on_loss() {
    let mut pair = pair(CongestionControl::NewReno);
    send_bulk(&mut pair, 8);
    pair.run(Duration::from_millis(150));
    let lost = pair.ends[CLIENT].stats().packets_lost;
    pair.dark_until = pair.now + Duration::from_millis(25);
    let mut before = window(&pair);
    for _ in 0..200 {
        pair.run(Duration::from_millis(1));
        if pair.ends[CLIENT].stats().packets_lost > lost {
            break;
        }
        before = window(&pair);
    }
    assert!(pair.ends[CLIENT].stats().packets_lost > lost);
    let after = window(&pair);
    assert!((before / 2..before * 7 / 10).contains(&after), "{before} to {after}");
}

// spec-test: REL-8, REL-6
#[test]
fn after_a_blackhole_a_transfer_resumes_at_once() {
    for control in [CongestionControl::Delay, CongestionControl::NewReno] {
        let mut pair = pair(control);
        send_bulk(&mut pair, 8);
        pair.run(Duration::from_millis(200));
        pair.dark_until = pair.now + SECOND * 3;
        pair.run(SECOND * 3);
        let before = pair.ends[SERVER].stats().bytes_received;
        let mut least = usize::MAX;
        for _ in 0..500 {
            pair.run(Duration::from_millis(1));
            least = least.min(window(&pair));
        }
        assert!(least <= 4 * BASE_DATAGRAM_BYTES, "persistent congestion leaves a few datagrams: {least}");
        let after = pair.ends[SERVER].stats().bytes_received;
        assert!(after > before + 5_000, "a probe interval of 300 ms, and then data: {}", after - before);
        pair.run(SECOND * 30);
        assert_eq!(pair.payloads(SERVER).len(), 8);
    }
}

/// They left at intervals for a round trip that was only assumed, longer than those for the one that was measured.
// spec-test: REL-8
#[test]
fn losses_before_the_first_round_trip_are_no_persistent_congestion() {
    let mut pair = Pair::new(1);
    pair.delay = Duration::from_millis(10);
    pair.dark_until = pair.now + Duration::from_millis(440);
    pair.run(SECOND * 3 / 2);
    assert!(pair.ends[CLIENT].stats().packets_lost > 1);
    assert_eq!(window(&pair), 12_000);
}
