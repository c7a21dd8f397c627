//! Packet numbers: which are acked, and which have arrived before.

use rallypoint::base::Truncated;
use rallypoint::wire::frame::{Ack, AckRun, Frame, Lags};

use super::script::{ORDERED, Script, message, unreliable};

pub(super) fn scripts() -> Vec<Script> {
    let one = || message(ORDERED, 0, 0, "one");
    vec![
        Script::new("acks: one packet after the other").pings(0..3),
        Script::new("acks: each gap, and what comes late").pings([0, 1, 4, 5, 9, 3, 8]),
        Script::new("acks: a gap that closes is gone").pings([0, 3, 2, 1]),
        Script::new("acks: what lies below the first number was left out, or comes yet").pings([5, 6, 4]),
        Script::new("acks: clean with 256 numbers in a row, but not while more may be unknown").pings(1..259),
        Script::new("acks: of more than 32 gaps the newest").pings((0..35).map(|number| number * 2)),
        Script::new("acks: 4 bytes from 2^15 on, while none is known to have arrived")
            .pings([32_766, 32_767, 32_768]),
        Script::new("acks: a gap of 10,000").pings([0, 1, 10_002]),
        Script::new("acks: packets that ask for none are named by the next")
            .after_sending(&[0, 1, 2, 4])
            .pings([0])
            .packet(1, &[Frame::Padding(3)])
            .packet(2, &[ack(2, None, &[])])
            .packet(3, &[ack(4, Some((1, &[(1, 3)])), &[]), Frame::CeCount(0)])
            .packet(4, &[Frame::Padding(0)])
            .packet(5, &[unreliable("asks")]),
        Script::new("replay: a number that was opened before")
            .packet(0, &[one()])
            .packet(0, &[one()])
            .packet(1, &[unreliable("two")])
            .packet(1, &[unreliable("three")])
            .packet(0, &[Frame::Ping])
            .pings([2]),
        Script::new("replay: 2,048 below the largest is too old, 2,047 is not")
            .packet(3_000, &[one()])
            .packet(952, &[unreliable("too old")])
            .packet(953, &[unreliable("old")])
            .packet(953, &[unreliable("old")]),
    ]
}

/// Returns an ack of the receiver's own packets.
pub(super) fn ack(largest: u64, runs: Option<(u64, &[(u64, u64)])>, repaired: &[u8]) -> Frame {
    let run = |&(gap, run): &(u64, u64)| AckRun { gap, run };
    let runs = runs.map(|(first, runs)| (first, runs.iter().map(run).collect()));
    let repaired: Lags = repaired.into();
    Frame::Ack(Ack { largest: Truncated::bits16(largest), delay: 0, runs, repaired })
}
