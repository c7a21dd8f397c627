//! Clients that move, and attackers that try to make a server believe so.

use super::super::controller::{Acked, Controller, Lost, Marked};
use super::attacks::Forger;
use super::*;
use crate::base::{PacketNumber, Truncated};
use crate::wire::frame::{Ack, Frame, Lags, Message, MessageHead, read_frames};
use crate::wire::{Direction, SealedHeader};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// The server's end; the test acts as its client, from any address.
pub(super) struct Bed {
    pub(super) pair: Pair,
    pub(super) forger: Forger,
    keys: PacketKeys,
    /// Bytes sent to each address.
    sent: BTreeMap<SocketAddr, usize>,
}

pub(super) fn home() -> SocketAddr {
    CLIENT_ADDRESS.into()
}

pub(super) fn away() -> SocketAddr {
    ([203, 0, 113, 9], 5_000).into()
}

fn elsewhere(port: u16) -> SocketAddr {
    ([203, 0, 113, 10], port).into()
}

impl Bed {
    pub(super) fn new() -> Self {
        Self::seeded(1)
    }

    pub(super) fn seeded(seed: u64) -> Self {
        let keys = keys().client_keys();
        let mut bed = Self { pair: Pair::new(seed), forger: Forger::new(), keys, sent: BTreeMap::new() };
        bed.say(home(), &[Frame::Ping]);
        bed.hear();
        bed
    }

    pub(super) fn server(&mut self) -> &mut Connection {
        &mut self.pair.ends[SERVER]
    }

    pub(super) fn say(&mut self, from: SocketAddr, frames: &[Frame]) -> BytesMut {
        let packet = self.forger.packet(frames);
        assert_eq!(self.take(from, packet.clone()), Ok(()));
        packet
    }

    pub(super) fn take(&mut self, from: SocketAddr, packet: BytesMut) -> Result<(), PacketDropped> {
        let now = self.pair.now;
        self.server().handle_packet(now, from.into(), packet)
    }

    /// Returns what the server sends now.
    pub(super) fn hear(&mut self) -> Vec<(SocketAddr, Frame)> {
        let (now, mut frames, mut packet) = (self.pair.now, Vec::new(), BytesMut::new());
        while let Some(Envelope { route: Route { remote: to, .. }, .. }) =
            self.server().poll_transmit(now, &mut packet)
        {
            *self.sent.entry(to).or_default() += packet.len();
            let (header, length) = SealedHeader::read(&packet, Direction::ToClient).unwrap();
            let number = header.number.expand(self.pair.ends[SERVER].sent.next_number().0);
            let mut body = packet[length..].to_vec();
            let opened = self.keys.open.open(PacketNumber(number), &packet[..length], &mut body).unwrap();
            let read = read_frames(Bytes::copy_from_slice(opened)).unwrap();
            frames.extend(read.into_iter().map(|frame| (to, frame)));
            packet.clear();
        }
        frames
    }

    /// Returns the data with which the server challenges each address now.
    pub(super) fn challenges(&mut self) -> BTreeMap<SocketAddr, [u8; 8]> {
        let challenges = self.hear().into_iter().filter_map(|(to, frame)| match frame {
            Frame::PathChallenge(data) => Some((to, data)),
            _ => None,
        });
        challenges.collect()
    }

    /// Lets time pass in small steps. Returns how often `address` was challenged.
    fn wait(&mut self, time: Duration, address: SocketAddr) -> usize {
        let end = self.pair.now + time;
        let mut count = 0;
        while self.pair.now < end {
            self.pair.now += Duration::from_millis(5);
            let now = self.pair.now;
            self.server().handle_timeout(now);
            let heard = self.hear();
            count += heard
                .iter()
                .filter(|(to, it)| *to == address && matches!(it, Frame::PathChallenge(_)))
                .count();
        }
        count
    }

    pub(super) fn expect(&mut self, remote: SocketAddr, changes: u64) {
        assert_eq!((self.server().remote(), self.server().stats().address_changes), (remote, changes));
    }
}

