//! Commands, results and events in the form that the vectors use.

use rallypoint::base::{InviteId, UserId};
use rallypoint::wire::command::{
    Broadcast, Create, Decline, Delete, InitialProperty, Invite, Join, Kick, Message, Revoke, To, Transfer,
};
use rallypoint::wire::event::{Invitation, SnapshotMember};
use rallypoint::wire::result::{Entered, Membership};
use rallypoint::wire::{
    Admission, Command, CommandResult, ErrorCode, OnOwnerLeave, Property, PropertyChange, PropertyOp,
    PropertyValue, Request, SessionEvent, Settings, Snapshot, UserEvent, Value as ResultValue, WriteRule,
};
use serde_json::{Value, json};

use super::{delivery_json, hex};

pub(crate) fn command_json(command: &Command) -> Value {
    match command {
        Command::Request(id, request) => {
            let mut value = request_json(request);
            value["request"] = id.0.into();
            value
        }
        Command::Broadcast(Broadcast { delivery, to, counter, body }) => json!({
            "command": "broadcast", "delivery": delivery_json(*delivery), "counter": counter,
            "to": if *to == To::All { "all" } else { "others" }, "payload": hex(body.bytes()),
        }),
        Command::Message(Message { delivery, counter, to, body }) => json!({
            "command": "message", "delivery": delivery_json(*delivery), "counter": counter,
            "members": to.as_slice().iter().map(|member| member.0).collect::<Vec<_>>(),
            "payload": hex(body.bytes()),
        }),
    }
}

fn request_json(request: &Request) -> Value {
    match request {
        Request::Create(Create { settings, properties }) => {
            let property = |p: &InitialProperty| json!({ "key": p.key.as_str(), "value": value_json(&p.value), "rule": rule_json(p.rule) });
            let properties: Vec<Value> = properties.as_slice().iter().map(property).collect();
            json!({ "command": "create", "settings": settings_json(settings), "properties": properties })
        }
        Request::Join(Join::Invite(invite)) => json!({ "command": "join", "invite": invite_json(*invite) }),
        Request::Join(Join::Session(session)) => {
            json!({ "command": "join", "session": session.0.to_string() })
        }
        Request::Decline(Decline { invite, reason }) => {
            json!({ "command": "decline", "invite": invite_json(*invite), "reason": reason.as_str() })
        }
        Request::Info(session) => json!({ "command": "info", "session": session.0.to_string() }),
        Request::ListMine => json!({ "command": "list_mine" }),
        Request::ListInvites => json!({ "command": "list_invites" }),
        Request::Invite(Invite { users, ttl, hold_seat, note }) => json!({
            "command": "invite", "users": users.as_slice().iter().map(UserId::as_str).collect::<Vec<_>>(),
            "ttl": ttl.get(), "hold_seat": hold_seat, "note": note.as_str(),
        }),
        Request::Revoke(Revoke { number }) => json!({ "command": "revoke", "number": number }),
        Request::Leave => json!({ "command": "leave" }),
        Request::Kick(Kick { member, reason }) => {
            json!({ "command": "kick", "member": member.0, "reason": reason.as_str() })
        }
        Request::Transfer(Transfer { member }) => json!({ "command": "transfer", "member": member.0 }),
        Request::Delete(Delete { reason }) => json!({ "command": "delete", "reason": reason.as_str() }),
        Request::SetProperties(ops) => {
            let ops: Vec<Value> = ops.as_slice().iter().map(op_json).collect();
            json!({ "command": "set_properties", "ops": ops })
        }
    }
}

