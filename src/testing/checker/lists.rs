//! The answers of `info`, `list_mine` and `list_invites`: what they must contain and what they cannot.
//!
//! They are carried out some time after they were sent, and their answers may overtake events or be overtaken
//! by them. So an answer is compared with what its client knew when it asked, which the server knew before,
//! and with what turns out later: the state of the session at the event that an `info` names, and the places
//! and invites that are still there at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::log::Logs;
use super::{Issues, Life, Living, Mine, Seat};
use crate::base::{EventNumber, InviteId, RequestId, SessionId, Timestamp, UserId};
use crate::client::core::{Event, Mirror, RequestError};
use crate::wire::command::{Invite, Join};
use crate::wire::event::Invitation;
use crate::wire::result::{Info, Membership};
use crate::wire::{ErrorCode, Request, Value};

/// The answers, and what must turn out to be so.
#[derive(Default)]
pub(super) struct Lists {
    /// What the clients knew when they asked.
    before: BTreeMap<(Life, RequestId), Before>,
    /// The places that clients have, and those that they have had.
    seats: BTreeMap<(Life, SlotNumber), (Mine, bool)>,
    /// Invites that clients were told of, and whether they were told of their end.
    invites: BTreeMap<Life, BTreeMap<InviteId, bool>>,
    /// Number of users that were invited to each session, at most.
    invited: BTreeMap<SessionId, usize>,
    infos: Vec<(Life, Info)>,
    /// Places that a client was told it does not have, and when.
    not_there: BTreeMap<(Life, Seat), Timestamp>,
    /// Places that a client was told it has, before it entered.
    there: Vec<(Life, Seat)>,
    /// Invites that a client was told of in a list.
    listed: BTreeSet<(Life, InviteId)>,
    /// Invites that were not in a list although their user knew them, with the time of the latest such list.
    unlisted: BTreeMap<InviteId, Timestamp>,
    /// The earliest time at which an invite can expire.
    lasts_until: BTreeMap<InviteId, Timestamp>,
}

type SlotNumber = u32;

/// A client's knowledge when it asked.
enum Before {
    Info { session: SessionId, known: Option<(Seat, EventNumber)> },
    Mine { seats: Vec<Mine>, former: Vec<SlotNumber> },
    Invites { open: BTreeSet<InviteId>, over: BTreeSet<InviteId> },
}

/// A worker's clock may be behind by this much, so an invite may expire this much earlier.
const CLOCKS_DIFFER: Duration = Duration::from_millis(10);

