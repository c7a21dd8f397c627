//! Commands: each is answered exactly once, and the answer matches what happened.

use std::collections::BTreeMap;

use super::intents::{Effect, Intents};
use super::{Issues, Life, Mine, Seat};
use crate::base::{MemberId, RequestId, Revision, SessionId, Timestamp};
use crate::client::core::RequestError;
use crate::wire::{Request, Value};

/// Commands and their answers.
#[derive(Default)]
pub(super) struct Answers {
    open: BTreeMap<(Life, RequestId), Asked>,
    /// The member to which each revision was reported as its own.
    revisions: BTreeMap<(SessionId, Revision), MemberId>,
}

/// A command that waits for its result.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) request: Request,
    pub(super) at: Timestamp,
    /// The client's seat in the session that the command concerns.
    pub(super) seat: Option<Mine>,
}

impl Answers {
    pub(super) fn asked(
        &mut self,
        life: Life,
        id: RequestId,
        at: Timestamp,
        seat: Option<Mine>,
        request: &Request,
        issues: &mut Issues,
    ) {
        let asked = Asked { request: request.clone(), at, seat };
        if let Some(open) = self.open.insert((life, id), asked) {
            issues.add(format_args!("{life:?} used {id:?} while it was open: {open:?}"));
        }
    }

    /// Records a result, and returns the command that it answers.
    pub(super) fn answered(
        &mut self,
        life: Life,
        id: RequestId,
        outcome: &Result<Value, RequestError>,
        issues: &mut Issues,
    ) -> Option<Asked> {
        let Some(asked) = self.open.remove(&(life, id)) else {
            issues.add(format_args!("{life:?} was answered {id:?} without asking: {outcome:?}"));
            return None;
        };
        if let (Ok(Value::Revision(revision)), Some(seat)) = (outcome, asked.seat)
            && let Some(other) = self.revisions.insert((seat.session, *revision), seat.member)
        {
            let session = seat.session;
            issues
                .add(format_args!("{} and {other} both made revision {revision} of {session}", seat.member));
        }
        Some(asked)
    }

    /// Checks that every command of a connection that has ended was answered.
    pub(super) fn ended(&mut self, life: Life, issues: &mut Issues) {
        if let Some(((_, id), asked)) = self.open.iter().find(|((of, _), _)| *of == life) {
            issues.add(format_args!("{life:?} ended without an answer to {id:?} {asked:?}"));
        }
        self.forget(life);
    }

    /// Drops a life's open commands: no client is left to receive the answers.
    pub(super) fn forget(&mut self, life: Life) {
        self.open.retain(|(of, _), _| *of != life);
    }

    /// Checks that no command is unanswered, and that the revisions reported in results agree with those seen
    /// in events. `living` has the seats of connected clients, `seats` all that were ever entered.
    pub(super) fn finish(
        &self,
        living: &BTreeMap<Seat, Life>,
        seats: &BTreeMap<Seat, Life>,
        intents: &Intents,
        seen: impl Iterator<Item = (SessionId, Revision, MemberId)>,
        issues: &mut Issues,
    ) {
        for ((life, id), asked) in &self.open {
            issues.add(format_args!("{life:?} was never answered {id:?} {asked:?}"));
        }
        // Revisions whose results were lost with their members' connections.
        let mut unreported: BTreeMap<Seat, u32> = BTreeMap::new();
        for (session, revision, member) in seen {
            let seat = Seat { session, member };
            match self.revisions.get(&(session, revision)) {
                Some(told) if *told != member => {
                    issues.add(format_args!(
                        "revision {revision} of {session}: {told} was told, {member} seen"
                    ));
                }
                None if living.contains_key(&seat) => {
                    issues.add(format_args!("{member} of {session} was not told of its revision {revision}"));
                }
                None => *unreported.entry(seat).or_default() += 1,
                Some(_) => {}
            }
        }
        for (seat, count) in unreported.iter().filter(|(seat, _)| seats.contains_key(seat)) {
            let unanswered = intents.of(&Effect::Revises(*seat));
            if *count > unanswered {
                issues.add(format_args!("{seat:?} made {count} revisions unanswered, asked {unanswered}"));
            }
        }
    }
}
