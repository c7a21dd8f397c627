//! Known bytes of every event, round trips and canonical form.

use super::*;
use crate::base::{
    ConnectionId, EventNumber, InviteId, MemberId, Revision, SessionId, SessionKind, UserId, Writer,
};
use crate::wire::property::Property;
use crate::wire::property::change_tests::any_changes;
use crate::wire::property::tests::any_property;
use crate::wire::settings::tests::{any_note, any_reason, any_settings};
use crate::wire::{
    Admission, Body, DeleteReason, Delivery, ErrorCode, IdleTtl, LeaveReason, MaxMembers, Note, OnOwnerLeave,
    PropertyChange, PropertyChanges, PropertyKey, PropertyValue, Reason, Settings, StreamKind, WriteRule,
};
use proptest::prelude::*;

const SESSION: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 8];

fn invite() -> InviteId {
    InviteId { session: SessionId(0x0102_0304_0506_0708), number: 9 }
}

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

fn check(event: &SessionEvent, parts: &[&[u8]]) {
    let bytes = Bytes::from(parts.concat());
    assert_eq!(event.encode(), bytes);
    assert_eq!(ServerMessage::decode(StreamKind::Slot, bytes), Ok(ServerMessage::Session(event.clone())));
}

fn check_user(event: &UserEvent, parts: &[&[u8]]) {
    let bytes = Bytes::from(parts.concat());
    assert_eq!(event.encode(), bytes);
    assert_eq!(ServerMessage::decode(StreamKind::Control, bytes), Ok(ServerMessage::User(event.clone())));
}

// spec-test: EVT-4
#[test]
fn known_bytes_of_a_snapshot() {
    let snapshot = Snapshot {
        session: invite().session,
        settings: Settings {
            kind: SessionKind(7),
            max_members: MaxMembers::new(8).unwrap(),
            idle_ttl: IdleTtl::new(60).unwrap(),
            on_owner_leave: OnOwnerLeave::Delete,
            admission: Admission::Invited,
        },
        you: MemberId(2),
        owner: MemberId(1),
        next: EventNumber(3),
        members: vec![
            SnapshotMember { member: MemberId(1), user: user("ann") },
            SnapshotMember { member: MemberId(2), user: user("bob") },
        ],
        revision: Revision(0),
        properties: vec![],
    };
    let settings = [0, 7, 8, 60, 1, 0];
    let members = b"\x02\x01\x03ann\x02\x03bob";
    check(&SessionEvent::Snapshot(snapshot), &[&[0x50], &SESSION, &settings, &[2, 1, 3], members, &[0, 0]]);
}

#[test]
fn no_snapshot_is_longer_than_its_bound() {
    let named = |number: u32| UserId::new(&format!("{number:064}")).unwrap();
    let members = (u32::MAX - 1_023..=u32::MAX)
        .map(|id| SnapshotMember { member: MemberId(id), user: named(id) })
        .collect();
    let property = |number: u32| Property {
        key: PropertyKey::new(&format!("{number:064}")).unwrap(),
        value: PropertyValue::Bytes(Bytes::from(vec![7; 128])),
        rule: WriteRule::Any,
        creator: MemberId(u32::MAX),
    };
    let snapshot = Snapshot {
        session: SessionId(u64::MAX),
        settings: Settings {
            kind: SessionKind(u16::MAX),
            max_members: MaxMembers::MAX,
            idle_ttl: IdleTtl::new(86_400).unwrap(),
            on_owner_leave: OnOwnerLeave::Delete,
            admission: Admission::Open,
        },
        you: MemberId(u32::MAX),
        owner: MemberId(u32::MAX),
        next: EventNumber::MAX,
        members,
        revision: Revision(u64::MAX >> 2),
        properties: (0..256).map(property).collect(),
    };
    let spare =
        Snapshot::max_bytes(1_024, 256, 256 * (64 + 128)) - SessionEvent::Snapshot(snapshot).encode().len();
    // The length of each value takes two bytes of four.
    assert!((512..512 + 32).contains(&spare), "{spare}");
}

// spec-test: EVT-3
#[test]
fn known_bytes_of_numbered_events() {
    let (number, member) = (EventNumber(300), MemberId(2));
    let n = [0x41, 0x2c];
    check(&SessionEvent::MemberJoined { number, member, user: user("bob") }, &[&[0x60], &n, b"\x02\x03bob"]);
    let reason = Reason::new("x").unwrap();
    check(
        &SessionEvent::MemberLeft { number, member, why: LeaveReason::Kicked, reason: reason.clone() },
        &[&[0x61], &n, &[2, 2, 1, b'x']],
    );
    check(&SessionEvent::OwnerChanged { number, owner: member }, &[&[0x62], &n, &[2]]);
    let key = PropertyKey::new("k").unwrap();
    let changes = PropertyChanges::new(vec![PropertyChange::Deleted { key }]).unwrap();
    check(
        &SessionEvent::PropertiesChanged { number, revision: Revision(4), member, changes },
        &[&[0x63], &n, &[4, 2, 1, 2, 1, b'k']],
    );
    let body = Body::new(Delivery::ReliableOrdered, Bytes::from_static(b"pay")).unwrap();
    check(&SessionEvent::Message { number, sender: member, body }, &[&[0x64], &n, &[2], b"pay"]);
    check(&SessionEvent::Receipt { number }, &[&[0x65], &n]);
    check(
        &SessionEvent::SessionDeleted { number, why: DeleteReason::OwnerLeft, reason },
        &[&[0x66], &n, &[2, 1, b'x']],
    );
}

