//! The invites of one session: open ones, and ended ones for as long as they are remembered.

use std::collections::{BTreeMap, BTreeSet};

use super::SessionLimits;
use crate::base::{Timestamp, UserId};
use crate::wire::ErrorCode;

/// One invite.
#[derive(Debug)]
pub(super) struct Invite {
    pub(super) user: UserId,
    /// The first instant at which it does not admit.
    pub(super) expires: Timestamp,
    state: InviteState,
    /// No other user gets this seat while the invite admits.
    holds_seat: bool,
    /// Number of invites that had ended in the session before this one.
    end: u64,
}

/// Terms of a new invite.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    pub(super) expires: Timestamp,
    pub(super) hold_seat: bool,
}

/// State of an invite; every state except the first is final.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InviteState {
    Open,
    Expired,
    Revoked,
    Used,
    Declined,
}

/// The invites by number.
#[derive(Debug)]
pub(super) struct Invites {
    by_number: BTreeMap<u32, Invite>,
    /// Newest open invite of each user. An older one past its TTL may exist that has not been expired yet.
    open_by_user: BTreeMap<UserId, u32>,
    /// Expiry times of open invites, and times at which ended ones are forgotten.
    deadlines: BTreeSet<(Timestamp, u32)>,
    /// Number of open invites that hold a seat, including those past their TTL that have not been expired
    /// yet.
    held: usize,
    /// Ended invites that are remembered, in the order in which they ended.
    ended: BTreeMap<u64, u32>,
    /// Number of invites that have ended so far.
    ends: u64,
    /// Number of the next invite; `None` when no number is left.
    next: Option<u32>,
    /// The session has no members, so that fewer ended invites are remembered.
    of_empty: bool,
}

impl Invites {
    /// Creates an empty list; the first invite gets number 1.
    pub(super) fn new() -> Self {
        Self {
            by_number: BTreeMap::new(),
            open_by_user: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            held: 0,
            ended: BTreeMap::new(),
            ends: 0,
            next: Some(1),
            of_empty: false,
        }
    }

    /// Returns the number of open invites.
    pub(super) fn open(&self) -> usize {
        self.by_number.len() - self.ended.len()
    }

    /// Returns the invite with this number if it belongs to `user` and admits at `now`.
    ///
    /// # Errors
    /// In this order: `no_such_invite`, `not_your_invite`, those of [`Invites::open_at`].
    // spec: SES-9
    pub(super) fn admitting(&self, number: u32, user: &UserId, now: Timestamp) -> Result<&Invite, ErrorCode> {
        let invite = self.by_number.get(&number).ok_or(ErrorCode::NoSuchInvite)?;
        if invite.user != *user {
            return Err(ErrorCode::NotYourInvite);
        }
        self.open_at(number, now)
    }

    /// Returns the invite with this number if it is open at `now`.
    ///
    /// # Errors
    /// In this order: `no_such_invite`, `invite_expired`, `invite_revoked`, `invite_used`, `invite_declined`.
    pub(super) fn open_at(&self, number: u32, now: Timestamp) -> Result<&Invite, ErrorCode> {
        let invite = self.by_number.get(&number).ok_or(ErrorCode::NoSuchInvite)?;
        if now >= invite.expires {
            return Err(ErrorCode::InviteExpired);
        }
        match invite.state {
            InviteState::Open => Ok(invite),
            InviteState::Expired => Err(ErrorCode::InviteExpired),
            InviteState::Revoked => Err(ErrorCode::InviteRevoked),
            InviteState::Used => Err(ErrorCode::InviteUsed),
            InviteState::Declined => Err(ErrorCode::InviteDeclined),
        }
    }

    /// Returns the number of seats held at `now`.
    // spec: INV-9
    pub(super) fn held(&self, now: Timestamp) -> usize {
        // Usually none are due: the stripe's keeper expires them at once.
        let due = self.deadlines.range(..=(now, u32::MAX));
        self.held - due.filter(|(_, number)| self.by_number.get(number).is_some_and(Invite::is_held)).count()
    }

    /// Returns true if this invite is open and holds a seat.
    pub(super) fn holds_seat(&self, number: u32) -> bool {
        self.by_number.get(&number).is_some_and(Invite::is_held)
    }

    /// Returns the open invite of a user.
    pub(super) fn open_of(&self, user: &UserId, now: Timestamp) -> Option<u32> {
        let number = *self.open_by_user.get(user)?;
        self.open_at(number, now).ok().map(|_| number)
    }

    /// Adds an open invite. It takes the place of the user's invite `replaced`, which ends as revoked.
    ///
    /// # Errors
    /// `too_many_invites`; nothing changes then.
    pub(super) fn add(
        &mut self,
        user: &UserId,
        replaced: Option<u32>,
        Terms { expires, hold_seat }: Terms,
        limits: &SessionLimits,
    ) -> Result<u32, ErrorCode> {
        let number = self.next.ok_or(ErrorCode::TooManyInvites)?;
        if replaced.is_none() && self.open() >= limits.max_open_invites {
            return Err(ErrorCode::TooManyInvites);
        }
        if let Some(replaced) = replaced {
            self.end(replaced, InviteState::Revoked, limits);
        }
        let invite =
            Invite { user: user.clone(), expires, state: InviteState::Open, holds_seat: hold_seat, end: 0 };
        self.held += usize::from(hold_seat);
        self.next = number.checked_add(1);
        self.by_number.insert(number, invite);
        self.open_by_user.insert(user.clone(), number);
        self.deadlines.insert((expires, number));
        Ok(number)
    }

