//! Invites: whom they admit, when, and what those are told whom they do not.

use super::*;
use crate::wire::UserEvent;

// spec-test: SES-11, SES-9
#[test]
fn an_invite_admits_its_user_once() {
    let mut world = World::new();
    let (session, ann) = world.create("ann", settings());
    let invite = world.invite((session, ann), "bob");
    assert_eq!(world.join_by("eve", invite), Err(ErrorCode::NotYourInvite));
    let bob = world.join_by("bob", invite).unwrap();
    assert_eq!(world.join_by("bob", invite), Err(ErrorCode::InviteUsed), "before already_member");
    world.leave((session, bob)).unwrap();
    assert_eq!(world.join_by("bob", invite), Err(ErrorCode::InviteUsed));
}

// spec-test: SES-9
#[test]
fn an_invite_that_never_was_is_named_so() {
    let mut world = World::new();
    let (session, _) = world.create("ann", settings());
    let invite = InviteId { session, number: 1 };
    assert_eq!(world.join_by("bob", invite), Err(ErrorCode::NoSuchInvite));
    let elsewhere = InviteId { session: SessionId(1), number: 1 };
    assert_eq!(world.join_by("bob", elsewhere), Err(ErrorCode::NoSuchSession));
}

// spec-test: SES-9
#[test]
fn a_revoked_invite_admits_nobody() {
    let mut world = World::new();
    let (session, ann) = world.create("ann", settings());
    let invite = world.invite((session, ann), "bob");
    let revoked = world.revoke((session, ann), invite.number);
    assert_eq!(revoked, Ok(EndedInvite { invite, user: user("bob") }));
    assert_eq!(world.join_by("bob", invite), Err(ErrorCode::InviteRevoked));
    assert_eq!(world.revoke((session, ann), invite.number), Err(ErrorCode::InviteRevoked));
    assert_eq!(world.revoke((session, ann), 99), Err(ErrorCode::NoSuchInvite));
}

// spec-test: INV-7
#[test]
fn a_second_invite_to_a_user_replaces_the_first() {
    let mut world = World::new();
    let (session, ann) = world.create("ann", settings());
    let first = world.invite((session, ann), "bob");
    let second = world.try_invite((session, ann), "bob").unwrap();
    assert_eq!(second.replaced, Some(first));
    assert_eq!(world.join_by("bob", first), Err(ErrorCode::InviteRevoked));
    assert!(world.join_by("bob", second.invite).is_ok());
}

#[test]
fn a_declined_invite_is_told_to_the_owner_and_admits_nobody() {
    let mut world = World::new();
    let (session, ann) = world.create("ann", settings());
    let invite = world.invite((session, ann), "bob");
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
    assert_eq!((*member, who, reason.as_str()), (ann, &user("bob"), "busy"));
    assert_eq!(world.join_by("bob", invite), Err(ErrorCode::InviteDeclined));
    assert_eq!(world.decline("bob", invite), Err(ErrorCode::InviteDeclined));
}

// spec-test: CMD-14, LIM-1
#[test]
fn each_user_of_an_invite_has_its_own_answer() {
    let limits = SessionLimits { max_open_invites: 2, ..SessionLimits::default() };
    let mut world = World::with(limits);
    let (session, ann) = world.create("ann", settings());
    let users = ["ann", "bob", "cat", "dan"].map(user);
    let answers = world.table.invite(world.now, (session, ann), &invite_of("bob"), &users, &mut world.mail);
    let answers = answers.unwrap();
    assert_eq!((answers.owner, answers.note.as_str()), (user("ann"), "come"));
    let codes: Vec<_> = answers.users.iter().map(|answer| answer.map(|new| new.invite.number)).collect();
    assert_eq!(codes, [Err(ErrorCode::AlreadyMember), Ok(1), Ok(2), Err(ErrorCode::TooManyInvites)]);
    let again = world.try_invite((session, ann), "bob").unwrap();
    assert_eq!(again.invite.number, 3, "replacing takes no room");
}

// spec-test: CMD-14
#[test]
fn held_seats_are_not_supported() {
    let mut world = World::new();
    let (session, ann) = world.create("ann", settings());
    let invite = Invite { hold_seat: true, ..invite_of("bob") };
    let refused = world.table.invite(world.now, (session, ann), &invite, &[user("bob")], &mut world.mail);
    assert_eq!(refused, Err(ErrorCode::Unsupported));
}

// spec-test: SES-6
#[test]
fn who_enters_an_empty_session_by_an_invite_owns_it() {
    let mut world = World::new();
    let (session, ann) = world.create("ann", settings());
    let invite = world.invite((session, ann), "bob");
    let declined = world.invite((session, ann), "cat");
    world.leave((session, ann)).unwrap();
    world.take_changes();
    assert_eq!(world.decline("cat", declined), Ok(()), "there is nobody to tell");
    assert!(world.take_changes().is_empty());
    let bob = world.join_by("bob", invite).unwrap();
    let changes = world.take_changes();
    let [Change::Joined { snapshot: Some(snapshot), .. }] = &changes[..] else { panic!("{changes:?}") };
    assert_eq!(snapshot.owner, bob);
    assert!(world.try_invite((session, bob), "ann").is_ok());
}
