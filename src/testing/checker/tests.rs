//! That each promise, when broken, is noticed.

use std::sync::Arc;

use super::*;
use crate::base::{EventNumber, InviteId, Revision, SessionId, SessionKind};
use crate::client::core::{Event, Mirror};
use crate::testing::payload;
use crate::wire::command::Join;
use crate::wire::event::SnapshotMember;
use crate::wire::result::Entered;
use crate::wire::{Admission, Delivery, IdleTtl, MaxMembers, OnOwnerLeave, Settings, Snapshot};

const SESSION: SessionId = SessionId(5);
const SEAT: Seat = Seat { session: SESSION, member: MemberId(2) };
const MINE: Mine = Mine { session: SESSION, member: MemberId(1), slot: Slot(1) };

fn sending(serial: u32, delivery: Delivery) -> Sending {
    let tag = Tag { life: Life(1), serial };
    Sending { tag, mine: MINE, counter: u64::from(serial), delivery, to: vec![SEAT.member], bytes: 8 }
}

fn arrives(sending: &Sending, number: Option<u64>) -> Event {
    Event::Message {
        slot: Slot(1),
        number: number.map(EventNumber),
        sender: MINE.member,
        delivery: sending.delivery,
        payload: payload::write(sending.tag, sending.bytes),
    }
}

/// Issues after the messages `sent` arrive at one member as `arriving` says, by serial.
fn issues_of(delivery: Delivery, sent: u32, arriving: &[u32]) -> Vec<String> {
    let (mut deliveries, mut issues) = (Deliveries::default(), Issues::default());
    (0..sent).for_each(|serial| deliveries.sent(sending(serial, delivery)));
    for serial in arriving {
        deliveries.event(Life(2), SEAT, &arrives(&sending(*serial, delivery), None), &mut issues);
    }
    let seats = [(SEAT, Life(2)), (Seat { member: MINE.member, ..SEAT }, Life(1))];
    deliveries.finish(&seats.into(), &mut issues);
    issues.lines
}

#[test]
fn messages_lost_doubled_or_overtaken_are_noticed() {
    assert!(issues_of(Delivery::ReliableOrdered, 2, &[0, 1]).is_empty());
    assert!(issues_of(Delivery::ReliableOrdered, 2, &[0])[0].contains("never got"));
    assert!(issues_of(Delivery::ReliableUnordered, 1, &[0, 0])[0].contains("twice"));
    assert!(issues_of(Delivery::ReliableOrdered, 2, &[1, 0])[0].contains("after"));
    assert!(issues_of(Delivery::ReliableUnordered, 2, &[1, 0]).is_empty());
    assert!(issues_of(Delivery::Sequenced { key: 1 }, 3, &[2, 1])[0].contains("after"));
    assert!(issues_of(Delivery::ReliableLatest { key: 1 }, 3, &[2]).is_empty(), "older ones may be skipped");
    assert!(issues_of(Delivery::ReliableLatest { key: 1 }, 3, &[1])[0].contains("never got"));
    assert!(issues_of(Delivery::Unreliable, 1, &[]).is_empty());
    assert!(issues_of(Delivery::Unreliable, 1, &[1])[0].contains("nobody sent"));
}

#[test]
fn members_that_see_different_events_are_noticed() {
    let joined = |name: &str| Event::MemberJoined {
        slot: Slot(1),
        number: EventNumber(3),
        member: MemberId(9),
        user: UserId::new(name).unwrap(),
    };
    let (mut logs, mut issues) = (Logs::default(), Issues::default());
    logs.event(SESSION, MemberId(1), &joined("ann"), &mut issues);
    logs.event(SESSION, MemberId(2), &joined("ann"), &mut issues);
    assert_eq!(issues.lines, [""; 0]);
    logs.event(SESSION, MemberId(2), &joined("bob"), &mut issues);
    assert_eq!(issues.lines.len(), 1);
}

