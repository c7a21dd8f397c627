//! Connections through the whole server: replaced, lost, moved, drained.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::BytesMut;

use super::house::House;
use super::{Limits, with_any_workers};
use crate::base::{InviteId, Truncated, UserId, WorkerId, Writer};
use crate::net::Driven;
use crate::rudp::{ConnectError, Connection};
use crate::server::mail::Mail;
use crate::server::newcomer::{Admit, Newcomer};
use crate::server::observer::ServerEvent;
use crate::wire::command::Join;
use crate::wire::{
    Admission, CloseCode, ErrorCode, LeaveReason, Reason, RejectCode, Request, SealedHeader, SessionEvent,
    UserEvent,
};

/// Returns the reason of the leave, if that is the only event.
fn left(events: &[SessionEvent]) -> Option<LeaveReason> {
    match events {
        [SessionEvent::MemberLeft { why, .. }] => Some(*why),
        _ => None,
    }
}

/// The join ends the membership of the older connection, which has not been closed yet.
// spec-test: HSK-15
#[test]
fn the_observer_is_told_of_a_member_that_joins_again_by_a_newer_connection() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = Arc::clone(&told);
    let observe = move |event: &ServerEvent<'_>| {
        if let ServerEvent::MemberLeft { member, why, .. } = event {
            tell.lock().unwrap().push((member.0, Some(*why)));
        } else if let ServerEvent::MemberJoined { member, .. } = event {
            tell.lock().unwrap().push((member.0, None));
        }
    };
    let mut house = House::with(1, Limits::default(), |shared| shared.observed_by(Some(Box::new(observe))));
    let (ann, old) = (house.connect("ann", 0), house.connect("ben", 0));
    let at = house.create(ann, 3, Admission::Open);
    house.join_open(old, at.session).unwrap();
    let [new] = house.dial_up([("ben", 0)]);
    house.join_open(new, at.session).unwrap();
    assert_eq!(*told.lock().unwrap(), [(1, None), (2, None), (2, Some(LeaveReason::Replaced)), (3, None)]);
}

// spec-test: HSK-15
#[test]
fn a_second_connection_replaces_the_first_and_inherits_nothing() {
    with_any_workers(|house| {
        let (ann, ben) = (house.connect("ann", 0), house.connect("ben", 1));
        let at = house.create(ann, 2, Admission::Open);
        house.join_open(ben, at.session).unwrap();
        house.events(ann, at.slot);

        let again = house.connect("ben", 2);
        assert_eq!(house.closed_with(ben), Some(CloseCode::Replaced));
        let told = house.events(ann, at.slot);
        assert_eq!(left(&told), Some(LeaveReason::Replaced), "{told:?}");
        assert!(house.join_open(again, at.session).is_ok(), "the new one may join anew");
        let counters = house.shared.totals();
        assert_eq!((counters.connections, counters.connections_replaced), (2, 1));
    });
}

#[test]
fn who_is_kicked_is_told_so_and_is_gone_for_all() {
    with_any_workers(|house| {
        let (ann, ben) = (house.connect("ann", 0), house.connect("ben", 1));
        let at = house.create(ann, 2, Admission::Open);
        house.join_open(ben, at.session).unwrap();
        house.events(ann, at.slot);

        let [name, stranger] = ["ben", "cid"].map(|name| UserId::new(name).unwrap());
        assert!(!house.shared.kick(&stranger, Reason::none()), "nobody of that name is here");
        assert!(house.shared.kick(&name, Reason::none()));
        house.run();
        assert_eq!(house.closed_with(ben), Some(CloseCode::KickedByOperator));
        assert_eq!(left(&house.events(ann, at.slot)), Some(LeaveReason::Dropped));
        assert!(!house.shared.kick(&name, Reason::none()), "no connection is left");
        let counters = house.shared.totals();
        assert_eq!((counters.connections, counters.connections_kicked), (1, 1));
    });
}

