//! What an ack reveals about packets sent: round trips, and which of them are lost when.

use smallvec::smallvec;

use super::sent::{AckOutcome, LossOutcome};
use super::*;
use crate::base::Truncated;
use crate::wire::frame::{Ack, Lags};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn send(sent: &mut SentPackets, now: Timestamp, eliciting: bool) -> u64 {
    let number = sent.next_number().0;
    sent.on_sent(now, 100, eliciting, Ecn::NotEct, Default::default());
    number
}

/// Handles an ack of `run` numbers: `largest` and those below it.
fn ack(sent: &mut SentPackets, largest: u64, run: u64) -> AckOutcome {
    let largest = Truncated::bits32(largest);
    let ack = Ack { largest, delay: 0, runs: Some((run, smallvec![])), repaired: Lags::new() };
    let mut outcome = AckOutcome::default();
    assert_eq!(sent.on_ack(&ack, &mut outcome), Ok(()));
    outcome
}

// spec-test: REL-2
#[test]
fn an_ack_gives_a_sample_of_its_own_largest_alone() {
    let at = Timestamp::from_millis;
    let mut sent = SentPackets::new();
    for (millis, eliciting) in [(0, true), (1, true), (2, true), (3, false)] {
        send(&mut sent, at(millis), eliciting);
    }
    assert_eq!(ack(&mut sent, 1, 1).largest_sent_at, Some(at(1)));
    assert_eq!(ack(&mut sent, 1, 2).largest_sent_at, None, "0 is new, but not the largest");
    assert_eq!(ack(&mut sent, 3, 2).largest_sent_at, None, "2 is not the largest, and 3 asked for no ack");
}

/// Two packets leave on each path; of the former path's, one arrives and one is lost.
// spec-test: PTH-8
#[test]
fn what_left_on_a_former_path_uses_nothing_of_the_window_whatever_becomes_of_it() {
    let at = Timestamp::from_millis;
    let mut sent = SentPackets::new();
    (0..2).for_each(|_| _ = send(&mut sent, at(0), true));
    sent.on_new_path();
    assert_eq!((sent.bytes_in_flight(), sent.has_in_flight()), (0, true));
    (0..2).for_each(|_| _ = send(&mut sent, at(10), true));
    assert!(ack(&mut sent, 1, 1).former_acked);
    assert_eq!(sent.bytes_in_flight(), 200);
    let mut outcome = LossOutcome::default();
    sent.detect_lost(at(500), &rtt_of(&[80]), &mut outcome);
    assert_eq!((outcome.packets.len(), sent.bytes_in_flight()), (1, 200));
    sent.audit();
    assert!(!ack(&mut sent, 3, 2).former_acked);
    assert_eq!((sent.bytes_in_flight(), sent.has_in_flight()), (0, false));
    sent.audit();
}

fn rtt_of(samples: &[u64]) -> RttEstimator {
    let mut rtt = RttEstimator::new();
    samples.iter().for_each(|sample| rtt.update(ms(*sample), Duration::ZERO));
    rtt
}

/// Sends two packets at `now` and acks the second. Returns how long after it left the first is declared lost.
/// It arrives after all if `spurious`.
fn wait_for_loss(
    sent: &mut SentPackets,
    now: &mut Timestamp,
    rtt: &RttEstimator,
    spurious: bool,
) -> Duration {
    let left = *now;
    let lost = send(sent, left, true);
    assert_eq!(sent.loss_deadline(rtt), None, "none was acked that left later");
    let acked = send(sent, left, true);
    ack(sent, acked, 1);
    let due = sent.loss_deadline(rtt).unwrap();
    for (at, numbers) in [(due - Duration::from_micros(1), &[][..]), (due, &[PacketNumber(lost)])] {
        let mut outcome = LossOutcome::default();
        sent.detect_lost(at, rtt, &mut outcome);
        let found: Vec<_> = outcome.packets.iter().map(|packet| packet.number).collect();
        assert_eq!(found, *numbers);
    }
    if spurious {
        assert_eq!(ack(sent, lost, 1).spurious.len(), 1);
    }
    *now = due;
    due.since(left)
}

