//! Events.

use bytes::Bytes;
use rallypoint::base::{ConnectionId, EventNumber, MemberId, Revision};
use rallypoint::wire::StreamKind as On;
use rallypoint::wire::event::SnapshotMember;
use rallypoint::wire::{
    DeleteReason, Delivery, ErrorCode, LeaveReason, Property, PropertyChange, PropertyChanges, PropertyValue,
    ServerMessage, SessionEvent, Snapshot, UserEvent, WriteRule,
};
use serde_json::json;

use super::describe::{session_event_json, user_event_json};
use super::samples::{SESSION, body, invitation, invite, key, name_of, reason, settings, text, user};
use super::{Vectors, hex, unhex};

// spec-test: EVT-2, EVT-3, EVT-4, EVT-10, EVT-11, PRP-9, ERR-1, WIR-3, WIR-5
#[test]
fn events() {
    let mut vectors = Vectors::new("events");
    let session = good_session_events().into_iter().map(|(name, event)| {
        let value = session_event_json(&event);
        (name, On::Slot, ServerMessage::Session(event), value)
    });
    let user = good_user_events().into_iter().map(|(name, event)| {
        let value = user_event_json(&event);
        (name, On::Control, ServerMessage::User(event), value)
    });
    for (name, on, message, value) in session.chain(user) {
        let bytes = message.encode();
        assert_eq!(ServerMessage::decode(on, bytes.clone()).as_ref(), Ok(&message), "{name}");
        vectors.push(json!({ "name": name, "stream": name_of(on), "bytes": hex(&bytes), "value": value }));
    }
    for (name, on, bytes) in bad_events() {
        let error = ServerMessage::decode(on, bytes.clone()).expect_err(name);
        vectors.push(json!({
            "name": name, "stream": name_of(on), "bytes": hex(&bytes), "refused": error.to_string(),
        }));
    }
    vectors.settle();
}

fn good_session_events() -> Vec<(&'static str, SessionEvent)> {
    let number = EventNumber(70_000);
    let member = MemberId(2);
    let mut events = vec![
        ("snapshot", SessionEvent::Snapshot(snapshot())),
        ("snapshot of a new session", SessionEvent::Snapshot(first_snapshot())),
        ("member_joined", SessionEvent::MemberJoined { number, member, user: user("böb") }),
        ("owner_changed", SessionEvent::OwnerChanged { number, owner: member }),
        (
            "properties_changed",
            SessionEvent::PropertiesChanged { number, revision: Revision(9), member, changes: changes() },
        ),
        (
            "message",
            SessionEvent::Message { number, sender: member, body: body(Delivery::ReliableOrdered, b"hello") },
        ),
        ("receipt", SessionEvent::Receipt { number: EventNumber(1) }),
        ("refused", SessionEvent::Refused { counter: 65_535, code: ErrorCode::RateLimited }),
        ("lagging", SessionEvent::Lagging),
    ];
    for &why in LeaveReason::ALL {
        let name: &'static str = format!("member_left: {}", why.name()).leak();
        events.push((name, SessionEvent::MemberLeft { number, member, why, reason: reason("afk") }));
    }
    for &why in DeleteReason::ALL {
        let name: &'static str = format!("session_deleted: {}", why.name()).leak();
        events.push((name, SessionEvent::SessionDeleted { number, why, reason: reason("") }));
    }
    let deliveries = [
        ("sent unreliable", Delivery::Unreliable),
        ("sent sequenced", Delivery::Sequenced { key: 9 }),
        ("sent unordered", Delivery::ReliableUnordered),
        ("sent ordered", Delivery::ReliableOrdered),
        ("sent latest", Delivery::ReliableLatest { key: 65_535 }),
    ];
    for (name, delivery) in deliveries {
        events.push((name, SessionEvent::Sent { sender: member, delivery, body: body(delivery, b"psst") }));
    }
    events
}

fn snapshot() -> Snapshot {
    let member = |id, name: &str| SnapshotMember { member: MemberId(id), user: user(name) };
    let property = |name: &str, value, rule, creator| Property {
        key: key(name),
        value,
        rule,
        creator: MemberId(creator),
    };
    Snapshot {
        session: SESSION,
        settings: settings(),
        you: MemberId(70_000),
        owner: MemberId(1),
        next: EventNumber(300),
        members: vec![member(1, "anna"), member(3, "böb"), member(70_000, "x")],
        revision: Revision(12),
        properties: vec![
            property("map", text(b"dust"), WriteRule::Owner, 1),
            property("round", PropertyValue::Integer(-3), WriteRule::Any, 2),
            property("score", PropertyValue::Integer(i64::MAX), WriteRule::Creator, 3),
        ],
    }
}

