//! A whole server in virtual time, observed from its clients. Most tests run with one worker, with several
//! whose members gather on one, and with several among which they stay distributed.

mod answers;
mod connections;
mod house;
mod lagging;
mod limits;
mod lists;
mod memberships;
mod messages;
mod placement;
mod races;
mod wiring;

use bytes::Bytes;

use self::house::{House, Who};
use super::super::limits::Limits;
use crate::base::Slot;
use crate::wire::command::{Broadcast, To};
use crate::wire::result::Entered;
use crate::wire::{Admission, Body, Command, Delivery};

/// Runs a test with one worker, and with three whose clients are spread over them, once to gather and once to
/// stay.
fn with_any_workers(test: impl Fn(&mut House)) {
    for (workers, gathered_seats) in [(1, 64), (3, 64), (3, 0)] {
        let mut house = House::new(workers, Limits { gathered_seats, ..Limits::default() });
        test(&mut house);
        house.check_mailboxes();
    }
}

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

fn send_broadcast(
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

fn shout(house: &mut House, who: Who, slot: Slot, counter: u16, bytes: usize) {
    let delivery = Delivery::ReliableOrdered;
    let body = Body::new(delivery, Bytes::from(vec![7; bytes])).unwrap();
    let command = Command::Broadcast(Broadcast { delivery, to: To::Others, counter, body }).encode();
    house.send_raw(who, slot.into(), delivery, command);
}
