//! [`Slots`]: the sessions of a connection, from the first sign of one to its end.
//!
//! A session shows itself twice, and in any order, because streams are independent: by the result of
//! `create` or `join` on stream 0, and by its own stream, which begins with the snapshot. Reliable
//! messages that overtake the snapshot are kept until it is there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::mirror::Mirror;
use super::violation::ServerViolation;
use crate::base::{MemberId, RequestId, SessionId, Slot};
use crate::wire::frame::MESSAGE_OVERHEAD_BYTES;
use crate::wire::result::Entered;
use crate::wire::{SessionEvent, Snapshot};

/// Most bytes kept of one session's messages that overtake its snapshot, counted with
/// [`MESSAGE_OVERHEAD_BYTES`] for each. A server that sends more breaks the protocol.
const MAX_HELD_BYTES: usize = 4 << 20;

/// The sessions of a connection.
#[derive(Debug, Default)]
pub(super) struct Slots {
    entries: BTreeMap<Slot, Entry>,
    ended: EndedSlots,
}

/// A slot of which the result or the stream is known, or both.
#[derive(Debug, Default)]
struct Entry {
    state: State,
    /// The result has come.
    is_answered: bool,
}

#[derive(Debug)]
enum State {
    /// The snapshot is not there yet.
    Opening(Opening),
    /// The client is a member.
    Member(Box<Membership>),
    /// The stream has ended before the result came.
    Ended { session: SessionId, member: MemberId },
}

impl Default for State {
    fn default() -> Self {
        Self::Opening(Opening::default())
    }
}

#[derive(Debug, Default)]
struct Opening {
    /// The result, to be told when the snapshot is there.
    result: Option<(RequestId, Entered)>,
    held: Vec<SessionEvent>,
    held_bytes: usize,
}

/// A session that the client is in.
#[derive(Debug)]
pub(super) struct Membership {
    /// Copied when it changes while somebody else holds it.
    pub(super) mirror: Arc<Mirror>,
    /// How many `broadcast` and `message` were sent.
    pub(super) sent: u64,
}

/// What the snapshot of a session sets free.
#[derive(Debug)]
pub(super) struct Begun {
    /// The result of the command that led here, if it came first.
    pub(super) result: Option<(RequestId, Entered)>,
    /// Messages that overtook the snapshot, in the order in which they came.
    pub(super) held: Vec<SessionEvent>,
    /// The session as the snapshot shows it.
    pub(super) mirror: Arc<Mirror>,
}

impl Slots {
    /// True when the slot was a session once: what still arrives for it has no meaning.
    pub(super) fn has_ended(&self, slot: Slot) -> bool {
        self.ended.contains(slot)
            || self.entries.get(&slot).is_some_and(|entry| matches!(entry.state, State::Ended { .. }))
    }

    /// The session at `slot`, when the client is a member.
    pub(super) fn get(&self, slot: Slot) -> Option<&Membership> {
        match &self.entries.get(&slot)?.state {
            State::Member(membership) => Some(membership),
            _ => None,
        }
    }

    /// As [`Slots::get`].
    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut Membership> {
        match &mut self.entries.get_mut(&slot)?.state {
            State::Member(membership) => Some(membership),
            _ => None,
        }
    }

    /// All sessions that the client is a member of, by slot.
    pub(super) fn mirrors(&self) -> impl Iterator<Item = &Arc<Mirror>> {
        self.entries.values().filter_map(|entry| match &entry.state {
            State::Member(membership) => Some(&membership.mirror),
            _ => None,
        })
    }

    /// Takes a snapshot. `opening` is how many create and join are open.
    pub(super) fn begin(
        &mut self,
        slot: Slot,
        snapshot: &Snapshot,
        opening: usize,
    ) -> Result<Begun, ServerViolation> {
        let entry = self.open(slot, opening)?;
        let State::Opening(before) = &mut entry.state else {
            return Err(ServerViolation::Misplaced { stream: slot.into(), event: "snapshot" });
        };
        // A result that waits stays, for whoever waits for it, when the server contradicts itself.
        let mirror = Arc::new(Mirror::new(slot, snapshot)?);
        if let Some((_, entered)) = before.result {
            check_entered(entered, mirror.session(), mirror.own())?;
        }
        let Opening { result, held, .. } = std::mem::take(before);
        entry.state = State::Member(Box::new(Membership { mirror: Arc::clone(&mirror), sent: 0 }));
        Ok(Begun { result, held, mirror })
    }

