//! Sessions through the whole server: which messages each member gets, in which order and on which stream.

use std::time::Duration;

use bytes::Bytes;

use super::house::{create, invite};
use super::{House, Limits, Who, with_any_workers};
use crate::base::{
    EventNumber, InviteId, MemberId, RequestId, Revision, SessionId, SessionKind, Slot, StreamId, UserId,
    Wire,
};
use crate::net::Driven;
use crate::rudp::SendError;
use crate::server::mail::{Post, WorkerSet};
use crate::server::worker::answers::Answer;
use crate::session::MemberRef;
use crate::wire::command::{
    Broadcast, Decline, Delete, Join, Kick, Message, Recipients, Revoke, To, Transfer,
};
use crate::wire::result::Entered;
use crate::wire::{
    Admission, Body, CloseCode, Command, CommandResult, DeleteReason, Delivery, ErrorCode, LeaveReason,
    PropertyKey, PropertyOp, PropertyOps, PropertyValue, Reason, Request, ServerMessage, SessionEvent,
    UserEvent, Value,
};

/// Creates an open session of ann, ben and cat, and takes the events of their joins.
fn gathered(house: &mut House) -> [(Who, Entered); 3] {
    let [ann, ben, cat] =
        [("ann", 0), ("ben", 1), ("cat", 2)].map(|(user, worker)| house.connect(user, worker));
    let session = house.create(ann, 3, Admission::Open);
    let [with_ben, with_cat] = [ben, cat].map(|who| house.join_open(who, session.session).unwrap());
    let all = [(ann, session), (ben, with_ben), (cat, with_cat)];
    for (who, entered) in all {
        house.events(who, entered.slot);
    }
    all
}

pub(super) fn send_broadcast(
    house: &mut House,
    (who, at): (Who, Entered),
    delivery: Delivery,
    to: To,
    text: &'static str,
) {
    let body = Body::new(delivery, Bytes::from_static(text.as_bytes())).unwrap();
    let command = Command::Broadcast(Broadcast { delivery, to, counter: 9, body }).encode();
    house.send_raw(who, at.slot.into(), Delivery::ReliableOrdered, command);
}

fn broadcast(house: &mut House, by: (Who, Entered), delivery: Delivery, to: To, text: &'static str) {
    send_broadcast(house, by, delivery, to, text);
    house.run();
}

fn kick(member: MemberId) -> Request {
    Request::Kick(Kick { member, reason: Reason::none() })
}

// spec-test: EVT-4, SES-13
#[test]
fn a_snapshot_comes_first_and_later_events_follow_it() {
    with_any_workers(|house| {
        let (ann, ben) = (house.connect("ann", 0), house.connect("ben", 1));
        let at = house.create(ann, 2, Admission::Open);
        let events = house.events(ann, at.slot);
        let [SessionEvent::Snapshot(snapshot)] = &events[..] else { panic!("{events:?}") };
        assert_eq!((snapshot.you, snapshot.session), (at.member, at.session));

        let joined = house.join_open(ben, at.session).unwrap();
        let told = house.events(ann, at.slot);
        let [SessionEvent::MemberJoined { number, member, .. }] = &told[..] else { panic!("{told:?}") };
        assert_eq!((*number, *member), (snapshot.next, joined.member));
        let events = house.events(ben, joined.slot);
        let [SessionEvent::Snapshot(snapshot)] = &events[..] else { panic!("{events:?}") };
        assert_eq!(snapshot.next, EventNumber(number.0 + 1));
        assert_eq!(snapshot.members.len(), 2);
    });
}

// spec-test: EVT-8, SES-12, SES-14
#[test]
fn ordered_broadcasts_reach_all_in_one_order() {
    with_any_workers(|house| {
        let all = gathered(house);
        for (who, text) in [(all[0], "a"), (all[1], "b"), (all[2], "c"), (all[0], "d")] {
            broadcast(house, who, Delivery::ReliableOrdered, To::All, text);
        }
        let told = all.map(|(who, at)| house.events(who, at.slot));
        assert_eq!(told[0].len(), 4);
        assert_eq!(told[0], told[1]);
        assert_eq!(told[0], told[2]);
    });
}

// spec-test: EVT-8
#[test]
fn a_broadcast_to_others_leaves_its_sender_a_receipt() {
    with_any_workers(|house| {
        let all = gathered(house);
        broadcast(house, all[0], Delivery::ReliableOrdered, To::Others, "x");
        let own = house.events(all[0].0, all[0].1.slot);
        let [SessionEvent::Receipt { number }] = own[..] else { panic!("{own:?}") };
        let theirs = house.events(all[1].0, all[1].1.slot);
        let [SessionEvent::Message { number: same, .. }] = &theirs[..] else { panic!("{theirs:?}") };
        assert_eq!(number, *same);
    });
}

