//! Broadcasts, messages and property changes, and the budgets of a session.

use std::collections::BTreeSet;

use super::*;
use crate::base::{EventNumber, Revision};
use crate::wire::{PropertyKey, PropertyOp, PropertyValue};

fn set_hp(hp: i64) -> PropertyOps {
    PropertyOps::new(vec![set("hp", PropertyValue::Integer(hp))]).unwrap()
}

/// Sets a property to a value of `bytes` bytes.
fn set_bytes(name: &str, bytes: usize) -> PropertyOps {
    let value = PropertyValue::Bytes(Bytes::from(vec![0; bytes]));
    PropertyOps::new(vec![set(name, value)]).unwrap()
}

fn set(name: &str, value: PropertyValue) -> PropertyOp {
    PropertyOp::set(PropertyKey::new(name).unwrap(), value)
}

// spec-test: CMD-20, EVT-8
#[test]
fn an_ordered_broadcast_is_numbered_and_others_are_not() {
    let mut world = World::new();
    let ann = world.create("ann", open());
    world.take_changes();
    let next = world.table.info(&user("ann"), ann.session).unwrap().next;
    world.broadcast(ann, Delivery::ReliableUnordered).unwrap();
    world.broadcast(ann, Delivery::ReliableOrdered).unwrap();
    let changes = world.take_changes();
    let [Change::Sent { to: Audience::All, .. }, Change::Message { number, sender, .. }] = &changes[..]
    else {
        panic!("{changes:?}")
    };
    assert_eq!((*number, *sender), (next, ann.member));
}

// spec-test: EVT-1
#[test]
fn near_the_last_number_only_leaves_and_ends_are_numbered() {
    let mut world = World::new();
    let ann = world.create("ann", open());
    let session = ann.session;
    let bob = world.join("bob", Join::Session(session)).unwrap();
    let last = EventNumber(EventNumber::MAX.0 - 65_536);
    world.table.start_at(session, last);
    world.take_changes();
    assert_eq!(world.broadcast(ann, Delivery::ReliableOrdered), Ok(()));
    let busy = Err(ErrorCode::Busy);
    assert_eq!(world.broadcast(ann, Delivery::ReliableOrdered), busy);
    assert_eq!(world.transfer(ann, bob), busy);
    assert_eq!(world.set(ann, &set_hp(1)), Err(ErrorCode::Busy));
    assert_eq!(world.join("cat", Join::Session(session)), Err(ErrorCode::Busy));
    assert_eq!(world.broadcast(ann, Delivery::ReliableUnordered), Ok(()), "has no number");
    world.leave(ann).unwrap();
    world.delete(member_ref(session, bob)).unwrap();
    let numbers: Vec<_> = world.take_changes().iter().filter_map(number_of).collect();
    assert_eq!(numbers, [0, 1, 2, 3].map(|more| last.0 + more), "a broadcast, a leave, a new owner, an end");
}

#[test]
fn a_broadcast_is_posted_once_a_worker() {
    let mut world = World::new();
    let ann = world.create("a", open());
    for name in ["d", "b", "e"] {
        world.join(name, Join::Session(ann.session)).unwrap();
    }
    world.mail.posted.clear();
    world.broadcast(ann, Delivery::Unreliable).unwrap();
    let posted = world.mail.posted.iter().map(|(worker, _)| worker.0);
    let workers: BTreeSet<u8> = posted.clone().collect();
    assert_eq!((posted.count(), workers), (2, BTreeSet::from(["a", "b"].map(|name| at(name).worker.0))));
}

// spec-test: SES-16
#[test]
fn a_broadcast_for_which_a_mailbox_has_no_room_takes_no_number() {
    let mut world = World::new();
    let ann = world.create("a", open());
    world.join("b", Join::Session(ann.session)).unwrap();
    world.take_changes();
    let before = world.table.info(&user("a"), ann.session).unwrap();
    world.mail.full = vec![at("b").worker];
    assert_eq!(world.broadcast(ann, Delivery::ReliableOrdered), Err(ErrorCode::Busy));
    assert_eq!(world.transfer(ann, MemberId(2)), Err(ErrorCode::Busy));
    assert_eq!(world.set(ann, &set_hp(1)), Err(ErrorCode::Busy));
    assert_eq!(world.table.info(&user("a"), ann.session), Ok(before));
    assert!(world.take_changes().is_empty());
}

// spec-test: CMD-6
#[test]
fn what_is_refused_as_busy_is_charged_like_what_is_sent() {
    let until_limited = |is_full: bool| {
        let mut world = World::with(SessionLimits { commands_per_second: 20, ..SessionLimits::default() });
        let ann = world.create("a", open());
        world.join("b", Join::Session(ann.session)).unwrap();
        world.mail.full = if is_full { vec![at("b").worker] } else { Vec::new() };
        let mut sent = (0..100).map(|_| world.broadcast(ann, Delivery::ReliableOrdered));
        sent.position(|outcome| outcome == Err(ErrorCode::RateLimited))
    };
    let sent = until_limited(false);
    assert!(sent.is_some_and(|sent| sent > 0), "{sent:?}");
    assert_eq!(until_limited(true), sent);
}

