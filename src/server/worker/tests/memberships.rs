//! Memberships and invites through the whole server: how they begin and end, and what their users are told.

use std::time::Duration;

use bytes::Bytes;

use super::answers::some_ops;
use super::house::{create, invite};
use super::{House, Limits, broadcast, gathered, shout, with_any_workers};
use crate::base::{EventNumber, InviteId, MemberId, SessionId, SessionKind, Slot, StreamId, UserId};
use crate::net::Driven;
use crate::rudp::SendError;
use crate::wire::command::{Decline, Delete, Join, Kick, To, Transfer};
use crate::wire::{
    Admission, CloseCode, DeleteReason, Delivery, ErrorCode, LeaveReason, Reason, Request, SessionEvent,
    UserEvent, Value,
};

fn kick(member: MemberId) -> Request {
    Request::Kick(Kick { member, reason: Reason::none() })
}

// spec-test: EVT-4, SES-13
#[test]
fn a_snapshot_comes_first_and_later_events_follow_it() {
    with_any_workers(|house| {
        let (ann, ben) = (house.connect("ann", 0), house.connect("ben", 1));
        let at = house.create(ann, 2, Admission::Open);
        let events = house.events(ann, at.slot);
        let [SessionEvent::Snapshot(snapshot)] = &events[..] else { panic!("{events:?}") };
        assert_eq!((snapshot.you, snapshot.session), (at.member, at.session));

        let joined = house.join_open(ben, at.session).unwrap();
        let told = house.events(ann, at.slot);
        let [SessionEvent::MemberJoined { number, member, .. }] = &told[..] else { panic!("{told:?}") };
        assert_eq!((*number, *member), (snapshot.next, joined.member));
        let events = house.events(ben, joined.slot);
        let [SessionEvent::Snapshot(snapshot)] = &events[..] else { panic!("{events:?}") };
        assert_eq!(snapshot.next, EventNumber(number.0 + 1));
        assert_eq!(snapshot.members.len(), 2);
    });
}

// spec-test: CMD-5, CMD-19, EVT-6, SES-3, SES-12
#[test]
fn a_leavers_own_leave_is_its_last_message_and_its_slot_is_gone() {
    with_any_workers(|house| {
        let all = gathered(house);
        let (ben, at) = all[1];
        let leave = house.send(ben, Some(at.slot), Request::Leave);
        let late = house.send(ben, Some(at.slot), Request::SetProperties(some_ops()));
        house.run();
        assert_eq!(house.answer(ben, leave), Ok(Value::Empty));
        // Both were in one datagram. The second found no member any more, and came too late to be answered.
        assert_eq!(house.answered_on(ben, late), None);
        for (who, entered) in all {
            let told = house.events(who, entered.slot);
            let [SessionEvent::MemberLeft { member, why: LeaveReason::Left, .. }] = &told[..] else {
                panic!("{told:?}")
            };
            assert_eq!(*member, at.member);
        }
        for delivery in [Delivery::ReliableOrdered, Delivery::Unreliable] {
            broadcast(house, all[0], delivery, To::All, "x");
        }
        assert_eq!(house.events(ben, at.slot), [], "nothing after its leave");
        let again = house.join_open(ben, at.session).unwrap();
        assert_ne!(again.slot, at.slot, "a slot is never given again");
    });
}

