//! Results through the whole server: their order, what they come behind, and how many may wait.

use std::time::Duration;

use bytes::Bytes;

use super::{House, Limits, Who, gathered, send_broadcast, with_any_workers};
use crate::base::{RequestId, Revision, StreamId, Wire};
use crate::net::Driven;
use crate::server::mail::{Post, WorkerSet};
use crate::server::worker::held::Answer;
use crate::session::MemberRef;
use crate::wire::command::{Broadcast, Delete, Join, Kick, Revoke, To, Transfer};
use crate::wire::result::Entered;
use crate::wire::{
    Admission, Body, CloseCode, Command, CommandResult, Delivery, ErrorCode, LeaveReason, PropertyKey,
    PropertyOp, PropertyOps, PropertyValue, Reason, Request, ServerMessage, SessionEvent, Value,
};

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
        worker.clients.answer_behind_mail(now.mono, handled + 1, at, answer);
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
    clients.answer_behind_mail(now, u64::MAX, at, waits(&half));
    clients.answer_behind_mail(now, u64::MAX, at, waits(&half));
    assert_eq!(clients.take_overdue(now), [], "those of before have left and count no more");
    clients.answer_behind_mail(now, u64::MAX, at, waits(&Bytes::new()));
    assert_eq!(clients.take_overdue(now), [at.0]);
}

fn key() -> PropertyKey {
    PropertyKey::new("k").unwrap()
}

pub(super) fn some_ops() -> PropertyOps {
    PropertyOps::new(vec![PropertyOp::Increment { key: key(), delta: 1 }]).unwrap()
}
