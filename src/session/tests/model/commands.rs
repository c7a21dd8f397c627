//! Random commands about few users, sessions and keys, so that they interact.

use proptest::prelude::*;

use super::*;
use crate::wire::{PropertyValue, WriteRule};

/// A user by index in [`USERS`], or a member of a session by index; see `Run::member`.
pub(super) type Who = usize;
/// A session by index; see `Run::session`.
pub(super) type Where = usize;

/// Users on three workers: `a` and `d` share one, `b` and `e` share another.
pub(super) const USERS: [&str; 5] = ["a", "b", "c", "d", "e"];

#[derive(Debug, Clone)]
pub(super) enum Command {
    Create { user: Who, settings: Settings, seeded: bool },
    Invite { session: Where, by: Who, users: Vec<Who>, ttl: u32, hold_seat: bool },
    Revoke { session: Where, by: Who, invite: Pick },
    Join { session: Where, user: Who, invite: Option<Pick> },
    Decline { session: Where, user: Who, invite: Pick },
    Leave { session: Where, user: Who, why: LeaveReason },
    Kick { session: Where, by: Who, target: Who },
    Transfer { session: Where, by: Who, to: Who },
    Delete { session: Where, by: Who },
    Broadcast { session: Where, by: Who, delivery: Delivery, to: To },
    Message { session: Where, by: Who, to: Vec<Who> },
    SetProperties { session: Where, by: Who, ops: Vec<PropertyOp> },
    Pass(Duration),
    Expire,
}

/// Selects the invite that a command names.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pick {
    /// The newest invite of this user.
    NewestOf(Who),
    Number(u32),
}

/// A command, and the conditions under which it runs.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) command: Command,
    /// How far the caller's clock is behind.
    pub(super) behind: Duration,
    /// Workers whose mailboxes are full.
    pub(super) full: Vec<WorkerId>,
}

/// Steps, the first of which creates a session.
pub(super) fn any_steps() -> impl Strategy<Value = Vec<Step>> {
    (any_create(), prop::collection::vec(any_step(), 1..80)).prop_map(|(command, mut steps)| {
        steps.insert(0, Step { command, behind: Duration::ZERO, full: Vec::new() });
        steps
    })
}

fn any_create() -> impl Strategy<Value = Command> {
    (0..USERS.len(), any_settings(), any::<bool>()).prop_map(|(user, settings, seeded)| Command::Create {
        user,
        settings,
        seeded,
    })
}

fn any_step() -> impl Strategy<Value = Step> {
    let behind = prop_oneof![6 => Just(0), 1 => Just(1), 1 => Just(1_500)].prop_map(Duration::from_millis);
    let full = prop_oneof![
        5 => Just(Vec::new()),
        1 => prop::collection::vec((0..WORKERS).prop_map(WorkerId), 1..3),
    ];
    (any_command(), behind, full).prop_map(|(command, behind, full)| Step { command, behind, full })
}