// spec-test: EVT-10, MSG-1
#[test]
fn every_delivery_arrives_with_its_sender_and_the_apps_own_key() {
    with_any_workers(|house| {
        let all = gathered(house);
        let deliveries = [
            Delivery::Unreliable,
            Delivery::Sequenced { key: 7 },
            Delivery::ReliableUnordered,
            Delivery::ReliableLatest { key: 7 },
        ];
        for delivery in deliveries {
            broadcast(house, all[1], delivery, To::Others, "x");
            assert_eq!(house.events(all[1].0, all[1].1.slot), [], "not to its sender");
            for (who, at) in [all[0], all[2]] {
                let body = Body::new(delivery, Bytes::from_static(b"x")).unwrap();
                let sent = SessionEvent::Sent { sender: all[1].1.member, delivery, body };
                assert_eq!(house.events(who, at.slot), [sent]);
            }
        }
    });
}

// spec-test: MSG-1
#[test]
fn an_unreliable_message_names_the_slot_of_each_who_gets_it() {
    with_any_workers(|house| {
        let (ann, ben) = (house.connect("ann", 0), house.connect("ben", 0));
        house.create(ben, 1, Admission::Invited);
        let at = house.create(ann, 3, Admission::Open);
        let all = [(ann, at), (ben, house.join_open(ben, at.session).unwrap())];
        assert_ne!(all[0].1.slot, all[1].1.slot);
        for (who, at) in all {
            house.events(who, at.slot);
        }
        broadcast(house, all[0], Delivery::Unreliable, To::All, "x");
        assert_eq!(all.map(|(who, at)| house.events(who, at.slot).len()), [1, 1]);
    });
}

/// On the receivers' stream the keys do not collide: a value of one sender replaces none of the other.
// spec-test: EVT-10
#[test]
fn a_key_of_two_senders_is_two_keys() {
    with_any_workers(|house| {
        let all = gathered(house);
        for delivery in [Delivery::Sequenced { key: 7 }, Delivery::ReliableLatest { key: 7 }] {
            let body = Body::new(delivery, Bytes::from_static(b"x")).unwrap();
            let broadcast = Broadcast { delivery, to: To::Others, counter: 9, body };
            for (who, at) in [all[0], all[1]] {
                let command = Command::Broadcast(broadcast.clone()).encode();
                house.send_raw(who, at.slot.into(), Delivery::ReliableOrdered, command);
            }
            house.run();
            let told = all.map(|(who, at)| house.events(who, at.slot).len());
            assert_eq!(told, [1, 1, 2], "{delivery:?}");
        }
    });
}

// spec-test: CMD-21
#[test]
fn a_message_reaches_the_named_members_only() {
    with_any_workers(|house| {
        let all = gathered(house);
        let delivery = Delivery::ReliableOrdered;
        let body = Body::new(delivery, Bytes::from_static(b"psst")).unwrap();
        let to = Recipients::new(vec![all[2].1.member]).unwrap();
        let command = Command::Message(Message { delivery, counter: 1, to, body }).encode();
        house.send_raw(all[0].0, all[0].1.slot.into(), delivery, command);
        house.run();
        let told = all.map(|(who, at)| house.events(who, at.slot).len());
        assert_eq!(told, [0, 0, 1]);
    });
}

/// Refused by the session, not by a budget of the connection.
// spec-test: CMD-25, CMD-21
#[test]
fn a_message_to_a_stranger_is_refused_by_its_counter() {
    with_any_workers(|house| {
        let all = gathered(house);
        let delivery = Delivery::ReliableOrdered;
        let body = Body::new(delivery, Bytes::from_static(b"psst")).unwrap();
        let to = Recipients::new(vec![all[2].1.member, MemberId(99)]).unwrap();
        let command = Command::Message(Message { delivery, counter: 200, to, body }).encode();
        house.send_raw(all[0].0, all[0].1.slot.into(), delivery, command);
        house.run();
        let refused = SessionEvent::Refused { counter: 200, code: ErrorCode::NoSuchMember };
        let told = all.map(|(who, at)| house.events(who, at.slot));
        assert_eq!(told, [vec![refused], vec![], vec![]]);
    });
}

