//! The user directory: who is connected where, and what a user holds across sessions.
//!
//! Shared by all workers and striped by user. For each user it knows the live connection, how many
//! sessions are taken or promised, and which invites are open. It is never locked together with a
//! stripe of the session table: what touches both *reserves* here, changes the table, then
//! *commits* or *cancels* here.
//!
//! What a user is told about invites is decided under the user's stripe: the `tell` closures run
//! there and must only post mail. So an invite reaches a connection exactly once (by mail when it
//! was open before, with the answer of [`Directory::connect`] when not), and its end never
//! overtakes it.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::limits::{Limits, size};
use crate::base::sync::{CachePadded, Mutex, MutexGuard};
use crate::base::{Blank, ConnectionId, InviteId, Rare, SessionId, SessionKind, Timestamp, UserId};
use crate::wire::Note;
use crate::wire::event::Invitation;

/// The users of a server. All methods hold one stripe's lock at a time.
pub struct Directory {
    stripes: Box<[Stripe]>,
    hasher: RandomState,
    limits: DirectoryLimits,
    /// Connections so far.
    logins: AtomicU64,
}

/// A connection that is its user's live one.
#[derive(Debug, PartialEq, Eq)]
pub struct Login {
    /// Larger than that of every older connection of the user.
    pub number: u64,
    /// The invites that are open for the user.
    pub invites: Vec<OpenInvite>,
}

/// How much one user may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DirectoryLimits {
    /// Sessions that a user may be in at the same time.
    pub sessions_per_user: usize,
    /// Invites that may be open for a user at the same time.
    pub invites_per_user: usize,
    /// Invites by a user that may be open at the same time.
    pub invites_by_user: usize,
}

impl From<&Limits> for DirectoryLimits {
    fn from(limits: &Limits) -> Self {
        Self {
            sessions_per_user: size(limits.sessions_per_user),
            invites_per_user: size(limits.invites_per_user),
            invites_by_user: size(limits.invites_by_user),
        }
    }
}

/// A user already holds as much as is allowed; nothing was reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the user holds the {limit} that are allowed")]
pub struct LimitReached {
    /// How many are allowed.
    pub limit: usize,
}

/// An invite that can still be used, as its user is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenInvite {
    /// Names the invite and its session.
    pub id: InviteId,
    /// The app's class of the session.
    pub kind: SessionKind,
    /// Who has invited.
    pub owner: UserId,
    /// From then on it admits no one.
    pub expires: Timestamp,
    /// The owner's word.
    pub note: Note,
}

impl OpenInvite {
    /// The invite as its user is told of it at `now`.
    pub fn invitation(&self, now: Timestamp) -> Invitation {
        let left = self.expires.since(now).as_millis();
        Invitation {
            invite: self.id,
            kind: self.kind,
            owner: self.owner.clone(),
            ttl_left_ms: u32::try_from(left).unwrap_or(u32::MAX),
            note: self.note.clone(),
        }
    }
}

/// One lock and its users.
type Stripe = CachePadded<Mutex<HashMap<UserId, Entry>>>;

#[derive(Default)]
struct Entry {
    live: Option<ConnectionId>,
    /// Sessions taken or promised.
    sessions: usize,
    invites: Rare<Invites>,
    /// Invites by the user that are open or promised, for whomever.
    invited: usize,
}

#[derive(Default)]
struct Invites {
    /// Promised to commands that are between their reservation and their commit.
    promised: usize,
    open: Vec<OpenInvite>,
    /// Those of which the connected user was told and that others than the user have ended lately: as many as may
    /// be open, and a few of each further inviter.
    withdrawn: Vec<Withdrawn>,
    /// Those that ended before they were committed. Kept only while some are promised.
    ended_early: Vec<InviteId>,
}

/// An invite by `owner` that counts as one until then, although it is over.
struct Withdrawn {
    owner: UserId,
    until: Timestamp,
}