#[test]
fn a_message_goes_to_the_workers_of_its_recipients() {
    let mut world = World::new();
    let ann = world.create("a", open());
    let b = world.join("b", Join::Session(ann.session)).unwrap();
    world.mail.posted.clear();
    world.table.message(world.now, ann, message(&[b]), &mut world.mail).unwrap();
    let [(worker, fanout)] = &world.mail.posted[..] else { panic!("{:?}", world.mail.posted) };
    assert_eq!(*worker, at("b").worker);
    let Change::Sent { to: Audience::Members(to), .. } = &fanout.change else { panic!("{fanout:?}") };
    assert_eq!(to[..], [b]);
}

// spec-test: CMD-21
#[test]
fn a_message_passes_over_who_has_left_and_is_refused_for_strangers() {
    let mut world = World::new();
    let ann = world.create("a", open());
    let session = ann.session;
    let b = world.join("b", Join::Session(session)).unwrap();
    let c = world.join("c", Join::Session(session)).unwrap();
    world.leave(member_ref(session, b)).unwrap();
    let mut send = |to: &[MemberId]| world.table.message(world.now, ann, message(to), &mut world.mail);
    assert_eq!(send(&[b, c]), Ok(()));
    assert_eq!(send(&[ann.member, b, c]), Ok(()), "one of three has left");
    assert_eq!(send(&[b]), Err(ErrorCode::NoSuchMember), "nobody is left");
    assert_eq!(send(&[c, MemberId(9)]), Err(ErrorCode::NoSuchMember), "never was one");
    assert_eq!(send(&[MemberId(0)]), Err(ErrorCode::NoSuchMember));
}

// spec-test: PRP-1, SES-13
#[test]
fn a_property_change_is_numbered_and_in_the_next_snapshot() {
    let mut world = World::new();
    let ann = world.create("ann", open());
    world.take_changes();
    assert_eq!(world.set(ann, &set_hp(5)), Ok(Revision(1)));
    let changes = world.take_changes();
    let [Change::PropertiesChanged { revision: Revision(1), member, .. }] = &changes[..] else {
        panic!("{changes:?}")
    };
    assert_eq!(*member, ann.member);
    world.join("bob", Join::Session(ann.session)).unwrap();
    let snapshot = world.mail.posted.drain(..).find_map(|(_, fanout)| match fanout.change {
        Change::Joined { snapshot, .. } => snapshot,
        _ => None,
    });
    let snapshot = snapshot.unwrap().to_wire();
    assert_eq!((snapshot.revision, &snapshot.properties[0].value), (Revision(1), &PropertyValue::Integer(5)));
}

// spec-test: SES-16, PRP-8
#[test]
fn a_refused_property_change_changes_nothing() {
    let mut world = World::new();
    let ann = world.create("ann", open());
    let session = ann.session;
    let bob = member_ref(session, world.join("bob", Join::Session(session)).unwrap());
    world.set(ann, &set_hp(5)).unwrap();
    world.take_changes();
    let before = world.table.info(&user("ann"), session);
    assert_eq!(world.set(bob, &set_hp(6)), Err(ErrorCode::PropertyDenied));
    assert!(world.take_changes().is_empty());
    assert_eq!(world.table.info(&user("ann"), session), before);
}

// spec-test: LIM-1, LIM-3
#[test]
fn a_session_takes_so_many_commands_a_second_and_no_more() {
    let limits = SessionLimits { commands_per_second: 3, ..SessionLimits::default() };
    let mut world = World::with(limits);
    let by = world.create("ann", open());
    let results = [(); 4].map(|()| world.broadcast(by, Delivery::Unreliable));
    assert_eq!(results, [Ok(()), Ok(()), Ok(()), Err(ErrorCode::RateLimited)]);
    assert_eq!(world.set(by, &set_hp(1)), Err(ErrorCode::RateLimited));
    assert!(world.try_invite(by, "bob").is_ok(), "other commands are not its business");
    world.now += Duration::from_secs(1);
    assert_eq!(world.set(by, &set_hp(1)), Ok(Revision(1)));
}

