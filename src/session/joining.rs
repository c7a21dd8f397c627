//! How users enter a session: its creator, and users who join.

use super::invites::InviteState;
use super::state::{Session, Turn};
use super::{Admitted, Change, Entrant, SessionSnapshot};
use crate::base::{InviteId, LoginNumber, MemberId, SessionId, Timestamp, UserId};
use crate::wire::command::Join;
use crate::wire::event::Snapshot;
use crate::wire::{Admission, ErrorCode, LeaveReason, OnOwnerLeave, Reason};

/// What a user joins with: an invite, and an older membership that the join replaces.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Entry {
    pub(super) invite: Option<InviteId>,
    /// The user's membership by an older connection.
    pub(super) older: Option<MemberId>,
}

impl Session {
    /// Admits the creator.
    ///
    /// # Errors
    /// `busy`.
    pub(super) fn open(
        &mut self,
        id: SessionId,
        creator: Entrant<'_>,
        turn: &mut Turn<'_>,
    ) -> Result<Admitted, ErrorCode> {
        self.id = id;
        self.admit(creator, Entry::default(), turn)
    }

    /// Carries out [`SessionTable::join`](super::SessionTable::join).
    // spec: SES-9
    pub(super) fn join(
        &mut self,
        entrant: Entrant<'_>,
        join: Join,
        turn: &mut Turn<'_>,
    ) -> Result<Admitted, ErrorCode> {
        let entry = self.check_join(entrant.user, entrant.at.login, join, turn.now)?;
        self.admit(entrant, entry, turn)
    }

    /// Checks whether `user` may join, regardless of seats, rate and room, and returns what the user
    /// enters with.
    ///
    /// # Errors
    /// Those of [`SessionTable::join`](super::SessionTable::join) up to `already_member`; `no_such_session`
    /// if the session would end with the older membership.
    pub(super) fn check_join(
        &self,
        user: &UserId,
        login: LoginNumber,
        join: Join,
        now: Timestamp,
    ) -> Result<Entry, ErrorCode> {
        self.phase.check(now)?;
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
            // spec: HSK-15
            None => Ok(Entry { invite, older: None }),
            Some(older) if older.at.login >= login => Err(ErrorCode::AlreadyMember),
            // It ends with the older connection, whose worker will be notified.
            Some(older) if self.ends_without(older.id) => Err(ErrorCode::NoSuchSession),
            Some(older) => Ok(Entry { invite, older: Some(older.id) }),
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

    /// Gives a user a seat, if one is free.
    fn admit(
        &mut self,
        Entrant { user, at, snapshot_room }: Entrant<'_>,
        entry: Entry,
        turn: &mut Turn<'_>,
    ) -> Result<Admitted, ErrorCode> {
        let Entry { invite, older } = entry;
        if !self.has_seat(entry, turn.now) {
            return Err(ErrorCode::SessionFull);
        }
        let member = self.members.next_id().ok_or(ErrorCode::SessionFull)?;
        self.check_number()?;
        let snapshot_bytes = self.snapshot_bytes();
        if snapshot_bytes > snapshot_room {
            return Err(ErrorCode::Busy);
        }
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
        let postage = self.reserve(&workers, turn)?;
        if let Some(older) = older {
            self.take_out(older, LeaveReason::Replaced, Reason::none(), turn);
        }
        self.invites.enter();
        if let Some(invite) = invite {
            self.invites.end(invite.number, InviteState::Used, turn.limits);
        }
        if self.members.is_empty() {
            // A user that enters an empty session owns it and learns so from the snapshot.
            self.owner = member;
            self.owner_user = user.clone();
        }
        self.members.add(member, user.clone(), at);
        let newcomer = self.among(member);
        self.budgets().for_each(|budget| budget.enter(turn.now, newcomer));
        self.phase.enter();
        let number = self.take_number();
        for worker in workers {
            let snapshot = (worker == at.worker).then(|| self.snapshot(member));
            let change = Change::Joined { number, member, user: user.clone(), at, snapshot };
            self.post(&[worker], change, postage, turn);
        }
        let (session, kind) = (self.id, self.settings.kind);
        Ok(Admitted { session, kind, member, used: invite, replaced: older, snapshot_bytes })
    }

    /// Returns the most bytes that the snapshot of one more member takes.
    fn snapshot_bytes(&self) -> usize {
        let properties = &self.properties;
        Snapshot::max_bytes(self.members.len() + 1, properties.map().len(), properties.bytes())
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
}
