//! Commands of a few users on one session table, compared with a simple model: seats, invites, event numbers
//! and refusals are correct in any order.
// spec-test: SES-10, SES-11, SES-12, SES-16
#![no_main]

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use rallypoint::base::{
    ConnectionId, EventNumber, InviteId, LoginNumber, MemberId, SessionId, SessionKind, Slot, Timestamp,
    UserId, WorkerId,
};
use rallypoint::session::{
    Admitted, Change, Entrant, Fanout, Load, MailboxFull, MemberAt, MemberRef, RoomFrom, SessionLimits,
    SessionTable, WorkerPort,
};
use rallypoint::wire::command::{
    Broadcast, Create, InitialProperties, InitialProperty, Invite, InvitedUsers, Join, Kick, To,
};
use rallypoint::wire::{
    Admission, Body, Delivery, ErrorCode, IdleTtl, InviteTtl, LeaveReason, MaxMembers, Note, OnOwnerLeave,
    PropertyKey, PropertyOp, PropertyOps, PropertyValue, Reason, Settings, WriteRule,
};
use rand::SeedableRng;
use rand::rngs::StdRng;

const USERS: u8 = 6;
const SEATS: u16 = 3;

fuzz_target!(|data: &[u8]| {
    let mut world = World::new();
    for chunk in data.chunks_exact(3) {
        let &[op, user, argument] = chunk else { return };
        world.step(op, user % USERS, argument);
    }
});

/// Mail, checked when it is posted.
#[derive(Default)]
struct Mail {
    full: bool,
    /// The number of the next event that a worker must receive in a session.
    next: BTreeMap<(WorkerId, SessionId), EventNumber>,
    members: BTreeMap<SessionId, BTreeMap<MemberId, WorkerId>>,
    posted: usize,
}

impl WorkerPort for Mail {
    fn reserve(&mut self, _workers: &[WorkerId], _load: Load) -> Result<(), MailboxFull> {
        if self.full { Err(MailboxFull) } else { Ok(()) }
    }

    fn post(&mut self, to: WorkerId, fanout: Fanout, _from: RoomFrom) {
        self.posted += 1;
        let Fanout { session, change, .. } = fanout;
        let number = match &change {
            Change::Joined { number, member, at, snapshot, .. } => {
                assert_eq!(snapshot.is_some(), at.worker == to);
                if snapshot.is_some() {
                    self.next.entry((to, session)).or_insert(*number);
                }
                self.members.entry(session).or_default().insert(*member, at.worker);
                let seats = self.members[&session].len();
                assert!(seats <= usize::from(SEATS), "a member without a seat");
                Some(*number)
            }
            Change::Left { number, .. }
            | Change::OwnerChanged { number, .. }
            | Change::PropertiesChanged { number, .. }
            | Change::Message { number, .. }
            | Change::Deleted { number, .. } => Some(*number),
            Change::Sent { .. } | Change::ToMember { .. } => None,
        };
        if let Some(number) = number {
            let next = self.next.get_mut(&(to, session)).expect("a worker without members gets mail");
            assert_eq!(*next, number, "an event is missing, doubled or out of order");
            *next = EventNumber(number.0 + 1);
        }
    }

    fn wake(&mut self, _keeper: WorkerId) {}
}

struct World {
    now: Timestamp,
    table: SessionTable,
    mail: Mail,
    session: Option<SessionId>,
    members: BTreeMap<u8, MemberId>,
    /// Every invite.
    invites: BTreeMap<InviteId, Invited>,
    /// Number of changes of the properties.
    revision: u64,
}

struct Invited {
    whose: u8,
    until: Timestamp,
    holds_seat: bool,
    /// Whether it may still admit a user.
    is_open: bool,
}

impl World {
    fn new() -> Self {
        let table = SessionTable::new(2, 2, SessionLimits::default(), StdRng::seed_from_u64(5));
        let (members, invites) = (BTreeMap::new(), BTreeMap::new());
        let mail = Mail::default();
        Self { now: Timestamp::ZERO, table, mail, session: None, members, invites, revision: 0 }
    }

