//! Checks that each broken promise is detected.

mod arrivals;
mod deeds;
mod ends;
mod idle;
mod invites;
mod lists;
mod lives;
mod refusals;
mod truths;

use std::sync::Arc;

use super::*;
use crate::base::{EventNumber, InviteId, Revision, SessionId, SessionKind};
use crate::client::core::{Event, Mirror};
use crate::testing::payload;
use crate::wire::command::{
    Create, Decline, InitialProperties, Invite, InvitedUsers, Join, Revoke, Transfer,
};
use crate::wire::event::{Invitation, SnapshotMember};
use crate::wire::result::Entered;
use crate::wire::{
    Admission, DeleteReason, Delivery, ErrorCode, IdleTtl, InviteTtl, LeaveReason, MaxMembers, Note,
    OnOwnerLeave, PropertyChange, PropertyChanges, PropertyKey, PropertyValue, Settings, Snapshot,
};

const SESSION: SessionId = SessionId(5);
const SEAT: Seat = Seat { session: SESSION, member: MemberId(2) };
const MINE: Mine = Mine { session: SESSION, member: MemberId(1), slot: Slot(1) };

fn sending(serial: u32, delivery: Delivery) -> Sending {
    let tag = Tag { life: Life(1), serial };
    Sending {
        tag,
        mine: MINE,
        counter: u64::from(serial),
        delivery,
        to: vec![SEAT.member],
        audience: Audience::All,
        bytes: 8,
    }
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

/// Returns the issues after the messages `0..sent` were sent and those of `arriving` arrived at one member in
/// that order.
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
fn what_a_member_sent_may_be_late_when_they_have_come_again() {
    let latest = Delivery::ReliableLatest { key: 1 };
    let again = Mine { member: MemberId(5), slot: Slot(2), ..MINE };
    let second = Sending { mine: again, ..sending(1, latest) };
    let Event::Message { slot, number, delivery, payload, .. } = arrives(&second, None) else {
        unreachable!()
    };
    let of_second = Event::Message { slot, number, sender: again.member, delivery, payload };
    let (mut deliveries, mut issues) = (Deliveries::default(), Issues::default());
    deliveries.sent(sending(0, latest));
    deliveries.sent(second);
    deliveries.event(Life(2), SEAT, &of_second, &mut issues);
    deliveries.event(Life(2), SEAT, &arrives(&sending(0, latest), None), &mut issues);
    assert_eq!(issues.lines, [""; 0]);
}

#[test]
fn a_message_that_arrives_as_another_is_noticed() {
    let issues_of = |told: &Event| {
        let (mut deliveries, mut issues) = (Deliveries::default(), Issues::default());
        deliveries.sent(sending(0, Delivery::ReliableUnordered));
        deliveries.event(Life(2), SEAT, told, &mut issues);
        issues.lines
    };
    let as_sent = sending(0, Delivery::ReliableUnordered);
    assert_eq!(issues_of(&arrives(&as_sent, None)), [""; 0]);
    assert_noticed(&issues_of(&arrives(&sending(0, Delivery::ReliableOrdered), None)), "sent as Reliable");
    let longer = Sending { bytes: 9, ..as_sent.clone() };
    assert_noticed(&issues_of(&arrives(&longer, None)), "as another message");
    let Event::Message { slot, number, delivery, payload, .. } = arrives(&as_sent, None) else {
        unreachable!()
    };
    let by_another = Event::Message { slot, number, sender: MemberId(9), delivery, payload };
    assert_noticed(&issues_of(&by_another), "as another message");
    let never_sent = Event::Refused { slot: Slot(1), counter: 7, code: ErrorCode::Busy };
    assert_noticed(&issues_of(&never_sent), "which it never sent");
}

#[test]
fn an_intruders_message_told_as_a_members_is_noticed() {
    let issues_of = |sender: MemberId| {
        let (mut deliveries, mut issues) = (Deliveries::default(), Issues::default());
        let told = Event::Message {
            slot: Slot(1),
            number: None,
            sender,
            delivery: Delivery::Unreliable,
            payload: payload::strange(0),
        };
        deliveries.event(Life(2), SEAT, &told, &mut issues);
        deliveries.finish(&[(Seat { member: MINE.member, ..SEAT }, Life(1))].into(), &mut issues);
        issues.lines
    };
    assert_eq!(issues_of(MemberId(9)), [""; 0]);
    assert_noticed(&issues_of(MINE.member), "told as one of");
}

#[test]
fn a_message_to_whom_it_is_not_meant_or_that_was_refused_is_noticed() {
    let issues_of = |sent: Sending, seat: Seat, refused: bool| {
        let (mut deliveries, mut issues) = (Deliveries::default(), Issues::default());
        let told = arrives(&sent, None);
        let (slot, counter) = (sent.mine.slot, sent.counter);
        deliveries.sent(sent);
        deliveries.event(Life(2), seat, &told, &mut issues);
        if refused {
            let refused = Event::Refused { slot, counter, code: ErrorCode::Busy };
            deliveries.event(Life(1), SEAT, &refused, &mut issues);
        }
        deliveries.finish(&BTreeMap::new(), &mut issues);
        issues.lines
    };
    let own = Seat { member: MINE.member, ..SEAT };
    let sent = |audience| Sending { audience, ..sending(0, Delivery::ReliableUnordered) };
    assert_eq!(issues_of(sent(Audience::All), own, false), [""; 0]);
    assert_eq!(issues_of(sent(Audience::Named), SEAT, false), [""; 0]);
    assert_noticed(&issues_of(sent(Audience::Others), own, false), "not for them");
    assert_noticed(&issues_of(sent(Audience::Named), own, false), "not for them");
    assert_noticed(&issues_of(sent(Audience::All), SEAT, true), "was refused");
}

#[test]
fn members_that_see_different_messages_in_one_place_are_noticed() {
    let (mut logs, mut issues) = (Logs::default(), Issues::default());
    for (member, serial) in [(2, 0), (3, 0), (4, 1)] {
        let event = arrives(&sending(serial, Delivery::ReliableOrdered), Some(3));
        logs.event(SESSION, MemberId(member), &event, &mut issues);
    }
    assert_eq!(issues.lines.len(), 1);
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
    logs.finish(&[], &Intents::default(), &mut issues);
    assert_eq!(issues.lines.len(), 1);
}

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

#[test]
fn a_gap_and_news_after_the_end_are_noticed() {
    let entered = entered(mirror(2, 2, &[(2, "ann")]));
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
fn what_is_entered_must_be_what_is_shown_and_what_was_admitted() {
    let (mut memberships, mut issues) = (Memberships::default(), Issues::default());
    let Event::Entered { slot, session, next, mirror, .. } = entered(mirror(2, 2, &[(2, "ann")])) else {
        unreachable!()
    };
    let other = Event::Entered { slot, session, member: MemberId(3), next, mirror };
    memberships.event(Life(1), &other, &mut issues);
    assert_noticed(&issues.lines, "as what it entered");
    memberships.admitted(Life(1), Seat { member: MemberId(3), ..SEAT }, &mut issues);
    assert_eq!(issues.lines.len(), 1, "that is its seat");
    memberships.admitted(Life(1), SEAT, &mut issues);
    assert_noticed(&issues.lines[1..], "but has not entered it");
}

#[test]
fn in_the_end_all_believe_in_the_members_that_there_are() {
    let both = [(1, "ann"), (2, "bob")];
    let mirrors = [mirror(1, 3, &both), mirror(2, 3, &both), mirror(1, 3, &both[..1])];
    let of = |life, name, at: usize| (Life(life), user(name), vec![&mirrors[at]]);
    let issues_of = |living: &[Living<'_>]| {
        let (mut memberships, mut issues) = (Memberships::default(), Issues::default());
        for (life, _, mirrors) in living {
            for mirror in mirrors {
                let seat = Seat { session: SESSION, member: mirror.own() };
                memberships.event(*life, &entered((*mirror).clone()), &mut issues);
                memberships.admitted(*life, seat, &mut issues);
            }
        }
        memberships.finish(living, &mut issues);
        issues.lines
    };
    assert_eq!(issues_of(&[of(1, "ann", 0), of(2, "bob", 1)]), [""; 0]);
    assert_noticed(&issues_of(&[of(1, "ann", 0)]), "Life(1) believes");
    assert_noticed(&issues_of(&[of(1, "ann", 2), of(2, "bob", 1)]), "Life(1) believes");
}

#[test]
fn a_state_that_differs_and_members_without_a_seat_are_noticed() {
    let issues_of = |seen: &[Mirror]| {
        let (mut logs, mut issues) = (Logs::default(), Issues::default());
        seen.iter().for_each(|mirror| logs.state(mirror, &mut issues));
        issues.lines
    };
    let both = [(1, "ann"), (2, "bob")];
    assert_eq!(issues_of(&[mirror(1, 3, &both), mirror(2, 3, &both), mirror(1, 4, &both[..1])]), [""; 0]);
    assert_noticed(&issues_of(&[mirror(1, 3, &both), mirror(1, 3, &both[..1])]), "another state than others");
    let three = [(1, "ann"), (2, "bob"), (3, "cat")];
    assert_noticed(&issues_of(&[mirror(1, 3, &three)]), "3 members in 2 seats");
}

#[test]
fn a_counter_that_jumps_is_noticed() {
    let issues_of = |values: &[(u64, i64)]| {
        let (mut logs, mut issues) = (Logs::default(), Issues::default());
        for (number, value) in values {
            let key = PropertyKey::new("count").unwrap();
            let set = PropertyChange::Set { key, value: PropertyValue::Integer(*value) };
            let changed = Event::PropertiesChanged {
                slot: Slot(1),
                number: EventNumber(*number),
                revision: Revision(*number),
                member: SEAT.member,
                changes: PropertyChanges::new(vec![set]).unwrap(),
            };
            logs.event(SESSION, SEAT.member, &changed, &mut issues);
        }
        logs.finish(&[], &Intents::default(), &mut issues);
        issues.lines
    };
    assert_eq!(issues_of(&[(3, 1), (4, 2), (6, 9)]), [""; 0], "nobody saw the fifth");
    assert_noticed(&issues_of(&[(3, 1), (4, 3)]), "count jumps to 3");
    assert_noticed(&issues_of(&[(3, 1), (4, 1)]), "count jumps to 1");
}

#[test]
fn a_session_that_does_not_end_with_its_owner_as_it_should_is_noticed() {
    let issues_of = |on_owner_leave, owner_leaves: bool, last: fn(u64) -> Event| {
        let (mut logs, mut issues) = (Logs::default(), Issues::default());
        let mirror = mirror_of(on_owner_leave, 2, 3, &[(1, "ann"), (2, "bob")]);
        logs.event(SESSION, MemberId(2), &entered(mirror), &mut issues);
        if owner_leaves {
            logs.event(SESSION, MemberId(2), &left(3, 1, "ann", LeaveReason::Left), &mut issues);
        }
        logs.event(SESSION, MemberId(2), &last(3 + u64::from(owner_leaves)), &mut issues);
        logs.finish(&[], &Intents::default(), &mut issues);
        issues.lines
    };
    let (delete, transfer) = (OnOwnerLeave::Delete, OnOwnerLeave::Transfer);
    let owner_left: fn(u64) -> Event = |number| deleted(number, DeleteReason::OwnerLeft);
    assert_eq!(issues_of(delete, true, owner_left), [""; 0]);
    assert_eq!(issues_of(transfer, true, |number| owns(number, 2)), [""; 0]);
    assert_eq!(issues_of(delete, false, |number| deleted(number, DeleteReason::Deleted)), [""; 0]);
    assert_noticed(&issues_of(delete, true, |number| owns(number, 2)), "2 owns after 1");
    assert_noticed(&issues_of(delete, true, |number| deleted(number, DeleteReason::Deleted)), "after 1");
    assert_noticed(&issues_of(transfer, true, owner_left), "OwnerLeft");
    assert_noticed(&issues_of(delete, false, owner_left), "OwnerLeft");
    assert_noticed(&issues_of(delete, false, |number| deleted(number, DeleteReason::Idle)), "Idle");
}

#[test]
fn a_session_that_does_not_begin_as_it_was_asked_for_is_noticed() {
    let issues_of = |members: &[(u32, &str)], on_owner_leave| {
        let (mut logs, mut issues) = (Logs::default(), Issues::default());
        let mirror = mirror(1, 2, members);
        logs.state(&mirror, &mut issues);
        let entered = Entered { session: SESSION, slot: Slot(1), member: MemberId(1) };
        logs.created(entered, &Settings { on_owner_leave, ..*mirror.settings() }, &mut issues);
        issues.lines
    };
    assert_eq!(issues_of(&[(1, "ann")], OnOwnerLeave::Transfer), [""; 0]);
    assert_noticed(&issues_of(&[(1, "ann")], OnOwnerLeave::Delete), "began with");
    assert_noticed(&issues_of(&[(1, "ann"), (2, "bob")], OnOwnerLeave::Transfer), "began with");
}

#[test]
fn an_owner_whose_turn_it_is_not_is_noticed() {
    let three = [(1, "ann"), (2, "bob"), (3, "cat")];
    let issues_of = |asked: &[u32], events: &[Event]| {
        let (mut logs, mut issues) = (Logs::default(), Issues::default());
        let mut intents = Intents::default();
        for member in asked {
            intents.asked(Some(MINE), &Request::Transfer(Transfer { member: MemberId(*member) }));
        }
        logs.event(SESSION, MemberId(3), &entered(mirror(3, 4, &three)), &mut issues);
        events.iter().for_each(|event| logs.event(SESSION, MemberId(3), event, &mut issues));
        logs.finish(&[], &intents, &mut issues);
        issues.lines
    };
    let leaves = |number, member, name| left(number, member, name, LeaveReason::Left);
    let ann_leaves = leaves(4, 1, "ann");
    assert_eq!(issues_of(&[], &[ann_leaves.clone(), owns(5, 2), leaves(6, 2, "bob"), owns(7, 3)]), [""; 0]);
    assert_noticed(&issues_of(&[3], &[ann_leaves.clone(), owns(5, 3)]), "3 owns after 1");
    assert_noticed(&issues_of(&[], &[ann_leaves.clone(), leaves(5, 2, "bob")]), "2 left");
    assert_eq!(issues_of(&[3], &[owns(4, 3)]), [""; 0]);
    assert_noticed(&issues_of(&[], &[owns(4, 3)]), "3 owns after 1");
    assert_eq!(issues_of(&[], &[ann_leaves, owns(7, 3)]), [""; 0], "nobody saw what was between");
}

#[test]
fn a_slot_or_a_seat_that_is_given_twice_is_noticed() {
    let issues_of = |second: (u32, u32)| {
        let (mut memberships, mut issues) = (Memberships::default(), Issues::default());
        for (life, member) in [(1, 2), second] {
            memberships.event(Life(life), &entered(mirror(member, 2, &[(member, "ann")])), &mut issues);
        }
        issues.lines
    };
    assert_eq!(issues_of((2, 3)), [""; 0]);
    assert_noticed(&issues_of((1, 3)), "slot 1 twice");
    assert_noticed(&issues_of((2, 2)), "was Life(1)'s");
}

const INVITE: InviteId = InviteId { session: SESSION, number: 1 };
/// Connections of ann, who owns the session, and of bob, who has two.
const ANN: Life = Life(1);
const BOB: Life = Life(2);
const BOBS_OTHER: Life = Life(3);

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

/// What clients ask and are told of invites.
#[derive(Default)]
struct Scene {
    book: InviteBook,
    lives: Lives,
    requests: u32,
}

impl Scene {
    /// A scene in which ann, bob and cat play.
    fn new() -> Self {
        let mut scene = Self::default();
        for (life, name) in [(ANN, "ann"), (BOB, "bob"), (BOBS_OTHER, "bob"), (Life(4), "cat")] {
            scene.lives.born(life, user(name));
        }
        scene
    }

    /// A scene in which ann asks at 100 to invite bob for a second, and is answered at 150 that he has
    /// [`INVITE`].
    fn with_one_made() -> Self {
        let mut scene = Self::new();
        scene.ask(ANN, [100, 150], invite_of("bob"), Ok(Value::Invited(vec![Ok(INVITE.number)])));
        scene
    }

    /// In addition, bob is told of the invite at 150.
    fn with_one_told() -> Self {
        let mut scene = Self::with_one_made();
        scene.tell(150, BOB, &invited());
        scene
    }

    fn tell(&mut self, millis: u64, life: Life, event: &Event) {
        self.book.event(at(millis), life, &self.lives, event);
    }

    /// Sends a command at the first time and answers it at the second.
    fn ask(
        &mut self,
        life: Life,
        [sent, told]: [u64; 2],
        request: Request,
        outcome: Result<Value, RequestError>,
    ) {
        self.requests += 1;
        let user = self.lives.user(life).unwrap().clone();
        let sender = Sender { life, user, id: RequestId(self.requests) };
        let seat = (life == ANN).then_some(MINE);
        self.book.asked(at(sent), sender.clone(), seat, &request, None);
        let asked = answers::Asked { seat, ..asked(sent, request) };
        self.book.answered(at(told), &sender, &asked, &outcome);
    }

    /// Returns what the judge of invites finds.
    fn issues(&self) -> Vec<String> {
        let (intents, ends, mut issues) = (Intents::default(), Ends::default(), Issues::default());
        let there = mirror(1, 3, &[(1, "ann")]);
        let living = [(ANN, user("ann"), vec![&there])];
        let (book, lives) = (&self.book, &self.lives);
        Judge { book, lives, intents: &intents, ends: &ends, living: &living }.finish(&mut issues);
        issues.lines
    }
}

/// The command that makes [`INVITE`], or a similar one.
fn invite_of(name: &str) -> Request {
    Request::Invite(Invite {
        users: InvitedUsers::new(vec![user(name)]).unwrap(),
        ttl: InviteTtl::new(1).unwrap(),
        hold_seat: false,
        note: Note::none(),
    })
}

fn join_by_invite() -> Request {
    Request::Join(Join::Invite(INVITE))
}

fn decline() -> Request {
    Request::Decline(Decline { invite: INVITE, reason: Reason::none() })
}

fn revoke() -> Request {
    Request::Revoke(Revoke { number: INVITE.number })
}

fn invitation(number: u32, owner: &str) -> Invitation {
    Invitation {
        invite: InviteId { number, ..INVITE },
        kind: SessionKind(1),
        owner: user(owner),
        ttl_left_ms: 1_000,
        note: Note::none(),
    }
}

/// The notification of [`INVITE`].
fn invited() -> Event {
    Event::Invited(invitation(INVITE.number, "ann"))
}

fn asked(millis: u64, request: Request) -> answers::Asked {
    answers::Asked { request, at: Timestamp::from_millis(millis), seat: None }
}

fn is_in() -> Result<Value, RequestError> {
    Ok(Value::Entered(Entered { session: SESSION, slot: Slot(1), member: MemberId(3) }))
}

fn refused(code: ErrorCode) -> Result<Value, RequestError> {
    Err(RequestError::Refused(code))
}

#[test]
fn a_command_answered_twice_or_never_is_noticed() {
    let (mut answers, mut issues) = (Answers::default(), Issues::default());
    answers.asked(Life(1), RequestId(1), Timestamp::ZERO, None, &Request::ListMine, &mut issues);
    answers.asked(Life(1), RequestId(2), Timestamp::ZERO, None, &Request::ListMine, &mut issues);
    answers.answered(Life(1), RequestId(1), &Ok(Value::Empty), &mut issues);
    assert_eq!(issues.lines, [""; 0]);
    answers.answered(Life(1), RequestId(1), &Ok(Value::Empty), &mut issues);
    answers.finish(&BTreeMap::new(), &BTreeMap::new(), &Intents::default(), std::iter::empty(), &mut issues);
    assert_eq!(issues.lines.len(), 2);
}

#[test]
fn a_revision_that_two_are_told_is_theirs_is_noticed() {
    let revision = Ok(Value::Revision(Revision(4)));
    let mine = |member| Some(Mine { member: MemberId(member), ..MINE });
    let issues_of = |members: &[u32], seen_of: u32| {
        let (mut answers, mut issues) = (Answers::default(), Issues::default());
        for (member, id) in members.iter().zip(1..) {
            let (life, id) = (Life(*member), RequestId(id));
            answers.asked(life, id, Timestamp::ZERO, mine(*member), &Request::ListMine, &mut issues);
            answers.answered(life, id, &revision, &mut issues);
        }
        let seen = (SESSION, Revision(4), MemberId(seen_of));
        let seats = [(Seat { session: SESSION, member: MemberId(1) }, Life(1))];
        answers.finish(
            &seats.into(),
            &BTreeMap::new(),
            &Intents::default(),
            std::iter::once(seen),
            &mut issues,
        );
        issues.lines
    };
    assert_eq!(issues_of(&[1], 1), [""; 0]);
    assert_noticed(&issues_of(&[2, 1], 1), "both made revision 4");
    assert_noticed(&issues_of(&[1], 2), "1 was told, 2 seen");
    assert_noticed(&issues_of(&[], 1), "was not told of its revision 4");
}

#[test]
fn a_connection_that_ends_with_open_commands_is_noticed() {
    let (mut answers, mut issues) = (Answers::default(), Issues::default());
    for id in [1, 1] {
        answers.asked(Life(1), RequestId(id), Timestamp::ZERO, None, &Request::ListMine, &mut issues);
    }
    assert_noticed(&issues.lines, "while it was open");
    answers.ended(Life(1), &mut issues);
    assert_noticed(&issues.lines[1..], "ended without an answer");
    answers.ended(Life(1), &mut issues);
    assert_eq!(issues.lines.len(), 2, "they are forgotten");
}
