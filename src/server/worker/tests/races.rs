//! Races: turns of several workers at the same time, under many orders in which they take the locks that they
//! share: stripes of the session table, stripes of the user directory, mailboxes.
//!
//! A command on sessions and users locks them one after the other, so that other workers come between. Each
//! test also checks that every outcome that it allows has occurred.

use super::Limits;
use super::house::{House, Who, invite};
use crate::base::sync::model;
use crate::base::{InviteId, MemberId, SessionId, UserId};
use crate::wire::command::{Join, Revoke};
use crate::wire::result::Entered;
use crate::wire::{
    Admission, CloseCode, ErrorCode, LeaveReason, Reason, Request, SessionEvent, UserEvent, Value,
};

/// Runs `race` in a house of three workers under many schedules; its outcomes must be exactly `outcomes`.
fn check_outcomes(
    limits: Limits,
    outcomes: &[&str],
    race: impl Fn(&mut House) -> &'static str + Send + Sync + 'static,
) {
    let seen = model::outcomes(outcomes.len(), move || race(&mut House::new(3, limits.clone())));
    assert_eq!(seen, outcomes.iter().copied().collect());
}

/// Members stay on the workers that their datagrams reach.
fn apart() -> Limits {
    Limits { gathered_seats: 0, ..Limits::default() }
}

fn live(house: &House, user: &str) -> bool {
    house.shared.directory.live(&UserId::new(user).unwrap()).is_some()
}

fn open_invites(house: &House, user: &str) -> usize {
    house.shared.directory.invites(&UserId::new(user).unwrap()).len()
}

fn join(session: SessionId) -> Request {
    Request::Join(Join::Session(session))
}

fn members(house: &House, session: SessionId) -> Vec<MemberId> {
    let members = house.shared.sessions.members(session).unwrap_or_default();
    members.iter().map(|member| member.id).collect()
}

/// Returns the members that an event added and removed.
fn comings_and_goings(events: &[SessionEvent]) -> Vec<String> {
    let tell = |event: &SessionEvent| match event {
        SessionEvent::MemberJoined { member, .. } => Some(format!("+{}", member.0)),
        SessionEvent::MemberLeft { member, .. } => Some(format!("-{}", member.0)),
        _ => None,
    };
    events.iter().filter_map(tell).collect()
}

/// Creates a session by invite that ends on worker 1, whose owner is on worker 0.
fn operated_by_1(house: &mut House, ann: Who) -> Entered {
    for _ in 0..100 {
        let at = house.create(ann, 8, Admission::Invited);
        if at.session.0 % 3 == 1 {
            return at;
        }
        house.ask(ann, Some(at.slot), Request::Leave).unwrap();
    }
    panic!("no id in a hundred is for worker 1")
}

// spec-test: INV-6
#[test]
fn an_invite_beside_the_end_of_its_session_is_refused_or_revoked() {
    check_outcomes(apart(), &["refused", "revoked", "never told"], |house| {
        let (ann, ben) = (house.connect("ann", 0), house.connect("ben", 2));
        let at = operated_by_1(house, ann);
        house.user_events(ben);
        let asked = house.send(ann, Some(at.slot), invite(&["ben"], 60));
        assert!(house.shared.close_session(at.session, Reason::none()));
        house.race(&[ann]);
        house.run();
        assert_eq!((members(house, at.session), open_invites(house, "ben")), (vec![], 0));
        assert_eq!(house.shared.directory.len(), 2, "nothing is left of the invite");
        let told = house.user_events(ben);
        if house.answered_on(ann, asked).is_none() {
            // spec: CMD-5
            assert!(matches!(
                house.events(ann, at.slot)[..],
                [SessionEvent::Snapshot(_), SessionEvent::SessionDeleted { .. }]
            ));
            assert_eq!(told, []);
            return "refused";
        }
        match (house.answer(ann, asked), &told[..]) {
            (Ok(Value::Invited(answers)), []) if answers[0].is_ok() => "never told",
            (
                Ok(Value::Invited(answers)),
                [UserEvent::Invited(invitation), UserEvent::InviteRevoked { invite }],
            ) if answers[0].is_ok() && invitation.invite == *invite => "revoked",
            other => panic!("{other:?}"),
        }
    });
}

