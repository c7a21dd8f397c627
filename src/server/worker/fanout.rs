//! Mail to members: keeps the rosters and turns each change into what the local members receive.
//!
//! An event is encoded once for all of them; a payload is shared and never copied here.

use bytes::Bytes;

use super::Worker;
use super::clients::Clients;
use crate::base::{EventNumber, MemberId, SessionId, Slot, StreamId, Timestamp, Wire, Writer};
use crate::rudp::Payload;
use crate::server::roster::{LocalMember, Roster};
use crate::session::{Audience, Change, Fanout, MemberAt, SessionSnapshot};
use crate::wire::command::To;
use crate::wire::event::{message_head, sent_head};
use crate::wire::{Body, Delivery, SessionEvent};

impl Worker {
    /// Tells this worker's members of a change.
    pub(super) fn fan_out(&mut self, now: Timestamp, Fanout { session, change }: Fanout) {
        match change {
            Change::Joined { number, member, user, at, snapshot } => {
                let event = SessionEvent::MemberJoined { number, member, user: user.clone() };
                self.tell_all(now, session, &event);
                if let Some(snapshot) = snapshot {
                    let MemberAt { connection, slot, .. } = at;
                    let local = LocalMember { member, user, connection, slot };
                    self.seat(now, session, local, &snapshot);
                }
            }
            Change::Left { number, member, why, reason } => {
                self.tell_all(now, session, &SessionEvent::MemberLeft { number, member, why, reason });
                if let Some(left) = self.rosters.leave(session, member) {
                    self.unseat(&left);
                }
            }
            Change::OwnerChanged { number, owner } => {
                self.tell_all(now, session, &SessionEvent::OwnerChanged { number, owner });
            }
            Change::PropertiesChanged { number, revision, member, changes } => {
                let event = SessionEvent::PropertiesChanged { number, revision, member, changes };
                self.tell_all(now, session, &event);
            }
            Change::Message { number, sender, to, body } => {
                self.deliver_numbered(now, session, number, sender, to, &body);
            }
            Change::Sent { sender, delivery, to, body } => {
                self.deliver(now, session, sender, delivery, &to, &body);
            }
            Change::Deleted { number, why, reason } => {
                self.tell_all(now, session, &SessionEvent::SessionDeleted { number, why, reason });
                for member in self.rosters.end(session) {
                    self.unseat(&member);
                }
            }
            Change::ToMember { member, event } => {
                if let Some(local) = self.rosters.of(session).and_then(|roster| roster.member(member)) {
                    self.clients.tell(now, local.connection, &event);
                }
            }
        }
    }

    /// Adds a new member of this worker's; its stream begins with the snapshot.
    // spec: EVT-4
    fn seat(&mut self, now: Timestamp, session: SessionId, local: LocalMember, snapshot: &SessionSnapshot) {
        let event = SessionEvent::Snapshot(snapshot.to_wire()).encode();
        self.clients.send_event(now, local.connection, local.slot, event);
        self.rosters.join(session, local);
    }

    /// Ends a member's stream behind the last event that was sent on it.
    // spec: EVT-6, SES-12
    fn unseat(&mut self, member: &LocalMember) {
        self.clients.leave_seat(member.connection, member.slot);
        self.shared.directory.release_session(&member.user);
    }

    /// Sends an event in order to all local members.
    fn tell_all(&mut self, now: Timestamp, session: SessionId, event: &SessionEvent) {
        let Some(roster) = self.rosters.of(session) else { return };
        let event = event.encode();
        for member in roster.members() {
            self.clients.send_event(now, member.connection, member.slot, event.clone());
        }
    }

    /// Sends an ordered broadcast; with [`To::Others`] its sender gets the receipt.
    // spec: EVT-8
    fn deliver_numbered(
        &mut self,
        now: Timestamp,
        session: SessionId,
        number: EventNumber,
        sender: MemberId,
        to: To,
        body: &Body,
    ) {
        let Some(roster) = self.rosters.of(session) else { return };
        let message = Payload { head: message_head(number, sender), body: body.bytes().clone() };
        let mut deliveries = 0;
        for member in roster.members() {
            let payload = if to == To::Others && member.member == sender {
                SessionEvent::Receipt { number }.encode().into()
            } else {
                deliveries += 1;
                message.clone()
            };
            self.clients.send(now, member.connection, member.slot.into(), Delivery::ReliableOrdered, payload);
        }
        self.counters().deliveries.add(deliveries);
    }

    /// Sends a payload of any delivery, outside of the order of events.
    // spec: EVT-10
    fn deliver(
        &mut self,
        now: Timestamp,
        session: SessionId,
        sender: MemberId,
        delivery: Delivery,
        to: &Audience,
        body: &Body,
    ) {
        let Some(roster) = self.rosters.of(session) else { return };
        let mut parcel = Parcel::new(roster, sender, delivery, body);
        let mut deliveries = 0;
        let clients = &mut self.clients;
        let mut send = |member: &LocalMember| {
            deliveries += 1;
            parcel.send(now, clients, member);
        };
        let members = roster.members();
        match to {
            Audience::All => members.iter().for_each(send),
            Audience::Others => members.iter().filter(|member| member.member != sender).for_each(send),
            Audience::Members(ids) => ids.iter().filter_map(|id| roster.member(*id)).for_each(&mut send),
        }
        self.counters().deliveries.add(deliveries);
    }
}

/// A payload on its way to several members.
struct Parcel<'a> {
    delivery: Delivery,
    head: Bytes,
    body: &'a Body,
    /// For unreliable delivery: the head with the slot that stands before it, as last used. Most
    /// members have the session in the same slot.
    slotted: Option<(Slot, Bytes)>,
}

impl<'a> Parcel<'a> {
    fn new(roster: &mut Roster, sender: MemberId, delivery: Delivery, body: &'a Body) -> Self {
        let head = sent_head(delivery, sender);
        // The app's key travels in the head; the stream has a key for each sender's.
        let delivery = match delivery {
            Delivery::Sequenced { key } => Delivery::Sequenced { key: roster.keys.of(sender, key) },
            Delivery::ReliableLatest { key } => Delivery::ReliableLatest { key: roster.keys.of(sender, key) },
            other => other,
        };
        Self { delivery, head, body, slotted: None }
    }

    fn send(&mut self, now: Timestamp, clients: &mut Clients, member: &LocalMember) {
        let unreliable = self.delivery == Delivery::Unreliable;
        let head = if unreliable { self.head_for(member.slot) } else { self.head.clone() };
        let payload = Payload { head, body: self.body.bytes().clone() };
        clients.send(now, member.connection, StreamId::from(member.slot), self.delivery, payload);
    }

    /// An unreliable message has no stream that names the session: its slot stands before it.
    // spec: MSG-1
    fn head_for(&mut self, slot: Slot) -> Bytes {
        if let Some((last, head)) = &self.slotted
            && *last == slot
        {
            return head.clone();
        }
        let mut writer = Writer::with_capacity(4 + self.head.len());
        slot.write(&mut writer);
        writer.slice(&self.head);
        let head = writer.finish();
        self.slotted = Some((slot, head.clone()));
        head
    }
}
