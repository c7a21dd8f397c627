//! Key phases forged by a stranger, or abused by a peer.

use super::attacks::Forger;
use super::*;
use crate::wire::frame::Frame;

const PHASE_BIT: u8 = 0x40;

fn give(pair: &mut Pair, packet: BytesMut) -> Result<(), PacketDropped> {
    let result = pair.ends[SERVER].handle_packet(pair.now, CLIENT_ADDRESS.into(), packet);
    pair.flush();
    result
}

fn phases(pair: &Pair) -> u32 {
    pair.ends[SERVER].keys.phases()
}

// spec-test: KEY-7
#[test]
fn a_forged_phase_bit_changes_nothing() {
    let mut pair = Pair::new(50);
    let mut forger = Forger::new();
    for _ in 0..1_000 {
        let packet = forger.packet(&[Frame::Ping]);
        let mut forged = packet.clone();
        forged[0] ^= PHASE_BIT;
        assert_eq!(give(&mut pair, forged), Err(PacketDropped::DoesNotOpen));
        assert_eq!(give(&mut pair, packet), Ok(()));
    }
    assert_eq!(phases(&pair), 0);
}

// spec-test: KEY-7
#[test]
fn a_forged_phase_bit_in_a_later_phase_neither_renews_nor_returns() {
    let mut pair = Pair::new(51);
    let mut forger = Forger::new();
    assert_eq!(give(&mut pair, forger.packet(&[Frame::Ping])), Ok(()));
    let late = forger.packet(&[Frame::Ping]);
    forger.renew();
    assert_eq!(give(&mut pair, forger.packet(&[Frame::Ping])), Ok(()));
    for _ in 0..1_000 {
        let packet = forger.packet(&[Frame::Ping]);
        let mut forged = packet.clone();
        forged[0] ^= PHASE_BIT;
        assert_eq!(give(&mut pair, forged), Err(PacketDropped::DoesNotOpen));
        assert_eq!(give(&mut pair, packet), Ok(()));
    }
    assert_eq!(phases(&pair), 1);
    assert_eq!(give(&mut pair, late), Ok(()), "the old key still opens what was under way");
}

// spec-test: KEY-7
#[test]
fn a_renewal_is_answered_with_a_packet_that_asks_for_an_ack() {
    let (mut pair, mut forger) = (Pair::new(54), Forger::new());
    for renews in [false, true] {
        if renews {
            forger.renew();
        }
        // The packet itself asks for no ack.
        assert_eq!(give(&mut pair, forger.packet(&[Frame::Padding(20)])), Ok(()));
        assert_eq!(pair.ends[SERVER].sent.bytes_in_flight() > 0, renews);
    }
}

/// A probe timeout is 100 + 4 × 50 ms before any sample, and the peer's ack delay of 40 ms.
// spec-test: KEY-7
#[test]
fn the_key_before_is_kept_for_three_probe_timeouts() {
    for (after, fate) in [(3 * 340 - 1, Ok(())), (3 * 340, Err(PacketDropped::DoesNotOpen))] {
        let (mut pair, mut forger) = (Pair::new(55), Forger::new());
        assert_eq!(give(&mut pair, forger.packet(&[Frame::Ping])), Ok(()));
        let late = forger.packet(&[Frame::Ping]);
        forger.renew();
        assert_eq!(give(&mut pair, forger.packet(&[Frame::Ping])), Ok(()));
        pair.now += Duration::from_millis(after);
        assert_eq!(give(&mut pair, late), fate, "after {after} ms");
    }
}

/// A renewal costs one derivation per packet, and the peer must seal that packet first.
// spec-test: KEY-7
#[test]
fn a_peer_may_renew_with_each_packet() {
    let mut pair = Pair::new(52);
    let mut forger = Forger::new();
    for renewals in 1..=500 {
        forger.renew();
        assert_eq!(give(&mut pair, forger.packet(&[Frame::Ping])), Ok(()));
        assert_eq!(phases(&pair), renewals);
    }
    assert_eq!(pair.closed[SERVER], None);
}

/// The smallest number of the present phase bounds those of the one before, in whatever order packets arrive.
// spec-test: KEY-7
#[test]
fn a_number_between_two_of_the_present_phase_is_none_of_the_one_before() {
    let mut pair = Pair::new(56);
    let (mut forger, mut behind) = (Forger::new(), Forger::starting_at(7));
    assert_eq!(give(&mut pair, forger.packet(&[Frame::Ping])), Ok(()));
    forger.renew();
    let early: Vec<_> = (1..=10).map(|_| forger.packet(&[Frame::Ping])).collect();
    assert_eq!(give(&mut pair, early[9].clone()), Ok(()), "packet 10");
    assert_eq!(give(&mut pair, early[4].clone()), Ok(()), "packet 5");
    assert_eq!(give(&mut pair, behind.packet(&[Frame::Ping])), Err(PacketDropped::DoesNotOpen), "packet 7");
}

// spec-test: KEY-7
#[test]
fn a_peer_that_goes_back_or_skips_a_generation_is_not_heard() {
    let mut pair = Pair::new(53);
    let (mut forger, mut behind) = (Forger::new(), Forger::starting_at(100));
    assert_eq!(give(&mut pair, forger.packet(&[Frame::Ping])), Ok(()));
    forger.renew();
    assert_eq!(give(&mut pair, forger.packet(&[Frame::Ping])), Ok(()));
    for _ in 0..100 {
        let old = behind.packet(&[Frame::Ping]);
        assert_eq!(give(&mut pair, old), Err(PacketDropped::DoesNotOpen), "a number of the new phase");
    }
    let mut ahead = Forger::starting_at(300);
    (0..3).for_each(|_| ahead.renew());
    assert_eq!(give(&mut pair, ahead.packet(&[Frame::Ping])), Err(PacketDropped::DoesNotOpen));
    assert_eq!(phases(&pair), 1);
    assert_eq!(give(&mut pair, forger.packet(&[Frame::Ping])), Ok(()), "who follows the rules is heard");
    assert_eq!(pair.closed[SERVER], None);
}

/// The peer acks nothing. A renewal that finds the window full is answered with a PING.
// spec-test: REL-8
#[test]
fn renewals_pull_no_data_beyond_the_window() {
    let (mut pair, mut forger) = (Pair::new(55), Forger::new());
    pair.dark_until = Timestamp::MAX;
    pair.send(SERVER, Delivery::ReliableUnordered, &[0; 400_000]);
    for _ in 0..1_000 {
        forger.renew();
        assert_eq!(give(&mut pair, forger.packet(&[Frame::Ping])), Ok(()));
        pair.now += Duration::from_millis(1);
    }
    let stats = pair.ends[SERVER].stats();
    assert!(stats.packets_sent >= 1_000, "each is answered: {}", stats.packets_sent);
    assert!(stats.bytes_sent < 60_000, "a window of 12,000 bytes and 1,000 PINGs: {}", stats.bytes_sent);
}
