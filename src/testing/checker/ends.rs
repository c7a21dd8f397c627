//! Ends of connections, memberships and sessions: each has a cause in the run.

use std::collections::{BTreeMap, BTreeSet};

use super::intents::{Effect, Intents};
use super::lives::Lives;
use super::{Issues, Life, Living, Seat};
use crate::base::{SessionId, UserId};
use crate::client::core::{Disconnected, Event};
use crate::rudp::ConnectError;
use crate::wire::{CloseCode, DeleteReason, LeaveReason, Reason, RejectCode};

/// Causes that may end a connection, besides its own client and a newer connection of the same user.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::testing) struct Causes {
    /// Clients sleep at times: they lag, and send nothing.
    pub(in crate::testing) naps: bool,
    /// More clients exist than may be connected.
    pub(in crate::testing) crowd: bool,
    /// The server has room for few sessions and commands, so anything may be refused for lack of room.
    pub(in crate::testing) limits: bool,
    /// The server shuts down.
    pub(in crate::testing) drain: bool,
    /// Datagrams are lost.
    pub(in crate::testing) loss: bool,
    /// What may be dropped may be: datagrams are lost, clients do not read, or users send more than there is
    /// room for.
    pub(in crate::testing) drops: bool,
    /// So many are lost that a client which connects may never be answered.
    pub(in crate::testing) silence: bool,
}

/// Possible causes of ends, and the ends that members were notified of.
#[derive(Default)]
pub(super) struct Ends {
    pub(super) causes: Causes,
    kicks: BTreeSet<(UserId, Reason)>,
    closed: BTreeMap<SessionId, Reason>,
    removed: BTreeSet<(SessionId, UserId, Reason)>,
    /// Lives that crashed; `left` has those that their clients closed.
    crashed: BTreeSet<Life>,
    left: BTreeSet<Life>,
    /// Lives whose clients have changed their address.
    moved: BTreeSet<Life>,
    leaves: BTreeSet<(Seat, UserId, LeaveReason, Reason)>,
    /// Sessions that their owners ended, with the reasons.
    deleted: BTreeSet<(SessionId, Reason)>,
}

impl Ends {
    pub(super) fn new(causes: Causes) -> Self {
        Self { causes, ..Self::default() }
    }

    pub(super) fn kicked(&mut self, user: &UserId, reason: &Reason) {
        self.kicks.insert((user.clone(), reason.clone()));
    }

    fn was_kicked(&self, user: &UserId) -> bool {
        self.kicks.iter().any(|(kicked, _)| kicked == user)
    }

    pub(super) fn closed(&mut self, session: SessionId, reason: &Reason) {
        // If a session is closed twice, the first close takes effect.
        self.closed.entry(session).or_insert_with(|| reason.clone());
    }

    pub(super) fn removed(&mut self, session: SessionId, user: &UserId, reason: &Reason) {
        self.removed.insert((session, user.clone(), reason.clone()));
    }

    /// Returns true if the operator has closed the session.
    pub(super) fn was_closed(&self, session: SessionId) -> bool {
        self.closed.contains_key(&session)
    }

    /// Returns true if the operator has removed the user from the session.
    pub(super) fn was_removed(&self, session: SessionId, user: &UserId) -> bool {
        self.removed.iter().any(|(from, removed, _)| (from, removed) == (&session, user))
    }

    pub(super) fn crashed(&mut self, life: Life) {
        self.crashed.insert(life);
    }

    pub(super) fn moved(&mut self, life: Life) {
        self.moved.insert(life);
    }

