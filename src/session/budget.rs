//! [`SharedBudget`]: a rate budget that the members of a session share; none can use up another's share.

use crate::base::{IdMap, MemberId, Timestamp, TokenBucket};

/// A token bucket for all members. While at least half of its capacity is left after a take, any member takes
/// from it freely. Below that, each member has a share: its rate is the bucket's rate divided by the number
/// of members, its burst a quarter of the bucket's capacity divided by that number. The shares together hold
/// a quarter of the capacity, or 1 each if that is more; what is taken from a share must also be in the
/// bucket. An amount larger than the burst of a share is taken only from a member that has as much credit.
// spec: LIM-3
#[derive(Debug)]
pub(super) struct SharedBudget {
    all: TokenBucket,
    /// `None` until a call finds too little above half of the bucket, and again once the bucket is full.
    shares: Option<Box<IdMap<MemberId, Share>>>,
}

/// A member of a session, as one of the members that share its budgets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Among {
    pub(super) member: MemberId,
    /// How many members there are, this one included.
    pub(super) members: usize,
}

/// What one member may take while the bucket is below half.
#[derive(Debug)]
struct Share {
    /// What it may take at any time.
    allowance: TokenBucket,
    /// By how much the member's recent demand stayed below its share. Refused amounts and amounts taken while
    /// the bucket was above half count as demand.
    credit: TokenBucket,
}

/// The rate and the capacities of a share.
#[derive(Debug, Clone, Copy)]
struct ShareSize {
    per_second: u64,
    /// What the allowance holds.
    burst: u64,
    /// What the credit holds.
    credit: u64,
}

impl Share {
    fn full(now: Timestamp, size: ShareSize) -> Self {
        Self {
            allowance: TokenBucket::new(now, size.per_second, size.burst),
            credit: TokenBucket::new(now, size.per_second, size.credit),
        }
    }

    fn empty(now: Timestamp, size: ShareSize) -> Self {
        let mut share = Self::full(now, size);
        share.allowance.empty();
        share.credit.empty();
        share
    }

    fn resize(&mut self, now: Timestamp, size: ShareSize) {
        self.allowance.resize(now, size.per_second, size.burst);
        self.credit.resize(now, size.per_second, size.credit);
    }

    /// Takes `amount` from the credit. If that is smaller, empties it and returns false.
    fn spend(&mut self, now: Timestamp, amount: u64) -> bool {
        let has_credit = self.credit.take(now, amount);
        if !has_credit {
            self.credit.empty();
        }
        has_credit
    }
}

/// The shares hold the bucket's capacity divided by this.
const KEPT: u64 = 4;

impl SharedBudget {
    /// Creates a full budget. `all` must hold at least four times the largest amount of a call, otherwise
    /// that call could wait forever.
    pub(super) fn new(all: TokenBucket) -> Self {
        Self { all, shares: None }
    }

    /// Takes `amount` for `by`; false if the rate is exceeded.
    pub(super) fn take(&mut self, now: Timestamp, by: Among, amount: u64) -> bool {
        if self.shares.is_some() && self.all.is_full(now) {
            self.shares = None;
        }
        if !self.all.take_above(now, amount, 2) {
            return self.take_from_share(now, by, amount);
        }
        if let Some(share) = self.shares.as_mut().and_then(|shares| shares.get_mut(&by.member)) {
            share.spend(now, amount);
        }
        true
    }

    /// Takes `amount` while less than half of the bucket would be left.
    fn take_from_share(&mut self, now: Timestamp, by: Among, amount: u64) -> bool {
        let size = self.size(by.members);
        let shares = self.shares.get_or_insert_default();
        let share = shares.entry(by.member).or_insert_with(|| Share::full(now, size));
        // There may be more members now than when the share was created.
        share.resize(now, size);
        let has_credit = share.spend(now, amount);
        let is_taken = if amount <= size.burst {
            share.allowance.has(now, amount) && self.all.take(now, amount)
        } else {
            has_credit && self.all.take_above(now, amount, KEPT)
        };
        if is_taken {
            share.allowance.charge(amount);
        }
        is_taken
    }

    /// Adds a new member. If shares exist, the new one starts empty, so that leaving and entering again gains
    /// nothing.
    pub(super) fn enter(&mut self, now: Timestamp, newcomer: Among) {
        let size = self.size(newcomer.members);
        if let Some(shares) = &mut self.shares {
            shares.insert(newcomer.member, Share::empty(now, size));
        }
    }

    /// Returns the size of the share of one of `members`.
    fn size(&self, members: usize) -> ShareSize {
        let part_of = |amount: u64| (amount / u64::try_from(members).unwrap_or(u64::MAX).max(1)).max(1);
        let (per_second, in_shares) = (part_of(self.all.per_second()), self.all.burst() / KEPT);
        ShareSize { per_second, burst: part_of(in_shares), credit: in_shares }
    }

