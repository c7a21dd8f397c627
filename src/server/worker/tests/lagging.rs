//! Members that take less than is sent to them.

use std::time::Duration;

use bytes::Bytes;

use super::answers::full_house;
use super::house::{House, create};
use super::{Limits, Who, shout};
use crate::base::{SessionId, UserId};
use crate::rudp::ConnectionConfig;
use crate::wire::command::{Broadcast, Create, InitialProperties, InitialProperty, Join, To};
use crate::wire::result::Entered;
use crate::wire::{
    Admission, Body, CloseCode, Command, Delivery, ErrorCode, LeaveReason, PropertyKey, PropertyValue,
    Request, ServerMessage, SessionEvent, UserEvent, Value, WriteRule,
};

// spec-test: SES-17
#[test]
fn a_member_that_takes_nothing_is_removed_and_the_others_miss_nothing() {
    for workers in [1, 3] {
        let limits = Limits { lagging_bytes: 65_536, max_queued_bytes: 262_144, ..Limits::default() };
        let mut house = House::new(workers, limits);
        let [ann, ben, cat] = [("ann", 0), ("ben", 1), ("cat", 2)].map(|(user, at)| house.connect(user, at));
        let at = house.create(ann, 3, Admission::Open);
        let with_ben = house.join_open(ben, at.session).unwrap();
        house.join_open(cat, at.session).unwrap();
        house.events(ben, with_ben.slot);
        house.unplug(cat);

        for _ in 0..20 {
            shout(&mut house, ann, at.slot, 0, 30_000);
            house.pass(Duration::from_millis(100));
        }
        let told = house.events(ben, with_ben.slot);
        let messages = told.iter().filter(|event| matches!(event, SessionEvent::Message { .. })).count();
        let lagging = |event: &&SessionEvent| {
            matches!(event, SessionEvent::MemberLeft { why: LeaveReason::Lagging, .. })
        };
        assert_eq!((messages, told.iter().filter(lagging).count()), (20, 1));
        let numbers: Vec<_> = told.iter().map(|event| event.number().unwrap().0).collect();
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
        let counters = house.shared.totals();
        assert_eq!((counters.connections, counters.connections_lagging), (2, 1));
    }
}

/// Otherwise a member that takes a little now and then could keep its backlog for as long as it likes.
// spec-test: SES-17
#[test]
fn a_member_that_lags_for_too_long_is_removed_however_little_waits() {
    let limits = Limits { lagging_bytes: 65_536, max_lagging_ms: 4_000, ..Limits::default() };
    let mut house = House::new(1, limits);
    let [ann, cat] = [("ann", 0), ("cat", 0)].map(|(user, at)| house.connect(user, at));
    let at = house.create(ann, 2, Admission::Open);
    house.join_open(cat, at.session).unwrap();
    house.events(ann, at.slot);
    house.unplug(cat);
    (0..3).for_each(|_| shout(&mut house, ann, at.slot, 0, 30_000));
    // Messages that replace others are no sign that waiting ones were taken.
    let delivery = Delivery::ReliableLatest { key: 1 };
    for counter in 0..39 {
        for _ in 0..4 {
            let body = Body::new(delivery, Bytes::from(vec![7; 1_000])).unwrap();
            let command = Command::Broadcast(Broadcast { delivery, to: To::Others, counter, body }).encode();
            house.send_raw(ann, at.slot.into(), delivery, command);
            house.run();
        }
        house.pass(Duration::from_millis(100));
    }
    let lagging = |house: &House| house.shared.totals().connections_lagging;
    assert_eq!(lagging(&house), 0);
    house.pass(Duration::from_millis(200));
    assert_eq!(lagging(&house), 1);
    let told = house.events(ann, at.slot);
    assert!(
        matches!(told.last(), Some(SessionEvent::MemberLeft { why: LeaveReason::Lagging, .. })),
        "{told:?}"
    );
}

