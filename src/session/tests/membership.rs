//! Joining, leaving, ownership and the end of sessions.

use super::*;
use crate::wire::DeleteReason;
use crate::wire::event::Snapshot;

// spec-test: EVT-1
#[test]
fn the_creator_is_owner_and_first_member_and_enters_by_a_snapshot() {
    let mut world = World::new();
    let MemberRef { session, member } = world.create("ann", settings());
    assert_eq!(member, MemberId(1));
    let changes = world.take_changes();
    let [Change::Joined { number, snapshot: Some(snapshot), .. }] = &changes[..] else {
        panic!("{changes:?}")
    };
    assert_eq!((snapshot.session, snapshot.you, snapshot.owner), (session, member, member));
    assert_eq!((number.0, snapshot.next.0), (1, 2));
    assert_eq!(snapshot.to_wire().members.len(), 1);
}

#[test]
fn only_the_joiners_worker_gets_the_snapshot_and_every_worker_the_event() {
    let mut world = World::new();
    let session = world.create("a", open()).session;
    world.take_changes();
    let joiner = world.join("b", Join::Session(session)).unwrap();
    let posted = std::mem::take(&mut world.mail.posted);
    assert_eq!(posted.len(), 2);
    for (worker, fanout) in posted {
        let Change::Joined { member, snapshot, .. } = fanout.change else { panic!("{fanout:?}") };
        assert_eq!(member, joiner);
        assert_eq!(snapshot.is_some(), worker == at("b").worker);
        if let Some(snapshot) = snapshot {
            assert_eq!(snapshot.members.len(), 2, "the joiner, too");
        }
    }
}

// spec-test: SES-7, SES-9, SES-11
#[test]
fn joining_without_an_invite_needs_an_open_session() {
    let mut world = World::new();
    let closed = world.create("ann", settings()).session;
    assert_eq!(world.join("bob", Join::Session(closed)), Err(ErrorCode::SessionNotOpen));
    let open = world.create("ann", open()).session;
    assert_eq!(world.join("bob", Join::Session(open)), Ok(MemberId(2)));
    assert_eq!(world.join("bob", Join::Session(open)), Err(ErrorCode::AlreadyMember));
    assert_eq!(world.join("bob", Join::Session(SessionId(1))), Err(ErrorCode::NoSuchSession));
}

// spec-test: SES-10, SES-9, SES-16
#[test]
fn a_full_session_admits_nobody_until_a_seat_is_free() {
    let mut world = World::new();
    let max_members = MaxMembers::new(2).unwrap();
    let ann = world.create("ann", Settings { max_members, ..open() });
    let session = ann.session;
    let bob = member_ref(session, world.join("bob", Join::Session(session)).unwrap());
    let invite = world.invite(ann, "cat");
    assert_eq!(world.join("dan", Join::Session(session)), Err(ErrorCode::SessionFull));
    assert_eq!(world.join_by("cat", invite), Err(ErrorCode::SessionFull));
    world.leave(bob).unwrap();
    assert_eq!(world.join_by("cat", invite), Ok(MemberId(3)), "the refusal left the invite open");
}

/// Users that are refused use up nothing that others need.
// spec-test: SES-9, LIM-7
#[test]
fn joins_of_a_full_session_are_told_so_and_cost_none_of_its_admissions() {
    let mut world = World::new();
    let max_members = MaxMembers::new(2).unwrap();
    let session = world.create("ann", Settings { max_members, ..open() }).session;
    let bob = member_ref(session, world.join("bob", Join::Session(session)).unwrap());
    for _ in 0..100 {
        assert_eq!(world.join("cat", Join::Session(session)), Err(ErrorCode::SessionFull));
    }
    world.leave(bob).unwrap();
    assert_eq!(world.join("cat", Join::Session(session)), Ok(MemberId(3)));
}

