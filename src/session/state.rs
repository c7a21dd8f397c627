//! [`Session`]: the state of one session, and what its commands share: checks, event numbers, mail.
//!
//! The commands are in `joining`, `leaving`, `ending`, `inviting` and `traffic`; what they do and when they
//! are refused is stated at the methods of [`SessionTable`](super::SessionTable). Each of them first checks,
//! then reserves room in the mailboxes, then changes state, numbers the event and posts it. A refused command
//! changes nothing except the rate budgets, and every event that has a number is posted. What may follow on
//! what in the life of a session is in `phase`.

use super::budget::{Among, SharedBudget};
use super::invites::Invites;
use super::key_budget::SharedKeyBudget;
use super::members::Members;
use super::phase::Phase;
use super::properties::Properties;
use super::traffic::LARGEST_BYTES;
use super::waiting::Waiting;
use super::{Change, Fanout, Load, RoomFrom, SessionLimits, WorkerPort};
use crate::base::{EventNumber, InviteId, MemberId, SessionId, Timestamp, TokenBucket, UserId, WorkerId};
use crate::wire::command::Create;
use crate::wire::result::Info;
use crate::wire::{ErrorCode, Settings};

/// The context of a command: the session's time, the limits and the port.
pub(super) struct Turn<'a> {
    /// Never earlier than in a previous turn of this stripe.
    pub(super) now: Timestamp,
    pub(super) limits: &'a SessionLimits,
    pub(super) port: &'a mut dyn WorkerPort,
}

/// What a change takes in the mailbox of each worker that it is posted to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Postage {
    pub(super) from: RoomFrom,
    /// Deliveries that the worker makes, at least one.
    pub(super) deliveries: usize,
}

/// Members that a session admits per second. The burst is its number of seats, and a third more by invite.
const ADMISSIONS_PER_SECOND: u64 = 64;

/// Event numbers reserved for leaves and ends, which are never refused: two for each member, plus a margin.
const NUMBERS_KEPT: u64 = 1 << 16;

/// One session.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: SessionId,
    pub(super) settings: Settings,
    pub(super) members: Members,
    /// The owner; the last one while the session is empty.
    pub(super) owner: MemberId,
    pub(super) owner_user: UserId,
    pub(super) invites: Invites,
    pub(super) properties: Properties,
    pub(super) commands: SharedBudget,
    pub(super) bytes: SharedBudget,
    waiting: Waiting,
    /// `None` until the first message with a key.
    pub(super) keys: Option<Box<SharedKeyBudget>>,
    pub(super) admissions: TokenBucket,
    /// Number of the next event.
    pub(super) next: EventNumber,
    pub(super) phase: Phase,
}

impl Session {
    /// Creates a session without members; [`Session::open`] then admits the creator.
    ///
    /// # Errors
    /// Those of the initial properties.
    pub(super) fn new(
        create: Create,
        creator: &UserId,
        now: Timestamp,
        limits: &SessionLimits,
    ) -> Result<Self, ErrorCode> {
        let owner = MemberId(1);
        let at_once = u64::from(create.settings.max_members.get()).max(ADMISSIONS_PER_SECOND);
        Ok(Self {
            id: SessionId(0),
            settings: create.settings,
            members: Members::new(),
            owner,
            owner_user: creator.clone(),
            invites: Invites::new(),
            properties: Properties::new(create.properties, owner, limits)?,
            commands: SharedBudget::new(TokenBucket::new(
                now,
                limits.commands_per_second,
                limits.commands_per_second,
            )),
            bytes: SharedBudget::new(TokenBucket::of_bytes(now, limits.bytes_per_second, 4 * LARGEST_BYTES)),
            waiting: Waiting::default(),
            keys: None,
            admissions: TokenBucket::new(now, ADMISSIONS_PER_SECOND, at_once + at_once / 3),
            next: EventNumber(1),
            phase: Phase::Active,
        })
    }