// spec-test: INV-6
#[test]
fn an_invite_that_is_revoked_while_its_user_joins_admits_or_is_revoked() {
    check_outcomes(apart(), &["admitted", "revoked"], |house| {
        let (ann, ben) = (house.connect("ann", 0), house.connect("ben", 1));
        let at = house.create(ann, 2, Admission::Invited);
        let number = house.invite(ann, at.slot, &["ben"], 60)[0].unwrap();
        house.user_events(ben);
        let revoke = house.send(ann, Some(at.slot), Request::Revoke(Revoke { number }));
        let id = InviteId { session: at.session, number };
        let join = house.send(ben, None, Request::Join(Join::Invite(id)));
        house.race(&[ann, ben]);
        house.run();
        assert_eq!(open_invites(house, "ben"), 0);
        match (house.answer(ann, revoke), house.answer(ben, join), &house.user_events(ben)[..]) {
            (Err(ErrorCode::InviteUsed), Ok(Value::Entered(_)), []) => "admitted",
            (Ok(_), Err(ErrorCode::InviteRevoked), [UserEvent::InviteRevoked { invite }])
                if *invite == id =>
            {
                "revoked"
            }
            other => panic!("{other:?}"),
        }
    });
}

/// The last member leaves, and another enters.
#[test]
fn a_session_that_its_last_member_leaves_is_joined_before_or_is_gone() {
    check_outcomes(apart(), &["joined", "gone"], |house| {
        let (ann, ben) = (house.connect("ann", 0), house.connect("ben", 1));
        let at = house.create(ann, 2, Admission::Open);
        let leave = house.send(ann, Some(at.slot), Request::Leave);
        let asked = house.send(ben, None, join(at.session));
        house.race(&[ann, ben]);
        house.run();
        assert!(house.answer(ann, leave).is_ok());
        match (house.answer(ben, asked), members(house, at.session).len()) {
            (Ok(Value::Entered(entered)), 1) => {
                let told = house.events(ben, entered.slot);
                let [
                    SessionEvent::Snapshot(snapshot),
                    SessionEvent::MemberLeft { why: LeaveReason::Left, .. },
                    SessionEvent::OwnerChanged { owner, .. },
                ] = &told[..]
                else {
                    panic!("{told:?}")
                };
                assert_eq!((snapshot.members.len(), *owner), (2, entered.member));
                "joined"
            }
            (Err(ErrorCode::NoSuchSession), 0) => "gone",
            other => panic!("{other:?}"),
        }
    });
}

/// A user comes back on another worker and joins again, while its old connection is still a member.
fn come_back(house: &mut House, old_hangs_up: bool) -> &'static str {
    let (ann, old) = (house.connect("ann", 0), house.connect("ben", 1));
    let at = house.create(ann, 3, Admission::Open);
    let before = house.join_open(old, at.session).unwrap().member;
    house.events(ann, at.slot);
    let [new] = house.dial_up([("ben", 2)]);
    let asked = house.send(new, None, join(at.session));
    if old_hangs_up {
        house.begin_hang_up(old);
    }
    house.race(&[old, new]);
    house.run();
    let Ok(Value::Entered(entered)) = house.answer(new, asked) else { panic!("not admitted") };
    assert_eq!(members(house, at.session), [MemberId(1), entered.member]);
    assert!(live(house, "ben"));
    assert_eq!(house.shared.totals().connections, 2);
    let told = house.events(ann, at.slot);
    let [SessionEvent::MemberLeft { member, why, .. }, SessionEvent::MemberJoined { .. }] = &told[..] else {
        panic!("{told:?}")
    };
    assert_eq!(*member, before);
    assert!(matches!(house.ask(new, None, Request::ListMine), Ok(Value::Sessions(mine)) if mine.len() == 1));
    why.name()
}

