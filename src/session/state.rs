//! [`Session`]: the state of one session, and how members join it, leave it and own it.
//!
//! Every method first checks, then reserves room in the mailboxes, then changes state, numbers the event and
//! posts it. A refused command changes nothing except the rate budgets, and every event that has a number is
//! posted.

use super::budget::SharedBudget;
use super::invites::{InviteState, Invites};
use super::key_budget::SharedKeyBudget;
use super::members::{Member, Members};
use super::properties::Properties;
use super::traffic::LARGEST_BYTES;
use super::waiting::Waiting;
use super::{
    Admitted, Change, Departed, Ended, EndedInvite, Fanout, Left, Load, MemberAt, Room, SessionLimits,
    SessionSnapshot, WorkerPort,
};
use crate::base::{
    EventNumber, InviteId, LoginNumber, MemberId, SessionId, Timestamp, TokenBucket, UserId, WorkerId,
};
use crate::wire::command::{Create, Join};
use crate::wire::result::Info;
use crate::wire::{Admission, DeleteReason, ErrorCode, LeaveReason, OnOwnerLeave, Reason, Settings};

/// The context of a command: the session's time, the limits and the port.
pub(super) struct Turn<'a> {
    /// Never earlier than in a previous turn of this stripe.
    pub(super) now: Timestamp,
    pub(super) limits: &'a SessionLimits,
    pub(super) port: &'a mut dyn WorkerPort,
}

/// What a user joins with: an invite, and an older membership that the join replaces.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Entry {
    pub(super) invite: Option<InviteId>,
    /// The user's membership by an older connection.
    pub(super) older: Option<MemberId>,
}

/// Members that a session admits per second. The burst is its number of seats, and a third more by invite.
const ADMISSIONS_PER_SECOND: u64 = 64;

/// Event numbers reserved for leaves and ends, which are never refused: two for each member, plus a margin.
const NUMBERS_KEPT: u64 = 1 << 16;

/// One session.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: SessionId,
    pub(super) settings: Settings,
    pub(super) members: Members,
    /// The owner; the last one while the session is empty.
    pub(super) owner: MemberId,
    pub(super) owner_user: UserId,
    pub(super) invites: Invites,
    pub(super) properties: Properties,
    pub(super) commands: SharedBudget,
    pub(super) bytes: SharedBudget,
    waiting: Waiting,
    /// `None` until the first message with a key.
    pub(super) keys: Option<Box<SharedKeyBudget>>,
    admissions: TokenBucket,
    /// Number of the next event.
    next: EventNumber,
    /// When the session ends because it is empty.
    idle_ends: Option<Timestamp>,
    /// Another session takes or may take its place.
    is_claimed: bool,
    ended: bool,
}

impl Session {
    /// Creates a session without members; [`Session::open`] then admits the creator.
    ///
    /// # Errors
    /// Those of the initial properties.
    pub(super) fn new(
        create: Create,
        creator: &UserId,
        now: Timestamp,
        limits: &SessionLimits,
    ) -> Result<Self, ErrorCode> {
        let owner = MemberId(1);
        let at_once = u64::from(create.settings.max_members.get()).max(ADMISSIONS_PER_SECOND);
        Ok(Self {
            id: SessionId(0),
            settings: create.settings,
            members: Members::new(),
            owner,
            owner_user: creator.clone(),
            invites: Invites::new(),
            properties: Properties::new(create.properties, owner, limits)?,
            commands: SharedBudget::new(TokenBucket::new(
                now,
                limits.commands_per_second,
                limits.commands_per_second,
            )),
            bytes: SharedBudget::new(TokenBucket::of_bytes(now, limits.bytes_per_second, 4 * LARGEST_BYTES)),
            waiting: Waiting::default(),
            keys: None,
            admissions: TokenBucket::new(now, ADMISSIONS_PER_SECOND, at_once + at_once / 3),
            next: EventNumber(1),
            idle_ends: None,
            is_claimed: false,
            ended: false,
        })
    }

    /// Admits the creator.
    ///
    /// # Errors
    /// `busy`.
    pub(super) fn open(
        &mut self,
        id: SessionId,
        at: MemberAt,
        turn: &mut Turn<'_>,
    ) -> Result<Admitted, ErrorCode> {
        self.id = id;
        let creator = self.owner_user.clone();
        self.admit(&creator, at, Entry::default(), turn)
    }