/// How long an invite counts that its user did not end: who invites and revokes, over and over, stops somewhere.
const WITHDRAWN_COUNTS: Duration = Duration::from_secs(10);
/// So many of them one inviter may have at least, however few may be open.
const WITHDRAWN_BY_ONE: usize = 4;

impl Directory {
    /// An empty directory of so many stripes, at least one.
    pub fn new(stripes: usize, limits: DirectoryLimits) -> Self {
        let stripes = (0..stripes.max(1)).map(|_| Stripe::default()).collect();
        Self { stripes, hasher: RandomState::new(), limits, logins: AtomicU64::new(0) }
    }

    /// Makes `connection` the user's live one.
    ///
    /// `replace` is handed the connection that was live until now, to close it.
    pub fn connect(
        &self,
        user: &UserId,
        connection: ConnectionId,
        replace: impl FnOnce(ConnectionId),
    ) -> Login {
        let mut users = self.lock(user);
        let entry = users.entry(user.clone()).or_default();
        if let Some(old) = entry.live.replace(connection) {
            replace(old);
        }
        // Under the user's lock, so that numbers grow as connections replace each other.
        let number = self.logins.fetch_add(1, Ordering::Relaxed) + 1;
        Login { number, invites: entry.invites.open.clone() }
    }

    /// Forgets the user's live connection, unless another has replaced `connection`.
    pub fn disconnect(&self, user: &UserId, connection: ConnectionId) {
        self.change(user, |entry| {
            if entry.live == Some(connection) {
                entry.live = None;
                entry.invites.withdrawn.clear();
            }
        });
    }

    /// The user's live connection, at this moment.
    pub fn live(&self, user: &UserId) -> Option<ConnectionId> {
        self.lock(user).get(user).and_then(|entry| entry.live)
    }

    /// Takes one of the sessions that the user may be in.
    ///
    /// # Errors
    /// [`LimitReached`].
    pub fn reserve_session(&self, user: &UserId) -> Result<(), LimitReached> {
        let limit = self.limits.sessions_per_user;
        self.change(user, |entry| {
            if entry.sessions >= limit {
                return Err(LimitReached { limit });
            }
            entry.sessions += 1;
            Ok(())
        })
    }

    /// Gives back what [`Directory::reserve_session`] took.
    pub fn release_session(&self, user: &UserId) {
        self.change(user, |entry| {
            debug_assert!(entry.sessions > 0, "more sessions released than reserved");
            entry.sessions = entry.sessions.saturating_sub(1);
        });
    }

    /// Takes one of the invites that may be open for the user, for one of `session` by its owner `by`: an open one
    /// of that session will give its place up.
    ///
    /// # Errors
    /// [`LimitReached`].
    // spec: INV-7, LIM-9
    pub fn reserve_invite(
        &self,
        now: Timestamp,
        user: &UserId,
        by: &UserId,
        session: SessionId,
    ) -> Result<(), LimitReached> {
        let limit = self.limits.invites_per_user;
        // Nobody shuts out all others.
        let share = limit.div_ceil(4);
        let replaces_own = self.change(user, |entry| {
            let Invites { open, promised, withdrawn, .. } = &mut *entry.invites;
            withdrawn.retain(|withdrawn| withdrawn.until > now);
            let of_one = open.iter().filter(|invite| invite.owner == *by).count();
            let withdrawn_by_one = withdrawn.iter().filter(|withdrawn| withdrawn.owner == *by).count();
            // However many the others have withdrawn, everybody may have one.
            let is_one_more = withdrawn.len() >= limit && of_one + withdrawn_by_one > 0;
            if is_one_more || withdrawn_by_one >= share.max(WITHDRAWN_BY_ONE) {
                return Err(LimitReached { limit });
            }
            let replaced = open.iter().find(|invite| invite.id.session == session);
            let replaces = usize::from(replaced.is_some());
            let replaces_own = usize::from(replaced.is_some_and(|replaced| replaced.owner == *by));
            if open.len() + *promised >= limit + replaces || of_one >= share + replaces_own {
                return Err(LimitReached { limit });
            }
            *promised += 1;
            Ok(replaces_own)
        })?;
        let limit = self.limits.invites_by_user;
        let counted = self.change(by, |entry| {
            if entry.invited >= limit + replaces_own {
                return Err(LimitReached { limit });
            }
            entry.invited += 1;
            Ok(())
        });
        if counted.is_err() {
            self.change(user, |entry| entry.invites.settle_promise());
        }
        counted
    }