/// What waits at one check must be taken by the next one; what is added meanwhile has until the one after.
// spec-test: SES-17
#[test]
fn a_member_may_take_less_than_is_added_while_it_takes_what_waited_before() {
    let (lagging_bytes, max_queued_bytes, max_lagging_ms) = (65_536, 1 << 20, 4_000);
    let limits = Limits { lagging_bytes, max_queued_bytes, max_lagging_ms, ..Limits::default() };
    let mut house = House::new(1, limits);
    let [ann, cat] = [("ann", 0), ("cat", 0)].map(|(user, at)| house.connect(user, at));
    let at = house.create(ann, 2, Admission::Open);
    house.join_open(cat, at.session).unwrap();
    house.deafen(cat);
    let connection = house.shared.directory.live(&UserId::new("cat").unwrap()).unwrap();
    let waiting = |house: &House| house.workers[0].clients.endpoint.queued_reliable_bytes(connection);
    let add = |house: &mut House, messages| {
        (0..messages).for_each(|_| shout(house, ann, at.slot, 0, 5_000));
        house.pass(Duration::from_millis(100));
    };
    add(&mut house, 18);
    for (messages, left, removed) in [(36, 170_000, 0), (48, 230_000, 0), (48, 300_000, 1)] {
        let (before, check) = (waiting(&house), house.workers[0].clients.lagging_due().unwrap());
        add(&mut house, messages);
        while waiting(&house) > left {
            house.hear(cat, 8);
            house.pass(Duration::from_millis(10));
        }
        house.deafen(cat);
        assert!(waiting(&house) > before, "it takes less than is added");
        house.pass(check.since(house.now.mono));
        assert_eq!(house.shared.totals().connections_lagging, removed, "{left} bytes wait");
    }
}

/// It is shed when it waits for too long, and nobody has to take it.
// spec-test: SES-17
#[test]
fn what_is_not_reliable_makes_nobody_lag() {
    let (lagging_bytes, max_queued_bytes, max_lagging_ms) = (65_536, 262_144, 1_000);
    let limits = Limits { lagging_bytes, max_queued_bytes, max_lagging_ms, ..Limits::default() };
    let mut house = House::new(1, limits);
    let [ann, cat] = [("ann", 0), ("cat", 0)].map(|(user, at)| house.connect(user, at));
    let at = house.create(ann, 2, Admission::Open);
    house.join_open(cat, at.session).unwrap();
    house.unplug(cat);
    shout(&mut house, ann, at.slot, 0, 60_000);
    for key in 0..200 {
        let delivery = Delivery::Sequenced { key };
        let body = Body::new(delivery, Bytes::from(vec![7; 1_000])).unwrap();
        let command = Command::Broadcast(Broadcast { delivery, to: To::Others, counter: 0, body }).encode();
        house.send_raw(ann, at.slot.into(), delivery, command);
        house.run();
    }
    house.pass(Duration::from_secs(3));
    house.heal(cat);
    house.pass(Duration::from_secs(3));
    assert_eq!((house.user_events(cat), house.closed_with(cat)), (vec![], None));
    assert_eq!(house.shared.totals().deliveries, 201);
}

// spec-test: SES-17, EVT-13
#[test]
fn a_member_that_lags_is_told_before_it_is_removed() {
    let limits = Limits { lagging_bytes: 65_536, max_queued_bytes: 1 << 20, ..Limits::default() };
    let mut house = House::new(1, limits);
    let (ann, ben) = (house.connect("ann", 0), house.connect("ben", 0));
    let at = house.create(ann, 2, Admission::Open);
    house.join_open(ben, at.session).unwrap();
    for _ in 0..2 {
        // All at once: enough to lag, too little to end the connection.
        for _ in 0..8 {
            shout(&mut house, ann, at.slot, 0, 30_000);
        }
        house.pass(Duration::from_secs(1));
        assert_eq!(house.user_events(ben), [UserEvent::Lagging], "told once, and again when it lags again");
        // A message that is sent while little waits ends the lag.
        shout(&mut house, ann, at.slot, 0, 1);
        house.pass(Duration::from_secs(1));
        assert_eq!(house.user_events(ben), []);
    }
    assert_eq!(house.closed_with(ben), None);
}

