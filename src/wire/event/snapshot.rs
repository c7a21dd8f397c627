//! [`Snapshot`]: the state of a session when a new member enters it.

use crate::base::{DecodeError, EventNumber, MemberId, Reader, Revision, SessionId, UserId, Wire, Writer};
use crate::wire::property::{MAX_PROPERTIES, Property};
use crate::wire::{MaxMembers, Settings};

/// Everything a member needs to follow the events from `next` on. Spec: EVT-4.
///
/// ```text
/// session u64 | settings | you varint | owner varint | next varint
/// | count varint (1..=1,024) | members: member varint, user
/// | revision varint | count varint (0..=256) | properties
/// ```
/// Members are strictly increasing by id, properties by key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapshot {
    /// The session.
    pub session: SessionId,
    /// The session's settings.
    pub settings: Settings,
    /// The member that the snapshot is for.
    pub you: MemberId,
    /// The owner.
    pub owner: MemberId,
    /// Number of the first event that the snapshot does not contain.
    pub next: EventNumber,
    /// All members including the new one, by id, which is by age.
    pub members: Vec<SnapshotMember>,
    /// Revision of the properties.
    pub revision: Revision,
    /// All properties, by key.
    pub properties: Vec<Property>,
}

/// A member in a [`Snapshot`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SnapshotMember {
    /// Its id.
    pub member: MemberId,
    /// Its user.
    pub user: UserId,
}

impl Wire for SnapshotMember {
    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self { member: MemberId::read(reader)?, user: UserId::read(reader)? })
    }

    fn write(&self, writer: &mut Writer) {
        self.member.write(writer);
        self.user.write(writer);
    }
}

impl Snapshot {
    /// Returns the most bytes that the event of a snapshot takes: with so many members, and with so many
    /// properties whose keys and values have `property_bytes` in all.
    pub fn max_bytes(members: usize, properties: usize, property_bytes: usize) -> usize {
        const FIXED: usize = 64;
        const MEMBER: usize = 74;
        const PROPERTY: usize = 16;
        FIXED + members * MEMBER + properties * PROPERTY + property_bytes
    }
}

impl Wire for Snapshot {
    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self {
            session: SessionId::read(reader)?,
            settings: Settings::read(reader)?,
            you: MemberId::read(reader)?,
            owner: MemberId::read(reader)?,
            next: EventNumber::read(reader)?,
            members: read_members(reader)?,
            revision: Revision::read(reader)?,
            properties: read_properties(reader)?,
        })
    }

    fn write(&self, writer: &mut Writer) {
        self.session.write(writer);
        self.settings.write(writer);
        self.you.write(writer);
        self.owner.write(writer);
        self.next.write(writer);
        writer.list(&self.members);
        self.revision.write(writer);
        writer.list(&self.properties);
    }
}

fn read_members(reader: &mut Reader) -> Result<Vec<SnapshotMember>, DecodeError> {
    let members: Vec<SnapshotMember> = reader.list("members", 1, usize::from(MaxMembers::MAX.get()))?;
    if members.is_sorted_by(|a, b| a.member < b.member) {
        Ok(members)
    } else {
        Err(DecodeError::NotCanonical { what: "members" })
    }
}

fn read_properties(reader: &mut Reader) -> Result<Vec<Property>, DecodeError> {
    let properties: Vec<Property> = reader.list("properties", 0, MAX_PROPERTIES)?;
    if properties.is_sorted_by(|a, b| a.key < b.key) {
        Ok(properties)
    } else {
        Err(DecodeError::NotCanonical { what: "properties" })
    }
}
