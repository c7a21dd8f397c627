//! Known bytes of every command, round trips, canonical form, and the reply to a malformed command.

use super::*;
use crate::base::{InviteId, MemberId, SessionId, SessionKind, UserId};
use crate::wire::property::tests::{any_key, any_rule, any_value};
use crate::wire::property::{PropertyOp, PropertyOps, op_tests::any_ops};
use crate::wire::settings::tests::{any_note, any_reason, any_settings};
use crate::wire::{
    Admission, Delivery, IdleTtl, InviteTtl, MaxMembers, Note, OnOwnerLeave, PropertyKey, PropertyValue,
    Reason, Settings, WriteRule,
};
use proptest::prelude::*;

use StreamKind::{Control, Slot};

const KINDS: [StreamKind; 2] = [Control, Slot];

fn session() -> SessionId {
    SessionId(0x0102_0304_0506_0708)
}

const SESSION: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 8];

fn request(request: Request) -> Command {
    Command::Request(RequestId(5), request)
}

/// Checks bytes of a command in both directions.
fn check(command: &Command, parts: &[&[u8]]) {
    let bytes = Bytes::from(parts.concat());
    assert_eq!(command.encode(), bytes);
    assert_eq!(Command::decode(command.stream_kind(), bytes.clone()).as_ref(), Ok(command));
    let other = KINDS.into_iter().find(|kind| *kind != command.stream_kind()).unwrap();
    let read = Command::decode(other, bytes).map_err(|error| error.code);
    assert_eq!(read, Err(ErrorCode::UnknownCommand), "it belongs to one kind of stream");
}

// spec-test: CMD-10 CMD-12 CMD-13
#[test]
fn known_bytes_on_the_control_stream() {
    let settings = Settings {
        kind: SessionKind(7),
        max_members: MaxMembers::new(8).unwrap(),
        idle_ttl: IdleTtl::new(60).unwrap(),
        on_owner_leave: OnOwnerLeave::Transfer,
        admission: Admission::Open,
    };
    let property = InitialProperty {
        key: PropertyKey::new("k").unwrap(),
        value: PropertyValue::Integer(1),
        rule: WriteRule::Any,
    };
    let properties = InitialProperties::new(vec![property]).unwrap();
    let create = request(Request::Create(Create { settings, properties }));
    check(&create, &[&[1, 5, 0, 7, 8, 60, 0, 1, 1, 1, b'k', 1, 0, 0, 0, 0, 0, 0, 0, 1, 2]]);

    let invite = InviteId { session: session(), number: 9 };
    check(&request(Request::Join(Join::Invite(invite))), &[&[2, 5, 0], &SESSION, &[9]]);
    check(&request(Request::Join(Join::Session(session()))), &[&[2, 5, 1], &SESSION]);
    let decline = Decline { invite, reason: Reason::new("no").unwrap() };
    check(&request(Request::Decline(decline)), &[&[3, 5], &SESSION, &[9, 2, b'n', b'o']]);
    check(&request(Request::Info(session())), &[&[4, 5], &SESSION]);
    check(&request(Request::ListMine), &[&[5, 5]]);
    check(&request(Request::ListInvites), &[&[6, 5]]);
}

// spec-test: CMD-14 CMD-15 CMD-16 CMD-17 CMD-18
#[test]
fn known_bytes_on_a_sessions_stream() {
    let users = InvitedUsers::new(vec![UserId::new("bob").unwrap(), UserId::new("al").unwrap()]).unwrap();
    let ttl = InviteTtl::new(30).unwrap();
    let invite = Invite { users, ttl, hold_seat: false, note: Note::new("hi").unwrap() };
    check(&request(Request::Invite(invite)), &[&[0x10, 5, 2], b"\x03bob\x02al", &[30, 0, 2, b'h', b'i']]);
    check(&request(Request::Revoke(Revoke { number: 9 })), &[&[0x11, 5, 9]]);
    check(&request(Request::Leave), &[&[0x12, 5]]);
    let kick = Kick { member: MemberId(2), reason: Reason::none() };
    check(&request(Request::Kick(kick)), &[&[0x13, 5, 2, 0]]);
    check(&request(Request::Transfer(Transfer { member: MemberId(2) })), &[&[0x14, 5, 2]]);
    let delete = Delete { reason: Reason::new("x").unwrap() };
    check(&request(Request::Delete(delete)), &[&[0x15, 5, 1, b'x']]);
    let ops = PropertyOps::new(vec![PropertyOp::Delete { key: PropertyKey::new("k").unwrap() }]).unwrap();
    check(&request(Request::SetProperties(ops)), &[&[0x16, 5, 1, 1, 1, b'k']]);
}