    fn step(&mut self, op: u8, user: u8, argument: u8) {
        self.mail.full = op & 0x80 != 0;
        let before = self.mail.posted;
        let refused = match op & 0x0f {
            0 => self.create(user, argument),
            1 | 2 => self.invite(user, argument),
            3 | 4 => self.join(user, argument),
            5 => self.leave(user),
            6 => self.kick(user, argument % USERS),
            7 => self.transfer(user, argument % USERS),
            8 => self.delete(user),
            9 => self.broadcast(user, argument),
            10 => self.increment(user),
            _ => {
                self.now += Duration::from_millis(u64::from(argument) << (op >> 4 & 0x07));
                self.expire();
                false
            }
        };
        assert!(!refused || self.mail.posted == before, "a refused command has told somebody something");
        self.forget_the_gone();
        let holds = |it: &&Invited| it.is_open && it.holds_seat && self.now < it.until;
        let held = self.invites.values().filter(holds).count();
        assert!(self.members.len() + held <= usize::from(SEATS), "a held seat is taken");
    }

    fn create(&mut self, user: u8, argument: u8) -> bool {
        if self.session.is_some() {
            return false;
        }
        let settings = Settings {
            kind: SessionKind(1),
            max_members: MaxMembers::new(SEATS).expect("in range"),
            idle_ttl: IdleTtl::new(u32::from(argument & 0x03)).expect("in range"),
            on_owner_leave: if argument & 4 == 0 { OnOwnerLeave::Transfer } else { OnOwnerLeave::Delete },
            admission: if argument & 8 == 0 { Admission::Invited } else { Admission::Open },
        };
        let (key, value) = (PropertyKey::new("n").expect("short"), PropertyValue::Integer(0));
        let count = InitialProperty { key, value, rule: WriteRule::Any };
        let properties = InitialProperties::new(vec![count]).expect("one");
        self.revision = 0;
        let create = Create { settings, properties };
        let answer =
            self.table.create(self.now, entrant(&name(user), at(user), argument), create, &mut self.mail);
        self.admitted(user, answer)
    }

    fn admitted(&mut self, user: u8, answer: Result<Admitted, ErrorCode>) -> bool {
        let Ok(admitted) = answer else { return true };
        self.session = Some(admitted.session);
        assert_eq!(self.members.insert(user, admitted.member), None, "a member twice");
        false
    }

    fn invite(&mut self, user: u8, argument: u8) -> bool {
        let Some(membership) = self.membership(user) else { return false };
        let target = argument % USERS;
        let users = vec![name(target)];
        let ttl = u32::from(argument >> 4) + 1;
        let invite = Invite {
            users: InvitedUsers::new(users.clone()).expect("one user"),
            ttl: InviteTtl::new(ttl).expect("in range"),
            hold_seat: argument & 8 != 0,
            note: Note::none(),
        };
        let answer = self.table.invite(self.now, membership, &invite, &users, &mut self.mail);
        let Ok(inviting) = answer else { return true };
        for new in inviting.users.into_iter().flatten() {
            if let Some(replaced) = new.replaced {
                self.invites.get_mut(&replaced).expect("it was issued").is_open = false;
            }
            let until = self.now + Duration::from_secs(u64::from(ttl));
            let invited = Invited { whose: target, until, holds_seat: invite.hold_seat, is_open: true };
            self.invites.insert(new.invite, invited);
        }
        false
    }

    fn join(&mut self, user: u8, argument: u8) -> bool {
        let invite = self.invites.keys().nth(usize::from(argument & 0x1f)).copied();
        let join = match (invite, self.session) {
            (Some(invite), _) if argument & 0x20 == 0 => Join::Invite(invite),
            (_, Some(session)) => Join::Session(session),
            _ => return false,
        };
        let answer =
            self.table.join(self.now, entrant(&name(user), at(user), argument), join, &mut self.mail);
        if let (Ok(admitted), Join::Invite(invite)) = (&answer, join) {
            assert_eq!(admitted.used, Some(invite));
        }
        if let Ok(Admitted { used: Some(invite), .. }) = &answer {
            let used = self.invites.get_mut(invite).expect("it was issued");
            let admits = used.is_open && used.whose == user && self.now < used.until;
            assert!(admits, "an invite admits that may not");
            used.is_open = false;
        }
        self.admitted(user, answer)
    }

