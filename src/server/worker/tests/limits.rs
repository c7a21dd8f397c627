//! The costs that one client may cause for the server and the others.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::house::{House, create, invite};
use super::{Limits, Who, shout, with_any_workers};
use crate::base::{RequestId, SessionId, StreamId, Timestamp, Wire, WorkerId};
use crate::net::Driven;
use crate::server::mailbox::MailRoom;
use crate::session::Load;
use crate::wire::command::{Broadcast, Invite, Kick, Message, Recipients, To};
use crate::wire::{
    Admission, Body, CloseCode, Command, Delivery, ErrorCode, IdleTtl, LeaveReason, Note, Reason, Request,
    ServerMessage, SessionEvent, Value,
};

/// A waiting payload is charged for its own bytes only, so it must not keep its datagram in memory.
#[test]
fn what_members_send_is_copied_out_of_its_datagram() {
    let mut house = House::new(1, Limits::default());
    let ann = house.connect("ann", 0);
    let at = house.create(ann, 2, Admission::Open);
    let delivery = Delivery::ReliableOrdered;
    let body = |bytes| Body::new(delivery, Bytes::from(vec![7; bytes])).unwrap();
    let broadcast = Broadcast { delivery, to: To::All, counter: 0, body: body(30) };
    // Of another size, so that it cannot reuse the same memory.
    let to = Recipients::new(vec![at.member]).unwrap();
    let message = Message { delivery, counter: 1, to, body: body(300) };
    let commands = [Command::Broadcast(broadcast), Command::Message(message)];
    for (command, kept) in commands.into_iter().zip(1..) {
        house.send_raw(ann, at.slot.into(), delivery, command.encode());
        house.run();
        assert_eq!(house.workers[0].bodies.kept(), kept);
    }
}

/// Mail about invites cannot be refused, so the command that would cause it is refused.
// spec-test: LIM-1
#[test]
fn nobody_is_invited_while_a_worker_is_too_far_behind() {
    let mut house = House::new(2, Limits { mailbox_capacity: 64, ..Limits::default() });
    let ann = house.connect("ann", 0);
    let at = house.create(ann, 2, Admission::Open);
    let shared = Arc::clone(&house.shared);
    let mailbox = shared.mailboxes.get(WorkerId(1)).unwrap();
    mailbox.reserve(Load { deliveries: 64, waiting: 0 }).unwrap();
    assert_eq!(house.ask(ann, Some(at.slot), invite(&["ben"], 60)), Err(ErrorCode::Busy));
    mailbox.give_back(MailRoom::of(64));
    assert!(matches!(house.invite(ann, at.slot, &["ben"], 60)[..], [Ok(_)]));
}

/// One session sends more than its worker has room for, and another sends little.
// spec-test: LIM-1
#[test]
fn a_session_that_floods_its_worker_leaves_room_for_another() {
    let mut house = House::new(1, Limits { mailbox_capacity: 256, ..Limits::default() });
    let flooders: Vec<_> = (0..8).map(|n| house.connect(&format!("flooder {n}"), 0)).collect();
    let loud = house.create(flooders[0], 8, Admission::Open);
    for who in &flooders[1..] {
        house.join_open(*who, loud.session).unwrap();
    }
    let (ann, ben) = (house.connect("ann", 0), house.connect("ben", 0));
    let quiet = house.create(ann, 2, Admission::Open);
    let with_ben = house.join_open(ben, quiet.session).unwrap();
    house.events(ann, quiet.slot);
    house.events(ben, with_ben.slot);
    for counter in 0..20 {
        flooders.iter().for_each(|who| shout(&mut house, *who, loud.slot, counter, 1));
    }
    shout(&mut house, ann, quiet.slot, 0, 1);
    // All that they have sent arrives before any of it is passed on.
    let all: Vec<_> = flooders.iter().copied().chain([ann]).collect();
    house.run_sockets(&all);
    house.run();
    let busy = |event: &SessionEvent| matches!(event, SessionEvent::Refused { code: ErrorCode::Busy, .. });
    let refused = |who| {
        house
            .told(who, loud.slot)
            .iter()
            .filter(|message| matches!(message, ServerMessage::Session(event) if busy(event)))
            .count()
    };
    let refused: usize = flooders.iter().map(|who| refused(*who)).sum();
    assert!((100..160).contains(&refused), "{refused} of the 160 that take 1,120 deliveries");
    assert!(matches!(house.events(ben, with_ben.slot)[..], [SessionEvent::Message { .. }]));
    assert!(matches!(house.events(ann, quiet.slot)[..], [SessionEvent::Receipt { .. }]));
}