    /// Returns true if the session is over and must be removed.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Makes `user` a member, replacing a membership by an older connection.
    ///
    /// # Errors
    /// In this order: those of [`Session::check_time`]; those of the invite (see [`Invites::admitting`]) or
    /// `session_not_open`; `already_member`, `session_full`, `rate_limited`, `busy`.
    // spec: SES-9
    pub(super) fn join(
        &mut self,
        user: &UserId,
        at: MemberAt,
        join: Join,
        turn: &mut Turn<'_>,
    ) -> Result<Admitted, ErrorCode> {
        let entry = self.check_join(user, at.login, join, turn.now)?;
        self.admit(user, at, entry, turn)
    }

    /// Checks whether `user` may join, regardless of seats, rate and mailbox room, and returns what the user
    /// enters with.
    ///
    /// # Errors
    /// Those of [`Session::join`] up to `already_member`; `no_such_session` if the session would end with the
    /// older membership.
    pub(super) fn check_join(
        &self,
        user: &UserId,
        login: LoginNumber,
        join: Join,
        now: Timestamp,
    ) -> Result<Entry, ErrorCode> {
        self.check_time(now)?;
        let invite = match join {
            Join::Invite(invite) => {
                self.invites.admitting(invite.number, user, now)?;
                Some(invite)
            }
            // spec: INV-9
            Join::Session(_) if self.settings.admission == Admission::Open => {
                let open = self.invites.open_of(user, now);
                open.filter(|number| self.invites.holds_seat(*number)).map(|number| self.invite_id(number))
            }
            Join::Session(_) => return Err(ErrorCode::SessionNotOpen),
        };
        let older = self.members.id_of(user).and_then(|id| self.members.get(id));
        match older {
            None => Ok(Entry { invite, older: None }),
            // spec: HSK-15
            Some(older) if older.at.login < login => {
                // The session ends with the older connection, whose worker will be notified.
                let ends = if self.ends_without(older.id) { Err(ErrorCode::NoSuchSession) } else { Ok(()) };
                ends.map(|()| Entry { invite, older: Some(older.id) })
            }
            Some(_) => Err(ErrorCode::AlreadyMember),
        }
    }

    /// Checks that the session's idle time is not over, even if nothing has ended the session yet. Returns
    /// `busy` while it is undecided whether another session takes its place.
    // spec: SES-5, SES-16
    pub(super) fn check_time(&self, now: Timestamp) -> Result<(), ErrorCode> {
        match self.idle_ends {
            Some(ends) if ends <= now => Err(ErrorCode::NoSuchSession),
            _ if self.is_claimed => Err(ErrorCode::Busy),
            _ => Ok(()),
        }
    }

    /// Returns true if the session ends once this member has left.
    fn ends_without(&self, member: MemberId) -> bool {
        let ends_with_owner = self.settings.on_owner_leave == OnOwnerLeave::Delete;
        let ends_empty = self.settings.idle_ttl.get() == 0;
        (member == self.owner && ends_with_owner) || (self.members.len() == 1 && ends_empty)
    }

    /// Returns true if a seat is neither taken nor held, or is given up for this entry.
    // spec: SES-10
    pub(super) fn has_seat(&self, Entry { invite, older }: Entry, now: Timestamp) -> bool {
        let held = invite.is_some_and(|invite| self.invites.holds_seat(invite.number));
        let own = usize::from(held) + usize::from(older.is_some());
        self.members.len() + self.invites.held(now) - own < usize::from(self.settings.max_members.get())
    }

