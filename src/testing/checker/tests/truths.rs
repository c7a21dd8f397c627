//! Checks that a false result is detected.

use super::*;
use crate::wire::command::{Delete, Kick, Revoke, Transfer};
use crate::wire::{DeleteReason, InviteTtl, PropertyOp, PropertyOps};

const OWNER: u32 = 1;
const OTHER: u32 = 2;

/// Returns the issues when the member `you` of a session of ann, its owner, and ben gets `outcome` as the
/// answer to `request`.
fn issues_of(you: u32, request: Request, outcome: Result<Value, RequestError>) -> Vec<String> {
    let (mut truths, mut issues) = (Truths::default(), Issues::default());
    truths.event(Life(1), &entered(mirror(you, 3, &[(OWNER, "ann"), (OTHER, "ben")])), false, &mut issues);
    let seat = Some(Mine { member: MemberId(you), ..MINE });
    let asked = Asked { request, at: Timestamp::ZERO, seat };
    truths.answered(Life(1), &asked, &outcome, false, &mut issues);
    issues.lines
}

fn kick(member: u32) -> Request {
    Request::Kick(Kick { member: MemberId(member), reason: Reason::none() })
}

fn transfer(member: u32) -> Request {
    Request::Transfer(Transfer { member: MemberId(member) })
}

fn invite(hold_seat: bool) -> Request {
    let users = InvitedUsers::new(vec![user("ben"), user("cat")]).unwrap();
    Request::Invite(Invite { users, ttl: InviteTtl::new(9).unwrap(), hold_seat, note: Note::none() })
}

fn set(op: PropertyOp) -> Request {
    Request::SetProperties(PropertyOps::new(vec![op]).unwrap())
}

fn key() -> PropertyKey {
    PropertyKey::new("k").unwrap()
}

fn expecting(expected: Option<PropertyValue>) -> Request {
    set(PropertyOp::CompareAndSet { key: key(), expected, value: None, rule: None })
}

fn done() -> Result<Value, RequestError> {
    Ok(Value::Empty)
}

#[test]
fn a_result_that_is_not_true_of_the_session_is_noticed() {
    use ErrorCode::*;
    let delete = || Request::Delete(Delete { reason: Reason::none() });
    let revoke = || Request::Revoke(Revoke { number: 1 });
    let count = || set(PropertyOp::Increment { key: key(), delta: 1 });
    let answers = |ben, cat| Ok(Value::Invited(vec![ben, cat]));
    let one = || Some(PropertyValue::Integer(1));
    let revision = |number| Ok(Value::Revision(Revision(number)));
    let cases = [
        (true, OTHER, kick(OWNER), refused(NotOwner)),
        (false, OWNER, kick(OTHER), refused(NotOwner)),
        (false, OTHER, kick(9), done()),
        (false, OTHER, kick(9), refused(NoSuchMember)),
        (true, OWNER, kick(9), done()),
        (false, OWNER, kick(OTHER), done()),
        (true, OWNER, kick(9), refused(NoSuchMember)),
        (false, OWNER, kick(OTHER), refused(NoSuchMember)),
        (true, OWNER, kick(OWNER), refused(InvalidTarget)),
        (false, OWNER, kick(OTHER), refused(InvalidTarget)),
        (false, OWNER, kick(OTHER), refused(NoSuchInvite)),
        (true, OTHER, transfer(OWNER), done()),
        (false, OWNER, transfer(OTHER), done()),
        (true, OWNER, transfer(9), refused(NoSuchMember)),
        (false, OWNER, transfer(OTHER), refused(NoSuchMember)),
        (true, OWNER, delete(), done()),
        (false, OTHER, delete(), done()),
        (true, OWNER, revoke(), refused(InviteUsed)),
        (false, OTHER, revoke(), refused(InviteUsed)),
        (false, OWNER, revoke(), refused(NoSuchMember)),
        (true, OTHER, Request::Leave, done()),
        (false, OTHER, Request::Leave, refused(NotOwner)),
        (false, OTHER, Request::Leave, refused(NotAMember)),
        (true, OWNER, invite(false), answers(Err(AlreadyMember), Ok(1))),
        (false, OWNER, invite(false), answers(Ok(1), Ok(2))),
        (false, OWNER, invite(false), answers(Err(AlreadyMember), Err(AlreadyMember))),
        (true, OWNER, invite(true), answers(Err(AlreadyMember), Err(SessionFull))),
        (false, OWNER, invite(false), answers(Err(AlreadyMember), Err(SessionFull))),
        (false, OWNER, invite(false), answers(Err(AlreadyMember), Err(TooManyInvites))),
        (true, OTHER, count(), revision(0)),
        (false, OTHER, count(), revision(1)),
        (false, OTHER, count(), refused(PropertyMismatch)),
        (false, OTHER, count(), refused(PropertyOverflow)),
        (true, OTHER, count(), refused(NoSuchProperty)),
        (false, OTHER, expecting(one()), refused(NoSuchProperty)),
        (true, OTHER, expecting(one()), refused(PropertyMismatch)),
        (false, OTHER, expecting(None), refused(PropertyMismatch)),
        (false, OTHER, count(), refused(RateLimited)),
        (false, OTHER, count(), refused(Busy)),
        (false, OTHER, count(), refused(Malformed)),
        (true, OTHER, count(), Err(RequestError::OutcomeUnknown)),
    ];
    for (is_true, you, request, outcome) in cases {
        let case = format!("{you} {request:?} {outcome:?}");
        assert_eq!(issues_of(you, request, outcome).is_empty(), is_true, "{case}");
    }
}

