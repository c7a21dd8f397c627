//! ECN on paths that keep, clear, drop or set marks, one test per statement.

use super::attacks::Forger;
use super::*;
use crate::base::Truncated;
use crate::wire::frame::{Ack, Frame, Lags};

const KEPT: fn(Ecn) -> Option<Ecn> = Some;
const CLEARED: fn(Ecn) -> Option<Ecn> = |_| Some(Ecn::NotEct);
const DROPPED: fn(Ecn) -> Option<Ecn> = |ecn| (ecn == Ecn::NotEct).then_some(ecn);
/// Every queue on the path has grown.
const CONGESTED: fn(Ecn) -> Option<Ecn> = |ecn| Some(if ecn == Ecn::NotEct { ecn } else { Ecn::Ce });

fn on(mark: fn(Ecn) -> Option<Ecn>) -> Pair {
    with(mark, CongestionControl::default())
}

fn with(mark: fn(Ecn) -> Option<Ecn>, congestion_control: CongestionControl) -> Pair {
    let config = ConnectionConfig { congestion_control, ..ConnectionConfig::default() };
    let mut pair = Pair::with_config(3, config);
    pair.mark = mark;
    pair
}

/// Sends `messages` messages each way, 30 ms apart.
fn talk(pair: &mut Pair, messages: usize) {
    for _ in 0..messages {
        for end in [CLIENT, SERVER] {
            pair.send(end, Delivery::ReliableOrdered, b"state");
        }
        pair.run(Duration::from_millis(30));
    }
}

fn states(pair: &Pair) -> [EcnState; 2] {
    [CLIENT, SERVER].map(|end| pair.ends[end].marking.state())
}

fn counts(pair: &Pair, end: usize) -> (u64, u64) {
    let stats = pair.ends[end].stats();
    (stats.ce_received, stats.ce_told)
}

/// Returns the marks of what an end sends now.
fn marks_of(pair: &mut Pair, end: usize) -> Vec<Ecn> {
    let (now, mut packet, mut marks) = (pair.now, BytesMut::new(), Vec::new());
    while let Some(Envelope { ecn, .. }) = pair.ends[end].poll_transmit(now, &mut packet) {
        marks.push(ecn);
        packet.clear();
    }
    marks
}

/// The acks of an end that only listens get through, though it never learns that its marked packets do not.
// spec-test: ECN-1
#[test]
fn who_only_listens_is_heard_on_a_path_that_begins_to_drop_what_is_marked() {
    for from in [CLIENT, SERVER] {
        let mut pair = on(KEPT);
        talk(&mut pair, 40);
        pair.run(SECOND);
        assert_eq!(states(&pair), [EcnState::Capable; 2]);
        pair.mark = DROPPED;
        let heard = pair.received[1 - from].len();
        for _ in 0..600 {
            pair.send(from, Delivery::Unreliable, b"state");
            pair.run(Duration::from_millis(30));
        }
        assert_eq!(pair.closed, [None, None]);
        let heard = pair.received[1 - from].len() - heard;
        assert!(heard > 550, "{heard} of 600 arrived");
    }
}

// spec-test: ECN-1
#[test]
fn all_that_asks_for_an_ack_is_marked_but_a_close() {
    let mut pair = on(KEPT);
    talk(&mut pair, 20);
    assert_eq!(states(&pair), [EcnState::Capable; 2]);
    pair.send(CLIENT, Delivery::Unreliable, b"marked");
    assert_eq!(marks_of(&mut pair, CLIENT), [Ecn::Ect0]);
    pair.send(SERVER, Delivery::Unreliable, b"heard");
    pair.flush();
    let Wire { from, packet, .. } = pair.wires.pop_back().unwrap();
    assert_eq!(pair.ends[CLIENT].handle_packet(pair.now, from, packet), Ok(()));
    pair.now += Duration::from_millis(100);
    assert_eq!(marks_of(&mut pair, CLIENT), [Ecn::NotEct], "an ack alone");
    pair.ends[CLIENT].close(pair.now, CloseCode::None, "");
    assert_eq!(marks_of(&mut pair, CLIENT), [Ecn::NotEct]);
}

