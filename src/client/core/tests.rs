//! The core against servers that follow the protocol, and servers that do not.

mod dialogue;
mod link;

use bytes::Bytes;

use super::*;
use crate::base::{EventNumber, MemberId, RequestId, Revision, SessionId, SessionKind, StreamId, UserId};
use crate::wire::event::SnapshotMember;
use crate::wire::result::Entered;
use crate::wire::{
    Admission, Body, CommandResult, DeleteReason, Delivery, ErrorCode, IdleTtl, LeaveReason, MaxMembers,
    OnOwnerLeave, Property, PropertyChange, PropertyChanges, PropertyKey, PropertyValue, Reason,
    ServerMessage, SessionEvent, Settings, Snapshot, Value, WriteRule,
};

const SLOT: Slot = Slot(1);
const SESSION: SessionId = SessionId(77);
/// The client, which is the second member of the session, and the first member, its owner.
const OWN: MemberId = MemberId(2);
const OWNER: MemberId = MemberId(1);
/// Number of the first event after the snapshot.
const NEXT: u64 = 5;

const fn is_shared_between_threads<T: Send + Sync>() {}
const _: () = is_shared_between_threads::<Core>();

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

fn key(key: &str) -> PropertyKey {
    PropertyKey::new(key).unwrap()
}

fn snapshot() -> Snapshot {
    Snapshot {
        session: SESSION,
        settings: Settings {
            kind: SessionKind(9),
            max_members: MaxMembers::new(8).unwrap(),
            idle_ttl: IdleTtl::new(60).unwrap(),
            on_owner_leave: OnOwnerLeave::Transfer,
            admission: Admission::Invited,
        },
        you: OWN,
        owner: OWNER,
        next: EventNumber(NEXT),
        members: vec![
            SnapshotMember { member: OWNER, user: user("ann") },
            SnapshotMember { member: OWN, user: user("bob") },
        ],
        revision: Revision(3),
        properties: vec![Property {
            key: key("map"),
            value: PropertyValue::Integer(1),
            rule: WriteRule::Any,
            creator: OWNER,
        }],
    }
}

fn entered() -> Entered {
    Entered { session: SESSION, slot: SLOT, member: OWN }
}

/// The number of the `step`th event after the snapshot.
fn number(step: u64) -> EventNumber {
    EventNumber(NEXT + step)
}

fn left(step: u64, member: MemberId) -> SessionEvent {
    SessionEvent::MemberLeft { number: number(step), member, why: LeaveReason::Left, reason: Reason::none() }
}

fn message(step: u64, text: &'static str) -> SessionEvent {
    let body = Body::new(Delivery::ReliableOrdered, Bytes::from_static(text.as_bytes())).unwrap();
    SessionEvent::Message { number: number(step), sender: OWNER, body }
}

fn sent(delivery: Delivery, text: &'static str) -> SessionEvent {
    let body = Body::new(delivery, Bytes::from_static(text.as_bytes())).unwrap();
    SessionEvent::Sent { sender: OWNER, delivery, body }
}

fn ok(request: RequestId, value: Value) -> Bytes {
    ServerMessage::Result(CommandResult { request, outcome: Ok(value) }).encode()
}