fn op_json(op: &PropertyOp) -> Value {
    let optional = |value: &Option<PropertyValue>| value.as_ref().map(value_json);
    match op {
        PropertyOp::Set { key, value, rule } => json!({
            "op": "set", "key": key.as_str(), "value": value_json(value), "rule": rule.map(rule_json),
        }),
        PropertyOp::Delete { key } => json!({ "op": "delete", "key": key.as_str() }),
        PropertyOp::Increment { key, delta } => {
            json!({ "op": "increment", "key": key.as_str(), "delta": delta.to_string() })
        }
        PropertyOp::CompareAndSet { key, expected, value, rule } => json!({
            "op": "compare_and_set", "key": key.as_str(), "expected": optional(expected),
            "value": optional(value), "rule": rule.map(rule_json),
        }),
    }
}

pub(crate) fn result_json(result: &CommandResult) -> Value {
    let mut value = match &result.outcome {
        Err(code) => json!({ "error": code.name() }),
        Ok(value) => json!({ "ok": result_value_json(value) }),
    };
    value["request"] = result.request.0.into();
    value
}

fn result_value_json(value: &ResultValue) -> Value {
    match value {
        ResultValue::Empty => json!({ "kind": "empty" }),
        ResultValue::Entered(entered) => json!({ "kind": "entered", "entered": entered_json(entered) }),
        ResultValue::Invited(answers) => {
            let answer = |answer: &Result<u32, ErrorCode>| match answer {
                Ok(number) => json!({ "number": number }),
                Err(code) => json!({ "error": code.name() }),
            };
            json!({ "kind": "invited", "answers": answers.iter().map(answer).collect::<Vec<_>>() })
        }
        ResultValue::Revision(revision) => json!({ "kind": "revision", "revision": revision.0.to_string() }),
        ResultValue::Info(info) => json!({
            "kind": "info", "session": info.session.0.to_string(), "settings": settings_json(&info.settings),
            "owner": info.owner.0, "members": info.members, "open_invites": info.open_invites,
            "revision": info.revision.0.to_string(), "next": info.next.0.to_string(),
        }),
        ResultValue::Sessions(sessions) => {
            let session = |membership: &Membership| json!({ "entered": entered_json(&membership.entered), "kind": membership.kind.0 });
            json!({ "kind": "sessions", "sessions": sessions.iter().map(session).collect::<Vec<_>>() })
        }
        ResultValue::Invites(invites) => {
            let invites: Vec<Value> = invites.iter().map(invitation_json).collect();
            json!({ "kind": "invites", "invites": invites })
        }
    }
}

fn entered_json(entered: &Entered) -> Value {
    let session = entered.session.0.to_string();
    json!({ "session": session, "slot": entered.slot.0, "member": entered.member.0 })
}

pub(crate) fn session_event_json(event: &SessionEvent) -> Value {
    let mut value = match event {
        SessionEvent::Snapshot(snapshot) => snapshot_json(snapshot),
        SessionEvent::MemberJoined { member, user, .. } => {
            json!({ "event": "member_joined", "member": member.0, "user": user.as_str() })
        }
        SessionEvent::MemberLeft { member, why, reason, .. } => json!({
            "event": "member_left", "member": member.0, "why": why.name(), "reason": reason.as_str(),
        }),
        SessionEvent::OwnerChanged { owner, .. } => json!({ "event": "owner_changed", "owner": owner.0 }),
        SessionEvent::PropertiesChanged { revision, member, changes, .. } => json!({
            "event": "properties_changed", "revision": revision.0.to_string(), "member": member.0,
            "changes": changes.as_slice().iter().map(change_json).collect::<Vec<_>>(),
        }),
        SessionEvent::Message { sender, body, .. } => {
            json!({ "event": "message", "sender": sender.0, "payload": hex(body.bytes()) })
        }
        SessionEvent::Receipt { .. } => json!({ "event": "receipt" }),
        SessionEvent::SessionDeleted { why, reason, .. } => {
            json!({ "event": "session_deleted", "why": why.name(), "reason": reason.as_str() })
        }
        SessionEvent::Sent { sender, delivery, body } => json!({
            "event": "sent", "sender": sender.0, "delivery": delivery_json(*delivery),
            "payload": hex(body.bytes()),
        }),
        SessionEvent::Refused { counter, code } => {
            json!({ "event": "refused", "counter": counter, "code": code.name() })
        }
        SessionEvent::Lagging => json!({ "event": "lagging" }),
    };
    if let Some(number) = event.number() {
        value["number"] = number.0.to_string().into();
    }
    value
}

