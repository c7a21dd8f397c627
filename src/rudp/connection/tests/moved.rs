//! What a server requires of a client that seems to have moved, and what its former path still counts for.

use smallvec::smallvec;

use super::super::controller::{Acked, Controller, Lost, Marked};
use super::attacks::message;
use super::paths::{Bed, away, home, large};
use super::*;
use crate::base::Truncated;
use crate::wire::frame::{Ack, AckRun, Frame, Lags};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// An attacker that could guess it would need no answer from the client.
// spec-test: PTH-2
#[test]
fn each_challenge_has_data_that_nobody_can_guess() {
    let mut drawn = vec![];
    for seed in 0..8 {
        let mut bed = Bed::seeded(seed);
        for _ in 0..4 {
            bed.say(away(), &[large()]);
            drawn.extend(bed.challenges().into_values());
            bed.say(home(), &[Frame::Ping]);
            bed.pair.now += SECOND;
        }
    }
    assert_eq!((drawn.len(), drawn.iter().collect::<BTreeSet<_>>().len()), (64, 64));
    for at in 0..8 {
        let values: BTreeSet<u8> = drawn.iter().map(|data| data[at]).collect();
        assert!(values.len() > 40, "byte {at} is one of {values:?}");
    }
}

/// A packet from another IP may be as large as every path carries.
// spec-test: MTU-7
#[test]
fn from_another_ip_a_server_takes_1200_bytes_and_no_more() {
    for (bytes, fate) in [(1_200, Ok(())), (1_201, Err(PacketDropped::OffPath))] {
        let mut bed = Bed::new();
        // Header, PING, the type of PADDING and the tag take 27 bytes.
        let packet = bed.forger.packet(&[Frame::Ping, Frame::Padding(bytes - 27)]);
        assert_eq!(packet.len(), bytes);
        assert_eq!(bed.take(away(), packet), fate, "{bytes}");
    }
}

/// Counts of what a controller was notified of.
#[derive(Default)]
struct Told {
    acked: AtomicU32,
    marked: AtomicU32,
}

/// A controller that counts its notifications.
struct Counts(Arc<Told>);

impl Controller for Counts {
    fn on_acked(&mut self, _: Timestamp, _: &Acked) {
        self.0.acked.fetch_add(1, Ordering::Relaxed);
    }
    fn on_lost(&mut self, _: Timestamp, _: &Lost) {}
    fn on_marked(&mut self, _: Timestamp, _: &Marked) {
        self.0.marked.fetch_add(1, Ordering::Relaxed);
    }
    fn on_spurious(&mut self) {}
    fn window_bytes(&self) -> usize {
        usize::MAX
    }
    fn is_in_slow_start(&self) -> bool {
        false
    }
}

/// The paths of the packets that an ack names.
#[derive(Clone, Copy, Debug)]
enum Acks {
    Former,
    Both,
    /// Both, of which the one of the former path was declared lost.
    Lost,
    New,
}

/// Moves the client to `to` while a packet is in flight to it. The client then acks that packet, or what left
/// after the move, and sends `more`. Returns what the controller is notified of.
fn told_after_a_move(to: SocketAddr, acks: Acks, more: &[Frame]) -> Arc<Told> {
    let mut bed = Bed::new();
    bed.pair.send(SERVER, Delivery::ReliableOrdered, b"x");
    bed.hear();
    let before = bed.server().sent.next_number().0 - 1;
    bed.say(to, &[large()]);
    let challenges = bed.challenges();
    bed.pair.now += Duration::from_millis(50);
    bed.say(to, &[Frame::PathResponse(challenges[&to])]);
    bed.expect(to, 1);
    let (told, rtt) = (Arc::<Told>::default(), bed.server().rtt());
    bed.server().congestion.replace(Box::new(Counts(Arc::clone(&told))), rtt);
    bed.pair.now += Duration::from_millis(1);
    bed.hear();
    let newest = bed.server().sent.next_number().0 - 1;
    if let Acks::Lost = acks {
        let (largest, runs) = (Truncated::bits32(newest), Some((1, smallvec![])));
        bed.pair.now += Duration::from_millis(40);
        bed.say(to, &[Frame::Ack(Ack { largest, delay: 0, runs, repaired: Lags::new() })]);
        bed.pair.now += Duration::from_millis(60);
        let now = bed.pair.now;
        bed.server().handle_timeout(now);
        assert!(bed.server().stats().packets_lost > 0);
    }
    let run = AckRun { gap: newest - before - 1, run: 1 };
    let (largest, older) = match acks {
        Acks::Former => (before, smallvec![]),
        Acks::Both | Acks::Lost => (newest, smallvec![run]),
        Acks::New => (newest, smallvec![]),
    };
    let ack =
        Ack { largest: Truncated::bits32(largest), delay: 0, runs: Some((1, older)), repaired: Lags::new() };
    bed.say(to, &[&[Frame::Ack(ack)], more].concat());
    told
}