// spec-test: CMD-20 CMD-21
#[test]
fn known_bytes_of_the_hot_path() {
    let delivery = Delivery::Sequenced { key: 0x0203 };
    let body = Body::new(delivery, Bytes::from_static(b"pay")).unwrap();
    let broadcast = Command::Broadcast(Broadcast { delivery, to: To::Others, counter: 0x01c8, body });
    check(&broadcast, &[&[0x20, 0x09, 1, 200, 2, 3], b"pay"]);

    let delivery = Delivery::ReliableOrdered;
    let body = Body::new(delivery, Bytes::from_static(b"pay")).unwrap();
    let to = Recipients::new(vec![MemberId(300), MemberId(2)]).unwrap();
    let message = Command::Message(Message { delivery, counter: 0, to, body });
    check(&message, &[&[0x21, 0x03, 0, 0, 2, 2, 0x41, 0x2c], b"pay"]);
}

fn refusal(on: StreamKind, bytes: &[u8]) -> (Reply, ErrorCode) {
    let error = Command::decode(on, Bytes::copy_from_slice(bytes)).unwrap_err();
    (error.reply, error.code)
}

// spec-test: CMD-3
#[test]
fn an_unknown_command_is_answered_by_its_request_id() {
    let reply = Reply::Request(RequestId(7));
    for on in KINDS {
        assert_eq!(refusal(on, &[0x3f, 7, 1, 2, 3]), (reply, ErrorCode::UnknownCommand));
    }
    assert_eq!(refusal(Control, &[0x3f]), (Reply::Nobody, ErrorCode::Malformed));
    assert_eq!(refusal(Slot, &[]), (Reply::Nobody, ErrorCode::Malformed));
}

// spec-test: CMD-3
#[test]
fn a_malformed_request_is_answered_by_its_request_id() {
    let reply = Reply::Request(RequestId(7));
    assert_eq!(refusal(Slot, &[0x12, 7, 0]), (reply, ErrorCode::Malformed), "trailing byte");
    assert_eq!(refusal(Slot, &[0x14, 7]), (reply, ErrorCode::Malformed), "no member");
    assert_eq!(refusal(Control, &[0x02, 7, 9]), (reply, ErrorCode::Malformed), "no such way to join");
    assert_eq!(refusal(Slot, &[0x10, 7, 0, 30, 0, 0]), (reply, ErrorCode::Malformed), "nobody invited");
    let twice = [&[0x10, 7, 2][..], b"\x01a\x01a", &[30, 0, 0]].concat();
    assert_eq!(refusal(Slot, &twice), (reply, ErrorCode::Malformed), "a user twice");
}

// spec-test: CMD-3
#[test]
fn a_broken_hot_path_command_is_answered_by_its_counter() {
    let reply = Reply::Counter(0x0109);
    assert_eq!(refusal(Slot, &[0x20, 0x05, 1, 9]), (reply, ErrorCode::Malformed), "no such delivery");
    assert_eq!(refusal(Slot, &[0x20, 0x13, 1, 9]), (reply, ErrorCode::Malformed), "reserved bit");
    assert_eq!(refusal(Slot, &[0x21, 0x0b, 1, 9, 1, 1]), (reply, ErrorCode::Malformed), "not for messages");
    assert_eq!(refusal(Slot, &[0x21, 0x03, 1, 9, 2, 4, 4]), (reply, ErrorCode::Malformed), "a member twice");
    assert_eq!(refusal(Slot, &[0x20, 0x03, 1]), (Reply::Nobody, ErrorCode::Malformed));
}

// spec-test: MSG-2
#[test]
fn too_large_a_payload_has_its_own_name() {
    let of = |flags: u8, bytes: usize| [&[0x20, flags, 0, 9][..], &vec![0; bytes]].concat();
    let too_large = (Reply::Counter(9), ErrorCode::PayloadTooLarge);
    assert_eq!(refusal(Slot, &of(3, 65_537)), too_large);
    assert_eq!(refusal(Slot, &of(0, 1_025)), too_large);
    assert!(Command::decode(Slot, of(3, 65_536).into()).is_ok());
}

// spec-test: PRP-2
#[test]
fn too_large_properties_have_their_own_names() {
    let mut writer = Writer::new();
    writer.slice(&[0x16, 7, 1, 0, 1, b'k', 0]);
    writer.prefixed(&vec![0; 65_537]);
    let reply = Reply::Request(RequestId(7));
    assert_eq!(refusal(Slot, writer.as_slice()), (reply, ErrorCode::PropertiesTooLarge));
    let many = [1, 7, 0, 7, 8, 60, 0, 1, 0x41, 1];
    assert_eq!(refusal(Control, &many), (reply, ErrorCode::TooManyProperties));
}

#[test]
fn what_a_list_may_not_hold_cannot_be_made() {
    let user = |n: usize| UserId::new(&format!("u{n}")).unwrap();
    assert!(InvitedUsers::new((0..64).map(user).collect()).is_ok());
    assert!(InvitedUsers::new((0..65).map(user).collect()).is_err());
    assert!(InvitedUsers::new(vec![user(1), user(1)]).is_err());
    assert!(Recipients::new(vec![]).is_err());
    assert!(Recipients::new((0..1_024).map(MemberId).collect()).is_ok());
    assert!(Recipients::new((0..1_025).map(MemberId).collect()).is_err());
    assert!(Recipients::new(vec![MemberId(1), MemberId(1)]).is_err());
}

