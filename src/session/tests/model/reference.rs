//! [`Reference`]: one session as the design describes it, in plain lists and without optimizations.
//!
//! It shares no code with the session that it is compared to. It counts by scanning everything that it has,
//! and keeps every event that it ever numbered.

use super::*;
use crate::wire::{DeleteReason, PropertyChange};

/// A numbered event; its place in [`Reference::log`] gives its number.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Event {
    Joined(MemberId, UserId),
    Left(MemberId, LeaveReason),
    OwnerChanged(MemberId),
    Properties(MemberId, u64, Vec<PropertyChange>),
    Message(MemberId, To),
    Deleted(DeleteReason),
}

/// An invite; `ended` is the error code of any later use.
#[derive(Debug, Clone)]
pub(super) struct Ticket {
    pub(super) user: UserId,
    pub(super) expires: Timestamp,
    pub(super) holds_seat: bool,
    pub(super) ended: Option<ErrorCode>,
}

#[derive(Debug)]
pub(super) struct Reference {
    pub(super) id: SessionId,
    pub(super) settings: Settings,
    /// By age.
    pub(super) members: Vec<(MemberId, UserId)>,
    pub(super) joined: u32,
    pub(super) owner: MemberId,
    pub(super) tickets: BTreeMap<u32, Ticket>,
    /// Numbers of ended invites, in the order in which they ended.
    ended_tickets: Vec<u32>,
    pub(super) invited: u32,
    pub(super) properties: BTreeMap<PropertyKey, PropertyEntry>,
    pub(super) revision: u64,
    /// Event number n is at n − 1.
    pub(super) log: Vec<Event>,
    pub(super) idle_ends: Option<Timestamp>,
    /// Another session has taken its place.
    pub(super) gave_way: bool,
    /// The user who left the session last.
    pub(super) left_by: Option<UserId>,
    pub(super) over: bool,
    /// Members that received something unnumbered in this step, once for each time.
    pub(super) received: Vec<MemberId>,
    /// Events sent to the owner alone in this step.
    pub(super) told: Vec<(MemberId, UserEvent)>,
}

/// Time of a step, and the workers whose mailboxes are full.
pub(super) struct At<'a> {
    pub(super) now: Timestamp,
    pub(super) full: &'a [WorkerId],
}

impl At<'_> {
    fn room<'a>(&self, users: impl IntoIterator<Item = &'a UserId>) -> Result<(), ErrorCode> {
        let full = users.into_iter().any(|user| self.full.contains(&at(user.as_str()).worker));
        if full { Err(ErrorCode::Busy) } else { Ok(()) }
    }
}

impl Reference {
    pub(super) fn create(
        id: SessionId,
        user: &UserId,
        create: &Create,
        at: &At<'_>,
    ) -> Result<Self, ErrorCode> {
        let entry = |new: InitialProperty| {
            let (value, rule, creator) = (new.value, new.rule, MemberId(1));
            (new.key, PropertyEntry { value, rule, creator })
        };
        let mut session = Self {
            id,
            settings: create.settings,
            members: Vec::new(),
            joined: 0,
            owner: MemberId(1),
            tickets: BTreeMap::new(),
            ended_tickets: Vec::new(),
            invited: 0,
            properties: create.properties.clone().into_vec().into_iter().map(entry).collect(),
            revision: 0,
            log: Vec::new(),
            idle_ends: None,
            gave_way: false,
            left_by: None,
            over: false,
            received: Vec::new(),
            told: Vec::new(),
        };
        at.room([user])?;
        session.admit(user);
        Ok(session)
    }

    pub(super) fn user_of(&self, member: MemberId) -> Option<&UserId> {
        self.members.iter().find(|(id, _)| *id == member).map(|(_, user)| user)
    }

    pub(super) fn member_of(&self, user: &UserId) -> Option<MemberId> {
        self.members.iter().find(|(_, who)| who == user).map(|(id, _)| *id)
    }

    fn users(&self) -> impl Iterator<Item = &UserId> {
        self.members.iter().map(|(_, user)| user)
    }