    /// One invite by this user is no longer open.
    fn uninvite(&self, by: &UserId) {
        self.change(by, |entry| {
            debug_assert!(entry.invited > 0, "more invites ended than were reserved");
            entry.invited = entry.invited.saturating_sub(1);
        });
    }

    /// Turns a reserved invite into an open one, in place of `replaced`, and tells the user, if
    /// connected.
    ///
    /// An invite that ended in the meantime is neither kept nor told.
    pub fn commit_invite(
        &self,
        now: Timestamp,
        user: &UserId,
        invite: OpenInvite,
        replaced: Option<InviteId>,
        tell: impl FnOnce(ConnectionId, &OpenInvite),
    ) {
        let over = self.change(user, |entry| {
            let replaced = replaced.and_then(|replaced| entry.withdraw(now, replaced));
            let ended = entry.invites.ended_early.contains(&invite.id);
            entry.invites.settle_promise();
            if ended {
                return [replaced, Some(invite)];
            }
            if let Some(live) = entry.live {
                tell(live, &invite);
            }
            entry.invites.open.push(invite);
            [replaced, None]
        });
        over.iter().flatten().for_each(|over| self.uninvite(&over.owner));
    }

    /// Gives back what [`Directory::reserve_invite`] took for an invite of the user `by` another.
    pub fn cancel_invite(&self, user: &UserId, by: &UserId) {
        self.change(user, |entry| entry.invites.settle_promise());
        self.uninvite(by);
    }

    /// Removes an invite that others than its user have ended, or time.
    ///
    /// `tell` runs if the invite was open here and the user is connected.
    // spec: LIM-9
    pub fn withdraw_invite(
        &self,
        now: Timestamp,
        user: &UserId,
        invite: InviteId,
        tell: impl FnOnce(ConnectionId),
    ) {
        self.end_invite(user, |entry| entry.withdraw(now, invite), tell);
    }

    /// Removes an invite that its user has used or declined.
    ///
    /// `tell` runs if the invite was open here and the user is connected.
    pub fn settle_invite(&self, user: &UserId, invite: InviteId, tell: impl FnOnce(ConnectionId)) {
        self.end_invite(user, |entry| entry.invites.end(invite), tell);
    }

    fn end_invite(
        &self,
        user: &UserId,
        end: impl FnOnce(&mut Entry) -> Option<OpenInvite>,
        tell: impl FnOnce(ConnectionId),
    ) {
        let ended = self.change(user, |entry| {
            let ended = end(entry)?;
            entry.live.map(tell);
            Some(ended)
        });
        if let Some(ended) = ended {
            self.uninvite(&ended.owner);
        }
    }

    /// The invites that are open for the user, oldest first.
    pub fn invites(&self, user: &UserId) -> Vec<OpenInvite> {
        self.lock(user).get(user).map(|entry| entry.invites.open.clone()).unwrap_or_default()
    }

    /// Users of which anything is known: connected, in a session, invited, or one who has invited.
    pub fn len(&self) -> usize {
        self.stripes.iter().map(|stripe| stripe.lock().len()).sum()
    }

    /// True when nothing is known of anyone.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Changes a user's entry; one that says nothing any more is dropped.
    fn change<T>(&self, user: &UserId, change: impl FnOnce(&mut Entry) -> T) -> T {
        let mut users = self.lock(user);
        let entry = users.entry(user.clone()).or_default();
        let result = change(entry);
        if entry.invites.is_vacant() {
            entry.invites.clear();
        }
        if entry.is_vacant() {
            users.remove(user);
        }
        result
    }

