//! Time: invites expire, empty sessions end, and the clock of a session never runs backwards.

use super::*;
use crate::wire::UserEvent;

const MICRO: Duration = Duration::from_micros(1);

// spec-test: INV-3, SES-9
#[test]
fn an_invite_admits_until_its_ttl_and_not_at_it() {
    let mut world = World::new();
    let ann = world.create("ann", settings());
    let (bob, cat) = (world.invite(ann, "bob"), world.invite(ann, "cat"));
    world.now += Duration::from_secs(30) - MICRO;
    assert!(world.join_by("bob", bob).is_ok());
    world.now += MICRO;
    assert_eq!(world.join_by("cat", cat), Err(ErrorCode::InviteExpired), "before any timer has run");
}

// spec-test: INV-3
#[test]
fn whoever_was_told_that_an_invite_expired_is_not_admitted_by_a_slower_clock() {
    let mut world = World::new();
    let ann = world.create("ann", settings());
    let invite = world.invite(ann, "bob");
    world.pass(Duration::from_secs(30));
    world.now = Timestamp::from_millis(1_000);
    assert_eq!(world.join_by("bob", invite), Err(ErrorCode::InviteExpired));
}

// spec-test: INV-3
#[test]
fn a_stripe_keeps_the_latest_time_that_anyone_came_with() {
    let mut world = World::new();
    let ann = world.create("ann", settings());
    let invite = world.invite(ann, "bob");
    world.now += Duration::from_secs(30);
    world.broadcast(ann, Delivery::ReliableOrdered).unwrap();
    world.now = Timestamp::from_millis(1_000);
    assert_eq!(world.join_by("bob", invite), Err(ErrorCode::InviteExpired));
}

#[test]
fn an_expired_invite_is_told_to_its_user_and_to_the_owner_once() {
    let mut world = World::new();
    let ann = world.create("ann", settings());
    let invite = world.invite(ann, "bob");
    world.take_changes();
    assert_eq!(world.pass(Duration::from_secs(30) - MICRO), []);
    world.mail.full = (0..WORKERS).map(WorkerId).collect();
    let expired = world.pass(MICRO);
    assert_eq!(expired, [Expired::Invite(EndedInvite { invite, user: user("bob") })]);
    let changes = world.take_changes();
    let [Change::ToMember { member, event: UserEvent::InviteExpired { user: Some(who), .. } }] = &changes[..]
    else {
        panic!("{changes:?}")
    };
    assert_eq!((*member, who), (ann.member, &user("bob")));
    assert_eq!(world.pass(Duration::from_secs(30)), []);
}

// spec-test: INV-2
#[test]
fn an_ended_invite_is_remembered_past_its_ttl_and_then_forgotten() {
    let mut world = World::new();
    let ann = world.create("ann", settings());
    let invite = world.invite(ann, "bob");
    world.revoke(ann, invite.number).unwrap();
    world.pass(Duration::from_secs(30) - MICRO);
    assert_eq!(world.join_by("bob", invite), Err(ErrorCode::InviteRevoked));
    world.pass(MICRO);
    assert_eq!(world.join_by("bob", invite), Err(ErrorCode::InviteExpired));
    world.pass(Duration::from_secs(60) - MICRO);
    assert_eq!(world.join_by("bob", invite), Err(ErrorCode::InviteExpired));
    world.pass(MICRO);
    assert_eq!(world.join_by("bob", invite), Err(ErrorCode::NoSuchInvite));
    assert!((0..world.table.stripes()).all(|stripe| world.table.next_deadline(stripe).is_none()));
}

// spec-test: INV-2
#[test]
fn an_empty_session_remembers_the_last_ended_invites_alone() {
    let mut world = World::new();
    let ann = world.create("ann", open());
    let invites: Vec<_> = (0..34).map(|number| world.invite(ann, &format!("user {number}"))).collect();
    invites.iter().for_each(|invite| drop(world.revoke(ann, invite.number).unwrap()));
    let refusals = |world: &mut World| -> Vec<_> {
        let joins = invites.iter().enumerate();
        joins.map(|(number, invite)| world.join_by(&format!("user {number}"), *invite).unwrap_err()).collect()
    };
    assert_eq!(refusals(&mut world), [ErrorCode::InviteRevoked; 34]);
    world.leave(ann).unwrap();
    let after = refusals(&mut world);
    assert_eq!(after[..2], [ErrorCode::NoSuchInvite; 2]);
    assert_eq!(after[2..], [ErrorCode::InviteRevoked; 32]);
}

// spec-test: SES-5
#[test]
fn an_empty_session_ends_after_its_idle_ttl() {
    let mut world = World::new();
    let ann = world.create("ann", open());
    world.leave(ann).unwrap();
    assert_eq!(world.pass(Duration::from_secs(60) - MICRO), []);
    assert_eq!(world.table.len(), 1);
    assert_eq!(world.pass_ends(MICRO), (vec![ann.session], vec![]));
    assert!(world.table.is_empty());
    assert_eq!(world.join("bob", Join::Session(ann.session)), Err(ErrorCode::NoSuchSession));
}

