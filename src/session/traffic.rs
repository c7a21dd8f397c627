//! Traffic between members of a session: broadcasts, messages, property changes.

use super::key_budget::SharedKeyBudget;
use super::members::Workers;
use super::properties::Writer;
use super::state::{Session, Turn};
use super::{Audience, Change};
use crate::base::{MemberId, Revision};
use crate::wire::command::{Broadcast, MAX_COMMAND_BYTES, Message, Recipients};
use crate::wire::frame::MESSAGE_OVERHEAD_BYTES;
use crate::wire::property::{MAX_PROPERTIES, OP_OVERHEAD_BYTES};
use crate::wire::{Delivery, ErrorCode, PropertyOps};

/// Most bytes that a command counts as.
pub(super) const LARGEST_BYTES: u64 =
    (MAX_COMMAND_BYTES + MAX_PROPERTIES * OP_OVERHEAD_BYTES + MESSAGE_OVERHEAD_BYTES) as u64;

impl Session {
    /// Carries out [`SessionTable::broadcast`](super::SessionTable::broadcast).
    pub(super) fn broadcast(
        &mut self,
        sender: MemberId,
        broadcast: Broadcast,
        turn: &mut Turn<'_>,
    ) -> Result<(), ErrorCode> {
        self.check_member(sender)?;
        self.take_budget(sender, broadcast.body.len(), turn)?;
        if broadcast.delivery == Delivery::ReliableOrdered {
            self.check_number()?;
        }
        let workers = self.members.workers();
        self.take_key(sender, broadcast.delivery, turn)?;
        let postage = self.reserve(&workers, turn)?;
        let Broadcast { delivery, to, body, .. } = broadcast;
        let change = match delivery {
            Delivery::ReliableOrdered => Change::Message { number: self.take_number(), sender, to, body },
            _ => Change::Sent { sender, delivery, to: to.into(), body },
        };
        self.post(&workers, change, postage, turn);
        Ok(())
    }

    /// Carries out [`SessionTable::message`](super::SessionTable::message).
    pub(super) fn message(
        &mut self,
        sender: MemberId,
        message: Message,
        turn: &mut Turn<'_>,
    ) -> Result<(), ErrorCode> {
        self.check_member(sender)?;
        self.take_budget(sender, message.body.len(), turn)?;
        let workers = self.workers_of(&message.to)?;
        self.take_key(sender, message.delivery, turn)?;
        let postage = self.reserve_for(message.to.as_slice().len(), &workers, turn)?;
        let Message { delivery, to, body, .. } = message;
        let to = Audience::Members(to.into_shared());
        self.post(&workers, Change::Sent { sender, delivery, to, body }, postage, turn);
        Ok(())
    }

    /// Returns the workers that serve the recipients.
    fn workers_of(&self, recipients: &Recipients) -> Result<Workers, ErrorCode> {
        let mut workers = Workers::new();
        for &recipient in recipients.as_slice() {
            match self.members.get(recipient) {
                Some(member) if !workers.contains(&member.at.worker) => workers.push(member.at.worker),
                Some(_) => {}
                None if self.members.was_given(recipient) => {}
                None => return Err(ErrorCode::NoSuchMember),
            }
        }
        if workers.is_empty() { Err(ErrorCode::NoSuchMember) } else { Ok(workers) }
    }

    /// Carries out [`SessionTable::set_properties`](super::SessionTable::set_properties).
    pub(super) fn set_properties(
        &mut self,
        member: MemberId,
        ops: &PropertyOps,
        turn: &mut Turn<'_>,
    ) -> Result<Revision, ErrorCode> {
        self.check_member(member)?;
        self.take_budget(member, ops.counted_bytes(), turn)?;
        let is_member = |id| self.members.get(id).is_some();
        let writer = Writer { member, is_owner: member == self.owner, is_member: &is_member };
        let staged = self.properties.stage(ops, &writer, turn.limits)?;
        self.check_number()?;
        let workers = self.members.workers();
        let postage = self.reserve(&workers, turn)?;
        let (revision, changes) = self.properties.commit(staged);
        let number = self.take_number();
        let change = Change::PropertiesChanged { number, revision, member, changes };
        self.post(&workers, change, postage, turn);
        Ok(revision)
    }

    /// Charges the session's key budget if the message has a key that was not used recently.
    // spec: LIM-4
    fn take_key(&mut self, sender: MemberId, delivery: Delivery, turn: &Turn<'_>) -> Result<(), ErrorCode> {
        let Some(key) = delivery.key() else { return Ok(()) };
        let by = self.among(sender);
        let new = || Box::new(SharedKeyBudget::new(turn.now, turn.limits.new_keys_per_second));
        match self.keys.get_or_insert_with(new).take(turn.now, by, key) {
            true => Ok(()),
            false => Err(ErrorCode::RateLimited),
        }
    }

    /// Charges the session's budgets for one command of a member, before the content of the command is
    /// checked.
    // spec: LIM-3, CMD-6
    pub(super) fn take_budget(
        &mut self,
        member: MemberId,
        bytes: usize,
        turn: &Turn<'_>,
    ) -> Result<(), ErrorCode> {
        let (bytes, by) = ((bytes + MESSAGE_OVERHEAD_BYTES) as u64, self.among(member));
        if self.commands.take(turn.now, by, 1) && self.bytes.take(turn.now, by, bytes) {
            Ok(())
        } else {
            Err(ErrorCode::RateLimited)
        }
    }
}
