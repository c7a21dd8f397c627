//! Rate budgets of one connection. Refusing commands here, at ingress, protects the members of a flooder's
//! sessions.

use super::limits::Limits;
use crate::base::{Slot, Timestamp, TokenBucket};
use crate::session::KeyBudget;
use crate::wire::command::MAX_COMMAND_BYTES;
use crate::wire::{Command, Request};

/// Users that may be invited at once: a full session.
const INVITES_AT_ONCE: u64 = 1_024;
/// Minimum number of sessions that may be entered at once: several times what a user may be in by default.
const ENTRIES_AT_ONCE: u64 = 64;
/// Refused commands per second for each allowed one. They are limited because each is answered.
const REFUSALS: u64 = 10;

/// Rates at which one connection may send to the application layer. Spec: LIM-2, LIM-4, LIM-6, LIM-8.
///
/// A full budget is created once and cloned for each connection.
#[derive(Debug, Clone)]
pub struct Budget {
    commands: TokenBucket,
    bytes: TokenBucket,
    refusals: TokenBucket,
    entries: TokenBucket,
    invites: TokenBucket,
    keys_per_second: u64,
    /// `None` until the first message with a key.
    keys: Option<Box<KeyBudget<(Slot, u16)>>>,
}

impl Budget {
    /// Creates a full budget.
    pub fn new(limits: &Limits) -> Self {
        let at_once = |per_second, at_once| TokenBucket::new(Timestamp::ZERO, per_second, at_once);
        let Limits { commands_per_second, entries_per_second, invites_per_second, .. } = *limits;
        let refusals = commands_per_second.saturating_mul(REFUSALS);
        let bytes_per_second = limits.command_bytes_per_second;
        Self {
            commands: at_once(commands_per_second, commands_per_second),
            bytes: TokenBucket::of_bytes(Timestamp::ZERO, bytes_per_second, MAX_COMMAND_BYTES as u64),
            refusals: at_once(refusals, refusals),
            entries: at_once(
                entries_per_second,
                ENTRIES_AT_ONCE.max(entries_per_second).max(limits.sessions_per_user),
            ),
            invites: at_once(invites_per_second, INVITES_AT_ONCE.max(invites_per_second)),
            keys_per_second: limits.new_keys_per_second,
            keys: None,
        }
    }

    /// Takes one command of `bytes` bytes; false if the rate is exceeded. A command that is refused for its
    /// bytes costs a command but no bytes, so that a flood of large commands does not block small ones.
    pub fn take(&mut self, now: Timestamp, bytes: usize) -> bool {
        self.commands.take(now, 1) && self.bytes.take(now, bytes as u64)
    }

    /// Takes the bytes of an answer that may be much longer than its command; false if the rate is exceeded.
    /// The longest answer costs half of a full budget: the budget is never full, because the command has just
    /// been taken from it.
    pub fn take_answer(&mut self, now: Timestamp, bytes: usize) -> bool {
        self.bytes.take(now, (bytes as u64).min(self.bytes.burst() / 2))
    }

    /// Takes a command that [`Self::take`] has refused; false if the rate of refusals is also exceeded.
    pub fn take_refusal(&mut self, now: Timestamp) -> bool {
        self.refusals.take(now, 1)
    }

    /// Takes the further costs of a command about the session of `slot`; false if a rate is exceeded.
    pub fn take_costs(&mut self, now: Timestamp, slot: Slot, command: &Command) -> bool {
        let delivery = match command {
            Command::Broadcast(broadcast) => broadcast.delivery,
            Command::Message(message) => message.delivery,
            Command::Request(_, Request::Create(_) | Request::Join(_)) => return self.entries.take(now, 1),
            Command::Request(_, Request::Invite(invite)) => {
                return self.invites.take(now, invite.users.as_slice().len() as u64);
            }
            Command::Request(..) => return true,
        };
        let Some(key) = delivery.key() else { return true };
        let rate = self.keys_per_second;
        self.keys.get_or_insert_with(|| Box::new(KeyBudget::new(now, rate))).take(now, (slot, key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{RequestId, SessionId};
    use crate::wire::command::{Broadcast, Join, To};
    use crate::wire::{Body, Delivery};
    use bytes::Bytes;

    // spec-test: LIM-2
    #[test]
    fn the_longest_answer_passes_behind_its_command() {
        let mut budget = Budget::new(&Limits::default());
        assert!(budget.take(Timestamp::ZERO, 3) && budget.take_answer(Timestamp::ZERO, usize::MAX));
        assert!(!budget.take_answer(Timestamp::ZERO, usize::MAX), "too soon");
        let later = Timestamp::from_millis(1_000);
        assert!(budget.take(later, 3) && budget.take_answer(later, usize::MAX));
    }

    // spec-test: LIM-2, CMD-6
    #[test]
    fn what_is_refused_for_its_bytes_costs_a_command_and_what_is_refused_as_a_command_no_bytes() {
        let limits = Limits { commands_per_second: 2, command_bytes_per_second: 4_096, ..Limits::default() };
        let mut budget = Budget::new(&limits);
        assert!(budget.take(Timestamp::ZERO, MAX_COMMAND_BYTES));
        assert!(!budget.take(Timestamp::ZERO, 1), "no bytes are left");
        assert!(!budget.take(Timestamp::ZERO, 0), "nor commands");
        let later = Timestamp::from_millis(500);
        assert!(budget.take(later, 48) && !budget.take(later, 1_000));
        assert!(budget.take(Timestamp::from_millis(1_000), 4_048), "the 1,000 bytes are still there");
    }

    // spec-test: LIM-8
    #[test]
    fn as_many_sessions_may_be_entered_at_once_as_a_user_may_be_in_and_64_at_least() {
        for (sessions_per_user, at_once) in [(16, 64), (100, 100)] {
            let mut budget = Budget::new(&Limits { sessions_per_user, ..Limits::default() });
            let join = Command::Request(RequestId(1), Request::Join(Join::Session(SessionId(1))));
            let mut enter = || budget.take_costs(Timestamp::ZERO, Slot(0), &join);
            assert_eq!((0..200).filter(|_| enter()).count(), at_once);
        }
    }

    // spec-test: LIM-4
    #[test]
    fn the_keys_of_all_sessions_of_a_connection_count_together_and_each_as_its_own() {
        let mut budget = Budget::new(&Limits::default());
        let mut take = |slot, key| {
            let delivery = Delivery::ReliableLatest { key };
            let body = Body::new(delivery, Bytes::new()).unwrap();
            let command = Command::Broadcast(Broadcast { delivery, to: To::All, counter: 0, body });
            budget.take_costs(Timestamp::ZERO, Slot(slot), &command)
        };
        for slot in [1, 2] {
            assert!((0..512).all(|key| take(slot, key)), "of 1,024 at once");
        }
        assert!(!take(3, 0), "in another session it is another");
        assert!(take(1, 0) && take(2, 511), "in use");
    }

    #[test]
    fn a_command_of_the_largest_size_passes_a_full_budget() {
        let limits = Limits { commands_per_second: 5, command_bytes_per_second: 10, ..Limits::default() };
        let mut budget = Budget::new(&limits);
        assert!(budget.take(Timestamp::ZERO, MAX_COMMAND_BYTES));
        assert!(!budget.take(Timestamp::ZERO, 1), "the bytes are gone");
        assert!(budget.take(Timestamp::from_millis(500), 5));
        assert!(!budget.take(Timestamp::from_millis(500), 1));
    }
}
