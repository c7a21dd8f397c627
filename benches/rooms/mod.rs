//! Full sessions for the benches of the session table.

use bytes::Bytes;
use rand::SeedableRng;
use rand::rngs::StdRng;

use rallypoint::base::{
    ConnectionId, LoginNumber, MemberId, SessionId, SessionKind, Slot, Timestamp, UserId, WorkerId,
};
use rallypoint::session::{
    Entrant, Fanout, Load, MailboxFull, MemberAt, MemberRef, RoomFrom, SessionLimits, SessionTable,
    WorkerPort,
};
use rallypoint::wire::command::{
    Broadcast, Create, InitialProperties, InitialProperty, Join, Message, Recipients, To,
};
use rallypoint::wire::{
    Admission, Body, Delivery, IdleTtl, MaxMembers, OnOwnerLeave, PropertyKey, PropertyOp, PropertyOps,
    PropertyValue, Settings, WriteRule,
};

/// Number of workers among which members are distributed.
pub const WORKERS: u8 = 2;
/// The time at which sessions begin.
pub const NOW: Timestamp = Timestamp::from_millis(1_000);

/// A session and its members, its owner first.
pub struct Party {
    pub session: SessionId,
    pub members: Vec<MemberId>,
}

impl Party {
    /// Returns a member by its index.
    pub fn member(&self, index: usize) -> MemberRef {
        MemberRef { session: self.session, member: self.members[index] }
    }
}

/// Returns an empty table whose message rate limits are out of reach, and whose session ids follow from
/// `seed`.
pub fn table(stripes: usize, seed: u64) -> SessionTable {
    let limits = SessionLimits {
        max_sessions: usize::MAX,
        commands_per_second: u64::MAX,
        bytes_per_second: u64::MAX,
        ..SessionLimits::default()
    };
    SessionTable::new(stripes, WORKERS, limits, StdRng::seed_from_u64(seed))
}

/// Returns a new session with `members` members and seats for more.
pub fn gather(table: &SessionTable, members: usize) -> Party {
    let admitted =
        table.create(NOW, entrant(&user(0), at(0)), create(), &mut Nowhere).expect("room for a session");
    let mut party = Party { session: admitted.session, members: vec![admitted.member] };
    party.members.extend((1..members).map(|number| {
        let join = Join::Session(party.session);
        table.join(NOW, entrant(&user(number), at(number)), join, &mut Nowhere).expect("a free seat").member
    }));
    party
}

/// Returns the user with this number.
pub fn user(number: usize) -> UserId {
    UserId::new(&format!("user-{number}")).expect("a short id")
}

/// Returns where the user with this number is reached.
pub fn at(number: usize) -> MemberAt {
    let worker = WorkerId(u8::try_from(number % usize::from(WORKERS)).expect("below the workers"));
    MemberAt { worker, connection: ConnectionId::new(worker, 1), slot: Slot(1), login: LoginNumber(1) }
}

/// Returns a user who enters a session, with all the room that it needs.
pub fn entrant(user: &UserId, at: MemberAt) -> Entrant<'_> {
    Entrant { user, at, snapshot_room: usize::MAX }
}

/// Returns an open session with a number that every member may change.
pub fn create() -> Create {
    let score = InitialProperty { key: score(), value: PropertyValue::Integer(0), rule: WriteRule::Any };
    Create {
        settings: Settings {
            kind: SessionKind(1),
            max_members: MaxMembers::MAX,
            idle_ttl: IdleTtl::new(60).expect("a minute is legal"),
            on_owner_leave: OnOwnerLeave::Transfer,
            admission: Admission::Open,
        },
        properties: InitialProperties::new(vec![score]).expect("one is legal"),
    }
}

/// Returns a broadcast of 64 bytes to all, in order.
pub fn broadcast() -> Broadcast {
    Broadcast { delivery: Delivery::ReliableOrdered, to: To::All, counter: 0, body: body() }
}

/// Returns a message of 64 bytes to one member.
pub fn message(to: MemberId) -> Message {
    let to = Recipients::new(vec![to]).expect("one is legal");
    Message { delivery: Delivery::ReliableOrdered, counter: 0, to, body: body() }
}

/// Returns an increment by one.
pub fn increment() -> PropertyOps {
    PropertyOps::new(vec![PropertyOp::Increment { key: score(), delta: 1 }]).expect("one is legal")
}

fn score() -> PropertyKey {
    PropertyKey::new("score").expect("a short key")
}

fn body() -> Body {
    Body::new(Delivery::ReliableOrdered, Bytes::from_static(&[7; 64])).expect("few bytes")
}

/// A port that has room for all mail and drops it.
pub struct Nowhere;

impl WorkerPort for Nowhere {
    fn reserve(&mut self, _: &[WorkerId], _: Load) -> Result<(), MailboxFull> {
        Ok(())
    }

    fn post(&mut self, _: WorkerId, _: Fanout, _: RoomFrom) {}

    fn wake(&mut self, _: WorkerId) {}
}
