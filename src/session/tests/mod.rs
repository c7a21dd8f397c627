//! Tests of sessions through the table, and their shared helpers.

mod deadlines;
mod inviting;
mod membership;
mod model;
mod races;
mod traffic;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;
use crate::base::{
    ConnectionId, InviteId, LoginNumber, MemberId, SessionId, SessionKind, Slot, Timestamp, UserId, WorkerId,
};
use crate::wire::command::{
    Broadcast, Create, Decline, InitialProperties, Invite, InvitedUsers, Join, Kick, Message, Recipients, To,
};
use crate::wire::{
    Admission, Body, DeleteReason, Delivery, ErrorCode, IdleTtl, InviteTtl, LeaveReason, MaxMembers, Note,
    OnOwnerLeave, PropertyOps, Reason, Settings,
};

/// A port that keeps all mail and checks that the table respects its contract.
#[derive(Debug, Default)]
struct Mail {
    posted: Vec<(WorkerId, Fanout)>,
    /// Reserved places that are not filled yet.
    reserved: Vec<(WorkerId, usize)>,
    /// Workers whose mailboxes are full.
    full: Vec<WorkerId>,
    woken: Vec<WorkerId>,
}

impl WorkerPort for Mail {
    fn reserve(&mut self, workers: &[WorkerId], load: Load) -> Result<(), MailboxFull> {
        assert!(self.reserved.is_empty(), "a reservation was not used");
        let mut distinct = workers.to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), workers.len(), "workers are distinct");
        if workers.iter().any(|worker| self.full.contains(worker)) {
            return Err(MailboxFull);
        }
        assert!(load.deliveries > 0);
        self.reserved = workers.iter().map(|worker| (*worker, load.deliveries)).collect();
        Ok(())
    }

    fn post(&mut self, to: WorkerId, fanout: Fanout, from: RoomFrom) {
        if from == RoomFrom::Reservation {
            let mail = (to, fanout.deliveries.count());
            let place = self.reserved.iter().position(|place| *place == mail);
            self.reserved.remove(place.expect("room was reserved"));
        }
        self.posted.push((to, fanout));
    }

    fn wake(&mut self, keeper: WorkerId) {
        self.woken.push(keeper);
    }
}

/// A table, and users whose names select their workers.
struct World {
    table: SessionTable,
    mail: Mail,
    now: Timestamp,
}

const WORKERS: u8 = 3;

impl World {
    fn new() -> Self {
        Self::with(SessionLimits::default())
    }

    fn with(limits: SessionLimits) -> Self {
        Self {
            table: SessionTable::new(4, WORKERS, limits, StdRng::seed_from_u64(7)),
            mail: Mail::default(),
            now: Timestamp::from_millis(1_000),
        }
    }

    fn create(&mut self, name: &str, settings: Settings) -> MemberRef {
        let create = Create { settings, properties: InitialProperties::default() };
        let created = self.table.create(self.now, entrant(&user(name)), create, &mut self.mail).unwrap();
        created.member_ref()
    }

    fn invite(&mut self, by: MemberRef, name: &str) -> InviteId {
        self.try_invite(by, name).unwrap().invite
    }

    fn try_invite(&mut self, by: MemberRef, name: &str) -> Result<NewInvite, ErrorCode> {
        let users = [user(name)];
        let invite = invite_of(name);
        let inviting = self.table.invite(self.now, by, &invite, &users, &mut self.mail)?;
        assert_eq!(inviting.users.len(), 1);
        inviting.users[0]
    }

    /// Invites a user and holds a seat.
    fn hold(&mut self, by: MemberRef, name: &str) -> Result<InviteId, ErrorCode> {
        let invite = Invite { hold_seat: true, ..invite_of(name) };
        let inviting = self.table.invite(self.now, by, &invite, &[user(name)], &mut self.mail)?;
        inviting.users[0].map(|new| new.invite)
    }

    fn join(&mut self, name: &str, join: Join) -> Result<MemberId, ErrorCode> {
        self.join_with(name, LoginNumber(1), join).map(|admitted| admitted.member)
    }

    /// Joins by the connection with this login number.
    fn join_with(&mut self, name: &str, login: LoginNumber, join: Join) -> Result<Admitted, ErrorCode> {
        let user = user(name);
        let entrant = Entrant { at: MemberAt { login, ..at(name) }, ..entrant(&user) };
        self.table.join(self.now, entrant, join, &mut self.mail)
    }

    fn join_by(&mut self, name: &str, invite: InviteId) -> Result<MemberId, ErrorCode> {
        self.join(name, Join::Invite(invite))
    }

    fn leave(&mut self, leaver: MemberRef) -> Result<Departed, ErrorCode> {
        self.table.leave(self.now, leaver, LeaveReason::Left, &mut self.mail)
    }

    fn kick(&mut self, by: MemberRef, member: MemberId) -> Result<Departed, ErrorCode> {
        self.table.kick(self.now, by, Kick { member, reason: Reason::none() }, &mut self.mail)
    }

    fn delete(&mut self, by: MemberRef) -> Result<Departed, ErrorCode> {
        self.table.delete(self.now, by, Reason::none(), &mut self.mail)
    }

    fn decline(&mut self, name: &str, invite: InviteId) -> Result<(), ErrorCode> {
        let decline = Decline { invite, reason: Reason::new("busy").unwrap() };
        self.table.decline(self.now, &user(name), decline, &mut self.mail)
    }