#[test]
fn a_message_twice_in_the_order_is_noticed() {
    let (mut logs, mut issues) = (Logs::default(), Issues::default());
    for number in [3, 4] {
        let event = arrives(&sending(0, Delivery::ReliableOrdered), Some(number));
        logs.event(SESSION, MemberId(2), &event, &mut issues);
    }
    logs.finish(&mut issues);
    assert_eq!(issues.lines.len(), 1);
}

#[test]
fn a_gap_and_news_after_the_end_are_noticed() {
    let next = EventNumber(2);
    let snapshot = Snapshot {
        session: SESSION,
        settings: Settings {
            kind: SessionKind(1),
            max_members: MaxMembers::new(8).unwrap(),
            idle_ttl: IdleTtl::new(60).unwrap(),
            on_owner_leave: OnOwnerLeave::Transfer,
            admission: Admission::Invited,
        },
        you: SEAT.member,
        owner: SEAT.member,
        next,
        members: vec![SnapshotMember { member: SEAT.member, user: UserId::new("ann").unwrap() }],
        revision: Revision(0),
        properties: Vec::new(),
    };
    let mirror = Arc::new(Mirror::new(Slot(1), &snapshot).unwrap());
    let entered = Event::Entered { slot: Slot(1), session: SESSION, member: SEAT.member, next, mirror };
    let receipt = |number| Event::Receipt { slot: Slot(1), number: EventNumber(number) };
    let (mut memberships, mut issues) = (Memberships::default(), Issues::default());
    for event in [&entered, &receipt(2), &receipt(3)] {
        memberships.event(Life(1), event, &mut issues);
    }
    assert_eq!(issues.lines, [""; 0]);
    memberships.event(Life(1), &receipt(5), &mut issues);
    assert!(issues.lines[0].contains("instead of 4"));
    memberships.end_life(Life(1));
    memberships.event(Life(1), &receipt(6), &mut issues);
    assert!(issues.lines[1].contains("in no session"));
}

#[test]
fn an_invite_that_admits_twice_or_the_wrong_user_is_noticed() {
    let invite = InviteId { session: SESSION, number: 1 };
    let invited = Event::Invited(crate::wire::event::Invitation {
        invite,
        kind: crate::base::SessionKind(1),
        owner: UserId::new("ann").unwrap(),
        ttl_left_ms: 1_000,
        note: crate::wire::Note::none(),
    });
    let (ann, bob) = (UserId::new("ann").unwrap(), UserId::new("bob").unwrap());
    let entered = Ok(Value::Entered(Entered { session: SESSION, slot: Slot(1), member: MemberId(3) }));
    let asked = |ms| answers::Asked {
        request: Request::Join(Join::Invite(invite)),
        at: Timestamp::from_millis(ms),
        seat: None,
    };
    let issues_of = |users: &[(&UserId, u64)]| {
        let (mut invites, mut issues) = (Invites::default(), Issues::default());
        invites.event(Timestamp::ZERO, Life(1), &bob, &invited, &mut issues);
        for (user, at) in users {
            invites.answered(user, &asked(*at), &entered, &mut issues);
        }
        issues.lines
    };
    assert_eq!(issues_of(&[(&bob, 999)]), [""; 0]);
    assert!(issues_of(&[(&bob, 1_000)])[0].contains("after its time"));
    assert!(issues_of(&[(&ann, 0)])[0].contains("which is bob's"));
    assert!(issues_of(&[(&bob, 0), (&bob, 1)])[0].contains("twice"));
}

#[test]
fn a_command_answered_twice_or_never_is_noticed() {
    let (mut answers, mut issues) = (Answers::default(), Issues::default());
    answers.asked(Life(1), RequestId(1), Timestamp::ZERO, None, &Request::ListMine, &mut issues);
    answers.asked(Life(1), RequestId(2), Timestamp::ZERO, None, &Request::ListMine, &mut issues);
    answers.answered(Life(1), RequestId(1), &Ok(Value::Empty), &mut issues);
    assert_eq!(issues.lines, [""; 0]);
    answers.answered(Life(1), RequestId(1), &Ok(Value::Empty), &mut issues);
    answers.finish(&BTreeMap::new(), std::iter::empty(), &mut issues);
    assert_eq!(issues.lines.len(), 2);
}
