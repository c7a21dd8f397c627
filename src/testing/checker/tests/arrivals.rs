//! Checks that it is noticed when something never arrives.

use super::*;

/// Returns the issues at the end, a minute later, with ann and bob connected. The server has known bob since
/// shortly before `bob_since`.
fn issues_at_end(arrivals: &Arrivals, scene: &mut Scene, bob_since: u64) -> Vec<String> {
    let mut issues = Issues::default();
    scene.lives.heard(BOB, at(bob_since - 1));
    let living = [(ANN, user("ann"), vec![]), (BOB, user("bob"), vec![])];
    arrivals.finish(at(60_000), &living, &scene.lives, &scene.book, &mut issues);
    issues.lines
}

/// The end of [`INVITE`] as its user and its owner are told.
fn expired(user: Option<UserId>) -> Event {
    Event::InviteExpired { invite: INVITE, user }
}

#[test]
fn a_user_that_is_never_told_of_an_invite_is_noticed() {
    let arrivals = Arrivals::default();
    let issues_of = |scene: &mut Scene, since| issues_at_end(&arrivals, scene, since);
    let never_told = "Life(2) of bob was never told of invite";
    assert_noticed(&issues_of(&mut Scene::with_one_made(), 100), never_told);
    let later = issues_of(&mut Scene::with_one_made(), 101);
    assert_eq!(later, [""; 0], "the invite may be older than his connection");
    let mut scene = Scene::with_one_told();
    scene.tell(1_150, BOB, &expired(None));
    assert_eq!(issues_of(&mut scene, 100), [""; 0]);
}

#[test]
fn a_user_that_is_never_told_of_the_end_of_an_invite_is_noticed() {
    let newer = Event::Invited(Invitation { ttl_left_ms: 60_000, ..invitation(2, "ann") });
    let by_id = Request::Join(Join::Session(SESSION));
    let ends: [&dyn Fn(&mut Scene); 6] = [
        &|scene| scene.tell(500, BOB, &expired(None)),
        &|scene| scene.tell(500, BOB, &Event::InviteRevoked { invite: INVITE }),
        // The newer one is not over yet.
        &|scene| scene.tell(500, BOB, &newer),
        &|scene| scene.ask(BOB, [400, 500], join_by_invite(), is_in()),
        &|scene| scene.ask(BOB, [400, 500], by_id.clone(), is_in()),
        &|scene| scene.ask(BOB, [400, 500], decline(), Ok(Value::Empty)),
    ];
    let arrivals = Arrivals::default();
    for (number, end) in ends.iter().enumerate() {
        let mut scene = Scene::with_one_told();
        end(&mut scene);
        assert_eq!(issues_at_end(&arrivals, &mut scene, 100), [""; 0], "{number}");
    }
    let mut scene = Scene::with_one_told();
    assert_noticed(&issues_at_end(&arrivals, &mut scene, 100), "was never told of the end of invite");
    scene.tell(500, ANN, &Event::InviteRevoked { invite: INVITE });
    assert_noticed(&issues_at_end(&arrivals, &mut scene, 100), "was never told of the end of invite");
}

#[test]
fn who_enters_by_an_invite_that_this_connection_was_not_told_of_is_noticed() {
    let issues_of = |told: Life| {
        let mut scene = Scene::with_one_made();
        scene.tell(150, told, &invited());
        scene.ask(BOB, [200, 300], join_by_invite(), is_in());
        issues_at_end(&Arrivals::default(), &mut scene, 101)
    };
    assert_eq!(issues_of(BOB), [""; 0]);
    assert_noticed(&issues_of(BOBS_OTHER), "which it was not told of");
}