#[test]
fn a_client_at_another_address_is_followed_and_counted() {
    with_any_workers(|house| {
        let (ann, ben) = (house.connect("ann", 0), house.connect("ben", 1));
        let at = house.create(ann, 2, Admission::Open);
        let joined = house.join_open(ben, at.session).unwrap();
        let to = ([10, 0, 9, 9], 9_999).into();
        house.move_to(ben, to);
        assert_eq!(house.ask(ben, Some(joined.slot), Request::Leave).map(|_| ()), Ok(()));
        let id = house.shared.directory.live(&UserId::new("ben").unwrap()).unwrap();
        let seen = house.workers.iter().find_map(|worker| worker.clients.endpoint.address(id));
        let totals = house.shared.totals();
        assert_eq!((seen, totals.address_changes, totals.connections), (Some(to), 1, 2));
    });
}

/// Nobody has broken the protocol: either may have been brought there by forged packets.
// spec-test: KEY-6, KEY-8
#[test]
fn a_connection_at_a_limit_of_its_keys_ends_with_its_code() {
    for code in [CloseCode::TooManyFailedOpens, CloseCode::Internal] {
        let reach = |connection: &mut Connection| match code {
            CloseCode::Internal => connection.wear_keys(1 << 23),
            _ => connection.fail_opens((1 << 36) - 1),
        };
        with_any_workers(|house| {
            let (ann, ben) = (house.connect("ann", 0), house.connect("ben", 1));
            let at = house.create(ann, 2, Admission::Open);
            house.join_open(ben, at.session).unwrap();
            house.events(ann, at.slot);
            house.tamper("ben", reach);
            house.run();
            assert_eq!(house.closed_with(ben), Some(code));
            let told = house.events(ann, at.slot);
            assert_eq!(left(&told), Some(LeaveReason::Dropped), "{told:?}");
            let counters = house.shared.totals();
            assert_eq!((counters.connections_at_key_limit, counters.protocol_violations), (1, 0));
        });
    }
}

/// Answered handshakes and ended connections: neither is a user.
#[test]
fn what_is_no_connection_yet_or_any_more_is_counted_apart() {
    let mut house = House::new(1, Limits::default());
    let counts = |house: &House| {
        let totals = house.shared.totals();
        (totals.connections_half_open, totals.connections, totals.connections_closing)
    };
    let ann = house.dial("ann", 0);
    house.deafen(ann);
    house.run();
    assert_eq!(counts(&house), (1, 0, 0), "it was answered, and has not heard so");
    house.pass(Duration::from_secs(9));
    assert_eq!(counts(&house), (0, 0, 0));

    let ben = house.connect("ben", 0);
    assert_eq!(counts(&house), (0, 1, 0));
    house.unplug(ben);
    assert!(house.shared.kick(&UserId::new("ben").unwrap(), Reason::none()));
    house.run();
    assert_eq!(counts(&house), (0, 0, 1), "the kick is said again until it is heard");
    house.pass(Duration::from_secs(4));
    assert_eq!(counts(&house), (0, 0, 0));
}

/// A kick finds no connection of a user whose handshake was only answered.
#[test]
fn who_was_answered_before_the_operator_said_no_does_not_stay() {
    let banned = Arc::new(AtomicBool::new(false));
    let says = Arc::clone(&banned);
    let admit = move |newcomer: &Newcomer<'_>| {
        let is_banned = says.load(Ordering::Relaxed) && newcomer.user.as_str() == "ben";
        Admit::from(!is_banned)
    };
    let mut house = House::with(2, Limits::default(), |shared| shared.admitting_by(Some(Box::new(admit))));
    let (ann, ben) = (house.connect("ann", 0), house.connect("ben", 1));
    let at = house.create(ann, 3, Admission::Open);
    house.join_open(ben, at.session).unwrap();
    house.events(ann, at.slot);
    let [again] = house.dial_up([("ben", 0)]);
    let name = UserId::new("ben").unwrap();
    banned.store(true, Ordering::Relaxed);
    assert!(house.shared.kick(&name, Reason::none()));
    house.run();
    assert_eq!([ben, again].map(|who| house.closed_with(who)), [Some(CloseCode::KickedByOperator); 2]);
    assert!(house.shared.directory.live(&name).is_none());
    assert_eq!(left(&house.events(ann, at.slot)), Some(LeaveReason::Dropped));
    let refused = house.dial("ben", 0);
    house.pass(Duration::from_secs(6));
    assert_eq!(house.failed_with(refused), Some(ConnectError::Refused(RejectCode::Denied)));
}