/// A flood of large commands leaves the bytes to the others once it has used up its commands.
// spec-test: CMD-6
#[test]
fn what_is_refused_as_a_command_costs_no_bytes() {
    let limits =
        SessionLimits { commands_per_second: 1, bytes_per_second: 4_096, ..SessionLimits::default() };
    let mut world = World::with(limits);
    let by = world.create("ann", open());
    let send = |world: &mut World| {
        let large = broadcast(Delivery::ReliableOrdered, &[0; 65_536]);
        world.table.broadcast(world.now, by, large, &mut world.mail)
    };
    assert_eq!(send(&mut world), Ok(()));
    (0..20).for_each(|_| assert_eq!(send(&mut world), Err(ErrorCode::RateLimited)));
    world.now += Duration::from_secs(1);
    assert_eq!(send(&mut world), Ok(()));
}

/// Checking a command that is then refused costs the same.
// spec-test: CMD-6, LIM-3
#[test]
fn what_is_refused_for_another_reason_counts_and_is_rate_limited_when_it_is_too_much() {
    let limits = SessionLimits { commands_per_second: 3, ..SessionLimits::default() };
    let mut world = World::with(limits);
    let ann = world.create("ann", open());
    let session = ann.session;
    let bob = world.join("bob", Join::Session(session)).unwrap();
    let delete =
        PropertyOps::new(vec![PropertyOp::Delete { key: PropertyKey::new("none").unwrap() }]).unwrap();
    for is_over in [false, true] {
        let refused = |why| Err(if is_over { ErrorCode::RateLimited } else { why });
        let sent = world.table.message(world.now, ann, message(&[MemberId(9)]), &mut world.mail);
        assert_eq!(sent, refused(ErrorCode::NoSuchMember));
        assert_eq!(world.set(ann, &delete).map(|_| ()), refused(ErrorCode::NoSuchProperty));
        assert_eq!(world.transfer(ann, ann.member), refused(ErrorCode::InvalidTarget));
        assert_eq!(world.transfer(member_ref(session, bob), bob), Err(ErrorCode::NotOwner));
        assert_eq!(
            world.set(member_ref(session, MemberId(9)), &delete).map(|_| ()),
            Err(ErrorCode::NotAMember)
        );
    }
}

/// Whatever carries the bytes: a broadcast, a message, or a property, whose key also counts.
// spec-test: LIM-1, LIM-3
#[test]
fn a_session_takes_so_many_bytes_a_second_and_the_largest_payload_always() {
    type Send = fn(&mut World, MemberRef) -> Result<(), ErrorCode>;
    const ORDERED: Delivery = Delivery::ReliableOrdered;
    fn large() -> Body {
        Body::new(ORDERED, Bytes::from(vec![0; 65_536])).unwrap()
    }
    let ways: [Send; 3] = [
        |world, by| {
            let broadcast = Broadcast { body: large(), ..broadcast(ORDERED, b"") };
            world.table.broadcast(world.now, by, broadcast, &mut world.mail)
        },
        |world, by| {
            let message = Message { body: large(), ..message(&[by.member]) };
            world.table.message(world.now, by, message, &mut world.mail)
        },
        |world, by| world.set(by, &set_bytes("k", 65_535)).map(|_| ()),
    ];
    for (way, send) in ways.into_iter().enumerate() {
        let mut world = World::with(SessionLimits { bytes_per_second: 1, ..SessionLimits::default() });
        let by = world.create("ann", open());
        let refused = Err(ErrorCode::RateLimited);
        let sent = [(); 8].map(|()| send(&mut world, by));
        let taken = sent.iter().take_while(|sent| sent.is_ok()).count();
        assert_eq!((taken, &sent[taken..]), (6, &[refused; 2][..]), "{way}");
    }
}

/// Otherwise the overhead of small messages would fill the queues of the members.
// spec-test: LIM-3
#[test]
fn small_messages_count_what_they_cost_a_member() {
    let limits =
        SessionLimits { commands_per_second: 1 << 20, bytes_per_second: 4 << 20, ..SessionLimits::default() };
    let mut world = World::with(limits);
    let ann = world.create("ann", open());
    let taken = (0..20_000).filter(|_| world.broadcast(ann, Delivery::ReliableOrdered).is_ok()).count();
    // One member gets three quarters of the session's burst.
    assert_eq!(taken, (3 << 18) / ("hello".len() + 64));
}

/// Many tiny operations make an event as large as their command.
// spec-test: LIM-3
#[test]
fn small_operations_count_what_they_cost_a_member() {
    let limits =
        SessionLimits { commands_per_second: 1 << 20, bytes_per_second: 4 << 20, ..SessionLimits::default() };
    let mut world = World::with(limits);
    let ann = world.create("ann", open());
    let ops = PropertyOps::new(vec![set("a", Bytes::new().into()); 256]).unwrap();
    let taken = (0..1_000).filter(|_| world.set(ann, &ops).is_ok()).count();
    // Half of the session's burst, then its own share of a quarter.
    let each = 256 * ("a".len() + 8) + 64;
    assert_eq!(taken, (1 << 19) / each + (1 << 18) / each);
}