// spec-test: SES-18
#[test]
fn a_session_that_the_operator_ends_is_over_for_all() {
    with_any_workers(|house| {
        let [(ann, at), (ben, with_ben), _] = gathered(house);
        let other = house.create(ann, 2, Admission::Open);
        let dan = house.connect("dan", 0);
        let number = house.invite(ann, at.slot, &["dan"], 60)[0].unwrap();
        house.user_events(dan);
        let info = house.shared.sessions.look_at(at.session).unwrap();
        let members = house.shared.sessions.members(at.session).unwrap();
        assert_eq!((info.members, info.open_invites, info.owner), (3, 1, at.member));
        assert_eq!(
            members.iter().map(|member| member.user.as_str()).collect::<Vec<_>>(),
            ["ann", "ben", "cat"]
        );
        let mut all: Vec<_> = house.shared.sessions.infos().iter().map(|info| info.session).collect();
        all.sort_unstable();
        let mut both = [at.session, other.session];
        both.sort_unstable();
        assert_eq!(all, both);

        let reason = Reason::new("a test").unwrap();
        assert!(!house.shared.close_session(SessionId(0), reason.clone()), "there is none of this id");
        assert!(house.shared.close_session(at.session, reason.clone()));
        // The second mail finds no session.
        house.shared.close_session(at.session, reason.clone());
        house.run();
        for (who, slot) in [(ann, at.slot), (ben, with_ben.slot)] {
            let told = house.events(who, slot);
            let Some(SessionEvent::SessionDeleted { why, reason: heard, .. }) = told.last() else {
                panic!("{told:?}")
            };
            assert_eq!((why, heard), (&DeleteReason::ClosedByOperator, &reason));
        }
        let invite = InviteId { session: at.session, number };
        assert_eq!(house.user_events(dan), [UserEvent::InviteRevoked { invite }]);
        assert!(house.shared.sessions.look_at(at.session).is_none());
        assert!(house.join_open(dan, other.session).is_ok(), "others go on");
    });
}

/// Whichever worker carries it out, and whichever finds out first that the server drains.
// spec-test: SES-18, CON-8
#[test]
fn what_the_operator_decides_before_a_drain_is_told_before_it() {
    with_any_workers(|house| {
        let [(ann, at), (ben, with_ben), _] = gathered(house);
        let other = house.create(ann, 2, Admission::Open);
        let reason = Reason::new("a test").unwrap();
        assert!(house.shared.remove_member(at.session, &UserId::new("ben").unwrap(), reason.clone()));
        assert!(house.shared.close_session(other.session, reason.clone()));
        house.shared.drain(house.now.mono + Duration::from_secs(5));
        assert!(!house.shared.close_session(at.session, reason));
        house.pass(Duration::from_millis(1));
        let told = house.events(ben, with_ben.slot);
        assert!(matches!(told[..], [.., SessionEvent::MemberLeft { .. }]), "{told:?}");
        let told = house.events(ann, other.slot);
        assert!(matches!(told[..], [.., SessionEvent::SessionDeleted { .. }]), "{told:?}");
        assert_eq!([ann, ben].map(|who| house.closed_with(who)), [Some(CloseCode::ShuttingDown); 2]);
        assert!(house.shared.sessions.look_at(other.session).is_none());
        assert_eq!(house.shared.sessions.look_at(at.session).unwrap().members, 2, "it keeps its state");
    });
}

/// A CLOSE would overtake what a member's line has not carried yet.
// spec-test: CON-8, SES-18
#[test]
fn who_has_not_taken_everything_is_told_of_a_drain_later() {
    for hears_again in [true, false] {
        with_any_workers(|house| {
            let [(ann, at), (ben, with_ben), _] = gathered(house);
            house.deafen(ben);
            shout(house, ann, at.slot, 0, 60_000);
            house.pass(Duration::from_millis(300));
            assert!(house.shared.close_session(at.session, Reason::none()));
            let begun = house.now.mono;
            house.shared.drain(begun + Duration::from_secs(5));
            house.pass(Duration::from_millis(300));
            assert_eq!(
                house.closed_with(ann),
                Some(CloseCode::ShuttingDown),
                "who has taken it waits for nobody"
            );
            if hears_again {
                // With several workers, its acks then come as mail.
                house.reroute(ben, house.workers.len() - 1);
                house.heal(ben);
                house.pass(Duration::from_secs(1));
                let told = house.events(ben, with_ben.slot);
                let [SessionEvent::Message { .. }, SessionEvent::SessionDeleted { .. }] = told[..] else {
                    panic!("{told:?}")
                };
            } else {
                house.pass(Duration::from_millis(2_300));
                assert!(!house.workers.iter().all(Driven::is_finished));
                house.heal(ben);
                house.pass(Duration::from_secs(1));
                assert_eq!(house.events(ben, with_ben.slot), [], "half of the time is over");
            }
            assert_eq!(house.closed_with(ben), Some(CloseCode::ShuttingDown));
            house.pass(Duration::from_millis(500));
            assert!(house.workers.iter().all(Driven::is_finished));
        });
    }
}

