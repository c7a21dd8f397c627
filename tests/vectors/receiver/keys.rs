//! Sequenced and ReliableLatest: no message is delivered that is older than the last delivered one of its
//! key.

use super::script::{Script, latest, message, sequenced, wide};

pub(super) fn scripts() -> Vec<Script> {
    vec![
        Script::new("keys: an older sequenced message is dropped, another key goes through")
            .packet(0, &[message(sequenced(1), 1, 0, "1 at 0")])
            .packet(2, &[message(sequenced(1), 1, 3, "1 at 3")])
            .packet(1, &[message(sequenced(1), 1, 1, "1 at 1"), message(sequenced(2), 1, 2, "2 at 2")])
            .packet(3, &[message(sequenced(2), 1, 4, "2 at 4")])
            .packet(4, &[message(sequenced(2), 1, 4, "2 at 4")])
            .packet(5, &[message(sequenced(1), 2, 0, "the same key of another stream")]),
        Script::new("keys: a newer latest value replaces an older one, which is dropped when it comes")
            .packet(1, &[message(latest(7), 1, 1, "open")])
            .packet(0, &[message(latest(7), 1, 0, "closed")])
            .packet(2, &[message(latest(7), 1, 3, "broken"), message(latest(7), 1, 2, "closed")])
            .packet(3, &[message(latest(7), 1, 3, "broken")]),
        Script::new("keys: a key is one for both modes")
            .packet(1, &[message(sequenced(7), 1, 1, "newer")])
            .packet(0, &[message(latest(7), 1, 0, "older")])
            .packet(2, &[message(latest(7), 1, 3, "newest")])
            .packet(3, &[message(sequenced(7), 1, 2, "between")]),
        Script::new("keys: numbers of 1 byte, past 255 and past a gap")
            .packet(0, &[wide(latest(1), 1, 200, "200")])
            .packet(1, &[message(latest(1), 1, 255, "255")])
            .packet(2, &[message(latest(2), 1, 257, "257"), message(latest(3), 1, 254, "254")])
            .packet(3, &[message(latest(1), 1, 256, "256")])
            .packet(4, &[message(latest(2), 1, 256, "older than 257")])
            .packet(5, &[message(latest(2), 1, 300, "300")]),
        // Independent of the sender: of all numbers with these 8 bits, the one between 191 below the position
        // and 64 above is taken (STR-6). The wide numbers show how it was read.
        Script::new("keys: numbers of 1 byte, as far as they reach from position 220")
            .packet(0, &[wide(latest(1), 1, 219, "219")])
            .packet(1, &[message(latest(2), 1, 29, "29, not 285")])
            .packet(2, &[wide(latest(2), 1, 30, "30")])
            .packet(3, &[message(latest(3), 1, 284, "284, not 28")])
            .packet(4, &[wide(latest(3), 1, 283, "older than 284")]),
        Script::new("keys: the window is not for them")
            .packet(0, &[wide(latest(7), 1, 5_000, "the values before were replaced")])
            .packet(1, &[message(latest(7), 1, 5_001, "5,001")]),
        forgotten(),
    ]
}

/// Key k has number 10 + 2k, for 257 keys.
fn forgotten() -> Script {
    let value = |key: u16| wide(sequenced(key), 1, 10 + 2 * u64::from(key), "");
    let begun = Script::new("keys: of 257 the one with the smallest number is forgotten");
    let packets = (0..6).map(|packet| packet * 50..257.min((packet + 1) * 50));
    packets
        .zip(0..)
        .fold(begun, |script, (keys, number)| script.packet(number, &keys.map(value).collect::<Vec<_>>()))
        .packet(6, &[wide(sequenced(0), 1, 10, "old")])
        .packet(7, &[wide(sequenced(999), 1, 10, "as old as the key that was forgotten")])
        .packet(8, &[wide(sequenced(1), 1, 11, "older than the newest of its key")])
        .packet(9, &[wide(sequenced(999), 1, 11, "newer than the key that was forgotten")])
        .packet(10, &[wide(sequenced(998), 1, 11, "now 11 is forgotten, too")])
}