pub(super) fn large() -> Frame {
    Frame::Message(Message { head: MessageHead::Unreliable, payload: Bytes::from(vec![1; 600]) })
}

// spec-test: PTH-1, PTH-2
#[test]
fn traffic_moves_when_the_new_address_has_answered_and_not_before() {
    let mut bed = Bed::new();
    bed.say(away(), &[Frame::Ping]);
    bed.pair.send(SERVER, Delivery::ReliableOrdered, b"where are you?");
    let heard = bed.hear();
    let to_away: Vec<_> = heard.iter().filter(|(to, _)| *to == away()).map(|(_, frame)| frame).collect();
    let [Frame::PathChallenge(data)] = to_away[..] else { panic!("{heard:?}") };
    let counter = heard.iter().find_map(|(to, frame)| match frame {
        Frame::PathChallenge(data) if *to == home() => Some(data),
        _ => None,
    });
    assert!(counter.is_some_and(|counter| counter != data), "{heard:?}");
    bed.say(elsewhere(1), &[Frame::PathResponse(*data)]);
    bed.expect(home(), 0);
    bed.say(away(), &[Frame::PathResponse(*b"wrong...")]);
    bed.expect(home(), 0);
    bed.say(away(), &[Frame::PathResponse(*data)]);
    bed.expect(away(), 1);
    let heard = bed.hear();
    assert!(heard.iter().all(|(to, _)| *to == away()), "{heard:?}");
    assert!(heard.iter().any(|(_, frame)| matches!(frame, Frame::Message(_))), "said again: {heard:?}");
}

// spec-test: PTH-1
#[test]
fn only_the_newest_packet_begins_a_change() {
    let mut bed = Bed::new();
    let late = bed.forger.packet(&[Frame::Ping]);
    let replayed = bed.say(home(), &[Frame::Ping]);
    assert_eq!(bed.take(away(), late), Ok(()));
    assert_eq!(bed.take(away(), replayed.clone()), Err(PacketDropped::Replayed));
    let mut forged = replayed;
    forged[5] ^= 1;
    assert!(bed.take(away(), forged).is_err());
    assert!(bed.hear().iter().all(|(to, _)| *to == home()));
    assert_eq!(bed.wait(SECOND, away()), 0);
}

// spec-test: PTH-3
#[test]
fn anything_newer_from_the_old_address_ends_the_attempt() {
    let mut bed = Bed::new();
    let late = bed.forger.packet(&[Frame::Ping]);
    bed.say(away(), &[Frame::Ping]);
    let data = bed.challenges()[&away()];
    bed.say(home(), &[Frame::Ping]);
    bed.say(away(), &[Frame::PathResponse(data)]);
    bed.expect(home(), 0);
    // An older packet that arrives late has no effect.
    bed.pair.now += SECOND * 2;
    let stale = bed.forger.packet(&[Frame::Ping]);
    bed.say(away(), &[Frame::Ping]);
    let data = bed.challenges()[&away()];
    assert_eq!(bed.take(home(), late), Ok(()));
    assert_eq!(bed.take(home(), stale), Ok(()));
    bed.say(away(), &[Frame::PathResponse(data)]);
    bed.expect(away(), 1);
}

// spec-test: PTH-3
#[test]
fn an_answer_of_the_old_address_ends_the_attempt_whoever_brings_it() {
    let mut bed = Bed::new();
    bed.say(away(), &[Frame::Ping]);
    let data = bed.challenges();
    bed.say(away(), &[Frame::PathResponse(data[&home()])]);
    bed.say(away(), &[Frame::PathResponse(data[&away()])]);
    bed.expect(home(), 0);
}

// spec-test: PTH-4
#[test]
fn an_address_without_proof_gets_three_times_its_bytes_at_most() {
    for frames in [vec![Frame::Ping], vec![Frame::PathChallenge([1; 8]); 4], vec![large()]] {
        let mut bed = Bed::new();
        let (mut came, mut sent) = (0, 0);
        for _ in 0..5 {
            came += bed.say(away(), &frames).len();
            bed.pair.send(SERVER, Delivery::ReliableOrdered, &[0; 1_000]);
            bed.wait(SECOND * 3 / 2, away());
            let before = std::mem::replace(&mut sent, bed.sent.get(&away()).copied().unwrap_or(0));
            assert!(before < sent && sent <= 3 * came, "{sent} for {came}");
        }
    }
}

