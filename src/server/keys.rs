//! Keys of senders, made unique for the receivers.
//!
//! An application's key is scoped by its sender, but a stream carries many senders and has one space of
//! 16-bit keys. So each (sender, key) of a session gets its own key on the streams of the session's members,
//! the same for all members of one worker.

use std::collections::HashSet;

use crate::base::{Generations, MemberId};

/// Keys on the streams of one session.
#[derive(Debug, Default)]
pub struct KeyTable {
    /// Pairs that were used lately, with the keys given to them.
    used: Generations<(MemberId, u16), u16, IN_USE>,
    /// Keys given to these pairs; empty until every key has been given once.
    in_use: HashSet<u16>,
    /// Number of keys given so far.
    given: u64,
}

/// Number of pairs that keep their key, as long as each is used again before this many others are: as many as
/// a session takes at once, new and used ones (LIM-4). Far below [`KEYS`], so that a key is given again only
/// long after it was forgotten.
const IN_USE: usize = 4_096;

/// Number of 16-bit keys.
const KEYS: u64 = 1 << 16;

impl KeyTable {
    /// Returns the key on the stream for `key` of `sender`.
    pub fn stream_key(&mut self, sender: MemberId, key: u16) -> u16 {
        let pair = (sender, key);
        if let Some(&given) = self.used.latest(&pair) {
            return given;
        }
        let given = self.used.get(&pair).copied().unwrap_or_else(|| self.take_next());
        if self.used.insert(pair, given) && !self.in_use.is_empty() {
            self.in_use = self.used.values().copied().collect();
        }
        given
    }

    /// Returns the next key that is not in use.
    fn take_next(&mut self) -> u16 {
        loop {
            #[allow(clippy::cast_possible_truncation, reason = "all in turn, again and again")]
            let next = self.given as u16;
            self.given += 1;
            if self.given <= KEYS {
                return next;
            }
            if self.in_use.is_empty() {
                self.in_use = self.used.values().copied().collect();
            }
            if self.in_use.insert(next) {
                return next;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn equal_keys_of_two_senders_differ_and_stay() {
        let mut table = KeyTable::default();
        let first = table.stream_key(MemberId(1), 7);
        let second = table.stream_key(MemberId(2), 7);
        assert_ne!(first, second);
        assert_ne!(first, table.stream_key(MemberId(1), 8));
        assert_eq!(table.stream_key(MemberId(1), 7), first);
        assert_eq!(table.stream_key(MemberId(2), 7), second);
    }

    #[test]
    fn memory_is_bounded_and_a_key_is_not_soon_given_again() {
        let mut table = KeyTable::default();
        let steady = table.stream_key(MemberId(99), 1);
        let mut last = HashMap::new();
        for at in 0..90_000_u32 {
            let given = table.stream_key(MemberId(at / 50_000), (at % 50_000) as u16);
            if let Some(before) = last.insert(given, at) {
                assert!(at - before >= 65_535);
            }
            if at % 1_000 == 0 {
                assert_eq!(table.stream_key(MemberId(99), 1), steady, "it is in use");
            }
            assert_ne!(given, steady);
        }
        assert!(table.used.held() <= 2 * IN_USE);
        assert!(table.in_use.len() <= 2 * IN_USE + 1, "{}", table.in_use.len());
    }
}