/// Returns another port of the same host, which changes nothing, and another IP, after which everything
/// begins anew.
fn port_and_ip() -> [(SocketAddr, u32); 2] {
    let mut port = home();
    port.set_port(4_001);
    [(port, 1), (away(), 0)]
}

// spec-test: PTH-8
#[test]
fn an_ack_of_what_left_before_a_change_of_ip_does_not_change_the_new_window() {
    for (to, acked) in port_and_ip() {
        let told = told_after_a_move(to, Acks::Former, &[]);
        assert_eq!(told.acked.load(Ordering::Relaxed), acked, "to {to}");
    }
}

// spec-test: ECN-6, PTH-8
#[test]
fn congestion_before_a_change_of_ip_is_none_of_the_new_path() {
    for (to, marked) in port_and_ip() {
        for acks in [Acks::Former, Acks::Both, Acks::Lost] {
            let told = told_after_a_move(to, acks, &[Frame::CeCount(1)]);
            assert_eq!(told.marked.load(Ordering::Relaxed), marked, "to {to}, {acks:?}");
        }
        let told = told_after_a_move(to, Acks::New, &[Frame::CeCount(1)]);
        assert_eq!(told.marked.load(Ordering::Relaxed), 1, "what comes with acks of the new path is of it");
    }
}

/// Moves the client to `to` while a large message is under way to it.
fn moved_in_mid_flow(to: SocketAddr) -> Pair {
    let mut pair = Pair::new(3);
    pair.send(SERVER, Delivery::ReliableOrdered, &[7; 900_000]);
    pair.run(Duration::from_millis(200));
    pair.client_at = to;
    pair.send(CLIENT, Delivery::Unreliable, b"moved");
    while pair.ends[SERVER].remote() != to {
        assert!(pair.step(pair.now + SECOND));
    }
    pair
}

/// A round trip takes 40 ms, so no ack can have come.
// spec-test: PTH-8
#[test]
fn what_is_in_flight_to_the_old_ip_does_not_keep_the_first_window_from_leaving() {
    let mut pair = moved_in_mid_flow(away());
    let before = pair.ends[SERVER].stats().bytes_sent;
    pair.run(Duration::from_millis(39));
    let sent = pair.ends[SERVER].stats().bytes_sent - before;
    assert!((12_000..16_000).contains(&sent), "the first window and a probe, and not {sent} bytes");
    for _ in 0..100 {
        pair.run(Duration::from_millis(10));
        pair.ends[SERVER].audit();
    }
    assert_eq!(pair.received[CLIENT].len(), 1);
}

/// What was in flight to the old address is lost.
// spec-test: PTH-8, REP-1
#[test]
fn losses_before_a_change_of_ip_make_nobody_repair_on_the_new_path() {
    for (to, forgets) in port_and_ip().map(|(to, _)| (to, to == away())) {
        let mut pair = moved_in_mid_flow(to);
        let lost = pair.ends[SERVER].stats().packets_lost;
        let mut most = 0.0_f32;
        while pair.ends[SERVER].stats().packets_lost < lost + 20 {
            pair.run(Duration::from_millis(1));
            most = most.max(pair.ends[SERVER].repair_encoder.loss_mut().share());
        }
        assert_eq!(most <= 0.002, forgets, "{most} to {to}");
    }
}

/// The packet counts for the timers, and for nothing else.
// spec-test: REL-14, PTH-1, PTH-3, ECN-3
#[test]
fn what_is_dropped_for_want_of_room_moves_nobody_and_is_in_no_count() {
    let mut bed = Bed::new();
    bed.server().share_budgets(&memory::budgets(0, 0));
    let drop = |bed: &mut Bed, from: SocketAddr| {
        let (now, packet) = (bed.pair.now, bed.forger.packet(&[message(1, 100)]));
        let dropped = bed.server().handle_packet(now, Route::from(from).marked(Ecn::Ce), packet);
        assert_eq!(dropped, Err(PacketDropped::OverBudget));
    };
    drop(&mut bed, away());
    assert!(bed.challenges().is_empty());
    assert_eq!(bed.server().stats().ce_received, 0);
    bed.say(away(), &[Frame::Ping]);
    let data = bed.challenges()[&away()];
    drop(&mut bed, home());
    bed.say(away(), &[Frame::PathResponse(data)]);
    bed.expect(away(), 1);
}