fn any_command() -> impl Strategy<Value = Command> {
    // Most commands are about the first session.
    let session = || prop_oneof![4 => Just(0_usize), 1 => 0..4_usize];
    let user = || 0..USERS.len();
    let pair = || (session(), user());
    // Mostly owners and members; commands of strangers are still tried often enough.
    let caller = || (session(), prop_oneof![3 => Just(0), 2 => Just(1), 2 => user()]);
    let users = || prop::sample::subsequence((0..USERS.len()).collect::<Vec<_>>(), 1..=3);
    prop_oneof![
        1 => any_create(),
        4 => (caller(), users(), 1..3_u32, any::<bool>()).prop_map(
            |((session, by), users, ttl, hold_seat)| Command::Invite { session, by, users, ttl, hold_seat }
        ),
        1 => (caller(), any_pick())
            .prop_map(|((session, by), invite)| Command::Revoke { session, by, invite }),
        8 => (pair(), prop::option::weighted(0.3, any_pick()), any::<bool>()).prop_map(
            |((session, user), other, own)| {
                let invite = own.then_some(Pick::NewestOf(user)).or(other);
                Command::Join { session, user, invite }
            }
        ),
        1 => (pair(), any_pick(), any::<bool>()).prop_map(|((session, user), other, own)| {
            let invite = if own { Pick::NewestOf(user) } else { other };
            Command::Decline { session, user, invite }
        }),
        2 => (caller(), prop_oneof![Just(LeaveReason::Left), Just(LeaveReason::TimedOut)])
            .prop_map(|((session, user), why)| Command::Leave { session, user, why }),
        2 => (caller(), user()).prop_map(|((session, by), target)| Command::Kick { session, by, target }),
        2 => (caller(), user()).prop_map(|((session, by), to)| Command::Transfer { session, by, to }),
        1 => caller().prop_map(|(session, by)| Command::Delete { session, by }),
        3 => (caller(), any_delivery(), prop_oneof![Just(To::All), Just(To::Others)]).prop_map(
            |((session, by), delivery, to)| Command::Broadcast { session, by, delivery, to }
        ),
        2 => (caller(), users()).prop_map(|((session, by), to)| Command::Message { session, by, to }),
        6 => (caller(), prop::collection::vec(any_op(), 1..4))
            .prop_map(|((session, by), ops)| Command::SetProperties { session, by, ops }),
        4 => any_pass().prop_map(Command::Pass),
        2 => Just(Command::Expire),
    ]
}

/// TTLs are whole seconds; these durations end exactly at one, or a millisecond before or after it.
fn any_pass() -> impl Strategy<Value = Duration> {
    prop::sample::select(vec![1, 999, 1_000, 1_001, 1_999, 2_000]).prop_map(Duration::from_millis)
}

fn any_pick() -> impl Strategy<Value = Pick> {
    prop_oneof![(0..USERS.len()).prop_map(Pick::NewestOf), (0..8_u32).prop_map(Pick::Number)]
}

fn any_settings() -> impl Strategy<Value = Settings> {
    let ends = prop_oneof![2 => Just(OnOwnerLeave::Transfer), 1 => Just(OnOwnerLeave::Delete)];
    let admission = prop_oneof![Just(Admission::Invited), Just(Admission::Open)];
    let idle = prop_oneof![1 => Just(0), 3 => Just(2)];
    (1..=3_u16, idle, ends, admission).prop_map(|(seats, idle, on_owner_leave, admission)| Settings {
        kind: SessionKind(7),
        max_members: MaxMembers::new(seats).unwrap(),
        idle_ttl: IdleTtl::new(idle).unwrap(),
        on_owner_leave,
        admission,
    })
}

fn any_delivery() -> impl Strategy<Value = Delivery> {
    prop_oneof![
        3 => Just(Delivery::ReliableOrdered),
        1 => Just(Delivery::ReliableUnordered),
        1 => Just(Delivery::Sequenced { key: 1 }),
    ]
}

fn any_op() -> impl Strategy<Value = PropertyOp> {
    let key = || prop::sample::select(vec!["x", "y", "z"]).prop_map(|key| PropertyKey::new(key).unwrap());
    let rule = || {
        let rules = vec![WriteRule::Owner, WriteRule::Any, WriteRule::Any, WriteRule::Creator];
        prop::option::of(prop::sample::select(rules))
    };
    let delta = prop::sample::select(vec![1, 1, 1, -1, i64::MAX]);
    prop_oneof![
        2 => (key(), any_value(), rule())
            .prop_map(|(key, value, rule)| PropertyOp::Set { key, value, rule }),
        1 => key().prop_map(|key| PropertyOp::Delete { key }),
        3 => (key(), delta).prop_map(|(key, delta)| PropertyOp::Increment { key, delta }),
        3 => (key(), prop::option::of(any_value()), prop::option::weighted(0.8, any_value()), rule())
            .prop_map(|(key, expected, value, rule)| PropertyOp::CompareAndSet {
                key, expected, value, rule
            }),
    ]
}

fn any_value() -> impl Strategy<Value = PropertyValue> {
    prop_oneof![
        6 => (0..3_i64).prop_map(PropertyValue::Integer),
        1 => Just(PropertyValue::Bytes(Bytes::from_static(b"text"))),
    ]
}
