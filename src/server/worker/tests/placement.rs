//! Users that move to the worker of a session's other members.

use std::time::Duration;

use super::Limits;
use super::house::{House, Who, create, invite};
use crate::base::{SessionId, Slot, Timestamp, WorkerId};
use crate::net::Driven;
use crate::wire::command::{Broadcast, Join, To};
use crate::wire::{
    Admission, Body, CloseCode, Command, Delivery, ErrorCode, LeaveReason, Request, SessionEvent, UserEvent,
    Value,
};

/// Returns the number of users that each worker serves.
fn served(house: &House) -> Vec<u64> {
    house.shared.mailboxes.workers().map(|worker| house.shared.counters(worker).connections.get()).collect()
}

/// Creates a session of `seats` seats whose owner is at worker 0, with a member that joined from worker 1.
fn pair(house: &mut House, seats: u16) -> (Who, Who, Slot) {
    let (ann, ben) = (house.connect("ann", 0), house.connect("ben", 1));
    let at = house.create(ann, seats, Admission::Open);
    let joined = house.join_open(ben, at.session).unwrap();
    assert_eq!(at.slot, joined.slot);
    house.events(ann, at.slot);
    (ann, ben, at.slot)
}

fn say(house: &mut House, who: Who, slot: Slot, counter: u16) {
    let delivery = Delivery::ReliableOrdered;
    let body = Body::new(delivery, counter.to_be_bytes().to_vec().into()).unwrap();
    let command = Command::Broadcast(Broadcast { delivery, to: To::All, counter, body });
    house.send_raw(who, slot.into(), Delivery::ReliableOrdered, command.encode());
}

fn messages(events: &[SessionEvent]) -> usize {
    events.iter().filter(|event| matches!(event, SessionEvent::Message { .. })).count()
}

#[test]
fn members_of_a_small_session_gather_and_a_broadcast_is_one_mail() {
    let mut house = House::new(3, Limits::default());
    let (ann, ben, slot) = pair(&mut house, 3);
    let cat = house.connect("cat", 2);
    let number = house.invite(ann, slot, &["cat"], 60)[0].unwrap();
    let [UserEvent::Invited(invitation)] = &house.user_events(cat)[..] else { panic!("not invited") };
    assert_eq!(invitation.invite.number, number);
    house.ask(cat, None, Request::Join(Join::Invite(invitation.invite))).unwrap();
    assert_eq!(served(&house), [3, 0, 0]);
    assert_eq!(house.shared.totals().connections_moved, 2);

    let mails = |house: &House| {
        let counters = house.shared.totals();
        counters.mails - counters.datagrams_forwarded
    };
    let before = mails(&house);
    (0..5).for_each(|counter| say(&mut house, ann, slot, counter));
    house.run();
    assert_eq!(mails(&house) - before, 5);
    for who in [ann, ben, cat] {
        assert_eq!(messages(&house.events(who, slot)), 5);
    }
    (0..5).for_each(|counter| say(&mut house, cat, slot, counter));
    house.run();
    for who in [ann, ben, cat] {
        assert_eq!(messages(&house.events(who, slot)), 5, "what a moved member sends finds its way");
    }
}

#[test]
fn who_is_in_a_session_stays_and_so_do_members_of_large_sessions() {
    let mut house = House::new(2, Limits::default());
    let (ann, ben) = (house.connect("ann", 0), house.connect("ben", 1));
    let at = house.create(ann, 64, Admission::Open);
    house.create(ben, 64, Admission::Open);
    house.join_open(ben, at.session).unwrap();
    let cat = house.connect("cat", 1);
    let large = house.create(ann, 65, Admission::Open);
    house.join_open(cat, large.session).unwrap();
    assert_eq!((served(&house), house.shared.totals().connections_moved), (vec![1, 2], 0));
}

