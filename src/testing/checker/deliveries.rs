//! Broadcasts and messages: reliable ones arrive exactly once and in order, and no mode delivers an older
//! value late.

use std::collections::{BTreeMap, BTreeSet};

use super::{Issues, Life, Mine, Seat, Tag};
use crate::base::{MemberId, Slot};
use crate::client::core::Event;
use crate::testing::payload;
use crate::wire::Delivery;

/// The messages that were sent, and their arrivals.
#[derive(Default)]
pub(super) struct Deliveries {
    sent: BTreeMap<Tag, Sending>,
    by_counter: BTreeMap<(Life, Slot, u64), Tag>,
    refused: BTreeSet<Tag>,
    arrived: BTreeSet<(Seat, Tag)>,
    /// Senders that intruders' messages were attributed to.
    intruders: BTreeSet<Seat>,
    /// The newest serial that a member has received from another in a mode that never goes backwards. A user
    /// who rejoins is a different member, because messages from the earlier membership may arrive late.
    newest: BTreeMap<(Seat, MemberId, Lane), u32>,
}

/// A message on its way.
#[derive(Debug, Clone)]
pub(in crate::testing) struct Sending {
    pub(in crate::testing) tag: Tag,
    pub(in crate::testing) mine: Mine,
    pub(in crate::testing) counter: u64,
    pub(in crate::testing) delivery: Delivery,
    /// Expected recipients among the members that the sender knows.
    pub(in crate::testing) to: Vec<MemberId>,
    pub(in crate::testing) audience: Audience,
    pub(in crate::testing) bytes: usize,
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

    pub(super) fn sent(&mut self, sending: Sending) {
        self.by_counter.insert((sending.tag.life, sending.mine.slot, sending.counter), sending.tag);
        self.sent.insert(sending.tag, sending);
    }

    /// Records an event received by the member at `seat`, which belongs to `life`.
    pub(super) fn event(&mut self, life: Life, seat: Seat, event: &Event, issues: &mut Issues) {
        match event {
            Event::Message { sender, delivery, payload, .. } => {
                self.arrive(seat, *sender, *delivery, payload, issues);
            }
            Event::Refused { slot, counter, code } => match self.by_counter.get(&(life, *slot, *counter)) {
                Some(tag) => {
                    self.refused.insert(*tag);
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
        if !self.arrived.insert((seat, tag)) {
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
        for (seat, tag) in self.arrived.iter().filter(|(_, tag)| self.refused.contains(tag)) {
            issues.add(format_args!("{seat:?} was told {tag:?}, which was refused"));
        }
        for (seat, life) in self.intruders.iter().filter_map(|seat| seats.get_key_value(seat)) {
            issues.add(format_args!("an intruder's message was told as one of {seat:?}, who is {life:?}"));
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
        if seats.get(&sender) != Some(&sending.tag.life) || self.refused.contains(&sending.tag) {
            return;
        }
        for member in &sending.to {
            let seat = Seat { session, member: *member };
            if seats.contains_key(&seat) && !self.arrived.contains(&(seat, sending.tag)) {
                issues.add(format_args!("{seat:?} never got {sending:?}"));
            }
        }
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