// spec-test: EVT-10, EVT-12
#[test]
fn known_bytes_of_what_is_not_numbered() {
    let sender = MemberId(2);
    let delivery = Delivery::ReliableLatest { key: 0x0304 };
    let body = Body::new(delivery, Bytes::from_static(b"pay")).unwrap();
    check(&SessionEvent::Sent { sender, delivery, body }, &[&[0x74, 2, 3, 4], b"pay"]);
    let delivery = Delivery::Unreliable;
    let body = Body::new(delivery, Bytes::new()).unwrap();
    check(&SessionEvent::Sent { sender, delivery, body }, &[&[0x70, 2]]);
    check(&SessionEvent::Refused { counter: 0x01c8, code: ErrorCode::Busy }, &[&[0x78, 1, 200, 4]]);
    check(&SessionEvent::Lagging, &[&[0x79]]);
}

// spec-test: EVT-11, INV-5
#[test]
fn known_bytes_of_a_users_events() {
    let invitation = Invitation {
        invite: invite(),
        kind: SessionKind(7),
        owner: user("ann"),
        ttl_left_ms: 300,
        note: Note::new("hi").unwrap(),
    };
    check_user(
        &UserEvent::Invited(invitation),
        &[&[0x80], &SESSION, &[9, 0, 7], b"\x03ann", &[0x41, 0x2c, 2, b'h', b'i']],
    );
    check_user(&UserEvent::InviteRevoked { invite: invite() }, &[&[0x81], &SESSION, &[9]]);
    check_user(&UserEvent::InviteExpired { invite: invite(), user: None }, &[&[0x82], &SESSION, &[9, 0]]);
    check_user(
        &UserEvent::InviteExpired { invite: invite(), user: Some(user("bob")) },
        &[&[0x82], &SESSION, &[9], b"\x03bob"],
    );
    check_user(
        &UserEvent::InviteDeclined { invite: invite(), user: user("bob"), reason: Reason::none() },
        &[&[0x83], &SESSION, &[9], b"\x03bob", &[0]],
    );
    check_user(&UserEvent::Lagging, &[&[0x84]]);
    let connection = ConnectionId(0x0102_0304);
    check_user(&UserEvent::Rehomed { connection }, &[&[0x85], &[1, 2, 3, 4]]);
}

#[test]
fn an_event_of_the_other_stream_is_refused() {
    assert!(ServerMessage::decode(StreamKind::Control, SessionEvent::Lagging.encode()).is_err());
    assert!(ServerMessage::decode(StreamKind::Slot, UserEvent::Lagging.encode()).is_err());
    assert!(ServerMessage::decode(StreamKind::Slot, Bytes::new()).is_err());
}

#[test]
fn a_head_and_a_payload_are_an_event() {
    let body = Body::new(Delivery::ReliableOrdered, Bytes::from_static(b"pay")).unwrap();
    let event = SessionEvent::Message { number: EventNumber(4), sender: MemberId(2), body };
    let mut head = Writer::new();
    write_message_head(EventNumber(4), MemberId(2), &mut head);
    assert_eq!([head.as_slice(), b"pay"].concat(), event.encode());
}

// spec-test: EVT-4
#[test]
fn members_out_of_order_are_refused() {
    let settings = [0, 7, 8, 60, 1, 0];
    let of = |members: &[u8]| {
        SessionEvent::decode([&[0x50][..], &SESSION, &settings, &[2, 1, 3], members, &[0, 0]].concat().into())
    };
    assert!(of(b"\x02\x01\x01a\x02\x01b").is_ok());
    assert_eq!(of(b"\x02\x02\x01a\x01\x01b"), Err(DecodeError::NotCanonical { what: "members" }));
    assert_eq!(of(b"\x02\x01\x01a\x01\x01b"), Err(DecodeError::NotCanonical { what: "members" }));
}

fn any_user() -> impl Strategy<Value = UserId> {
    "[a-zé]{1,20}".prop_map(|name| UserId::new(&name).unwrap())
}