#[test]
fn what_comes_right_behind_a_join_is_carried_out_behind_it() {
    let mut house = House::new(2, Limits::default());
    let (ann, ben) = (house.connect("ann", 0), house.connect("ben", 1));
    let at = house.create(ann, 2, Admission::Open);
    let join = house.send(ben, None, Request::Join(Join::Session(at.session)));
    let list = house.send(ben, None, Request::ListMine);
    let again = house.send(ben, None, Request::Join(Join::Session(at.session)));
    house.run();
    assert!(house.answer(ben, join).is_ok());
    assert!(matches!(house.answer(ben, list), Ok(Value::Sessions(mine)) if mine.len() == 1));
    assert!(house.answer(ben, again).is_err(), "a member already");
    assert_eq!(served(&house), [2, 0]);
}

#[test]
fn of_two_that_move_for_the_last_seat_one_is_refused_where_it_has_gone() {
    let mut house = House::new(2, Limits::default());
    let [ann, ben, cat] = [("ann", 0), ("ben", 1), ("cat", 1)].map(|(user, at)| house.connect(user, at));
    let at = house.create(ann, 2, Admission::Open);
    let joins = [ben, cat].map(|who| {
        let join = house.send(who, None, Request::Join(Join::Session(at.session)));
        house.run_socket(who);
        join
    });
    house.run();
    assert_eq!(served(&house), [3, 0], "both were on their way before a seat was taken");
    assert!(house.answer(ben, joins[0]).is_ok());
    assert_eq!(house.answer(cat, joins[1]), Err(ErrorCode::SessionFull));
    let own = house.create(cat, 2, Admission::Open);
    assert_eq!(house.events(cat, own.slot).len(), 1, "its snapshot: all goes on");
}

#[test]
fn a_user_that_has_moved_hears_of_invites_in_their_order() {
    let mut house = House::new(3, Limits::default());
    let (_, ben, _) = pair(&mut house, 2);
    assert_eq!(house.user_events(ben).len(), 1, "of its move");
    let cat = house.connect("cat", 2);
    let at = house.create(cat, 2, Admission::Open);
    // One after the other, with nothing in between.
    let invited = house.send(cat, Some(at.slot), invite(&["ben"], 60));
    let deleted = house.send(
        cat,
        Some(at.slot),
        Request::Delete(crate::wire::command::Delete { reason: crate::wire::Reason::none() }),
    );
    house.run();
    assert!(house.answer(cat, invited).is_ok() && house.answer(cat, deleted).is_ok());
    let told = house.user_events(ben);
    assert!(matches!(&told[..], [UserEvent::Invited(_), UserEvent::InviteRevoked { .. }]), "{told:?}");
}

// spec-test: HSK-15
#[test]
fn the_end_of_a_connection_that_has_moved_frees_its_home() {
    let mut house = House::new(2, Limits::default());
    let (ann, ben, slot) = pair(&mut house, 2);
    let moved = |house: &House| house.workers[1].clients.endpoint.moved_count();
    assert_eq!(moved(&house), 1);
    let again = house.connect("ben", 1);
    assert_eq!(house.closed_with(ben), Some(CloseCode::Replaced));
    let told = house.events(ann, slot);
    assert!(matches!(told[..], [SessionEvent::MemberLeft { why: LeaveReason::Replaced, .. }]), "{told:?}");
    house.pass(Duration::from_secs(5));
    assert_eq!((moved(&house), served(&house)), (0, vec![1, 1]));
    house.hang_up(again);
    house.hang_up(ann);
    assert_eq!(house.shared.totals().connections, 0);
}

#[test]
fn a_third_workers_socket_finds_a_connection_that_has_moved_and_one_that_has_ended() {
    let mut house = House::new(3, Limits::default());
    let (_, ben, slot) = pair(&mut house, 2);
    house.reroute(ben, 2);
    say(&mut house, ben, slot, 1);
    house.run();
    assert_eq!(messages(&house.events(ben, slot)), 1);
    // It never confirms its end, and continues to send when no worker knows it any more.
    house.deafen(ben);
    house.connect("ben", 1);
    house.pass(Duration::from_secs(20));
    assert_eq!(house.workers[1].clients.endpoint.moved_count(), 0);
}