fn any_delivery() -> impl Strategy<Value = Delivery> {
    prop_oneof![
        Just(Delivery::Unreliable),
        any::<u16>().prop_map(|key| Delivery::Sequenced { key }),
        Just(Delivery::ReliableUnordered),
        Just(Delivery::ReliableOrdered),
        any::<u16>().prop_map(|key| Delivery::ReliableLatest { key }),
    ]
}

fn any_body() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

fn any_create() -> impl Strategy<Value = Create> {
    let property = (any_key(), any_value(), any_rule()).prop_map(|(key, value, rule)| InitialProperty {
        key,
        value,
        rule,
    });
    (any_settings(), prop::collection::vec(property, 0..4)).prop_map(|(settings, mut properties)| {
        properties.sort_by(|a, b| a.key.cmp(&b.key));
        properties.dedup_by(|a, b| a.key == b.key);
        Create { settings, properties: InitialProperties::new(properties).unwrap() }
    })
}

fn any_invite() -> impl Strategy<Value = Invite> {
    let users = prop::collection::btree_set("[a-z]{1,12}", 1..5);
    (users, 1..=86_400u32, any::<bool>(), any_note()).prop_map(|(users, ttl, hold_seat, note)| Invite {
        users: InvitedUsers::new(users.iter().map(|user| UserId::new(user).unwrap()).collect()).unwrap(),
        ttl: InviteTtl::new(ttl).unwrap(),
        hold_seat,
        note,
    })
}

fn any_request() -> impl Strategy<Value = Request> {
    let invite =
        || (any::<u64>(), any::<u32>()).prop_map(|(s, number)| InviteId { session: SessionId(s), number });
    let member = || any::<u32>().prop_map(MemberId);
    prop_oneof![
        any_create().prop_map(Request::Create),
        invite().prop_map(|invite| Request::Join(Join::Invite(invite))),
        any::<u64>().prop_map(|session| Request::Join(Join::Session(SessionId(session)))),
        (invite(), any_reason()).prop_map(|(invite, reason)| Request::Decline(Decline { invite, reason })),
        any::<u64>().prop_map(|session| Request::Info(SessionId(session))),
        Just(Request::ListMine),
        Just(Request::ListInvites),
        any_invite().prop_map(Request::Invite),
        any::<u32>().prop_map(|number| Request::Revoke(Revoke { number })),
        Just(Request::Leave),
        (member(), any_reason()).prop_map(|(member, reason)| Request::Kick(Kick { member, reason })),
        member().prop_map(|member| Request::Transfer(Transfer { member })),
        any_reason().prop_map(|reason| Request::Delete(Delete { reason })),
        any_ops().prop_map(Request::SetProperties),
    ]
}

fn any_command() -> impl Strategy<Value = Command> {
    let recipients = prop::collection::btree_set(any::<u32>(), 1..6);
    prop_oneof![
        4 => (any::<u32>(), any_request()).prop_map(|(id, request)| Command::Request(RequestId(id), request)),
        1 => (any_delivery(), any::<bool>(), any::<u16>(), any_body()).prop_map(
            |(delivery, others, counter, body)| Command::Broadcast(Broadcast {
                delivery,
                to: if others { To::Others } else { To::All },
                counter,
                body: Body::new(delivery, body).unwrap(),
            })
        ),
        1 => (any_delivery(), recipients, any::<u16>(), any_body()).prop_map(
            |(delivery, to, counter, body)| Command::Message(Message {
                delivery,
                counter,
                to: Recipients::new(to.into_iter().map(MemberId).collect()).unwrap(),
                body: Body::new(delivery, body).unwrap(),
            })
        ),
    ]
}

proptest! {
    #[test]
    fn a_command_is_read_as_it_was_written(command in any_command()) {
        prop_assert_eq!(Command::decode(command.stream_kind(), command.encode()), Ok(command));
    }

    #[test]
    fn what_is_accepted_is_canonical(
        on in prop::sample::select(&KINDS),
        kind in prop_oneof![0..0x18u8, 0x20..0x22u8],
        rest in prop::collection::vec(prop_oneof![4 => 0..4u8, 1 => any::<u8>()], 0..40),
    ) {
        let bytes = Bytes::from([&[kind][..], &rest].concat());
        if let Ok(command) = Command::decode(on, bytes.clone()) {
            prop_assert_eq!(command.encode(), bytes);
        }
    }

    #[test]
    fn a_changed_byte_is_refused_or_read_canonically(
        command in any_command(),
        at: prop::sample::Index,
        byte: u8,
    ) {
        let mut bytes = command.encode().to_vec();
        *at.get_mut(&mut bytes) = byte;
        let bytes = Bytes::from(bytes);
        if let Ok(command) = Command::decode(command.stream_kind(), bytes.clone()) {
            prop_assert_eq!(command.encode(), bytes);
        }
    }
}