// spec-test: SES-18, SES-6, INV-8
#[test]
fn the_operator_removes_any_member_and_voids_their_invite() {
    let mut world = World::new();
    let ann = world.create("ann", open());
    let session = ann.session;
    let invite = world.invite(ann, "bob");
    let bob = world.join("bob", Join::Session(session)).unwrap();
    let cat = world.join("cat", Join::Session(session)).unwrap();
    let expel = |world: &mut World, session, name| {
        world.table.expel(world.now, session, &user(name), Reason::none(), &mut world.mail)
    };
    assert_eq!(expel(&mut world, SessionId(0), "bob"), Err(ErrorCode::NoSuchSession));
    assert_eq!(expel(&mut world, session, "dan"), Err(ErrorCode::NoSuchMember));

    let revoked = vec![EndedInvite { invite, user: user("bob") }];
    let left = |member, name| Some(Left { member, user: user(name), why: LeaveReason::Kicked });
    let departed = Departed { left: left(bob, "bob"), revoked, ..Departed::default() };
    assert_eq!(expel(&mut world, session, "bob"), Ok(departed));
    assert_eq!(world.join_by("bob", invite), Err(ErrorCode::InviteRevoked));
    assert_eq!(expel(&mut world, session, "bob"), Err(ErrorCode::NoSuchMember));

    assert_eq!(expel(&mut world, session, "ann").map(|departed| departed.left), Ok(left(ann.member, "ann")));
    assert_eq!(world.table.look_at(session).map(|info| info.owner), Some(cat), "the owner, too");
}

// spec-test: SES-16, CMD-6
#[test]
fn a_join_for_which_a_mailbox_has_no_room_changes_nothing() {
    let mut world = World::new();
    let ann = world.create("a", settings());
    let invite = world.invite(ann, "b");
    let before = world.table.info(&user("a"), ann.session).unwrap();
    world.take_changes();
    world.mail.full = vec![at("b").worker];
    assert_eq!(world.join_by("b", invite), Err(ErrorCode::Busy));
    assert_eq!(world.table.info(&user("a"), ann.session), Ok(before));
    assert!(world.take_changes().is_empty());
    world.mail.full.clear();
    assert!(world.join_by("b", invite).is_ok());
}

// spec-test: SES-16, SES-17
#[test]
fn a_join_whose_snapshot_finds_no_room_changes_nothing() {
    let mut world = World::new();
    let ann = world.create("a", settings());
    let invite = Join::Invite(world.invite(ann, "b"));
    let before = world.table.info(&user("a"), ann.session).unwrap();
    world.take_changes();
    let bob = user("b");
    let join = |world: &mut World, snapshot_room| {
        let entrant = Entrant { snapshot_room, ..entrant(&bob) };
        world.table.join(world.now, entrant, invite, &mut world.mail)
    };
    let room = Snapshot::max_bytes(2, 0, 0);
    assert_eq!(join(&mut world, room - 1), Err(ErrorCode::Busy));
    assert!(world.take_changes().is_empty());
    assert_eq!(join(&mut world, room).map(|admitted| admitted.snapshot_bytes), Ok(room));
    let after = world.table.info(&user("a"), ann.session).unwrap();
    assert_eq!(after.members, before.members + 1, "the refusal has not used the invite up");
}

// spec-test: LIM-1
#[test]
fn a_session_for_which_there_is_no_room_is_not_created() {
    let mut world = World::with(SessionLimits { max_sessions: 1, ..SessionLimits::default() });
    world.mail.full = vec![at("a").worker];
    let create = Create { settings: settings(), properties: InitialProperties::default() };
    let try_create = |world: &mut World| {
        world.table.create(world.now, entrant(&user("a")), create.clone(), &mut world.mail)
    };
    assert_eq!(try_create(&mut world), Err(ErrorCode::Busy));
    assert!(world.table.is_empty());
    world.mail.full.clear();
    assert!(try_create(&mut world).is_ok());
    assert_eq!(try_create(&mut world), Err(ErrorCode::ServerFull));
    assert_eq!(world.table.len(), 1);
}