    pub(super) fn disconnected(
        &mut self,
        life: Life,
        lives: &Lives,
        why: &Disconnected,
        issues: &mut Issues,
    ) {
        let Some(user) = lives.user(life) else { return };
        let expected = match why {
            Disconnected::ByClient => true,
            Disconnected::ConnectFailed(ConnectError::NoAnswer) => {
                self.causes.silence || self.causes.naps || self.causes.drain
            }
            Disconnected::ConnectFailed(ConnectError::Refused(code)) => match code {
                RejectCode::Full => self.causes.crowd,
                RejectCode::Draining => self.causes.drain,
                // It began another handshake from each of its addresses, and a token permits two.
                RejectCode::TokenUsed | RejectCode::UserLimit => self.moved.contains(&life),
                _ => false,
            },
            // The server's close may be lost, or be addressed to an address that the client has left.
            Disconnected::TimedOut => {
                let may_miss_close = self.causes.loss || self.moved.contains(&life);
                let is_ended = || self.was_kicked(user) || lives.may_be_replaced(life);
                self.causes.naps || self.causes.drain || may_miss_close && is_ended()
            }
            Disconnected::ByServer { code, reason } => match code {
                CloseCode::Replaced => lives.may_be_replaced(life),
                CloseCode::Lagging => self.causes.naps,
                CloseCode::Full => self.causes.crowd,
                CloseCode::ShuttingDown => self.causes.drain,
                CloseCode::KickedByOperator => {
                    Reason::new(reason).is_ok_and(|reason| self.kicks.contains(&(user.clone(), reason)))
                }
                _ => false,
            },
            _ => false,
        };
        if *why == Disconnected::ByClient {
            self.left.insert(life);
        }
        if !expected {
            issues.add(format_args!("{life:?} was disconnected: {why}"));
        }
    }

    /// Records an event of `session` received by a member.
    pub(super) fn event(&mut self, session: SessionId, event: &Event, issues: &mut Issues) {
        let expected = match event {
            Event::SessionDeleted { why: DeleteReason::ClosedByOperator, reason, .. } => {
                self.closed.get(&session) == Some(reason)
            }
            Event::SessionDeleted { why: DeleteReason::ShuttingDown, .. } => false,
            Event::SessionDeleted { why: DeleteReason::Deleted, reason, .. } => {
                self.deleted.insert((session, reason.clone()));
                true
            }
            // Nobody has given one.
            Event::SessionDeleted { reason, .. } => reason.as_str().is_empty(),
            Event::MemberLeft { member, user, why, reason, .. } => {
                self.leaves.insert((Seat { session, member: *member }, user.clone(), *why, reason.clone()));
                true
            }
            _ => true,
        };
        if !expected {
            issues.add(format_args!("{session} was told of an end that nobody asked for: {event:?}"));
        }
    }

    /// Checks that each member left for the reason reported, and that of each user one connection is left.
    /// `seats` has the life that held each seat.
    pub(super) fn finish(
        &self,
        living: &[Living<'_>],
        lives: &Lives,
        intents: &Intents,
        seats: &BTreeMap<Seat, Life>,
        issues: &mut Issues,
    ) {
        for (seat, user, why, reason) in &self.leaves {
            // The life is unknown if it crashed before it was notified that it had entered.
            let Some(life) = seats.get(seat) else { continue };
            let expected = match why {
                LeaveReason::Left => intents.may(Effect::Leaves(*seat)) || self.left.contains(life),
                LeaveReason::Kicked => {
                    intents.may(Effect::IsKicked(*seat, reason.clone()))
                        || self.removed.contains(&(seat.session, user.clone(), reason.clone()))
                }
                // A close may be lost.
                LeaveReason::TimedOut => {
                    self.crashed.contains(life) || self.left.contains(life) || self.causes.naps
                }
                LeaveReason::Replaced => lives.may_be_replaced(*life),
                LeaveReason::Dropped => self.was_kicked(user),
                LeaveReason::Lagging => self.causes.naps,
            };
            // Only who kicks gives a reason.
            let has_reason = !reason.as_str().is_empty() && *why != LeaveReason::Kicked;
            if !expected || has_reason || lives.user(*life) != Some(user) {
                issues.add(format_args!(
                    "{seat:?} of {life:?}, {user}, is told to have left: {why} {reason:?}"
                ));
            }
        }
        let asked = |session, reason: &Reason| intents.may(Effect::Ends(session, reason.clone()));
        for (session, reason) in self.deleted.iter().filter(|(session, reason)| !asked(*session, reason)) {
            issues.add(format_args!("{session} was ended by its owner, {reason:?}, who did not ask for it"));
        }
        let mut connected = BTreeMap::new();
        for (life, user, _) in living {
            if let Some(other) = connected.insert(user, *life) {
                issues.add(format_args!("{life:?} and {other:?} of {user} are both connected"));
            }
        }
    }
}
