//! Checks that each limit of a server reaches the layer that enforces it, and is refused there with its code.

use std::time::Duration;

use bytes::Bytes;

use super::house::{House, create, invite};
use super::{Limits, Who};
use crate::base::{Slot, WorkerId};
use crate::server::mailbox::MailRoom;
use crate::session::Load;
use crate::wire::command::{Broadcast, To};
use crate::wire::result::Entered;
use crate::wire::{Admission, Body, Command, Delivery, ErrorCode, SessionEvent, Value};

/// A server of two workers, each of which serves its own clients: ann is on one and ben on the other, both in
/// a session of ann.
struct Two {
    house: House,
    ann: (Who, Entered),
    ben: (Who, Entered),
}

impl Two {
    fn new(limits: Limits) -> Self {
        let mut house = House::new(2, Limits { gathered_seats: 0, ..limits });
        let (ann, ben) = (house.connect("ann", 0), house.connect("ben", 1));
        let at = house.create(ann, 4, Admission::Open);
        let with_ben = house.join_open(ben, at.session).unwrap();
        house.events(ann, at.slot);
        house.events(ben, with_ben.slot);
        Self { house, ann: (ann, at), ben: (ben, with_ben) }
    }

    /// Lets ann create another session, and returns the outcome.
    fn create(&mut self) -> Result<Slot, ErrorCode> {
        match self.house.ask(self.ann.0, None, create(2, Admission::Open))? {
            Value::Entered(entered) => Ok(entered.slot),
            other => panic!("create: {other:?}"),
        }
    }

    /// Lets ann invite a user, and returns the outcome.
    fn invite(&mut self, slot: Slot, name: &str) -> Result<(), ErrorCode> {
        match self.house.ask(self.ann.0, Some(slot), invite(&[name], 60))? {
            Value::Invited(answers) => answers[0].map(|_| ()),
            other => panic!("invite: {other:?}"),
        }
    }

    /// Sends a broadcast, and returns the outcome.
    fn say(&mut self, (who, at): (Who, Entered), delivery: Delivery, bytes: usize) -> Result<(), ErrorCode> {
        let body = Body::new(delivery, Bytes::from(vec![7; bytes])).unwrap();
        let command = Command::Broadcast(Broadcast { delivery, to: To::Others, counter: 5, body });
        self.house.send_raw(who, at.slot.into(), delivery, command.encode());
        self.house.pass(Duration::from_millis(50));
        let refused = self.house.events(who, at.slot).into_iter().find_map(|event| match event {
            SessionEvent::Refused { code, .. } => Some(code),
            _ => None,
        });
        refused.map_or(Ok(()), Err)
    }

    fn say_ordered(&mut self, bytes: usize) -> Result<(), ErrorCode> {
        self.say(self.ann, Delivery::ReliableOrdered, bytes)
    }
}

/// Each limit has the smallest value that still permits something: the first attempt succeeds, the second
/// fails.
// spec-test: LIM-1
#[test]
fn whatever_is_over_a_limit_is_refused_by_its_name() {
    type Deed = fn(&mut Two) -> [Result<(), ErrorCode>; 2];
    let limits: [(&str, u64, ErrorCode, Deed); 6] = [
        ("max_sessions", 2, ErrorCode::ServerFull, |two| [(); 2].map(|()| two.create().map(|_| ()))),
        ("sessions_per_user", 2, ErrorCode::TooManySessions, |two| {
            [(); 2].map(|()| two.create().map(|_| ()))
        }),
        ("invites_per_user", 1, ErrorCode::TooManyInvites, |two| {
            let slots = [two.ann.1.slot, two.create().unwrap()];
            slots.map(|slot| two.invite(slot, "cat"))
        }),
        ("invites_by_user", 1, ErrorCode::TooManyInvites, |two| {
            let slots = [two.ann.1.slot, two.create().unwrap()];
            [(slots[0], "cat"), (slots[1], "dan")].map(|(slot, name)| two.invite(slot, name))
        }),
        ("invites_per_session", 1, ErrorCode::TooManyInvites, |two| {
            ["cat", "dan"].map(|name| two.invite(two.ann.1.slot, name))
        }),
        ("session_commands_per_second", 1, ErrorCode::RateLimited, |two| {
            [(); 2].map(|()| two.say_ordered(1))
        }),
    ];
    for (name, value, code, deed) in limits {
        let mut limits = Limits::default();
        limits.set(name, value).unwrap();
        assert_eq!(deed(&mut Two::new(limits)), [Ok(()), Err(code)], "{name}");
    }
}

/// The burst has a minimum, so the rate shows only in the time after it.
// spec-test: LIM-3
#[test]
fn a_session_takes_bytes_at_the_rate_of_its_limit() {
    let limits =
        Limits { session_bytes_per_second: 4_096, command_bytes_per_second: 1 << 26, ..Limits::default() };
    let mut two = Two::new(limits);
    let said = |two: &mut Two| (0..20).take_while(|_| two.say_ordered(65_536).is_ok()).count();
    let at_once = said(&mut two);
    assert!((5..=6).contains(&at_once), "{at_once} of 64 KiB, whatever the limit");
    two.house.pass(Duration::from_secs(1));
    assert_eq!(said(&mut two), 0);
}

// spec-test: LIM-4
#[test]
fn a_session_begins_four_times_as_many_keys_in_a_second_as_a_connection() {
    let mut two = Two::new(Limits { new_keys_per_second: 1, ..Limits::default() });
    let (ann, ben) = (two.ann, two.ben);
    let mut refused = |(who, at): (Who, Entered), keys: std::ops::Range<u16>, after| {
        two.house.pass(after);
        for key in keys {
            let delivery = Delivery::ReliableLatest { key };
            let body = Body::new(delivery, Bytes::new()).unwrap();
            let command = Command::Broadcast(Broadcast { delivery, to: To::Others, counter: key, body });
            two.house.send_raw(who, at.slot.into(), delivery, command.encode());
        }
        two.house.pass(Duration::from_millis(100));
        let told = two.house.events(who, at.slot);
        told.iter().filter(|event| matches!(event, SessionEvent::Refused { .. })).count()
    };
    assert_eq!(refused(ann, 0..1_024, Duration::ZERO), 0, "half of what comes at once");
    let most = refused(ben, 0..600, Duration::ZERO);
    assert!((342..=344).contains(&most), "{most} refused: he has half of a quarter of it, 256");
    let some = refused(ben, 600..640, Duration::from_secs(10));
    assert!((18..=20).contains(&some), "{some} refused: of four a second half is his");
}

// spec-test: CMD-6, LIM-1
#[test]
fn a_broadcast_for_which_a_worker_has_no_room_is_refused_by_its_name() {
    let mut two = Two::new(Limits { mailbox_capacity: 64, ..Limits::default() });
    let shared = std::sync::Arc::clone(&two.house.shared);
    let mailbox = shared.mailboxes.get(WorkerId(1)).unwrap();
    mailbox.reserve(Load { deliveries: 64, waiting: 0 }).unwrap();
    assert_eq!(two.say_ordered(1), Err(ErrorCode::Busy));
    mailbox.give_back(MailRoom::of(64));
    assert_eq!(two.say_ordered(1), Ok(()));
}
