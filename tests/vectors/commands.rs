//! Commands.

use bytes::Bytes;
use rallypoint::base::{MemberId, RequestId};
use rallypoint::wire::StreamKind as On;
use rallypoint::wire::command::{
    Broadcast, Create, Decline, Delete, InitialProperties, InitialProperty, Invite, InvitedUsers, Join, Kick,
    Message, Recipients, Reply, Revoke, To, Transfer,
};
use rallypoint::wire::{
    Command, Delivery, InviteTtl, Note, PropertyOp, PropertyOps, PropertyValue, Request, WriteRule,
};
use serde_json::json;

use super::describe::command_json;
use super::samples::{SESSION, body, invite, key, largest_settings, name_of, reason, settings, text, user};
use super::{Vectors, hex, unhex};

// spec-test: CMD-1, CMD-2, CMD-3, CMD-11, CMD-14, CMD-20, CMD-21, MSG-2, PRP-8, SES-8, WIR-3
#[test]
fn commands() {
    let mut vectors = Vectors::new("commands");
    for (name, command) in good_commands() {
        let on = command.stream_kind();
        let bytes = command.encode();
        assert_eq!(Command::decode(on, bytes.clone()).as_ref(), Ok(&command), "{name}");
        vectors.push(json!({
            "name": name, "stream": name_of(on), "bytes": hex(&bytes), "value": command_json(&command),
        }));
    }
    for (name, on, bytes) in bad_commands() {
        let error = Command::decode(on, bytes.clone()).expect_err(name);
        let reply = match error.reply {
            Reply::Request(id) => json!({ "request": id.0, "code": error.code.name() }),
            Reply::Counter(counter) => json!({ "counter": counter, "code": error.code.name() }),
            Reply::Nobody => json!("close"),
        };
        vectors.push(json!({
            "name": name, "stream": name_of(on), "bytes": hex(&bytes),
            "refused": error.cause.to_string(), "reply": reply,
        }));
    }
    vectors.settle();
}

fn good_commands() -> Vec<(&'static str, Command)> {
    let request = |request| Command::Request(RequestId(5), request);
    let properties = vec![
        InitialProperty { key: key("map"), value: text(b"dust"), rule: WriteRule::Owner },
        InitialProperty { key: key("round"), value: PropertyValue::Integer(-1), rule: WriteRule::Any },
    ];
    let invite_command = |users: &[&str], ttl, note: &str, hold_seat| {
        let users = InvitedUsers::new(users.iter().map(|id| user(id)).collect()).unwrap();
        let ttl = InviteTtl::new(ttl).unwrap();
        request(Request::Invite(Invite { users, ttl, hold_seat, note: Note::new(note).unwrap() }))
    };
    let mut commands = vec![
        (
            "create without properties",
            request(Request::Create(Create {
                settings: settings(),
                properties: InitialProperties::default(),
            })),
        ),
        (
            "create with properties",
            request(Request::Create(Create {
                settings: largest_settings(),
                properties: InitialProperties::new(properties).unwrap(),
            })),
        ),
        ("join by invite", request(Request::Join(Join::Invite(invite())))),
        ("join an open session", request(Request::Join(Join::Session(SESSION)))),
        ("decline", request(Request::Decline(Decline { invite: invite(), reason: reason("später") }))),
        ("info", request(Request::Info(SESSION))),
        ("list_mine", request(Request::ListMine)),
        (
            "list_invites with the largest request id",
            Command::Request(RequestId(u32::MAX), Request::ListInvites),
        ),
        ("invite one", invite_command(&["bob"], 60, "", false)),
        ("invite several, hold a seat", invite_command(&["bob", "äöü", "a"], 86_400, "hi", true)),
        ("revoke", request(Request::Revoke(Revoke { number: 300 }))),
        ("leave", request(Request::Leave)),
        ("kick", request(Request::Kick(Kick { member: MemberId(2), reason: reason("afk") }))),
        ("transfer", request(Request::Transfer(Transfer { member: MemberId(70_000) }))),
        ("delete", request(Request::Delete(Delete { reason: reason("") }))),
        (
            "set_properties, every operation",
            request(Request::SetProperties(PropertyOps::new(ops()).unwrap())),
        ),
    ];
    commands.extend(good_hot_commands());
    commands
}

fn ops() -> Vec<PropertyOp> {
    vec![
        PropertyOp::Set { key: key("a"), value: text(b""), rule: None },
        PropertyOp::Set { key: key("b"), value: text(b"x"), rule: Some(WriteRule::Creator) },
        PropertyOp::Delete { key: key("c") },
        PropertyOp::Increment { key: key("d"), delta: i64::MIN },
        PropertyOp::CompareAndSet {
            key: key("e"),
            expected: None,
            value: Some(PropertyValue::Integer(i64::MAX)),
            rule: Some(WriteRule::Any),
        },
        PropertyOp::CompareAndSet { key: key("e"), expected: Some(text(b"old")), value: None, rule: None },
    ]
}