    /// Returns the session's settings and counts.
    pub(super) fn info(&self) -> Info {
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Info {
            session: self.id,
            settings: self.settings,
            owner: self.owner,
            members: count(self.members.len()),
            open_invites: count(self.invites.open()),
            revision: self.properties.revision(),
            next: self.next,
        }
    }

    /// Returns the next deadline of the session: that of an invite, or the end of its idle time. `None` if it
    /// has neither.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        [self.invites.next_deadline(), self.phase.idle_ends()].into_iter().flatten().min()
    }

    pub(super) fn invite_id(&self, number: u32) -> InviteId {
        InviteId { session: self.id, number }
    }

    pub(super) fn check_member(&self, member: MemberId) -> Result<(), ErrorCode> {
        self.members.get(member).map(|_| ()).ok_or(ErrorCode::NotAMember)
    }

    pub(super) fn check_owner(&self, member: MemberId) -> Result<(), ErrorCode> {
        self.check_member(member)?;
        if member == self.owner { Ok(()) } else { Err(ErrorCode::NotOwner) }
    }

    /// Checks that a number is left for an event that may be refused.
    ///
    /// # Errors
    /// `busy`.
    // spec: EVT-1
    pub(super) fn check_number(&self) -> Result<(), ErrorCode> {
        if self.next.0 <= EventNumber::MAX.0 - NUMBERS_KEPT { Ok(()) } else { Err(ErrorCode::Busy) }
    }

    /// Behaves as if all numbers below `next` were taken.
    #[cfg(test)]
    pub(super) fn start_at(&mut self, next: EventNumber) {
        self.next = next;
    }

    pub(super) fn take_number(&mut self) -> EventNumber {
        let number = self.next;
        self.next = EventNumber(number.0 + 1);
        number
    }

    /// Returns the budgets that all members share.
    pub(super) fn budgets(&mut self) -> impl Iterator<Item = &mut SharedBudget> {
        [&mut self.commands, &mut self.bytes].into_iter().chain(self.keys.as_mut().map(|keys| &mut keys.new))
    }

    /// Returns `member` as one of the members that share the budgets.
    pub(super) fn among(&self, member: MemberId) -> Among {
        Among { member, members: self.members.len() }
    }

    /// Reserves room for a change for all members at each of `workers`.
    pub(super) fn reserve(&self, workers: &[WorkerId], turn: &mut Turn<'_>) -> Result<Postage, ErrorCode> {
        self.reserve_for(self.members.len(), workers, turn)
    }

    /// Reserves room for a change for `members` members at each of `workers`.
    pub(super) fn reserve_for(
        &self,
        members: usize,
        workers: &[WorkerId],
        turn: &mut Turn<'_>,
    ) -> Result<Postage, ErrorCode> {
        let load = Load { deliveries: to_each(members, workers), waiting: self.waiting.get() };
        let reserved = turn.port.reserve(workers, load);
        reserved.map_err(|super::MailboxFull| ErrorCode::Busy)?;
        Ok(Postage { from: RoomFrom::Reservation, deliveries: load.deliveries })
    }

    /// Returns what a change for all members takes at each of `workers` when it cannot be refused.
    pub(super) fn headroom(&self, workers: &[WorkerId]) -> Postage {
        Postage { from: RoomFrom::Headroom, deliveries: to_each(self.members.len(), workers) }
    }

    /// Posts a change to each of `workers`.
    pub(super) fn post(&self, workers: &[WorkerId], change: Change, postage: Postage, turn: &mut Turn<'_>) {
        for &worker in workers {
            let (change, deliveries) = (change.clone(), self.waiting.add(postage.deliveries));
            turn.port.post(worker, Fanout { session: self.id, change, deliveries }, postage.from);
        }
    }
}

/// Returns how many of `members` members each of `workers` serves on average, at least one.
fn to_each(members: usize, workers: &[WorkerId]) -> usize {
    members.div_ceil(workers.len().max(1)).max(1)
}
