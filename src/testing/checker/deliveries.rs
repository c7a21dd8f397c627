//! Broadcasts and messages: reliable ones arrive exactly once and in order, no mode delivers an older value
//! late, and where nothing drops messages, those of all modes arrive soon.

use std::collections::{BTreeMap, BTreeSet};

use super::presence::{LONGEST_WAY, Presence};
use super::{Issues, Life, Mine, Seat, Tag};
use crate::base::{MemberId, Slot, Timestamp};
use crate::client::core::Event;
use crate::testing::payload;
use crate::wire::{Delivery, ErrorCode};

/// The messages that were sent, and their arrivals.
#[derive(Default)]
pub(super) struct Deliveries {
    sent: BTreeMap<Tag, Sending>,
    by_counter: BTreeMap<(Life, Slot, u64), Tag>,
    refused: BTreeMap<Tag, ErrorCode>,
    arrived: BTreeMap<(Seat, Tag), Timestamp>,
    /// Senders that intruders' messages were attributed to.
    intruders: BTreeSet<Seat>,
    /// The newest serial that a member has received from another in a mode that never goes backwards. A user
    /// who rejoins is a different member, because messages from the earlier membership may arrive late.
    newest: BTreeMap<(Seat, MemberId, Lane), u32>,
    /// Number of arrivals that were due though their messages may be dropped.
    due: u64,
}

/// A message on its way.
#[derive(Debug, Clone)]
pub(in crate::testing) struct Sending {
    pub(in crate::testing) tag: Tag,
    pub(in crate::testing) at: Timestamp,
    pub(in crate::testing) mine: Mine,
    pub(in crate::testing) counter: u64,
    pub(in crate::testing) delivery: Delivery,
    /// Expected recipients among the members that the sender knows.
    pub(in crate::testing) to: Vec<MemberId>,
    pub(in crate::testing) audience: Audience,
    pub(in crate::testing) bytes: usize,
    /// The client itself has dropped it.
    pub(in crate::testing) shed: bool,
}

/// Members that may receive a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::testing) enum Audience {
    All,
    Others,
    /// The members listed in `to`.
    Named,
}

/// An independent ordering scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Lane {
    Ordered,
    Sequenced(u16),
    Latest(u16),
}

impl Deliveries {
    pub(super) fn delivered(&self) -> u64 {
        self.arrived.len() as u64
    }

    pub(super) fn due(&self) -> u64 {
        self.due
    }

    pub(super) fn sent(&mut self, sending: Sending) {
        self.by_counter.insert((sending.tag.life, sending.mine.slot, sending.counter), sending.tag);
        self.sent.insert(sending.tag, sending);
    }

    /// Records an event received by the member at `seat`, which belongs to `life`.
    pub(super) fn event(
        &mut self,
        now: Timestamp,
        life: Life,
        seat: Seat,
        event: &Event,
        issues: &mut Issues,
    ) {
        match event {
            Event::Message { sender, delivery, payload, .. } => {
                self.arrive(now, seat, *sender, *delivery, payload, issues);
            }
            Event::Refused { slot, counter, code } => match self.by_counter.get(&(life, *slot, *counter)) {
                Some(tag) => {
                    self.refused.insert(*tag, *code);
                }
                None => {
                    issues.add(format_args!("{seat:?} was refused {counter} ({code}), which it never sent"))
                }
            },
            _ => {}
        }
    }

    fn arrive(
        &mut self,
        now: Timestamp,
        seat: Seat,
        sender: MemberId,
        delivery: Delivery,
        payload: &[u8],
        issues: &mut Issues,
    ) {
        if payload::is_strange(payload) {
            self.intruders.insert(Seat { session: seat.session, member: sender });
            return;
        }
        let Some(sent) = payload::read(payload).and_then(|tag| self.sent.get(&tag)) else {
            let head = payload.get(..40).unwrap_or(payload);
            issues.add(format_args!("{seat:?} was told by {sender} what nobody sent: {head:02x?}"));
            return;
        };
        let (tag, from) = (sent.tag, sent.mine);
        if from.session != seat.session || from.member != sender || sent.bytes != payload.len() {
            issues.add(format_args!("{seat:?} was told {tag:?} as another message than {sent:?}"));
        }
        let is_meant = match sent.audience {
            Audience::All => true,
            Audience::Others => from.member != seat.member,
            Audience::Named => sent.to.contains(&seat.member),
        };
        if !is_meant {
            issues.add(format_args!("{seat:?} was told {tag:?}, which is not for them"));
        }
        if sent.delivery != delivery {
            issues
                .add(format_args!("{seat:?} was told {tag:?} as {delivery:?}, sent as {:?}", sent.delivery));
        }
        if self.arrived.insert((seat, tag), now).is_some() {
            issues.add(format_args!("{seat:?} was told {tag:?} twice ({delivery:?})"));
        }
        if let Some(lane) = lane(sent.delivery)
            && let Some(newest) = self.newest.insert((seat, sender, lane), tag.serial)
            && newest > tag.serial
        {
            issues.add(format_args!("{seat:?} was told {tag:?} ({delivery:?}) after {newest}"));
        }
    }

