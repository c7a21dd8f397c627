//! [`Slots`]: the sessions of a connection, from the first message about one to its end.
//!
//! A session appears twice, in either order because streams are independent: in the result of `create` or
//! `join` on stream 0, and on its own stream, which begins with the snapshot. Reliable messages that overtake
//! the snapshot are held until it arrives.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::mirror::Mirror;
use super::violation::ServerViolation;
use crate::base::{MemberId, RequestId, SessionId, Slot};
use crate::wire::frame::MESSAGE_OVERHEAD_BYTES;
use crate::wire::result::Entered;
use crate::wire::{SessionEvent, Snapshot};

/// Maximum bytes held of one session's messages that overtake its snapshot, counted with
/// [`MESSAGE_OVERHEAD_BYTES`] for each. A server that sends more violates the protocol.
const MAX_HELD_BYTES: usize = 4 << 20;

/// The sessions of a connection.
#[derive(Debug, Default)]
pub(super) struct Slots {
    entries: BTreeMap<Slot, Entry>,
    ended: EndedSlots,
}

/// A slot whose result or stream, or both, are known.
#[derive(Debug)]
enum Entry {
    /// The snapshot has not arrived yet.
    Opening(Opening),
    /// The client is a member. `is_answered` is true once the result has arrived.
    Member { membership: Box<Membership>, is_answered: bool },
    /// The stream ended before the result arrived.
    Ended { session: SessionId, member: MemberId },
}

impl Default for Entry {
    fn default() -> Self {
        Self::Opening(Opening::default())
    }
}

impl Entry {
    /// Returns true once the result has arrived.
    fn is_answered(&self) -> bool {
        match self {
            Self::Opening(opening) => opening.result.is_some(),
            Self::Member { is_answered, .. } => *is_answered,
            Self::Ended { .. } => false,
        }
    }
}

#[derive(Debug, Default)]
struct Opening {
    /// The result, reported once the snapshot has arrived.
    result: Option<(RequestId, Entered)>,
    held: Vec<SessionEvent>,
    held_bytes: usize,
}

/// A session that the client is in.
#[derive(Debug)]
pub(super) struct Membership {
    /// Cloned when it changes while someone else holds it.
    pub(super) mirror: Arc<Mirror>,
    /// Number of `broadcast` and `message` commands sent.
    pub(super) sent: u64,
}

/// What the arrival of a session's snapshot releases.
#[derive(Debug)]
pub(super) struct Begun {
    /// The result of the command that opened the session, if it arrived first.
    pub(super) result: Option<(RequestId, Entered)>,
    /// Messages that overtook the snapshot, in order of arrival.
    pub(super) held: Vec<SessionEvent>,
    /// The session as the snapshot describes it.
    pub(super) mirror: Arc<Mirror>,
}

impl Slots {
    /// Returns true if the slot's session has ended: what still arrives for it is meaningless.
    pub(super) fn has_ended(&self, slot: Slot) -> bool {
        self.ended.contains(slot)
            || self.entries.get(&slot).is_some_and(|entry| matches!(entry, Entry::Ended { .. }))
    }

    /// Returns the session at `slot` if the client is a member.
    pub(super) fn get(&self, slot: Slot) -> Option<&Membership> {
        match self.entries.get(&slot)? {
            Entry::Member { membership, .. } => Some(membership),
            _ => None,
        }
    }

    /// Like [`Slots::get`], but mutable.
    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut Membership> {
        match self.entries.get_mut(&slot)? {
            Entry::Member { membership, .. } => Some(membership),
            _ => None,
        }
    }

    /// Returns the mirrors of all sessions that the client is a member of, by slot.
    pub(super) fn mirrors(&self) -> impl Iterator<Item = &Arc<Mirror>> {
        self.entries.values().filter_map(|entry| match entry {
            Entry::Member { membership, .. } => Some(&membership.mirror),
            _ => None,
        })
    }

    /// Handles a snapshot. `opening` is the number of open create and join commands.
    pub(super) fn begin(
        &mut self,
        slot: Slot,
        snapshot: &Snapshot,
        opening: usize,
    ) -> Result<Begun, ServerViolation> {
        let entry = self.open(slot, opening)?;
        let Entry::Opening(before) = entry else {
            return Err(ServerViolation::Misplaced { stream: slot.into(), event: "snapshot" });
        };
        // If the server contradicts itself, a held result stays, for the caller that waits for it.
        let mirror = Arc::new(Mirror::new(slot, snapshot)?);
        if let Some((_, entered)) = before.result {
            check_entered(entered, mirror.session(), mirror.own())?;
        }
        let Opening { result, held, .. } = std::mem::take(before);
        let membership = Box::new(Membership { mirror: Arc::clone(&mirror), sent: 0 });
        *entry = Entry::Member { membership, is_answered: result.is_some() };
        Ok(Begun { result, held, mirror })
    }