// spec-test: HSK-15, SES-15
#[test]
fn who_comes_back_while_the_old_connection_closes_is_one_member() {
    check_outcomes(apart(), &["left", "replaced"], |house| come_back(house, true));
}

// spec-test: HSK-15
#[test]
fn who_comes_back_beside_the_old_connection_is_one_member() {
    check_outcomes(apart(), &["replaced"], |house| come_back(house, false));
}

// spec-test: HSK-15
#[test]
fn of_two_first_connections_of_a_user_the_later_stays() {
    check_outcomes(apart(), &["the first stays", "the second stays"], |house| {
        let [first, second] = house.dial_up([("ben", 0), ("ben", 1)]);
        house.race(&[first, second]);
        house.run();
        let totals = house.shared.totals();
        assert_eq!(
            (totals.connections, totals.connections_replaced, house.shared.directory.users()),
            (1, 1, 1)
        );
        match [first, second].map(|who| house.closed_with(who)) {
            [None, Some(CloseCode::Replaced)] => "the first stays",
            [Some(CloseCode::Replaced), None] => "the second stays",
            other => panic!("{other:?}"),
        }
    });
}

// spec-test: LIM-5
#[test]
fn of_two_users_one_gets_the_last_place() {
    let limits = Limits { max_connections: 1, ..apart() };
    check_outcomes(limits, &["ann", "ben"], |house| {
        let [ann, ben] = house.dial_up([("ann", 0), ("ben", 1)]);
        house.race(&[ann, ben]);
        house.run();
        assert_eq!(house.shared.totals().connections, 1);
        match [ann, ben].map(|who| house.closed_with(who)) {
            [None, Some(CloseCode::Full)] => "ann",
            [Some(CloseCode::Full), None] => "ben",
            other => panic!("{other:?}"),
        }
    });
}

// spec-test: INV-7
#[test]
fn of_two_invites_one_gets_the_last_place_of_its_user() {
    let limits = Limits { invites_per_user: 1, ..apart() };
    check_outcomes(limits, &["ann's", "ben's"], |house| {
        let [ann, ben] = [("ann", 0), ("ben", 1)].map(|(user, worker)| house.connect(user, worker));
        let cat = house.connect("cat", 2);
        let slots = [ann, ben].map(|who| (who, house.create(who, 2, Admission::Invited).slot));
        let asked = slots.map(|(who, slot)| house.send(who, Some(slot), invite(&["cat"], 60)));
        house.race(&[ann, ben]);
        house.run();
        assert_eq!((open_invites(house, "cat"), house.user_events(cat).len()), (1, 1));
        let answers = [(ann, asked[0]), (ben, asked[1])].map(|(who, id)| match house.answer(who, id) {
            Ok(Value::Invited(answers)) => answers[0],
            other => panic!("{other:?}"),
        });
        match answers {
            [Ok(_), Err(ErrorCode::TooManyInvites)] => "ann's",
            [Err(ErrorCode::TooManyInvites), Ok(_)] => "ben's",
            other => panic!("{other:?}"),
        }
    });
}

/// A user is on the way to the worker of a session's members when the operator ends its connection.
#[test]
fn a_kick_reaches_a_user_that_moves() {
    check_outcomes(Limits::default(), &["kicked"], |house| {
        let (ann, ben) = (house.connect("ann", 0), house.connect("ben", 1));
        let at = house.create(ann, 2, Admission::Open);
        house.send(ben, None, join(at.session));
        assert!(house.shared.kick(&UserId::new("ben").unwrap(), Reason::none()));
        house.race(&[ann, ben]);
        house.run();
        assert_eq!(house.closed_with(ben), Some(CloseCode::KickedByOperator));
        assert!(!live(house, "ben"));
        assert_eq!(members(house, at.session).len(), 1);
        assert_eq!(house.shared.totals().connections, 1);
        // Its worker handles datagrams before mail.
        assert_eq!(comings_and_goings(&house.events(ann, at.slot)), ["+2", "-2"]);
        "kicked"
    });
}
