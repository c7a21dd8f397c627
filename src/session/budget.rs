//! [`SharedBudget`]: what the members of a session may do together, of which none takes the others' part.

use crate::base::{IdMap, MemberId, Timestamp, TokenBucket};

/// A bucket for all members. Anybody takes from it freely while half of it is there. Below, each member has a
/// share of its own: as many a second as are left to each when all take as much.
// spec: LIM-3
#[derive(Debug)]
pub(super) struct SharedBudget {
    all: TokenBucket,
    /// What a member's share holds.
    at_once: u64,
    /// Nothing until so little is left.
    shares: Option<Box<IdMap<MemberId, TokenBucket>>>,
}

impl SharedBudget {
    /// A full budget of `all`, of which one call takes `largest` at most.
    pub(super) fn new(all: TokenBucket, largest: u64) -> Self {
        // Of the half that is left a third, or few could take it all; but never too little for one call.
        Self { at_once: (all.holds() / 6).max(largest), all, shares: None }
    }

    /// Takes `amount` for one of so many members; false when it comes too soon.
    pub(super) fn take(&mut self, now: Timestamp, (member, members): (MemberId, usize), amount: u64) -> bool {
        if self.shares.is_some() && self.all.is_full(now) {
            self.shares = None;
        }
        if self.all.take_above(now, amount, 2) {
            return true;
        }
        let new_share = || self.all.share(now, u64::try_from(members).unwrap_or(u64::MAX), self.at_once);
        let shares = self.shares.get_or_insert_default();
        shares.entry(member).or_insert_with(new_share).take(now, amount) && self.all.take(now, amount)
    }

    /// A member is none any more.
    pub(super) fn forget(&mut self, member: MemberId) {
        if let Some(shares) = &mut self.shares {
            shares.remove(&member);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// Takes for the members at their rates a second, for a while; how many of each one's were taken and refused.
    fn run(rates: [u64; 3], amount: u64) -> [(u64, u64); 3] {
        let mut budget = SharedBudget::new(TokenBucket::new(Timestamp::ZERO, 1_000, 600), amount);
        let mut outcome = [(0, 0); 3];
        for millis in 0..20_000u64 {
            let now = Timestamp::ZERO + Duration::from_millis(millis);
            for (member, (rate, (taken, refused))) in (1..).zip(rates.iter().zip(&mut outcome)) {
                if (millis + 1) * rate / 1_000 == millis * rate / 1_000 {
                    continue;
                }
                let counted = if budget.take(now, (MemberId(member), 3), amount) { taken } else { refused };
                *counted += 1;
            }
        }
        outcome
    }

    // spec-test: LIM-3
    #[test]
    fn two_members_that_flood_leave_a_third_its_share() {
        // In the beginning the two may take what all have at once.
        let [(first, _), (second, _), (third, refused)] = run([500, 500, 30], 10);
        assert!(refused <= 10 && third >= 590, "{third} taken, {refused} refused");
        let all = (first + second + third) * 10;
        assert!((19_900..=20_600).contains(&all), "{all} of 20,000 and 600 at once");
        assert!(first.abs_diff(second) <= (first + second) / 10, "{first} and {second}");
    }

    #[test]
    fn who_floods_alone_gets_it_all() {
        let [(flood, _), (none, _), (a_little, refused)] = run([1_000, 0, 5], 10);
        assert!((flood + a_little) * 10 >= 19_900 && none == 0, "{flood}");
        assert_eq!(refused, 0);
    }

    #[test]
    fn shares_are_forgotten_with_their_member_and_when_enough_is_there() {
        let mut budget = SharedBudget::new(TokenBucket::new(Timestamp::ZERO, 10, 10), 10);
        let members = |budget: &SharedBudget| budget.shares.as_ref().map(|shares| shares.len());
        for member in [1, 2] {
            assert!(budget.take(Timestamp::ZERO, (MemberId(member), 2), 4));
        }
        assert_eq!(members(&budget), Some(1));
        budget.forget(MemberId(2));
        assert_eq!(members(&budget), Some(0));
        assert!(budget.take(Timestamp::from_millis(1_000), (MemberId(1), 2), 1));
        assert_eq!(members(&budget), None);
    }
}
