//! [`KeyBudget`] and [`SharedKeyBudget`]: rate limits for new keys.
//!
//! Values of one key replace each other while they wait for a member. A value of a new key replaces none, so
//! all of them would wait.

use std::hash::Hash;

use super::budget::{Among, SharedBudget};
use crate::base::{Generations, MemberId, Timestamp, TokenBucket};

/// Number of keys that can be used alternately without any of them counting as new.
const KEYS_AT_ONCE: usize = 1_024;

/// New keys that a session takes at once. The half that any member may take equals the burst of its
/// connection. Together with twice [`KEYS_AT_ONCE`] keys that are not new, this makes as many keys as a
/// member has message numbers for if all of them are in flight to it.
const SHARED_KEYS_AT_ONCE: usize = 2 * KEYS_AT_ONCE;

/// Rate limit for the new keys of one connection. Spec: LIM-4.
#[derive(Debug, Clone)]
pub struct KeyBudget<K> {
    new: TokenBucket,
    used: UsedKeys<K>,
}

impl<K: Hash + Eq> KeyBudget<K> {
    /// Creates a full budget of `per_second` new keys a second.
    pub fn new(now: Timestamp, per_second: u64) -> Self {
        let new = TokenBucket::new(now, per_second, per_second.max(KEYS_AT_ONCE as u64));
        Self { new, used: UsedKeys::default() }
    }

    /// Uses a key; false if it is new and the rate is exceeded.
    pub fn take(&mut self, now: Timestamp, key: K) -> bool {
        use_key(&mut self.used, key, || self.new.take(now, 1))
    }
}

/// Rate limit for the new keys of a session's members; none can use up another's share. Spec: LIM-4.
#[derive(Debug)]
pub(super) struct SharedKeyBudget {
    pub(super) new: SharedBudget,
    used: UsedKeys<(MemberId, u16)>,
}

impl SharedKeyBudget {
    /// Creates a full budget of `per_second` new keys a second.
    pub(super) fn new(now: Timestamp, per_second: u64) -> Self {
        let new = TokenBucket::new(now, per_second, per_second.max(SHARED_KEYS_AT_ONCE as u64));
        Self { new: SharedBudget::new(new), used: UsedKeys::default() }
    }

    /// Uses a key of a member; false if it is new and the rate is exceeded.
    pub(super) fn take(&mut self, now: Timestamp, by: Among, key: u16) -> bool {
        use_key(&mut self.used, (by.member, key), || self.new.take(now, by, 1))
    }
}

/// Keys that are not new.
type UsedKeys<K> = Generations<K, (), KEYS_AT_ONCE>;

/// Uses a key; false if it is new and `may_be_new` returns false.
fn use_key<K: Hash + Eq>(used: &mut UsedKeys<K>, key: K, may_be_new: impl FnOnce() -> bool) -> bool {
    if used.latest(&key).is_some() {
        return true;
    }
    let is_allowed = used.get(&key).is_some() || may_be_new();
    if is_allowed {
        used.insert(key, ());
    }
    is_allowed
}

#[cfg(test)]
mod tests {
    use super::*;

    // spec-test: LIM-4
    #[test]
    fn new_keys_have_a_budget_and_those_in_use_are_free() {
        let mut budget = KeyBudget::new(Timestamp::ZERO, 64);
        let in_use = |budget: &mut KeyBudget<_>, now| (0..900).all(|key| budget.take(now, (1, key)));
        assert!(in_use(&mut budget, Timestamp::ZERO) && in_use(&mut budget, Timestamp::ZERO));
        let mut next = 900..;
        let mut more = |budget: &mut KeyBudget<_>, now| {
            next.by_ref().take_while(|key| budget.take(now, (1, *key))).count()
        };
        assert_eq!(more(&mut budget, Timestamp::ZERO), 124);
        assert!(in_use(&mut budget, Timestamp::ZERO), "those that it used before");
        assert!(!budget.take(Timestamp::ZERO, (2, 0)), "in another place it is another");
        assert_eq!(more(&mut budget, Timestamp::from_millis(1_000)), 64);
        assert!(in_use(&mut budget, Timestamp::from_millis(1_000)));
        assert_eq!(more(&mut budget, Timestamp::from_millis(1_500)), 32);
        assert!(budget.used.held() <= 2 * KEYS_AT_ONCE);
    }
    // spec-test: LIM-4
    #[test]
    fn members_that_begin_ever_new_keys_leave_another_its_own() {
        let mut budget = SharedKeyBudget::new(Timestamp::ZERO, 256);
        let mut refused = [0; 9];
        let among_nine = |member| Among { member: MemberId(member), members: 9 };
        for millis in 0..20_000_u32 {
            let now = Timestamp::from_millis(millis.into());
            for member in 1..=8 {
                // Each member sends as many as its own connection permits, at the beginning all at once.
                for new in 0..if millis == 0 { 1_024 } else { u32::from(millis % 16 == 0) } {
                    let key = (millis + new) as u16;
                    refused[member as usize - 1] += u32::from(!budget.take(now, among_nine(member), key));
                }
            }
            if millis % 200 == 0 {
                refused[8] += u32::from(!budget.take(now, among_nine(9), (millis / 200) as u16));
            }
        }
        assert!(refused[8] == 0 && refused[..8].iter().all(|refused| *refused > 500), "{refused:?}");
    }
}