// spec-test: PTH-6
#[test]
fn an_attempt_has_sixteen_tries_and_its_time() {
    let mut bed = Bed::new();
    bed.say(away(), &[large()]);
    assert_eq!(bed.wait(SECOND * 5, away()), 10, "in the time that it has, at 300 ms");
    assert!(!bed.server().is_closed());
    let mut paths = Paths::new(home().into());
    paths.on_packet(Timestamp::ZERO, away().into(), 600, true, Duration::from_millis(10), &mut || [3; 8]);
    let tries = (0..3_000).filter(|&ms| paths.take_for_pending(Timestamp::from_millis(ms)).is_some());
    let tries: Vec<_> = tries.collect();
    assert_eq!(tries[..8], [0, 10, 30, 70, 150, 310, 610, 910]);
    assert_eq!(tries.len(), 14);
    let mut paths = Paths::new(home().into());
    paths.on_packet(Timestamp::ZERO, away().into(), 600, true, Duration::from_millis(1), &mut || [3; 8]);
    let tries = (0..3_000).filter(|&ms| paths.take_for_pending(Timestamp::from_millis(ms)).is_some());
    assert_eq!(tries.count(), 16);
    paths.handle_timeout(Timestamp::from_millis(3_000));
    assert_eq!(paths.deadline(), None);
    assert_eq!(paths.on_response(away().into(), [3; 8]), None, "too late");
}

/// A keepalive from a new port gives that address little credit. The old address needs none.
// spec-test: PTH-4, PTH-6
#[test]
fn the_active_address_is_asked_again_though_the_other_has_used_up_its_bytes() {
    let mut bed = Bed::new();
    bed.say(away(), &[Frame::Ping]);
    assert_eq!(bed.wait(SECOND * 5, home()), 10);
    let mut bed = Bed::new();
    bed.say(away(), &[Frame::Ping]);
    assert!(bed.wait(SECOND, away()) < 3, "three times its bytes");
    bed.say(away(), &[large()]);
    assert_eq!(bed.challenges().len(), 1, "with more of them at once");
}

/// A handover during which nothing arrives at the new address.
// spec-test: PTH-6
#[test]
fn a_short_silence_delays_a_move_by_as_much_again_at_most() {
    let probe_timeout = Duration::from_millis(45);
    let mut paths = Paths::new(home().into());
    paths.on_packet(Timestamp::ZERO, away().into(), 600, true, probe_timeout, &mut || [3; 8]);
    let arrives = (0..3_000)
        .map(Timestamp::from_millis)
        .filter(|now| paths.take_for_pending(*now).is_some())
        .find(|now| *now >= Timestamp::from_millis(800));
    assert!(arrives.is_some_and(|at| at < Timestamp::from_millis(1_600)), "{arrives:?}");
}

// spec-test: PTH-6
#[test]
fn an_attempt_lasts_three_probe_timeouts_or_three_seconds() {
    for (probe_timeout, lasts) in [(10, 3_000), (900, 3_000), (1_500, 4_500)] {
        let mut paths = Paths::new(home().into());
        let probe_timeout = Duration::from_millis(probe_timeout);
        paths.on_packet(Timestamp::ZERO, away().into(), 600, true, probe_timeout, &mut || [3; 8]);
        paths.handle_timeout(Timestamp::from_millis(lasts - 1));
        assert!(paths.deadline().is_some(), "{probe_timeout:?}");
        paths.handle_timeout(Timestamp::from_millis(lasts));
        assert_eq!(paths.deadline(), None, "{probe_timeout:?}");
    }
}

// spec-test: PTH-5
#[test]
fn a_peer_that_moves_all_the_time_gets_one_attempt_a_second() {
    let mut bed = Bed::new();
    for step in 0..3_000 {
        bed.say(elsewhere(1 + step), &[large()]);
        bed.hear();
        bed.pair.now += Duration::from_millis(1);
    }
    assert_eq!(bed.sent.len(), 1 + 3, "home and an address each second");
    bed.expect(home(), 0);
}