    fn leave(&mut self, user: u8) -> bool {
        let Some(membership) = self.membership(user) else { return false };
        let answer = self.table.leave(self.now, membership, LeaveReason::Left, &mut self.mail);
        self.gone(membership.member, answer.is_ok())
    }

    fn kick(&mut self, user: u8, target: u8) -> bool {
        let Some(membership) = self.membership(user) else { return false };
        let member = self.members.get(&target).copied().unwrap_or(MemberId(999));
        let kick = Kick { member, reason: Reason::none() };
        let answer = self.table.kick(self.now, membership, kick, &mut self.mail);
        if answer.is_ok() {
            for invite in self.invites.values_mut() {
                invite.is_open &= invite.whose != target;
            }
        }
        self.gone(member, answer.is_ok())
    }

    fn gone(&mut self, member: MemberId, done: bool) -> bool {
        if done {
            self.members.retain(|_, other| *other != member);
            let Some(session) = self.session else { return false };
            let members = self.mail.members.get_mut(&session).expect("there was one");
            let worker = members.remove(&member).expect("it was a member");
            if members.values().all(|other| *other != worker) {
                self.mail.next.remove(&(worker, session));
            }
        }
        !done
    }

    fn transfer(&mut self, user: u8, target: u8) -> bool {
        let Some(membership) = self.membership(user) else { return false };
        let to = self.members.get(&target).copied().unwrap_or(MemberId(999));
        self.table.transfer(self.now, membership, to, &mut self.mail).is_err()
    }

    fn delete(&mut self, user: u8) -> bool {
        let Some(membership) = self.membership(user) else { return false };
        self.table.delete(self.now, membership, Reason::none(), &mut self.mail).is_err()
    }

    fn broadcast(&mut self, user: u8, argument: u8) -> bool {
        let Some(membership) = self.membership(user) else { return false };
        let delivery =
            if argument & 1 == 0 { Delivery::ReliableOrdered } else { Delivery::Sequenced { key: 1 } };
        let to = if argument & 2 == 0 { To::All } else { To::Others };
        let body = Body::new(delivery, Bytes::from_static(b"hello")).expect("small");
        let broadcast = Broadcast { delivery, to, counter: argument.into(), body };
        self.table.broadcast(self.now, membership, broadcast, &mut self.mail).is_err()
    }

    fn increment(&mut self, user: u8) -> bool {
        let Some(membership) = self.membership(user) else { return false };
        let key = PropertyKey::new("n").expect("short");
        let ops = vec![PropertyOp::Increment { key, delta: 1 }];
        let ops = PropertyOps::new(ops).expect("one");
        let answer = self.table.set_properties(self.now, membership, &ops, &mut self.mail);
        assert_ne!(answer, Err(ErrorCode::NoSuchProperty));
        let Ok(revision) = answer else { return true };
        self.revision += 1;
        assert_eq!(revision.0, self.revision, "each change is one revision");
        false
    }

    fn expire(&mut self) {
        for stripe in 0..self.table.stripes() {
            if self.table.next_deadline(stripe).is_some_and(|at| at <= self.now) {
                self.table.expire(stripe, self.now, &mut self.mail);
            }
        }
    }

    fn membership(&self, user: u8) -> Option<MemberRef> {
        // A user who is not a member uses an unassigned member id.
        let member = self.members.get(&user).copied().unwrap_or(MemberId(888));
        self.session.map(|session| MemberRef { session, member })
    }

    /// Forgets a session that is no longer in the table, with its members and invites.
    fn forget_the_gone(&mut self) {
        if self.session.is_some() && self.table.is_empty() {
            self.session = None;
            self.members.clear();
            self.invites.clear();
            self.mail = Mail::default();
        }
    }
}

fn name(user: u8) -> UserId {
    UserId::new(&format!("user-{user}")).expect("short")
}

/// A user who enters a session, mostly with all the room that it needs.
fn entrant(user: &UserId, at: MemberAt, argument: u8) -> Entrant<'_> {
    let snapshot_room = if argument % 32 == 31 { 150 } else { usize::MAX };
    Entrant { user, at, snapshot_room }
}

fn at(user: u8) -> MemberAt {
    let worker = WorkerId(user % 2);
    MemberAt { worker, connection: ConnectionId(u32::from(user)), slot: Slot(1), login: LoginNumber(1) }
}
