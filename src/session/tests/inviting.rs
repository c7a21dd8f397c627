//! Invites: which users they admit, when, and the errors for all others.

use super::*;
use crate::wire::UserEvent;

// spec-test: SES-11, SES-9
#[test]
fn an_invite_admits_its_user_once() {
    let mut world = World::new();
    let ann = world.create("ann", settings());
    let session = ann.session;
    let invite = world.invite(ann, "bob");
    assert_eq!(world.join_by("eve", invite), Err(ErrorCode::NotYourInvite));
    let bob = world.join_by("bob", invite).unwrap();
    assert_eq!(world.join_by("bob", invite), Err(ErrorCode::InviteUsed), "before already_member");
    world.leave(member_ref(session, bob)).unwrap();
    assert_eq!(world.join_by("bob", invite), Err(ErrorCode::InviteUsed));
}

// spec-test: SES-9
#[test]
fn an_invite_that_never_was_is_named_so() {
    let mut world = World::new();
    let session = world.create("ann", settings()).session;
    let invite = InviteId { session, number: 1 };
    assert_eq!(world.join_by("bob", invite), Err(ErrorCode::NoSuchInvite));
    let elsewhere = InviteId { session: SessionId(1), number: 1 };
    assert_eq!(world.join_by("bob", elsewhere), Err(ErrorCode::NoSuchSession));
}

// spec-test: SES-9, CMD-15
#[test]
fn a_revoked_invite_admits_nobody() {
    let mut world = World::new();
    let ann = world.create("ann", settings());
    let invite = world.invite(ann, "bob");
    let revoked = world.revoke(ann, invite.number);
    assert_eq!(revoked, Ok(EndedInvite { invite, user: user("bob") }));
    assert_eq!(world.join_by("bob", invite), Err(ErrorCode::InviteRevoked));
    assert_eq!(world.revoke(ann, invite.number), Err(ErrorCode::InviteRevoked));
    assert_eq!(world.revoke(ann, 99), Err(ErrorCode::NoSuchInvite));
}

// spec-test: INV-2
#[test]
fn a_session_remembers_the_last_1_024_invites_that_have_ended() {
    let mut world = World::new();
    let ann = world.create("ann", settings());
    let session = ann.session;
    let mut end_one = || {
        let invite = world.invite(ann, "bob");
        world.revoke(ann, invite.number).unwrap();
        world.join_by("bob", InviteId { session, number: 1 })
    };
    for number in 1..=1_024 {
        assert_eq!(end_one(), Err(ErrorCode::InviteRevoked), "after {number}");
    }
    assert_eq!(end_one(), Err(ErrorCode::NoSuchInvite), "the first that ended is forgotten first");
}

// spec-test: INV-2
#[test]
fn a_session_without_members_remembers_the_last_32_invites_that_have_ended_whenever_they_do() {
    let mut world = World::new();
    let ann = world.create("ann", settings());
    let name = |number| format!("user {number}");
    let invites: Vec<_> = (0..40).map(|number| world.invite(ann, &name(number))).collect();
    world.leave(ann).unwrap();
    for (number, invite) in invites.iter().enumerate() {
        world.decline(&name(number), *invite).unwrap();
    }
    let codes = invites.iter().enumerate().map(|(number, invite)| world.join_by(&name(number), *invite));
    let codes: Vec<_> = codes.collect();
    assert!(codes[..8].iter().all(|code| *code == Err(ErrorCode::NoSuchInvite)), "{codes:?}");
    assert!(codes[8..].iter().all(|code| *code == Err(ErrorCode::InviteDeclined)), "{codes:?}");
}

// spec-test: INV-2, HSK-15
#[test]
fn a_sole_member_that_connects_again_leaves_no_session_without_members() {
    let mut world = World::new();
    let ann = world.create("ann", open());
    let invites: Vec<_> = (0..40).map(|number| world.invite(ann, &format!("user {number}"))).collect();
    invites.iter().for_each(|invite| _ = world.revoke(ann, invite.number).unwrap());
    world.join_with("ann", LoginNumber(2), Join::Session(ann.session)).unwrap();
    assert_eq!(world.join_by("user 0", invites[0]), Err(ErrorCode::InviteRevoked));
}

// spec-test: INV-7
#[test]
fn a_second_invite_to_a_user_replaces_the_first() {
    let mut world = World::new();
    let ann = world.create("ann", settings());
    let first = world.invite(ann, "bob");
    let second = world.try_invite(ann, "bob").unwrap();
    assert_eq!(second.replaced, Some(first));
    assert_eq!(world.join_by("bob", first), Err(ErrorCode::InviteRevoked));
    assert!(world.join_by("bob", second.invite).is_ok());
}

// spec-test: CMD-13
#[test]
fn a_declined_invite_is_told_to_the_owner_and_admits_nobody() {
    let mut world = World::new();
    let ann = world.create("ann", settings());
    let invite = world.invite(ann, "bob");
    world.take_changes();
    assert_eq!(world.decline("eve", invite), Err(ErrorCode::NotYourInvite));
    world.mail.full = vec![at("ann").worker];
    assert_eq!(world.decline("bob", invite), Err(ErrorCode::Busy));
    world.mail.full.clear();
    assert_eq!(world.decline("bob", invite), Ok(()), "the refusal changed nothing");
    let changes = world.take_changes();
    let [Change::ToMember { member, event: UserEvent::InviteDeclined { user: who, reason, .. } }] =
        &changes[..]
    else {
        panic!("{changes:?}")
    };
    assert_eq!((*member, who, reason.as_str()), (ann.member, &user("bob"), "busy"));
    assert_eq!(world.join_by("bob", invite), Err(ErrorCode::InviteDeclined));
    assert_eq!(world.decline("bob", invite), Err(ErrorCode::InviteDeclined));
}