// spec-test: PTH-7
#[test]
fn a_challenge_is_answered_where_it_came_from() {
    let mut bed = Bed::new();
    bed.say(home(), &[Frame::PathChallenge([1; 8])]);
    bed.say(away(), &[Frame::PathChallenge([2; 8])]);
    bed.say(elsewhere(1), &[Frame::PathChallenge([3; 8])]);
    let heard = bed.hear();
    let answers: Vec<_> = heard.iter().filter(|(_, frame)| matches!(frame, Frame::PathResponse(_))).collect();
    assert_eq!(answers.len(), 2, "{heard:?}");
    assert!(answers.contains(&&(home(), Frame::PathResponse([1; 8]))), "{heard:?}");
    assert!(answers.contains(&&(away(), Frame::PathResponse([2; 8]))), "{heard:?}");
}

// spec-test: PTH-7
#[test]
fn challenges_from_elsewhere_take_nobodys_place() {
    let mut bed = Bed::new();
    bed.say(away(), &[Frame::Ping]);
    bed.say(elsewhere(1), &vec![Frame::PathChallenge([1; 8]); 20]);
    bed.say(home(), &[Frame::PathChallenge([2; 8])]);
    let mut heard = bed.hear();
    heard.retain(|(_, frame)| matches!(frame, Frame::PathResponse(_)));
    assert_eq!(heard, [(home(), Frame::PathResponse([2; 8]))]);
}

// spec-test: PTH-7
#[test]
fn a_flood_of_challenges_gets_few_answers() {
    for from in [home(), away()] {
        let mut bed = Bed::new();
        let mut answers = vec![];
        for n in 0..1_500u16 {
            bed.say(from, &vec![Frame::PathChallenge([n as u8; 8]); 20]);
            let heard = bed.hear();
            answers.push(heard.iter().filter(|(_, frame)| matches!(frame, Frame::PathResponse(_))).count());
            bed.pair.now += Duration::from_millis(1);
        }
        assert_eq!(answers[0], 4, "so many wait, from {from}");
        let (first, second) = answers.split_at(1_000);
        assert_eq!((first.iter().sum(), second.iter().sum()), (16usize, 16usize), "from {from}");
    }
}

// spec-test: PTH-8
#[test]
fn a_new_ip_forgets_the_way_and_a_new_port_does_not() {
    let mut port = home();
    port.set_port(4_001);
    for (to, forgets) in [(port, false), (away(), true)] {
        let mut pair = Pair::new(3);
        pair.send(SERVER, Delivery::ReliableOrdered, &[7; 500_000]);
        pair.run(SECOND * 3);
        let before = pair.ends[SERVER].rtt();
        let window = |pair: &Pair| pair.ends[SERVER].congestion.window_bytes();
        let wide = window(&pair);
        assert!(wide > 30_000, "{wide}");
        assert!(before < Duration::from_millis(99));
        pair.client_at = to;
        pair.send(CLIENT, Delivery::Unreliable, b"moved");
        while pair.ends[SERVER].remote() != to {
            assert!(pair.step(pair.now + SECOND));
        }
        let now = pair.ends[SERVER].rtt();
        assert_eq!(now, if forgets { Duration::from_millis(100) } else { before });
        let now = window(&pair);
        assert!(if forgets { now <= 14_720 } else { now == wide }, "{now} of {wide}");
        pair.run(SECOND);
        assert!(pair.ends[SERVER].rtt() < Duration::from_millis(70), "learnt again");
    }
}

/// A client moves while much is in flight to it.
// spec-test: PTH-8
#[test]
fn what_was_lost_on_the_way_to_the_old_ip_is_not_held_against_the_new_path() {
    let mut pair = Pair::new(3);
    pair.send(SERVER, Delivery::ReliableOrdered, &[7; 900_000]);
    pair.run(Duration::from_millis(200));
    pair.client_at = away();
    pair.send(CLIENT, Delivery::Unreliable, b"moved");
    while pair.ends[SERVER].remote() != away() {
        assert!(pair.step(pair.now + SECOND));
    }
    let lost = pair.ends[SERVER].stats().packets_lost;
    pair.run(Duration::from_millis(300));
    assert!(pair.ends[SERVER].stats().packets_lost > lost + 50, "found after the change");
    let window = pair.ends[SERVER].congestion.window_bytes();
    assert!(window > 100_000, "six round trips of slow start, and not {window}");
}