    /// Gives `user` a seat, if one is free.
    fn admit(
        &mut self,
        user: &UserId,
        at: MemberAt,
        entry: Entry,
        turn: &mut Turn<'_>,
    ) -> Result<Admitted, ErrorCode> {
        let Entry { invite, older } = entry;
        if !self.has_seat(entry, turn.now) {
            return Err(ErrorCode::SessionFull);
        }
        let member = self.members.next_id().ok_or(ErrorCode::SessionFull)?;
        self.check_number()?;
        // Each admission is followed by a leave, which cannot be refused.
        // spec: LIM-7
        let is_in_budget = match invite {
            Some(_) => self.admissions.take(turn.now, 1),
            None => self.admissions.take_above(turn.now, 1, 4),
        };
        if !is_in_budget {
            return Err(ErrorCode::RateLimited);
        }
        let workers = self.members.workers_and(at.worker);
        let room = self.reserve(&workers, turn)?;
        if let Some(older) = older {
            self.remove(older, LeaveReason::Replaced, Reason::none(), turn);
        }
        if let Some(invite) = invite {
            self.invites.end(invite.number, InviteState::Used, turn.limits);
        }
        if self.members.is_empty() {
            // A user that enters an empty session owns it and learns so from the snapshot.
            self.owner = member;
            self.owner_user = user.clone();
        }
        self.members.add(member, user.clone(), at);
        let newcomer = (member, self.members.len());
        self.budgets().for_each(|budget| budget.enter(turn.now, newcomer));
        self.idle_ends = None;
        let number = self.take_number();
        for worker in workers {
            let snapshot = (worker == at.worker).then(|| self.snapshot(member));
            let change = Change::Joined { number, member, user: user.clone(), at, snapshot };
            self.post(&[worker], change, room, turn);
        }
        Ok(Admitted { session: self.id, kind: self.settings.kind, member, used: invite, replaced: older })
    }

    /// Returns the budgets that all members share.
    fn budgets(&mut self) -> impl Iterator<Item = &mut SharedBudget> {
        [&mut self.commands, &mut self.bytes].into_iter().chain(self.keys.as_mut().map(|keys| &mut keys.new))
    }

    fn snapshot(&self, you: MemberId) -> SessionSnapshot {
        SessionSnapshot {
            session: self.id,
            settings: self.settings,
            you,
            owner: self.owner,
            next: self.next,
            members: self.members.list().clone(),
            revision: self.properties.revision(),
            properties: self.properties.map().clone(),
        }
    }

    /// Removes a member that leaves or whose connection has ended. Never refused for lack of room.
    ///
    /// # Errors
    /// `not_a_member`.
    pub(super) fn leave(
        &mut self,
        member: MemberId,
        why: LeaveReason,
        turn: &mut Turn<'_>,
    ) -> Result<Departed, ErrorCode> {
        self.check_member(member)?;
        Ok(self.remove(member, why, Reason::none(), turn))
    }

    /// Removes a member on behalf of the owner and revokes that user's open invite.
    ///
    /// # Errors
    /// `not_a_member`, `not_owner`, `no_such_member`, `invalid_target`.
    pub(super) fn kick(
        &mut self,
        by: MemberId,
        target: MemberId,
        reason: Reason,
        turn: &mut Turn<'_>,
    ) -> Result<Departed, ErrorCode> {
        self.check_target(by, target)?;
        Ok(self.expel(target, reason, turn))
    }

    /// Removes a user on behalf of the operator and revokes that user's open invite.
    ///
    /// # Errors
    /// `no_such_member`.
    pub(super) fn expel_user(
        &mut self,
        user: &UserId,
        reason: Reason,
        turn: &mut Turn<'_>,
    ) -> Result<Departed, ErrorCode> {
        let member = self.members.id_of(user).ok_or(ErrorCode::NoSuchMember)?;
        Ok(self.expel(member, reason, turn))
    }

    // spec: INV-8
    fn expel(&mut self, member: MemberId, reason: Reason, turn: &mut Turn<'_>) -> Departed {
        let mut departed = self.remove(member, LeaveReason::Kicked, reason, turn);
        let invite = departed.left.as_ref().and_then(|left| self.invites.open_of(&left.user, turn.now));
        departed.revoked.extend(invite.and_then(|number| self.revoke(number, turn)));
        departed
    }

    /// Transfers ownership to another member on behalf of the owner.
    ///
    /// # Errors
    /// Those of [`Session::kick`], `rate_limited`, `busy`.
    pub(super) fn transfer(
        &mut self,
        by: MemberId,
        target: MemberId,
        turn: &mut Turn<'_>,
    ) -> Result<(), ErrorCode> {
        self.check_owner(by)?;
        self.take_budget(by, 0, turn)?;
        self.check_target(by, target)?;
        self.check_number()?;
        let room = self.reserve(&self.members.workers(), turn)?;
        self.set_owner(target, room, turn);
        Ok(())
    }

