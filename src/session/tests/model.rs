//! A model test: the table and a plain [`Reference`] run the same random commands.
//!
//! After every command its result, the mail that it caused and everything that can be queried from the table
//! are compared. The mail is handled as workers and clients handle it (see [`Rosters`]), so that the promises
//! of the [module](crate::session) are checked on what members can observe.

mod commands;
mod reference;
mod rosters;
mod traffic;

use std::collections::BTreeSet;

use proptest::prelude::*;

use self::commands::{Command, Pick, Step, USERS, Where, Who, any_steps};
use self::reference::{At, Reference};
use self::rosters::Rosters;
use super::*;
use crate::base::{EventNumber, Revision};
use crate::wire::command::InitialProperty;
use crate::wire::result::Info;
use crate::wire::{PropertyKey, PropertyOp, PropertyValue, UserEvent, WriteRule};

/// Limits so tight that random commands reach each of them.
fn limits() -> SessionLimits {
    SessionLimits {
        max_sessions: 3,
        max_open_invites: 3,
        max_ended_invites: 4,
        max_ended_invites_of_empty: 1,
        ended_invite_memory: Duration::from_secs(2),
        max_properties: 2,
        ..SessionLimits::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    // spec-test: SES-9, CMD-23
    #[test]
    fn a_table_does_what_the_plain_model_does_and_keeps_its_promises(steps in any_steps()) {
        let mut run = Run::new();
        for step in steps {
            run.step(step);
        }
    }
}

/// The table and the model, side by side.
struct Run {
    /// With one stripe, so that all sessions have the same time.
    table: SessionTable,
    mail: Mail,
    /// Every session ever created.
    sessions: BTreeMap<SessionId, Reference>,
    rosters: Rosters,
    /// The clock of callers that are not behind.
    now: Timestamp,
    /// The latest time that a caller passed in.
    seen: Timestamp,
    /// Events that owners should have received in this step.
    told: Vec<(MemberId, UserEvent)>,
}

impl Run {
    fn new() -> Self {
        Self {
            table: SessionTable::new(1, WORKERS, limits(), StdRng::seed_from_u64(7)),
            mail: Mail::default(),
            sessions: BTreeMap::new(),
            rosters: Rosters::default(),
            now: Timestamp::from_millis(10_000),
            seen: Timestamp::ZERO,
            told: Vec::new(),
        }
    }

    fn step(&mut self, Step { command, behind, full }: Step) {
        let now = self.now - behind;
        self.mail.full = full;
        let deadline = self.table.next_deadline(0);
        let is_expire = matches!(command, Command::Expire);
        let ended = self.carry_out(now, command);
        self.deliver();
        ended.into_iter().for_each(|invite| self.rosters.ended(invite));
        self.check();
        let next = self.table.next_deadline(0);
        let is_earlier = next.is_some_and(|next| deadline.is_none_or(|before| next < before));
        assert_eq!(std::mem::take(&mut self.mail.woken).is_empty(), is_expire || !is_earlier);
    }

    /// Runs a command on both and compares the results. Returns the invites that it ended.
    fn carry_out(&mut self, now: Timestamp, command: Command) -> Vec<InviteId> {
        match command {
            Command::Pass(time) => self.now += time,
            Command::Expire => return self.expire(now),
            Command::Create { user, settings, seeded } => self.create(now, user, settings, seeded),
            Command::Invite { session, by, users, ttl, hold_seat } => {
                let terms = (InviteTtl::new(ttl).unwrap(), hold_seat);
                self.invite(now, (session, by), &users, terms);
            }
            Command::Revoke { session, by, invite } => {
                let by = self.member(session, by);
                let number = self.pick(by.session, invite);
                let expected = self.model(now, by.session, |model, at| model.revoke(by.member, number, at));
                let revoked = self.table.revoke(now, by, number, &mut self.mail);
                assert_eq!(revoked, expected);
                return revoked.into_iter().map(|ended| ended.invite).collect();
            }
            Command::Join { session, user, invite } => return self.join(now, session, user, invite),
            Command::Decline { session, user: who, invite } => {
                let (id, who) = (self.session(session), user(USERS[who]));
                let invite = InviteId { session: id, number: self.pick(id, invite) };
                let expected = self.model(now, id, |model, at| model.decline(&who, invite.number, at));
                let decline = Decline { invite, reason: Reason::none() };
                let declined = self.table.decline(now, &who, decline, &mut self.mail);
                assert_eq!(declined, expected.map_err(missing));
                return declined.map(|()| invite).into_iter().collect();
            }
            Command::Leave { session, user, why } => {
                let leaver = self.member(session, user);
                let expected =
                    self.model(now, leaver.session, |model, at| model.leave(leaver.member, why, at));
                let left = self.table.leave(now, leaver, why, &mut self.mail);
                return departed(left, expected);
            }
            Command::Kick { session, by, target } => {
                let (by, target) = (self.member(session, by), self.member(session, target).member);
                let expected = self.model(now, by.session, |model, at| model.kick(by.member, target, at));
                let kick = Kick { member: target, reason: Reason::none() };
                return departed(self.table.kick(now, by, kick, &mut self.mail), expected);
            }
            Command::Transfer { session, by, to } => {
                let (by, to) = (self.member(session, by), self.member(session, to).member);
                let expected = self.model(now, by.session, |model, at| model.transfer(by.member, to, at));
                assert_eq!(self.table.transfer(now, by, to, &mut self.mail), expected);
            }
            Command::Delete { session, by } => {
                let by = self.member(session, by);
                let expected = self.model(now, by.session, |model, at| model.delete(by.member, at));
                return departed(self.table.delete(now, by, Reason::none(), &mut self.mail), expected);
            }
            Command::Broadcast { session, by, delivery, to } => {
                let by = self.member(session, by);
                let expected =
                    self.model(now, by.session, |model, at| model.broadcast(by.member, (delivery, to), at));
                let broadcast = Broadcast { to, ..broadcast(delivery, b"hello") };
                assert_eq!(self.table.broadcast(now, by, broadcast, &mut self.mail), expected);
            }
            Command::Message { session, by, to } => {
                let by = self.member(session, by);
                let mut to: Vec<_> = to.into_iter().map(|who| self.member(session, who).member).collect();
                to.sort_unstable();
                to.dedup();
                let expected = self.model(now, by.session, |model, at| model.message(by.member, &to, at));
                assert_eq!(self.table.message(now, by, message(&to), &mut self.mail), expected);
            }
            Command::SetProperties { session, by, ops } => {
                let by = self.member(session, by);
                let expected =
                    self.model(now, by.session, |model, at| model.set_properties(by.member, &ops, at));
                let ops = PropertyOps::new(ops).unwrap();
                let set = self.table.set_properties(now, by, &ops, &mut self.mail);
                assert_eq!(set, expected.map(Revision), "promise 7");
            }
        }
        Vec::new()
    }

    fn create(&mut self, now: Timestamp, who: Who, settings: Settings, seeded: bool) {
        let (key, value) = (PropertyKey::new("x").unwrap(), PropertyValue::Integer(0));
        let property = InitialProperty { key, value, rule: WriteRule::Any };
        let properties = seeded.then_some(property).into_iter().collect();
        let create = Create { settings, properties: InitialProperties::new(properties).unwrap() };
        let who = user(USERS[who]);
        let created = self.table.create(now, entrant(&who), create.clone(), &mut self.mail);
        let is_full = self.counted().count() >= limits().max_sessions;
        let latest = self.seen.max(now);
        let gives_way = self.gives_way().filter(|_| is_full);
        if is_full && gives_way.is_none() {
            assert_eq!(created, Err(ErrorCode::ServerFull));
            return;
        }
        if let Some(session) = gives_way.filter(|_| created.is_ok()) {
            session.idle_ends = session.idle_ends.map(|ends| ends.min(latest));
            session.gave_way = true;
        }
        self.seen = latest;
        let id = created.map_or(SessionId(0), |created| created.session);
        let at = At { now: self.seen, full: &self.mail.full };
        let expected = Reference::create(id, &who, &create, &at);
        assert_eq!(
            created.map(|created| created.member),
            expected.as_ref().map(|_| MemberId(1)).map_err(|e| *e)
        );
        self.sessions.extend(expected.ok().map(|session| (id, session)));
    }

    /// Returns the sessions that count towards the limit.
    fn counted(&self) -> impl Iterator<Item = &Reference> {
        self.sessions.values().filter(|session| !session.over && !session.gave_way)
    }

    /// Returns, of the user who left most sessions behind, the session that would stay longest.
    fn gives_way(&mut self) -> Option<&mut Reference> {
        let mut of_users: BTreeMap<UserId, BTreeSet<(Timestamp, SessionId)>> = BTreeMap::new();
        for session in self.counted() {
            if let Some((user, ends)) = session.left_by.clone().zip(session.idle_ends) {
                of_users.entry(user).or_default().insert((ends, session.id));
            }
        }
        let mut users: Vec<_> = of_users.into_iter().map(|(user, left)| (left.len(), user, left)).collect();
        users.sort_unstable();
        let (_, id) = users.last()?.2.last()?;
        self.sessions.get_mut(id)
    }

    fn invite(
        &mut self,
        now: Timestamp,
        (session, by): (Where, Who),
        users: &[Who],
        (ttl, hold_seat): (InviteTtl, bool),
    ) {
        let by = self.member(session, by);
        let users: Vec<_> = users.iter().map(|who| user(USERS[*who])).collect();
        let expected =
            self.model(now, by.session, |model, at| model.invite(by.member, &users, (ttl, hold_seat), at));
        let invite = Invite { ttl, hold_seat, ..invite_of("a") };
        let inviting = self.table.invite(now, by, &invite, &users, &mut self.mail);
        let answers = inviting.map(|inviting| inviting.users);
        assert_eq!(answers, expected);
        for (answer, user) in answers.into_iter().flatten().zip(&users) {
            if let Ok(new) = answer {
                self.rosters.issued(new, user, self.seen + Duration::from_secs(ttl.get().into()));
            }
        }
    }

    fn join(&mut self, now: Timestamp, session: Where, who: Who, pick: Option<Pick>) -> Vec<InviteId> {
        let (id, who) = (self.session(session), user(USERS[who]));
        let number = pick.map(|pick| self.pick(id, pick));
        let expected = self.model(now, id, |model, at| model.join(&who, number, at));
        let join = match number {
            Some(number) => Join::Invite(InviteId { session: id, number }),
            None => Join::Session(id),
        };
        let joined = self.table.join(now, entrant(&who), join, &mut self.mail);
        let joined = joined.map(|admitted| Admitted { snapshot_bytes: 0, ..admitted });
        assert_eq!(joined, expected.map_err(missing));
        joined.into_iter().filter_map(|admitted| admitted.used).collect()
    }

    fn expire(&mut self, now: Timestamp) -> Vec<InviteId> {
        self.seen = self.seen.max(now);
        let mut due: Vec<_> = self.sessions.values_mut().collect();
        due.sort_by_key(|session| (session.deadline(), session.id));
        let mut expected = Vec::new();
        for session in due {
            expected.extend(session.expire(self.seen));
            self.told.append(&mut session.told);
        }
        let expired = self.table.expire(0, now, &mut self.mail);
        assert_eq!(
            expired, expected,
            "nobody is in what expires, so that it is not said where they are reached"
        );
        let ended = expired.into_iter().flat_map(|expired| match expired {
            Expired::Invite(ended) => vec![ended],
            Expired::Session(_, departed) => [departed.expired, departed.revoked].concat(),
        });
        ended.map(|ended| ended.invite).collect()
    }

    /// Runs a command on the model; a session that has ended has no members.
    fn model<T>(
        &mut self,
        now: Timestamp,
        id: SessionId,
        command: impl FnOnce(&mut Reference, &At<'_>) -> Result<T, ErrorCode>,
    ) -> Result<T, ErrorCode> {
        self.seen = self.seen.max(now);
        let at = At { now: self.seen, full: &self.mail.full };
        let session = self.sessions.get_mut(&id).filter(|session| !session.over);
        command(session.ok_or(ErrorCode::NotAMember)?, &at)
    }

    /// Returns the session with this index: first the live ones, then the ended ones, each by id.
    fn session(&self, place: Where) -> SessionId {
        let there = self.sessions.values().filter(|session| !session.over);
        let over = self.sessions.values().filter(|session| session.over);
        there.chain(over).nth(place).map_or(SessionId(1), |session| session.id)
    }

    /// Returns the member with this index in a session: its owner, its members, then all other users, with
    /// the id that they last had there, or an id that nobody had.
    fn member(&self, session: Where, place: Who) -> MemberRef {
        let id = self.session(session);
        let Some(session) = self.sessions.get(&id) else { return member_ref(id, MemberId(1)) };
        let mut users = USERS.map(user);
        users.sort_by_key(|user| match session.member_of(user) {
            Some(member) => u8::from(member != session.owner),
            None => 2,
        });
        let last = session.log.iter().rev().find_map(|event| match event {
            reference::Event::Joined(member, user) if *user == users[place] => Some(*member),
            _ => None,
        });
        member_ref(id, last.unwrap_or(MemberId(99)))
    }

    fn pick(&self, session: SessionId, pick: Pick) -> u32 {
        let Some(session) = self.sessions.get(&session) else { return 1 };
        let newest_of = |who: &UserId| session.tickets.iter().rev().find(|(_, ticket)| ticket.user == *who);
        match pick {
            Pick::NewestOf(who) => newest_of(&user(USERS[who])).map_or(0, |(number, _)| *number),
            Pick::Number(back) => (session.invited + 1).saturating_sub(back),
        }
    }

    /// Lets the workers handle their mail.
    fn deliver(&mut self) {
        assert!(self.mail.reserved.is_empty(), "a reservation was not used");
        for (worker, fanout) in std::mem::take(&mut self.mail.posted) {
            let session = &self.sessions[&fanout.session];
            self.rosters.check_entry(&fanout, session, self.seen);
            self.rosters.take(worker, &fanout, session);
        }
    }

    /// Compares everything observable of the table with the model.
    fn check(&mut self) {
        let mut received = Vec::new();
        for session in self.sessions.values_mut() {
            received.append(&mut session.received);
            self.told.append(&mut session.told);
        }
        self.rosters.received.sort_unstable();
        assert_eq!(std::mem::take(&mut self.rosters.received), received, "who received it");
        assert_eq!(std::mem::take(&mut self.rosters.told), std::mem::take(&mut self.told));
        let deadline = self.sessions.values().filter_map(Reference::deadline).min();
        let next = self.table.next_deadline(0);
        assert_eq!(next, deadline);
        let earliest = self.table.earliest_deadline(WorkerId(0));
        assert!(
            next.is_none_or(|next| earliest.is_some_and(|at| at <= next)),
            "the keeper sleeps past a deadline"
        );
        assert_eq!(self.table.len(), self.counted().count());
        assert!(self.table.len() <= limits().max_sessions);
        for session in self.sessions.values() {
            let seats = usize::from(session.settings.max_members.get());
            assert!(session.members.len() + session.held(self.seen) <= seats, "promise 1: more than seats");
            self.rosters.check_against(session);
            for name in USERS {
                assert_eq!(self.table.info(&user(name), session.id), info(session, &user(name)));
            }
            (0..=session.invited + 1).for_each(|number| self.check_invitation(session, number));
        }
    }

    fn check_invitation(&self, session: &Reference, number: u32) {
        let ticket = session.tickets.get(&number);
        let who = ticket.map_or(user("a"), |ticket| ticket.user.clone());
        let until = ticket.map(|ticket| ticket.expires);
        let expected = match session.over {
            true => Err(ErrorCode::NoSuchSession),
            false => session.check_ticket(number, Some(&who), self.seen).map(|()| until),
        };
        let invite = InviteId { session: session.id, number };
        assert_eq!(self.table.admits_until(&who, invite).map(Some), expected);
    }
}

/// Returns the code of joins and declines where other commands fail with `not_a_member`.
fn missing(code: ErrorCode) -> ErrorCode {
    if code == ErrorCode::NotAMember { ErrorCode::NoSuchSession } else { code }
}

fn departed(got: Result<Departed, ErrorCode>, mut expected: Result<Departed, ErrorCode>) -> Vec<InviteId> {
    if let (Ok(Departed { ended: Some(got), .. }), Ok(Departed { ended: Some(expected), .. })) =
        (&got, &mut expected)
    {
        // The reference does not know the locations of members.
        let place = |got: &Member, expected: &mut Member| expected.at = got.at;
        got.members
            .iter()
            .zip(Arc::make_mut(&mut expected.members))
            .for_each(|(got, expected)| place(got, expected));
    }
    assert_eq!(got, expected);
    got.into_iter()
        .flat_map(|departed| [departed.expired, departed.revoked].concat())
        .map(|ended| ended.invite)
        .collect()
}

fn info(session: &Reference, who: &UserId) -> Result<Info, ErrorCode> {
    if session.over {
        return Err(ErrorCode::NoSuchSession);
    }
    session.member_of(who).ok_or(ErrorCode::NotAMember)?;
    Ok(Info {
        session: session.id,
        settings: session.settings,
        owner: session.owner,
        members: u32::try_from(session.members.len()).unwrap(),
        open_invites: u32::try_from(session.open_tickets().len()).unwrap(),
        revision: Revision(session.revision),
        next: EventNumber(session.log.len() as u64 + 1),
    })
}