/// A socket may report an IPv4 address in either form.
// spec-test: PTH-8
#[test]
fn an_address_of_ipv4_is_the_same_written_as_ipv6() {
    for (to, change) in
        [("[::ffff:192.0.2.1]:4001", path::Change::Port), ("[2001:db8::1]:4000", path::Change::Ip)]
    {
        let (to, now) = (Route::from(to.parse::<SocketAddr>().unwrap()), Timestamp::ZERO);
        let mut data = (4..).map(|byte| [byte; 8]);
        let mut paths = Paths::new(home().into());
        paths.on_packet(now, to, 600, true, SECOND, &mut || data.next().unwrap());
        assert_eq!(paths.on_response(to, [4; 8]), Some(change), "{to:?}");
    }
}

/// A server with several addresses answers each packet from the one that it was sent to.
// spec-test: PTH-10
#[test]
fn another_address_of_the_server_is_another_path() {
    let ways = |local: [u8; 4], port| Route { remote: elsewhere(port), local: Some(local.into()) };
    let (first, second, now) = (ways([10, 0, 0, 1], 1), ways([10, 0, 0, 2], 1), Timestamp::ZERO);
    let mut data = (4..).map(|byte| [byte; 8]);
    let mut paths = Paths::new(first);
    paths.fix(second);
    assert_eq!(paths.active(), first, "a first packet changes the client's port alone");
    paths.fix(ways([10, 0, 0, 1], 2));
    assert_eq!(paths.active(), ways([10, 0, 0, 1], 2));
    paths.on_packet(now, second, 600, true, SECOND, &mut || data.next().unwrap());
    assert_eq!(paths.take_for_pending(now), Some((second, path::Probe::Challenge([4; 8]))));
    assert_eq!(paths.on_response(first, [4; 8]), None, "it is to come that way");
    assert_eq!(paths.on_response(second, [4; 8]), Some(path::Change::Ip));
    assert_eq!(paths.active(), second);
}

/// The time on the way to the old address says nothing about the new one.
// spec-test: PTH-8
#[test]
fn a_packet_that_left_before_a_change_gives_no_sample() {
    let mut bed = Bed::new();
    bed.pair.send(SERVER, Delivery::ReliableOrdered, b"x");
    bed.hear();
    let before = bed.server().sent.next_number().0 - 1;
    bed.say(away(), &[large()]);
    let challenges = bed.challenges();
    bed.pair.now += Duration::from_millis(50);
    bed.say(away(), &[Frame::PathResponse(challenges[&away()])]);
    bed.expect(away(), 1);
    let runs = Some((1, Default::default()));
    let ack = Ack { largest: Truncated::bits32(before), delay: 0, runs, repaired: Lags::new() };
    bed.say(away(), &[Frame::Ack(ack)]);
    assert_eq!(bed.server().rtt(), Duration::from_millis(100), "that of a path of which nothing is known");
}