/// However little time the drain has: only the events may be missing.
// spec-test: SES-18
#[test]
fn what_the_operator_decides_is_done_even_if_the_server_ends_at_once() {
    with_any_workers(|house| {
        let [(ann, at), (ben, _), _] = gathered(house);
        let other = house.create(ann, 2, Admission::Open);
        assert!(house.shared.remove_member(at.session, &UserId::new("ben").unwrap(), Reason::none()));
        assert!(house.shared.close_session(other.session, Reason::none()));
        house.shared.drain(house.now.mono);
        house.run();
        assert!(house.workers.iter().all(Driven::is_finished));
        assert_eq!([ann, ben].map(|who| house.closed_with(who)), [Some(CloseCode::ShuttingDown); 2]);
        assert!(house.shared.sessions.look_at(other.session).is_none());
        assert_eq!(house.shared.sessions.look_at(at.session).unwrap().members, 2);
    });
}

// spec-test: SES-18
#[test]
fn a_user_whom_the_operator_removes_is_out_of_that_session_alone() {
    with_any_workers(|house| {
        let [(ann, at), (ben, with_ben), _] = gathered(house);
        let other = house.create(ann, 2, Admission::Open);
        let ben_there = house.join_open(ben, other.session).unwrap();
        let (reason, user) = (Reason::new("a test").unwrap(), UserId::new("ben").unwrap());
        assert!(!house.shared.remove_member(SessionId(0), &user, reason.clone()), "there is no such session");
        assert!(!house.shared.remove_member(at.session, &UserId::new("dan").unwrap(), reason.clone()));
        assert!(house.shared.remove_member(at.session, &user, reason.clone()));
        // The second mail finds no member.
        house.shared.remove_member(at.session, &user, reason.clone());
        house.run();
        assert!(!house.shared.remove_member(at.session, &user, reason.clone()));
        for (who, slot) in [(ann, at.slot), (ben, with_ben.slot)] {
            let told = house.events(who, slot);
            let left = |event: &&SessionEvent| matches!(event, SessionEvent::MemberLeft { .. });
            let lefts: Vec<_> = told.iter().filter(left).collect();
            let [SessionEvent::MemberLeft { member, why, reason: heard, .. }] = lefts[..] else {
                panic!("{told:?}")
            };
            assert_eq!((*member, *why, heard), (with_ben.member, LeaveReason::Kicked, &reason));
        }
        assert!(house.shared.directory.live(&user).is_some(), "they stay connected");
        let members = house.shared.sessions.members(other.session).unwrap();
        assert!(members.iter().any(|member| member.id == ben_there.member), "and in their other session");
    });
}

/// Otherwise each entry of a user would leave memory behind for as long as the user stays connected.
// spec-test: STR-9, EVT-6
#[test]
fn a_slot_that_is_over_has_no_stream_at_the_server() {
    let mut house = House::new(1, Limits::default());
    let ann = house.connect("ann", 0);
    let slot = house.create(ann, 3, Admission::Open).slot;
    house.ask(ann, Some(slot), Request::Leave).unwrap();
    let (now, stream) = (house.now.mono, StreamId::from(slot));
    let clients = &mut house.workers[0].clients;
    let id = clients.connections()[0];
    let connection = clients.endpoint.connection(id).unwrap();
    let sent = connection.send(now, stream, Delivery::ReliableOrdered, Bytes::new().into());
    assert_eq!(sent, Err(SendError::UnknownStream(stream)));
}

// spec-test: SES-16, CMD-23
#[test]
fn what_only_the_owner_may_do_is_refused_to_others_and_changes_nothing() {
    with_any_workers(|house| {
        let all = gathered(house);
        let (ben, at) = all[1];
        let transfer = Request::Transfer(Transfer { member: at.member });
        let delete = Request::Delete(Delete { reason: Reason::none() });
        for request in [kick(all[2].1.member), transfer, delete, invite(&["dan"], 10)] {
            assert_eq!(house.ask(ben, Some(at.slot), request), Err(ErrorCode::NotOwner));
        }
        for (who, at) in all {
            assert_eq!(house.events(who, at.slot), []);
        }
    });
}