/// Behind what waits, the notification would come when the line has taken that, or after the removal.
// spec-test: EVT-13, SES-17
#[test]
fn whoever_lags_is_told_before_what_waits() {
    let mut house = House::new(1, Limits::default());
    let (ann, ben) = (house.connect("ann", 0), house.connect("ben", 0));
    let at = house.create(ann, 2, Admission::Open);
    let slot = house.join_open(ben, at.session).unwrap().slot;
    house.deafen(ben);
    for _ in 0..60 {
        (0..10).for_each(|_| shout(&mut house, ann, at.slot, 0, 1_000));
        house.pass(Duration::from_millis(10));
    }
    house.heal(ben);
    house.pass(Duration::from_secs(5));
    let is_told = |message: &ServerMessage| *message == ServerMessage::User(UserEvent::Lagging);
    let before = house.arrived(ben).position(is_told).unwrap();
    assert!(before < 50, "{before} messages came first");
    let messages = house.events(ben, slot).len();
    assert_eq!((messages, house.closed_with(ben)), (601, None), "with the snapshot");
}

/// No single queue is too long, but all together are.
// spec-test: LIM-1
#[test]
fn many_members_that_take_nothing_do_not_fill_the_memory() {
    let limits = Limits { send_memory_bytes: 200_000, max_queued_bytes: 8 << 20, ..Limits::default() };
    let mut house = House::new(2, limits);
    let (ann, ben) = (house.connect("ann", 0), house.connect("ben", 1));
    let at = house.create(ann, 10, Admission::Open);
    let with_ben = house.join_open(ben, at.session).unwrap();
    for (number, user) in ["cat", "dan", "eve", "fay"].into_iter().enumerate() {
        let who = house.connect(user, number);
        house.join_open(who, at.session).unwrap();
        house.unplug(who);
    }
    house.events(ben, with_ben.slot);
    for _ in 0..30 {
        shout(&mut house, ann, at.slot, 0, 30_000);
        house.pass(Duration::from_millis(100));
    }
    let told = house.events(ben, with_ben.slot);
    let messages = told.iter().filter(|event| matches!(event, SessionEvent::Message { .. })).count();
    let counters = house.shared.totals();
    assert_eq!((messages, counters.connections, counters.connections_lagging), (30, 2, 4));
}

/// However little of the mail a turn handles: a gap would look like a protocol violation of the server.
// spec-test: SES-12, SES-17
#[test]
fn who_was_refused_an_event_is_sent_no_later_one() {
    let mut house = House::new(1, Limits::default());
    let (all, at) = full_house(&mut house);
    let little = ConnectionConfig { max_message_bytes: 1_200, ..ConnectionConfig::default() };
    let ben = house.connect_with("ben", 0, little);
    let with_ben = house.join_open(ben, at.session).unwrap();
    house.events(ben, with_ben.slot);
    shout(&mut house, all[0].0, all[0].1.slot, 0, 1_300);
    for (who, at) in &all {
        (1..3).for_each(|counter| shout(&mut house, *who, at.slot, counter, 8));
    }
    house.run_sockets(&all.iter().map(|(who, _)| *who).collect::<Vec<_>>());
    assert!(house.workers[0].behind, "the turn ends between two of its broadcasts");
    house.run();
    assert_eq!(house.events(ben, with_ben.slot), []);
    assert_eq!(house.closed_with(ben), Some(CloseCode::Lagging));
}

// spec-test: LIM-1, SES-15
#[test]
fn a_member_that_does_not_take_its_answers_is_removed_at_once() {
    let mut house = House::new(1, Limits { max_queued_bytes: 2_000, ..Limits::default() });
    let (ann, ben) = (house.connect("ann", 0), house.connect("ben", 0));
    let at = house.create(ann, 2, Admission::Open);
    house.join_open(ben, at.session).unwrap();
    house.events(ann, at.slot);
    house.deafen(ben);
    for _ in 0..60 {
        house.send(ben, None, Request::ListMine);
    }
    house.run();
    let told = house.events(ann, at.slot);
    assert!(matches!(told[..], [SessionEvent::MemberLeft { why: LeaveReason::Lagging, .. }]), "{told:?}");
    house.heal(ben);
    house.pass(Duration::from_secs(1));
    assert_eq!(house.closed_with(ben), Some(CloseCode::Lagging), "it is told why");
}

