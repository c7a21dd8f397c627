//! Messages in fragments.

use super::script::{ORDERED, Script, UNORDERED, fragment, latest, message};

pub(super) fn scripts() -> Vec<Script> {
    let of_three = |index| fragment(ORDERED, 0, "abcdefgh", (index, 3));
    let unordered = |number, whole, index| fragment(UNORDERED, number, whole, (index, 2));
    let cut = |index, count| fragment(ORDERED, 0, "abcdefghijkl", (index, count));
    let slow = |index| fragment(latest(7), 0, "overtaken", (index, 2));
    vec![
        Script::new("fragments: in any order, once")
            .packet(0, &[of_three(2)])
            .packet(1, &[of_three(0)])
            .packet(2, &[of_three(0), of_three(2)])
            .packet(3, &[of_three(1)])
            .packet(4, &[of_three(1)]),
        Script::new("fragments: all in one packet").packet(0, &[of_three(1), of_three(0), of_three(2)]),
        Script::new("fragments: interleaved with other messages")
            .packet(0, &[of_three(0), message(UNORDERED, 1, 0, "does not wait")])
            .packet(1, &[message(ORDERED, 1, 1, "waits"), of_three(1)])
            .packet(2, &[message(ORDERED, 2, 0, "another stream")])
            .packet(3, &[of_three(2)]),
        Script::new("fragments: of two messages at once")
            .packet(0, &[unordered(0, "first", 0), unordered(1, "second", 1)])
            .packet(1, &[unordered(1, "second", 0), unordered(0, "first", 1)]),
        Script::new("fragments: an ordered message that is whole waits for one that is not")
            .packet(0, &[fragment(ORDERED, 1, "second", (0, 2)), fragment(ORDERED, 1, "second", (1, 2))])
            .packet(1, &[of_three(0), of_three(1)])
            .packet(2, &[message(ORDERED, 1, 1, "nothing more of it is taken")])
            .packet(3, &[of_three(2)]),
        Script::new("fragments: cut anew, what came before is forgotten and the smaller count ignored")
            .packet(0, &[cut(0, 2)])
            .packet(1, &[cut(2, 3)])
            .packet(2, &[cut(1, 2)])
            .packet(3, &[cut(0, 3)])
            .packet(4, &[cut(0, 2)])
            .packet(5, &[cut(1, 3)])
            .packet(6, &[cut(1, 2)]),
        Script::new("fragments: of a latest message that a newer one has overtaken")
            .packet(0, &[slow(0)])
            .packet(1, &[message(latest(7), 1, 1, "newer")])
            .packet(2, &[slow(1)])
            .packet(3, &[slow(0)])
            .packet(4, &[fragment(latest(7), 2, "newest", (1, 2)), fragment(latest(7), 2, "newest", (0, 2))]),
    ]
}
