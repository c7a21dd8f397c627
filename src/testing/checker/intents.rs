//! What commands may have done: a command that is refused changes nothing, so it can be the cause of nothing.

use std::collections::{BTreeMap, BTreeSet};

use super::{Mine, Seat};
use crate::base::{MemberId, SessionId};
use crate::client::core::RequestError;
use crate::wire::{Reason, Request, Value};

/// An effect of a command that others can see.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Effect {
    Leaves(Seat),
    IsKicked(Seat, Reason),
    Owns(Seat),
    /// The owner ends the session.
    Ends(SessionId, Reason),
    /// A member makes a revision that nobody has told them of.
    Revises(Seat),
}

/// For each effect, the number of commands that may have had it: those that were not refused.
// spec: SES-16
#[derive(Default)]
pub(super) struct Intents {
    counts: BTreeMap<Effect, u32>,
    /// Sessions that clients which follow the rules have created.
    created: BTreeSet<SessionId>,
    /// Some users follow no rule. What they ask for in a session of their own may be known to nobody.
    has_strangers: bool,
}

impl Intents {
    /// Records a command, sent at `seat` if it is about the session there.
    pub(super) fn asked(&mut self, seat: Option<Mine>, request: &Request) {
        if let Some(effect) = effect(seat, request) {
            *self.counts.entry(effect).or_default() += 1;
        }
    }

    /// Records a command of a user who follows no rule.
    pub(super) fn strange(&mut self, seat: Mine, request: &Request) {
        self.has_strangers = true;
        self.asked(Some(seat), request);
    }

    /// Records the answer to a command.
    pub(super) fn answered(
        &mut self,
        seat: Option<Mine>,
        request: &Request,
        outcome: &Result<Value, RequestError>,
    ) {
        if let (Request::Create(_), Ok(Value::Entered(entered))) = (request, outcome) {
            self.created.insert(entered.session);
        }
        let Some(effect) = effect(seat, request) else { return };
        let is_settled = match outcome {
            Err(RequestError::Refused(_)) => true,
            // From now on the number of the revision is known.
            Ok(_) => matches!(effect, Effect::Revises(_)),
            Err(_) => false,
        };
        if is_settled && let Some(count) = self.counts.get_mut(&effect) {
            *count = count.saturating_sub(1);
        }
    }

    /// Returns the number of commands that may have had this effect.
    pub(super) fn of(&self, effect: &Effect) -> u32 {
        self.counts.get(effect).copied().unwrap_or_default()
    }

    /// Returns true if a command may have ended the session.
    pub(super) fn may_end(&self, session: SessionId) -> bool {
        let ends = |(effect, count): (&Effect, &u32)| {
            *count > 0 && matches!(effect, Effect::Ends(of, _) if *of == session)
        };
        self.is_of_strangers(session) || self.counts.iter().any(ends)
    }

    pub(super) fn has_strangers(&self) -> bool {
        self.has_strangers
    }

    /// Returns true if a user who follows no rule may have created the session.
    pub(super) fn is_of_strangers(&self, session: SessionId) -> bool {
        self.has_strangers && !self.created.contains(&session)
    }

    /// Returns true if a command may have had this effect.
    pub(super) fn may(&self, effect: Effect) -> bool {
        self.of(&effect) > 0 || self.is_of_strangers(effect.session())
    }
}

impl Effect {
    fn session(&self) -> SessionId {
        match self {
            Self::Leaves(seat) | Self::IsKicked(seat, _) | Self::Owns(seat) | Self::Revises(seat) => {
                seat.session
            }
            Self::Ends(session, _) => *session,
        }
    }
}

fn effect(seat: Option<Mine>, request: &Request) -> Option<Effect> {
    let Mine { session, member, .. } = seat?;
    let own = Seat { session, member };
    let of = |member: MemberId| Seat { session, member };
    Some(match request {
        Request::Leave => Effect::Leaves(own),
        Request::Kick(kick) => Effect::IsKicked(of(kick.member), kick.reason.clone()),
        Request::Transfer(transfer) => Effect::Owns(of(transfer.member)),
        Request::Delete(delete) => Effect::Ends(session, delete.reason.clone()),
        Request::SetProperties(_) => Effect::Revises(own),
        _ => return None,
    })
}