// spec-test: CMD-5, CMD-19, EVT-6, SES-3, SES-12
#[test]
fn a_leavers_own_leave_is_its_last_message_and_its_slot_is_gone() {
    with_any_workers(|house| {
        let all = gathered(house);
        let (ben, at) = all[1];
        let leave = house.send(ben, Some(at.slot), Request::Leave);
        let late = house.send(ben, Some(at.slot), Request::SetProperties(some_ops()));
        house.run();
        assert_eq!(house.answer(ben, leave), Ok(Value::Empty));
        // Both were in one datagram. The second found no member any more, and came too late to be answered.
        assert_eq!(house.answered_on(ben, late), None);
        for (who, entered) in all {
            let told = house.events(who, entered.slot);
            let [SessionEvent::MemberLeft { member, why: LeaveReason::Left, .. }] = &told[..] else {
                panic!("{told:?}")
            };
            assert_eq!(*member, at.member);
        }
        for delivery in [Delivery::ReliableOrdered, Delivery::Unreliable] {
            broadcast(house, all[0], delivery, To::All, "x");
        }
        assert_eq!(house.events(ben, at.slot), [], "nothing after its leave");
        let again = house.join_open(ben, at.session).unwrap();
        assert_ne!(again.slot, at.slot, "a slot is never given again");
    });
}

// spec-test: SES-18
#[test]
fn a_session_that_the_operator_ends_is_over_for_all() {
    with_any_workers(|house| {
        let [(ann, at), (ben, with_ben), _] = gathered(house);
        let other = house.create(ann, 2, Admission::Open);
        let dan = house.connect("dan", 0);
        let number = house.invite(ann, at.slot, &["dan"], 60)[0].unwrap();
        house.user_events(dan);
        let info = house.shared.sessions.look_at(at.session).unwrap();
        let members = house.shared.sessions.members(at.session).unwrap();
        assert_eq!((info.members, info.open_invites, info.owner), (3, 1, at.member));
        assert_eq!(
            members.iter().map(|member| member.user.as_str()).collect::<Vec<_>>(),
            ["ann", "ben", "cat"]
        );
        let mut all: Vec<_> = house.shared.sessions.infos().iter().map(|info| info.session).collect();
        all.sort_unstable();
        let mut both = [at.session, other.session];
        both.sort_unstable();
        assert_eq!(all, both);

        let reason = Reason::new("a test").unwrap();
        assert!(!house.shared.close_session(SessionId(0), reason.clone()), "there is none of this id");
        assert!(house.shared.close_session(at.session, reason.clone()));
        // The second mail finds no session.
        house.shared.close_session(at.session, reason.clone());
        house.run();
        for (who, slot) in [(ann, at.slot), (ben, with_ben.slot)] {
            let told = house.events(who, slot);
            let Some(SessionEvent::SessionDeleted { why, reason: heard, .. }) = told.last() else {
                panic!("{told:?}")
            };
            assert_eq!((why, heard), (&DeleteReason::ClosedByOperator, &reason));
        }
        let invite = InviteId { session: at.session, number };
        assert_eq!(house.user_events(dan), [UserEvent::InviteRevoked { invite }]);
        assert!(house.shared.sessions.look_at(at.session).is_none());
        assert!(house.join_open(dan, other.session).is_ok(), "others go on");
    });
}

// spec-test: SES-18
#[test]
fn a_user_whom_the_operator_removes_is_out_of_that_session_alone() {
    with_any_workers(|house| {
        let [(ann, at), (ben, with_ben), _] = gathered(house);
        let other = house.create(ann, 2, Admission::Open);
        let ben_there = house.join_open(ben, other.session).unwrap();
        let (reason, user) = (Reason::new("a test").unwrap(), UserId::new("ben").unwrap());
        assert!(!house.shared.remove_member(SessionId(0), &user, reason.clone()), "there is no such session");
        assert!(!house.shared.remove_member(at.session, &UserId::new("dan").unwrap(), reason.clone()));
        assert!(house.shared.remove_member(at.session, &user, reason.clone()));
        // The second mail finds no member.
        house.shared.remove_member(at.session, &user, reason.clone());
        house.run();
        assert!(!house.shared.remove_member(at.session, &user, reason.clone()));
        for (who, slot) in [(ann, at.slot), (ben, with_ben.slot)] {
            let told = house.events(who, slot);
            let left = |event: &&SessionEvent| matches!(event, SessionEvent::MemberLeft { .. });
            let lefts: Vec<_> = told.iter().filter(left).collect();
            let [SessionEvent::MemberLeft { member, why, reason: heard, .. }] = lefts[..] else {
                panic!("{told:?}")
            };
            assert_eq!((*member, *why, heard), (with_ben.member, LeaveReason::Kicked, &reason));
        }
        assert!(house.shared.directory.live(&user).is_some(), "they stay connected");
        let members = house.shared.sessions.members(other.session).unwrap();
        assert!(members.iter().any(|member| member.id == ben_there.member), "and in their other session");
    });
}