fn snapshot_json(snapshot: &Snapshot) -> Value {
    let member = |m: &SnapshotMember| json!({ "member": m.member.0, "user": m.user.as_str() });
    let property = |p: &Property| {
        json!({
            "key": p.key.as_str(), "value": value_json(&p.value), "rule": rule_json(p.rule),
            "creator": p.creator.0,
        })
    };
    json!({
        "event": "snapshot", "session": snapshot.session.0.to_string(),
        "settings": settings_json(&snapshot.settings), "you": snapshot.you.0, "owner": snapshot.owner.0,
        "next": snapshot.next.0.to_string(), "members": snapshot.members.iter().map(member).collect::<Vec<_>>(),
        "revision": snapshot.revision.0.to_string(),
        "properties": snapshot.properties.iter().map(property).collect::<Vec<_>>(),
    })
}

fn change_json(change: &PropertyChange) -> Value {
    match change {
        PropertyChange::Created { key, value, rule } => json!({
            "change": "created", "key": key.as_str(), "value": value_json(value), "rule": rule_json(*rule),
        }),
        PropertyChange::Set { key, value } => {
            json!({ "change": "set", "key": key.as_str(), "value": value_json(value) })
        }
        PropertyChange::Deleted { key } => json!({ "change": "deleted", "key": key.as_str() }),
    }
}

pub(crate) fn user_event_json(event: &UserEvent) -> Value {
    match event {
        UserEvent::Invited(invitation) => {
            json!({ "event": "invited", "invitation": invitation_json(invitation) })
        }
        UserEvent::InviteRevoked { invite } => {
            json!({ "event": "invite_revoked", "invite": invite_json(*invite) })
        }
        UserEvent::InviteExpired { invite, user } => json!({
            "event": "invite_expired", "invite": invite_json(*invite), "user": user.as_ref().map(UserId::as_str),
        }),
        UserEvent::InviteDeclined { invite, user, reason } => json!({
            "event": "invite_declined", "invite": invite_json(*invite), "user": user.as_str(),
            "reason": reason.as_str(),
        }),
        UserEvent::Lagging => json!({ "event": "lagging" }),
        UserEvent::Rehomed { connection } => json!({ "event": "rehomed", "connection_id": connection.0 }),
    }
}

fn invitation_json(invitation: &Invitation) -> Value {
    json!({
        "invite": invite_json(invitation.invite), "kind": invitation.kind.0,
        "owner": invitation.owner.as_str(), "ttl_left_ms": invitation.ttl_left_ms,
        "note": invitation.note.as_str(),
    })
}

fn invite_json(invite: InviteId) -> Value {
    json!({ "session": invite.session.0.to_string(), "number": invite.number })
}

fn settings_json(settings: &Settings) -> Value {
    json!({
        "kind": settings.kind.0, "max_members": settings.max_members.get(), "idle_ttl": settings.idle_ttl.get(),
        "on_owner_leave": if settings.on_owner_leave == OnOwnerLeave::Transfer { "transfer" } else { "delete" },
        "admission": if settings.admission == Admission::Invited { "invited" } else { "open" },
    })
}

fn value_json(value: &PropertyValue) -> Value {
    match value {
        PropertyValue::Bytes(bytes) => json!({ "bytes": hex(bytes) }),
        PropertyValue::Integer(integer) => json!({ "integer": integer.to_string() }),
    }
}

fn rule_json(rule: WriteRule) -> &'static str {
    match rule {
        WriteRule::Owner => "owner",
        WriteRule::Any => "any",
        WriteRule::Creator => "creator",
    }
}
