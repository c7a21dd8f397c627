//! Empty sessions: each can be entered for as long as its creator has asked for, and no longer.

use std::collections::BTreeMap;

use super::answers::Asked;
use super::book::{CLOCKS_DIFFER, InviteBook};
use super::ends::Ends;
use super::intents::Intents;
use super::lives::Lives;
use super::log::Logs;
use super::{Issues, Life, Seat};
use crate::base::{EventNumber, SessionId, Timestamp};
use crate::client::core::{Event, RequestError};
use crate::wire::{ErrorCode, OnOwnerLeave, Request, Value};

/// Who has left and entered sessions, and who was told that they do not exist.
#[derive(Default)]
pub(super) struct Idle {
    /// When members were told that they have left, with the number of that event.
    left: BTreeMap<(SessionId, EventNumber), Timestamp>,
    /// The event that is next for who has entered.
    next: BTreeMap<Seat, EventNumber>,
    /// When those who have entered asked for it.
    entered: Vec<(Seat, Timestamp)>,
    /// When clients were told that a session does not exist.
    gone: Vec<(SessionId, Life, Timestamp)>,
}

/// What is known at the end of a run.
pub(super) struct Known<'a> {
    pub(super) lives: &'a Lives,
    /// Every seat that was ever entered, with its life.
    pub(super) seats: &'a BTreeMap<Seat, Life>,
    pub(super) logs: &'a Logs,
    pub(super) book: &'a InviteBook,
    pub(super) intents: &'a Intents,
    pub(super) ends: &'a Ends,
}

impl Idle {
    /// Records an event that the member at `seat` received.
    pub(super) fn event(&mut self, now: Timestamp, seat: Seat, event: &Event) {
        match event {
            Event::Entered { next, .. } => _ = self.next.insert(seat, *next),
            Event::MemberLeft { number, is_own: true, .. } => {
                self.left.insert((seat.session, *number), now);
            }
            _ => {}
        }
    }

    /// Records the answer to a command.
    pub(super) fn answered(
        &mut self,
        now: Timestamp,
        life: Life,
        asked: &Asked,
        outcome: &Result<Value, RequestError>,
    ) {
        match (&asked.request, outcome) {
            (Request::Join(_), Ok(Value::Entered(entered))) => {
                let seat = Seat { session: entered.session, member: entered.member };
                self.entered.push((seat, asked.at));
            }
            (Request::Join(join), Err(RequestError::Refused(ErrorCode::NoSuchSession))) => {
                self.gone.push((join.session(), life, now));
            }
            _ => {}
        }
    }

    /// Checks that nobody has entered a session that had been empty for too long, and that nobody was told
    /// too early that a session is gone.
    // spec: SES-5
    pub(super) fn finish(&self, known: &Known<'_>, issues: &mut Issues) {
        for (seat, asked_at) in &self.entered {
            let ended = self.emptied_before(*seat, known.logs).zip(known.book.idle_ttl(seat.session));
            if let Some((emptied, ttl)) = ended
                && emptied + ttl + CLOCKS_DIFFER < *asked_at
            {
                issues.add(format_args!(
                    "{seat:?} was entered after {asked_at:?}, but empty since {emptied:?}"
                ));
            }
        }
        for (session, life, told_at) in &self.gone {
            let lasts = known.book.lasts_until(*session).filter(|_| known.must_last(*session, *life));
            if let Some(until) = lasts.filter(|until| *told_at + CLOCKS_DIFFER < *until) {
                issues.add(format_args!(
                    "{life:?} was told at {told_at:?} that {session} is gone, which lasts until {until:?}"
                ));
            }
        }
    }

    /// Returns when its last member was told to have left the session that is empty when `seat` is entered.
    fn emptied_before(&self, seat: Seat, logs: &Logs) -> Option<Timestamp> {
        // The last two events are that member's leaving and this one's joining.
        let left = EventNumber(self.next.get(&seat)?.0.checked_sub(2)?);
        logs.state_at(seat.session, left).filter(|state| state.members == 1)?;
        self.left.get(&(seat.session, left)).copied()
    }
}

impl Known<'_> {
    /// Returns true if nothing but its idle time ends the session, as far as this client may be told.
    fn must_last(&self, session: SessionId, life: Life) -> bool {
        let settings = self.book.settings(session);
        // A session that would end with the user's older connection is reported as gone in advance (HSK-15).
        let had_older = self.seats.iter().any(|(seat, of)| {
            seat.session == session && *of != life && self.lives.user(*of) == self.lives.user(life)
        });
        let may_end = self.intents.may_end(session) || self.ends.was_closed(session);
        // Spec: SES-5: another session may take its place.
        let gives_way = self.ends.causes.limits;
        settings.is_some_and(|settings| settings.on_owner_leave == OnOwnerLeave::Transfer)
            && !(had_older || may_end || gives_way)
    }
}