    fn is_open(&self, number: u32) -> bool {
        self.tickets.get(&number).is_some_and(|ticket| ticket.ended.is_none())
    }

    /// Returns all invites that have not ended, including those past their TTL.
    pub(super) fn open_tickets(&self) -> Vec<u32> {
        self.tickets.keys().copied().filter(|number| self.is_open(*number)).collect()
    }

    /// Returns the user's newest invite that admits.
    fn admitting(&self, user: &UserId, now: Timestamp) -> Option<u32> {
        let admits = |ticket: &Ticket| ticket.user == *user && ticket.ended.is_none() && now < ticket.expires;
        self.tickets.iter().filter(|(_, ticket)| admits(ticket)).map(|(number, _)| *number).max()
    }

    /// Returns the number of seats held by invites that admit now.
    pub(super) fn held(&self, now: Timestamp) -> usize {
        let held = |ticket: &&Ticket| ticket.holds_seat && ticket.ended.is_none() && now < ticket.expires;
        self.tickets.values().filter(held).count()
    }

    /// Checks that a seat is free for the holder of this ticket, or for anyone.
    fn check_seat(&self, ticket: Option<u32>, now: Timestamp) -> Result<(), ErrorCode> {
        let others = match ticket {
            Some(number) if self.tickets[&number].holds_seat => self.held(now) - 1,
            _ => self.held(now),
        };
        let is_full = self.members.len() + others >= usize::from(self.settings.max_members.get());
        if is_full { Err(ErrorCode::SessionFull) } else { Ok(()) }
    }

    pub(super) fn check_ticket(
        &self,
        number: u32,
        user: Option<&UserId>,
        now: Timestamp,
    ) -> Result<(), ErrorCode> {
        let ticket = self.tickets.get(&number).ok_or(ErrorCode::NoSuchInvite)?;
        if user.is_some_and(|user| *user != ticket.user) {
            return Err(ErrorCode::NotYourInvite);
        }
        if now >= ticket.expires {
            return Err(ErrorCode::InviteExpired);
        }
        ticket.ended.map_or(Ok(()), Err)
    }

    fn end_ticket(&mut self, number: u32, how: ErrorCode) -> EndedInvite {
        let ticket = self.tickets.get_mut(&number).unwrap();
        ticket.ended = Some(how);
        let user = ticket.user.clone();
        self.ended_tickets.push(number);
        self.remember_ended(match self.idle_ends {
            None => limits().max_ended_invites,
            Some(_) => limits().max_ended_invites_of_empty,
        });
        EndedInvite { invite: InviteId { session: self.id, number }, user }
    }

    /// Forgets all ended tickets but the last `kept`.
    fn remember_ended(&mut self, kept: usize) {
        let forgotten = self.ended_tickets.len().saturating_sub(kept);
        for number in self.ended_tickets.drain(..forgotten) {
            self.tickets.remove(&number);
        }
    }

    pub(super) fn check_owner(&self, by: MemberId) -> Result<(), ErrorCode> {
        self.user_of(by).ok_or(ErrorCode::NotAMember)?;
        if by == self.owner { Ok(()) } else { Err(ErrorCode::NotOwner) }
    }

    fn check_target(&self, by: MemberId, target: MemberId) -> Result<UserId, ErrorCode> {
        self.check_owner(by)?;
        let user = self.user_of(target).ok_or(ErrorCode::NoSuchMember)?;
        if by == target { Err(ErrorCode::InvalidTarget) } else { Ok(user.clone()) }
    }

    pub(super) fn invite(
        &mut self,
        by: MemberId,
        users: &[UserId],
        terms: (InviteTtl, bool),
        at: &At<'_>,
    ) -> Result<Vec<Result<NewInvite, ErrorCode>>, ErrorCode> {
        self.check_owner(by)?;
        Ok(users.iter().map(|user| self.invite_one(user, terms, at.now)).collect())
    }