    /// Holds a message that overtook the snapshot. `opening` as in [`Slots::begin`].
    pub(super) fn hold(
        &mut self,
        slot: Slot,
        event: SessionEvent,
        bytes: usize,
        opening: usize,
    ) -> Result<(), ServerViolation> {
        let entry = self.open(slot, opening)?;
        let Entry::Opening(before) = entry else { return Ok(()) };
        before.held_bytes += bytes + MESSAGE_OVERHEAD_BYTES;
        if before.held_bytes > MAX_HELD_BYTES {
            return Err(ServerViolation::TooMuchBeforeSnapshot { slot, limit_bytes: MAX_HELD_BYTES });
        }
        before.held.push(event);
        Ok(())
    }

    /// Handles the result of a create or join. Returns true if it can be reported at once; otherwise it is
    /// held until the snapshot arrives.
    pub(super) fn answer(&mut self, request: RequestId, entered: Entered) -> Result<bool, ServerViolation> {
        let slot = entered.slot;
        let taken = self.entries.get(&slot).is_some_and(Entry::is_answered);
        if slot == Slot(0) || taken || self.ended.contains(slot) {
            return Err(ServerViolation::UnexpectedSlot { slot });
        }
        match self.entries.entry(slot).or_default() {
            Entry::Opening(before) => {
                before.result = Some((request, entered));
                return Ok(false);
            }
            Entry::Member { membership, is_answered } => {
                check_entered(entered, membership.mirror.session(), membership.mirror.own())?;
                *is_answered = true;
            }
            Entry::Ended { session, member } => {
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
        if entry.is_answered() {
            self.entries.remove(&slot);
            self.ended.insert(slot);
        } else if let Entry::Member { membership, .. } = entry {
            let mirror = &membership.mirror;
            *entry = Entry::Ended { session: mirror.session(), member: mirror.own() };
        }
    }

    /// Ends all sessions; returns the requests whose results were held for snapshots.
    pub(super) fn end_all(&mut self) -> impl Iterator<Item = RequestId> + use<> {
        std::mem::take(&mut self.entries).into_values().filter_map(|entry| match entry {
            Entry::Opening(Opening { result: Some((request, _)), .. }) => Some(request),
            _ => None,
        })
    }

    /// Returns the entry of a slot whose stream has appeared. A new entry is legal only while a create or
    /// join is open that may have led to it.
    fn open(&mut self, slot: Slot, opening: usize) -> Result<&mut Entry, ServerViolation> {
        let unanswered = self.entries.values().filter(|entry| !entry.is_answered()).count();
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

/// Ended slots, as runs of consecutive numbers: first and last. Servers number slots without gaps, so there
/// are hardly more runs than sessions that go on.
#[derive(Debug)]
struct EndedSlots(BTreeMap<u32, u32>);

impl Default for EndedSlots {
    /// Slot 0 is no session's.
    fn default() -> Self {
        Self([(0, 0)].into())
    }
}

impl EndedSlots {
    fn insert(&mut self, Slot(slot): Slot) {
        if self.contains(Slot(slot)) {
            return;
        }
        let joined = self.run_of(slot.saturating_sub(1));
        let first = joined.map_or(slot, |(first, _)| first);
        let last = slot.checked_add(1).and_then(|next| self.0.remove(&next)).unwrap_or(slot);
        self.0.insert(first, last);
    }

    fn contains(&self, slot: Slot) -> bool {
        self.run_of(slot.0).is_some()
    }

    fn run_of(&self, slot: u32) -> Option<(u32, u32)> {
        let (first, last) = self.0.range(..=slot).next_back()?;
        (*last >= slot).then_some((*first, *last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ended_slots_are_known_and_take_little_room() {
        let mut ended = EndedSlots::default();
        for slot in [2, 3, 5, 1, 2] {
            ended.insert(Slot(slot));
        }
        assert_eq!(ended.0, [(0, 3), (5, 5)].into());
        let known: Vec<u32> = (0..=6).filter(|&slot| ended.contains(Slot(slot))).collect();
        assert_eq!(known, [0, 1, 2, 3, 5]);
        // Slot 4 goes on.
        (6..1_000).for_each(|slot| ended.insert(Slot(slot)));
        assert_eq!(ended.0, [(0, 3), (5, 999)].into());
        ended.insert(Slot(4));
        assert_eq!(ended.0, [(0, 999)].into());
    }

    // spec-test: SES-3
    #[test]
    fn the_last_slot_ends_as_any_other() {
        let mut ended = EndedSlots::default();
        ended.insert(Slot(u32::MAX));
        assert!(ended.contains(Slot(u32::MAX)) && !ended.contains(Slot(u32::MAX - 1)));
        ended.insert(Slot(u32::MAX - 1));
        assert_eq!(ended.0, [(0, 0), (u32::MAX - 1, u32::MAX)].into());
    }
}