/// Returns how many of 100 of these requests succeed before one is refused for its rate.
fn answered(house: &mut House, who: Who, request: &Request) -> usize {
    for count in 0..100 {
        let id = house.send(who, None, request.clone());
        house.pass(Duration::from_millis(500));
        match house.answer(who, id) {
            Ok(_) => {}
            Err(code) => {
                assert_eq!(code, ErrorCode::RateLimited);
                return count;
            }
        }
    }
    100
}

/// A request of three bytes asks for thousands.
// spec-test: LIM-2
#[test]
fn lists_count_in_the_budget_of_bytes() {
    let limits = Limits {
        command_bytes_per_second: 4_096,
        invites_per_user: 1_024,
        sessions_per_user: 500,
        ..Limits::default()
    };
    let mut house = House::new(1, limits);
    let ben = house.connect("ben", 0);
    for owner in 0..4 {
        let owner = house.connect(&format!("owner {owner}"), 0);
        for _ in 0..16 {
            let at = house.create(owner, 2, Admission::Open);
            let Request::Invite(plain) = invite(&["ben"], 60) else { unreachable!() };
            let note = Note::new(&"n".repeat(256)).unwrap();
            house.ask(owner, Some(at.slot), Request::Invite(Invite { note, ..plain })).unwrap();
        }
    }
    // 131,072 bytes at once and 4,096 a second: about six answers.
    let invites = answered(&mut house, ben, &Request::ListInvites);
    assert!((5..10).contains(&invites), "{invites} lists of invites");

    let ann = house.connect("ann", 0);
    for _ in 0..500 {
        house.create(ann, 2, Admission::Open);
        house.pass(Duration::from_millis(10));
    }
    // Each is about 6,500 bytes: twenty at once, and about ten more while they are requested.
    let mine = answered(&mut house, ann, &Request::ListMine);
    assert!((20..40).contains(&mine), "{mine} lists of sessions");
}

// spec-test: LIM-2, CMD-25, CMD-6, EVT-12
#[test]
fn commands_above_the_budget_are_refused_by_name() {
    let mut house = House::new(1, Limits { commands_per_second: 3, ..Limits::default() });
    let ann = house.connect("ann", 0);
    let at = house.create(ann, 1, Admission::Open);
    house.events(ann, at.slot);
    house.ask(ann, None, Request::ListMine).unwrap();
    house.ask(ann, None, Request::ListMine).unwrap();
    assert_eq!(house.ask(ann, None, Request::ListMine), Err(ErrorCode::RateLimited));
    let unknown = Bytes::from_static(&[0x1f, 33]);
    house.send_raw(ann, StreamId::CONTROL, Delivery::ReliableOrdered, unknown);
    house.run();
    assert_eq!(
        house.answer(ann, RequestId(33)),
        Err(ErrorCode::RateLimited),
        "what is no command costs, too"
    );
    shout(&mut house, ann, at.slot, 42, 1);
    house.run();
    let refused = SessionEvent::Refused { counter: 42, code: ErrorCode::RateLimited };
    assert_eq!(house.events(ann, at.slot), [refused]);
    house.pass(Duration::from_secs(1));
    assert!(house.ask(ann, None, Request::ListMine).is_ok(), "a second later there is room again");
}

// spec-test: CMD-3
#[test]
fn a_command_above_the_budget_that_cannot_be_answered_ends_the_connection() {
    let mut house = House::new(1, Limits { commands_per_second: 3, ..Limits::default() });
    let ann = house.connect("ann", 0);
    (0..3).for_each(|_| house.ask(ann, None, Request::ListMine).map(drop).unwrap());
    assert_eq!(house.ask(ann, None, Request::ListMine), Err(ErrorCode::RateLimited));
    house.send_raw(ann, StreamId::CONTROL, Delivery::ReliableOrdered, Bytes::from_static(&[0x05]));
    house.run();
    assert_eq!(house.closed_with(ann), Some(CloseCode::ProtocolViolation));
}