/// The close code states whether, and where, the client may try again.
#[test]
fn who_was_answered_before_the_operator_had_no_place_is_told_why_it_goes() {
    let told = [
        (Admit::Denied, CloseCode::KickedByOperator),
        (Admit::Draining, CloseCode::ShuttingDown),
        (Admit::Full, CloseCode::Full),
    ];
    for (answer, code) in told {
        let closes = Arc::new(AtomicBool::new(false));
        let says = Arc::clone(&closes);
        let admit = move |_: &Newcomer<'_>| if says.load(Ordering::Relaxed) { answer } else { Admit::Yes };
        let mut house =
            House::with(1, Limits::default(), |shared| shared.admitting_by(Some(Box::new(admit))));
        let [ann] = house.dial_up([("ann", 0)]);
        closes.store(true, Ordering::Relaxed);
        house.run();
        assert_eq!(house.closed_with(ann), Some(code), "{answer:?}");
        assert!(house.shared.directory.live(&UserId::new("ann").unwrap()).is_none());
    }
}

/// The older connections do not receive their CLOSE, and count as connections until it has been sent for 3 s.
// spec-test: LIM-5
#[test]
fn a_user_whose_line_fails_again_and_again_takes_one_place() {
    let mut house = House::new(1, Limits { max_connections: 1, ..Limits::default() });
    for _ in 0..10 {
        let ann = house.connect("ann", 0);
        assert_eq!(house.closed_with(ann), None);
        house.unplug(ann);
    }
    let ben = house.dial("ben", 0);
    house.pass(Duration::from_secs(6));
    assert_eq!(house.failed_with(ben), Some(ConnectError::Refused(RejectCode::Full)));
}

/// Its first packet requests the join, before the worker of the older connection has been notified.
// spec-test: HSK-15
#[test]
fn a_user_that_connects_again_and_joins_at_once_is_let_in() {
    with_any_workers(|house| {
        let (ann, ben) = (house.connect("ann", 0), house.connect("ben", 1));
        let at = house.create(ann, 2, Admission::Open);
        let before = house.join_open(ben, at.session).unwrap();
        house.events(ann, at.slot);

        let [again] = house.dial_up([("ben", 2)]);
        let entered = house.join_open(again, at.session).unwrap();
        assert_ne!(entered.member, before.member);
        assert_eq!(house.join_open(again, at.session), Err(ErrorCode::AlreadyMember), "by this connection");
        let told = house.events(ann, at.slot);
        let [left, SessionEvent::MemberJoined { member, .. }] = &told[..] else { panic!("{told:?}") };
        assert!(matches!(left, SessionEvent::MemberLeft { why: LeaveReason::Replaced, .. }), "{told:?}");
        assert_eq!(*member, entered.member);
        assert_eq!(house.closed_with(ben), Some(CloseCode::Replaced));
        house.pass(Duration::from_secs(1));
        assert_eq!(house.events(ann, at.slot), [], "it stays");
        assert_eq!(house.shared.totals().connections_replaced, 1);
    });
}

