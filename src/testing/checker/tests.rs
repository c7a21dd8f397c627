//! Checks that each broken promise is detected.

mod answers;
mod arrivals;
mod changes;
mod deeds;
mod deliveries;
mod ends;
mod idle;
mod invites;
mod lists;
mod lives;
mod log;
mod membership;
mod refusals;
mod scene;
mod truths;

use std::sync::Arc;

use self::scene::{
    ANN, BOB, BOBS_OTHER, INVITE, Scene, decline, invitation, invite_of, invited, join_by_invite, revoke,
};
use super::answers::Asked;
use super::*;
use crate::base::{EventNumber, InviteId, Revision, SessionId, SessionKind};
use crate::client::core::{Event, Mirror};
use crate::testing::payload;
use crate::wire::command::{Create, Decline, InitialProperties, Invite, InvitedUsers, Join, Revoke};
use crate::wire::event::{Invitation, SnapshotMember};
use crate::wire::result::Entered;
use crate::wire::{
    Admission, DeleteReason, Delivery, ErrorCode, IdleTtl, InviteTtl, LeaveReason, MaxMembers, Note,
    OnOwnerLeave, PropertyKey, PropertyValue, Settings, Snapshot,
};

const SESSION: SessionId = SessionId(5);
const SEAT: Seat = Seat { session: SESSION, member: MemberId(2) };
const MINE: Mine = Mine { session: SESSION, member: MemberId(1), slot: Slot(1) };

/// A session of two seats as seen by the member `you`; the first of `members` owns it.
fn mirror(you: u32, next: u64, members: &[(u32, &str)]) -> Mirror {
    mirror_of(OnOwnerLeave::Transfer, you, next, members)
}

fn mirror_of(on_owner_leave: OnOwnerLeave, you: u32, next: u64, members: &[(u32, &str)]) -> Mirror {
    let settings = Settings {
        kind: SessionKind(1),
        max_members: MaxMembers::new(2).unwrap(),
        idle_ttl: IdleTtl::new(60).unwrap(),
        on_owner_leave,
        admission: Admission::Invited,
    };
    mirror_with(settings, you, next, members)
}

fn mirror_with(settings: Settings, you: u32, next: u64, members: &[(u32, &str)]) -> Mirror {
    let snapshot = Snapshot {
        session: SESSION,
        settings,
        you: MemberId(you),
        owner: MemberId(members[0].0),
        next: EventNumber(next),
        members: members
            .iter()
            .map(|(member, name)| SnapshotMember { member: MemberId(*member), user: user(name) })
            .collect(),
        revision: Revision(0),
        properties: Vec::new(),
    };
    Mirror::new(Slot(1), &snapshot).unwrap()
}

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

/// The event with which a member enters the session that `mirror` shows.
fn entered(mirror: Mirror) -> Event {
    let (session, member, next) = (mirror.session(), mirror.own(), mirror.next());
    Event::Entered { slot: Slot(1), session, member, next, mirror: Arc::new(mirror) }
}

fn left(number: u64, member: u32, name: &str, why: LeaveReason) -> Event {
    Event::MemberLeft {
        slot: Slot(1),
        number: EventNumber(number),
        member: MemberId(member),
        user: user(name),
        is_own: false,
        why,
        reason: Reason::none(),
    }
}

fn owns(number: u64, owner: u32) -> Event {
    Event::OwnerChanged { slot: Slot(1), number: EventNumber(number), owner: MemberId(owner) }
}

fn deleted(number: u64, why: DeleteReason) -> Event {
    Event::SessionDeleted { slot: Slot(1), number: EventNumber(number), why, reason: Reason::none() }
}

/// Asserts that there is exactly one issue and that it contains `words`.
fn assert_noticed(lines: &[String], words: &str) {
    assert!(matches!(lines, [line] if line.contains(words)), "{words}: {lines:?}");
}

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn asked(millis: u64, request: Request) -> Asked {
    Asked { request, at: Timestamp::from_millis(millis), seat: None }
}

fn is_in() -> Result<Value, RequestError> {
    Ok(Value::Entered(Entered { session: SESSION, slot: Slot(1), member: MemberId(3) }))
}

fn refused(code: ErrorCode) -> Result<Value, RequestError> {
    Err(RequestError::Refused(code))
}