fn any_snapshot() -> impl Strategy<Value = Snapshot> {
    let members = prop::collection::btree_map(any::<u32>(), any_user(), 1..5);
    let properties = prop::collection::vec(any_property(), 0..4);
    (any_settings(), members, properties, any::<u32>()).prop_map(
        |(settings, members, mut properties, next)| {
            properties.sort_by(|a, b| a.key.cmp(&b.key));
            properties.dedup_by(|a, b| a.key == b.key);
            Snapshot {
                session: SessionId(u64::from(next) << 20),
                settings,
                you: MemberId(next),
                owner: MemberId(1),
                next: EventNumber(1 + u64::from(next)),
                members: members
                    .into_iter()
                    .map(|(member, user)| SnapshotMember { member: MemberId(member), user })
                    .collect(),
                revision: Revision(3),
                properties,
            }
        },
    )
}

fn any_session_event() -> impl Strategy<Value = SessionEvent> {
    let number = || (1..1u64 << 62).prop_map(EventNumber);
    let member = || any::<u32>().prop_map(MemberId);
    let body = || prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from);
    prop_oneof![
        any_snapshot().prop_map(SessionEvent::Snapshot),
        (number(), member(), any_user()).prop_map(|(number, member, user)| SessionEvent::MemberJoined {
            number,
            member,
            user
        }),
        (number(), member(), prop::sample::select(LeaveReason::ALL), any_reason()).prop_map(
            |(number, member, why, reason)| SessionEvent::MemberLeft { number, member, why, reason }
        ),
        (number(), member()).prop_map(|(number, owner)| SessionEvent::OwnerChanged { number, owner }),
        (number(), any::<u32>(), member(), any_changes()).prop_map(|(number, revision, member, changes)| {
            let revision = Revision(u64::from(revision));
            SessionEvent::PropertiesChanged { number, revision, member, changes }
        }),
        (number(), member(), body()).prop_map(|(number, sender, body)| {
            let body = Body::new(Delivery::ReliableOrdered, body).unwrap();
            SessionEvent::Message { number, sender, body }
        }),
        number().prop_map(|number| SessionEvent::Receipt { number }),
        (number(), prop::sample::select(DeleteReason::ALL), any_reason())
            .prop_map(|(number, why, reason)| SessionEvent::SessionDeleted { number, why, reason }),
        (member(), any::<u16>(), body()).prop_map(|(sender, key, body)| {
            let delivery = Delivery::Sequenced { key };
            SessionEvent::Sent { sender, delivery, body: Body::new(delivery, body).unwrap() }
        }),
        (any::<u16>(), prop::sample::select(ErrorCode::ALL))
            .prop_map(|(counter, code)| SessionEvent::Refused { counter, code }),
    ]
}

fn any_user_event() -> impl Strategy<Value = UserEvent> {
    let invite =
        || (any::<u64>(), any::<u32>()).prop_map(|(s, number)| InviteId { session: SessionId(s), number });
    prop_oneof![
        (invite(), any::<u16>(), any_user(), any::<u32>(), any_note()).prop_map(
            |(invite, kind, owner, ttl_left_ms, note)| {
                let kind = SessionKind(kind);
                UserEvent::Invited(Invitation { invite, kind, owner, ttl_left_ms, note })
            }
        ),
        (invite(), prop::option::of(any_user()))
            .prop_map(|(invite, user)| UserEvent::InviteExpired { invite, user }),
        (invite(), any_user(), any_reason()).prop_map(|(invite, user, reason)| UserEvent::InviteDeclined {
            invite,
            user,
            reason
        }),
    ]
}

proptest! {
    #[test]
    fn a_session_event_is_read_as_it_was_written(event in any_session_event()) {
        prop_assert_eq!(SessionEvent::decode(event.encode()), Ok(event));
    }

    #[test]
    fn a_user_event_is_read_as_it_was_written(event in any_user_event()) {
        prop_assert_eq!(UserEvent::decode(event.encode()), Ok(event));
    }

    // spec-test: WIR-3
    #[test]
    fn what_is_accepted_is_canonical(
        on in prop::sample::select(&[StreamKind::Control, StreamKind::Slot]),
        kind in prop_oneof![Just(0x40u8), Just(0x41), Just(0x50), 0x60..0x68u8, 0x70..0x7au8, 0x80..0x85u8],
        rest in prop::collection::vec(prop_oneof![4 => 0..4u8, 1 => any::<u8>()], 0..40),
    ) {
        let bytes = Bytes::from([&[kind][..], &rest].concat());
        if let Ok(message) = ServerMessage::decode(on, bytes.clone()) {
            prop_assert_eq!(message.encode(), bytes);
        }
    }

    #[test]
    fn a_changed_byte_is_refused_or_read_canonically(
        event in any_session_event(),
        at: prop::sample::Index,
        byte: u8,
    ) {
        let mut bytes = event.encode().to_vec();
        *at.get_mut(&mut bytes) = byte;
        let bytes = Bytes::from(bytes);
        if let Ok(message) = ServerMessage::decode(StreamKind::Slot, bytes.clone()) {
            prop_assert_eq!(message.encode(), bytes);
        }
    }
}