    fn invite_one(
        &mut self,
        user: &UserId,
        (ttl, holds_seat): (InviteTtl, bool),
        now: Timestamp,
    ) -> Result<NewInvite, ErrorCode> {
        if self.member_of(user).is_some() {
            return Err(ErrorCode::AlreadyMember);
        }
        let replaced = self.admitting(user, now);
        if holds_seat {
            self.check_seat(replaced, now)?;
        }
        if replaced.is_none() && self.open_tickets().len() >= limits().max_open_invites {
            return Err(ErrorCode::TooManyInvites);
        }
        let replaced = replaced.map(|number| self.end_ticket(number, ErrorCode::InviteRevoked).invite);
        self.invited += 1;
        let expires = now + Duration::from_secs(ttl.get().into());
        self.tickets.insert(self.invited, Ticket { user: user.clone(), expires, holds_seat, ended: None });
        Ok(NewInvite { invite: InviteId { session: self.id, number: self.invited }, replaced })
    }

    pub(super) fn revoke(
        &mut self,
        by: MemberId,
        number: u32,
        at: &At<'_>,
    ) -> Result<EndedInvite, ErrorCode> {
        self.check_owner(by)?;
        self.check_ticket(number, None, at.now)?;
        Ok(self.end_ticket(number, ErrorCode::InviteRevoked))
    }

    pub(super) fn decline(&mut self, user: &UserId, number: u32, at: &At<'_>) -> Result<(), ErrorCode> {
        if self.idle_ends.is_some_and(|ends| ends <= at.now) {
            return Err(ErrorCode::NoSuchSession);
        }
        self.check_ticket(number, Some(user), at.now)?;
        at.room(self.user_of(self.owner))?;
        let invite = self.end_ticket(number, ErrorCode::InviteDeclined).invite;
        if self.user_of(self.owner).is_some() {
            let (user, reason) = (user.clone(), Reason::none());
            self.told.push((self.owner, UserEvent::InviteDeclined { invite, user, reason }));
        }
        Ok(())
    }

    pub(super) fn join(
        &mut self,
        user: &UserId,
        ticket: Option<u32>,
        at: &At<'_>,
    ) -> Result<Admitted, ErrorCode> {
        if self.idle_ends.is_some_and(|ends| ends <= at.now) {
            return Err(ErrorCode::NoSuchSession);
        }
        let ticket = match ticket {
            Some(number) => {
                self.check_ticket(number, Some(user), at.now)?;
                Some(number)
            }
            None if self.settings.admission == Admission::Open => {
                self.admitting(user, at.now).filter(|number| self.tickets[number].holds_seat)
            }
            None => return Err(ErrorCode::SessionNotOpen),
        };
        if self.member_of(user).is_some() {
            return Err(ErrorCode::AlreadyMember);
        }
        self.check_seat(ticket, at.now)?;
        at.room(self.users().chain([user]))?;
        let member = self.admit(user);
        let used = ticket.map(|number| self.end_ticket(number, ErrorCode::InviteUsed).invite);
        let (session, kind) = (self.id, self.settings.kind);
        Ok(Admitted { session, kind, member, used, replaced: None, snapshot_bytes: 0 })
    }

    fn admit(&mut self, user: &UserId) -> MemberId {
        self.joined += 1;
        let member = MemberId(self.joined);
        if self.members.is_empty() {
            self.owner = member;
        }
        self.members.push((member, user.clone()));
        self.idle_ends = None;
        self.log.push(Event::Joined(member, user.clone()));
        member
    }

    pub(super) fn leave(
        &mut self,
        member: MemberId,
        why: LeaveReason,
        at: &At<'_>,
    ) -> Result<Departed, ErrorCode> {
        let user = self.user_of(member).ok_or(ErrorCode::NotAMember)?.clone();
        self.left_by = Some(user.clone());
        let left = Some(Left { member, user, why });
        self.members.retain(|(id, _)| *id != member);
        self.log.push(Event::Left(member, why));
        let ttl = u64::from(self.settings.idle_ttl.get());
        let owner_left = self.owner == member;
        if owner_left && self.settings.on_owner_leave == OnOwnerLeave::Delete {
            return Ok(Departed { left, ..self.end(DeleteReason::OwnerLeft, at.now) });
        }
        match self.members.first().map(|(id, _)| *id) {
            Some(heir) if owner_left => self.set_owner(heir),
            Some(_) => {}
            None if ttl == 0 => return Ok(Departed { left, ..self.end(DeleteReason::Idle, at.now) }),
            None => {
                self.idle_ends = Some(at.now + Duration::from_secs(ttl));
                self.remember_ended(limits().max_ended_invites_of_empty);
            }
        }
        Ok(Departed { left, ..Departed::default() })
    }