// spec-test: CMD-14, LIM-1
#[test]
fn each_user_of_an_invite_has_its_own_answer() {
    let limits = SessionLimits { max_open_invites: 2, ..SessionLimits::default() };
    let mut world = World::with(limits);
    let ann = world.create("ann", settings());
    let users = ["ann", "bob", "cat", "dan"].map(user);
    let answers = world.table.invite(world.now, ann, &invite_of("bob"), &users, &mut world.mail);
    let answers = answers.unwrap();
    assert_eq!((answers.owner, answers.note.as_str()), (user("ann"), "come"));
    let codes: Vec<_> = answers.users.iter().map(|answer| answer.map(|new| new.invite.number)).collect();
    assert_eq!(codes, [Err(ErrorCode::AlreadyMember), Ok(1), Ok(2), Err(ErrorCode::TooManyInvites)]);
    let again = world.try_invite(ann, "bob").unwrap();
    assert_eq!(again.invite.number, 3, "replacing takes no room");
}

/// An open session of ann with `seats` seats.
fn open_of(world: &mut World, seats: u16) -> MemberRef {
    world.create("ann", Settings { max_members: MaxMembers::new(seats).unwrap(), ..open() })
}

// spec-test: INV-9, SES-10, CMD-14
#[test]
fn a_held_seat_is_for_its_user_alone() {
    let mut world = World::new();
    let at = open_of(&mut world, 2);
    let invite = world.hold(at, "bob").unwrap();
    assert_eq!(world.hold(at, "cat"), Err(ErrorCode::SessionFull), "there is no seat to hold");
    let loose = world.invite(at, "cat");
    assert_eq!(world.join_by("cat", loose), Err(ErrorCode::SessionFull));
    assert_eq!(world.join("dan", Join::Session(at.session)), Err(ErrorCode::SessionFull));
    world.join_by("bob", invite).unwrap();
    assert_eq!(world.hold(at, "cat"), Err(ErrorCode::SessionFull), "it is taken now");
    assert_eq!(world.table.info(&user("ann"), at.session).unwrap().members, 2);
}

// spec-test: INV-9
#[test]
fn a_seat_is_held_until_its_invite_is_over_in_whatever_way() {
    type End = fn(&mut World, MemberRef, InviteId);
    let ends: [End; 4] = [
        |world, _, invite| world.decline("bob", invite).unwrap(),
        |world, at, invite| _ = world.revoke(at, invite.number).unwrap(),
        |world, at, _| _ = world.invite(at, "bob"),
        |world, _, _| world.now += Duration::from_millis(1),
    ];
    for (way, end) in ends.into_iter().enumerate() {
        let mut world = World::new();
        let at = open_of(&mut world, 2);
        let invite = world.hold(at, "bob").unwrap();
        world.now += Duration::from_millis(29_999);
        assert_eq!(world.join("cat", Join::Session(at.session)), Err(ErrorCode::SessionFull), "{way}");
        end(&mut world, at, invite);
        assert!(world.join("cat", Join::Session(at.session)).is_ok(), "{way}");
        assert!(world.join_by("bob", invite).is_err(), "{way}");
    }
}

// spec-test: INV-9
#[test]
fn another_invite_takes_over_the_seat_that_the_first_held() {
    let mut world = World::new();
    let at = open_of(&mut world, 2);
    world.hold(at, "bob").unwrap();
    let second = world.hold(at, "bob").unwrap();
    assert_eq!(world.join("cat", Join::Session(at.session)), Err(ErrorCode::SessionFull));
    world.join_by("bob", second).unwrap();
    // An invite that held no seat has none to hand over.
    let at = open_of(&mut world, 1);
    world.invite(at, "bob");
    assert_eq!(world.hold(at, "bob"), Err(ErrorCode::SessionFull));
}

// spec-test: INV-9
#[test]
fn who_enters_an_open_session_uses_the_invite_that_holds_their_seat() {
    let mut world = World::new();
    let at = open_of(&mut world, 3);
    let held = world.hold(at, "bob").unwrap();
    let admitted =
        world.table.join(world.now, entrant(&user("bob")), Join::Session(at.session), &mut world.mail);
    assert_eq!(admitted.unwrap().used, Some(held));
    assert!(world.join("cat", Join::Session(at.session)).is_ok(), "nothing is held any more");
    // Only an invite that holds a seat is used up.
    let at = open_of(&mut world, 3);
    let loose = world.invite(at, "bob");
    let bob = world.join("bob", Join::Session(at.session)).unwrap();
    world.leave(member_ref(at.session, bob)).unwrap();
    assert!(world.join_by("bob", loose).is_ok());
}

// spec-test: SES-6
#[test]
fn who_enters_an_empty_session_by_an_invite_owns_it() {
    let mut world = World::new();
    let ann = world.create("ann", settings());
    let session = ann.session;
    let invite = world.invite(ann, "bob");
    let declined = world.invite(ann, "cat");
    world.leave(ann).unwrap();
    world.take_changes();
    assert_eq!(world.decline("cat", declined), Ok(()), "there is nobody to tell");
    assert!(world.take_changes().is_empty());
    let bob = world.join_by("bob", invite).unwrap();
    let changes = world.take_changes();
    let [Change::Joined { snapshot: Some(snapshot), .. }] = &changes[..] else { panic!("{changes:?}") };
    assert_eq!(snapshot.owner, bob);
    assert!(world.try_invite(member_ref(session, bob), "ann").is_ok());
}