// spec-test: EVT-6, CMD-16
#[test]
fn a_kicked_member_is_told_why_and_gone() {
    with_any_workers(|house| {
        let all = gathered(house);
        let (ann, at) = all[0];
        let kick = Request::Kick(Kick { member: all[1].1.member, reason: Reason::new("spam").unwrap() });
        assert_eq!(house.ask(ann, Some(at.slot), kick), Ok(Value::Empty));
        for (who, at) in all {
            let told = house.events(who, at.slot);
            let [SessionEvent::MemberLeft { why: LeaveReason::Kicked, reason, .. }] = &told[..] else {
                panic!("{told:?}")
            };
            assert_eq!(reason.as_str(), "spam");
        }
        assert_eq!(house.ask(all[1].0, None, Request::ListMine), Ok(Value::Sessions(vec![])));
    });
}

// spec-test: EVT-6, CMD-18
#[test]
fn a_deleted_session_ends_for_all() {
    with_any_workers(|house| {
        let all = gathered(house);
        let delete = Request::Delete(Delete { reason: Reason::new("over").unwrap() });
        assert_eq!(house.ask(all[0].0, Some(all[0].1.slot), delete), Ok(Value::Empty));
        for (who, at) in all {
            let told = house.events(who, at.slot);
            let [SessionEvent::SessionDeleted { why: DeleteReason::Deleted, reason, .. }] = &told[..] else {
                panic!("{told:?}")
            };
            assert_eq!(reason.as_str(), "over");
        }
        assert_eq!(house.shared.sessions.len(), 0);
        assert_eq!(house.join_open(all[1].0, all[0].1.session), Err(ErrorCode::NoSuchSession));
    });
}

// spec-test: SES-10
#[test]
fn of_two_that_join_the_last_seat_at_once_one_gets_it() {
    with_any_workers(|house| {
        let [ann, ben, cat] = [("ann", 0), ("ben", 1), ("cat", 2)].map(|(user, at)| house.connect(user, at));
        let session = house.create(ann, 2, Admission::Open).session;
        let join = Request::Join(Join::Session(session));
        let asked = [ben, cat].map(|who| (who, house.send(who, None, join.clone())));
        house.run();
        let answers = asked.map(|(who, id)| house.answer(who, id));
        let entered = answers.iter().filter(|answer| answer.is_ok()).count();
        let full = answers.iter().filter(|answer| **answer == Err(ErrorCode::SessionFull)).count();
        assert_eq!((entered, full), (1, 1), "{answers:?}");
    });
}

// spec-test: CMD-14
#[test]
fn users_that_the_session_never_saw_are_answered_in_their_place() {
    let mut house = House::new(1, Limits { invites_per_user: 1, ..Limits::default() });
    let ann = house.connect("ann", 0);
    let [first, second] = [(); 2].map(|()| house.create(ann, 3, Admission::Invited));
    assert_eq!(house.invite(ann, first.slot, &["ben"], 60), [Ok(1)]);
    let answers = house.invite(ann, second.slot, &["ben", "cat", "ann", "dan"], 60);
    let wanted = [Err(ErrorCode::TooManyInvites), Ok(1), Err(ErrorCode::AlreadyMember), Ok(2)];
    assert_eq!(answers, wanted);
}

// spec-test: INV-5, INV-6
#[test]
fn an_invite_waits_for_a_user_that_is_offline() {
    with_any_workers(|house| {
        let ann = house.connect("ann", 0);
        let at = house.create(ann, 2, Admission::Invited);
        let number = *house.invite(ann, at.slot, &["ben"], 60)[0].as_ref().unwrap();
        house.pass(Duration::from_secs(10));

        let ben = house.connect("ben", 1);
        let told = house.user_events(ben);
        let [UserEvent::Invited(invitation)] = &told[..] else { panic!("{told:?}") };
        let id = InviteId { session: at.session, number };
        assert_eq!((invitation.invite, invitation.owner.as_str()), (id, "ann"));
        assert_eq!(invitation.kind, SessionKind(5), "that of the session");
        assert!((49_000..=50_000).contains(&invitation.ttl_left_ms), "{}", invitation.ttl_left_ms);
        assert!(house.ask(ben, None, Request::Join(Join::Invite(id))).is_ok());
        assert_eq!(house.ask(ben, None, Request::ListInvites), Ok(Value::Invites(vec![])));
    });
}