    fn lock(&self, user: &UserId) -> MutexGuard<'_, HashMap<UserId, Entry>> {
        let hash = self.hasher.hash_one(user);
        let at = usize::try_from(hash % self.stripes.len() as u64).unwrap_or(0);
        self.stripes.get(at).expect("invariant: the index is below the number of stripes").lock()
    }
}

impl Entry {
    fn is_vacant(&self) -> bool {
        self.live.is_none() && self.sessions == 0 && self.invited == 0 && self.invites.is_vacant()
    }

    /// Removes an invite that is open here, and counts it for a while if the user was told of it.
    fn withdraw(&mut self, now: Timestamp, invite: InviteId) -> Option<OpenInvite> {
        let ended = self.invites.end(invite)?;
        if self.live.is_some() {
            let (owner, until) = (ended.owner.clone(), now + WITHDRAWN_COUNTS);
            self.invites.withdrawn.push(Withdrawn { owner, until });
        }
        Some(ended)
    }
}

impl Blank for Invites {
    const BLANK: &'static Self =
        &Self { promised: 0, open: Vec::new(), withdrawn: Vec::new(), ended_early: Vec::new() };
}

impl Invites {
    /// Removes an invite that is open here. One that is not may be about to be committed.
    fn end(&mut self, invite: InviteId) -> Option<OpenInvite> {
        if let Some(at) = self.open.iter().position(|open| open.id == invite) {
            return Some(self.open.remove(at));
        }
        if self.promised > 0 {
            self.ended_early.push(invite);
        }
        None
    }

    fn settle_promise(&mut self) {
        debug_assert!(self.promised > 0, "an invite was settled that nobody reserved");
        self.promised = self.promised.saturating_sub(1);
        if self.promised == 0 {
            self.ended_early.clear();
        }
    }

