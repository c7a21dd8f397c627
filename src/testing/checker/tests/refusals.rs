//! Checks that it is noticed when a refused command has changed something.

use super::super::intents::Effect;
use super::*;
use crate::wire::command::{Delete, Kick, Transfer};
use crate::wire::{DeleteReason, PropertyOp, PropertyOps};

/// The outcomes of a command that may have been carried out.
fn possible() -> [Result<Value, RequestError>; 2] {
    [Ok(Value::Empty), Err(RequestError::OutcomeUnknown)]
}

/// Returns what was asked at [`MINE`], after the answer.
fn intents(request: &Request, outcome: &Result<Value, RequestError>) -> Intents {
    let mut intents = Intents::default();
    intents.asked(Some(MINE), request);
    intents.answered(Some(MINE), request, outcome);
    intents
}

#[test]
fn a_member_that_is_removed_by_a_refused_command_is_noticed() {
    let own = Seat { session: SESSION, member: MINE.member };
    let kick = Request::Kick(Kick { member: SEAT.member, reason: Reason::none() });
    for (request, seat, why) in [(Request::Leave, own, LeaveReason::Left), (kick, SEAT, LeaveReason::Kicked)]
    {
        let issues_of = |outcome| {
            let (mut ends, mut issues, mut lives) = (Ends::default(), Issues::default(), Lives::default());
            lives.born(Life(1), user("ann"));
            ends.event(SESSION, &left(3, seat.member.0, "ann", why), &mut issues);
            let intents = intents(&request, &outcome);
            ends.finish(&[], &lives, &intents, &[(seat, Life(1))].into(), &mut issues);
            issues.lines
        };
        for outcome in possible() {
            assert_eq!(issues_of(outcome), [""; 0]);
        }
        assert_noticed(&issues_of(refused(ErrorCode::RateLimited)), "is told to have left");
    }
}

#[test]
fn a_session_that_a_refused_command_has_ended_is_noticed() {
    let delete = Request::Delete(Delete { reason: Reason::none() });
    let issues_of = |outcome| {
        let (mut ends, mut issues) = (Ends::default(), Issues::default());
        let (number, why, reason) = (EventNumber(3), DeleteReason::Deleted, Reason::none());
        ends.event(SESSION, &Event::SessionDeleted { slot: Slot(1), number, why, reason }, &mut issues);
        ends.finish(&[], &Lives::default(), &intents(&delete, &outcome), &BTreeMap::new(), &mut issues);
        issues.lines
    };
    for outcome in possible() {
        assert_eq!(issues_of(outcome), [""; 0]);
    }
    assert_noticed(&issues_of(refused(ErrorCode::Busy)), "did not ask for it");
}

#[test]
fn an_owner_by_a_refused_transfer_is_noticed() {
    let issues_of = |outcome| {
        let (mut logs, mut issues) = (Logs::default(), Issues::default());
        let there = mirror(1, 3, &[(1, "ann"), (2, "bob")]);
        logs.event(SESSION, MemberId(1), &entered(there), &mut issues);
        logs.event(SESSION, MemberId(1), &owns(3, 2), &mut issues);
        let transfer = Request::Transfer(Transfer { member: MemberId(2) });
        logs.finish(&[], &intents(&transfer, &outcome), &mut issues);
        issues.lines
    };
    for outcome in possible() {
        assert_eq!(issues_of(outcome), [""; 0]);
    }
    assert_noticed(&issues_of(refused(ErrorCode::RateLimited)), "2 owns after 1");
}

#[test]
fn a_revision_by_a_refused_command_is_noticed_also_of_a_member_that_has_left() {
    let ops = PropertyOps::new(vec![PropertyOp::Delete { key: PropertyKey::new("k").unwrap() }]).unwrap();
    let issues_of = |outcome: Result<Value, RequestError>| {
        let (answers, mut issues) = (Answers::default(), Issues::default());
        let own = Seat { session: SESSION, member: MINE.member };
        let seen = (SESSION, Revision(4), MINE.member);
        let intents = intents(&Request::SetProperties(ops.clone()), &outcome);
        let seats = [(own, Life(1))].into();
        answers.finish(&BTreeMap::new(), &seats, &intents, std::iter::once(seen), &mut issues);
        issues.lines
    };
    assert_eq!(issues_of(Err(RequestError::OutcomeUnknown)), [""; 0]);
    assert_noticed(&issues_of(refused(ErrorCode::Busy)), "made 1 revisions unanswered, asked 0");
    let of_another = issues_of(Ok(Value::Revision(Revision(3))));
    assert_noticed(&of_another, "made 1 revisions unanswered, asked 0");
}

#[test]
fn who_is_in_a_session_by_a_refused_command_is_noticed() {
    let there = mirror(1, 3, &[(1, "ann")]);
    let issues_of = |is_admitted| {
        let (mut memberships, mut issues) = (Memberships::default(), Issues::default());
        memberships.event(Life(1), &entered(there.clone()), &mut issues);
        if is_admitted {
            memberships.admitted(Life(1), Seat { session: SESSION, member: MemberId(1) }, &mut issues);
        }
        memberships.finish(&[(Life(1), user("ann"), vec![&there])], &mut issues);
        issues.lines
    };
    assert_eq!(issues_of(true), [""; 0]);
    assert_noticed(&issues_of(false), "was never admitted");
}

#[test]
fn a_command_without_an_answer_at_a_connection_that_goes_on_is_noticed() {
    let now = Timestamp::from_millis(1);
    // The life asks twice and gets these outcomes.
    let issues_of = |outcomes: [Result<Value, RequestError>; 2]| {
        let mut checker = Checker::default();
        checker.born(Life(1), user("ann"));
        for (number, outcome) in (1..).zip(&outcomes) {
            checker.asked(now, Life(1), RequestId(number), None, &Request::ListMine);
            checker.result(now, Life(1), RequestId(number), outcome);
        }
        checker.finish(now, &[]);
        checker.issues.lines
    };
    let (unknown, listed) = (Err(RequestError::OutcomeUnknown), Ok(Value::Sessions(Vec::new())));
    assert_eq!(issues_of([listed.clone(), listed.clone()]), [""; 0]);
    assert_noticed(&issues_of([listed.clone(), unknown.clone()]), "and never of its end");
    let goes_on = issues_of([unknown, listed.clone()]);
    assert!(goes_on.len() == 2 && goes_on[0].contains("after its connection had ended"), "{goes_on:?}");
    assert_noticed(&issues_of([listed, Err(RequestError::WouldBlock)]), "which it sent");
}

#[test]
fn only_a_stranger_may_have_done_what_nobody_asked_for_and_only_in_a_session_of_its_own() {
    let mut intents = Intents::default();
    let [own, of_stranger] = [SESSION, SessionId(SESSION.0 + 1)];
    let settings = *mirror(1, 2, &[(1, "ann")]).settings();
    let create = Request::Create(Create { settings, properties: InitialProperties::default() });
    intents.answered(None, &create, &is_in());
    assert!(!intents.may(Effect::Ends(of_stranger, Reason::none())));
    intents.strange(MINE, &Request::ListMine);
    let ends = |session| Effect::Ends(session, Reason::none());
    assert!(intents.may(ends(of_stranger)) && !intents.may(ends(own)));
}