// spec-test: ECN-1, PTH-4
#[test]
fn what_goes_to_an_address_without_a_proof_is_not_marked() {
    let mut pair = on(KEPT);
    talk(&mut pair, 20);
    pair.client_at = ([203, 0, 113, 9], 5_000).into();
    pair.send(CLIENT, Delivery::Unreliable, b"moved");
    pair.flush();
    pair.now += pair.delay;
    let wire = pair.wires.pop_back().unwrap();
    assert_eq!(pair.ends[SERVER].handle_packet(pair.now, wire.from, wire.packet), Ok(()));
    let (now, mut packet, mut challenged) = (pair.now, BytesMut::new(), false);
    while let Some(Envelope { route: Route { remote: address, .. }, ecn }) =
        pair.ends[SERVER].poll_transmit(now, &mut packet)
    {
        let is_pending = address == pair.client_at;
        assert_eq!(ecn, if is_pending { Ecn::NotEct } else { Ecn::Ect0 });
        challenged |= is_pending;
        packet.clear();
    }
    assert!(challenged);
}

/// The bytes are the same as on a path where nothing is marked.
// spec-test: ECN-3
#[test]
fn a_path_without_congestion_costs_nothing_once_both_ends_know_of_it() {
    let bytes = [KEPT, CLEARED].map(|mark| {
        let mut pair = on(mark);
        talk(&mut pair, 20);
        let sent = |pair: &Pair| pair.ends[CLIENT].stats().bytes_sent + pair.ends[SERVER].stats().bytes_sent;
        let before = sent(&pair);
        talk(&mut pair, 100);
        assert_eq!(counts(&pair, CLIENT), (0, 0));
        sent(&pair) - before
    });
    assert_eq!(bytes[0], bytes[1]);
}

// spec-test: ECN-2
#[test]
fn a_path_that_clears_marks_is_one_without() {
    let mut pair = on(CLEARED);
    talk(&mut pair, 20);
    assert_eq!(states(&pair), [EcnState::Failed; 2]);
    pair.send(SERVER, Delivery::Unreliable, b"not marked");
    assert_eq!(marks_of(&mut pair, SERVER), [Ecn::NotEct]);
}

/// The first three messages of each direction wait for a probe; nothing is lost afterwards.
// spec-test: ECN-2
#[test]
fn a_path_that_drops_what_is_marked_delivers_all() {
    let mut pair = on(DROPPED);
    talk(&mut pair, 40);
    assert_eq!(states(&pair), [EcnState::Failed; 2]);
    let lost = |pair: &Pair| [CLIENT, SERVER].map(|end| pair.ends[end].stats().packets_lost);
    let before = lost(&pair);
    talk(&mut pair, 100);
    pair.run(SECOND);
    assert_eq!([CLIENT, SERVER].map(|end| pair.payloads(end).len()), [140; 2]);
    assert_eq!((lost(&pair), pair.closed), (before, [None, None]));
}

/// An end that only listens sends nothing that would reveal that its acks are lost.
// spec-test: ECN-2
#[test]
fn acks_arrive_on_a_path_that_drops_what_is_marked() {
    let mut pair = on(DROPPED);
    for _ in 0..100 {
        pair.send(SERVER, Delivery::ReliableOrdered, b"state");
        pair.run(Duration::from_millis(30));
    }
    pair.run(SECOND);
    assert_eq!((pair.payloads(CLIENT).len(), pair.ends[SERVER].queued_bytes()), (100, 0));
    assert_eq!(pair.closed, [None, None]);
}

// spec-test: ECN-2
#[test]
fn a_path_that_begins_to_drop_what_is_marked_delivers_all() {
    let mut pair = on(KEPT);
    talk(&mut pair, 40);
    pair.mark = DROPPED;
    talk(&mut pair, 100);
    pair.run(SECOND * 2);
    assert_eq!([CLIENT, SERVER].map(|end| pair.payloads(end).len()), [140; 2]);
    assert_eq!((states(&pair), pair.closed), ([EcnState::Failed; 2], [None, None]));
}