/// Creates an open session of 64 members with one more seat. Also returns the entry of its first member, who
/// owns it.
pub(super) fn full_house(house: &mut House) -> (Vec<(Who, Entered)>, Entered) {
    let ann = house.connect("ann", 0);
    let at = house.create(ann, 65, Admission::Open);
    let mut all = vec![(ann, at)];
    for number in 1..64 {
        let who = house.connect(&format!("user {number}"), 0);
        all.push((who, house.join_open(who, at.session).unwrap()));
    }
    (all, at)
}

/// A worker that is behind with its mail holds back the snapshot and the result: once a client knows of its
/// seat, the commands that it sends there are answered on the slot's stream.
// spec-test: EVT-4, SES-14
#[test]
fn nobody_hears_of_a_seat_before_its_snapshot() {
    let mut house = House::new(1, Limits::default());
    let (all, at) = full_house(&mut house);
    let ben = house.connect("ben", 0);
    for member in &all {
        (0..2).for_each(|_| send_broadcast(&mut house, *member, Delivery::ReliableOrdered, To::All, "x"));
    }
    let join = house.send(ben, None, Request::Join(Join::Session(at.session)));
    let list = house.send(ben, None, Request::ListMine);
    let senders: Vec<_> = all.iter().map(|(who, _)| *who).chain([ben]).collect();
    house.run_sockets(&senders);
    assert!(house.workers[0].behind, "the mail of the join is not the first");
    while house.answered_on(ben, join).is_none() {
        assert_eq!(house.answered_on(ben, list), None, "results come in the order of their commands");
        assert!(house.round());
    }
    assert!(matches!(house.answer(ben, list), Ok(Value::Sessions(mine)) if mine.len() == 1));
    let Ok(Value::Entered(entered)) = house.answer(ben, join) else { panic!("refused") };
    let events = house.events(ben, entered.slot);
    assert!(matches!(events.first(), Some(SessionEvent::Snapshot(_))), "{events:?}");
}

/// No correct client sends this: it does not know the slot yet.
// spec-test: SES-3, MSG-1
#[test]
fn a_slot_that_is_used_before_it_was_told_ends_the_connection() {
    let mut house = House::new(1, Limits::default());
    let (all, at) = full_house(&mut house);
    let ben = house.connect("ben", 0);
    for member in &all {
        (0..2).for_each(|_| send_broadcast(&mut house, *member, Delivery::ReliableOrdered, To::All, "x"));
    }
    house.send(ben, None, Request::Join(Join::Session(at.session)));
    let senders: Vec<_> = all.iter().map(|(who, _)| *who).chain([ben]).collect();
    house.run_sockets(&senders);
    assert!(house.workers[0].behind, "the snapshot has not left");
    let body = Body::new(Delivery::Unreliable, Bytes::from_static(b"early")).unwrap();
    let early = Broadcast { delivery: Delivery::Unreliable, to: To::All, counter: 0, body };
    let early = [&[1][..], &Command::Broadcast(early).encode()].concat();
    house.send_raw(ben, StreamId::CONTROL, Delivery::Unreliable, early.into());
    house.run_socket(ben);
    house.run();
    assert_eq!(house.closed_with(ben), Some(CloseCode::ProtocolViolation));
}

/// Waiting results are as bounded as queued ones.
// spec-test: SES-14, SES-17
#[test]
fn results_that_wait_count_as_queued() {
    let limits = Limits {
        max_queued_bytes: 262_144,
        lagging_bytes: 100_000,
        command_bytes_per_second: 1 << 26,
        ..Limits::default()
    };
    let mut house = House::new(1, limits);
    let (mut all, at) = full_house(&mut house);
    let (ann, ben) = (all[0].0, house.connect("ben", 0));
    // To make the lists longer.
    for _ in 0..12 {
        let slot = house.create(ann, 2, Admission::Invited).slot;
        assert!(house.invite(ann, slot, &["ben"], 60)[0].is_ok());
    }
    for member in &all {
        (0..2).for_each(|_| send_broadcast(&mut house, *member, Delivery::ReliableOrdered, To::All, "x"));
    }
    house.send(ben, None, Request::Join(Join::Session(at.session)));
    (0..1_200).for_each(|_| _ = house.send(ben, None, Request::ListInvites));
    all.push((ben, at));
    house.run_sockets(&all.iter().map(|(who, _)| *who).collect::<Vec<_>>());
    assert!(house.workers[0].behind, "the snapshot has not left");
    assert_eq!(house.workers[0].clients.len(), 64);
    house.run();
    assert_eq!(house.closed_with(ben), Some(CloseCode::Lagging));
    assert!(all[..64].iter().all(|(who, _)| house.closed_with(*who).is_none()));
}