// spec-test: INV-6
#[test]
fn an_invite_that_an_older_connection_uses_ends_for_the_newer_one_that_was_told_of_it() {
    let mut house = House::new(2, Limits::default());
    let (ann, ben) = (house.connect("ann", 0), house.connect("ben", 0));
    let at = house.create(ann, 2, Admission::Invited);
    let number = house.invite(ann, at.slot, &["ben"], 60)[0].unwrap();
    let invite = InviteId { session: at.session, number };

    let [again] = house.dial_up([("ben", 1)]);
    house.run_socket(again);
    house.send(ben, None, Request::Join(Join::Invite(invite)));
    house.run_socket(ben);
    house.run();
    let told = house.user_events(again);
    let [UserEvent::Invited(invited), ended] = &told[..] else { panic!("{told:?}") };
    assert_eq!((invited.invite, ended), (invite, &UserEvent::InviteRevoked { invite }));
}

// spec-test: SES-15
#[test]
fn a_closed_connection_leaves_and_a_silent_one_times_out() {
    with_any_workers(|house| {
        let [ann, ben, cat] = [("ann", 0), ("ben", 1), ("cat", 2)].map(|(user, at)| house.connect(user, at));
        let at = house.create(ann, 3, Admission::Open);
        house.join_open(ben, at.session).unwrap();
        house.join_open(cat, at.session).unwrap();
        house.events(ann, at.slot);

        house.hang_up(ben);
        let told = house.events(ann, at.slot);
        assert_eq!(left(&told), Some(LeaveReason::Left), "{told:?}");
        house.unplug(cat);
        house.pass(Duration::from_secs(15));
        let told = house.events(ann, at.slot);
        assert_eq!(left(&told), Some(LeaveReason::TimedOut), "{told:?}");
        assert_eq!(house.shared.totals().connections, 1);
    });
}

#[test]
fn a_datagram_at_another_workers_socket_is_passed_on() {
    let mut house = House::new(3, Limits::default());
    let ann = house.connect("ann", 0);
    house.reroute(ann, 2);
    let at = house.create(ann, 2, Admission::Open);
    assert_eq!(house.events(ann, at.slot).len(), 1);
    assert!(house.shared.totals().datagrams_forwarded > 0);
}

/// A home that has ended its connection, and the worker that the connection had moved to, could otherwise send
/// a datagram back and forth for ever.
#[test]
fn a_datagram_that_was_forwarded_does_not_go_back_to_its_home() {
    let mut house = House::new(2, Limits::default());
    house.connect("ann", 0);
    let id = house.shared.directory.live(&UserId::new("ann").unwrap()).unwrap();
    let mut packet = Writer::new();
    SealedHeader { key_phase: false, connection: Some(id), number: Truncated::bits32(1) }.write(&mut packet);
    packet.slice(&[0; 40]);
    let from = SocketAddr::from(([10, 0, 0, 1], 1_000)).into();
    let mail = Mail::Forwarded { from, datagram: packet.into_inner() };
    house.shared.mailboxes.get(WorkerId(1)).unwrap().post_droppable(mail).unwrap();
    house.workers[1].handle_wake(house.now);
    let counters = house.shared.totals();
    assert_eq!((counters.datagrams_forwarded, counters.datagrams_not_forwarded), (0, 1));
}

// spec-test: CON-8
#[test]
fn a_drain_tells_every_client_and_refuses_new_ones() {
    with_any_workers(|house| {
        let [ann, ben] = [("ann", 0), ("ben", 1)].map(|(user, at)| house.connect(user, at));
        let deaf = house.connect("cat", 2);
        let at = house.create(ann, 3, Admission::Open);
        house.join_open(ben, at.session).unwrap();
        house.unplug(deaf);
        house.events(ann, at.slot);

        house.shared.drain(house.now.mono + Duration::from_secs(5));
        house.run();
        assert_eq!(house.closed_with(ann), Some(CloseCode::ShuttingDown));
        assert_eq!(house.closed_with(ben), Some(CloseCode::ShuttingDown));
        assert_eq!(house.events(ann, at.slot), [], "one close instead of a leave for every member");
        let (shared, user) = (&house.shared, UserId::new("ann").unwrap());
        assert!(!shared.kick(&user, Reason::none()), "no longer connected");
        assert!(!shared.remove_member(at.session, &user, Reason::none()));
        assert!(!shared.close_session(at.session, Reason::none()));
        assert_eq!(shared.sessions.members(at.session).unwrap().len(), 2, "sessions keep their state");
        assert!(!house.workers.iter().all(Driven::is_finished), "cat has not confirmed");

        let late = house.dial("dan", 2);
        house.pass(Duration::from_secs(6));
        assert_eq!(house.failed_with(late), Some(ConnectError::Refused(RejectCode::Draining)));
        assert!(house.workers.iter().all(Driven::is_finished));
    });
}