/// A packet lost on the way to the old address was not one of the new window's losses.
// spec-test: PTH-8
#[test]
fn a_loss_before_a_change_of_ip_that_was_none_is_no_news_of_the_new_path() {
    let mut port = home();
    port.set_port(4_001);
    for (to, told) in [(port, 1), (away(), 0)] {
        let mut bed = Bed::new();
        let send = |bed: &mut Bed| {
            let (now, number) = (bed.pair.now, bed.server().sent.next_number().0);
            let payload = Bytes::from_static(b"x").into();
            bed.server().send(now, StreamId(0), Delivery::ReliableOrdered, payload).unwrap();
            bed.hear();
            number
        };
        let (lost, acked) = (send(&mut bed), send(&mut bed));
        let ack = |number| {
            let runs = Some((1, Default::default()));
            Frame::Ack(Ack { largest: Truncated::bits32(number), delay: 0, runs, repaired: Lags::new() })
        };
        bed.pair.now += Duration::from_millis(50);
        bed.say(home(), &[ack(acked)]);
        while bed.server().stats().packets_lost == 0 {
            bed.wait(Duration::from_millis(5), home());
        }
        bed.say(to, &[large()]);
        let challenges = bed.challenges();
        bed.say(to, &[Frame::PathResponse(challenges[&to])]);
        bed.expect(to, 1);
        let (spurious, rtt) = (Arc::default(), bed.server().rtt());
        bed.server().congestion.replace(Box::new(CountsSpurious(Arc::clone(&spurious))), rtt);
        bed.say(to, &[ack(lost)]);
        assert_eq!(spurious.load(Ordering::Relaxed), told, "to {to}");
    }
}

/// A controller that counts spurious losses.
struct CountsSpurious(Arc<AtomicU32>);

