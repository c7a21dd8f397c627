//! Checks that wrong entries and memberships are detected.

use super::*;

#[test]
fn a_gap_and_news_after_the_end_are_noticed() {
    let entered = entered(mirror(2, 2, &[(2, "ann")]));
    let receipt = |number| Event::Receipt { slot: Slot(1), number: EventNumber(number) };
    let (mut memberships, mut issues) = (Memberships::default(), Issues::default());
    for event in [&entered, &receipt(2), &receipt(3)] {
        memberships.event(Life(1), event, &mut issues);
    }
    assert_eq!(issues.lines, [""; 0]);
    memberships.event(Life(1), &receipt(5), &mut issues);
    assert!(issues.lines[0].contains("instead of 4"));
    memberships.end_life(Life(1));
    memberships.event(Life(1), &receipt(6), &mut issues);
    assert!(issues.lines[1].contains("in no session"));
}

#[test]
fn what_is_entered_must_be_what_is_shown_and_what_was_admitted() {
    let (mut memberships, mut issues) = (Memberships::default(), Issues::default());
    let Event::Entered { slot, session, next, mirror, .. } = entered(mirror(2, 2, &[(2, "ann")])) else {
        unreachable!()
    };
    let other = Event::Entered { slot, session, member: MemberId(3), next, mirror };
    memberships.event(Life(1), &other, &mut issues);
    assert_noticed(&issues.lines, "as what it entered");
    memberships.admitted(Life(1), Seat { member: MemberId(3), ..SEAT }, &mut issues);
    assert_eq!(issues.lines.len(), 1, "that is its seat");
    memberships.admitted(Life(1), SEAT, &mut issues);
    assert_noticed(&issues.lines[1..], "but has not entered it");
}

#[test]
fn in_the_end_all_believe_in_the_members_that_there_are() {
    let both = [(1, "ann"), (2, "bob")];
    let mirrors = [mirror(1, 3, &both), mirror(2, 3, &both), mirror(1, 3, &both[..1])];
    let of = |life, name, at: usize| (Life(life), user(name), vec![&mirrors[at]]);
    let issues_of = |living: &[Living<'_>]| {
        let (mut memberships, mut issues) = (Memberships::default(), Issues::default());
        for (life, _, mirrors) in living {
            for mirror in mirrors {
                let seat = Seat { session: SESSION, member: mirror.own() };
                memberships.event(*life, &entered((*mirror).clone()), &mut issues);
                memberships.admitted(*life, seat, &mut issues);
            }
        }
        memberships.finish(living, &mut issues);
        issues.lines
    };
    assert_eq!(issues_of(&[of(1, "ann", 0), of(2, "bob", 1)]), [""; 0]);
    assert_noticed(&issues_of(&[of(1, "ann", 0)]), "Life(1) believes");
    assert_noticed(&issues_of(&[of(1, "ann", 2), of(2, "bob", 1)]), "Life(1) believes");
}

#[test]
fn a_slot_or_a_seat_that_is_given_twice_is_noticed() {
    let issues_of = |second: (u32, u32)| {
        let (mut memberships, mut issues) = (Memberships::default(), Issues::default());
        for (life, member) in [(1, 2), second] {
            memberships.event(Life(life), &entered(mirror(member, 2, &[(member, "ann")])), &mut issues);
        }
        issues.lines
    };
    assert_eq!(issues_of((2, 3)), [""; 0]);
    assert_noticed(&issues_of((1, 3)), "slot 1 twice");
    assert_noticed(&issues_of((2, 2)), "was Life(1)'s");
}