/// Otherwise each entry of a user would leave memory behind for as long as the user stays connected.
// spec-test: STR-9, EVT-6
#[test]
fn a_slot_that_is_over_has_no_stream_at_the_server() {
    let mut house = House::new(1, Limits::default());
    let ann = house.connect("ann", 0);
    let slot = house.create(ann, 3, Admission::Open).slot;
    house.ask(ann, Some(slot), Request::Leave).unwrap();
    let (now, stream) = (house.now.mono, StreamId::from(slot));
    let clients = &mut house.workers[0].clients;
    let id = clients.connections()[0];
    let connection = clients.endpoint.connection(id).unwrap();
    let sent = connection.send(now, stream, Delivery::ReliableOrdered, Bytes::new().into());
    assert_eq!(sent, Err(SendError::UnknownStream(stream)));
}

/// Only an unreliable message can arrive this late: the stream is finished.
// spec-test: CMD-5, MSG-1
#[test]
fn what_comes_for_a_slot_that_is_over_is_dropped() {
    with_any_workers(|house| {
        let all = gathered(house);
        let (ben, at) = all[1];
        house.ask(ben, Some(at.slot), Request::Leave).unwrap();
        house.events(ben, at.slot);
        let again = house.join_open(ben, at.session).unwrap();
        let all = [all[0], (ben, again), all[2]];
        for (who, at) in all {
            house.events(who, at.slot);
        }
        let body = Body::new(Delivery::Unreliable, Bytes::from_static(b"late")).unwrap();
        let command = Broadcast { delivery: Delivery::Unreliable, to: To::All, counter: 9, body };
        let late = [&[at.slot.0 as u8][..], &Command::Broadcast(command).encode()].concat();
        house.send_raw(ben, StreamId::CONTROL, Delivery::Unreliable, late.into());
        house.run();
        assert_eq!(all.map(|(who, at)| house.events(who, at.slot)), [vec![], vec![], vec![]]);
        assert_eq!(house.events(ben, at.slot), []);
        assert_eq!(house.closed_with(ben), None, "the leaving may have crossed it");
    });
}

// spec-test: SES-16, CMD-23
#[test]
fn what_only_the_owner_may_do_is_refused_to_others_and_changes_nothing() {
    with_any_workers(|house| {
        let all = gathered(house);
        let (ben, at) = all[1];
        let transfer = Request::Transfer(Transfer { member: at.member });
        let delete = Request::Delete(Delete { reason: Reason::none() });
        for request in [kick(all[2].1.member), transfer, delete, invite(&["dan"], 10)] {
            assert_eq!(house.ask(ben, Some(at.slot), request), Err(ErrorCode::NotOwner));
        }
        for (who, at) in all {
            assert_eq!(house.events(who, at.slot), []);
        }
    });
}

// spec-test: EVT-6, CMD-16
#[test]
fn a_kicked_member_is_told_why_and_gone() {
    with_any_workers(|house| {
        let all = gathered(house);
        let (ann, at) = all[0];
        let kick = Request::Kick(Kick { member: all[1].1.member, reason: Reason::new("spam").unwrap() });
        assert_eq!(house.ask(ann, Some(at.slot), kick), Ok(Value::Empty));
        for (who, at) in all {
            let told = house.events(who, at.slot);
            let [SessionEvent::MemberLeft { why: LeaveReason::Kicked, reason, .. }] = &told[..] else {
                panic!("{told:?}")
            };
            assert_eq!(reason.as_str(), "spam");
        }
        assert_eq!(house.ask(all[1].0, None, Request::ListMine), Ok(Value::Sessions(vec![])));
    });
}

// spec-test: EVT-6, CMD-18
#[test]
fn a_deleted_session_ends_for_all() {
    with_any_workers(|house| {
        let all = gathered(house);
        let delete = Request::Delete(Delete { reason: Reason::new("over").unwrap() });
        assert_eq!(house.ask(all[0].0, Some(all[0].1.slot), delete), Ok(Value::Empty));
        for (who, at) in all {
            let told = house.events(who, at.slot);
            let [SessionEvent::SessionDeleted { why: DeleteReason::Deleted, reason, .. }] = &told[..] else {
                panic!("{told:?}")
            };
            assert_eq!(reason.as_str(), "over");
        }
        assert_eq!(house.shared.sessions.len(), 0);
        assert_eq!(house.join_open(all[1].0, all[0].1.session), Err(ErrorCode::NoSuchSession));
    });
}

// spec-test: SES-10
#[test]
fn of_two_that_join_the_last_seat_at_once_one_gets_it() {
    with_any_workers(|house| {
        let [ann, ben, cat] = [("ann", 0), ("ben", 1), ("cat", 2)].map(|(user, at)| house.connect(user, at));
        let session = house.create(ann, 2, Admission::Open).session;
        let join = Request::Join(Join::Session(session));
        let asked = [ben, cat].map(|who| (who, house.send(who, None, join.clone())));
        house.run();
        let answers = asked.map(|(who, id)| house.answer(who, id));
        let entered = answers.iter().filter(|answer| answer.is_ok()).count();
        let full = answers.iter().filter(|answer| **answer == Err(ErrorCode::SessionFull)).count();
        assert_eq!((entered, full), (1, 1), "{answers:?}");
    });
}