    /// Ends the session on behalf of the owner.
    ///
    /// # Errors
    /// `not_a_member`, `not_owner`.
    pub(super) fn delete(
        &mut self,
        by: MemberId,
        reason: Reason,
        turn: &mut Turn<'_>,
    ) -> Result<Departed, ErrorCode> {
        self.check_owner(by)?;
        Ok(self.end(DeleteReason::Deleted, reason, turn))
    }

    /// Ends the session on behalf of the operator.
    pub(super) fn close(&mut self, reason: Reason, turn: &mut Turn<'_>) -> Departed {
        self.end(DeleteReason::ClosedByOperator, reason, turn)
    }

    /// Returns the session's settings and counts.
    pub(super) fn info(&self) -> Info {
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Info {
            session: self.id,
            settings: self.settings,
            owner: self.owner,
            members: count(self.members.len()),
            open_invites: count(self.invites.open()),
            revision: self.properties.revision(),
            next: self.next,
        }
    }

    /// Removes a member, then transfers ownership, ends the session or starts its idle time, as the settings
    /// require.
    // spec: SES-6
    fn remove(
        &mut self,
        member: MemberId,
        why: LeaveReason,
        reason: Reason,
        turn: &mut Turn<'_>,
    ) -> Departed {
        // Before the removal: the leaver's own worker must also get the mail.
        let workers = self.members.workers();
        let number = self.take_number();
        let room = self.headroom(&workers);
        self.post(&workers, Change::Left { number, member, why, reason }, room, turn);
        let left = self.members.remove(member).map(|Member { id, user, .. }| Left { member: id, user, why });
        self.budgets().for_each(|budget| budget.forget(member));
        let owner_left = member == self.owner;
        if owner_left && self.settings.on_owner_leave == OnOwnerLeave::Delete {
            return Departed { left, ..self.end(DeleteReason::OwnerLeft, Reason::none(), turn) };
        }
        match self.members.oldest().map(|member| member.id) {
            Some(heir) if owner_left => {
                let room = self.headroom(&self.members.workers());
                self.set_owner(heir, room, turn);
            }
            Some(_) => {}
            None => self.idle_ends = Some(turn.now + self.idle_ttl()),
        }
        Departed { left, ..self.end_if_idle(turn).unwrap_or_default() }
    }

    fn set_owner(&mut self, owner: MemberId, room: Room, turn: &mut Turn<'_>) {
        if let Some(member) = self.members.get(owner) {
            self.owner = owner;
            self.owner_user = member.user.clone();
        }
        let number = self.take_number();
        self.post(&self.members.workers(), Change::OwnerChanged { number, owner }, room, turn);
    }

    /// Returns when the empty session ends, and its last owner; `None` if it has members or is claimed.
    pub(super) fn parked(&self) -> Option<(Timestamp, UserId)> {
        self.idle_ends.filter(|_| !self.is_claimed).map(|until| (until, self.owner_user.clone()))
    }

    /// Marks the session to give way to another one, if that is created. Nobody can enter it meanwhile.
    pub(super) fn claim(&mut self) {
        self.is_claimed = true;
    }

    /// Settles a claim. If the new session was created, this one's time is over; otherwise the claim is
    /// withdrawn.
    pub(super) fn settle_claim(&mut self, now: Timestamp, created: bool) {
        self.is_claimed = created;
        if created {
            self.idle_ends = self.idle_ends.map(|ends| ends.min(now));
        }
    }

    pub(super) fn is_claimed(&self) -> bool {
        self.is_claimed
    }

    /// Ends the session if it is empty and its idle time is over.
    // spec: SES-5
    pub(super) fn end_if_idle(&mut self, turn: &mut Turn<'_>) -> Option<Departed> {
        self.idle_ends.filter(|ends| *ends <= turn.now)?;
        Some(self.end(DeleteReason::Idle, Reason::none(), turn))
    }

    /// Ends the session and revokes its open invites.
    fn end(&mut self, why: DeleteReason, reason: Reason, turn: &mut Turn<'_>) -> Departed {
        let number = self.take_number();
        let workers = self.members.workers();
        self.post(&workers, Change::Deleted { number, why, reason }, self.headroom(&workers), turn);
        self.ended = true;
        self.idle_ends = None;
        let open = std::mem::replace(&mut self.invites, Invites::new()).into_open();
        let revoked =
            open.map(|(number, user)| EndedInvite { invite: self.invite_id(number), user }).collect();
        let (members, properties) = (self.members.list().clone(), self.properties.map().clone());
        Departed {
            left: None,
            revoked,
            ended: Some(Ended { kind: self.settings.kind, why, members, properties }),
        }
    }