    /// Keeps a message that overtook the snapshot. `opening` as in [`Slots::begin`].
    pub(super) fn hold(
        &mut self,
        slot: Slot,
        event: SessionEvent,
        bytes: usize,
        opening: usize,
    ) -> Result<(), ServerViolation> {
        let entry = self.open(slot, opening)?;
        let State::Opening(before) = &mut entry.state else { return Ok(()) };
        before.held_bytes += bytes + MESSAGE_OVERHEAD_BYTES;
        if before.held_bytes > MAX_HELD_BYTES {
            return Err(ServerViolation::TooMuchBeforeSnapshot { slot, limit_bytes: MAX_HELD_BYTES });
        }
        before.held.push(event);
        Ok(())
    }

    /// Takes the result of create or join. True when it can be told at once; else it is kept for
    /// the snapshot.
    pub(super) fn answer(&mut self, request: RequestId, entered: Entered) -> Result<bool, ServerViolation> {
        let slot = entered.slot;
        let taken = self.entries.get(&slot).is_some_and(|entry| entry.is_answered);
        if slot == Slot(0) || taken || self.ended.contains(slot) {
            return Err(ServerViolation::UnexpectedSlot { slot });
        }
        let entry = self.entries.entry(slot).or_default();
        entry.is_answered = true;
        match &mut entry.state {
            State::Opening(before) => {
                before.result = Some((request, entered));
                return Ok(false);
            }
            State::Member(membership) => {
                check_entered(entered, membership.mirror.session(), membership.mirror.own())?;
            }
            State::Ended { session, member } => {
                check_entered(entered, *session, *member)?;
                self.entries.remove(&slot);
                self.ended.insert(slot);
            }
        }
        Ok(true)
    }

    /// Ends a membership.
    pub(super) fn end(&mut self, slot: Slot) {
        let Some(entry) = self.entries.get_mut(&slot) else { return };
        if entry.is_answered {
            self.entries.remove(&slot);
            self.ended.insert(slot);
        } else if let State::Member(membership) = &entry.state {
            let mirror = &membership.mirror;
            entry.state = State::Ended { session: mirror.session(), member: mirror.own() };
        }
    }

    /// Ends all; gives back the requests whose results were kept for snapshots.
    pub(super) fn end_all(&mut self) -> impl Iterator<Item = RequestId> + use<> {
        std::mem::take(&mut self.entries).into_values().filter_map(|entry| match entry.state {
            State::Opening(Opening { result: Some((request, _)), .. }) => Some(request),
            _ => None,
        })
    }

    /// The entry of a slot whose stream shows itself. A new one is legal only while a create or join
    /// is open that may have led to it.
    fn open(&mut self, slot: Slot, opening: usize) -> Result<&mut Entry, ServerViolation> {
        let unanswered = self.entries.values().filter(|entry| !entry.is_answered).count();
        if !self.entries.contains_key(&slot) && unanswered >= opening {
            return Err(ServerViolation::UnexpectedSlot { slot });
        }
        Ok(self.entries.entry(slot).or_default())
    }
}

fn check_entered(entered: Entered, session: SessionId, member: MemberId) -> Result<(), ServerViolation> {
    if entered.session == session && entered.member == member {
        return Ok(());
    }
    Err(ServerViolation::WrongSession { slot: entered.slot, snapshot: session })
}

/// Slots that are over. Servers number slots without gaps, so that nearly all are below a floor.
#[derive(Debug, Default)]
struct EndedSlots {
    /// This and all below are over.
    floor: u32,
    above: BTreeSet<u32>,
}

impl EndedSlots {
    fn insert(&mut self, slot: Slot) {
        self.above.insert(slot.0);
        while let Some(next) = self.floor.checked_add(1).filter(|next| self.above.remove(next)) {
            self.floor = next;
        }
    }

    fn contains(&self, slot: Slot) -> bool {
        slot.0 <= self.floor || self.above.contains(&slot.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ended_slots_are_known_and_take_no_room_when_in_order() {
        let mut ended = EndedSlots::default();
        for slot in [2, 3, 5, 1] {
            ended.insert(Slot(slot));
        }
        assert_eq!((ended.floor, ended.above.len()), (3, 1));
        let known: Vec<u32> = (1..=6).filter(|&slot| ended.contains(Slot(slot))).collect();
        assert_eq!(known, [1, 2, 3, 5]);
    }

    // spec-test: SES-3
    #[test]
    fn the_last_slot_ends_as_any_other() {
        let mut ended = EndedSlots { floor: u32::MAX - 2, ..EndedSlots::default() };
        ended.insert(Slot(u32::MAX));
        assert!(!ended.contains(Slot(u32::MAX - 1)));
        ended.insert(Slot(u32::MAX - 1));
        assert_eq!((ended.floor, ended.above.len()), (u32::MAX, 0));
    }
}