    /// Ends an open invite and remembers its state until some time past its TTL. Returns its user; `None` if
    /// it is not open.
    pub(super) fn end(&mut self, number: u32, state: InviteState, limits: &SessionLimits) -> Option<UserId> {
        let invite = self.by_number.get_mut(&number).filter(|invite| invite.state == InviteState::Open)?;
        self.held -= usize::from(invite.holds_seat);
        (invite.state, invite.end) = (state, self.ends);
        let user = invite.user.clone();
        self.deadlines.remove(&(invite.expires, number));
        self.deadlines.insert((invite.expires + limits.ended_invite_memory, number));
        if self.open_by_user.get(&user) == Some(&number) {
            self.open_by_user.remove(&user);
        }
        self.ended.insert(self.ends, number);
        self.ends += 1;
        self.forget_oldest(limits);
        Some(user)
    }

    /// The session has its first member again.
    pub(super) fn enter(&mut self) {
        self.of_empty = false;
    }

    /// The last member of the session has left.
    pub(super) fn empty(&mut self, limits: &SessionLimits) {
        self.of_empty = true;
        self.forget_oldest(limits);
    }

    /// Forgets the invites that ended first, as many as there are too many.
    // spec: INV-2
    fn forget_oldest(&mut self, limits: &SessionLimits) {
        let newest = if self.of_empty { limits.max_ended_invites_of_empty } else { limits.max_ended_invites };
        while self.ended.len() > newest
            && let Some((_, first)) = self.ended.pop_first()
        {
            self.forget(first, limits);
        }
    }

    /// Returns all invites that have not ended, by number: those past their TTL at `now`, and the open ones.
    pub(super) fn into_open(self, now: Timestamp) -> [Vec<(u32, UserId)>; 2] {
        let is_open = |(_, invite): &(u32, Invite)| invite.state == InviteState::Open;
        let open = self.by_number.into_iter().filter(is_open);
        let (due, open): (Vec<_>, Vec<_>) = open.partition(|(_, invite)| invite.expires <= now);
        [due, open].map(|them| them.into_iter().map(|(number, invite)| (number, invite.user)).collect())
    }

    /// Returns when [`Invites::expire`] next has work to do; `None` if never.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Expires open invites and forgets ended ones that are due, at most `left` of both together, and counts
    /// `left` down. Returns the expired ones.
    pub(super) fn expire(
        &mut self,
        now: Timestamp,
        limits: &SessionLimits,
        left: &mut usize,
    ) -> Vec<(u32, UserId)> {
        let mut expired = Vec::new();
        while *left > 0
            && let Some(&(at, number)) = self.deadlines.first()
            && at <= now
        {
            *left -= 1;
            match self.end(number, InviteState::Expired, limits) {
                Some(user) => expired.push((number, user)),
                None => self.forget(number, limits),
            }
        }
        expired
    }

    fn forget(&mut self, number: u32, limits: &SessionLimits) {
        if let Some(invite) = self.by_number.remove(&number) {
            self.deadlines.remove(&(invite.expires + limits.ended_invite_memory, number));
            self.ended.remove(&invite.end);
        }
    }
}

impl Invite {
    fn is_held(&self) -> bool {
        self.holds_seat && self.state == InviteState::Open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms() -> Terms {
        Terms { expires: Timestamp::from_millis(60_000), hold_seat: false }
    }

    fn add(invites: &mut Invites, user: &str, limits: &SessionLimits) -> u32 {
        invites.add(&UserId::new(user).unwrap(), None, terms(), limits).unwrap()
    }

    /// The stripe is locked meanwhile, so the work of each step is bounded however much is due.
    // spec-test: INV-2
    #[test]
    fn invites_expire_and_are_forgotten_some_at_a_time() {
        let limits = SessionLimits::default();
        let mut invites = Invites::new();
        let numbers: Vec<u32> = (0..100).map(|n| add(&mut invites, &format!("user-{n}"), &limits)).collect();
        let mut expired = Vec::new();
        for (now, rounds) in [(60, 4), (60 + 60, 4)] {
            let now = Timestamp::from_millis(now * 1_000);
            for round in 0..rounds {
                assert!(invites.next_deadline().is_some_and(|at| at <= now), "round {round}");
                let mut left = 25;
                expired.extend(invites.expire(now, &limits, &mut left).into_iter().map(|(number, _)| number));
                assert_eq!(left, 0);
            }
            assert!(invites.next_deadline().is_none_or(|at| at > now));
        }
        assert_eq!(expired, numbers);
        assert!(invites.by_number.is_empty() && invites.ended.is_empty() && invites.deadlines.is_empty());
    }

    // spec-test: INV-2
    #[test]
    fn of_too_many_the_one_that_ended_first_is_forgotten() {
        let limits = SessionLimits { max_ended_invites: 2, ..SessionLimits::default() };
        let mut invites = Invites::new();
        let [a, b, c] = ["a", "b", "c"].map(|user| add(&mut invites, user, &limits));
        for number in [b, c, a] {
            invites.end(number, InviteState::Declined, &limits);
        }
        let code = |number| invites.open_at(number, Timestamp::ZERO).map(|_| ()).unwrap_err();
        assert_eq!(
            [a, b, c].map(code),
            [ErrorCode::InviteDeclined, ErrorCode::NoSuchInvite, ErrorCode::InviteDeclined]
        );
    }

    // spec-test: INV-1
    #[test]
    fn the_last_number_is_given_once_and_none_after_it() {
        let mut invites = Invites { next: Some(u32::MAX), ..Invites::new() };
        let mut add = |user| {
            let user = UserId::new(user).unwrap();
            invites.add(&user, None, terms(), &SessionLimits::default())
        };
        assert_eq!(add("ann"), Ok(u32::MAX));
        assert_eq!(add("bob"), Err(ErrorCode::TooManyInvites));
        assert_eq!(invites.open(), 1);
    }
}
