//! Changes of properties: each is what a command of its member does, as a whole and by the rules.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::answers::Asked;
use super::properties::Properties;
use super::{Issues, Life, Mine, Seat};
use crate::base::{RequestId, Revision, SessionId};
use crate::client::core::{Event, Mirror, RequestError};
use crate::wire::{PropertyChange, PropertyChanges, PropertyOps, Request, Value};

/// Commands that change properties, and the changes that members were told of.
#[derive(Default)]
pub(super) struct Changes {
    /// The commands whose outcome nobody was told.
    open: BTreeMap<Seat, BTreeMap<RequestId, PropertyOps>>,
    /// Revisions that a member was told of.
    seen: BTreeSet<(SessionId, Revision)>,
    /// A member's own changes until their result comes: what they knew before, and the changes.
    own: BTreeMap<(Seat, Revision), (Arc<Mirror>, PropertyChanges)>,
}

impl Changes {
    /// Records a command.
    pub(super) fn asked(&mut self, id: RequestId, seat: Option<Mine>, request: &Request) {
        if let (Some(mine), Request::SetProperties(ops)) = (seat, request) {
            self.open.entry(mine.seat()).or_default().insert(id, ops.clone());
        }
    }

    /// Checks what a member was told, who knew `before` and knows `after` now. `seats` has all that clients
    /// which follow the rules have entered.
    // spec: SES-13, PRP-1, PRP-9
    pub(super) fn event(
        &mut self,
        before: Arc<Mirror>,
        after: Option<&Mirror>,
        event: &Event,
        seats: &BTreeMap<Seat, Life>,
        issues: &mut Issues,
    ) {
        let Event::PropertiesChanged { revision, member, changes, .. } = event else { return };
        let mut properties = Properties::of(&before);
        let fits = changes.as_slice().iter().all(|change| properties.apply(*member, change));
        let is_next = before.revision().0.checked_add(1) == Some(revision.0);
        if !fits || !is_next || !after.is_some_and(|after| properties.are_those_of(after)) {
            issues.add(format_args!("{before:?} does not become {after:?} by {event:?}"));
        }
        let seat = Seat { session: before.session(), member: *member };
        if self.seen.insert((seat.session, *revision)) && seats.contains_key(&seat) {
            let asked = self.open.get(&seat).into_iter().flat_map(BTreeMap::values);
            if !asked.clone().any(|ops| makes(&before, seat, ops, changes.as_slice())) {
                let asked: Vec<_> = asked.collect();
                issues.add(format_args!("{event:?} of {seat:?} is no result of {asked:?} on {before:?}"));
            }
        }
        if before.own() == *member {
            self.own.insert((seat, *revision), (before, changes.clone()));
        }
    }

    /// Checks that a command that was carried out has made the changes that its sender was told of.
    // spec: PRP-8
    pub(super) fn answered(
        &mut self,
        id: RequestId,
        asked: &Asked,
        outcome: &Result<Value, RequestError>,
        issues: &mut Issues,
    ) {
        let (Some(mine), Request::SetProperties(ops)) = (asked.seat, &asked.request) else { return };
        let seat = mine.seat();
        if let Some(open) = self.open.get_mut(&seat).filter(|_| *outcome != Err(RequestError::OutcomeUnknown))
        {
            open.remove(&id);
        }
        let Ok(Value::Revision(revision)) = outcome else { return };
        let Some((before, changes)) = self.own.remove(&(seat, *revision)) else {
            return issues.add(format_args!("{seat:?} was not told what {asked:?} has changed: {revision}"));
        };
        if !makes(&before, seat, ops, changes.as_slice()) {
            issues.add(format_args!("{seat:?} was told that {asked:?} has made {changes:?} of {before:?}"));
        }
    }

    /// Returns the number of changes that were checked.
    pub(super) fn count(&self) -> u64 {
        self.seen.len() as u64
    }
}

/// Whether a command makes exactly these changes.
fn makes(before: &Mirror, seat: Seat, ops: &PropertyOps, changes: &[PropertyChange]) -> bool {
    Properties::of(before).carry_out(seat.member, ops.as_slice()).is_ok_and(|made| made == changes)
}