    pub(super) fn kick(
        &mut self,
        by: MemberId,
        target: MemberId,
        at: &At<'_>,
    ) -> Result<Departed, ErrorCode> {
        let user = self.check_target(by, target)?;
        let mut departed = self.leave(target, LeaveReason::Kicked, at)?;
        if let Some(number) = self.admitting(&user, at.now) {
            departed.revoked.push(self.end_ticket(number, ErrorCode::InviteRevoked));
        }
        Ok(departed)
    }

    pub(super) fn transfer(&mut self, by: MemberId, to: MemberId, at: &At<'_>) -> Result<(), ErrorCode> {
        self.check_target(by, to)?;
        at.room(self.users())?;
        self.set_owner(to);
        Ok(())
    }

    fn set_owner(&mut self, owner: MemberId) {
        self.owner = owner;
        self.log.push(Event::OwnerChanged(owner));
    }

    pub(super) fn delete(&mut self, by: MemberId, at: &At<'_>) -> Result<Departed, ErrorCode> {
        self.check_owner(by)?;
        Ok(self.end(DeleteReason::Deleted, at.now))
    }

    fn end(&mut self, why: DeleteReason, now: Timestamp) -> Departed {
        self.log.push(Event::Deleted(why));
        let at = MemberAt {
            worker: WorkerId(0),
            connection: ConnectionId(0),
            slot: Slot(0),
            login: LoginNumber(0),
        };
        let members = std::mem::take(&mut self.members).into_iter().map(|(id, user)| Member { id, user, at });
        let (members, properties) = (Arc::new(members.collect()), Arc::new(self.properties.clone()));
        self.over = true;
        let open = self.open_tickets().into_iter();
        let (due, open): (Vec<_>, Vec<_>) = open.partition(|number| self.tickets[number].expires <= now);
        let mut end =
            |numbers: Vec<u32>, how| numbers.into_iter().map(|it| self.end_ticket(it, how)).collect();
        Departed {
            left: None,
            expired: end(due, ErrorCode::InviteExpired),
            revoked: end(open, ErrorCode::InviteRevoked),
            ended: Some(Ended { kind: self.settings.kind, why, members, properties }),
        }
    }

    /// Returns when an invite expires or, once ended, is forgotten.
    fn due(&self, number: u32) -> Timestamp {
        let ticket = &self.tickets[&number];
        let memory = if self.is_open(number) { Duration::ZERO } else { limits().ended_invite_memory };
        ticket.expires + memory
    }

    /// Returns the next deadline of the session, if it has one.
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        let due = self.tickets.keys().map(|number| self.due(*number)).chain(self.idle_ends).min();
        due.filter(|_| !self.over)
    }

    /// Applies what is due, in the order of the deadlines.
    pub(super) fn expire(&mut self, now: Timestamp) -> Vec<Expired> {
        let mut expired = Vec::new();
        let first = |session: &Self| session.tickets.keys().map(|n| (session.due(*n), *n)).min();
        while let Some((_, number)) = first(self).filter(|(due, _)| *due <= now && !self.over) {
            if !self.is_open(number) {
                self.ended_tickets.retain(|ended| *ended != number);
                self.tickets.remove(&number);
                continue;
            }
            let ended = self.end_ticket(number, ErrorCode::InviteExpired);
            if self.user_of(self.owner).is_some() {
                let (invite, user) = (ended.invite, Some(ended.user.clone()));
                self.told.push((self.owner, UserEvent::InviteExpired { invite, user }));
            }
            expired.push(Expired::Invite(ended));
        }
        if self.idle_ends.is_some_and(|ends| ends <= now) && !self.over {
            let departed = self.end(DeleteReason::Idle, now);
            expired.push(Expired::Session(self.id, departed));
        }
        expired
    }
}
