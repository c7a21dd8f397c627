//! Ends of connections, memberships and sessions: each has a cause in the run, and each cause has its end.

use std::collections::{BTreeMap, BTreeSet};

use super::{Issues, Life, Living, Mine, Seat};
use crate::base::{SessionId, UserId};
use crate::client::core::{Disconnected, Event};
use crate::rudp::ConnectError;
use crate::wire::{CloseCode, DeleteReason, LeaveReason, Reason, RejectCode, Request};

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
}

/// Possible causes of ends, and the ends that members were notified of.
#[derive(Default)]
pub(super) struct Ends {
    pub(super) causes: Causes,
    kicks: BTreeSet<(UserId, Reason)>,
    /// Lives that were connected when their users were kicked.
    kicked: BTreeSet<Life>,
    closed: BTreeMap<SessionId, Reason>,
    removed: BTreeSet<(SessionId, UserId)>,
    /// Lives that crashed; `left` has those that their clients closed.
    crashed: BTreeSet<Life>,
    left: BTreeSet<Life>,
    /// Lives whose clients have changed their address.
    moved: BTreeSet<Life>,
    /// Seats that members asked to leave; `asked_to_kick` has those that owners asked to remove.
    asked_to_leave: BTreeSet<Seat>,
    asked_to_kick: BTreeSet<Seat>,
    leaves: BTreeSet<(Seat, UserId, LeaveReason)>,
}

impl Ends {
    pub(super) fn new(causes: Causes) -> Self {
        Self { causes, ..Self::default() }
    }

    pub(super) fn kicked(&mut self, user: &UserId, life: Option<Life>, reason: &Reason) {
        self.kicks.insert((user.clone(), reason.clone()));
        self.kicked.extend(life);
    }

    fn was_kicked(&self, user: &UserId) -> bool {
        self.kicks.iter().any(|(kicked, _)| kicked == user)
    }

    pub(super) fn closed(&mut self, session: SessionId, reason: &Reason) {
        // If a session is closed twice, the first close takes effect.
        self.closed.entry(session).or_insert_with(|| reason.clone());
    }

    pub(super) fn removed(&mut self, session: SessionId, user: &UserId) {
        self.removed.insert((session, user.clone()));
    }

    pub(super) fn crashed(&mut self, life: Life) {
        self.crashed.insert(life);
    }

    pub(super) fn moved(&mut self, life: Life) {
        self.moved.insert(life);
    }

    pub(super) fn asked(&mut self, seat: Option<Mine>, request: &Request) {
        let Some(Mine { session, member, .. }) = seat else { return };
        match request {
            Request::Leave => _ = self.asked_to_leave.insert(Seat { session, member }),
            Request::Kick(kick) => _ = self.asked_to_kick.insert(Seat { session, member: kick.member }),
            _ => {}
        }
    }

    pub(super) fn disconnected(
        &mut self,
        life: Life,
        users: &BTreeMap<Life, UserId>,
        why: &Disconnected,
        issues: &mut Issues,
    ) {
        let Some(user) = users.get(&life) else { return };
        let expected = match why {
            // All packets that it sent may have been lost.
            Disconnected::ByClient | Disconnected::ConnectFailed(ConnectError::NoAnswer) => true,
            Disconnected::ConnectFailed(ConnectError::Refused(code)) => match code {
                RejectCode::Full => self.causes.crowd,
                RejectCode::Draining => self.causes.drain,
                // It began another handshake from each of its addresses, and a token permits two.
                RejectCode::TokenUsed | RejectCode::UserLimit => self.moved.contains(&life),
                _ => false,
            },
            // The server's close may be lost, or be addressed to an address that the client has left.
            Disconnected::TimedOut => self.causes.naps || self.causes.drain || self.was_kicked(user),
            Disconnected::ByServer { code, reason } => match code {
                CloseCode::Replaced => has_later(life, user, users),
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
            Event::MemberLeft { member, user, why, .. } => {
                self.leaves.insert((Seat { session, member: *member }, user.clone(), *why));
                true
            }
            _ => true,
        };
        if !expected {
            issues.add(format_args!("{session} was told of an end that nobody asked for: {event:?}"));
        }
    }

    /// Checks that everything the operator ended has ended, and that each member left for the reason
    /// reported. `users` has all lives, `seats` the life that held each seat.
    pub(super) fn finish(
        &self,
        living: &[Living<'_>],
        users: &BTreeMap<Life, UserId>,
        seats: &BTreeMap<Seat, Life>,
        issues: &mut Issues,
    ) {
        for (seat, user, why) in &self.leaves {
            // The life is unknown if it crashed before it was notified that it had entered.
            let Some(life) = seats.get(seat) else { continue };
            let expected = match why {
                LeaveReason::Left => self.asked_to_leave.contains(seat) || self.left.contains(life),
                LeaveReason::Kicked => {
                    self.asked_to_kick.contains(seat) || self.removed.contains(&(seat.session, user.clone()))
                }
                // A close may be lost.
                LeaveReason::TimedOut => {
                    self.crashed.contains(life) || self.left.contains(life) || self.causes.naps
                }
                LeaveReason::Replaced => has_later(*life, user, users),
                LeaveReason::Dropped => self.was_kicked(user),
                LeaveReason::Lagging => self.causes.naps,
            };
            if !expected || users.get(life) != Some(user) {
                issues.add(format_args!("{seat:?} of {life:?}, {user}, is told to have left: {why}"));
            }
        }
        for (life, _, mirrors) in living {
            if self.kicked.contains(life) {
                issues.add(format_args!("{life:?} was kicked and is still there"));
            }
            for mirror in mirrors {
                if self.closed.contains_key(&mirror.session()) {
                    issues.add(format_args!("{life:?} is in {}, which was closed", mirror.session()));
                }
            }
        }
    }
}

/// Whether the user has connected again.
fn has_later(life: Life, user: &UserId, users: &BTreeMap<Life, UserId>) -> bool {
    users.iter().any(|(other, of)| *other > life && of == user)
}
