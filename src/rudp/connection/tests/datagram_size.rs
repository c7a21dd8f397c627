//! How large datagrams become, and what happens when the path takes less than it did.

use super::outbox::Passed;
use super::sent::SentFrame;
use super::*;

const ETHERNET: usize = 1_452;
const JUMBO: usize = 9_216;
/// More than a hundred fragments.
const LARGE: usize = 200_000;

fn pair() -> Pair {
    let mut pair = Pair::new(5);
    pair.run(SECOND);
    pair
}

/// Lets `from` discover what the path takes, before anything that counts.
fn grow(pair: &mut Pair, from: usize) {
    pair.send(from, Delivery::ReliableUnordered, &[0; 4_000]);
    pair.run(SECOND);
    assert_eq!(size(pair, from), ETHERNET);
    pair.received[1 - from].clear();
}

fn size(pair: &Pair, end: usize) -> usize {
    pair.ends[end].datagram_size.bytes()
}

/// Sends fragmented messages, each with contents of its own.
fn send_large(pair: &mut Pair, from: usize, contents: std::ops::Range<u8>) {
    contents.for_each(|content| pair.send(from, Delivery::ReliableOrdered, &[content; LARGE]));
}

/// Checks that `end` has received exactly these messages, in order.
fn expect_large(pair: &Pair, end: usize, contents: std::ops::Range<u8>) {
    let expected: Vec<Vec<u8>> = contents.map(|content| vec![content; LARGE]).collect();
    assert!(pair.payloads(end) == expected, "{} of {}", pair.received[end].len(), expected.len());
    pair.ends.iter().for_each(Connection::audit);
}

// spec-test: MTU-1
#[test]
fn a_size_is_used_once_a_probe_of_it_has_arrived() {
    let mut pair = pair();
    send_large(&mut pair, CLIENT, 0..1);
    pair.run(Duration::from_millis(39));
    assert_eq!(pair.large[CLIENT], [ETHERNET], "the probe alone");
    pair.run(SECOND * 5);
    assert_eq!((size(&pair, CLIENT), size(&pair, SERVER)), (ETHERNET, BASE_DATAGRAM_BYTES));
    assert_eq!(pair.large[CLIENT], [ETHERNET], "the message had begun to leave in smaller ones");
    send_large(&mut pair, CLIENT, 1..2);
    pair.run(SECOND * 5);
    assert!(pair.large[CLIENT].len() > LARGE / ETHERNET, "{}", pair.large[CLIENT].len());
    expect_large(&pair, SERVER, 0..2);
}

// spec-test: MTU-3
#[test]
fn a_probe_counts_whose_ack_comes_after_the_search_has_ended() {
    let mut pair = pair();
    send_large(&mut pair, CLIENT, 0..2);
    pair.flush();
    let late = pair.wires.iter().position(|wire| wire.packet.len() == ETHERNET).unwrap();
    let late = pair.wires.remove(late).unwrap();
    pair.mtu = BASE_DATAGRAM_BYTES;
    pair.run(Duration::from_millis(300));
    assert_eq!(size(&pair, CLIENT), BASE_DATAGRAM_BYTES);
    let ends = &mut pair.ends;
    assert_eq!(ends[SERVER].handle_packet(pair.now, late.from, late.packet), Ok(()));
    pair.run(Duration::from_millis(100));
    assert_eq!(size(&pair, CLIENT), ETHERNET);
}

/// A server takes no larger datagram from another IP.
// spec-test: PTH-7
#[test]
fn the_answer_to_a_challenge_leaves_in_a_datagram_that_every_path_takes() {
    let mut pair = pair();
    grow(&mut pair, CLIENT);
    // Two fragments each, which only large datagrams hold.
    (0..3).for_each(|_| pair.send(CLIENT, Delivery::ReliableOrdered, &[7; 2_600]));
    let client = &mut pair.ends[CLIENT];
    client.paths.on_challenge(pair.now, SERVER_ADDRESS.into(), [1; 8]);
    let mut sizes = Vec::new();
    let mut packet = BytesMut::new();
    while client.poll_transmit(pair.now, &mut packet).is_some() {
        sizes.push(packet.len());
        packet.clear();
    }
    let (first, rest) = sizes.split_first().unwrap();
    assert!(
        *first <= BASE_DATAGRAM_BYTES && rest.iter().any(|size| *size > BASE_DATAGRAM_BYTES),
        "{sizes:?}"
    );
    assert!(!client.paths.has_for_active(), "the first holds the answer");
}