#[test]
fn results_follow_the_events_before_them() {
    let (mut truths, mut issues) = (Truths::default(), Issues::default());
    let mut told = |event: &Event| {
        truths.event(Life(1), event, false, &mut issues);
        let asked = Asked { request: kick(OTHER), at: Timestamp::ZERO, seat: Some(MINE) };
        let mut judged = |outcome| {
            let mut issues = Issues::default();
            truths.answered(Life(1), &asked, &outcome, false, &mut issues);
            issues.lines.is_empty()
        };
        [judged(done()), judged(refused(ErrorCode::NoSuchMember)), judged(refused(ErrorCode::NotAMember))]
    };
    assert_eq!(told(&entered(mirror(OWNER, 3, &[(OWNER, "ann"), (OTHER, "ben")]))), [false; 3]);
    assert_eq!(told(&left(3, OTHER, "ben", LeaveReason::Kicked)), [true, true, false]);
    let deleted = Event::SessionDeleted {
        slot: Slot(1),
        number: EventNumber(4),
        why: DeleteReason::Deleted,
        reason: Reason::none(),
    };
    assert_eq!(told(&deleted), [false, false, true]);
    assert_eq!(issues.lines, [""; 0]);
    // A client that cannot follow an event is also an issue.
    truths.event(Life(2), &entered(mirror(OWNER, 3, &[(OWNER, "ann")])), false, &mut issues);
    truths.event(Life(2), &owns(9, OWNER), false, &mut issues);
    assert_noticed(&issues.lines, "cannot follow");
}

