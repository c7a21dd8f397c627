//! Broadcasts and messages through the whole server: who gets them, in which order and on which stream.

use bytes::Bytes;

use super::{broadcast, gathered, with_any_workers};
use crate::base::{MemberId, StreamId};
use crate::wire::command::{Broadcast, Message, Recipients, To};
use crate::wire::{Admission, Body, Command, Delivery, ErrorCode, Request, SessionEvent};

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