/// Its handshake was answered before, so it is too late to refuse its HELLO.
// spec-test: CON-8
#[test]
fn a_client_whose_first_packet_arrives_during_a_drain_is_told_and_does_not_enter() {
    with_any_workers(|house| {
        let [ann] = house.dial_up([("ann", 0)]);
        house.shared.drain(house.now.mono + Duration::from_secs(5));
        let now = house.now;
        for worker in &mut house.workers {
            worker.handle_wake(now);
            assert_eq!(worker.poll_transmit(now, &mut BytesMut::new()), None);
            worker.handle_timeout(now);
        }
        assert!(!house.workers[0].is_finished(), "it waits for ann");
        house.run();
        assert_eq!(house.closed_with(ann), Some(CloseCode::ShuttingDown));
        assert_eq!(house.shared.totals().connections_opened, 0);
        house.pass(Duration::from_millis(1));
        assert!(house.workers.iter().all(Driven::is_finished));
    });
}

#[test]
fn a_drain_without_clients_is_done_at_once() {
    with_any_workers(|house| {
        house.shared.drain(house.now.mono + Duration::from_secs(5));
        house.run();
        assert!(house.workers.iter().all(Driven::is_finished));
    });
}

// spec-test: LIM-5, HSK-15
#[test]
fn who_connects_again_takes_their_own_place_in_a_full_server() {
    for workers in [1, 2] {
        let mut house = House::new(workers, Limits { max_connections: 2, ..Limits::default() });
        let ann = house.connect("ann", 0);
        house.connect("ben", usize::from(workers) - 1);
        let again = house.dial("ann", usize::from(workers) - 1);
        house.pass(Duration::from_secs(1));
        assert_eq!((house.failed_with(again), house.closed_with(again)), (None, None));
        assert_eq!(house.closed_with(ann), Some(CloseCode::Replaced));
        let cat = house.dial("cat", 0);
        house.pass(Duration::from_secs(6));
        assert_eq!(house.failed_with(cat), Some(ConnectError::Refused(RejectCode::Full)));
    }
}

// spec-test: LIM-1
#[test]
fn a_full_server_says_so() {
    let mut house = House::new(2, Limits { max_connections: 2, ..Limits::default() });
    house.connect("ann", 0);
    house.connect("ben", 1);
    let cat = house.dial("cat", 0);
    house.pass(Duration::from_secs(6));
    assert_eq!(house.failed_with(cat), Some(ConnectError::Refused(RejectCode::Full)));
}

// spec-test: LIM-5
#[test]
fn of_handshakes_that_were_answered_before_the_server_was_full_the_last_are_closed() {
    let mut house = House::new(2, Limits { max_connections: 2, ..Limits::default() });
    let ann = house.connect("ann", 0);
    let [ben, cat, dan] = house.dial_up([("ben", 0), ("cat", 1), ("dan", 1)]);
    house.pass(Duration::from_secs(1));
    let closed = [ann, ben, cat, dan].map(|who| house.closed_with(who));
    assert_eq!(closed, [None, None, Some(CloseCode::Full), Some(CloseCode::Full)]);
    assert_eq!(house.shared.totals().connections, 2);
    house.hang_up(ann);
    house.connect("dan", 1);
}
