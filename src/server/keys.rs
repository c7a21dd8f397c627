//! Keys of what members send, made unique for those who receive it.
//!
//! An app's key is scoped by its sender; a stream carries many senders and has one space of 16-bit
//! keys. So each (sender, key) of a session gets a key of its own on the streams of the session's
//! members, the same for all members of one worker.

use std::collections::{HashMap, VecDeque};

use crate::base::MemberId;

/// Keys on the streams of one session.
#[derive(Debug, Default)]
pub struct KeyTable {
    given: HashMap<(MemberId, u16), u16>,
    /// Oldest first; as long as `given`.
    order: VecDeque<(MemberId, u16)>,
    next: u16,
}

/// Keys remembered at a time. Far fewer than there are, so that a key is given again only long
/// after it was forgotten, when nothing that carries it can still be under way.
const REMEMBERED: usize = 4_096;

impl KeyTable {
    /// The key on the stream for `key` of `sender`.
    pub fn of(&mut self, sender: MemberId, key: u16) -> u16 {
        if let Some(&given) = self.given.get(&(sender, key)) {
            return given;
        }
        if self.order.len() >= REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.given.remove(&oldest);
        }
        let given = self.next;
        self.next = self.next.wrapping_add(1);
        self.given.insert((sender, key), given);
        self.order.push_back((sender, key));
        given
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_keys_of_two_senders_differ_and_stay() {
        let mut table = KeyTable::default();
        let first = table.of(MemberId(1), 7);
        let second = table.of(MemberId(2), 7);
        assert_ne!(first, second);
        assert_ne!(first, table.of(MemberId(1), 8));
        assert_eq!(table.of(MemberId(1), 7), first);
        assert_eq!(table.of(MemberId(2), 7), second);
    }

    #[test]
    fn memory_is_bounded_and_a_key_is_not_soon_given_again() {
        let mut table = KeyTable::default();
        let mut last = HashMap::new();
        for at in 0..200_000_u32 {
            let given = table.of(MemberId(at / 50_000), (at % 50_000) as u16);
            if let Some(before) = last.insert(given, at) {
                assert!(at - before >= 65_536);
            }
        }
        assert_eq!((table.given.len(), table.order.len()), (REMEMBERED, REMEMBERED));
    }
}
