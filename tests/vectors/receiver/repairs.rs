//! Lost packets that REPAIR frames restore. A receiver that ignores them (FRM-10) plays none of these
//! scripts.
//!
//! Each script begins with a REPAIR of a packet that has arrived, because some receivers remember nothing
//! before it.

use bytes::Bytes;
use rallypoint::wire::frame::{Frame, Repair};

use super::script::{ORDERED, Script, UNORDERED, fragment, message, repair, sequenced, unreliable, wide};

pub(super) fn scripts() -> Vec<Script> {
    let mut scripts = good();
    scripts.extend(ignored());
    scripts.extend(violations());
    scripts
}

fn ordered(number: u64) -> Frame {
    const TEXTS: [&str; 8] = ["a", "bb", "ccc", "dddd", "e", "ff", "ggg", "hhhh"];
    message(ORDERED, 1, number, TEXTS[usize::try_from(number).unwrap()])
}

fn unordered(number: u64, payload: &'static str) -> Frame {
    message(UNORDERED, 1, number, payload)
}

/// Packets 0 and 1 hold an ordered message each, and packet 1 also a REPAIR of packet 0.
fn begun(name: &'static str) -> Script {
    Script::new(name).packet(0, &[ordered(0)]).packet(1, &[repair(&[(1, &[ordered(0)])]), ordered(1)])
}

fn good() -> Vec<Script> {
    // Of these, a symbol contains only the whole messages of the reliable modes.
    let covered = [unordered(0, "in"), wide(UNORDERED, 2, 1, "too")];
    let others =
        [unreliable("out"), message(sequenced(7), 1, 0, "out"), fragment(ORDERED, 3, "out!", (0, 2))];
    let mixed = [&covered[..1], &others, &covered[1..], &[Frame::Ping]].concat();
    vec![
        begun("repair: a lost packet, which comes after all")
            .packet(3, &[ordered(3), repair(&[(1, &[ordered(2)]), (2, &[ordered(1)])])])
            .packet(4, &[ordered(4)])
            .packet(2, &[ordered(2)])
            .packet(5, &[ordered(5)]),
        begun("repair: the packet's own messages come before those that it brings back").packet(
            3,
            &[unordered(1, "own"), repair(&[(1, &[unordered(0, "lost"), ordered(2)])]), ordered(3)],
        ),
        begun("repair: in a packet of its own").packet(3, &[repair(&[(1, &[ordered(2)])])]),
        begun("repair: two packets are missing until one of them comes")
            .packet(4, &[repair(&[(1, &[ordered(3)]), (2, &[ordered(2)])])])
            .packet(2, &[ordered(2)]),
        begun("repair: what one REPAIR brings back lets another do so, the oldest first")
            .packet(4, &[repair(&[(1, &[unordered(1, "second")]), (2, &[unordered(0, "first")])])])
            .packet(5, &[unordered(2, "own"), repair(&[(2, &[unordered(1, "second")])])]),
        begun("repair: two lost packets by two REPAIRs of one packet").packet(
            4,
            &[
                repair(&[(1, &[unordered(1, "second")])]),
                repair(&[(2, &[unordered(0, "first")]), (3, &[ordered(1)])]),
            ],
        ),
        begun("repair: a symbol leaves out what is unreliable, sequenced or a fragment")
            .packet(2, &mixed)
            .packet(4, &[repair(&[(1, &[ordered(2)]), (2, &covered)])]),
        begun("repair: what was brought back counts as the message itself")
            .packet(3, &[repair(&[(1, &[ordered(2), unordered(0, "lost")])])])
            .packet(4, &[ordered(2), unordered(0, "lost"), ordered(3)]),
    ]
}

fn ignored() -> Vec<Script> {
    let junk =
        || Frame::Repair(Repair { lags: [1].into_iter().collect(), symbol: Bytes::from_static(b"junk") });
    vec![
        begun("repair: of a packet that has come, whatever it holds")
            .packet(2, &[ordered(2), junk()])
            .pings([3])
            .packet(4, &[junk(), ordered(3)]),
        begun("repair: one that covers a packet without such content")
            .pings([2])
            .packet(4, &[repair(&[(1, &[ordered(2)]), (2, &[ordered(3)])])]),
        begun("repair: one that reaches below packet 0").packet(
            3,
            &[
                repair(&[(1, &[ordered(2)]), (4, &[ordered(0)])]),
                repair(&[(4, &[unordered(0, "of packet -1")])]),
            ],
        ),
    ]
}

fn violations() -> Vec<Script> {
    let of = |symbol: &'static [u8]| {
        Frame::Repair(Repair { lags: [1].into_iter().collect(), symbol: Bytes::from_static(symbol) })
    };
    vec![
        begun("repair, violation: a symbol with something behind its content")
            .packet(3, &[ordered(3), of(b"\x00\x05\x33\x01\x02hi\x00\x01")]),
        begun("repair: zeros behind the content are none")
            .packet(3, &[of(b"\x00\x05\x33\x01\x02hi\x00\x00")]),
        begun("repair, violation: a symbol shorter than it says").packet(3, &[of(b"\x00\x06\x33\x01\x02hi")]),
        begun("repair, violation: a symbol that holds a PING").packet(3, &[of(b"\x00\x01\x01")]),
        begun("repair, violation: a symbol that holds an unreliable message")
            .packet(3, &[of(b"\x00\x03\x30hi")]),
        begun("repair, violation: a symbol that holds a frame of no type").packet(3, &[of(b"\x00\x01\x1f")]),
    ]
}