/// Creates a pair whose links both take packets of 9,000 bytes and more.
fn jumbo_pair() -> Pair {
    let mut pair = Pair::with_config(5, ConnectionConfig::default().on_any_link());
    pair.run(SECOND);
    pair
}

/// Sends messages of 1,000 bytes; many of them make larger datagrams useful.
fn send_many(pair: &mut Pair, numbers: std::ops::Range<u16>) {
    for number in numbers {
        let message: Vec<u8> = number.to_be_bytes().into_iter().cycle().take(1_000).collect();
        pair.send(CLIENT, Delivery::ReliableOrdered, &message);
    }
}

fn expect_many(pair: &Pair, numbers: std::ops::Range<u16>) {
    let received = pair.payloads(SERVER);
    let received: Vec<_> = received.iter().map(|it| u16::from_be_bytes([it[0], it[1]])).collect();
    assert!(received == Vec::from_iter(numbers), "{} of them", received.len());
    pair.ends.iter().for_each(Connection::audit);
}

/// A datagram of 9,216 bytes has room for thousands of these messages.
// spec-test: FRM-2
#[test]
fn a_packet_holds_no_more_frames_than_may_be() {
    let mut pair = jumbo_pair();
    send_many(&mut pair, 0..400);
    pair.run(SECOND * 5);
    assert_eq!(size(&pair, CLIENT), JUMBO);
    for delivery in [Delivery::ReliableOrdered, Delivery::Unreliable] {
        pair.received[SERVER].clear();
        for _ in 0..3_000 {
            pair.send(CLIENT, delivery, b"");
        }
        pair.run(SECOND);
        assert_eq!(pair.received[SERVER].len(), 3_000);
    }
    assert!(!pair.ends[SERVER].is_closed());
}

/// Eight or nine messages of 1,000 bytes share a datagram of 9,216.
// spec-test: MTU-1, MTU-3, ACK-4
#[test]
fn many_messages_that_wait_share_the_largest_datagrams_that_both_links_take() {
    let mut pair = jumbo_pair();
    send_many(&mut pair, 0..400);
    pair.run(SECOND * 5);
    assert_eq!(size(&pair, CLIENT), JUMBO);
    let before = pair.ends.each_ref().map(|end| end.stats().packets_sent);
    send_many(&mut pair, 400..800);
    pair.run(SECOND * 5);
    let after = pair.ends.each_ref().map(|end| end.stats().packets_sent);
    let [packets, acks] = [after[CLIENT] - before[CLIENT], after[SERVER] - before[SERVER]];
    assert!((45..60).contains(&packets), "{packets}");
    // An ack is due after 19,200 bytes, which are at most three of these datagrams.
    assert!(acks >= packets / 4, "{acks} of {packets}");
    expect_many(&pair, 0..800);
}

// spec-test: MTU-4, MTU-5
#[test]
fn when_the_path_shrinks_messages_that_shared_a_datagram_arrive_once_in_order() {
    for (mtu, loss) in [(8_000, 0.0), (1_500, 0.05), (1_300, 0.0)] {
        let mut pair = jumbo_pair();
        send_many(&mut pair, 0..400);
        pair.run(SECOND * 5);
        assert_eq!(size(&pair, CLIENT), JUMBO);
        send_many(&mut pair, 400..1_000);
        pair.run(Duration::from_millis(10));
        (pair.mtu, pair.loss) = (mtu, loss);
        pair.run(SECOND * 25);
        let found = if mtu == 1_300 { 1_285..=1_300 } else { ETHERNET..=ETHERNET };
        assert!(found.contains(&size(&pair, CLIENT)), "{} of {mtu}", size(&pair, CLIENT));
        expect_many(&pair, 0..1_000);
    }
}

