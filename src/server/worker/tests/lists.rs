//! Invites and memberships as their users see them, outside of any session.

use super::answers::full_house;
use super::house::create;
use super::send_broadcast;
use super::{House, Limits, Who, with_any_workers};
use crate::base::{InviteId, SessionKind};
use crate::wire::command::{Kick, Revoke, To, Transfer};
use crate::wire::result::{Entered, Membership};
use crate::wire::{Admission, Delivery, ErrorCode, Reason, Request, UserEvent, Value};

fn invites(house: &mut House, who: Who) -> Vec<InviteId> {
    match house.ask(who, None, Request::ListInvites) {
        Ok(Value::Invites(open)) => open.into_iter().map(|open| open.invite).collect(),
        other => panic!("list_invites: {other:?}"),
    }
}

/// Returns the membership of a session created by the tests' `create`.
fn membership(entered: Entered) -> Membership {
    Membership { entered, kind: SessionKind(5) }
}

// spec-test: INV-8
#[test]
fn a_kicked_user_is_told_that_their_invite_is_over() {
    with_any_workers(|house| {
        let (ann, ben) = (house.connect("ann", 0), house.connect("ben", 1));
        let at = house.create(ann, 2, Admission::Open);
        let number = house.invite(ann, at.slot, &["ben"], 60)[0].unwrap();
        let invite = InviteId { session: at.session, number };
        // Joins without the invite, which stays open.
        let with_ben = house.join_open(ben, at.session).unwrap();
        house.user_events(ben);
        assert_eq!(invites(house, ben), [invite]);
        let kick = Request::Kick(Kick { member: with_ben.member, reason: Reason::none() });
        assert_eq!(house.ask(ann, Some(at.slot), kick), Ok(Value::Empty));
        assert_eq!(house.user_events(ben), [UserEvent::InviteRevoked { invite }]);
        assert_eq!(invites(house, ben), []);
    });
}

// spec-test: CMD-15
#[test]
fn the_user_of_a_revoked_invite_is_told() {
    with_any_workers(|house| {
        let (ann, ben) = (house.connect("ann", 0), house.connect("ben", 1));
        let at = house.create(ann, 2, Admission::Invited);
        let number = house.invite(ann, at.slot, &["ben"], 60)[0].unwrap();
        house.user_events(ben);
        let revoke = Request::Revoke(Revoke { number });
        assert_eq!(house.ask(ann, Some(at.slot), revoke.clone()), Ok(Value::Empty));
        let invite = InviteId { session: at.session, number };
        assert_eq!(house.user_events(ben), [UserEvent::InviteRevoked { invite }]);
        assert_eq!(invites(house, ben), []);
        assert_eq!(house.ask(ann, Some(at.slot), revoke), Err(ErrorCode::InviteRevoked));
    });
}

// spec-test: INV-5
#[test]
fn an_invitation_names_who_has_invited_whoever_owns_the_session_now() {
    with_any_workers(|house| {
        let (ann, ben) = (house.connect("ann", 0), house.connect("ben", 1));
        let at = house.create(ann, 4, Admission::Open);
        let with_ben = house.join_open(ben, at.session).unwrap();
        house.invite(ann, at.slot, &["cat"], 60)[0].unwrap();
        let transfer = Request::Transfer(Transfer { member: with_ben.member });
        assert_eq!(house.ask(ann, Some(at.slot), transfer), Ok(Value::Empty));
        house.invite(ben, with_ben.slot, &["dan"], 60)[0].unwrap();
        for (name, inviter) in [("cat", "ann"), ("dan", "ben")] {
            let who = house.connect(name, 2);
            let told = house.user_events(who);
            let [UserEvent::Invited(invitation)] = &told[..] else { panic!("{told:?}") };
            assert_eq!(invitation.owner.as_str(), inviter);
            let listed = house.ask(who, None, Request::ListInvites);
            assert_eq!(listed, Ok(Value::Invites(vec![invitation.clone()])));
        }
    });
}

// spec-test: RES-4, RES-2
#[test]
fn sessions_are_listed_in_the_order_of_their_slots_each_with_its_kind() {
    with_any_workers(|house| {
        let ann = house.connect("ann", 0);
        let all: Vec<_> = (0..5).map(|_| house.create(ann, 2, Admission::Open)).collect();
        assert!(all.is_sorted_by_key(|entered| entered.slot));
        assert!(!all.is_sorted_by_key(|entered| entered.session), "by their ids it is another order");
        let mine: Vec<_> = all.into_iter().map(membership).collect();
        assert_eq!(house.ask(ann, None, Request::ListMine), Ok(Value::Sessions(mine)));
    });
}

/// While the user's worker is behind with the mail that reports the end.
// spec-test: CMD-22
#[test]
fn a_session_counts_for_who_has_left_it_until_they_were_sent_its_end() {
    let mut house = House::new(1, Limits { sessions_per_user: 1, ..Limits::default() });
    let (all, _) = full_house(&mut house);
    let (ben, with_ben) = all[63];
    for member in &all {
        (0..2).for_each(|_| send_broadcast(&mut house, *member, Delivery::ReliableOrdered, To::All, "x"));
    }
    let leave = house.send(ben, Some(with_ben.slot), Request::Leave);
    house.run_sockets(&all.iter().map(|(who, _)| *who).collect::<Vec<_>>());
    assert!(house.workers[0].behind, "the leaving is not told yet");
    let list = house.send(ben, None, Request::ListMine);
    let second = house.send(ben, None, create(2, Admission::Open));
    house.run_socket(ben);
    house.run();
    assert_eq!(house.answer(ben, leave), Ok(Value::Empty));
    assert_eq!(house.answer(ben, list), Ok(Value::Sessions(vec![membership(with_ben)])));
    assert_eq!(house.answer(ben, second), Err(ErrorCode::TooManySessions));
    // The end has been sent now.
    assert_eq!(house.ask(ben, None, Request::ListMine), Ok(Value::Sessions(vec![])));
    house.create(ben, 2, Admission::Open);
}