    /// Forgets a member that has left.
    pub(super) fn forget(&mut self, member: MemberId) {
        if let Some(shares) = &mut self.shares {
            shares.remove(&member);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{ConnectionId, LoginNumber, SessionId, SessionKind, Slot, UserId, WorkerId};
    use crate::session::state::{self, Turn};
    use crate::session::{Entrant, Fanout, Load, MailboxFull, MemberAt, RoomFrom, SessionLimits, WorkerPort};
    use crate::wire::command::{Create, InitialProperties, Join};
    use crate::wire::{Admission, IdleTtl, LeaveReason, MaxMembers, OnOwnerLeave, Settings};
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::time::Duration;

    fn among(member: u32, members: usize) -> Among {
        Among { member: MemberId(member), members }
    }

    /// A session with a rate of 1,000 per second and a burst of 600, and the outcome of its members' takes.
    struct Session {
        budget: SharedBudget,
        now: Timestamp,
        /// Number of takes of each member that succeeded and that were refused.
        outcome: BTreeMap<u32, (u64, u64)>,
    }

    impl Session {
        fn new() -> Self {
            let budget = SharedBudget::new(TokenBucket::new(Timestamp::ZERO, 1_000, 600));
            Self { budget, now: Timestamp::ZERO, outcome: BTreeMap::new() }
        }

        /// Lets each member take its amount at its rate per second, for `seconds`, and calls `also` each
        /// millisecond.
        fn run(&mut self, seconds: u64, members: &[(u32, u64, u64)], mut also: impl FnMut(&mut Self, u64)) {
            for millis in 0..seconds * 1_000 {
                for &(member, rate, amount) in members {
                    if (millis + 1) * rate / 1_000 > millis * rate / 1_000 {
                        let taken = self.budget.take(self.now, among(member, members.len()), amount);
                        let (all_taken, refused) = self.outcome.entry(member).or_default();
                        *if taken { all_taken } else { refused } += 1;
                    }
                }
                also(self, millis);
                self.now += Duration::from_millis(1);
            }
        }

        /// Returns `members` members: all but the last flood, the last one takes a little.
        fn flooders(members: u32, rate: u64) -> Vec<(u32, u64, u64)> {
            (1..members).map(|member| (member, rate, 10)).chain([(members, 4, 1)]).collect()
        }

        fn outcome_of(&self, member: u32) -> (u64, u64) {
            self.outcome.get(&member).copied().unwrap_or_default()
        }
    }

    // spec-test: LIM-3
    #[test]
    fn two_members_that_flood_leave_a_third_its_share() {
        let mut session = Session::new();
        session.run(20, &[(1, 500, 10), (2, 500, 10), (3, 30, 10)], |_, _| {});
        let [(first, _), (second, _), (third, refused)] = [1, 2, 3].map(|member| session.outcome_of(member));
        // At the beginning the two may take the burst of all members.
        assert!(refused <= 10 && third >= 590, "{third} taken, {refused} refused");
        let all = (first + second + third) * 10;
        assert!((19_900..=20_600).contains(&all), "{all} of 20,000 and 600 at once");
        assert!(first.abs_diff(second) <= (first + second) / 10, "{first} and {second}");
    }

    // spec-test: LIM-3
    #[test]
    fn however_many_flood_and_rest_the_others_are_not_refused() {
        for members in [3, 10, 50, 100] {
            let (flood, rest) = (Session::flooders(members, 100), Session::flooders(members, 0));
            let mut session = Session::new();
            for seconds in [2, 1, 3, 2, 1] {
                session.run(seconds, &flood, |_, _| {});
                session.run(seconds / 2, &rest, |_, _| {});
            }
            let (taken, refused) = session.outcome_of(members);
            assert!(refused == 0 && taken > 40, "of {members}: {taken} taken, {refused} refused");
        }
    }

    /// Some members keep the budget at half while others let their shares fill up for one large burst.
    // spec-test: LIM-3
    #[test]
    fn shares_that_fill_up_during_a_flood_take_nothing_from_others() {
        let mut session = Session::new();
        let members: Vec<_> =
            (1..=50).map(|member| (member, if member <= 10 { 500 } else { 0 }, 10)).collect();
        session.run(10, &members, |_, _| {});
        for round in 0..1_000 {
            for member in 11..50 {
                session.budget.take(session.now, among(member, 50), 2);
            }
            assert!(round % 500 > 0 || session.budget.take(session.now, among(50, 50), 1), "{round}");
            session.now += Duration::from_millis(1);
        }
    }

    /// A session with a rate of 2,000,000 per second, a burst of half a million and up to 18 members. Most of
    /// them send up to 60,000 as often as they may, and one keeps to its share.
    // spec-test: LIM-3
    #[test]
    fn a_flood_of_large_amounts_refuses_no_large_amount_of_who_keeps_to_their_share() {
        for (flooders, bytes, each_millis, own) in [
            (16, 60_000, 1_000, 50_000),
            (16, 60_000, 500, 12_000),
            (16, 25_000, 1_000, 50_000),
            (10, 60_000, 700, 50_000),
            (8, 60_000, 1_000, 50_000),
            (8, 60_000, 500, 20_000),
            (8, 60_000, 250, 8_000),
        ] {
            let budget = SharedBudget::new(TokenBucket::new(Timestamp::ZERO, 2_000_000, 524_288));
            let mut session = Session { budget, ..Session::new() };
            let members = flooders + 2;
            let mut refused = 0;
            for millis in 0..30_000 {
                let mut take = |member, amount| {
                    session.budget.take(session.now, among(member, members as usize), amount)
                };
                // As much as the connection of each member may send.
                for member in (0..flooders).filter(|member| (millis + member * 7) % (bytes / 1_000) == 0) {
                    take(member, u64::from(bytes));
                }
                if millis % each_millis == 500 % each_millis {
                    refused += u32::from(!take(99, own));
                }
                session.now += Duration::from_millis(1);
            }
            assert_eq!(refused, 0, "{flooders} of {bytes}, {own} each {each_millis} ms");
        }
    }

    // spec-test: LIM-3
    #[test]
    fn a_large_amount_is_taken_during_a_flood_and_comes_off_what_follows() {
        let mut session = Session::new();
        let members: Vec<_> =
            (1..=20).map(|member| (member, if member == 20 { 0 } else { 500 }, 10)).collect();
        session.run(3, &members, |_, _| {});
        let large = |session: &mut Session| session.budget.take(session.now, among(20, 20), 100);
        assert!(large(&mut session));
        session.run(2, &members, |_, _| {});
        assert!(large(&mut session), "two seconds' worth of its share");
        assert!(!large(&mut session), "it has not saved so much");
        session.run(1, &members, |_, _| {});
        assert!(!large(&mut session), "what it was refused has used that up");
        session.run(2, &members, |_, _| {});
        assert!(large(&mut session));
    }

    proptest! {
        /// What a share holds can always be taken.
        // spec-test: LIM-3
        #[test]
        fn all_shares_together_hold_no_more_than_the_budget(
            calls in prop::collection::vec((0..200_u64, 0..30_u32, 1..300_u64, 0..10_u8), 1..300)
        ) {
            let mut session = Session::new();
            let mut members = 30;
            for (millis, member, amount, also) in calls {
                session.now += Duration::from_millis(millis / 50);
                let (now, by) = (session.now, among(member, members));
                match also {
                    0 => {
                        session.budget.forget(by.member);
                        session.budget.enter(now, by);
                    }
                    1 => members = 30 + usize::try_from(amount % 30).unwrap(),
                    _ => _ = session.budget.take(now, by, amount / 10 + amount % 3),
                }
                let SharedBudget { all, shares } = &mut session.budget;
                all.has(now, 0);
                let in_shares = shares.iter_mut().flat_map(|shares| shares.values_mut()).map(|share| {
                    share.allowance.has(now, 0);
                    share.allowance.micro_tokens()
                });
                prop_assert!(in_shares.sum::<u64>() <= all.micro_tokens());
            }
        }
    }

    // spec-test: LIM-3
    #[test]
    fn who_enters_during_a_flood_has_a_share_as_all_have() {
        let mut session = Session::new();
        let flood = [1, 2, 3].map(|member| (member, 500, 10));
        session.run(5, &flood, |_, _| {});
        let newcomers = [4, 5, 6, 7, 8];
        let all: Vec<_> = flood.into_iter().chain(newcomers.map(|member| (member, 10, 10))).collect();
        for member in newcomers {
            session.budget.enter(session.now, among(member, all.len()));
        }
        session.run(20, &all, |_, _| {});
        for (taken, refused) in newcomers.map(|member| session.outcome_of(member)) {
            assert!(refused <= 10, "{taken} taken, {refused} refused");
        }
    }

    // spec-test: LIM-3
    #[test]
    fn to_leave_and_enter_again_gains_nothing() {
        let mut session = Session::new();
        let members = [(1, 1_000, 1), (2, 1_000, 1), (3, 1_000, 1), (4, 10, 10), (5, 10, 10)];
        session.run(20, &members, |session, millis| {
            if millis % 100 == 0 {
                for member in [1, 2, 3] {
                    session.budget.forget(MemberId(member));
                    session.budget.enter(session.now, among(member, members.len()));
                }
            }
        });
        for (taken, refused) in [4, 5].map(|member| session.outcome_of(member)) {
            assert!(refused <= 10, "{taken} taken, {refused} refused");
        }
    }

    /// Divided by a thousand members, the part of 600 that the shares hold would round to zero.
    // spec-test: LIM-3
    #[test]
    fn however_many_members_there_are_each_has_one_at_once_and_one_a_second() {
        let mut budget = SharedBudget::new(TokenBucket::new(Timestamp::ZERO, 500, 600));
        let mut taken = |now, by: std::ops::RangeInclusive<u32>, times| {
            let all = by.flat_map(|member| std::iter::repeat_n(among(member, 1_000), times));
            all.filter(|by| budget.take(now, *by, 1)).count()
        };
        // Half of the bucket, and its own share.
        assert_eq!(taken(Timestamp::ZERO, 1..=1, 1_000), 301);
        assert_eq!(taken(Timestamp::ZERO, 2..=1_000, 2), 299, "one each while there are any");
        let later = Timestamp::from_millis(1_000);
        assert_eq!(taken(later, 1..=1, 1_000), 201, "500 came, of which half of 600 is kept");
        assert_eq!(taken(later, 2..=300, 2), 299);
    }

    #[test]
    fn who_floods_alone_gets_it_all() {
        let mut session = Session::new();
        session.run(20, &[(1, 1_000, 10), (2, 0, 10), (3, 5, 10)], |_, _| {});
        let [(flood, _), (none, _), (a_little, refused)] = [1, 2, 3].map(|member| session.outcome_of(member));
        assert!((flood + a_little) * 10 >= 19_900 && none == 0, "{flood}");
        assert_eq!(refused, 0);
    }

    /// Accepts all mail and keeps none of it.
    struct NoMail;

    impl WorkerPort for NoMail {
        fn reserve(&mut self, _: &[WorkerId], _: Load) -> Result<(), MailboxFull> {
            Ok(())
        }

        fn post(&mut self, _: WorkerId, _: Fanout, _: RoomFrom) {}

        fn wake(&mut self, _: WorkerId) {}
    }

    /// Otherwise members that repeatedly join and leave would leave memory behind.
    #[test]
    fn a_session_keeps_no_share_of_who_has_left() {
        let settings = Settings {
            kind: SessionKind(1),
            max_members: MaxMembers::new(4).unwrap(),
            idle_ttl: IdleTtl::new(60).unwrap(),
            on_owner_leave: OnOwnerLeave::Transfer,
            admission: Admission::Open,
        };
        let create = Create { settings, properties: InitialProperties::default() };
        let limits = SessionLimits { commands_per_second: 4, ..SessionLimits::default() };
        let mut turn = Turn { now: Timestamp::ZERO, limits: &limits, port: &mut NoMail };
        let at = |login| MemberAt {
            worker: WorkerId(0),
            connection: ConnectionId(login),
            slot: Slot(1),
            login: LoginNumber(login.into()),
        };
        let entrant = |user, login| Entrant { user, at: at(login), snapshot_room: usize::MAX };
        let [ann, bob] = ["ann", "bob"].map(|name| UserId::new(name).unwrap());
        let mut session = state::Session::new(create, &ann, turn.now, &limits).unwrap();
        let ann = session.open(SessionId(1), entrant(&ann, 1), &mut turn).unwrap().member;
        for _ in 0..4 {
            _ = session.take_budget(ann, 0, &turn);
        }
        let shares = |session: &state::Session| session.commands.shares.as_ref().map(|shares| shares.len());
        assert_eq!(shares(&session), Some(1));
        for login in 2..5 {
            let join = Join::Session(session.id);
            let bob = session.join(entrant(&bob, login), join, &mut turn).unwrap().member;
            assert_eq!(shares(&session), Some(2));
            session.leave(bob, LeaveReason::Left, &mut turn).unwrap();
            assert_eq!(shares(&session), Some(1));
        }
    }

    #[test]
    fn shares_are_forgotten_with_their_member_and_when_enough_is_there() {
        let mut budget = SharedBudget::new(TokenBucket::new(Timestamp::ZERO, 16, 16));
        let members = |budget: &SharedBudget| budget.shares.as_ref().map(|shares| shares.len());
        for member in [1, 2, 3] {
            assert!(budget.take(Timestamp::ZERO, among(member, 3), 4));
        }
        assert_eq!(members(&budget), Some(1));
        budget.forget(MemberId(3));
        assert_eq!(members(&budget), Some(0));
        assert!(budget.take(Timestamp::from_millis(1_000), among(1, 2), 1));
        assert_eq!(members(&budget), None);
    }
}
