//! Bounds of decoded values: a value at the limit is accepted, one beyond it is refused.

use super::command::{InitialProperties, InitialProperty, Recipients};
use super::event::SnapshotMember;
use super::*;
use crate::base::{EventNumber, MemberId, Revision, SessionId, SessionKind, UserId, Wire, Writer};

/// Returns true if a list of `count` items decodes as a `T`.
fn is_read<T: Wire, U: Wire>(count: u32, item: fn(u32) -> U) -> bool {
    let mut writer = Writer::new();
    let items: Vec<U> = (0..count).map(item).collect();
    writer.list(&items);
    T::from_bytes(writer.finish()).is_ok()
}

/// Returns a key that sorts after those of all smaller numbers.
fn key(number: u32) -> PropertyKey {
    PropertyKey::new(&format!("{number:04}")).unwrap()
}

fn initial(number: u32) -> InitialProperty {
    InitialProperty { key: key(number), value: PropertyValue::Integer(0), rule: WriteRule::Any }
}

fn is_value_read(bytes: u32) -> bool {
    let mut writer = Writer::new();
    writer.u8(0);
    writer.prefixed(&vec![0; bytes as usize]);
    PropertyValue::from_bytes(writer.finish()).is_ok()
}

/// Returns true if a snapshot with `members` members and `properties` properties decodes.
fn is_snapshot_read(members: u32, properties: u32) -> bool {
    let property = |number| Property {
        key: key(number),
        value: PropertyValue::Integer(0),
        rule: WriteRule::Any,
        creator: MemberId(0),
    };
    let user = UserId::new("ann").unwrap();
    let snapshot = Snapshot {
        session: SessionId(1),
        settings: Settings {
            kind: SessionKind(1),
            max_members: MaxMembers::new(8).unwrap(),
            idle_ttl: IdleTtl::new(60).unwrap(),
            on_owner_leave: OnOwnerLeave::Transfer,
            admission: Admission::Open,
        },
        you: MemberId(0),
        owner: MemberId(0),
        next: EventNumber(2),
        members: (0..members).map(|id| SnapshotMember { member: MemberId(id), user: user.clone() }).collect(),
        revision: Revision(0),
        properties: (0..properties).map(property).collect(),
    };
    Snapshot::from_bytes(snapshot.to_bytes()).is_ok()
}

/// Name of the count, its minimum, its maximum, and a function that returns whether a count is accepted.
type Bound = (&'static str, u32, u32, fn(u32) -> bool);

// spec-test: CMD-21, CMD-11, EVT-4, PRP-4, PRP-8, PRP-9
#[test]
fn what_is_at_a_bound_is_read_and_what_is_beyond_it_is_refused() {
    let bounds: [Bound; 7] = [
        ("recipients", 1, 1_024, |count| is_read::<Recipients, _>(count, MemberId)),
        ("operations", 1, 256, |count| is_read::<PropertyOps, _>(count, |n| PropertyOp::delete(key(n)))),
        ("changes", 1, 256, |count| {
            is_read::<PropertyChanges, _>(count, |n| PropertyChange::Deleted { key: key(n) })
        }),
        ("initial properties", 0, 256, |count| is_read::<InitialProperties, _>(count, initial)),
        ("bytes of a value", 0, 65_536, is_value_read),
        ("members of a snapshot", 1, 1_024, |members| is_snapshot_read(members, 0)),
        ("properties of a snapshot", 0, 256, |properties| is_snapshot_read(1, properties)),
    ];
    for (what, least, most, is_read) in bounds {
        assert!(is_read(least) && is_read(most), "{what}");
        assert!(!is_read(most + 1), "{what}");
        assert!(least.checked_sub(1).is_none_or(|less| !is_read(less)), "{what}");
    }
}