#[test]
fn who_leaves_a_later_turn_arrives_no_earlier() {
    let mut house = House::new(2, Limits::default());
    let (ann, ben) = (house.connect("ann", 0), house.connect("ben", 1));
    let at = house.create(ann, 2, Admission::Open);
    let before = house.now;
    house.now.mono += Duration::from_micros(50);
    let join = house.send(ben, None, Request::Join(Join::Session(at.session)));
    house.run_socket(ben);
    house.workers[0].handle_wake(before);
    assert_eq!(served(&house), [1, 0], "on its way");
    assert_eq!(house.workers[0].poll_timeout(), Some(Timestamp::ZERO), "the next turn comes at once");
    house.run();
    assert_eq!(served(&house), [2, 0]);
    assert!(house.answer(ben, join).is_ok());
}

// spec-test: EVT-14
#[test]
fn each_id_of_a_connection_that_has_moved_leads_to_it() {
    let mut house = House::new(2, Limits::default());
    let (_, ben, slot) = pair(&mut house, 2);
    let told = house.user_events(ben);
    let [UserEvent::Rehomed { connection }] = told[..] else { panic!("{told:?}") };
    assert_eq!(connection.worker(), WorkerId(0));
    say(&mut house, ben, slot, 1);
    house.run();
    let forwarded = |house: &House| house.shared.totals().datagrams_forwarded;
    let by_home = forwarded(&house);
    assert!(by_home > 0);
    house.rename(ben, connection);
    house.reroute(ben, 0);
    say(&mut house, ben, slot, 2);
    house.run();
    assert_eq!(messages(&house.events(ben, slot)), 2);
    assert_eq!(forwarded(&house), by_home, "nothing is passed on where the socket is the worker's own");
}

// spec-test: CON-8
#[test]
fn a_drain_waits_for_connections_that_have_moved() {
    let mut house = House::new(2, Limits::default());
    let (ann, ben, _) = pair(&mut house, 2);
    house.shared.drain(house.now.mono + Duration::from_secs(5));
    house.run();
    for who in [ann, ben] {
        assert_eq!(house.closed_with(who), Some(CloseCode::ShuttingDown));
    }
    house.pass(Duration::from_millis(1));
    assert!(house.workers.iter().all(Driven::is_finished), "long before its time is over");
}

#[test]
fn a_user_that_arrives_during_a_drain_is_told() {
    let mut house = House::new(2, Limits::default());
    let (ann, ben) = (house.connect("ann", 0), house.connect("ben", 1));
    let at = house.create(ann, 2, Admission::Open);
    house.send(ben, None, Request::Join(Join::Session(at.session)));
    house.run_socket(ben);
    house.shared.drain(house.now.mono + Duration::from_secs(5));
    house.pass(Duration::from_millis(1));
    assert_eq!(house.closed_with(ben), Some(CloseCode::ShuttingDown));
    house.pass(Duration::from_millis(1));
    assert!(house.workers.iter().all(Driven::is_finished));
}

#[test]
fn a_worker_without_clients_waits_until_none_can_be_sent_to_it() {
    let mut house = House::new(2, Limits::default());
    let ann = house.connect("ann", 1);
    house.shared.drain(house.now.mono + Duration::from_secs(5));
    house.workers[0].handle_wake(house.now);
    assert!(!house.workers[0].is_finished(), "the other does not drain yet");
    house.run();
    assert_eq!(house.closed_with(ann), Some(CloseCode::ShuttingDown));
    assert!(house.workers.iter().all(Driven::is_finished));
}

#[test]
fn however_many_join_at_once_no_worker_gets_more_than_its_share() {
    let mut house = House::new(2, Limits::default());
    let owners: Vec<_> = (0..4)
        .map(|number| {
            let owner = house.connect(&format!("owner-{number}"), 0);
            house.create(owner, 64, Admission::Open)
        })
        .collect();
    let guests: Vec<_> = (0..200).map(|number| house.connect(&format!("guest-{number}"), 1)).collect();
    for (number, guest) in guests.iter().enumerate() {
        house.send(*guest, None, Request::Join(Join::Session(owners[number % 4].session)));
    }
    house.run();
    let served = served(&house);
    assert!((100..=146).contains(&served[0]), "5/4 of 102, and 16, and the last: {served:?}");
    assert_eq!(served.iter().sum::<u64>(), 204);
}