// spec-test: HSK-9
#[test]
fn each_end_says_what_its_link_takes() {
    for (link, told) in [(1_200, 1_200), (800, 1_200), (1_452, 1_452), (9_216, 9_216), (65_488, 9_216)] {
        let config = ConnectionConfig { link_datagram_bytes: link, ..ConnectionConfig::default() };
        assert_eq!(config.parameters().max_datagram_bytes, told);
        let mut pair = Pair::with_config(5, config);
        send_large(&mut pair, CLIENT, 0..1);
        pair.run(SECOND * 5);
        assert_eq!(size(&pair, CLIENT), told as usize);
    }
}

// spec-test: MTU-1
#[test]
fn the_largest_size_that_the_link_takes_is_found() {
    for mtu in [1_200, 1_232, 1_372, 1_451] {
        let mut pair = pair();
        pair.mtu = mtu;
        send_large(&mut pair, SERVER, 0..20);
        pair.run(SECOND * 20);
        assert!((mtu - 15..=mtu).contains(&size(&pair, SERVER)), "{} of {mtu}", size(&pair, SERVER));
        assert_eq!(pair.ends[SERVER].stats().packets_lost, 0, "a probe is no loss");
        expect_large(&pair, CLIENT, 0..20);
    }
}

#[test]
fn a_thin_stream_sends_no_probe() {
    let mut pair = pair();
    for number in 0..900u16 {
        pair.send(CLIENT, Delivery::ReliableOrdered, &number.to_be_bytes());
        pair.send(SERVER, Delivery::Unreliable, &[0; 1_000]);
        pair.run(Duration::from_millis(33));
    }
    assert_eq!(pair.large, [[0; 0]; 2]);
}

/// The transfers are alike except for the loss of each probe.
// spec-test: MTU-2
#[test]
fn lost_probes_neither_shrink_the_window_nor_count_as_losses_nor_make_this_end_probe() {
    let transfer = |max_datagram_bytes| {
        // This controller halves the window at any loss.
        let congestion_control = CongestionControl::NewReno;
        let config =
            ConnectionConfig { max_datagram_bytes, congestion_control, ..ConnectionConfig::default() };
        let mut pair = Pair::with_config(5, config);
        pair.run(SECOND);
        pair.mtu = BASE_DATAGRAM_BYTES;
        send_large(&mut pair, CLIENT, 0..4);
        pair.run(SECOND * 10);
        expect_large(&pair, SERVER, 0..4);
        pair
    };
    let (plain, probing) = (transfer(BASE_DATAGRAM_BYTES), transfer(ETHERNET));
    assert_eq!((plain.large[CLIENT].len(), probing.large[CLIENT].len()), (0, 15), "five sizes, three times");
    for pair in [&plain, &probing] {
        let stats = pair.ends[CLIENT].stats();
        assert_eq!((stats.packets_lost, stats.probes), (0, plain.ends[CLIENT].stats().probes));
        assert!(!pair.ends[CLIENT].repair_encoder.is_on());
    }
    let window = |pair: &Pair| pair.ends[CLIENT].congestion.window_bytes();
    assert!(window(&probing) * 10 > window(&plain) * 9, "{} and {}", window(&probing), window(&plain));
}

// spec-test: MTU-4, MTU-5, FRM-12
#[test]
fn when_the_path_shrinks_in_the_middle_of_messages_all_arrive_once_in_order() {
    for mtu in [1_200, 1_300, 1_380] {
        for seed in 0..4 {
            let mut pair = Pair::new(seed);
            (pair.loss, pair.reorder, pair.duplicate) = ([0.0, 0.0, 0.02, 0.1][seed as usize], 0.02, 0.02);
            pair.run(SECOND);
            grow(&mut pair, CLIENT);
            send_large(&mut pair, CLIENT, 0..12);
            pair.run(Duration::from_millis(150));
            assert!(pair.received[SERVER].is_empty() && pair.large[CLIENT].len() > 10);
            pair.mtu = mtu;
            pair.run(SECOND * 25);
            assert!((BASE_DATAGRAM_BYTES..=mtu).contains(&size(&pair, CLIENT)), "{}", size(&pair, CLIENT));
            expect_large(&pair, SERVER, 0..12);
        }
    }
}

