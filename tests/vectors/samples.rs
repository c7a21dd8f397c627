//! Sample values for the vectors of commands, results and events.

use bytes::Bytes;
use rallypoint::base::{InviteId, SessionId, SessionKind, UserId};
use rallypoint::wire::event::Invitation;
use rallypoint::wire::{
    Admission, Body, Delivery, IdleTtl, MaxMembers, Note, OnOwnerLeave, PropertyKey, PropertyValue, Reason,
    Settings, StreamKind,
};

/// Returns the name of a kind of stream in the vectors.
pub(crate) fn name_of(on: StreamKind) -> &'static str {
    match on {
        StreamKind::Control => "control",
        StreamKind::Slot => "slot",
    }
}

pub(crate) const SESSION: SessionId = SessionId(0x0102_0304_0506_0708);

pub(crate) fn user(id: &str) -> UserId {
    UserId::new(id).unwrap()
}

pub(crate) fn reason(text: &str) -> Reason {
    Reason::new(text).unwrap()
}

pub(crate) fn key(text: &str) -> PropertyKey {
    PropertyKey::new(text).unwrap()
}

pub(crate) fn text(bytes: &'static [u8]) -> PropertyValue {
    PropertyValue::Bytes(Bytes::from_static(bytes))
}

pub(crate) fn body(delivery: Delivery, bytes: &'static [u8]) -> Body {
    Body::new(delivery, Bytes::from_static(bytes)).unwrap()
}

pub(crate) fn invite() -> InviteId {
    InviteId { session: SESSION, number: 300 }
}

pub(crate) fn settings() -> Settings {
    Settings {
        kind: SessionKind(7),
        max_members: MaxMembers::new(8).unwrap(),
        idle_ttl: IdleTtl::new(300).unwrap(),
        on_owner_leave: OnOwnerLeave::Transfer,
        admission: Admission::Invited,
    }
}

pub(crate) fn largest_settings() -> Settings {
    Settings {
        kind: SessionKind(65_535),
        max_members: MaxMembers::MAX,
        idle_ttl: IdleTtl::MAX,
        on_owner_leave: OnOwnerLeave::Delete,
        admission: Admission::Open,
    }
}

pub(crate) fn invitation() -> Invitation {
    let note = Note::new("kommst du?").unwrap();
    Invitation { invite: invite(), kind: SessionKind(7), owner: user("anna"), ttl_left_ms: 59_999, note }
}