    fn revoke(&mut self, by: MemberRef, number: u32) -> Result<EndedInvite, ErrorCode> {
        self.table.revoke(self.now, by, number, &mut self.mail)
    }

    fn transfer(&mut self, by: MemberRef, to: MemberId) -> Result<(), ErrorCode> {
        self.table.transfer(self.now, by, to, &mut self.mail)
    }

    fn broadcast(&mut self, by: MemberRef, delivery: Delivery) -> Result<(), ErrorCode> {
        self.table.broadcast(self.now, by, broadcast(delivery, b"hello"), &mut self.mail)
    }

    fn set(&mut self, by: MemberRef, ops: &PropertyOps) -> Result<crate::base::Revision, ErrorCode> {
        self.table.set_properties(self.now, by, ops, &mut self.mail)
    }

    /// Advances the time and lets every stripe's keeper process what is due.
    fn pass(&mut self, time: Duration) -> Vec<Expired> {
        self.now += time;
        let mut expired = Vec::new();
        for stripe in 0..self.table.stripes() {
            while self.table.next_deadline(stripe).is_some_and(|at| at <= self.now) {
                expired.extend(self.table.expire(stripe, self.now, &mut self.mail));
            }
        }
        expired
    }

    /// Like [`Self::pass`], for sessions only. Returns the sessions that ended and the invites that ended
    /// with them.
    fn pass_ends(&mut self, time: Duration) -> (Vec<SessionId>, Vec<EndedInvite>) {
        let ended = self.pass(time).into_iter().map(|expired| match expired {
            Expired::Session(session, departed) => (session, departed),
            invite => panic!("{invite:?}"),
        });
        let (sessions, departed): (_, Vec<Departed>) = ended.unzip();
        assert!(departed.iter().all(|departed| {
            departed
                .ended
                .as_ref()
                .is_some_and(|ended| ended.why == DeleteReason::Idle && ended.members.is_empty())
        }));
        (sessions, departed.into_iter().flat_map(|departed| departed.revoked).collect())
    }

    /// Takes the mail and returns each change once, however many workers received it. Checks that each worker
    /// received it once, and all workers in the same order.
    fn take_changes(&mut self) -> Vec<Change> {
        assert!(self.mail.reserved.is_empty(), "a reservation was not used");
        let posted = std::mem::take(&mut self.mail.posted);
        let mut numbered = BTreeMap::new();
        for (worker, fanout) in &posted {
            if let Some(number) = number_of(&fanout.change) {
                let of_worker: &mut Vec<_> = numbered.entry((*worker, fanout.session)).or_default();
                assert!(of_worker.last().is_none_or(|last| *last < number), "in order, once");
                of_worker.push(number);
            }
        }
        let mut changes: Vec<Change> = Vec::new();
        for (_, fanout) in posted {
            let again = changes.last().is_some_and(|last| {
                let number = number_of(last);
                number.is_some() && number == number_of(&fanout.change)
            });
            if !again {
                changes.push(fanout.change);
            }
        }
        changes
    }
}

fn number_of(change: &Change) -> Option<u64> {
    match change {
        Change::Joined { number, .. }
        | Change::Left { number, .. }
        | Change::OwnerChanged { number, .. }
        | Change::PropertiesChanged { number, .. }
        | Change::Message { number, .. }
        | Change::Deleted { number, .. } => Some(number.0),
        Change::Sent { .. } | Change::ToMember { .. } => None,
    }
}

fn member_ref(session: SessionId, member: MemberId) -> MemberRef {
    MemberRef { session, member }
}

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

/// A user with all the room that it needs.
fn entrant(user: &UserId) -> Entrant<'_> {
    Entrant { user, at: at(user.as_str()), snapshot_room: usize::MAX }
}

/// Location of a user; its name selects the worker.
fn at(name: &str) -> MemberAt {
    let first = name.as_bytes()[0];
    let worker = WorkerId(first % WORKERS);
    MemberAt {
        worker,
        connection: ConnectionId::new(worker, u32::from(first)),
        slot: Slot(1),
        login: LoginNumber(1),
    }
}

fn settings() -> Settings {
    Settings {
        kind: SessionKind(7),
        max_members: MaxMembers::new(4).unwrap(),
        idle_ttl: IdleTtl::new(60).unwrap(),
        on_owner_leave: OnOwnerLeave::Transfer,
        admission: Admission::Invited,
    }
}

fn open() -> Settings {
    Settings { admission: Admission::Open, ..settings() }
}

/// An invite with a TTL of 30 s.
fn invite_of(name: &str) -> Invite {
    Invite {
        users: InvitedUsers::new(vec![user(name)]).unwrap(),
        ttl: InviteTtl::new(30).unwrap(),
        hold_seat: false,
        note: Note::new("come").unwrap(),
    }
}

fn broadcast(delivery: Delivery, bytes: &'static [u8]) -> Broadcast {
    let body = Body::new(delivery, Bytes::from_static(bytes)).unwrap();
    Broadcast { delivery, to: To::All, counter: 0, body }
}

fn message(to: &[MemberId]) -> Message {
    let delivery = Delivery::ReliableOrdered;
    let body = Body::new(delivery, Bytes::from_static(b"psst")).unwrap();
    Message { delivery, counter: 0, to: Recipients::new(to.to_vec()).unwrap(), body }
}