/// Otherwise a user who creates sessions and abandons them would soon occupy all places.
// spec-test: SES-5
#[test]
fn an_empty_session_gives_way_to_one_that_is_created() {
    let limits = SessionLimits { max_sessions: 3, ..SessionLimits::default() };
    // Eight stripes: the sessions may fall into different ones.
    let table = SessionTable::new(8, WORKERS, limits.clone(), StdRng::seed_from_u64(7));
    let mut world = World { table, ..World::with(limits) };
    let create = |world: &mut World, idle| {
        let idle_ttl = IdleTtl::new(idle).unwrap();
        let create =
            Create { settings: Settings { idle_ttl, ..open() }, properties: InitialProperties::default() };
        world.table.create(world.now, entrant(&user("a")), create, &mut world.mail)
    };
    let [kept, short, long] = [60, 60, 80_000].map(|idle| create(&mut world, idle).unwrap());
    assert_eq!(create(&mut world, 60), Err(ErrorCode::ServerFull));
    for left in [short, long] {
        world.leave(left.member_ref()).unwrap();
    }
    world.mail.full = vec![at("a").worker];
    assert_eq!(create(&mut world, 60), Err(ErrorCode::Busy));
    world.mail.full.clear();
    assert_eq!(world.pass(Duration::ZERO), [], "what is refused changes nothing");
    let new = create(&mut world, 60).unwrap();
    assert_eq!(world.pass_ends(Duration::ZERO), (vec![long.session], vec![]));
    assert_eq!(world.table.len(), 3);
    create(&mut world, 60).unwrap();
    assert_eq!(world.table.len(), 3, "at no time more");
    let late = Create { settings: open(), properties: InitialProperties::default() };
    let before = world.now - Duration::from_micros(1);
    let again = world.table.create(before, entrant(&user("a")), late, &mut world.mail);
    assert_eq!(again, Err(ErrorCode::ServerFull), "it gives way once, whatever another worker's clock says");
    assert_eq!(world.pass_ends(Duration::ZERO), (vec![short.session], vec![]));
    assert_eq!(create(&mut world, 60), Err(ErrorCode::ServerFull));
    world.leave(new.member_ref()).unwrap();
    let new = world.join("a", Join::Session(new.session)).map(|member| Admitted { member, ..new }).unwrap();
    assert_eq!(create(&mut world, 60), Err(ErrorCode::ServerFull), "it is not empty any more");
    for there in [kept, new] {
        assert_eq!(world.broadcast(there.member_ref(), Delivery::Unreliable), Ok(()));
    }
}

/// The keeper of its stripe ends it a moment later.
// spec-test: SES-5
#[test]
fn an_empty_session_whose_time_is_over_gives_way_too() {
    let mut world = World::with(SessionLimits { max_sessions: 1, ..SessionLimits::default() });
    let ann = world.create("ann", settings());
    world.leave(ann).unwrap();
    world.now += Duration::from_secs(60);
    let bob = world.create("bob", settings());
    assert_eq!(world.table.len(), 1);
    assert_eq!(world.pass_ends(Duration::ZERO), (vec![ann.session], vec![]));
    assert_eq!((world.table.len(), world.broadcast(bob, Delivery::Unreliable)), (1, Ok(())));
}

// spec-test: SES-5
#[test]
fn who_leaves_most_sessions_behind_loses_them_first() {
    let limits = SessionLimits { max_sessions: 8, ..SessionLimits::default() };
    let table = SessionTable::new(8, WORKERS, limits.clone(), StdRng::seed_from_u64(7));
    let mut world = World { table, ..World::with(limits) };
    let park = |world: &mut World, name: &str, idle| {
        let settings = Settings { idle_ttl: IdleTtl::new(idle).unwrap(), ..open() };
        let create = Create { settings, properties: InitialProperties::default() };
        let created = world.table.create(world.now, entrant(&user(name)), create, &mut world.mail).unwrap();
        world.leave(created.member_ref()).unwrap();
        created.session
    };
    // The longest idle TTL of all.
    let ann = park(&mut world, "ann", 3_600);
    let ended: Vec<_> = (0..50)
        .flat_map(|_| {
            park(&mut world, "eve", 60);
            world.pass(Duration::ZERO)
        })
        .collect();
    assert_eq!(ended.len(), 43);
    assert!(world.table.look_at(ann).is_some());
    world.pass(Duration::from_secs(4_000));
    assert!(world.table.is_empty() && world.table.counts_none_parked());
}