/// Where it arrived, its time would begin anew.
// spec-test: SES-17
#[test]
fn who_lags_stays() {
    for is_deaf in [false, true] {
        let mut house = House::new(2, Limits { lagging_bytes: 4_096, ..Limits::default() });
        let (ann, ben) = (house.connect("ann", 0), house.connect("ben", 1));
        let at = house.create(ann, 2, Admission::Open);
        if is_deaf {
            house.deafen(ben);
        }
        for _ in 0..150 {
            house.send(ben, None, Request::ListMine);
            house.run();
        }
        house.send(ben, None, Request::Join(Join::Session(at.session)));
        house.run();
        assert_eq!(house.shared.totals().connections_moved, u64::from(!is_deaf));
    }
}

/// Where it arrived, nobody would close it, and it would miss what found no room.
// spec-test: SES-17
#[test]
fn who_is_closed_for_lagging_at_the_end_of_the_turn_stays() {
    let mut house = House::new(2, Limits { max_queued_bytes: 2_000, ..Limits::default() });
    let (ann, ben) = (house.connect("ann", 0), house.connect("ben", 1));
    let at = house.create(ann, 2, Admission::Open);
    (0..60).for_each(|_| {
        house.send(ben, None, Request::ListMine);
    });
    house.send(ben, None, Request::Join(Join::Session(at.session)));
    house.run_socket(ben);
    let totals = house.shared.totals();
    assert_eq!((totals.connections_moved, totals.connections_lagging), (0, 1));
}

// spec-test: LIM-8
#[test]
fn budgets_move_with_their_user() {
    let mut house = House::new(2, Limits::default());
    let (ann, ben) = (house.connect("ann", 0), house.connect("ben", 1));
    let at = house.create(ann, 2, Admission::Open);
    let nowhere = |house: &mut House| house.join_open(ben, SessionId(1));
    for _ in 0..60 {
        assert_eq!(nowhere(&mut house), Err(ErrorCode::NoSuchSession));
    }
    house.join_open(ben, at.session).unwrap();
    assert_eq!(house.shared.totals().connections_moved, 1);
    let left = (0..64).take_while(|_| nowhere(&mut house) == Err(ErrorCode::NoSuchSession)).count();
    assert_eq!(left, 3, "of 64 entries");
}

#[test]
fn who_would_not_be_admitted_stays() {
    let mut house = House::new(2, Limits::default());
    let ann = house.connect("ann", 0);
    let open = house.create(ann, 1, Admission::Open);
    let closed = house.create(ann, 2, Admission::Invited);
    let ben = house.connect("ben", 1);
    assert!(house.join_open(ben, open.session).is_err() && house.join_open(ben, closed.session).is_err());
    assert_eq!(house.shared.totals().connections_moved, 0);
}

#[test]
fn a_new_session_goes_where_there_are_clearly_fewer_users_and_no_worker_gets_all() {
    let mut house = House::new(2, Limits::default());
    for number in 0..40 {
        house.connect(&format!("user-{number}"), 0);
    }
    let ann = house.connect("ann", 0);
    let id = house.send(ann, None, create(64, Admission::Open));
    house.run();
    let Ok(Value::Entered(at)) = house.answer(ann, id) else { panic!("not created") };
    assert_eq!(served(&house), [40, 1]);
    for number in 0..50 {
        let who = house.connect(&format!("guest-{number}"), 0);
        house.join_open(who, at.session).unwrap();
    }
    let [stayed, gathered] = served(&house)[..] else { panic!("two workers") };
    assert_eq!(stayed + gathered, 91);
    assert!((45..=75).contains(&gathered), "{gathered} of 91");
}