/// A large datagram is late four times, or does not arrive. Size probes do not, so that a size once given up
/// stays so.
// spec-test: MTU-4
#[test]
fn a_large_datagram_that_is_only_late_shows_that_the_path_takes_it() {
    for (arrives, bytes) in [(true, ETHERNET), (false, BASE_DATAGRAM_BYTES)] {
        let mut pair = pair();
        grow(&mut pair, CLIENT);
        for _ in 0..4 {
            (0..2).for_each(|_| pair.send(CLIENT, Delivery::Unreliable, &[7; 700]));
            pair.mtu = ETHERNET;
            pair.flush();
            pair.mtu = BASE_DATAGRAM_BYTES;
            let Some(at) = pair.wires.iter().position(|wire| wire.packet.len() > BASE_DATAGRAM_BYTES) else {
                break;
            };
            let late = pair.wires.remove(at).unwrap();
            pair.send(CLIENT, Delivery::ReliableOrdered, b"overtakes it");
            let lost = pair.ends[CLIENT].stats().packets_lost;
            while pair.ends[CLIENT].stats().packets_lost == lost {
                pair.run(Duration::from_millis(1));
            }
            if arrives {
                assert_eq!(pair.ends[SERVER].handle_packet(pair.now, late.from, late.packet), Ok(()));
            }
            pair.run(SECOND);
        }
        assert_eq!((size(&pair, CLIENT), pair.received[SERVER].is_empty()), (bytes, false));
    }
}

/// Returns an outbox in which one reliable message of `bytes` bytes waits, cut for [`ETHERNET`].
fn outbox_with(bytes: usize) -> Outbox {
    let config = ConnectionConfig::default();
    let mut outbox = Outbox::new(&config, &config.parameters());
    outbox.open(STREAM);
    outbox.cut_for(ETHERNET);
    outbox.push(STREAM, Delivery::ReliableOrdered, Bytes::from(vec![7; bytes]).into()).unwrap();
    outbox
}

/// Sends all that waits.
fn leave(outbox: &mut Outbox) -> Vec<SentFrame> {
    let mut left = vec![];
    while let Some(next) = outbox.next(&mut Passed::default()) {
        left.extend(outbox.on_sent(&next));
    }
    left
}

/// Fragments of the first cut are acked after the message was cut anew and has left again.
// spec-test: FRM-12
#[test]
fn an_ack_of_an_earlier_cut_settles_nothing() {
    let pieces = |outbox: &mut Outbox| -> Vec<_> {
        let left = leave(outbox).into_iter().map(|frame| match frame {
            SentFrame::Fragment(message, piece) => (message, piece),
            other => panic!("{other:?}"),
        });
        left.collect()
    };
    let mut outbox = outbox_with(2_600);
    let earlier = pieces(&mut outbox);
    outbox.cut_for(BASE_DATAGRAM_BYTES);
    let anew = pieces(&mut outbox);
    assert_eq!((earlier.len(), anew.len()), (2, 3));
    for (message, piece) in [earlier[0], earlier[1], anew[2]] {
        outbox.on_acked(message, Some(piece));
    }
    for (message, piece) in [anew[0], anew[1]] {
        outbox.on_lost(message, Some(piece));
    }
    assert_eq!(leave(&mut outbox).len(), 2, "both are still missing");
}

// spec-test: MTU-5
#[test]
fn what_does_not_fit_the_base_is_cut_however_large_datagrams_are() {
    for (bytes, pieces) in [(MAX_WHOLE_BYTES, 1), (MAX_WHOLE_BYTES + 1, 2), (1_300, 2)] {
        let left = leave(&mut outbox_with(bytes));
        assert_eq!(left.len(), pieces, "{bytes}");
        assert_eq!(matches!(left[0], SentFrame::Messages(_, 1)), pieces == 1, "{bytes}");
    }
}