// spec-test: LIM-1
#[test]
fn a_member_that_takes_no_message_so_large_is_removed_and_told_why() {
    let mut house = House::new(1, Limits::default());
    let small = ConnectionConfig { max_message_bytes: 1_200, ..ConnectionConfig::default() };
    let (ann, ben) = (house.connect("ann", 0), house.connect_with("ben", 0, small));
    let at = house.create(ann, 2, Admission::Open);
    house.join_open(ben, at.session).unwrap();
    house.events(ann, at.slot);
    shout(&mut house, ann, at.slot, 0, 30_000);
    house.pass(Duration::from_secs(1));
    assert_eq!(house.closed_with(ben), Some(CloseCode::Lagging));
    let told = house.events(ann, at.slot);
    let left = told.iter().any(|it| matches!(it, SessionEvent::MemberLeft { why: LeaveReason::Lagging, .. }));
    assert!(left, "{told:?}");
}

/// A user who comes back joins all of its sessions at once, and takes in whatever it is sent.
// spec-test: SES-17
#[test]
fn nobody_is_removed_for_the_snapshots_of_the_sessions_that_it_joins() {
    let limits = Limits { max_queued_bytes: 262_144, lagging_bytes: 200_000, ..Limits::default() };
    let mut house = House::new(1, limits);
    let (ann, ben) = (house.connect("ann", 0), house.connect("ben", 0));
    // Four snapshots of that length would fill the queue but for some bytes.
    let create = || create_with(large_property(65_240 - 3));
    let mut waiting: Vec<_> = (0..7).map(|_| enter(&mut house, ann, create()).unwrap().session).collect();
    for left in [4, 1, 0] {
        let join = |id: &SessionId| (house.send(ben, None, Request::Join(Join::Session(*id))), *id);
        let asked: Vec<_> = waiting.iter().map(join).collect();
        house.send(ben, None, Request::ListInvites);
        house.pass(Duration::from_secs(1));
        let busy = asked.into_iter().filter(|(request, _)| match house.answer(ben, *request) {
            Ok(_) => false,
            refused => {
                assert_eq!(refused, Err(ErrorCode::Busy));
                true
            }
        });
        waiting = busy.map(|(_, session)| session).collect();
        assert_eq!(waiting.len(), left, "three have room at once");
    }
    assert_eq!(house.closed_with(ben), None);
    assert_eq!(house.shared.totals().connections_lagging, 0);
}

// spec-test: SES-17
#[test]
fn a_session_whose_snapshot_finds_no_room_is_not_created() {
    let mut house =
        House::new(1, Limits { max_queued_bytes: 30_000, lagging_bytes: 20_000, ..Limits::default() });
    let ann = house.connect("ann", 0);
    assert_eq!(enter(&mut house, ann, create_with(large_property(27_000))), Err(ErrorCode::Busy));
    assert!(enter(&mut house, ann, create_with(large_property(25_000))).is_ok());
    assert_eq!(house.shared.sessions.len(), 1);
}

fn large_property(bytes: usize) -> InitialProperty {
    InitialProperty {
        key: PropertyKey::new("map").unwrap(),
        value: PropertyValue::Bytes(Bytes::from(vec![7; bytes])),
        rule: WriteRule::Any,
    }
}

/// A request to create an open session of two with one property.
fn create_with(property: InitialProperty) -> Request {
    let Request::Create(create) = create(2, Admission::Open) else { panic!("it creates") };
    let properties = InitialProperties::new(vec![property]).unwrap();
    Request::Create(Create { properties, ..create })
}

/// Enters a session by a large request, which takes its time.
fn enter(house: &mut House, who: Who, request: Request) -> Result<Entered, ErrorCode> {
    let asked = house.send(who, None, request);
    house.pass(Duration::from_secs(1));
    house.answer(who, asked).map(|value| match value {
        Value::Entered(entered) => entered,
        other => panic!("{other:?}"),
    })
}
