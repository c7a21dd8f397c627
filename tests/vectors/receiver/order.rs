//! Whole messages: which are delivered, and when.

use rallypoint::wire::CloseCode;
use rallypoint::wire::frame::{Close, Frame};

use super::script::{ORDERED, Script, UNORDERED, latest, message, sequenced, unreliable, wide};

pub(super) fn scripts() -> Vec<Script> {
    let close = Close { code: u16::from(CloseCode::ShuttingDown.number()), reason: "bye".into() };
    vec![
        Script::new("order: all modes in one packet").packet(
            0,
            &[
                message(ORDERED, 1, 0, "ordered"),
                message(UNORDERED, 1, 0, "unordered"),
                message(latest(7), 1, 0, "latest"),
                message(sequenced(8), 1, 1, "sequenced"),
                unreliable("unreliable"),
            ],
        ),
        Script::new("order: ordered messages wait for what is missing, unordered ones do not")
            .packet(0, &[message(ORDERED, 1, 0, "a")])
            .packet(2, &[message(ORDERED, 1, 2, "c"), message(UNORDERED, 1, 1, "z")])
            .packet(3, &[message(ORDERED, 1, 4, "e")])
            .packet(4, &[message(ORDERED, 1, 3, "d"), message(UNORDERED, 1, 0, "y")])
            .packet(1, &[message(ORDERED, 1, 1, "b")]),
        Script::new("order: streams do not hold each other up")
            .packet(0, &[message(ORDERED, 1, 1, "1b"), message(ORDERED, 2, 0, "2a")])
            .packet(1, &[message(ORDERED, 0, 0, "0a"), message(ORDERED, 2, 2, "2c")])
            .packet(2, &[message(ORDERED, 1, 0, "1a")])
            .packet(3, &[message(ORDERED, 2, 1, "2b")]),
        Script::new("order: a message that comes again in another packet is acked and ignored")
            .packet(0, &[message(ORDERED, 1, 0, "a"), message(UNORDERED, 1, 0, "y")])
            .packet(1, &[message(ORDERED, 1, 2, "c"), message(UNORDERED, 1, 2, "z")])
            .packet(2, &[message(ORDERED, 1, 0, "a"), message(UNORDERED, 1, 0, "y")])
            .packet(3, &[message(UNORDERED, 1, 2, "z"), message(ORDERED, 1, 2, "c")])
            .packet(4, &[message(ORDERED, 1, 1, "b")])
            .packet(5, &[message(ORDERED, 1, 2, "c"), message(ORDERED, 1, 1, "b")]),
        Script::new("order: unreliable messages come up as they arrive")
            .packet(0, &[unreliable("a"), unreliable("b")])
            .packet(2, &[unreliable("d")])
            .packet(1, &[unreliable("c"), unreliable("")])
            .packet(1, &[unreliable("c")]),
        past_255(),
        Script::new("numbers: of 4 bytes, as far ahead as the window reaches")
            .packet(0, &[wide(UNORDERED, 1, 4_095, "last of the window")])
            .packet(1, &[wide(ORDERED, 1, 4_095, "waits")])
            .packet(2, &[wide(UNORDERED, 1, 4_095, "again")])
            .packet(3, &[message(UNORDERED, 1, 0, "first")])
            .packet(4, &[wide(UNORDERED, 1, 4_096, "the window has moved")]),
        late(),
        Script::new("streams: one that was skipped is open, and what comes on a finished one is ignored")
            .packet(0, &[message(ORDERED, 3, 0, "opens 1, 2 and 3")])
            .packet(1, &[message(ORDERED, 1, 0, "on 1"), message(ORDERED, 1, 2, "waits")])
            .finish(1)
            .packet(
                2,
                &[message(ORDERED, 1, 1, "b"), message(latest(7), 1, 0, "x"), message(ORDERED, 3, 1, "on 3")],
            )
            .packet(3, &[message(ORDERED, 2, 0, "on 2")]),
        Script::new("close: what stands before it is handed up, and nothing behind it").packet(
            0,
            &[message(ORDERED, 0, 0, "before"), Frame::Close(close), message(ORDERED, 0, 1, "behind")],
        ),
        Script::new("close: an unknown code is none").bytes(0, "04 7fff 00"),
    ]
}

/// The position is 250 when the 1-byte numbers wrap around.
fn past_255() -> Script {
    let full =
        |first: u64| (first..first + 50).map(|number| message(ORDERED, 1, number, "")).collect::<Vec<_>>();
    let begun = Script::new("numbers: of 1 byte, past 255 and past a gap");
    (0..5)
        .fold(begun, |script, packet| script.packet(packet, &full(packet * 50)))
        .packet(5, &[message(ORDERED, 1, 250, "250"), message(ORDERED, 1, 254, "254")])
        .packet(6, &[message(ORDERED, 1, 256, "256")])
        .packet(7, &[message(ORDERED, 1, 253, "253"), message(ORDERED, 1, 255, "255")])
        .packet(8, &[message(ORDERED, 1, 249, "249 again")])
        .packet(9, &[message(ORDERED, 1, 252, "252"), message(ORDERED, 1, 251, "251")])
        .packet(10, &[message(ORDERED, 1, 257, "257")])
}

/// By then, the 1-byte number 1 could also mean 257. Only the number's own space matters.
fn late() -> Script {
    Script::new("numbers: of 1 byte, in a packet too late to tell which")
        .packet(0, &[message(ORDERED, 1, 0, "a")])
        .packet(3, &[wide(latest(7), 1, 200, "moves the position by 201")])
        .packet(1, &[message(ORDERED, 1, 2, "c"), message(latest(8), 1, 1, "is not taken")])
        .packet(1, &[message(ORDERED, 1, 2, "c"), message(latest(8), 1, 1, "is no replay, and not taken")])
        .packet(2, &[message(ORDERED, 1, 1, "b")])
        .packet(4, &[message(ORDERED, 1, 2, "c"), wide(latest(8), 1, 1, "with 4 bytes it can be told")])
        .packet(5, &[message(latest(8), 1, 201, "in its turn 1 byte will do")])
}
