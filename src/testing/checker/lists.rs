//! The answers of `info`, `list_mine` and `list_invites`: what they must contain and what they cannot.
//!
//! They are carried out some time after they were sent, and their answers may overtake events or be overtaken
//! by them. So an answer is compared with what its client knew when it asked, which the server knew before,
//! and with what turns out later: the state of the session at the event that an `info` names, and the places
//! and invites that are still there at the end.

use std::collections::{BTreeMap, BTreeSet};

use super::answers::Asked;
use super::book::{Invite, InviteBook};
use super::commands::{End, Sender, Source};
use super::log::Logs;
use super::{Issues, Life, Living, Mine, Seat};
use crate::base::{EventNumber, InviteId, RequestId, SessionId, Timestamp, UserId};
use crate::client::core::{Event, Mirror, RequestError};
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
    infos: Vec<(Life, Info)>,
    /// Places that a client was told it does not have, and when.
    not_there: BTreeMap<(Life, Seat), Timestamp>,
    /// Places that a client was told it has, before it entered.
    there: Vec<(Life, Seat)>,
    /// Invites that a client was told of in a list.
    listed: BTreeSet<(Life, InviteId)>,
    /// Invites that were not in a list although their user knew them, with the time of the first such list.
    unlisted: BTreeMap<InviteId, Timestamp>,
}

type SlotNumber = u32;

/// A client's knowledge when it asked.
enum Before {
    Info { session: SessionId, known: Option<(Seat, EventNumber)> },
    Mine { seats: Vec<Mine>, former: Vec<SlotNumber> },
    Invites { open: BTreeSet<InviteId>, over: BTreeSet<InviteId> },
}

impl Lists {
    /// Records a command; `mirrors` are the sessions that the client is in.
    pub(super) fn asked<'a>(
        &mut self,
        life: Life,
        id: RequestId,
        request: &Request,
        mut mirrors: impl Iterator<Item = &'a Mirror>,
        book: &InviteBook,
    ) {
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
                let is_over = |invite: &&Invite| book.is_over_for(life, invite.id);
                let open = book.invites().filter(|it| it.was_told_to(life) && !is_over(it));
                let over = book.invites().filter(is_over);
                Before::Invites {
                    open: open.map(|invite| invite.id).collect(),
                    over: over.map(|invite| invite.id).collect(),
                }
            }
            _ => return,
        };
        self.before.insert((life, id), before);
    }

    /// Records an event.
    pub(super) fn event(&mut self, life: Life, event: &Event) {
        match event {
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

    /// Records the result of a command, and checks what can be checked now.
    pub(super) fn answered(
        &mut self,
        now: Timestamp,
        sender: &Sender,
        asked: &Asked,
        outcome: &Result<Value, RequestError>,
        book: &InviteBook,
        issues: &mut Issues,
    ) {
        let Sender { life, user, id } = sender;
        let life = *life;
        self.check_acts(life, asked, outcome, issues);
        let Some(before) = self.before.remove(&(life, *id)) else { return };
        let listed = match (before, outcome) {
            (Before::Info { session, known }, Ok(Value::Info(info))) => {
                self.info(life, session, known.map(|(_, next)| next), info, book)
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

    /// Checks that a client carries out nothing where it was told before that it is not.
    fn check_acts(
        &self,
        life: Life,
        asked: &Asked,
        outcome: &Result<Value, RequestError>,
        issues: &mut Issues,
    ) {
        let Some(Mine { session, member, .. }) = asked.seat.filter(|_| outcome.is_ok()) else { return };
        let seat = Seat { session, member };
        if self.not_there.get(&(life, seat)).is_some_and(|told_at| *told_at <= asked.at) {
            issues.add(format_args!("{life:?} was told that it is not at {seat:?}, where it then acted"));
        }
    }

    // spec: RES-5
    fn info(
        &mut self,
        life: Life,
        session: SessionId,
        known: Option<EventNumber>,
        info: &Info,
        book: &InviteBook,
    ) -> Result<(), String> {
        self.infos.push((life, *info));
        if info.session != session {
            return Err(format!("asked for {session}"));
        }
        if let Some(known) = known.filter(|known| info.next < *known) {
            return Err(format!("event {known} was next before"));
        }
        let invited = book.invited(session);
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
        for invite in open.difference(&ids) {
            self.unlisted.entry(*invite).or_insert(now);
        }
        Ok(())
    }

    /// Checks the answers against what has turned out. `seats` has every seat that was ever entered.
    pub(super) fn finish(
        &self,
        living: &[Living<'_>],
        seats: &BTreeMap<Seat, Life>,
        logs: &Logs,
        book: &InviteBook,
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
            let is_told = |invite: &InviteId| book.invite(*invite).is_some_and(|it| it.was_told_to(*life));
            for (_, invite) in self.listed.iter().filter(|(of, invite)| of == life && !is_told(invite)) {
                issues.add(format_args!("{life:?} was told {invite} in a list, and never of itself"));
            }
        }
        for (invite, listed_at) in &self.unlisted {
            check_unlisted(*invite, *listed_at, book, issues);
        }
        for (life, info) in &self.infos {
            check_info(*life, info, living, logs, issues);
        }
    }
}

/// Checks that an invite that was not in a list at `listed_at`, although its user knew it, was over.
fn check_unlisted(invite: InviteId, listed_at: Timestamp, book: &InviteBook, issues: &mut Issues) {
    // An invite that has ended is never open again.
    let mut later =
        book.of_session(invite.session).filter(|it| it.number() == Some(invite.number) && it.is_done());
    if later.any(|it| it.at >= listed_at) {
        issues.add(format_args!("no list has {invite} at {listed_at:?}, but it was open later"));
    }
    let has_expired = book.ends(invite).iter().any(|it| (it.why, it.source) == (End::Expired, Source::Event));
    let until = book.invite(invite).map(|invite| invite.expires().earliest);
    if has_expired && until.is_some_and(|until| listed_at < until) {
        issues.add(format_args!("no list has {invite} at {listed_at:?}, but it expired later"));
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
