//! Checks that it is noticed when something never arrives.

use super::*;

/// Bob's connection.
const BOB: Life = Life(2);

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

/// Ann asks at 100 to invite bob; returns the state after the answer, that she invited him by [`INVITE`].
fn one_made() -> Arrivals {
    let mut arrivals = Arrivals::default();
    let invite = Invite {
        users: InvitedUsers::new(vec![user("bob")]).unwrap(),
        ttl: InviteTtl::new(1).unwrap(),
        hold_seat: false,
        note: Note::none(),
    };
    let by_ann = answers::Asked { seat: Some(MINE), ..asked(100, Request::Invite(invite)) };
    let answers = Ok(Value::Invited(vec![Ok(INVITE.number)]));
    arrivals.answered(Life(1), &user("ann"), &by_ann, &answers, &mut Issues::default());
    arrivals
}

/// Returns the issues at the end, a minute later, with ann and bob connected. The server has known bob since
/// shortly before `bob_since`.
fn issues_at_end(arrivals: &Arrivals, bob_since: u64) -> Vec<String> {
    let (mut lives, mut issues) = (Lives::default(), Issues::default());
    lives.born(BOB, user("bob"));
    lives.heard(BOB, at(bob_since - 1));
    let living = [(Life(1), user("ann"), vec![]), (BOB, user("bob"), vec![])];
    arrivals.finish(at(60_000), &living, &lives, &Intents::default(), &mut issues);
    issues.lines
}

/// The end of [`INVITE`] as its user and its owner are told.
fn expired(user: Option<UserId>) -> Event {
    Event::InviteExpired { invite: INVITE, user }
}

#[test]
fn a_user_that_is_never_told_of_an_invite_is_noticed() {
    let arrivals = one_made();
    assert_noticed(&issues_at_end(&arrivals, 100), "Life(2) of bob was never told of invite");
    assert_eq!(issues_at_end(&arrivals, 101), [""; 0], "the invite may be older than his connection");
    let mut arrivals = one_made();
    arrivals.event(at(150), BOB, &invited());
    arrivals.event(at(1_150), BOB, &expired(None));
    assert_eq!(issues_at_end(&arrivals, 100), [""; 0]);
}

#[test]
fn a_user_that_is_never_told_of_the_end_of_an_invite_is_noticed() {
    let newer = Event::Invited(Invitation {
        invite: InviteId { number: 2, ..INVITE },
        kind: SessionKind(1),
        owner: user("ann"),
        ttl_left_ms: 60_000,
        note: Note::none(),
    });
    let decline = Request::Decline(Decline { invite: INVITE, reason: Reason::none() });
    let by_id = Request::Join(Join::Session(SESSION));
    let ends: [&dyn Fn(&mut Arrivals); 6] = [
        &|arrivals| arrivals.event(at(500), BOB, &expired(None)),
        &|arrivals| arrivals.event(at(500), BOB, &Event::InviteRevoked { invite: INVITE }),
        // The newer one is not over yet.
        &|arrivals| arrivals.event(at(500), BOB, &newer),
        &|arrivals| answer(arrivals, &asked(400, join(400).request.clone()), is_in()),
        &|arrivals| answer(arrivals, &asked(400, by_id.clone()), is_in()),
        &|arrivals| answer(arrivals, &asked(400, decline.clone()), Ok(Value::Empty)),
    ];
    fn answer(arrivals: &mut Arrivals, asked: &answers::Asked, outcome: Result<Value, RequestError>) {
        arrivals.answered(BOB, &user("bob"), asked, &outcome, &mut Issues::default());
    }
    let told = || {
        let mut arrivals = one_made();
        arrivals.event(at(150), BOB, &invited());
        arrivals
    };
    for (number, end) in ends.iter().enumerate() {
        let mut arrivals = told();
        end(&mut arrivals);
        // Nobody asked for the newer invite.
        let issues = issues_at_end(&arrivals, 100);
        let others = issues.iter().filter(|issue| !issue.contains("nobody has made"));
        assert_eq!(others.count(), 0, "{number}: {issues:?}");
    }
    assert_noticed(&issues_at_end(&told(), 100), "was never told of the end of invite");
    let mut arrivals = told();
    arrivals.event(at(500), Life(1), &Event::InviteRevoked { invite: INVITE });
    assert_noticed(&issues_at_end(&arrivals, 100), "was never told of the end of invite");
}

#[test]
fn who_enters_by_an_invite_that_this_connection_was_not_told_of_is_noticed() {
    let issues_of = |told: Life| {
        let (mut arrivals, mut issues) = (one_made(), Issues::default());
        arrivals.event(at(150), told, &invited());
        arrivals.answered(BOB, &user("bob"), &join(200), &is_in(), &mut issues);
        issues.lines
    };
    assert_eq!(issues_of(BOB), [""; 0]);
    assert_noticed(&issues_of(Life(3)), "which it was not told of");
}