/// They are ignored, but they count: 3,000 fit into a datagram.
// spec-test: LIM-2
#[test]
fn messages_for_a_slot_that_has_ended_count_as_well() {
    let mut house = House::new(1, Limits { commands_per_second: 30, ..Limits::default() });
    let ann = house.connect("ann", 0);
    let at = house.create(ann, 1, Admission::Open);
    house.ask(ann, Some(at.slot), Request::Leave).unwrap();
    let say = |house: &mut House, times: usize| {
        let late = Bytes::from_static(&[1, 0x20]);
        (0..times).for_each(|_| house.send_raw(ann, StreamId::CONTROL, Delivery::Unreliable, late.clone()));
        house.run();
        house.pass(Duration::from_secs(2));
        house.closed_with(ann)
    };
    // Budget and refusals: 30 and 300.
    assert_eq!(say(&mut house, 320), None);
    assert_eq!(say(&mut house, 1_000), Some(CloseCode::ProtocolViolation));
}

// spec-test: LIM-4, CMD-25
#[test]
fn ever_new_keys_are_refused_by_name_and_those_in_use_are_not() {
    for is_message in [false, true] {
        let mut house = House::new(1, Limits { new_keys_per_second: 1, ..Limits::default() });
        let (ann, ben) = (house.connect("ann", 0), house.connect("ben", 0));
        let at = house.create(ann, 2, Admission::Open);
        let with_ben = house.join_open(ben, at.session).unwrap();
        house.events(ann, at.slot);
        let to = Recipients::new(vec![with_ben.member]).unwrap();
        let say = |house: &mut House, key: u16, counter: u16| {
            let delivery = Delivery::ReliableLatest { key };
            let body = Body::new(delivery, Bytes::from_static(b"value")).unwrap();
            let command = match is_message {
                true => Command::Message(Message { delivery, counter, to: to.clone(), body }),
                false => Command::Broadcast(Broadcast { delivery, to: To::Others, counter, body }),
            };
            house.send_raw(ann, at.slot.into(), delivery, command.encode());
            house.run();
        };
        (0..1_024).for_each(|key| say(&mut house, key, 7));
        house.pass(Duration::from_millis(500));
        assert_eq!(house.events(ann, at.slot), []);
        say(&mut house, 1_024, 42);
        say(&mut house, 1_023, 7);
        house.pass(Duration::from_millis(100));
        let refused = SessionEvent::Refused { counter: 42, code: ErrorCode::RateLimited };
        assert_eq!(house.events(ann, at.slot), [refused]);
        house.pass(Duration::from_secs(2));
        let told = house.events(ben, with_ben.slot);
        let values = told.iter().filter(|it| matches!(it, SessionEvent::Sent { .. })).count();
        assert_eq!(values, 1_025);
    }
}

// spec-test: CMD-3
#[test]
fn an_unknown_and_a_malformed_command_are_answered_and_the_connection_stays() {
    with_any_workers(|house| {
        let ann = house.connect("ann", 0);
        let raw = |bytes: &'static [u8]| Bytes::from_static(bytes);
        house.send_raw(ann, StreamId::CONTROL, Delivery::ReliableOrdered, raw(&[0x0f, 7]));
        house.send_raw(ann, StreamId::CONTROL, Delivery::ReliableOrdered, raw(&[0x02, 8, 9]));
        house.run();
        assert_eq!(house.answer(ann, RequestId(7)), Err(ErrorCode::UnknownCommand));
        assert_eq!(house.answer(ann, RequestId(8)), Err(ErrorCode::Malformed));
        assert_eq!(house.closed_with(ann), None);
    });
}