/// A session whose key budget is the first to run out, with ann and bob in it.
fn keyed() -> (World, [MemberRef; 2]) {
    let limits =
        SessionLimits { commands_per_second: 1 << 20, bytes_per_second: 1 << 30, ..SessionLimits::default() };
    let mut world = World::with(limits);
    let ann = world.create("ann", open());
    let bob = member_ref(ann.session, world.join("bob", Join::Session(ann.session)).unwrap());
    (world, [ann, bob])
}

fn send_message(world: &mut World, by: MemberRef, to: MemberId, delivery: Delivery) -> Result<(), ErrorCode> {
    let message = Message { delivery, ..message(&[to]) };
    world.table.message(world.now, by, message, &mut world.mail)
}

/// However many members send, each receiver has message numbers left for the values that wait for it.
// spec-test: LIM-4
#[test]
fn a_session_takes_the_keys_in_use_and_so_many_new_ones() {
    type Send = fn(&mut World, MemberRef, Delivery) -> Result<(), ErrorCode>;
    let ways: [Send; 2] =
        [World::broadcast, |world, by, delivery| send_message(world, by, MemberId(1), delivery)];
    for send in ways {
        let (mut world, [ann, bob]) = keyed();
        let taken = |world: &mut World, by, keys: std::ops::Range<u16>| {
            let latest = |key| Delivery::ReliableLatest { key };
            keys.filter(|key| send(world, by, latest(*key)).is_ok()).count()
        };
        // Half of 2,048 is free for all; each of the two members has half of the shared quarter.
        assert_eq!(taken(&mut world, ann, 0..1_000), 1_000);
        assert_eq!(taken(&mut world, bob, 0..900), 24 + 256);
        assert_eq!(taken(&mut world, ann, 0..1_000), 1_000, "in use");
        let refused = send(&mut world, bob, Delivery::ReliableLatest { key: 999 });
        assert_eq!(refused, Err(ErrorCode::RateLimited));
        world.now += Duration::from_secs(1);
        assert_eq!(taken(&mut world, bob, 1_000..2_000), 128);
    }
}

// spec-test: CMD-6, LIM-4
#[test]
fn a_message_to_a_stranger_is_named_so_though_no_new_key_is_left() {
    let (mut world, [ann, bob]) = keyed();
    let mut key = 0;
    let mut send = |to| {
        key += 1;
        send_message(&mut world, ann, to, Delivery::ReliableLatest { key })
    };
    while send(bob.member).is_ok() {}
    assert_eq!(send(MemberId(9)), Err(ErrorCode::NoSuchMember));
    assert_eq!(send(bob.member), Err(ErrorCode::RateLimited));
}

/// Otherwise a refused member could rejoin to get a full share.
// spec-test: LIM-3
#[test]
fn who_leaves_and_joins_again_where_little_is_left_has_an_empty_share() {
    let mut world = World::with(SessionLimits { commands_per_second: 64, ..SessionLimits::default() });
    let ann = world.create("ann", open());
    let session = ann.session;
    let bob = member_ref(session, world.join("bob", Join::Session(session)).unwrap());
    let taken = |world: &mut World, by| {
        (0..100).filter(|_| world.broadcast(by, Delivery::Unreliable).is_ok()).count()
    };
    // Half of 64 is free for all; each of the two members has half of the shared quarter.
    assert_eq!(taken(&mut world, ann), 32 + 8);
    assert_eq!(taken(&mut world, bob), 8);
    world.leave(bob).unwrap();
    let again = member_ref(session, world.join("bob", Join::Session(session)).unwrap());
    assert_eq!(taken(&mut world, again), 0);
    world.now += Duration::from_millis(250);
    assert_eq!(taken(&mut world, again), 8, "of 64 a second half is his");
}

// spec-test: PRP-2
#[test]
fn a_session_has_256_properties_and_65_536_bytes_of_them() {
    let mut world = World::new();
    let by = world.create("ann", open());
    let many = (0..256).map(|n| set(&format!("k{n}"), PropertyValue::Integer(0))).collect();
    assert!(world.set(by, &PropertyOps::new(many).unwrap()).is_ok());
    assert_eq!(world.set(by, &set_hp(1)), Err(ErrorCode::TooManyProperties));

    let by = world.create("ann", open());
    // The bytes of keys count, and an integer counts eight.
    assert_eq!(world.set(by, &set_bytes("k", 65_536)), Err(ErrorCode::PropertiesTooLarge));
    assert!(world.set(by, &set_bytes("k", 65_525)).is_ok());
    assert_eq!(world.set(by, &set_bytes("k", 65_526)).map(|_| ()), Ok(()));
    assert_eq!(world.set(by, &set_hp(1)), Err(ErrorCode::PropertiesTooLarge));
    assert!(world.set(by, &set_bytes("k", 65_525)).is_ok());
    assert!(world.set(by, &set_hp(1)).is_ok());
}