/// Each may hold 64 KiB of properties for a day.
// spec-test: SES-5
#[test]
fn one_user_leaves_only_so_many_sessions_behind() {
    let limits = SessionLimits { max_empty_per_owner: 2, ..SessionLimits::default() };
    let mut world = World::with(limits);
    let create = |world: &mut World, name: &str, idle| {
        let settings = Settings { idle_ttl: IdleTtl::new(idle).unwrap(), ..open() };
        let create = Create { settings, properties: InitialProperties::default() };
        let created = world.table.create(world.now, entrant(&user(name)), create, &mut world.mail);
        created.map(|created| created.member_ref())
    };
    let park = |world: &mut World, name, idle| {
        let created = create(world, name, idle).unwrap();
        world.leave(created).unwrap();
        created.session
    };
    let [first, _, others] =
        [("eve", 50), ("eve", 60), ("ann", 40)].map(|(name, idle)| park(&mut world, name, idle));
    assert_eq!(world.pass(Duration::ZERO), []);
    world.mail.full = vec![at("eve").worker];
    assert_eq!(create(&mut world, "eve", 60), Err(ErrorCode::Busy));
    world.mail.full.clear();
    assert_eq!(world.pass(Duration::ZERO), [], "what is refused changes nothing");
    let third = park(&mut world, "eve", 55);
    assert_eq!(world.pass_ends(Duration::ZERO), (vec![first], vec![]));
    park(&mut world, "eve", 70);
    assert_eq!(world.pass_ends(Duration::ZERO), (vec![third], vec![]));
    assert!(world.table.look_at(others).is_some());
    assert_eq!(world.table.len(), 3);
    world.pass(Duration::from_secs(100));
    assert!(world.table.is_empty() && world.table.counts_none_parked());
}

#[test]
fn a_leaver_is_told_like_everybody_else_and_is_gone() {
    let mut world = World::new();
    let session = world.create("a", open()).session;
    let b = world.join("b", Join::Session(session)).unwrap();
    world.take_changes();
    world.table.leave(world.now, member_ref(session, b), LeaveReason::TimedOut, &mut world.mail).unwrap();
    assert_eq!(world.mail.posted.len(), 2, "its own worker, too");
    let changes = world.take_changes();
    let [Change::Left { member, why, .. }] = &changes[..] else { panic!("{changes:?}") };
    assert_eq!((*member, *why), (b, LeaveReason::TimedOut));
    assert_eq!(world.leave(member_ref(session, b)), Err(ErrorCode::NotAMember));
    assert_eq!(world.broadcast(member_ref(session, b), Delivery::Unreliable), Err(ErrorCode::NotAMember));
    assert!(world.take_changes().is_empty());
}

#[test]
fn leaves_kicks_and_ends_need_no_room() {
    let mut world = World::new();
    let ann = world.create("a", open());
    let session = ann.session;
    let b = member_ref(session, world.join("b", Join::Session(session)).unwrap());
    let c = world.join("c", Join::Session(session)).unwrap();
    world.mail.full = (0..WORKERS).map(WorkerId).collect();
    assert!(world.leave(b).is_ok());
    assert!(world.kick(ann, c).is_ok());
    assert!(world.delete(ann).is_ok());
    assert!(world.table.is_empty());
}