/// An eighth of 80 ms is 10 ms; of 4 ms it would be half a millisecond. After 80 and 120 ms, `smoothed` is 85
/// ms.
// spec-test: REL-4
#[test]
fn a_packet_is_lost_a_round_trip_and_an_eighth_or_a_millisecond_after_it_left() {
    let rows: [(&[u64], u64); 3] = [(&[80], 90_000), (&[4], 5_000), (&[80, 120], 120_000 + 10_625)];
    for (samples, micros) in rows {
        let (mut sent, mut now) = (SentPackets::new(), Timestamp::from_millis(1));
        let wait = wait_for_loss(&mut sent, &mut now, &rtt_of(samples), false);
        assert_eq!(wait, Duration::from_micros(micros), "{samples:?}");
    }
}

/// Of packets sent 100 ms apart. The oldest two are found lost first.
// spec-test: REL-8
#[test]
fn a_run_of_losses_ends_where_a_packet_was_acked_or_another_path_began_or_none_was_measured() {
    let at = Timestamp::from_millis;
    for (acked, path_begins, measured, longest) in [
        (None, 0, 0, 300),
        (Some(1), 0, 0, 100),
        (Some(2), 0, 0, 100),
        (None, 2, 2, 100),
        (None, 0, 2, 100),
        (None, 0, 9, 0),
    ] {
        let (mut sent, rtt) = (SentPackets::new(), rtt_of(&[80]));
        for number in 0..5 {
            if number == path_begins {
                sent.on_new_path();
            }
            if number == measured {
                sent.on_measured();
            }
            send(&mut sent, at(number * 100), true);
        }
        for number in acked.into_iter().chain([4]) {
            ack(&mut sent, number, 1);
        }
        let mut found = Duration::ZERO;
        for now in [at(195), at(500)] {
            let mut outcome = LossOutcome::default();
            sent.detect_lost(now, &rtt, &mut outcome);
            found = found.max(outcome.longest_run);
        }
        assert_eq!(
            found,
            ms(longest),
            "{acked:?} acked, a path from {path_begins}, measured from {measured} on"
        );
    }
}

/// Losses that were none have made the former path's window 80 ms, and 16 others are found to be none after
/// the change.
// spec-test: PTH-8, REL-4
#[test]
fn a_new_path_waits_for_what_is_late_as_a_new_connection_does() {
    let (mut sent, mut now, rtt) = (SentPackets::new(), Timestamp::from_millis(1), rtt_of(&[80]));
    for window in [10, 20, 40] {
        assert_eq!(wait_for_loss(&mut sent, &mut now, &rtt, true), ms(80 + window));
    }
    let late = [(); 17].map(|()| send(&mut sent, now, true));
    sent.on_new_path();
    now += ms(150);
    ack(&mut sent, late[16], 1);
    let mut outcome = LossOutcome::default();
    sent.detect_lost(now, &rtt, &mut outcome);
    assert_eq!(outcome.packets.len(), 16);
    assert_eq!(wait_for_loss(&mut sent, &mut now, &rtt, false), ms(90), "nothing of what was known");
    assert_eq!(ack(&mut sent, late[15], 16).spurious.len(), 16);
    assert_eq!(wait_for_loss(&mut sent, &mut now, &rtt, false), ms(90), "what was late came another way");
}

/// 80 ms, and initially ten more.
// spec-test: REL-4
#[test]
fn losses_that_were_none_double_the_wait_up_to_8_fold_and_16_others_halve_it() {
    let (mut sent, mut now, rtt) = (SentPackets::new(), Timestamp::from_millis(1), rtt_of(&[80]));
    for window in [10, 20, 40, 80, 80] {
        assert_eq!(wait_for_loss(&mut sent, &mut now, &rtt, true), ms(80 + window));
    }
    for window in [80, 40, 20, 10, 10] {
        for nth in 1..=16 {
            assert_eq!(wait_for_loss(&mut sent, &mut now, &rtt, false), ms(80 + window), "{nth} at {window}");
        }
    }
}