// spec-test: CMD-14
#[test]
fn users_that_the_session_never_saw_are_answered_in_their_place() {
    let mut house = House::new(1, Limits { invites_per_user: 1, ..Limits::default() });
    let ann = house.connect("ann", 0);
    let [first, second] = [(); 2].map(|()| house.create(ann, 3, Admission::Invited));
    assert_eq!(house.invite(ann, first.slot, &["ben"], 60), [Ok(1)]);
    let answers = house.invite(ann, second.slot, &["ben", "cat", "ann", "dan"], 60);
    let wanted = [Err(ErrorCode::TooManyInvites), Ok(1), Err(ErrorCode::AlreadyMember), Ok(2)];
    assert_eq!(answers, wanted);
}

// spec-test: INV-5, INV-6
#[test]
fn an_invite_waits_for_a_user_that_is_offline() {
    with_any_workers(|house| {
        let ann = house.connect("ann", 0);
        let at = house.create(ann, 2, Admission::Invited);
        let number = *house.invite(ann, at.slot, &["ben"], 60)[0].as_ref().unwrap();
        house.pass(Duration::from_secs(10));

        let ben = house.connect("ben", 1);
        let told = house.user_events(ben);
        let [UserEvent::Invited(invitation)] = &told[..] else { panic!("{told:?}") };
        let id = InviteId { session: at.session, number };
        assert_eq!((invitation.invite, invitation.owner.as_str()), (id, "ann"));
        assert_eq!(invitation.kind, SessionKind(5), "that of the session");
        assert!((49_000..=50_000).contains(&invitation.ttl_left_ms), "{}", invitation.ttl_left_ms);
        assert!(house.ask(ben, None, Request::Join(Join::Invite(id))).is_ok());
        assert_eq!(house.ask(ben, None, Request::ListInvites), Ok(Value::Invites(vec![])));
    });
}

// spec-test: INV-3, INV-6, INV-7
#[test]
fn a_connected_user_is_told_of_an_invite_once_and_of_its_end() {
    with_any_workers(|house| {
        let (ann, ben) = (house.connect("ann", 0), house.connect("ben", 1));
        let at = house.create(ann, 2, Admission::Invited);
        let id = |number: &Result<u32, ErrorCode>| InviteId {
            session: at.session,
            number: *number.as_ref().unwrap(),
        };
        let first = id(&house.invite(ann, at.slot, &["ben"], 60)[0]);
        let second = id(&house.invite(ann, at.slot, &["ben"], 60)[0]);
        let told = house.user_events(ben);
        let [UserEvent::Invited(one), UserEvent::Invited(two)] = &told[..] else { panic!("{told:?}") };
        assert_eq!((one.invite, two.invite), (first, second));
        let Ok(Value::Invites(open)) = house.ask(ben, None, Request::ListInvites) else { panic!() };
        assert_eq!(
            open.iter().map(|open| open.invite).collect::<Vec<_>>(),
            [second],
            "the first was replaced"
        );

        let decline = Request::Decline(Decline { invite: second, reason: Reason::none() });
        assert_eq!(house.ask(ben, None, decline), Ok(Value::Empty));
        let told = house.user_events(ann);
        assert!(
            matches!(&told[..], [UserEvent::InviteDeclined { invite, .. }] if *invite == second),
            "{told:?}"
        );

        let third = id(&house.invite(ann, at.slot, &["ben"], 5)[0]);
        house.user_events(ben);
        house.pass(Duration::from_secs(5));
        assert_eq!(house.user_events(ben), [UserEvent::InviteExpired { invite: third, user: None }]);
        let told = house.user_events(ann);
        assert!(matches!(&told[..], [UserEvent::InviteExpired { user: Some(_), .. }]), "{told:?}");
        let late = house.ask(ben, None, Request::Join(Join::Invite(third)));
        assert_eq!(late, Err(ErrorCode::InviteExpired));
    });
}

#[test]
fn the_end_of_a_session_revokes_its_invites() {
    with_any_workers(|house| {
        let (ann, ben) = (house.connect("ann", 0), house.connect("ben", 1));
        let at = house.create(ann, 2, Admission::Invited);
        house.invite(ann, at.slot, &["ben", "zoe"], 60);
        house.user_events(ben);
        house.hang_up(ann);
        house.pass(Duration::from_millis(1));
        let told = house.user_events(ben);
        assert!(matches!(told[..], [UserEvent::InviteRevoked { .. }]), "{told:?}");
        house.hang_up(ben);
        assert!(house.shared.directory.is_empty(), "nothing is left of anyone");
    });
}