#[test]
fn an_owner_that_is_never_told_what_became_of_an_invite_is_noticed() {
    let decline = Request::Decline(Decline { invite: INVITE, reason: Reason::none() });
    let by_bob = Event::InviteDeclined { invite: INVITE, user: user("bob"), reason: Reason::none() };
    // Ann owns the session since the given time, and is told the event.
    let issues_of = |is_declined: bool, since: u64, told: Option<&Event>| {
        let mut arrivals = one_made();
        let there = entered(mirror(1, 2, &[(1, "ann")]));
        arrivals.session_event(at(since), Life(1), MINE, &there);
        arrivals.event(at(150), BOB, &invited());
        if is_declined {
            let (of_bob, done) = (asked(300, decline.clone()), Ok(Value::Empty));
            arrivals.answered(BOB, &user("bob"), &of_bob, &done, &mut Issues::default());
        } else {
            arrivals.event(at(1_150), BOB, &expired(None));
        }
        told.into_iter().for_each(|event| arrivals.event(at(1_200), Life(1), event));
        let issues = issues_at_end(&arrivals, 100);
        issues.into_iter().filter(|issue| !issue.contains("which it was not")).collect::<Vec<_>>()
    };
    assert_eq!(issues_of(true, 10, Some(&by_bob)), [""; 0]);
    assert_noticed(&issues_of(true, 10, None), "was never told that bob declined");
    assert_eq!(issues_of(true, 301, None), [""; 0], "another may have owned the session");
    assert_eq!(issues_of(false, 10, Some(&expired(Some(user("bob"))))), [""; 0]);
    assert_noticed(&issues_of(false, 10, Some(&by_bob)), "its invite 5-1 has expired");
    assert_eq!(issues_of(false, 101, None), [""; 0], "it is not certain that she was told");
}

#[test]
fn an_owner_that_no_longer_owns_need_not_be_told() {
    let ends = [owns(3, 2), left(3, 1, "ann", LeaveReason::Left)];
    for end in ends.map(|end| match end {
        Event::MemberLeft { slot, number, member, user, why, reason, .. } => {
            Event::MemberLeft { slot, number, member, user, is_own: true, why, reason }
        }
        end => end,
    }) {
        let mut arrivals = one_made();
        arrivals.session_event(at(10), Life(1), MINE, &entered(mirror(1, 2, &[(1, "ann")])));
        arrivals.event(at(150), BOB, &invited());
        arrivals.event(at(1_150), BOB, &expired(None));
        assert_noticed(&issues_at_end(&arrivals, 100), "has expired");
        arrivals.session_event(at(1_000), Life(1), MINE, &end);
        assert_eq!(issues_at_end(&arrivals, 100), [""; 0]);
    }
}

#[test]
fn an_invite_and_a_decline_that_nobody_asked_for_are_noticed() {
    let mut arrivals = Arrivals::default();
    arrivals.event(at(150), BOB, &invited());
    arrivals.event(at(500), BOB, &expired(None));
    assert_noticed(&issues_at_end(&arrivals, 100), "which nobody has made");
    let mut arrivals = one_made();
    let by_bob = Event::InviteDeclined { invite: INVITE, user: user("bob"), reason: Reason::none() };
    arrivals.event(at(150), Life(1), &by_bob);
    assert_noticed(&issues_at_end(&arrivals, 101), "declined, which it was not");
}

#[test]
fn a_member_that_misses_the_last_events_or_the_new_owner_is_noticed() {
    let issues_of = |there: &Mirror| {
        let (mut logs, mut issues) = (Logs::default(), Issues::default());
        let receipt = Event::Receipt { slot: Slot(1), number: EventNumber(4) };
        logs.event(SESSION, MemberId(1), &receipt, &mut issues);
        let living = [(Life(1), user("ann"), vec![there])];
        logs.finish(&living, &Intents::default(), &mut issues);
        issues.lines
    };
    let both = [(1, "ann"), (2, "bob")];
    assert_eq!(issues_of(&mirror(1, 5, &both)), [""; 0]);
    assert_noticed(&issues_of(&mirror(1, 4, &both)), "never got events 4 to 4, a message of 1");
    let mut there = mirror(2, 3, &both);
    for event in
        [left(3, 1, "ann", LeaveReason::Left), Event::Receipt { slot: Slot(1), number: EventNumber(4) }]
    {
        there.apply(&event).unwrap();
    }
    assert_noticed(&issues_of(&there), "was never told who owns it after 1 left");
}

#[test]
fn a_view_that_differs_from_the_servers_session_is_noticed() {
    use crate::wire::result::Info;
    let there = mirror(1, 5, &[(1, "ann")]);
    let info = Info {
        session: SESSION,
        settings: *there.settings(),
        owner: MemberId(1),
        members: 1,
        open_invites: 0,
        revision: Revision(0),
        next: EventNumber(5),
    };
    let issues_of = |views: Vec<&Mirror>, sessions: &[Info]| {
        let mut checker = Checker::default();
        checker.compare(&[(Life(1), user("ann"), views)], sessions);
        checker.issues.lines
    };
    assert_eq!(issues_of(vec![&there], &[info]), [""; 0]);
    assert_noticed(&issues_of(vec![&there], &[Info { next: EventNumber(6), ..info }]), "the server");
    assert_noticed(&issues_of(vec![&there], &[Info { owner: MemberId(2), ..info }]), "the server");
    assert_noticed(&issues_of(vec![&there], &[Info { revision: Revision(1), ..info }]), "the server");
    assert_noticed(&issues_of(vec![&there], &[Info { members: 2, ..info }]), "the server");
    let settings = Settings { admission: Admission::Open, ..info.settings };
    assert_noticed(&issues_of(vec![&there], &[Info { settings, ..info }]), "the server");
    assert_noticed(&issues_of(vec![&there], &[Info { open_invites: 1, ..info }]), "keeps 1 invites");
    assert_noticed(&issues_of(vec![], &[info]), "goes on without members");
    assert_noticed(&issues_of(vec![&there], &[]), "which is gone");
}