// spec-test: ECN-2
#[test]
fn marks_outlive_a_blackhole() {
    let mut pair = on(KEPT);
    talk(&mut pair, 40);
    pair.dark_until = pair.now + SECOND * 2;
    talk(&mut pair, 200);
    assert_eq!(states(&pair), [EcnState::Capable; 2]);
}

/// The client has another IP, so whether its new path carries marks is tested anew.
// spec-test: ECN-2
#[test]
fn a_path_to_a_new_address_is_tested_anew() {
    for (mark, state) in [(KEPT, EcnState::Capable), (CLEARED, EcnState::Failed), (DROPPED, EcnState::Failed)]
    {
        let mut pair = on(KEPT);
        talk(&mut pair, 40);
        pair.client_at = ([203, 0, 113, 9], 5_000).into();
        pair.mark = mark;
        talk(&mut pair, 40);
        pair.run(SECOND);
        assert_eq!(pair.ends[SERVER].stats().address_changes, 1);
        assert_eq!(pair.ends[SERVER].marking.state(), state);
        assert_eq!(pair.payloads(CLIENT).len(), 80);
    }
}

// spec-test: ECN-3
#[test]
fn each_end_hears_how_many_of_its_packets_met_congestion_however_many_are_lost() {
    let mut pair = on(KEPT);
    talk(&mut pair, 20);
    (pair.mark, pair.loss, pair.duplicate, pair.reorder) = (CONGESTED, 0.2, 0.2, 0.2);
    talk(&mut pair, 100);
    (pair.mark, pair.loss) = (KEPT, 0.0);
    talk(&mut pair, 20);
    for end in [CLIENT, SERVER] {
        let (received, told) = (counts(&pair, end).0, counts(&pair, 1 - end).1);
        assert_eq!(received, told);
        assert!((60..=pair.ends[1 - end].stats().packets_sent).contains(&received), "{received}");
    }
}

/// A copy is not another packet, and a packet that does not open is not the peer's.
// spec-test: ECN-3
#[test]
fn a_copy_counts_once_and_a_forgery_never() {
    let mut pair = on(KEPT);
    pair.run(SECOND);
    pair.send(CLIENT, Delivery::Unreliable, b"one");
    let mut packet = BytesMut::new();
    assert!(pair.ends[CLIENT].poll_transmit(pair.now, &mut packet).is_some());
    let from = Envelope { ecn: Ecn::Ce, ..CLIENT_ADDRESS.into() };
    let mut forged = packet.clone();
    *forged.last_mut().unwrap() ^= 1;
    for packet in [forged, packet.clone(), packet] {
        let _ = pair.ends[SERVER].handle_packet(pair.now, from, packet);
    }
    assert_eq!(counts(&pair, SERVER), (1, 0));
}

// spec-test: ECN-4
#[test]
fn a_path_that_marks_everything_is_acked_less_than_twice_as_often() {
    let acks = [KEPT, CONGESTED].map(|mark| {
        let mut pair = on(mark);
        for _ in 0..200 {
            pair.send(SERVER, Delivery::ReliableOrdered, b"state");
            pair.run(Duration::from_millis(33));
        }
        assert_eq!(pair.payloads(CLIENT).len(), 200);
        pair.ends[CLIENT].stats().packets_sent
    });
    assert!(acks[0] < acks[1] && acks[1] < acks[0] * 3 / 2, "{acks:?}");
}

/// The window's floor is two or four datagrams per round trip.
// spec-test: ECN-6
#[test]
fn a_path_that_marks_everything_still_carries_a_transfer() {
    for control in BOTH {
        let mut pair = with(CONGESTED, control);
        pair.run(SECOND);
        pair.send(CLIENT, Delivery::ReliableUnordered, &[0; 100_000]);
        pair.run(SECOND * 5);
        assert_eq!(pair.payloads(SERVER).len(), 1, "{control:?}");
        assert_eq!(pair.ends[CLIENT].stats().packets_lost, 0);
        let window = pair.ends[CLIENT].congestion.window_bytes();
        assert!(window <= 12 * BASE_DATAGRAM_BYTES, "{window}");
    }
}

const BOTH: [CongestionControl; 2] = [CongestionControl::Delay, CongestionControl::NewReno];