    /// Revokes an open invite.
    pub(super) fn revoke(&mut self, number: u32, turn: &Turn<'_>) -> Option<EndedInvite> {
        let user = self.invites.end(number, InviteState::Revoked, turn.limits)?;
        Some(EndedInvite { invite: self.invite_id(number), user })
    }

    /// Returns the next deadline of the session, if it has one: that of an invite, or the end of its idle time.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        [self.invites.next_deadline(), self.idle_ends].into_iter().flatten().min()
    }

    pub(super) fn invite_id(&self, number: u32) -> InviteId {
        InviteId { session: self.id, number }
    }

    pub(super) fn check_member(&self, member: MemberId) -> Result<(), ErrorCode> {
        self.members.get(member).map(|_| ()).ok_or(ErrorCode::NotAMember)
    }

    pub(super) fn check_owner(&self, member: MemberId) -> Result<(), ErrorCode> {
        self.check_member(member)?;
        if member == self.owner { Ok(()) } else { Err(ErrorCode::NotOwner) }
    }

    /// Checks that `by` is the owner and `target` another member.
    fn check_target(&self, by: MemberId, target: MemberId) -> Result<(), ErrorCode> {
        self.check_owner(by)?;
        self.members.get(target).ok_or(ErrorCode::NoSuchMember)?;
        if target == by { Err(ErrorCode::InvalidTarget) } else { Ok(()) }
    }

    /// Checks that a number is left for an event that may be refused.
    ///
    /// # Errors
    /// `busy`.
    // spec: EVT-1
    pub(super) fn check_number(&self) -> Result<(), ErrorCode> {
        if self.next.0 <= EventNumber::MAX.0 - NUMBERS_KEPT { Ok(()) } else { Err(ErrorCode::Busy) }
    }

    /// Behaves as if all numbers below `next` were taken.
    #[cfg(test)]
    pub(super) fn start_at(&mut self, next: EventNumber) {
        self.next = next;
    }

    pub(super) fn take_number(&mut self) -> EventNumber {
        let number = self.next;
        self.next = EventNumber(number.0 + 1);
        number
    }

    /// Reserves room for a change for all members at each of `workers`.
    pub(super) fn reserve(&self, workers: &[WorkerId], turn: &mut Turn<'_>) -> Result<Room, ErrorCode> {
        self.reserve_for(self.members.len(), workers, turn)
    }

    /// Reserves room for a change for `members` members at each of `workers`.
    pub(super) fn reserve_for(
        &self,
        members: usize,
        workers: &[WorkerId],
        turn: &mut Turn<'_>,
    ) -> Result<Room, ErrorCode> {
        let load = Load { deliveries: to_each(members, workers), waiting: self.waiting.get() };
        let reserved = turn.port.reserve(workers, load);
        reserved.map_err(|super::MailboxFull| ErrorCode::Busy)?;
        Ok(Room::Reserved { deliveries: load.deliveries })
    }

    /// Returns the room that a change for all members takes at each of `workers` when it cannot be refused.
    fn headroom(&self, workers: &[WorkerId]) -> Room {
        Room::Headroom { deliveries: to_each(self.members.len(), workers) }
    }

    /// Posts a change to each of `workers`.
    pub(super) fn post(&self, workers: &[WorkerId], change: Change, room: Room, turn: &mut Turn<'_>) {
        for &worker in workers {
            let (change, deliveries) = (change.clone(), self.waiting.add(room.deliveries()));
            turn.port.post(worker, Fanout { session: self.id, change, deliveries }, room);
        }
    }

    fn idle_ttl(&self) -> std::time::Duration {
        std::time::Duration::from_secs(u64::from(self.settings.idle_ttl.get()))
    }
}

/// Returns how many of `members` members each of `workers` serves on average, at least one.
fn to_each(members: usize, workers: &[WorkerId]) -> usize {
    members.div_ceil(workers.len().max(1)).max(1)
}