// spec-test: SES-6, EVT-7
#[test]
fn the_longest_standing_member_inherits_from_an_owner_that_leaves() {
    let mut world = World::new();
    let ann = world.create("ann", open());
    let session = ann.session;
    let bob = world.join("bob", Join::Session(session)).unwrap();
    let cat = world.join("cat", Join::Session(session)).unwrap();
    world.transfer(ann, cat).unwrap();
    world.take_changes();
    let left = Left { member: cat, user: user("cat"), why: LeaveReason::Left };
    let departed = Departed { left: Some(left), ..Departed::default() };
    assert_eq!(world.leave(member_ref(session, cat)), Ok(departed));
    let changes = world.take_changes();
    let [Change::Left { member, .. }, Change::OwnerChanged { owner, .. }] = &changes[..] else {
        panic!("{changes:?}")
    };
    assert_eq!((*member, *owner), (cat, ann.member));
    world.leave(ann).unwrap();
    assert_eq!(world.table.info(&user("bob"), session).unwrap().owner, bob);
}

// spec-test: SES-6
#[test]
fn an_owner_is_succeeded_however_it_leaves() {
    for &why in LeaveReason::ALL {
        for (on_owner_leave, ends) in [(OnOwnerLeave::Transfer, false), (OnOwnerLeave::Delete, true)] {
            let mut world = World::new();
            let ann = world.create("ann", Settings { on_owner_leave, ..open() });
            let bob = world.join("bob", Join::Session(ann.session)).unwrap();
            let departed = world.table.leave(world.now, ann, why, &mut world.mail).unwrap();
            let owner = world.table.info(&user("bob"), ann.session).map(|info| info.owner);
            assert_eq!(departed.ended.is_some(), ends, "{why}");
            assert_eq!(owner, if ends { Err(ErrorCode::NoSuchSession) } else { Ok(bob) }, "{why}");
        }
    }
}

// spec-test: SES-6, EVT-7
#[test]
fn a_session_created_so_ends_with_its_owners_leaving() {
    let mut world = World::new();
    let ann = world.create("ann", Settings { on_owner_leave: OnOwnerLeave::Delete, ..open() });
    let session = ann.session;
    let bob = member_ref(session, world.join("bob", Join::Session(session)).unwrap());
    let invite = world.invite(ann, "cat");
    world.take_changes();
    let departed = world.leave(ann).unwrap();
    assert!(departed.ended.is_some());
    assert_eq!(departed.revoked, [EndedInvite { invite, user: user("cat") }]);
    let changes = world.take_changes();
    let [Change::Left { .. }, Change::Deleted { why: DeleteReason::OwnerLeft, .. }] = &changes[..] else {
        panic!("{changes:?}")
    };
    assert_eq!(world.leave(bob), Err(ErrorCode::NotAMember));
    assert_eq!(world.join_by("cat", invite), Err(ErrorCode::NoSuchSession));
    assert!(world.table.is_empty());
}

// spec-test: CMD-14, CMD-23
#[test]
fn what_only_the_owner_may_do_is_refused_to_others() {
    let mut world = World::new();
    let ann = world.create("ann", open());
    let session = ann.session;
    let bob = world.join("bob", Join::Session(session)).unwrap();
    let invite = world.invite(ann, "cat");
    world.take_changes();
    let by = member_ref(session, bob);
    assert_eq!(world.kick(by, ann.member), Err(ErrorCode::NotOwner));
    assert_eq!(world.transfer(by, bob), Err(ErrorCode::NotOwner));
    assert_eq!(world.delete(by), Err(ErrorCode::NotOwner));
    assert_eq!(world.revoke(by, invite.number), Err(ErrorCode::NotOwner));
    assert_eq!(world.try_invite(by, "dan"), Err(ErrorCode::NotOwner));
    // Also what would be refused to the owner.
    assert_eq!(world.kick(by, bob), Err(ErrorCode::NotOwner));
    assert_eq!(world.kick(by, MemberId(9)), Err(ErrorCode::NotOwner));
    assert_eq!(world.revoke(by, 99), Err(ErrorCode::NotOwner));
    assert_eq!(world.hold(by, "dan"), Err(ErrorCode::NotOwner));
    let outsider = member_ref(session, MemberId(9));
    assert_eq!(world.kick(outsider, ann.member), Err(ErrorCode::NotAMember));
    assert_eq!(world.delete(MemberRef { session: SessionId(1), ..ann }), Err(ErrorCode::NotAMember));
    assert!(world.take_changes().is_empty());
    assert_eq!(world.table.info(&user("ann"), session).unwrap().members, 2);
}