// spec-test: FRM-12
#[test]
fn a_message_that_has_left_whole_is_not_cut() {
    let mut outbox = outbox_with(1_000);
    let [SentFrame::Messages(message, 1)] = leave(&mut outbox)[..] else { panic!("it fits") };
    outbox.cut_for(BASE_DATAGRAM_BYTES);
    outbox.on_lost(message, None);
    assert!(matches!(leave(&mut outbox)[..], [SentFrame::Messages(_, 1)]));
}

/// Only its fragments are too large for the path; everything else keeps arriving.
#[test]
fn a_message_of_two_fragments_is_not_stuck_beside_smaller_ones() {
    let mut pair = pair();
    grow(&mut pair, CLIENT);
    pair.mtu = 1_350;
    for round in 1..40 {
        // Fragments of 1,360 bytes, and others of 1,250, which pass.
        pair.send(CLIENT, Delivery::ReliableOrdered, &[round; 2_720]);
        pair.send(CLIENT, Delivery::ReliableUnordered, &[round; 2_500]);
        pair.run(Duration::from_millis(100));
    }
    pair.run(SECOND * 5);
    assert!((1_335..=1_350).contains(&size(&pair, CLIENT)), "{}", size(&pair, CLIENT));
    assert_eq!(pair.received[SERVER].len(), 78);
}

#[test]
fn losses_and_an_outage_are_no_black_hole() {
    let mut pair = pair();
    grow(&mut pair, CLIENT);
    send_large(&mut pair, CLIENT, 0..20);
    pair.run(Duration::from_millis(300));
    pair.loss = 0.1;
    pair.run(SECOND);
    pair.dark_until = pair.now + SECOND * 2;
    pair.run(SECOND * 20);
    assert_eq!(size(&pair, CLIENT), ETHERNET);
    expect_large(&pair, SERVER, 0..20);
}

// spec-test: MTU-6, PTH-8
#[test]
fn a_new_path_begins_at_the_base() {
    for (address, is_new) in [(([203, 0, 113, 9], 4_000), true), (([192, 0, 2, 1], 4_001), false)] {
        let mut pair = pair();
        pair.send(CLIENT, Delivery::ReliableOrdered, b"hello");
        grow(&mut pair, SERVER);
        send_large(&mut pair, SERVER, 0..20);
        pair.run(Duration::from_millis(300));
        pair.client_at = address.into();
        pair.mtu = if is_new { 1_300 } else { usize::MAX };
        pair.send(CLIENT, Delivery::ReliableOrdered, b"from elsewhere");
        while pair.ends[SERVER].stats().address_changes == 0 {
            pair.run(Duration::from_millis(1));
        }
        assert_eq!(size(&pair, SERVER) == BASE_DATAGRAM_BYTES, is_new);
        pair.run(SECOND * 20);
        let expected = if is_new { 1_285..=1_300 } else { ETHERNET..=ETHERNET };
        assert!(expected.contains(&size(&pair, SERVER)), "{}", size(&pair, SERVER));
        expect_large(&pair, CLIENT, 0..20);
    }
}

// spec-test: PKT-11
#[test]
fn neither_ends_limit_is_exceeded() {
    for (own, peers) in [(1_452, 1_300), (1_300, 1_452), (9_000, 1_400), (1_200, 9_000)] {
        let config =
            ConnectionConfig { max_datagram_bytes: own, ..ConnectionConfig::default().on_any_link() };
        let mut pair = Pair::with_config(5, config);
        let peer = TransportParameters { max_datagram_bytes: peers, ..config.parameters() };
        let rng = StdRng::seed_from_u64(1);
        let (keys, role) = (keys().client_keys(), Role::Client { id: ConnectionId(7) });
        pair.ends[CLIENT] = Connection::new(pair.now, role, SERVER_ADDRESS.into(), keys, peer, config, rng);
        pair.ends[CLIENT].open_stream(STREAM);
        send_large(&mut pair, CLIENT, 0..2);
        pair.run(SECOND * 5);
        let limit = own.min(peers as usize);
        assert_eq!(size(&pair, CLIENT), limit);
        assert!(pair.large[CLIENT].iter().all(|bytes| *bytes <= limit));
        expect_large(&pair, SERVER, 0..2);
    }
}