    /// Checks that every reliable message between members that are still present has arrived, and that no
    /// intruder's message was attributed to one of them.
    pub(super) fn finish(&self, seats: &BTreeMap<Seat, Life>, issues: &mut Issues) {
        let mut last: BTreeMap<(Life, Slot, Lane), Tag> = BTreeMap::new();
        for (seat, tag) in self.arrived.keys().filter(|(_, tag)| self.refused.contains_key(tag)) {
            issues.add(format_args!("{seat:?} was told {tag:?}, which was refused"));
        }
        for (seat, life) in self.intruders.iter().filter_map(|seat| seats.get_key_value(seat)) {
            issues.add(format_args!("an intruder's message was told as one of {seat:?}, who is {life:?}"));
        }
        // Who is still there was there when the message was sent.
        // spec: CMD-21
        for (tag, _) in self.refused.iter().filter(|(_, code)| **code == ErrorCode::NoSuchMember) {
            let Some(sending) = self.sent.get(tag) else { continue };
            let seat = |member: &MemberId| Seat { session: sending.mine.session, member: *member };
            if sending.to.iter().any(|member| seats.contains_key(&seat(member))) {
                issues.add(format_args!("{sending:?} was refused, though some of them are there"));
            }
        }
        for sending in self.sent.values() {
            if let Some(lane @ Lane::Latest(_)) = lane(sending.delivery) {
                last.insert((sending.tag.life, sending.mine.slot, lane), sending.tag);
            }
        }
        for sending in self.sent.values() {
            let due = match sending.delivery {
                Delivery::ReliableUnordered | Delivery::ReliableOrdered => true,
                Delivery::ReliableLatest { key } => {
                    last.get(&(sending.tag.life, sending.mine.slot, Lane::Latest(key))) == Some(&sending.tag)
                }
                Delivery::Unreliable | Delivery::Sequenced { .. } => false,
            };
            if due {
                self.expect(sending, seats, issues);
            }
        }
    }

    fn expect(&self, sending: &Sending, seats: &BTreeMap<Seat, Life>, issues: &mut Issues) {
        let session = sending.mine.session;
        let sender = Seat { session, member: sending.mine.member };
        if seats.get(&sender) != Some(&sending.tag.life) || self.refused.contains_key(&sending.tag) {
            return;
        }
        for member in &sending.to {
            let seat = Seat { session, member: *member };
            if seats.contains_key(&seat) && !self.arrived.contains_key(&(seat, sending.tag)) {
                issues.add(format_args!("{seat:?} never got {sending:?}"));
            }
        }
    }

    /// Checks that every message has soon arrived at each member who was there, or a newer value of its key
    /// has. Holds in a run in which no datagram is lost and no queue is full, so that nothing is dropped but
    /// values that newer ones have replaced.
    // spec: STR-2, CMD-20, CMD-21, CMD-24
    pub(super) fn all_arrived(&mut self, now: Timestamp, presence: &Presence, issues: &mut Issues) {
        let mut due = 0;
        let values = self.values();
        for sending in self.sent.values() {
            let Sending { tag, at, mine: Mine { session, member, slot }, delivery, .. } = *sending;
            let was_there = |member| presence.was_there(Seat { session, member }, at, now);
            if !self.is_accepted(sending) || !was_there(member) {
                continue;
            }
            let same_key = key(delivery).and_then(|key| values.get(&(tag.life, slot, key)));
            let newer = same_key.into_iter().flatten().filter(|value| value.may_replace(sending));
            // A newer value may replace it, even if that one is not for the same members.
            let is_due = |member| {
                was_there(member) && newer.clone().all(|it| self.is_accepted(it) && it.to.contains(&member))
            };
            for member in sending.to.iter().copied().filter(|member| is_due(*member)) {
                due += u64::from(is_droppable(delivery));
                let seat = Seat { session, member };
                let came = |it: &Sending| {
                    self.arrived.get(&(seat, it.tag)).is_some_and(|came| *came <= at + LONGEST_WAY)
                };
                if !came(sending) && !newer.clone().any(|it| came(it)) {
                    issues
                        .add(format_args!("{seat:?} did not get {sending:?} soon, though nothing drops it"));
                }
            }
        }
        self.due += due;
    }

    /// Returns the values of each key of each sender, in the order of their sending.
    fn values(&self) -> BTreeMap<(Life, Slot, u16), Vec<&Sending>> {
        let mut values: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for sending in self.sent.values() {
            if let Some(key) = key(sending.delivery) {
                values.entry((sending.tag.life, sending.mine.slot, key)).or_default().push(sending);
            }
        }
        values
    }

    fn is_accepted(&self, sending: &Sending) -> bool {
        !sending.shed && !self.refused.contains_key(&sending.tag)
    }
}

impl Sending {
    /// Whether it was sent after an older value of its key, while that one may have waited.
    fn may_replace(&self, older: &Self) -> bool {
        self.tag.serial > older.tag.serial && self.at <= older.at + LONGEST_WAY
    }
}

/// Whether messages of a mode may be dropped, or replaced by newer ones.
fn is_droppable(delivery: Delivery) -> bool {
    !matches!(delivery, Delivery::ReliableUnordered | Delivery::ReliableOrdered)
}

fn key(delivery: Delivery) -> Option<u16> {
    match delivery {
        Delivery::Sequenced { key } | Delivery::ReliableLatest { key } => Some(key),
        Delivery::Unreliable | Delivery::ReliableUnordered | Delivery::ReliableOrdered => None,
    }
}

fn lane(delivery: Delivery) -> Option<Lane> {
    match delivery {
        Delivery::Unreliable | Delivery::ReliableUnordered => None,
        Delivery::ReliableOrdered => Some(Lane::Ordered),
        Delivery::Sequenced { key } => Some(Lane::Sequenced(key)),
        Delivery::ReliableLatest { key } => Some(Lane::Latest(key)),
    }
}
