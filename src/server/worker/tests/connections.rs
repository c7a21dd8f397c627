//! Connections through the whole server: replaced, lost, moved, drained.

use std::time::Duration;

use super::house::House;
use super::{Limits, with_any_workers};
use crate::net::Driven;
use crate::rudp::ConnectError;
use crate::wire::{Admission, CloseCode, LeaveReason, RejectCode, SessionEvent};

/// The reason of the one leave among events.
fn left(events: &[SessionEvent]) -> Option<LeaveReason> {
    match events {
        [SessionEvent::MemberLeft { why, .. }] => Some(*why),
        _ => None,
    }
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
        let counters = house.shared.snapshot();
        assert_eq!((counters.connections, counters.connections_replaced), (2, 1));
    });
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
        assert_eq!(house.shared.snapshot().connections, 1);
    });
}

#[test]
fn a_datagram_at_another_workers_socket_is_passed_on() {
    let mut house = House::new(3, Limits::default());
    let ann = house.connect("ann", 0);
    house.reroute(ann, 2);
    let at = house.create(ann, 2, Admission::Open);
    assert_eq!(house.events(ann, at.slot).len(), 1);
    assert!(house.shared.snapshot().datagrams_forwarded > 0);
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
        assert!(!house.workers.iter().all(Driven::is_finished), "cat has not confirmed");

        let late = house.dial("dan", 2);
        house.pass(Duration::from_secs(6));
        assert_eq!(house.failed_with(late), Some(ConnectError::Refused(RejectCode::Draining)));
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