#[test]
fn an_owner_that_is_never_told_what_became_of_an_invite_is_noticed() {
    let by_bob = Event::InviteDeclined { invite: INVITE, user: user("bob"), reason: Reason::none() };
    // Ann owns the session since the given time, and is told the event.
    let issues_of = |is_declined: bool, since: u64, told: Option<&Event>| {
        let (mut arrivals, mut scene) = (Arrivals::default(), Scene::with_one_told());
        arrivals.session_event(at(since), ANN, MINE, &entered(mirror(1, 2, &[(1, "ann")])));
        match is_declined {
            true => scene.ask(BOB, [300, 400], decline(), Ok(Value::Empty)),
            false => scene.tell(1_150, BOB, &expired(None)),
        }
        told.into_iter().for_each(|event| scene.tell(1_200, ANN, event));
        issues_at_end(&arrivals, &mut scene, 100)
    };
    assert_eq!(issues_of(true, 10, Some(&by_bob)), [""; 0]);
    assert_noticed(&issues_of(true, 10, None), "was never told of the end of invite 5-1 by");
    assert_eq!(issues_of(true, 301, None), [""; 0], "another may have owned the session");
    assert_eq!(issues_of(false, 10, Some(&expired(Some(user("bob"))))), [""; 0]);
    assert_noticed(&issues_of(false, 10, Some(&by_bob)), "its invite 5-1 has expired");
    assert_eq!(issues_of(false, 101, None), [""; 0], "it is not certain that she was told");
}

#[test]
fn who_is_told_how_an_invite_ended_without_owning_the_session_is_noticed() {
    let by_bob = Event::InviteDeclined { invite: INVITE, user: user("bob"), reason: Reason::none() };
    let expired = expired(Some(user("bob")));
    // Ann, who has owned the session from 10 until the given time, if at all, is told the event.
    let issues_of = |until: Option<u64>, told: &Event| {
        let (mut arrivals, mut scene) = (Arrivals::default(), Scene::with_one_told());
        let owner = if until.is_some() { [(1, "ann"), (2, "bob")] } else { [(2, "bob"), (1, "ann")] };
        let there = entered(mirror(1, 3, &owner));
        arrivals.session_event(at(10), ANN, MINE, &there);
        arrivals.session_event(at(until.unwrap_or(20)), ANN, MINE, &owns(3, 2));
        scene.ask(BOB, [300, 400], decline(), Ok(Value::Empty));
        scene.tell(1_200, ANN, told);
        issues_at_end(&arrivals, &mut scene, 100)
    };
    let not_hers = "did not own the session";
    assert_eq!(issues_of(Some(300), &by_bob), [""; 0], "it may have been declined before");
    assert_noticed(&issues_of(Some(299), &by_bob), not_hers);
    assert_noticed(&issues_of(None, &by_bob), not_hers);
    assert_eq!(issues_of(Some(1_100), &expired), [""; 0]);
    assert_noticed(&issues_of(Some(1_080), &expired), not_hers);
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
        let (mut arrivals, mut scene) = (Arrivals::default(), Scene::with_one_told());
        arrivals.session_event(at(10), ANN, MINE, &entered(mirror(1, 2, &[(1, "ann")])));
        scene.tell(1_150, BOB, &expired(None));
        assert_noticed(&issues_at_end(&arrivals, &mut scene, 100), "has expired");
        arrivals.session_event(at(1_000), ANN, MINE, &end);
        assert_eq!(issues_at_end(&arrivals, &mut scene, 100), [""; 0]);
    }
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
    use crate::session::PropertyEntry;
    use crate::wire::WriteRule;
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
        let sessions: Vec<_> = sessions.iter().map(|info| (*info, Arc::default())).collect();
        checker.compare(&[(Life(1), user("ann"), views)], &sessions);
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
    let (mut checker, key) = (Checker::default(), PropertyKey::new("k").unwrap());
    let creator = MemberId(1);
    let entry = PropertyEntry { value: PropertyValue::Integer(1), rule: WriteRule::Any, creator };
    let properties = Arc::new([(key, entry)].into());
    checker.compare(&[(Life(1), user("ann"), vec![&there])], &[(info, properties)]);
    assert_noticed(&checker.issues.lines, "the server has");
    assert_noticed(&issues_of(vec![], &[info]), "goes on without members");
    assert_noticed(&issues_of(vec![&there], &[]), "which is gone");
}