// spec-test: CMD-16, CMD-17
#[test]
fn an_owner_cannot_kick_or_transfer_to_itself_or_a_stranger() {
    let mut world = World::new();
    let ann = world.create("ann", settings());
    assert_eq!(world.kick(ann, ann.member), Err(ErrorCode::InvalidTarget));
    assert_eq!(world.transfer(ann, ann.member), Err(ErrorCode::InvalidTarget));
    assert_eq!(world.kick(ann, MemberId(5)), Err(ErrorCode::NoSuchMember));
    assert_eq!(world.transfer(ann, MemberId(5)), Err(ErrorCode::NoSuchMember));
}

// spec-test: INV-8
#[test]
fn a_kick_voids_the_users_invites() {
    let mut world = World::new();
    let ann = world.create("ann", open());
    let invite = world.invite(ann, "bob");
    let bob = world.join("bob", Join::Session(ann.session)).unwrap();
    let departed = world.kick(ann, bob).unwrap();
    assert_eq!(departed.revoked, [EndedInvite { invite, user: user("bob") }]);
    assert_eq!(world.join_by("bob", invite), Err(ErrorCode::InviteRevoked));
}

// spec-test: CMD-22
#[test]
fn info_is_for_members() {
    let mut world = World::new();
    let ann = world.create("ann", settings());
    world.invite(ann, "bob");
    let info = world.table.info(&user("ann"), ann.session).unwrap();
    assert_eq!((info.owner, info.members, info.open_invites), (ann.member, 1, 1));
    assert_eq!(world.table.info(&user("bob"), ann.session), Err(ErrorCode::NotAMember));
    assert_eq!(world.table.info(&user("ann"), SessionId(1)), Err(ErrorCode::NoSuchSession));
}

// spec-test: SES-1
#[test]
fn ids_of_sessions_are_random_and_none_returns() {
    let mut world = World::new();
    let mut ids = Vec::new();
    for _ in 0..200 {
        let ann = world.create("ann", open());
        world.delete(ann).unwrap();
        ids.push(ann.session.0);
    }
    let union = ids.iter().fold(0, |union, id| union | id);
    let common = ids.iter().fold(u64::MAX, |common, id| common & id);
    assert_eq!((union, common), (u64::MAX, 0), "no bit is the same in all");
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 200);
}

/// Each join is announced to all members, and a leave cannot be refused.
// spec-test: LIM-7
#[test]
fn who_joins_and_leaves_without_end_is_refused() {
    let mut world = World::new();
    let session = world.create("a", open()).session;
    let churn = |world: &mut World| {
        let rounds = (0..200).filter(|_| match world.join("b", Join::Session(session)) {
            Ok(member) => world.leave(member_ref(session, member)).is_ok(),
            Err(refused) => {
                assert_eq!(refused, ErrorCode::RateLimited);
                false
            }
        });
        rounds.count()
    };
    assert_eq!(churn(&mut world), 63, "and the creator");
    world.now += Duration::from_secs(1);
    assert_eq!(churn(&mut world), 64);
}

/// A user with many tokens can flood as much as many users.
// spec-test: LIM-7
#[test]
fn who_joins_and_leaves_without_end_keeps_no_invited_user_out() {
    let mut world = World::new();
    let ann = world.create("a", open());
    let session = ann.session;
    let flood = |world: &mut World| {
        while let Ok(member) = world.join("b", Join::Session(session)) {
            world.leave(member_ref(session, member)).unwrap();
        }
    };
    for second in 0..10 {
        flood(&mut world);
        for user in 0..21 {
            let name = format!("c{second}-{user}");
            let invite = world.invite(ann, &name);
            let member = world.join(&name, Join::Invite(invite)).unwrap();
            world.leave(member_ref(session, member)).unwrap();
            flood(&mut world);
        }
        // Of the burst of 85, a third of 64 is left to invited users, and no more.
        let late = world.invite(ann, "late");
        assert_eq!(world.join_by("late", late), Err(ErrorCode::RateLimited));
        world.now += Duration::from_secs(1);
    }
}