impl Controller for CountsSpurious {
    fn on_acked(&mut self, _: Timestamp, _: &Acked) {}
    fn on_lost(&mut self, _: Timestamp, _: &Lost) {}
    fn on_marked(&mut self, _: Timestamp, _: &Marked) {}
    fn on_spurious(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
    fn window_bytes(&self) -> usize {
        usize::MAX
    }
    fn is_in_slow_start(&self) -> bool {
        false
    }
}

/// Packets of a client that somebody forwards from elsewhere reveal nothing about the client's own path.
// spec-test: MTU-7, ECN-3
#[test]
fn a_copy_from_another_ip_tells_nothing_of_sizes_and_marks() {
    let mut bed = Bed::new();
    let large = bed.forger.packet(&[Frame::Ping, Frame::Padding(1_200)]);
    assert_eq!(bed.take(away(), large.clone()), Err(PacketDropped::OffPath));
    let moved = SocketAddr::from((home().ip(), 4_444));
    assert_eq!(bed.take(moved, large), Ok(()), "the real one is no replay");
    bed.forger.renew();
    let renewing = bed.forger.packet(&[Frame::Ping, Frame::Padding(1_200)]);
    assert_eq!(bed.take(away(), renewing.clone()), Err(PacketDropped::OffPath));
    assert_eq!(bed.server().keys.phases(), 0, "nor of the keys");
    assert_eq!(bed.take(moved, renewing), Ok(()));
    assert_eq!(bed.server().keys.phases(), 1);

    for (from, count) in [(away(), 0), (moved, 1)] {
        let packet = bed.forger.packet(&[Frame::Ping]);
        let (now, from) = (bed.pair.now, Route::from(from).marked(Ecn::Ce));
        assert_eq!(bed.server().handle_packet(now, from, packet), Ok(()));
        assert_eq!(bed.server().stats().ce_received, count);
    }
}

// spec-test: PTH-9
#[test]
fn a_clients_server_stays_where_it_is() {
    let mut pair = Pair::new(5);
    pair.run(SECOND);
    pair.send(SERVER, Delivery::Unreliable, b"from elsewhere");
    let mut packet = BytesMut::new();
    assert!(pair.ends[SERVER].poll_transmit(pair.now, &mut packet).is_some());
    assert_eq!(pair.ends[CLIENT].handle_packet(pair.now, away().into(), packet), Ok(()));
    pair.send(CLIENT, Delivery::Unreliable, b"to the server");
    let (now, mut packet) = (pair.now, BytesMut::new());
    let sent: Vec<_> = std::iter::from_fn(|| {
        packet.clear();
        pair.ends[CLIENT].poll_transmit(now, &mut packet)
    })
    .collect();
    assert!(!sent.is_empty() && sent.iter().all(|to| to.route == SERVER_ADDRESS.into()), "{sent:?}");
    pair.run(SECOND);
    assert_eq!(pair.ends[CLIENT].remote(), SERVER_ADDRESS.into());
}

/// The client has moved, or somebody has copied its packet; the server has no time to find out.
// spec-test: CON-6, PTH-4
#[test]
fn a_close_goes_to_both_addresses_of_a_peer_that_may_have_moved() {
    for (reason, fits) in [
        ("", true),
        ("it fits twice", true),
        ("a reason that fits once", true),
        ("a reason too long to be sent to an address that has said so little as this one", false),
    ] {
        let mut bed = Bed::new();
        let packet = bed.say(away(), &[Frame::Ping]);
        let may_send = packet.len() * 3;
        let now = bed.pair.now;
        bed.server().close(now, CloseCode::None, reason);
        let (mut sent, mut to) = (0, vec![]);
        for _ in 0..30 {
            let mut out = BytesMut::new();
            while let Some(Envelope { route: Route { remote: address, .. }, .. }) =
                bed.pair.ends[SERVER].poll_transmit(bed.pair.now, &mut out)
            {
                sent += if address == away() { out.len() } else { 0 };
                to.push(address);
                out.clear();
            }
            bed.pair.now += Duration::from_millis(100);
            let now = bed.pair.now;
            bed.server().handle_timeout(now);
        }
        assert!(to.len() == 5 && to.contains(&home()) && sent <= may_send, "{to:?} {sent} of {may_send}");
        assert_eq!(to.contains(&away()), fits);
    }
}

// spec-test: CON-6
#[test]
fn an_answer_to_a_close_goes_to_where_the_peer_may_be() {
    let mut bed = Bed::new();
    bed.say(away(), &[Frame::Close(Close { code: 0, reason: String::new() })]);
    let answer = (away(), Frame::Close(Close { code: 0, reason: String::new() }));
    assert_eq!(bed.hear(), [answer]);
}

/// Sends ordered messages both ways every 10 ms; `then` runs in between.
fn talk(pair: &mut Pair, rounds: u32, mut then: impl FnMut(&mut Pair, u32)) {
    for round in 0..rounds {
        for end in [CLIENT, SERVER] {
            pair.send(end, Delivery::ReliableOrdered, &round.to_be_bytes());
        }
        then(pair, round);
        pair.run(Duration::from_millis(10));
    }
    pair.run(SECOND * 3);
    assert_eq!(pair.closed, [None, None]);
    let all: Vec<_> = (0..rounds).map(u32::to_be_bytes).collect();
    for end in [CLIENT, SERVER] {
        assert_eq!(pair.payloads(end), all.iter().map(|it| &it[..]).collect::<Vec<_>>(), "end {end}");
    }
}

#[test]
fn a_connection_survives_moves_without_loss_or_disorder() {
    for loss in [0.0, 0.1] {
        let mut pair = Pair::new(7);
        pair.loss = loss;
        talk(&mut pair, 1_000, |pair, round| {
            if round % 150 == 100 {
                pair.client_at = elsewhere(1_000 + round as u16);
            }
        });
        assert_eq!(pair.ends[SERVER].remote(), pair.client_at);
        assert_eq!(pair.ends[SERVER].stats().address_changes, 6);
    }
}

/// The client's next packet, the challenge and the answer take three one-way delays; the next message
/// follows.
#[test]
fn a_servers_messages_follow_after_one_round_trip() {
    let mut pair = Pair::new(8);
    talk(&mut pair, 100, |pair, round| {
        if round == 50 {
            pair.client_at = away();
        }
        if round == 57 {
            // 70 ms later: one delay until the server knows, a round trip for the proof.
            assert_eq!(pair.ends[SERVER].remote(), away());
        }
    });
}

#[test]
fn who_copies_packets_does_not_take_the_connection_or_stop_it() {
    for later in [Duration::ZERO, Duration::from_millis(19), Duration::from_millis(60)] {
        let mut pair = Pair::new(9);
        pair.run(SECOND);
        pair.copier = Some((away(), later));
        talk(&mut pair, 500, |_, _| {});
        assert_eq!(pair.ends[SERVER].remote(), home());
        assert_eq!(pair.ends[SERVER].stats().address_changes, 0);
        assert!(pair.ends[SERVER].stats().packets_lost < 5, "{:?}", pair.ends[SERVER].stats());
    }
}