// spec-test: ECN-6
#[test]
fn a_mark_shrinks_the_window_and_nothing_is_sent_again() {
    for control in BOTH {
        let windows = [(KEPT, false), (CONGESTED, true)].map(|(mark, is_congested)| {
            let mut pair = with(KEPT, control);
            pair.run(SECOND);
            pair.send(CLIENT, Delivery::ReliableUnordered, &[0; 1_000_000]);
            pair.run(Duration::from_millis(150));
            pair.mark = mark;
            pair.run(Duration::from_millis(80));
            let stats = pair.ends[CLIENT].stats();
            assert_eq!((stats.ce_told > 0, stats.packets_lost), (is_congested, 0));
            pair.ends[CLIENT].congestion.window_bytes()
        });
        assert!(windows[1] <= windows[0] / 2, "{control:?} {windows:?}");
    }
}

/// Runs a transfer over a line with a queue.
fn transfer(control: CongestionControl, mark_after: Duration) -> (Stats, Line) {
    let mut pair = with(KEPT, control);
    pair.run(SECOND);
    pair.line = Some(Line::marking_after(mark_after));
    (0..10).for_each(|_| pair.send(CLIENT, Delivery::ReliableUnordered, &[0; 400_000]));
    pair.run(SECOND * 6);
    assert_eq!(pair.payloads(SERVER).len(), 10, "{control:?} with marks after {mark_after:?}");
    (pair.ends[CLIENT].stats(), pair.line.unwrap())
}

/// NewReno sends in bursts as long as an ack may be delayed; marking these lets it use only a part of the
/// line.
// spec-test: ECN-6
#[test]
fn a_line_that_marks_loses_nothing_and_has_a_shorter_queue() {
    for (control, mark_after) in [(CongestionControl::Delay, 4), (CongestionControl::NewReno, 20)] {
        let mean = |line: &Line| line.waits.iter().sum::<Duration>() / line.waits.len() as u32;
        let (without, full) = transfer(control, Duration::MAX);
        let (with, short) = transfer(control, Duration::from_millis(mark_after));
        assert_eq!((with.packets_lost, short.dropped), (0, 0), "{control:?}");
        assert!(with.ce_told > 0 && without.ce_told == 0);
        assert!(mean(&short) < mean(&full) * 2 / 3, "{control:?}: {:?}, {:?}", mean(&short), mean(&full));
        assert_eq!(full.dropped > 0, control == CongestionControl::NewReno);
    }
}

/// Returns a pair whose server has sent four packets, after its client has reported these counts for them.
fn told(counts: &[u64]) -> Pair {
    let mut pair = on(KEPT);
    let mut forger = Forger::new();
    for _ in 0..4 {
        pair.send(SERVER, Delivery::Unreliable, b"x");
        assert_eq!(marks_of(&mut pair, SERVER), [Ecn::Ect0]);
    }
    let sent = pair.ends[SERVER].sent.next_number().0;
    for &count in counts {
        let ack = Ack { largest: Truncated::bits16(sent - 1), delay: 0, runs: None, repaired: Lags::new() };
        let packet = forger.packet(&[Frame::Ack(ack), Frame::CeCount(count)]);
        assert_eq!(pair.ends[SERVER].handle_packet(pair.now, CLIENT_ADDRESS.into(), packet), Ok(()));
        pair.flush();
    }
    pair
}

// spec-test: ECN-5
#[test]
fn more_congestion_than_packets_is_a_violation() {
    let violation = ProtocolViolation::CeOfUnsent { count: 100 };
    assert_eq!(told(&[100]).closed[SERVER], Some(Closed::Violation(violation)));
    assert_eq!(told(&[4]).closed[SERVER], None);
}

/// Each mark counts once, however often a count is repeated and whatever is reported afterwards.
// spec-test: ECN-5
#[test]
fn a_count_that_goes_back_is_ignored() {
    let pair = told(&[2, 1, 0, 2]);
    assert_eq!((counts(&pair, SERVER), pair.closed[SERVER].clone()), ((0, 2), None));
    let window = |pair: &Pair| pair.ends[SERVER].congestion.window_bytes();
    assert_eq!(window(&pair), window(&told(&[2])));
}