// spec-test: LIM-1, SES-9
#[test]
fn a_session_counts_for_its_user_until_it_has_ended() {
    with_any_workers(|house| {
        let ann = house.connect("ann", 0);
        let most = house.shared.limits.sessions_per_user;
        let slots: Vec<Slot> = (0..most).map(|_| house.create(ann, 1, Admission::Invited).slot).collect();
        assert_eq!(house.ask(ann, None, create(1, Admission::Invited)), Err(ErrorCode::TooManySessions));
        let nowhere = house.join_open(ann, SessionId(1));
        assert_eq!(nowhere, Err(ErrorCode::TooManySessions), "before it is looked for");
        house.ask(ann, Some(slots[0]), Request::Leave).unwrap();
        house.create(ann, 1, Admission::Invited);
    });
}

// spec-test: CMD-4, SES-14, PRP-1
#[test]
fn each_request_is_carried_out_and_answered_once_and_in_order() {
    with_any_workers(|house| {
        let ann = house.connect("ann", 0);
        let slot = Some(house.create(ann, 1, Admission::Invited).slot);
        let set = PropertyOp::Set { key: key(), value: PropertyValue::Integer(0), rule: None };
        let set = PropertyOps::new(vec![set]).unwrap();
        house.ask(ann, slot, Request::SetProperties(set)).unwrap();
        let requests: Vec<_> =
            (0..50).map(|_| house.send(ann, slot, Request::SetProperties(some_ops()))).collect();
        house.run();
        for (request, revision) in requests.into_iter().zip(2..) {
            // `answer` requires exactly one.
            assert_eq!(house.answer(ann, request), Ok(Value::Revision(Revision(revision))));
            assert_eq!(house.answered_on(ann, request), slot.map(StreamId::from), "that of its request");
        }
    });
}

/// A user who is answered has already received what the answer is about, so no application has to wait for
/// it.
// spec-test: SES-19, CMD-19
#[test]
fn a_result_comes_behind_what_the_session_has_told_by_then() {
    with_any_workers(|house| {
        let all = gathered(house);
        let [(ann, at), (ben, of_ben), (cat, of_cat)] = all;
        let (slot, counted) = (Some(at.slot), Request::SetProperties(some_ops()));
        let set = PropertyOp::Set { key: key(), value: PropertyValue::Integer(0), rule: None };
        house.ask(ann, slot, Request::SetProperties(PropertyOps::new(vec![set]).unwrap())).unwrap();
        all.iter().for_each(|(who, at)| _ = house.events(*who, at.slot));
        // All in one datagram, or two at most.
        let asked = [
            counted.clone(),
            Request::Kick(Kick { member: of_cat.member, reason: Reason::none() }),
            Request::Kick(Kick { member: of_cat.member, reason: Reason::none() }),
            counted,
            Request::Transfer(Transfer { member: of_ben.member }),
            Request::Transfer(Transfer { member: of_ben.member }),
            Request::Leave,
        ];
        let asked = asked.map(|request| house.send(ann, slot, request));
        house.run();
        let names = |told: Vec<ServerMessage>| {
            let of_one = told.into_iter().filter_map(|message| match message {
                ServerMessage::Session(event) => Some(event.name().to_owned()),
                ServerMessage::Result(result) => {
                    let number = asked.iter().position(|id| *id == result.request)?;
                    Some(match result.outcome {
                        Ok(_) => format!("ok {number}"),
                        Err(code) => format!("{} {number}", code.name()),
                    })
                }
                ServerMessage::User(_) => None,
            });
            of_one.collect::<Vec<_>>().join(", ")
        };
        assert_eq!(
            names(house.told(ann, at.slot)),
            "properties_changed, ok 0, member_left, ok 1, no_such_member 2, properties_changed, ok 3, \
             owner_changed, ok 4, not_owner 5, ok 6, member_left"
        );
        assert!(
            house.events(cat, of_cat.slot).last().is_some_and(|last| matches!(
                last,
                SessionEvent::MemberLeft { why: LeaveReason::Kicked, .. }
            ))
        );
        let delete = Request::Delete(Delete { reason: Reason::none() });
        let deleted = house.send(ben, Some(of_ben.slot), delete);
        house.events(ben, of_ben.slot);
        house.run();
        let told = house.told(ben, of_ben.slot);
        let [.., ServerMessage::Result(result), ServerMessage::Session(SessionEvent::SessionDeleted { .. })] =
            &told[..]
        else {
            panic!("{told:?}")
        };
        assert_eq!((result.request, &result.outcome), (deleted, &Ok(Value::Empty)));
    });
}