#[test]
fn an_entry_that_is_refused_for_what_is_not_so_is_noticed() {
    use ErrorCode::*;
    let join = || Request::Join(Join::Session(SESSION));
    let by_invite = || Request::Join(Join::Invite(InviteId { session: SESSION, number: 1 }));
    let there = mirror(OWNER, 3, &[(OWNER, "ann")]);
    // The first life is in a session for invited users; the second life receives `outcome`.
    let issues_of = |request, outcome: Result<Value, RequestError>| {
        let (mut truths, mut issues) = (Truths::default(), Issues::default());
        truths.event(Life(1), &entered(there.clone()), false, &mut issues);
        let asked = Asked { request, at: Timestamp::ZERO, seat: None };
        truths.answered(Life(2), &asked, &outcome, false, &mut issues);
        let living = [(Life(1), user("ann"), vec![&there]), (Life(2), user("ben"), vec![])];
        let mut lives = Lives::default();
        lives.born(Life(1), user("ann"));
        lives.born(Life(2), user("ben"));
        truths.finish(&living, &lives, &[(SEAT, Life(1))].into(), &InviteBook::default(), &mut issues);
        issues.lines
    };
    for (request, code) in [(join(), SessionNotOpen), (join(), SessionFull), (by_invite(), InviteUsed)] {
        assert_eq!(issues_of(request, refused(code)), [""; 0]);
    }
    assert_noticed(&issues_of(join(), refused(NoSuchSession)), "told to be gone");
    assert_noticed(&issues_of(join(), refused(AlreadyMember)), "never entered");
    for (request, code) in [
        (join(), InviteUsed),
        (join(), NotOwner),
        (by_invite(), SessionNotOpen),
        (by_invite(), RateLimited),
        (Request::Info(SESSION), NotOwner),
        (Request::ListMine, NoSuchSession),
    ] {
        assert_noticed(&issues_of(request, refused(code)), "was answered");
    }
}

#[test]
fn a_session_may_be_gone_for_who_would_end_it_by_coming_again() {
    let issues_of = |older: &str| {
        let (mut truths, mut issues, mut lives) = (Truths::default(), Issues::default(), Lives::default());
        for (life, name) in [(1, older), (2, "ann"), (3, "ben")] {
            lives.born(Life(life), user(name));
        }
        let request = Request::Join(Join::Session(SESSION));
        let asked = Asked { request, at: Timestamp::ZERO, seat: None };
        truths.answered(Life(2), &asked, &refused(ErrorCode::NoSuchSession), false, &mut issues);
        let there = mirror(3, 3, &[(3, "ben")]);
        let living = [(Life(3), user("ben"), vec![&there])];
        truths.finish(&living, &lives, &[(SEAT, Life(1))].into(), &InviteBook::default(), &mut issues);
        issues.lines
    };
    assert_eq!(issues_of("ann"), [""; 0]);
    assert_noticed(&issues_of("cat"), "told to be gone");
}

#[test]
fn a_session_that_goes_on_after_somebody_was_told_that_it_is_gone_is_noticed() {
    let issues_of = |told: u64| {
        let (mut truths, mut scene) = (Truths::default(), Scene::new());
        let mut issues = Issues { now: at(told), ..Issues::default() };
        let asked = asked(told - 50, Request::Join(Join::Session(SESSION)));
        truths.answered(BOB, &asked, &refused(ErrorCode::NoSuchSession), false, &mut issues);
        // Ann's command is carried out between 500 and 600.
        scene.ask(ANN, [500, 600], revoke(), Ok(Value::Empty));
        truths.finish(&[], &scene.lives, &BTreeMap::new(), &scene.book, &mut issues);
        issues.lines
    };
    assert_eq!(issues_of(500), [""; 0], "it may have ended after her command");
    assert_noticed(&issues_of(499), "is gone, but it went on");
}

#[test]
fn a_message_that_is_refused_without_a_cause_is_noticed() {
    let issues_of = |code, is_full| {
        let (mut truths, mut issues) = (Truths::default(), Issues::default());
        let refused = Event::Refused { slot: Slot(1), counter: 0, code };
        truths.event(Life(1), &refused, is_full, &mut issues);
        issues.lines
    };
    assert_eq!(issues_of(ErrorCode::NoSuchMember, false), [""; 0]);
    assert_eq!(issues_of(ErrorCode::RateLimited, true), [""; 0]);
    assert_noticed(&issues_of(ErrorCode::RateLimited, false), "was refused");
    assert_noticed(&issues_of(ErrorCode::Malformed, true), "was refused");
}
