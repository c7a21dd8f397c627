//! Mail to members: updates the rosters and turns each change into messages for the local members.
//!
//! An event is encoded once for all of them; a payload is shared and never copied here.

use super::Worker;
use crate::base::{EventNumber, MemberId, SessionId, ShortBytes, Timestamp, Wire, Writer};
use crate::rudp::Payload;
use crate::server::roster::LocalMember;
use crate::session::{Audience, Change, Fanout, MemberAt, SessionSnapshot};
use crate::wire::command::To;
use crate::wire::event::{write_message_head, write_sent_head};
use crate::wire::{Body, Delivery, SessionEvent};

impl Worker {
    /// Sends a change to this worker's members.
    pub(super) fn fan_out(&mut self, now: Timestamp, fanout: Fanout) {
        let Fanout { session, change, deliveries: _until_all_are_sent } = fanout;
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
                let leaver = self.rosters.get(session).and_then(|roster| roster.member(member));
                if let Some(leaver) = leaver {
                    self.clients.answer_before_end(now, leaver.connection, leaver.slot);
                }
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
                for member in self.rosters.get(session).iter().flat_map(|roster| roster.members()) {
                    self.clients.answer_before_end(now, member.connection, member.slot);
                }
                self.tell_all(now, session, &SessionEvent::SessionDeleted { number, why, reason });
                for member in self.rosters.end(session) {
                    self.unseat(&member);
                }
            }
            Change::ToMember { member, event } => {
                if let Some(local) = self.rosters.get(session).and_then(|roster| roster.member(member)) {
                    self.clients.tell(now, local.connection, &event);
                }
            }
        }
    }

    /// Adds a new local member.
    fn seat(&mut self, now: Timestamp, session: SessionId, local: LocalMember, snapshot: &SessionSnapshot) {
        let snapshot = SessionEvent::Snapshot(snapshot.to_wire()).encode();
        self.clients.open_seat(now, local.connection, local.slot, snapshot);
        self.rosters.join(session, local);
    }

    /// Ends a member's stream after the last event that was sent on it.
    // spec: EVT-6, SES-12
    fn unseat(&mut self, member: &LocalMember) {
        self.clients.leave_seat(member.connection, member.slot);
        self.shared.directory.release_session(&member.user);
    }

    /// Sends an event in order to all local members.
    fn tell_all(&mut self, now: Timestamp, session: SessionId, event: &SessionEvent) {
        let Some(roster) = self.rosters.get(session) else { return };
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
        let Some(roster) = self.rosters.get(session) else { return };
        let head = short(&mut self.scratch, |writer| write_message_head(number, sender, writer));
        let message = Payload { head, body: body.bytes().clone() };
        let mut deliveries = 0;
        self.clients.prefetch_to_send(roster.members());
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
        let Some(roster) = self.rosters.get_mut(session) else { return };
        // The application's key travels in the head; the stream has its own key for that of each sender.
        let stream_delivery = match delivery {
            Delivery::Sequenced { key } => Delivery::Sequenced { key: roster.keys.stream_key(sender, key) },
            Delivery::ReliableLatest { key } => {
                Delivery::ReliableLatest { key: roster.keys.stream_key(sender, key) }
            }
            other => other,
        };
        let Self { clients, scratch, .. } = self;
        clients.prefetch_to_send(roster.members());
        let common = short(scratch, |writer| write_sent_head(delivery, sender, writer));
        let mut deliveries = 0;
        let mut send = |member: &LocalMember| {
            deliveries += 1;
            let head = if delivery == Delivery::Unreliable {
                // No stream identifies the session, so the slot precedes the head.
                // spec: MSG-1
                short(scratch, |writer| {
                    member.slot.write(writer);
                    writer.slice(&common);
                })
            } else {
                common
            };
            let payload = Payload { head, body: body.bytes().clone() };
            clients.send(now, member.connection, member.slot.into(), stream_delivery, payload);
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

/// Returns what `write` writes of an event before its payload: numbers, which fit a [`ShortBytes`].
fn short(scratch: &mut Writer, write: impl FnOnce(&mut Writer)) -> ShortBytes {
    scratch.clear();
    write(scratch);
    ShortBytes::new(scratch.as_slice()).expect("invariant: a head is shorter")
}