// spec-test: CMD-3, MSG-1, SES-15
#[test]
fn a_peer_that_breaks_the_protocol_is_closed_and_leaves() {
    let attacks: [(StreamId, Delivery, &'static [u8]); 8] = [
        // A stream that was never opened.
        (StreamId(9), Delivery::ReliableOrdered, &[0x12, 1]),
        // No request id to answer.
        (StreamId::CONTROL, Delivery::ReliableOrdered, &[0x05]),
        // An unreliable message without a slot, and with one that was never assigned.
        (StreamId::CONTROL, Delivery::Unreliable, &[]),
        (StreamId::CONTROL, Delivery::Unreliable, &[9, 0x20, 0, 0, 0]),
        // A broadcast without a counter to answer.
        (StreamId(1), Delivery::ReliableOrdered, &[0x20, 3]),
        // An unreliable request: otherwise legal, malformed, unknown.
        (StreamId::CONTROL, Delivery::Unreliable, &[1, 0x12, 1]),
        (StreamId::CONTROL, Delivery::Unreliable, &[1, 0x12, 1, 9]),
        (StreamId::CONTROL, Delivery::Unreliable, &[1, 0x1f, 1]),
    ];
    for (stream, delivery, bytes) in attacks {
        with_any_workers(|house| {
            let (ann, eve) = (house.connect("ann", 0), house.connect("eve", 1));
            let at = house.create(ann, 2, Admission::Open);
            house.join_open(eve, at.session).unwrap();
            house.events(ann, at.slot);
            house.send_raw(eve, stream, delivery, Bytes::from_static(bytes));
            house.run();
            assert_eq!(house.closed_with(eve), Some(CloseCode::ProtocolViolation), "{bytes:?}");
            let told = house.events(ann, at.slot);
            assert!(
                matches!(told[..], [SessionEvent::MemberLeft { why: LeaveReason::Dropped, .. }]),
                "{told:?}"
            );
            assert_eq!(house.shared.totals().protocol_violations, 1);
        });
    }
}

/// Invited users have not asked for this traffic.
// spec-test: LIM-6
#[test]
fn a_full_session_may_be_invited_at_once_and_then_so_many_a_second() {
    let mut house = House::new(1, Limits { invites_per_second: 64, ..Limits::default() });
    let ann = house.connect("ann", 0);
    let at = house.create(ann, 2, Admission::Open);
    let invite_64 = |house: &mut House, round: usize| {
        let names: Vec<String> = (0..64).map(|n| format!("{round} {n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        house.ask(ann, Some(at.slot), invite(&names, 60))
    };
    (0..16).for_each(|round| assert!(invite_64(&mut house, round).is_ok(), "{round}"));
    assert_eq!(invite_64(&mut house, 0), Err(ErrorCode::RateLimited));
    house.pass(Duration::from_secs(1));
    assert!(invite_64(&mut house, 0).is_ok());
    assert_eq!(invite_64(&mut house, 0), Err(ErrorCode::RateLimited));
}

/// Otherwise a user who causes much mail keeps a worker from its sockets.
#[test]
fn however_much_mail_there_is_a_turn_ends() {
    let mut house = House::new(2, Limits { gathered_seats: 0, ..Limits::default() });
    let ann = house.connect("ann", 0);
    let at = house.create(ann, 64, Admission::Open);
    let others: Vec<_> = (0..40)
        .map(|n| {
            let who = house.connect(&format!("member {n}"), 1);
            (who, house.join_open(who, at.session).unwrap().slot)
        })
        .collect();
    others.iter().for_each(|(who, slot)| drop(house.events(*who, *slot)));
    (0..220).for_each(|n| shout(&mut house, ann, at.slot, n, 1));
    house.round();
    assert_eq!(house.workers[1].poll_timeout(), Some(Timestamp::ZERO), "there is more to do");
    house.run();
    for (who, slot) in others {
        assert_eq!(house.events(who, slot).len(), 220);
    }
}

#[test]
fn however_many_sessions_end_at_once_a_turn_ends() {
    let mut house = House::new(1, Limits { entries_per_second: 100, ..Limits::default() });
    let ann = house.connect("ann", 0);
    for _ in 0..100 {
        let mut request = create(2, Admission::Open);
        if let Request::Create(create) = &mut request {
            create.settings.idle_ttl = IdleTtl::new(5).unwrap();
        }
        let Ok(Value::Entered(at)) = house.ask(ann, None, request) else { panic!("not created") };
        house.ask(ann, Some(at.slot), Request::Leave).unwrap();
    }
    house.now.mono += Duration::from_secs(6);
    let now = house.now;
    house.workers[0].handle_timeout(now);
    let left = house.shared.sessions.len();
    assert!((20..=36).contains(&left), "{left} of 100 are left");
    assert!(house.workers[0].poll_timeout().is_some_and(|at| at <= now.mono), "the rest at once");
    house.run();
    assert!(house.shared.sessions.is_empty());
}

// spec-test: LIM-8
#[test]
fn sessions_are_entered_within_a_budget_however_soon_they_are_left() {
    let mut house = House::new(1, Limits::default());
    let ann = house.connect("ann", 0);
    let enter_and_leave = |house: &mut House| match house.ask(ann, None, create(2, Admission::Open)) {
        Ok(Value::Entered(at)) => house.ask(ann, Some(at.slot), Request::Leave).map(|_| ()),
        other => other.map(|_| ()),
    };
    for _ in 0..64 {
        assert_eq!(enter_and_leave(&mut house), Ok(()));
    }
    assert_eq!(enter_and_leave(&mut house), Err(ErrorCode::RateLimited));
    house.pass(Duration::from_secs(1));
    let entered = (0..20).filter(|_| enter_and_leave(&mut house).is_ok()).count();
    assert!((8..=9).contains(&entered), "{entered} a second later");
}

/// A join of a session that does not exist costs the same.
// spec-test: LIM-8
#[test]
fn joins_count_in_the_budget_before_their_session_is_looked_for() {
    let mut house = House::new(1, Limits::default());
    let ann = house.connect("ann", 0);
    for _ in 0..64 {
        assert_eq!(house.join_open(ann, SessionId(1)), Err(ErrorCode::NoSuchSession));
    }
    assert_eq!(house.join_open(ann, SessionId(1)), Err(ErrorCode::RateLimited));
}

/// A member that was kicked asks more than its budget allows before it learns so: some requests come too late,
/// and those behind are refused for their rate.
// spec-test: CMD-5, SES-14
#[test]
fn nothing_behind_a_request_that_came_too_late_is_answered() {
    let mut house =
        House::new(2, Limits { commands_per_second: 100, gathered_seats: 0, ..Limits::default() });
    let (ann, ben) = (house.connect("ann", 0), house.connect("ben", 1));
    let at = house.create(ann, 2, Admission::Open);
    let joined = house.join_open(ben, at.session).unwrap();
    house.events(ben, joined.slot);
    let kick = Kick { member: joined.member, reason: Reason::none() };
    house.send(ann, Some(at.slot), Request::Kick(kick));
    house.run_socket(ann);
    let asked: Vec<_> = (0..600).map(|_| house.send(ben, Some(joined.slot), Request::Leave)).collect();
    house.run();
    let answered = asked.iter().filter(|id| house.answered_on(ben, **id).is_some()).count();
    let events = house.events(ben, joined.slot);
    assert!(matches!(events[..], [SessionEvent::MemberLeft { why: LeaveReason::Kicked, .. }]), "{events:?}");
    assert_eq!((answered, house.shared.totals().commands_refused), (0, 600));
    assert_eq!(house.ask(ben, None, Request::ListMine), Err(ErrorCode::RateLimited), "its budget is used up");
}

// spec-test: LIM-2
#[test]
fn who_goes_far_beyond_the_budget_is_closed_and_who_hears_it_stays() {
    let mut house = House::new(1, Limits { commands_per_second: 100, ..Limits::default() });
    let (ann, eve) = (house.connect("ann", 0), house.connect("eve", 0));
    let at = house.create(ann, 2, Admission::Open);
    let with_eve = house.join_open(eve, at.session).unwrap();
    house.events(ann, at.slot);
    (0..1_000).for_each(|counter| shout(&mut house, eve, with_eve.slot, counter, 1));
    house.run();
    assert_eq!(house.closed_with(eve), None, "most were refused");
    house.events(ann, at.slot);
    (1_000..1_300).for_each(|counter| shout(&mut house, eve, with_eve.slot, counter, 1));
    house.pass(Duration::from_millis(100));
    assert_eq!(house.closed_with(eve), Some(CloseCode::ProtocolViolation));
    let told = house.events(ann, at.slot);
    assert!(matches!(told[..], [SessionEvent::MemberLeft { why: LeaveReason::Dropped, .. }]), "{told:?}");
}

/// The effects of a batch of datagrams do not use up the share of the mail.
#[test]
fn a_flood_of_refusals_does_not_keep_a_worker_from_its_mail() {
    let mut house = House::new(2, Limits { gathered_seats: 0, ..Limits::default() });
    let (ann, ben) = (house.connect("ann", 0), house.connect("ben", 1));
    let flooders = ["eve", "fay", "gil", "hal"].map(|name| house.connect(name, 1));
    let at = house.create(ann, 3, Admission::Open);
    let with_ben = house.join_open(ben, at.session).unwrap();
    house.events(ann, at.slot);
    house.events(ben, with_ben.slot);
    // Each is answered, which takes more messages than the share of a turn.
    for flooder in flooders {
        for n in 0..1_200 {
            let unknown = Bytes::copy_from_slice(&[&[0x1f][..], &RequestId(n).to_bytes()].concat());
            house.send_raw(flooder, StreamId::CONTROL, Delivery::ReliableUnordered, unknown);
        }
    }
    shout(&mut house, ann, at.slot, 1, 1);
    house.run_socket(ann);
    let count = |house: &House| {
        let counters = house.shared.counters(WorkerId(1));
        (counters.commands_refused.get(), counters.mails.get())
    };
    let before = count(&house);
    house.run_sockets(&flooders);
    let after = count(&house);
    assert!(after.0 - before.0 > 4_096, "{} refused in the turn", after.0 - before.0);
    assert_eq!(after.1 - before.1, 1, "the broadcast's mail is handled in it");
}