fn first_snapshot() -> Snapshot {
    let members = vec![SnapshotMember { member: MemberId(1), user: user("anna") }];
    Snapshot {
        you: MemberId(1),
        next: EventNumber(2),
        members,
        revision: Revision(0),
        properties: Vec::new(),
        ..snapshot()
    }
}

fn changes() -> PropertyChanges {
    PropertyChanges::new(vec![
        PropertyChange::Created { key: key("a"), value: text(b"x"), rule: WriteRule::Any },
        PropertyChange::Set { key: key("b"), value: PropertyValue::Integer(i64::MIN) },
        PropertyChange::Deleted { key: key("c") },
    ])
    .unwrap()
}

fn good_user_events() -> Vec<(&'static str, UserEvent)> {
    vec![
        ("invited", UserEvent::Invited(invitation())),
        ("invite_revoked", UserEvent::InviteRevoked { invite: invite() }),
        ("invite_expired, to its user", UserEvent::InviteExpired { invite: invite(), user: None }),
        (
            "invite_expired, to the owner",
            UserEvent::InviteExpired { invite: invite(), user: Some(user("bob")) },
        ),
        (
            "invite_declined",
            UserEvent::InviteDeclined { invite: invite(), user: user("bob"), reason: reason("nö") },
        ),
        ("lagging, on stream 0", UserEvent::Lagging),
        ("rehomed", UserEvent::Rehomed { connection: ConnectionId(0x0123_4567) }),
    ]
}

fn bad_events() -> Vec<(&'static str, On, Bytes)> {
    let snapshot_with = |from: &str, to: &str| {
        let text = hex(&SessionEvent::Snapshot(snapshot()).encode());
        assert_eq!(text.matches(from).count(), 1, "{from} in {text}");
        unhex(&text.replace(from, to))
    };
    let too_long = [&unhex("70 02")[..], &[0; 1_025]].concat();
    let cases = [
        ("nothing", On::Slot, unhex("")),
        ("unknown kind", On::Slot, unhex("67 01")),
        ("kind 0x51", On::Slot, unhex("51")),
        ("sent of mode 5", On::Slot, unhex("75 02 78")),
        ("kind 0x7a", On::Slot, unhex("7a")),
        ("an event of stream 0 on a session's stream", On::Slot, unhex("84")),
        ("a session's event on stream 0", On::Control, unhex("79")),
        ("unknown kind on stream 0", On::Control, unhex("86")),
        ("rehomed: an id too short", On::Control, unhex("85 012345")),
        ("snapshot: members out of order", On::Slot, snapshot_with("0104616e6e61", "0404616e6e61")),
        ("snapshot: properties out of order", On::Slot, snapshot_with("036d6170", "037a6170")),
        ("snapshot: a byte too many", On::Slot, {
            let mut bytes = SessionEvent::Snapshot(snapshot()).encode().to_vec();
            bytes.push(0);
            bytes
        }),
        (
            "snapshot: write rule 0",
            On::Slot,
            snapshot_with("0464757374 01".replace(' ', "").as_str(), "046475737400"),
        ),
        ("member_joined: user without a name", On::Slot, unhex("60 01 02 00")),
        ("member_joined: user not UTF-8", On::Slot, unhex("60 01 02 02 c328")),
        ("member_joined: number 0", On::Slot, unhex("60 00 02 01 61")),
        ("member_joined: number cut", On::Slot, unhex("60 40")),
        ("member_left: reason 0", On::Slot, unhex("61 01 02 00 00")),
        ("member_left: an unknown reason", On::Slot, unhex("61 01 02 3f 00")),
        ("member_left: reason longer than 128 bytes", On::Slot, unhex("61 01 02 01 4081")),
        ("properties_changed: no change", On::Slot, unhex("63 01 01 02 00")),
        ("properties_changed: change 3", On::Slot, unhex("63 01 01 02 01 03 0161")),
        ("receipt: a byte too many", On::Slot, unhex("65 01 00")),
        ("session_deleted: reason 0", On::Slot, unhex("66 01 00 00")),
        ("sent: key cut", On::Slot, unhex("71 02 00")),
        ("sent: unreliable payload of 1,025 bytes", On::Slot, too_long),
        ("refused: code cut", On::Slot, unhex("78 00")),
        ("lagging: a byte too many", On::Slot, unhex("79 00")),
        ("invited: note cut", On::Control, unhex("80 0102030405060708 01 0007 0161 05 02 61")),
        ("invite_expired: user cut", On::Control, unhex("82 0102030405060708 01 02 61")),
        ("invite_declined: no user", On::Control, unhex("83 0102030405060708 01 00 00")),
    ];
    cases.into_iter().map(|(name, on, bytes)| (name, on, Bytes::from(bytes))).collect()
}