// spec-test: INV-3, INV-6, INV-7
#[test]
fn a_connected_user_is_told_of_an_invite_once_and_of_its_end() {
    with_any_workers(|house| {
        let (ann, ben) = (house.connect("ann", 0), house.connect("ben", 1));
        let at = house.create(ann, 2, Admission::Invited);
        let id = |number: &Result<u32, ErrorCode>| InviteId {
            session: at.session,
            number: *number.as_ref().unwrap(),
        };
        let first = id(&house.invite(ann, at.slot, &["ben"], 60)[0]);
        let second = id(&house.invite(ann, at.slot, &["ben"], 60)[0]);
        let told = house.user_events(ben);
        let [UserEvent::Invited(one), UserEvent::Invited(two)] = &told[..] else { panic!("{told:?}") };
        assert_eq!((one.invite, two.invite), (first, second));
        let Ok(Value::Invites(open)) = house.ask(ben, None, Request::ListInvites) else { panic!() };
        assert_eq!(
            open.iter().map(|open| open.invite).collect::<Vec<_>>(),
            [second],
            "the first was replaced"
        );

        let decline = Request::Decline(Decline { invite: second, reason: Reason::none() });
        assert_eq!(house.ask(ben, None, decline), Ok(Value::Empty));
        let told = house.user_events(ann);
        assert!(
            matches!(&told[..], [UserEvent::InviteDeclined { invite, .. }] if *invite == second),
            "{told:?}"
        );

        let third = id(&house.invite(ann, at.slot, &["ben"], 5)[0]);
        house.user_events(ben);
        house.pass(Duration::from_secs(5));
        assert_eq!(house.user_events(ben), [UserEvent::InviteExpired { invite: third, user: None }]);
        let told = house.user_events(ann);
        assert!(matches!(&told[..], [UserEvent::InviteExpired { user: Some(_), .. }]), "{told:?}");
        let late = house.ask(ben, None, Request::Join(Join::Invite(third)));
        assert_eq!(late, Err(ErrorCode::InviteExpired));
    });
}

#[test]
fn the_end_of_a_session_revokes_its_invites() {
    with_any_workers(|house| {
        let (ann, ben) = (house.connect("ann", 0), house.connect("ben", 1));
        let at = house.create(ann, 2, Admission::Invited);
        house.invite(ann, at.slot, &["ben", "zoe"], 60);
        house.user_events(ben);
        house.hang_up(ann);
        house.pass(Duration::from_millis(1));
        let told = house.user_events(ben);
        assert!(matches!(told[..], [UserEvent::InviteRevoked { .. }]), "{told:?}");
        house.hang_up(ben);
        assert!(house.shared.directory.is_empty(), "nothing is left of anyone");
    });
}

/// Even if nothing has noticed it before the session ended.
// spec-test: EVT-11
#[test]
fn an_invite_whose_own_time_is_over_has_expired_when_its_session_ends() {
    let mut house = House::new(1, Limits::default());
    let (ann, ben) = (house.connect("ann", 0), house.connect("ben", 0));
    let at = house.create(ann, 2, Admission::Invited);
    let number = house.invite(ann, at.slot, &["ben"], 1)[0].unwrap();
    house.user_events(ben);
    house.now.mono += Duration::from_secs(1);
    house.send(ann, Some(at.slot), Request::Delete(Delete { reason: Reason::none() }));
    house.run_socket(ann);
    house.run();
    let invite = InviteId { session: at.session, number };
    assert_eq!(house.user_events(ben), [UserEvent::InviteExpired { invite, user: None }]);
}

// spec-test: LIM-1, SES-9
#[test]
fn a_session_counts_for_its_user_until_it_has_ended() {
    with_any_workers(|house| {
        let ann = house.connect("ann", 0);
        let most = house.shared.limits.sessions_per_user;
        let slots: Vec<Slot> = (0..most).map(|_| house.create(ann, 1, Admission::Invited).slot).collect();
        assert_eq!(house.ask(ann, None, create(1, Admission::Invited)), Err(ErrorCode::TooManySessions));
        let nowhere = house.join_open(ann, SessionId(1));
        assert_eq!(nowhere, Err(ErrorCode::TooManySessions), "before it is looked for");
        house.ask(ann, Some(slots[0]), Request::Leave).unwrap();
        house.create(ann, 1, Admission::Invited);
    });
}