// spec-test: SES-5
#[test]
fn who_enters_an_empty_session_keeps_it_alive() {
    let mut world = World::new();
    let ann = world.create("ann", open());
    world.leave(ann).unwrap();
    world.pass(Duration::from_secs(59));
    world.join("bob", Join::Session(ann.session)).unwrap();
    assert_eq!(world.pass(Duration::from_secs(1_000)), []);
    assert_eq!(world.table.len(), 1);
}

/// The worker that ends the session may be late.
// spec-test: SES-5
#[test]
fn an_empty_session_whose_time_is_over_admits_nobody() {
    let mut world = World::new();
    let ann = world.create("ann", open());
    let invite = world.invite(ann, "bob");
    world.leave(ann).unwrap();
    world.now += Duration::from_secs(60);
    for join in [Join::Session(ann.session), Join::Invite(invite)] {
        assert_eq!(world.join("bob", join), Err(ErrorCode::NoSuchSession));
    }
    assert_eq!(world.decline("bob", invite), Err(ErrorCode::NoSuchSession));
}

/// One call expires at most 64 invites, and a command does not wait for it.
// spec-test: EVT-11, INV-3
#[test]
fn an_invite_whose_time_is_over_has_expired_when_its_session_ends() {
    let mut world = World::new();
    let ann = world.create("ann", settings());
    let early = world.invite(ann, "bob");
    world.now += Duration::from_secs(30) - MICRO;
    let late = world.invite(ann, "cat");
    world.now += MICRO;
    let departed = world.delete(ann).unwrap();
    let of = |invite, name| vec![EndedInvite { invite, user: user(name) }];
    assert_eq!((departed.expired, departed.revoked), (of(early, "bob"), of(late, "cat")));

    let ann = world.create("ann", settings());
    (0..100).for_each(|number| _ = world.invite(ann, &format!("user {number}")));
    world.leave(ann).unwrap();
    let expired = world.pass(Duration::from_secs(60));
    let [singly @ .., Expired::Session(_, departed)] = &expired[..] else { panic!("{expired:?}") };
    assert_eq!((singly.len() + departed.expired.len(), departed.revoked.len()), (100, 0));
    assert!(singly.len() < 100 && singly.iter().all(|one| matches!(one, Expired::Invite(_))));
}

// spec-test: SES-5
#[test]
fn without_an_idle_ttl_a_session_ends_with_its_last_member() {
    let mut world = World::new();
    let idle_ttl = IdleTtl::new(0).unwrap();
    let ann = world.create("ann", Settings { idle_ttl, ..settings() });
    let invite = world.invite(ann, "bob");
    let departed = world.leave(ann).unwrap();
    assert_eq!(departed.revoked, [EndedInvite { invite, user: user("bob") }]);
    assert!(departed.ended.is_some() && world.table.is_empty());
    assert!((0..world.table.stripes()).all(|stripe| world.table.next_deadline(stripe).is_none()));
}

#[test]
fn an_idle_end_revokes_the_open_invites() {
    let mut world = World::new();
    let idle_ttl = IdleTtl::new(10).unwrap();
    let ann = world.create("ann", Settings { idle_ttl, ..settings() });
    let invite = world.invite(ann, "bob");
    world.leave(ann).unwrap();
    let revoked = vec![EndedInvite { invite, user: user("bob") }];
    assert_eq!(world.pass_ends(Duration::from_secs(10)), (vec![ann.session], revoked));
}

#[test]
fn the_stripes_keeper_is_woken_for_an_earlier_deadline_alone() {
    let mut world = World::new();
    let ann = world.create("ann", settings());
    assert_eq!(world.mail.woken, []);
    world.invite(ann, "bob");
    assert_eq!(world.mail.woken.len(), 1);
    world.invite(ann, "cat");
    assert_eq!(world.mail.woken.len(), 1, "the deadline is the same");
    let stripe = (0..world.table.stripes()).find(|s| world.table.next_deadline(*s).is_some());
    assert_eq!(world.mail.woken, [world.table.keeper_of(stripe.unwrap())]);
}

#[test]
fn a_keeper_need_not_look_at_its_stripes_before_the_earliest_deadline() {
    let mut world = World::new();
    let ann = world.create("ann", settings());
    let earliest = |world: &World| {
        let workers = (0..WORKERS).map(WorkerId);
        workers.map(|worker| world.table.earliest_deadline(worker)).collect::<Vec<_>>()
    };
    assert_eq!(earliest(&world), [None; WORKERS as usize]);
    let invite = world.invite(ann, "bob");
    let workers = (0..WORKERS).map(WorkerId);
    let (at, keeper) = workers.filter_map(|it| Some((world.table.earliest_deadline(it)?, it))).min().unwrap();
    assert_eq!(at, world.now + Duration::from_secs(30));
    world.revoke(ann, invite.number).unwrap();
    assert_eq!(earliest(&world).into_iter().flatten().min(), Some(at), "too early, never too late");
    let stripes: Vec<_> = world.table.begin_expiry(keeper).collect();
    assert!(stripes.iter().all(|stripe| world.table.keeper_of(*stripe) == keeper));
    world.table.end_expiry(keeper);
    let next = stripes.into_iter().filter_map(|stripe| world.table.next_deadline(stripe)).min().unwrap();
    assert!(next > at, "a revoked invite is remembered for a while");
    assert_eq!(world.table.earliest_deadline(keeper), Some(next));
}