// spec-test: HSK-15, SES-10
#[test]
fn a_newer_connection_takes_the_seat_of_an_older_one_and_none_of_a_newer() {
    let mut world = World::new();
    let max_members = MaxMembers::new(2).unwrap();
    let session = world.create("ann", Settings { max_members, ..open() }).session;
    let mut join = |login| {
        let by_id = Join::Session(session);
        let joined = world.join_with("bob", LoginNumber(login), by_id);
        joined.map(|Admitted { member, replaced, .. }| (member, replaced))
    };
    let (second, of_nobody) = join(2).unwrap();
    assert_eq!(of_nobody, None);
    assert_eq!(join(2), Err(ErrorCode::AlreadyMember), "by the same");
    assert_eq!(join(1), Err(ErrorCode::AlreadyMember), "by an older one");
    let (third, of_second) = join(3).unwrap();
    assert_eq!(of_second, Some(second));
    let changes = world.take_changes();
    let [.., Change::Left { member, why, .. }, Change::Joined { member: joined, .. }] = &changes[..] else {
        panic!("{changes:?}")
    };
    assert_eq!((*member, *why, *joined), (second, LeaveReason::Replaced, third));
    assert_eq!(world.table.info(&user("ann"), session).unwrap().members, 2);
    assert_eq!(world.leave(member_ref(session, second)), Err(ErrorCode::NotAMember), "its worker is late");
}

/// The worker of the older connection will end the session, or has ended it.
// spec-test: HSK-15, SES-16
#[test]
fn a_session_that_ends_with_the_older_connection_admits_the_newer_no_more() {
    let settings = [
        Settings { on_owner_leave: OnOwnerLeave::Delete, ..open() },
        Settings { idle_ttl: IdleTtl::new(0).unwrap(), ..open() },
    ];
    for settings in settings {
        let mut world = World::new();
        let ann = world.create("ann", settings);
        world.take_changes();
        let joined = world.join_with("ann", LoginNumber(2), Join::Session(ann.session));
        assert_eq!(joined, Err(ErrorCode::NoSuchSession));
        assert!(world.take_changes().is_empty());
        assert!(world.leave(ann).unwrap().ended.is_some());
    }
}

/// Only a leave of the owner ends the session.
// spec-test: HSK-15
#[test]
fn a_session_that_ends_with_its_owner_admits_the_newer_connection_of_another() {
    let mut world = World::new();
    let session = world.create("ann", Settings { on_owner_leave: OnOwnerLeave::Delete, ..open() }).session;
    world.join("bob", Join::Session(session)).unwrap();
    let again = world.join_with("bob", LoginNumber(2), Join::Session(session));
    assert_eq!(again.map(|admitted| admitted.member), Ok(MemberId(3)));
}

// spec-test: HSK-15, SES-6
#[test]
fn an_owner_that_connects_again_gives_the_session_to_who_is_there() {
    let mut world = World::new();
    let session = world.create("ann", open()).session;
    let bob = world.join("bob", Join::Session(session)).unwrap();
    world.join_with("ann", LoginNumber(2), Join::Session(session)).unwrap();
    assert_eq!(world.table.info(&user("bob"), session).unwrap().owner, bob);
    // A sole member that connects again keeps the session.
    let session = world.create("ann", open()).session;
    let again = world.join_with("ann", LoginNumber(2), Join::Session(session));
    assert_eq!(world.table.info(&user("ann"), session).unwrap().owner, again.unwrap().member);
}
