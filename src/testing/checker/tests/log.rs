//! Checks that wrong numbered events and states are detected.

use super::deliveries::{arrives, sending};
use super::*;
use crate::wire::WriteRule;
use crate::wire::command::{InitialProperty, Transfer};
use crate::wire::{PropertyChange, PropertyChanges, PropertyKey, PropertyValue};

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
    let issues_with = |properties: &InitialProperties, members: &[(u32, &str)], on_owner_leave| {
        let (mut logs, mut issues) = (Logs::default(), Issues::default());
        let mirror = mirror(1, 2, members);
        logs.event(SESSION, MemberId(1), &entered(mirror.clone()), &mut issues);
        logs.state(&mirror, &mut issues);
        let entered = Entered { session: SESSION, slot: Slot(1), member: MemberId(1) };
        let settings = Settings { on_owner_leave, ..*mirror.settings() };
        logs.created(entered, &Create { settings, properties: properties.clone() }, &mut issues);
        issues.lines
    };
    let none = InitialProperties::new(Vec::new()).unwrap();
    let issues_of = |members: &[(u32, &str)], on_owner_leave| issues_with(&none, members, on_owner_leave);
    assert_eq!(issues_of(&[(1, "ann")], OnOwnerLeave::Transfer), [""; 0]);
    assert_noticed(&issues_of(&[(1, "ann")], OnOwnerLeave::Delete), "began with");
    assert_noticed(&issues_of(&[(1, "ann"), (2, "bob")], OnOwnerLeave::Transfer), "began with");
    let (key, value) = (PropertyKey::new("k").unwrap(), PropertyValue::Integer(1));
    let one = InitialProperties::new(vec![InitialProperty { key, value, rule: WriteRule::Any }]).unwrap();
    assert_noticed(&issues_with(&one, &[(1, "ann")], OnOwnerLeave::Transfer), "not as in");
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