/// A probe could arrive in fragments, so none is sent.
// spec-test: MTU-1
#[test]
fn where_ip_may_cut_datagrams_none_is_larger_than_any_path_takes() {
    for (forbids_fragments, expected) in [(false, 1_200), (true, ETHERNET)] {
        let mut pair = Pair::with_config(5, ConnectionConfig::default().on_socket(forbids_fragments));
        send_large(&mut pair, CLIENT, 0..2);
        pair.run(SECOND * 5);
        assert_eq!(size(&pair, CLIENT), expected);
        assert!(pair.large[CLIENT].iter().all(|bytes| *bytes <= expected));
        expect_large(&pair, SERVER, 0..2);
    }
}

/// The path may no longer take large datagrams, and a probe must find out what was lost on it.
// spec-test: MTU-5
#[test]
fn a_probe_fits_the_base_though_larger_pieces_wait() {
    let mut pair = pair();
    grow(&mut pair, CLIENT);
    pair.large[CLIENT].clear();
    pair.dark_until = Timestamp::MAX;
    // Two fragments each, which only large datagrams hold; more of them than may leave.
    (0..100).for_each(|_| pair.send(CLIENT, Delivery::ReliableUnordered, &[7; 2_600]));
    pair.flush();
    let mut sizes = vec![];
    while sizes.len() < 8 {
        let before = pair.ends[CLIENT].stats();
        pair.run(Duration::from_millis(1));
        let stats = pair.ends[CLIENT].stats();
        if stats.probes > before.probes {
            assert_eq!(stats.packets_sent, before.packets_sent + 1, "the probe alone");
            sizes.push(stats.bytes_sent - before.bytes_sent);
        }
    }
    assert!(!pair.large[CLIENT].is_empty());
    assert!(sizes.iter().all(|bytes| *bytes <= 1_200), "{sizes:?}");
}

/// It holds a PING, so its ack is not delayed.
// spec-test: MTU-3
#[test]
fn a_size_probe_is_lost_after_two_probe_timeouts_without_the_ack_delay() {
    let mut pair = pair();
    pair.mtu = 1_200;
    send_large(&mut pair, CLIENT, 0..1);
    pair.flush();
    assert_eq!(pair.large[CLIENT], [ETHERNET]);
    let rtt = pair.ends[CLIENT].rtt;
    let timeout = rtt.smoothed() + (rtt.variation() * 4).max(Duration::from_millis(1));
    pair.run(timeout * 2 - Duration::from_micros(1));
    assert_eq!(pair.large[CLIENT], [ETHERNET]);
    pair.run(Duration::from_micros(1));
    assert_eq!(pair.large[CLIENT], [ETHERNET; 2]);
}

/// A packet takes no more runs of messages than may be remembered, which a larger one would not either.
// spec-test: MTU-3
#[test]
fn packets_that_are_full_of_runs_make_no_larger_one_useful() {
    // Of the longer ones, 16 fill a packet, too.
    for bytes in [9, 66] {
        let mut pair = pair();
        for _ in 0..20 {
            for _ in 0..32 {
                pair.send(CLIENT, Delivery::ReliableOrdered, &[7; 66][..bytes]);
                pair.send(CLIENT, Delivery::ReliableUnordered, &[7; 66][..bytes]);
            }
            pair.run(Duration::from_millis(100));
        }
        assert_eq!(pair.received[SERVER].len(), 20 * 64);
        assert!(pair.large[CLIENT].is_empty(), "{:?} with {bytes} bytes", pair.large[CLIENT]);
        assert_eq!(size(&pair, CLIENT), BASE_DATAGRAM_BYTES);
    }
}
