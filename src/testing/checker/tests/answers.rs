//! Checks that missing and wrong answers are detected.

use super::*;

#[test]
fn a_command_answered_twice_or_never_is_noticed() {
    let (mut answers, mut issues) = (Answers::default(), Issues::default());
    answers.asked(Life(1), RequestId(1), Timestamp::ZERO, None, &Request::ListMine, &mut issues);
    answers.asked(Life(1), RequestId(2), Timestamp::ZERO, None, &Request::ListMine, &mut issues);
    answers.answered(Life(1), RequestId(1), &Ok(Value::Empty), &mut issues);
    assert_eq!(issues.lines, [""; 0]);
    answers.answered(Life(1), RequestId(1), &Ok(Value::Empty), &mut issues);
    answers.finish(&BTreeMap::new(), &BTreeMap::new(), &Intents::default(), std::iter::empty(), &mut issues);
    assert_eq!(issues.lines.len(), 2);
}

#[test]
fn a_revision_that_two_are_told_is_theirs_is_noticed() {
    let revision = Ok(Value::Revision(Revision(4)));
    let mine = |member| Some(Mine { member: MemberId(member), ..MINE });
    let issues_of = |members: &[u32], seen_of: u32| {
        let (mut answers, mut issues) = (Answers::default(), Issues::default());
        for (member, id) in members.iter().zip(1..) {
            let (life, id) = (Life(*member), RequestId(id));
            answers.asked(life, id, Timestamp::ZERO, mine(*member), &Request::ListMine, &mut issues);
            answers.answered(life, id, &revision, &mut issues);
        }
        let seen = (SESSION, Revision(4), MemberId(seen_of));
        let seats = [(Seat { session: SESSION, member: MemberId(1) }, Life(1))];
        answers.finish(
            &seats.into(),
            &BTreeMap::new(),
            &Intents::default(),
            std::iter::once(seen),
            &mut issues,
        );
        issues.lines
    };
    assert_eq!(issues_of(&[1], 1), [""; 0]);
    assert_noticed(&issues_of(&[2, 1], 1), "both made revision 4");
    assert_noticed(&issues_of(&[1], 2), "1 was told, 2 seen");
    assert_noticed(&issues_of(&[], 1), "was not told of its revision 4");
}

#[test]
fn a_connection_that_ends_with_open_commands_is_noticed() {
    let (mut answers, mut issues) = (Answers::default(), Issues::default());
    for id in [1, 1] {
        answers.asked(Life(1), RequestId(id), Timestamp::ZERO, None, &Request::ListMine, &mut issues);
    }
    assert_noticed(&issues.lines, "while it was open");
    answers.ended(Life(1), &mut issues);
    assert_noticed(&issues.lines[1..], "ended without an answer");
    answers.ended(Life(1), &mut issues);
    assert_eq!(issues.lines.len(), 2, "they are forgotten");
}
