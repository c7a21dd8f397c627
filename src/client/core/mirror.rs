//! [`Mirror`]: what a client knows about a session that it is in.
//!
//! Begins with the snapshot and follows the numbered events, each of which is checked against the known
//! state: a number that is not the next one, a second join of a member, or a change of a property that does
//! not exist is an error of the server, not of the network.

use std::collections::BTreeMap;

use super::event::Event;
use super::violation::ServerViolation;
use crate::base::{EventNumber, MemberId, Revision, SessionId, Slot, UserId};
use crate::wire::event::SnapshotMember;
use crate::wire::{Property, PropertyChange, PropertyKey, PropertyValue, Settings, Snapshot};

/// The state of a session that results from its events. Spec: EVT-2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    slot: Slot,
    session: SessionId,
    settings: Settings,
    own: MemberId,
    owner: MemberId,
    members: BTreeMap<MemberId, UserId>,
    properties: BTreeMap<PropertyKey, Property>,
    revision: Revision,
    next: EventNumber,
}

const MEMBER_LEFT: &str = "member_left";

impl Mirror {
    /// Creates the mirror of a session from its snapshot.
    ///
    /// # Errors
    /// [`ServerViolation::WrongMember`] if the snapshot lacks the client itself or the owner.
    pub fn new(slot: Slot, snapshot: &Snapshot) -> Result<Self, ServerViolation> {
        let member = |member: &SnapshotMember| (member.member, member.user.clone());
        let property = |property: &Property| (property.key.clone(), property.clone());
        let mirror = Self {
            slot,
            session: snapshot.session,
            settings: snapshot.settings,
            own: snapshot.you,
            owner: snapshot.owner,
            members: snapshot.members.iter().map(member).collect(),
            properties: snapshot.properties.iter().map(property).collect(),
            revision: snapshot.revision,
            next: snapshot.next,
        };
        for member in [mirror.own, mirror.owner] {
            mirror.require(member, "snapshot")?;
        }
        Ok(mirror)
    }

    /// Returns the connection's handle for the session.
    pub fn slot(&self) -> Slot {
        self.slot
    }

    /// Returns the session's id.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// Returns the settings of the session's creation.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Returns the client's own member id.
    pub fn own(&self) -> MemberId {
        self.own
    }

    /// Returns the owner. Between the [`Event::MemberLeft`] of an owner and the event that follows it, this
    /// is the member that has left.
    pub fn owner(&self) -> MemberId {
        self.owner
    }

    /// Returns true if the client owns the session.
    pub fn is_owner(&self) -> bool {
        self.own == self.owner
    }

    /// Returns the members, oldest first.
    pub fn members(&self) -> impl ExactSizeIterator<Item = (MemberId, &UserId)> {
        self.members.iter().map(|(&id, user)| (id, user))
    }

    /// Returns the user of a member.
    pub fn user(&self, member: MemberId) -> Option<&UserId> {
        self.members.get(&member)
    }

    /// Returns the properties, by key.
    pub fn properties(&self) -> impl ExactSizeIterator<Item = &Property> {
        self.properties.values()
    }

    /// Returns the value of a property.
    pub fn property(&self, key: &str) -> Option<&PropertyValue> {
        self.properties.get(key).map(|property| &property.value)
    }

    /// Returns how often the properties were changed.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Returns the number of the next numbered event.
    pub fn next(&self) -> EventNumber {
        self.next
    }

    /// Applies an event, for an app that updates its own mirror event by event, starting from
    /// [`Event::Entered`]. The client's own mirror, `Client::session`, may be ahead of the events that still
    /// wait. Events of other sessions, and those that change none, are ignored.
    ///
    /// # Errors
    /// [`ServerViolation`] if the event contradicts the known state; with the events reported by a client,
    /// this means that one was left out. The mirror is then unusable.
    // spec: EVT-1
    pub fn apply(&mut self, event: &Event) -> Result<(), ServerViolation> {
        if event.slot() != Some(self.slot) {
            return Ok(());
        }
        if let Some(number) = event.number() {
            self.advance(number)?;
        }
        match event {
            Event::MemberJoined { member, user, .. } => {
                let was_there = self.members.insert(*member, user.clone()).is_some();
                return if was_there { Err(self.wrong(*member, "member_joined")) } else { Ok(()) };
            }
            Event::MemberLeft { member, .. } => {
                let was_there = self.members.remove(member).is_some();
                return if was_there { Ok(()) } else { Err(self.wrong(*member, MEMBER_LEFT)) };
            }
            Event::OwnerChanged { owner, .. } => {
                self.require(*owner, "owner_changed")?;
                self.owner = *owner;
            }
            Event::PropertiesChanged { revision, member, changes, .. } => {
                self.revise(*revision)?;
                changes.as_slice().iter().try_for_each(|change| self.change(*member, change))?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Returns the user of a member that has left, and whether it is the client itself.
    pub(super) fn leaver(&self, member: MemberId) -> Result<(UserId, bool), ServerViolation> {
        let user = self.user(member).cloned().ok_or_else(|| self.wrong(member, MEMBER_LEFT))?;
        Ok((user, member == self.own))
    }

    fn advance(&mut self, number: EventNumber) -> Result<(), ServerViolation> {
        if number != self.next {
            return Err(ServerViolation::EventGap { slot: self.slot, expected: self.next, got: number });
        }
        self.next = EventNumber(number.0.saturating_add(1));
        Ok(())
    }

    fn revise(&mut self, revision: Revision) -> Result<(), ServerViolation> {
        let expected = Revision(self.revision.0.saturating_add(1));
        if revision != expected {
            return Err(ServerViolation::RevisionGap { slot: self.slot, expected, got: revision });
        }
        self.revision = revision;
        Ok(())
    }

    fn change(&mut self, creator: MemberId, change: &PropertyChange) -> Result<(), ServerViolation> {
        let (key, legal) = match change {
            PropertyChange::Created { key, value, rule } => {
                let created = Property { key: key.clone(), value: value.clone(), rule: *rule, creator };
                (key, self.properties.insert(key.clone(), created).is_none())
            }
            PropertyChange::Set { key, value } => {
                let property = self.properties.get_mut(key);
                (key, property.map(|property| property.value = value.clone()).is_some())
            }
            PropertyChange::Deleted { key } => (key, self.properties.remove(key).is_some()),
        };
        if legal {
            return Ok(());
        }
        Err(ServerViolation::WrongProperty { slot: self.slot, key: key.as_str().into() })
    }

    fn require(&self, member: MemberId, event: &'static str) -> Result<(), ServerViolation> {
        if self.members.contains_key(&member) { Ok(()) } else { Err(self.wrong(member, event)) }
    }

    fn wrong(&self, member: MemberId, event: &'static str) -> ServerViolation {
        ServerViolation::WrongMember { slot: self.slot, event, member }
    }
}
