//! Checks that it is noticed when an empty session lasts too long or not long enough.

use super::super::idle::Known;
use super::*;

/// Returns the issues when bob asks at the given time to join the session, which is kept for a minute, and is
/// answered 50 ms later. Ann, its only member, has asked for something at 500 and was told at 1 s that she
/// has left.
fn issues_of(asked_at: u64, answer: Result<Value, RequestError>, intents: &Intents) -> Vec<String> {
    let (mut idle, mut logs, mut issues) = (Idle::default(), Logs::default(), Issues::default());
    let mut scene = Scene::new();
    let anns = mirror(1, 3, &[(1, "ann")]);
    scene.tell(100, ANN, &entered(anns.clone()));
    scene.ask(ANN, [500, 600], Request::Leave, Ok(Value::Empty));
    logs.state(&anns, &mut issues);
    let Event::MemberLeft { slot, number, member, user, why, reason, .. } =
        left(3, 1, "ann", LeaveReason::Left)
    else {
        unreachable!()
    };
    let seat = Seat { session: SESSION, member: MINE.member };
    let own = Event::MemberLeft { slot, number, member, user, is_own: true, why, reason };
    idle.event(at(1_000), seat, &own);
    let bobs = Seat { member: MemberId(3), ..SEAT };
    idle.event(at(asked_at + 50), bobs, &entered(mirror(3, 5, &[(3, "bob")])));
    idle.answered(at(asked_at + 50), BOB, &asked(asked_at, join_by_invite()), &answer);
    let ends = Ends::default();
    let known = Known {
        lives: &scene.lives,
        seats: &[(seat, ANN)].into(),
        logs: &logs,
        book: &scene.book,
        intents,
        ends: &ends,
    };
    idle.finish(&known, &mut issues);
    issues.lines
}

#[test]
fn who_enters_a_session_that_was_empty_for_too_long_is_noticed() {
    assert_eq!(issues_of(61_010, is_in(), &Intents::default()), [""; 0]);
    assert_noticed(&issues_of(61_011, is_in(), &Intents::default()), "but empty since");
}

#[test]
fn an_empty_session_that_is_gone_too_early_is_noticed() {
    let gone = || refused(ErrorCode::NoSuchSession);
    assert_eq!(issues_of(60_440, gone(), &Intents::default()), [""; 0]);
    assert_noticed(&issues_of(60_439, gone(), &Intents::default()), "which lasts until");
    let mut deletes = Intents::default();
    let delete = crate::wire::command::Delete { reason: Reason::none() };
    deletes.asked(Some(MINE), &Request::Delete(delete));
    assert_eq!(issues_of(60_439, gone(), &deletes), [""; 0], "ann may have ended it");
}