fn good_hot_commands() -> Vec<(&'static str, Command)> {
    let broadcast = |delivery, to, bytes| {
        Command::Broadcast(Broadcast { delivery, to, counter: 65_535, body: body(delivery, bytes) })
    };
    let message = |delivery, members: &[u32]| {
        let to = Recipients::new(members.iter().map(|&id| MemberId(id)).collect()).unwrap();
        Command::Message(Message { delivery, counter: 0, to, body: body(delivery, b"psst") })
    };
    vec![
        ("broadcast unreliable", broadcast(Delivery::Unreliable, To::Others, b"at 3,4")),
        ("broadcast sequenced", broadcast(Delivery::Sequenced { key: 9 }, To::All, b"at 3,4")),
        ("broadcast unordered", broadcast(Delivery::ReliableUnordered, To::Others, b"")),
        ("broadcast ordered", broadcast(Delivery::ReliableOrdered, To::All, b"hello")),
        ("broadcast latest", broadcast(Delivery::ReliableLatest { key: 65_535 }, To::Others, b"open")),
        ("message to one", message(Delivery::ReliableOrdered, &[2])),
        ("message to several", message(Delivery::Sequenced { key: 1 }, &[1, 2, 70_000])),
    ]
}

fn bad_commands() -> Vec<(&'static str, On, Bytes)> {
    let too_long = [&unhex("20 00 0007")[..], &[0; 1_025]].concat();
    let hex_cases = [
        ("empty", On::Control, ""),
        ("kind alone: no request id to answer", On::Control, "05"),
        ("request id not in its shortest form", On::Control, "05 4005"),
        ("request id above 32 bits", On::Control, "05 c000000100000000"),
        ("unknown kind", On::Control, "07 05"),
        ("unknown kind on a session's stream", On::Slot, "17 05"),
        ("a kind of stream 0 on a session's stream", On::Slot, "05 05"),
        ("a kind of a session's stream on stream 0", On::Control, "12 05"),
        ("broadcast on stream 0", On::Control, "20 05 00"),
        ("a byte too many", On::Control, "05 05 00"),
        ("create: no seats", On::Control, "01 05 0007 00 00 00 00 00"),
        ("create: too many seats", On::Control, "01 05 0007 4401 00 00 00 00"),
        ("create: idle ttl too long", On::Control, "01 05 0007 08 80015181 00 00 00"),
        ("create: on owner leave 2", On::Control, "01 05 0007 08 00 02 00 00"),
        ("create: admission 2", On::Control, "01 05 0007 08 00 00 02 00"),
        ("create: 257 properties", On::Control, "01 05 0007 08 00 00 00 4101"),
        (
            "create: properties out of order",
            On::Control,
            "01 05 0007 08 00 00 00 02 0162 0000 01 0161 0000 01",
        ),
        ("create: a property twice", On::Control, "01 05 0007 08 00 00 00 02 0161 0000 01 0161 0000 01"),
        ("create: write rule 0", On::Control, "01 05 0007 08 00 00 00 01 0161 0000 00"),
        ("create: empty key", On::Control, "01 05 0007 08 00 00 00 01 00 0000 01"),
        ("join: kind 2", On::Control, "02 05 02 0102030405060708"),
        ("join: cut", On::Control, "02 05 00 01020304"),
        ("decline: reason cut", On::Control, "03 05 0102030405060708 01 05 61"),
        ("invite: nobody", On::Slot, "10 05 00 01 00 00"),
        ("invite: 65 users", On::Slot, "10 05 4041"),
        ("invite: a user twice", On::Slot, "10 05 02 0161 0161 01 00 00"),
        ("invite: a user without a name", On::Slot, "10 05 01 00 01 00 00"),
        ("invite: ttl 0", On::Slot, "10 05 01 0161 00 00 00"),
        ("invite: ttl above a day", On::Slot, "10 05 01 0161 80015181 00 00"),
        ("invite: hold seat 2", On::Slot, "10 05 01 0161 01 02 00"),
        ("kick: member above 32 bits", On::Slot, "13 05 c000000100000000 00"),
        ("set_properties: no operation", On::Slot, "16 05 00"),
        ("set_properties: 257 operations", On::Slot, "16 05 4101"),
        ("set_properties: operation 4", On::Slot, "16 05 01 04 0161"),
        ("set_properties: value kind 2 where a value must be", On::Slot, "16 05 01 00 0161 02 00"),
        ("set_properties: value kind 3", On::Slot, "16 05 01 00 0161 03 00"),
        ("set_properties: value above 64 KiB", On::Slot, "16 05 01 00 0161 00 80010001"),
        ("set_properties: write rule 4", On::Slot, "16 05 01 00 0161 00 00 04"),
        ("broadcast: no counter to answer", On::Slot, "20 03"),
        ("broadcast: half a counter", On::Slot, "20 03 00"),
        ("broadcast: a reserved flag", On::Slot, "20 13 0007"),
        ("broadcast: mode 5", On::Slot, "20 05 0007"),
        ("broadcast: key cut", On::Slot, "20 01 0007 00"),
        ("message: to others", On::Slot, "21 0b 0007 01 01"),
        ("message: nobody", On::Slot, "21 03 0007 00"),
        ("message: 1,025 members", On::Slot, "21 03 0007 4401"),
        ("message: members out of order", On::Slot, "21 03 0007 02 02 01"),
        ("message: a member twice", On::Slot, "21 03 0007 02 02 02"),
    ];
    let mut cases: Vec<_> =
        hex_cases.into_iter().map(|(name, on, bytes)| (name, on, Bytes::from(unhex(bytes)))).collect();
    cases.push(("broadcast: unreliable payload of 1,025 bytes", On::Slot, too_long.into()));
    cases
}