    fn is_vacant(&self) -> bool {
        self.promised == 0 && self.open.is_empty() && self.withdrawn.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use crate::base::sync::model;

    const NOW: Timestamp = Timestamp::ZERO;
    const LIMITS: DirectoryLimits =
        DirectoryLimits { sessions_per_user: 2, invites_per_user: 2, invites_by_user: 100 };

    fn directory() -> Directory {
        Directory::new(4, LIMITS)
    }

    fn user(name: &str) -> UserId {
        UserId::new(name).unwrap()
    }

    fn owner() -> UserId {
        user("owner")
    }

    fn other() -> UserId {
        user("other")
    }

    fn invite(number: u32) -> OpenInvite {
        OpenInvite {
            id: InviteId { session: SessionId(7), number },
            kind: SessionKind(1),
            owner: owner(),
            expires: Timestamp::from_millis(1_000),
            note: Note::none(),
        }
    }

    fn open(directory: &Directory, user: &UserId, number: u32) -> Option<ConnectionId> {
        directory.reserve_invite(NOW, user, &owner(), SessionId(7)).unwrap();
        let mut told = None;
        directory.commit_invite(NOW, user, invite(number), None, |live, _| told = Some(live));
        told
    }

    // spec-test: HSK-15
    #[test]
    fn a_second_connection_replaces_the_first() {
        let (directory, ann) = (directory(), user("ann"));
        let first = directory.connect(&ann, ConnectionId(1), |_| panic!("none was live"));
        let mut replaced = None;
        let second = directory.connect(&ann, ConnectionId(2), |old| replaced = Some(old));
        assert_eq!(replaced, Some(ConnectionId(1)));
        assert!(first.number < second.number);

        directory.disconnect(&ann, ConnectionId(1));
        assert_eq!(
            directory.live(&ann),
            Some(ConnectionId(2)),
            "the end of a replaced connection changes nothing"
        );
    }

    // spec-test: INV-6
    #[test]
    fn an_invite_is_told_once_to_each_connection() {
        let (directory, ann) = (directory(), user("ann"));
        assert_eq!(open(&directory, &ann, 1), None, "nobody is there to be told");
        let pending = directory.connect(&ann, ConnectionId(1), |_| ());
        assert_eq!(pending.invites, [invite(1)]);
        assert_eq!(open(&directory, &ann, 2), Some(ConnectionId(1)));
    }

    #[test]
    fn an_ended_invite_is_told_only_where_it_was_open() {
        let (directory, ann) = (directory(), user("ann"));
        directory.connect(&ann, ConnectionId(1), |_| ());
        open(&directory, &ann, 1);
        let mut told = 0;
        directory.withdraw_invite(NOW, &ann, invite(1).id, |_| told += 1);
        directory.withdraw_invite(NOW, &ann, invite(1).id, |_| told += 1);
        assert_eq!((told, directory.invites(&ann)), (1, vec![]));
    }

    #[test]
    fn an_invite_takes_the_place_of_the_one_it_replaces() {
        let (directory, ann) = (directory(), user("ann"));
        open(&directory, &ann, 1);
        directory.reserve_invite(NOW, &ann, &owner(), SessionId(7)).unwrap();
        directory.commit_invite(NOW, &ann, invite(2), Some(invite(1).id), |_, _| ());
        assert_eq!(directory.invites(&ann), [invite(2)]);
    }

    #[test]
    fn an_invite_that_ends_before_its_commit_is_never_told() {
        let (directory, ann) = (directory(), user("ann"));
        directory.connect(&ann, ConnectionId(1), |_| ());
        directory.reserve_invite(NOW, &ann, &owner(), SessionId(7)).unwrap();
        directory.withdraw_invite(NOW, &ann, invite(1).id, |_| panic!("it was not told of"));
        directory.commit_invite(NOW, &ann, invite(1), None, |_, _| panic!("it has ended"));
        assert_eq!(directory.invites(&ann), []);
        assert_eq!(open(&directory, &ann, 1), Some(ConnectionId(1)), "the mark went with the promise");
    }

    // spec-test: LIM-1
    #[test]
    fn invites_by_a_user_are_counted_until_each_is_over_in_whatever_way() {
        let directory = Directory::new(4, DirectoryLimits { invites_by_user: 2, ..LIMITS });
        let users = ["ann", "ben", "cid"].map(user);
        let full = Err(LimitReached { limit: 2 });
        let reserve = |user: &UserId| directory.reserve_invite(NOW, user, &owner(), SessionId(7));
        let fill = || {
            for (user, number) in users.iter().zip([1, 2]) {
                open(&directory, user, number);
            }
            assert_eq!(reserve(&users[2]), full);
        };
        // Ended while open, one of them twice.
        fill();
        for (user, number) in [(0, 1), (0, 1), (1, 2)] {
            directory.withdraw_invite(NOW, &users[user], invite(number).id, |_| ());
        }
        // Replaced, at the limit, too.
        fill();
        reserve(&users[1]).unwrap();
        directory.commit_invite(NOW, &users[1], invite(3), Some(invite(2).id), |_, _| ());
        assert_eq!(reserve(&users[2]), full);
        directory.withdraw_invite(NOW, &users[0], invite(1).id, |_| ());
        directory.withdraw_invite(NOW, &users[1], invite(3).id, |_| ());
        // Cancelled, and ended before it was committed.
        reserve(&users[0]).unwrap();
        reserve(&users[1]).unwrap();
        assert_eq!(reserve(&users[2]), full);
        directory.cancel_invite(&users[0], &owner());
        directory.withdraw_invite(NOW, &users[1], invite(4).id, |_| ());
        directory.commit_invite(NOW, &users[1], invite(4), None, |_, _| panic!("it has ended"));
        // Refused for another reason.
        let narrow = Directory::new(4, DirectoryLimits { invites_per_user: 1, invites_by_user: 2, ..LIMITS });
        narrow.reserve_invite(NOW, &users[0], &owner(), SessionId(7)).unwrap();
        for _ in 0..3 {
            narrow.reserve_invite(NOW, &users[0], &owner(), SessionId(8)).unwrap_err();
        }
        narrow.reserve_invite(NOW, &users[1], &owner(), SessionId(7)).unwrap();
        narrow.cancel_invite(&users[0], &owner());
        narrow.cancel_invite(&users[1], &owner());
        assert!(narrow.is_empty() && directory.is_empty(), "nothing is counted any more");
    }

    // spec-test: LIM-1
    #[test]
    fn one_inviter_has_a_quarter_of_the_places_and_others_have_the_rest() {
        let directory = Directory::new(4, DirectoryLimits { invites_per_user: 8, ..LIMITS });
        let (ann, owner) = (user("ann"), user("owner"));
        for number in 1..=2 {
            let id = InviteId { session: SessionId(number), number: 1 };
            directory.reserve_invite(NOW, &ann, &owner, id.session).unwrap();
            let open = OpenInvite { id, owner: owner.clone(), ..invite(1) };
            directory.commit_invite(NOW, &ann, open, None, |_, _| {});
        }
        assert_eq!(directory.reserve_invite(NOW, &ann, &owner, SessionId(3)), Err(LimitReached { limit: 8 }));
        assert_eq!(
            directory.reserve_invite(NOW, &ann, &owner, SessionId(2)),
            Ok(()),
            "in place of an open one"
        );
        assert_eq!(directory.reserve_invite(NOW, &ann, &other(), SessionId(3)), Ok(()));
        // The invite of a session whose owner has changed is not the new owner's own.
        let id = InviteId { session: SessionId(3), number: 1 };
        directory.commit_invite(NOW, &ann, OpenInvite { id, owner: other(), ..invite(1) }, None, |_, _| {});
        assert_eq!(directory.reserve_invite(NOW, &ann, &owner, SessionId(3)), Err(LimitReached { limit: 8 }));
    }

    // spec-test: LIM-9
    #[test]
    fn invites_that_come_and_go_count_for_a_while_toward_their_inviter_and_all() {
        let directory = Directory::new(4, DirectoryLimits { invites_per_user: 16, ..LIMITS });
        let (ann, full) = (user("ann"), Err(LimitReached { limit: 16 }));
        let reserve =
            |now, by: &str, session| directory.reserve_invite(now, &ann, &user(by), SessionId(session));
        let come_and_go = |now, by: &str, session| {
            reserve(now, by, session)?;
            let id = InviteId { session: SessionId(session), number: 1 };
            let open = OpenInvite { id, owner: user(by), ..invite(1) };
            directory.commit_invite(now, &ann, open, None, |_, _| ());
            directory.withdraw_invite(now, &ann, id, |_| ());
            Ok(())
        };
        for _ in 0..20 {
            assert_eq!(come_and_go(NOW, "owner", 1), Ok(()), "who is not there is told of none");
        }
        directory.connect(&ann, ConnectionId(1), |_| ());
        // Three by revoking, one by replacing.
        for _ in 0..3 {
            come_and_go(NOW, "owner", 1).unwrap();
        }
        assert_eq!(open(&directory, &ann, 1), Some(ConnectionId(1)));
        reserve(NOW, "owner", 7).unwrap();
        directory.commit_invite(NOW, &ann, invite(2), Some(invite(1).id), |_, _| ());
        for session in [1, 7] {
            assert_eq!(reserve(NOW, "owner", session), full);
        }
        // What the user ends counts no more.
        directory.settle_invite(&ann, invite(2).id, |_| ());
        for _ in 0..4 {
            for inviter in ["ben", "cid", "dan"] {
                come_and_go(NOW, inviter, 2).unwrap();
            }
        }
        for inviter in ["eve", "fay"] {
            assert_eq!(come_and_go(NOW, inviter, 3), Ok(()), "four do not keep a fifth from inviting");
            assert_eq!(reserve(NOW, inviter, 3), full, "but there are as many as may be open");
        }
        let later = NOW + WITHDRAWN_COUNTS;
        for _ in 0..4 {
            assert_eq!(come_and_go(later, "owner", 1), Ok(()));
        }
        assert_eq!(come_and_go(later, "owner", 1), full);
        directory.disconnect(&ann, ConnectionId(1));
        assert!(directory.is_empty(), "nor does it outlive the connection");
    }

    // spec-test: LIM-1
    #[test]
    fn limits_count_what_is_promised() {
        let (directory, ann) = (directory(), user("ann"));
        open(&directory, &ann, 1);
        let of_another = SessionId(8);
        directory.reserve_invite(NOW, &ann, &other(), of_another).unwrap();
        assert_eq!(directory.reserve_invite(NOW, &ann, &other(), of_another), Err(LimitReached { limit: 2 }));
        assert_eq!(
            directory.reserve_invite(NOW, &ann, &other(), SessionId(7)),
            Ok(()),
            "in place of the open one"
        );
        assert_eq!(
            directory.reserve_invite(NOW, &ann, &other(), SessionId(7)),
            Err(LimitReached { limit: 2 })
        );
        directory.cancel_invite(&ann, &other());
        directory.cancel_invite(&ann, &other());
        assert_eq!(directory.reserve_invite(NOW, &ann, &other(), of_another), Ok(()));

        directory.reserve_session(&ann).unwrap();
        directory.reserve_session(&ann).unwrap();
        assert_eq!(directory.reserve_session(&ann), Err(LimitReached { limit: 2 }));
        directory.release_session(&ann);
        assert_eq!(directory.reserve_session(&ann), Ok(()));
    }

    #[test]
    fn users_of_which_nothing_is_known_take_no_memory() {
        let (directory, ann) = (directory(), user("ann"));
        directory.connect(&ann, ConnectionId(1), |_| ());
        directory.reserve_session(&ann).unwrap();
        open(&directory, &ann, 1);
        assert_eq!(directory.len(), 2, "the one who invites is known as well");
        directory.withdraw_invite(NOW, &ann, invite(1).id, |_| ());
        directory.release_session(&ann);
        directory.disconnect(&ann, ConnectionId(1));
        assert!(directory.is_empty());
    }

    // spec-test: HSK-15
    #[test]
    fn of_connections_at_the_same_time_exactly_one_stays() {
        let (directory, ann) = (directory(), user("ann"));
        let replaced = Mutex::new(vec![]);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (directory, ann, replaced) = (&directory, &ann, &replaced);
                scope.spawn(move || {
                    for number in 0..100 {
                        let id = ConnectionId(thread * 1_000 + number);
                        directory.connect(ann, id, |old| replaced.lock().push(old));
                    }
                });
            }
        });
        let mut all = std::mem::take(&mut *replaced.lock());
        all.extend(directory.live(&ann));
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 400, "each was replaced once, but the last");
    }

    #[test]
    fn an_invite_and_its_end_leave_nothing_behind_in_any_order() {
        model::check(200, || {
            let (directory, ann) = (Arc::new(directory()), user("ann"));
            directory.connect(&ann, ConnectionId(1), |_| ());
            directory.reserve_invite(NOW, &ann, &owner(), SessionId(7)).unwrap();
            let told = Arc::new(Mutex::new(vec![]));
            let ends = {
                let (directory, ann, told) = (Arc::clone(&directory), ann.clone(), Arc::clone(&told));
                shuttle::thread::spawn(move || {
                    directory.withdraw_invite(NOW, &ann, invite(1).id, |_| told.lock().push("end"));
                })
            };
            directory.commit_invite(NOW, &ann, invite(1), None, |_, _| told.lock().push("invite"));
            ends.join().unwrap();
            let told = told.lock();
            assert!(told.is_empty() || *told == ["invite", "end"], "{told:?}");
            assert_eq!(directory.invites(&ann), []);
        });
    }
}