/// Another worker may end a membership between a command and its answer.
// spec-test: SES-14, SES-19, CMD-5
#[test]
fn what_was_carried_out_before_its_senders_end_is_answered_before_it() {
    let mut house = House::new(2, Limits { gathered_seats: 0, ..Limits::default() });
    let [ann, ben] = [("ann", 0), ("ben", 1)].map(|(user, at)| house.connect(user, at));
    let at = house.create(ann, 2, Admission::Open);
    let of_ben = house.join_open(ben, at.session).unwrap();
    house.events(ben, of_ben.slot);
    let shared = std::sync::Arc::clone(&house.shared);
    let mut woken = WorkerSet::default();
    let kick = Kick { member: of_ben.member, reason: Reason::none() };
    let mut post = Post::new(&shared.mailboxes, &mut woken);
    let by = MemberRef { session: at.session, member: at.member };
    shared.sessions.kick(house.now.mono, by, kick, &mut post).unwrap();
    let (now, worker) = (house.now.mono, &mut house.workers[1]);
    let id = worker.clients.connections()[0];
    let refused = Err(ErrorCode::NotAMember);
    for (number, outcome) in [(101, Ok(Value::Empty)), (102, refused), (103, Err(ErrorCode::RateLimited))] {
        let refused = outcome.as_ref().err().copied();
        let message = CommandResult { request: RequestId(number), outcome }.to_bytes();
        worker.answer_in(now, id, of_ben.slot, Answer { message, refused });
    }
    worker.handle_wake(house.now);
    house.run();
    let told = house.told(ben, of_ben.slot);
    let [ServerMessage::Result(done), ServerMessage::Session(SessionEvent::MemberLeft { .. })] = &told[..]
    else {
        panic!("{told:?}")
    };
    assert_eq!(done.request, RequestId(101));
}

/// Many answers may wait behind one mail; receiving and sending do not wait for all of them.
// spec-test: SES-19
#[test]
fn answers_leave_in_turns_with_everything_else() {
    let limits = Limits { max_queued_bytes: 8 << 20, lagging_bytes: 4 << 20, ..Limits::default() };
    let mut house = House::new(1, limits);
    let ann = house.connect("ann", 0);
    let slot = house.create(ann, 3, Admission::Open).slot;
    house.pass(Duration::from_millis(100));
    let (now, worker) = (house.now, &mut house.workers[0]);
    let at = (worker.clients.connections()[0], slot);
    let (handled, sends) = (worker.clients.answer_turns.handled(), worker.clients.sends());
    let message = CommandResult { request: RequestId(1), outcome: Ok(Value::Empty) }.to_bytes();
    for _ in 0..10_000 {
        let answer = Answer { message: message.clone(), refused: None };
        worker.clients.answer_behind(now.mono, handled + 1, at, answer);
    }
    assert_eq!(worker.clients.sends(), sends, "a mail is before them");
    worker.clients.answer_turns.mail_handled();
    let mut turns = Vec::new();
    for _ in 0..4 {
        let before = worker.clients.sends();
        worker.handle_wake(now);
        turns.push(worker.clients.sends() - before);
    }
    assert_eq!(turns, [4_096, 4_096, 1_808, 0]);
    assert!(!worker.behind);
}

/// Like [`results_that_wait_count_as_queued`], for answers about sessions.
// spec-test: SES-17
#[test]
fn answers_that_wait_count_as_queued() {
    let mut house = House::new(1, Limits::default());
    let ann = house.connect("ann", 0);
    let slot = house.create(ann, 3, Admission::Open).slot;
    house.ask(ann, Some(slot), Request::Revoke(Revoke { number: 9 })).unwrap_err();
    house.pass(Duration::from_millis(100));
    let (now, clients) = (house.now.mono, &mut house.workers[0].clients);
    let at = (clients.connections()[0], slot);
    let half = Bytes::from(vec![0; Limits::default().max_queued_bytes as usize / 2 - 64]);
    let waits = |message: &Bytes| Answer { message: message.clone(), refused: None };
    clients.answer_behind(now, u64::MAX, at, waits(&half));
    clients.answer_behind(now, u64::MAX, at, waits(&half));
    assert_eq!(clients.take_overdue(now), [], "those of before have left and count no more");
    clients.answer_behind(now, u64::MAX, at, waits(&Bytes::new()));
    assert_eq!(clients.take_overdue(now), [at.0]);
}

fn key() -> PropertyKey {
    PropertyKey::new("k").unwrap()
}

fn some_ops() -> PropertyOps {
    PropertyOps::new(vec![PropertyOp::Increment { key: key(), delta: 1 }]).unwrap()
}