impl Lists {
    /// Records a command; `mirrors` are the sessions that the client is in.
    pub(super) fn asked<'a>(
        &mut self,
        life: Life,
        id: RequestId,
        seat: Option<Mine>,
        request: &Request,
        mut mirrors: impl Iterator<Item = &'a Mirror>,
    ) {
        self.strange(seat, request);
        let before = match request {
            Request::Info(session) => {
                let mirror = mirrors.find(|mirror| mirror.session() == *session);
                Before::Info {
                    session: *session,
                    known: mirror.map(|mirror| (seat_of(mirror), mirror.next())),
                }
            }
            Request::ListMine => {
                let of_life = self.seats.range((life, 0)..=(life, SlotNumber::MAX));
                let (now, former): (Vec<_>, Vec<_>) = of_life.partition(|(_, (_, is_there))| *is_there);
                Before::Mine {
                    seats: now.into_iter().map(|(_, (mine, _))| *mine).collect(),
                    former: former.into_iter().map(|((_, slot), _)| *slot).collect(),
                }
            }
            Request::ListInvites => {
                let known = self.invites.get(&life).into_iter().flatten();
                let (over, open): (Vec<_>, Vec<_>) = known.partition(|(_, is_over)| **is_over);
                let ids = |of: Vec<(&InviteId, &bool)>| of.into_iter().map(|(invite, _)| *invite).collect();
                Before::Invites { open: ids(open), over: ids(over) }
            }
            _ => return,
        };
        self.before.insert((life, id), before);
    }

    /// Records that someone may be invited.
    pub(super) fn strange(&mut self, seat: Option<Mine>, request: &Request) {
        if let (Request::Invite(Invite { users, .. }), Some(seat)) = (request, seat) {
            *self.invited.entry(seat.session).or_default() += users.as_slice().len();
        }
    }

    /// Records an event.
    pub(super) fn event(&mut self, life: Life, event: &Event, issues: &mut Issues) {
        match event {
            Event::Invited(Invitation { invite, .. }) => {
                self.invites.entry(life).or_default().entry(*invite).or_default();
            }
            Event::InviteRevoked { invite } => self.is_over(life, *invite),
            Event::InviteExpired { invite, user: None } => {
                self.is_over(life, *invite);
                let missing_since = self.unlisted.get(invite).zip(self.lasts_until.get(invite));
                if missing_since.is_some_and(|(listed_at, until)| *listed_at + CLOCKS_DIFFER < *until) {
                    issues.add(format_args!("{life:?} was told no {invite} in a list, but it expired later"));
                }
            }
            Event::Entered { slot, session, member, .. } => {
                let mine = Mine { session: *session, member: *member, slot: *slot };
                self.seats.insert((life, slot.0), (mine, true));
            }
            event if event.ends_membership() => {
                let slot = event.slot().map(|slot| slot.0).unwrap_or_default();
                if let Some((_, is_there)) = self.seats.get_mut(&(life, slot)) {
                    *is_there = false;
                }
            }
            _ => {}
        }
    }

    fn is_over(&mut self, life: Life, invite: InviteId) {
        self.invites.entry(life).or_default().insert(invite, true);
    }

    /// Records the result of a command that was sent at `at`, and checks what can be checked now.
    pub(super) fn answered(
        &mut self,
        now: Timestamp,
        (life, user): (Life, &UserId),
        id: RequestId,
        (at, seat, request): (Timestamp, Option<Mine>, &Request),
        outcome: &Result<Value, RequestError>,
        issues: &mut Issues,
    ) {
        self.note(at, life, (seat, request), outcome, issues);
        let Some(before) = self.before.remove(&(life, id)) else { return };
        let listed = match (before, outcome) {
            (Before::Info { session, known }, Ok(Value::Info(info))) => {
                self.info(life, session, known.map(|(_, next)| next), info)
            }
            (Before::Info { known, .. }, Err(RequestError::Refused(ErrorCode::NotAMember))) => {
                self.not_there.extend(known.map(|(seat, _)| ((life, seat), now)));
                Ok(())
            }
            (Before::Mine { seats, former }, Ok(Value::Sessions(sessions))) => {
                self.mine(now, life, &seats, &former, sessions)
            }
            (Before::Invites { open, over }, Ok(Value::Invites(invites))) => {
                self.invitations(now, (life, user), &open, &over, invites)
            }
            _ => Ok(()),
        };
        if let Err(what) = listed {
            issues.add(format_args!("{life:?} of {user} was answered {outcome:?}: {what}"));
        }
    }

    /// Records what other commands do to invites.
    fn note(
        &mut self,
        at: Timestamp,
        life: Life,
        (seat, request): (Option<Mine>, &Request),
        outcome: &Result<Value, RequestError>,
        issues: &mut Issues,
    ) {
        let Ok(value) = outcome else { return };
        if let Some(Mine { session, member, .. }) = seat {
            let seat = Seat { session, member };
            if self.not_there.get(&(life, seat)).is_some_and(|told_at| *told_at <= at) {
                issues.add(format_args!("{life:?} was told that it is not at {seat:?}, where it then acted"));
            }
        }
        match (request, value, seat) {
            (Request::Join(Join::Invite(invite)), ..) => {
                self.is_over(life, *invite);
                // An invite that has ended is never open again.
                if self.unlisted.get(invite).is_some_and(|listed_at| *listed_at <= at) {
                    issues.add(format_args!("{life:?} was told no {invite} in a list, but it still admits"));
                }
            }
            (Request::Decline(decline), ..) => self.is_over(life, decline.invite),
            (Request::Invite(Invite { ttl, .. }), Value::Invited(answers), Some(Mine { session, .. })) => {
                let until = at + Duration::from_secs(ttl.get().into());
                let ids = answers.iter().flatten().map(|number| InviteId { session, number: *number });
                self.lasts_until.extend(ids.map(|invite| (invite, until)));
            }
            _ => {}
        }
    }

    // spec: RES-5
    fn info(
        &mut self,
        life: Life,
        session: SessionId,
        known: Option<EventNumber>,
        info: &Info,
    ) -> Result<(), String> {
        self.infos.push((life, *info));
        if info.session != session {
            return Err(format!("asked for {session}"));
        }
        if let Some(known) = known.filter(|known| info.next < *known) {
            return Err(format!("event {known} was next before"));
        }
        let invited = self.invited.get(&session).copied().unwrap_or_default();
        if info.open_invites as usize > invited {
            return Err(format!("no more than {invited} users were invited"));
        }
        Ok(())
    }

    // spec: RES-4, CMD-22
    fn mine(
        &mut self,
        now: Timestamp,
        life: Life,
        seats: &[Mine],
        former: &[SlotNumber],
        listed: &[Membership],
    ) -> Result<(), String> {
        if !listed.is_sorted_by(|one, next| one.entered.slot < next.entered.slot) {
            return Err("not in the order of slots".to_owned());
        }
        let told = |Membership { entered, .. }: &Membership| Mine {
            session: entered.session,
            member: entered.member,
            slot: entered.slot,
        };
        let listed: Vec<Mine> = listed.iter().map(told).collect();
        if let Some(mine) = listed.iter().find(|mine| former.contains(&mine.slot.0)) {
            return Err(format!("{mine:?} had ended before"));
        }
        let seat = |mine: &Mine| (life, Seat { session: mine.session, member: mine.member });
        let missing = seats.iter().filter(|mine| !listed.contains(mine));
        self.not_there.extend(missing.map(|mine| (seat(mine), now)));
        self.there.extend(listed.iter().filter(|mine| !seats.contains(mine)).map(seat));
        Ok(())
    }

    fn invitations(
        &mut self,
        now: Timestamp,
        (life, user): (Life, &UserId),
        open: &BTreeSet<InviteId>,
        over: &BTreeSet<InviteId>,
        listed: &[Invitation],
    ) -> Result<(), String> {
        let ids: BTreeSet<InviteId> = listed.iter().map(|invitation| invitation.invite).collect();
        if ids.len() < listed.len() {
            return Err("an invite twice".to_owned());
        }
        if let Some(invite) = ids.intersection(over).next() {
            return Err(format!("{invite} was over before"));
        }
        if let Some(own) = listed.iter().find(|invitation| invitation.owner == *user) {
            return Err(format!("{} is by the user themselves", own.invite));
        }
        self.listed.extend(ids.iter().map(|invite| (life, *invite)));
        self.unlisted.extend(open.difference(&ids).map(|invite| (*invite, now)));
        Ok(())
    }

    /// Checks the answers against what has turned out. `seats` has every seat that was ever entered.
    pub(super) fn finish(
        &self,
        living: &[Living<'_>],
        seats: &BTreeMap<Seat, Life>,
        logs: &Logs,
        issues: &mut Issues,
    ) {
        let present = super::Mine::of_all(living);
        for (life, seat) in self.not_there.keys().filter(|(life, seat)| present.get(seat) == Some(life)) {
            issues.add(format_args!("{life:?} was told that it is not at {seat:?}, where it is to the end"));
        }
        for (life, _, _) in living {
            for (_, seat) in
                self.there.iter().filter(|(of, seat)| of == life && seats.get(seat) != Some(life))
            {
                issues.add(format_args!("{life:?} was told that it is at {seat:?}, which it never entered"));
            }
            let known = self.invites.get(life);
            let is_known = |invite: &InviteId| known.is_some_and(|known| known.contains_key(invite));
            for (_, invite) in self.listed.iter().filter(|(of, invite)| of == life && !is_known(invite)) {
                issues.add(format_args!("{life:?} was told {invite} in a list, and never of itself"));
            }
        }
        for (life, info) in &self.infos {
            check_info(*life, info, living, logs, issues);
        }
    }
}

/// Checks that a session was once as an `info` describes it.
fn check_info(life: Life, info: &Info, living: &[Living<'_>], logs: &Logs, issues: &mut Issues) {
    let mirrors = living.iter().flat_map(|(_, _, mirrors)| mirrors);
    for mirror in mirrors.filter(|mirror| mirror.session() == info.session) {
        if info.next > mirror.next() {
            issues.add(format_args!("{life:?} was told {info:?}, but event {} is next", mirror.next()));
        }
    }
    let Some(state) = logs.state_at(info.session, info.next) else { return };
    let of_info = (info.settings, info.owner, info.members as usize, info.revision);
    if of_info != (state.settings, state.owner, state.members, state.revision) {
        issues.add(format_args!("{life:?} was told {info:?}, its members knew {state:?}"));
    }
}

fn seat_of(mirror: &Mirror) -> Seat {
    Seat { session: mirror.session(), member: mirror.own() }
}
