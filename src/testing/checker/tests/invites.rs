//! Checks that it is noticed when an invite admits, is told or ends otherwise than it should.

use super::super::invites::Judge;
use super::*;
use crate::wire::command::Kick;

fn by_bob(reason: &str) -> Event {
    Event::InviteDeclined { invite: INVITE, user: user("bob"), reason: Reason::new(reason).unwrap() }
}

fn expired(user: Option<UserId>) -> Event {
    Event::InviteExpired { invite: INVITE, user }
}

const REVOKED: Event = Event::InviteRevoked { invite: INVITE };

/// Returns the issues after [`INVITE`] was told, and then what `more` does.
fn issues_of(more: impl FnOnce(&mut Scene)) -> Vec<String> {
    let mut scene = Scene::with_one_told();
    more(&mut scene);
    scene.issues()
}

/// Asserts that there are issues, all with these words.
fn assert_all(lines: &[String], words: &str) {
    assert!(!lines.is_empty() && lines.iter().all(|line| line.contains(words)), "{words}: {lines:?}");
}

#[test]
fn an_invite_that_admits_twice_or_late_or_the_wrong_user_is_noticed() {
    let joins = |life, sent| issues_of(|scene| scene.ask(life, [sent, sent + 50], join_by_invite(), is_in()));
    assert_eq!(joins(BOB, 200), [""; 0]);
    // Its time is over at 1.15 s at the latest, and clocks differ.
    assert_eq!(joins(BOB, 1_159), [""; 0]);
    assert_noticed(&joins(BOB, 1_160), "after its time");
    assert_noticed(&joins(Life(4), 200), "by an invite of");
    let twice = issues_of(|scene| {
        scene.ask(BOB, [200, 300], join_by_invite(), is_in());
        scene.ask(BOB, [210, 310], join_by_invite(), is_in());
    });
    assert_noticed(&twice, "admitted twice");
    let mut unknown = Scene::new();
    unknown.ask(BOB, [200, 300], join_by_invite(), is_in());
    assert_noticed(&unknown.issues(), "which nobody has made");
}

#[test]
fn an_invite_told_twice_or_to_another_or_made_by_nobody_is_noticed() {
    let told = |life| issues_of(|scene| scene.tell(200, life, &invited()));
    assert_eq!(told(BOBS_OTHER), [""; 0], "once a connection");
    assert_noticed(&told(BOB), "twice");
    assert_noticed(&told(Life(4)), "was told to cat");
    let unmade = |outcome| {
        let mut scene = Scene::new();
        scene.ask(ANN, [100, 150], invite_of("bob"), outcome);
        scene.tell(150, BOB, &invited());
        scene.issues()
    };
    assert_eq!(unmade(Err(RequestError::OutcomeUnknown)), [""; 0], "ann may have made it");
    assert_noticed(&unmade(refused(ErrorCode::RateLimited)), "which nobody has made");
}

#[test]
fn an_invitation_that_says_something_else_than_the_inviter_is_noticed() {
    let issues_of = |invitation: &Invitation| {
        let mut lines = Vec::new();
        for is_listed in [false, true] {
            let mut scene = Scene::with_one_made();
            scene.tell(90, ANN, &entered(mirror(1, 2, &[(1, "ann")])));
            if is_listed {
                let listed = Ok(Value::Invites(vec![invitation.clone()]));
                scene.ask(BOB, [160, 170], Request::ListInvites, listed);
            } else {
                scene.tell(160, BOB, &Event::Invited(invitation.clone()));
            }
            lines.extend(scene.issues());
        }
        lines
    };
    let right = Invitation { ttl_left_ms: 995, ..invitation(INVITE.number, "ann") };
    assert_eq!(issues_of(&right), [""; 0]);
    assert_all(&issues_of(&Invitation { owner: user("cat"), ..right.clone() }), "of ann's");
    assert_all(&issues_of(&Invitation { note: Note::new("no").unwrap(), ..right.clone() }), "of ann's");
    assert_all(&issues_of(&Invitation { ttl_left_ms: 1_011, ..right.clone() }), "ttl_left_ms: 1011");
    assert_all(&issues_of(&Invitation { ttl_left_ms: 800, ..right.clone() }), "but only until");
    assert_all(&issues_of(&Invitation { kind: SessionKind(2), ..right.clone() }), "the kind is");
}

#[test]
fn a_time_left_that_does_not_pass_is_noticed() {
    let issues_of = |left| {
        let mut scene = Scene::with_one_told();
        scene.lives.connected(BOBS_OTHER, at(500));
        let again = Invitation { ttl_left_ms: left, ..invitation(INVITE.number, "ann") };
        scene.tell(520, BOBS_OTHER, &Event::Invited(again));
        scene.issues()
    };
    assert_eq!(issues_of(640), [""; 0]);
    assert_noticed(&issues_of(700), "but only until");
    assert_noticed(&issues_of(500), "but only until");
    assert_noticed(&issues_of(1_000), "but only until");
}

#[test]
fn who_enters_by_an_invite_that_was_told_to_be_over_is_noticed() {
    let newer = || Event::Invited(invitation(2, "ann"));
    let ends: [&dyn Fn(&mut Scene); 5] = [
        &|scene| scene.tell(1_100, BOB, &expired(None)),
        &|scene| scene.ask(BOB, [1_095, 1_100], join_by_invite(), refused(ErrorCode::InviteExpired)),
        &|scene| scene.ask(BOB, [1_050, 1_100], decline(), Ok(Value::Empty)),
        &|scene| scene.ask(ANN, [1_050, 1_100], revoke(), Ok(Value::Empty)),
        &|scene| {
            scene.ask(ANN, [1_000, 1_100], invite_of("bob"), Ok(Value::Invited(vec![Ok(2)])));
            scene.tell(1_100, BOB, &newer());
        },
    ];
    for (number, end) in ends.iter().enumerate() {
        let joins = |sent| {
            let lines = issues_of(|scene| {
                end(scene);
                scene.ask(BOB, [sent, 1_150], join_by_invite(), is_in());
            });
            // Where the end is certain, its other end is noticed whenever it came.
            lines.into_iter().filter(|line| !line.contains("has ended twice")).collect::<Vec<_>>()
        };
        assert_eq!(joins(1_099), [""; 0], "{number}: it was under way");
        assert_noticed(&joins(1_100), "after somebody was told that it is over");
    }
}

#[test]
fn an_invite_with_two_ends_is_noticed() {
    let used = |scene: &mut Scene| scene.ask(BOB, [200, 300], join_by_invite(), is_in());
    let revoked = |scene: &mut Scene| scene.ask(ANN, [200, 300], revoke(), Ok(Value::Empty));
    let issues_of_both = |one: &dyn Fn(&mut Scene), other: &dyn Fn(&mut Scene)| {
        issues_of(|scene| {
            one(scene);
            other(scene);
        })
    };
    assert_noticed(&issues_of_both(&used, &revoked), "has ended twice");
    let told = issues_of_both(&used, &|scene| scene.tell(250, BOB, &REVOKED));
    assert!(told.len() == 2 && told[0].contains("has ended twice"), "{told:?}");
    let other = |scene: &mut Scene| {
        scene.tell(160, BOBS_OTHER, &invited());
        scene.tell(250, BOBS_OTHER, &REVOKED);
    };
    assert_eq!(issues_of_both(&used, &other), [""; 0], "another connection has used it");
    let late = |scene: &mut Scene| {
        scene.ask(BOB, [1_200, 1_300], join_by_invite(), refused(ErrorCode::InviteExpired));
    };
    assert_eq!(issues_of_both(&used, &late), [""; 0], "its time is over as well");
}

#[test]
fn a_refusal_for_a_reason_without_a_cause_is_noticed() {
    let refusals = |sent, code, cause: &dyn Fn(&mut Scene)| {
        issues_of(|scene| {
            cause(scene);
            scene.ask(BOB, [sent, sent + 50], join_by_invite(), refused(code));
        })
    };
    let unknown = |request: Request| {
        move |scene: &mut Scene| {
            let outcome = Err(RequestError::OutcomeUnknown);
            let life =
                if matches!(request, Request::Join(_) | Request::Decline(_)) { BOBS_OTHER } else { ANN };
            scene.ask(life, [180, 190], request.clone(), outcome);
        }
    };
    let kick = Request::Kick(Kick { member: MemberId(9), reason: Reason::none() });
    for (code, cause) in [
        (ErrorCode::InviteUsed, join_by_invite()),
        (ErrorCode::InviteUsed, Request::Join(Join::Session(SESSION))),
        (ErrorCode::InviteDeclined, decline()),
        (ErrorCode::InviteRevoked, revoke()),
        (ErrorCode::InviteRevoked, invite_of("bob")),
        (ErrorCode::InviteRevoked, kick),
    ] {
        let is_held_only = matches!(cause, Request::Join(Join::Session(_)));
        let lines = refusals(200, code, &unknown(cause.clone()));
        match is_held_only {
            true => assert_noticed(&lines, "no cause"),
            false => assert_eq!(lines, [""; 0], "{cause:?}"),
        }
        assert_noticed(&refusals(100, code, &unknown(cause)), "no cause");
        assert_noticed(&refusals(200, code, &|_| {}), "no cause");
        assert_noticed(&refusals(200, code, &unknown(invite_of("cat"))), "no cause");
    }
    let by_revoke = unknown(revoke());
    assert_noticed(&refusals(1_160, ErrorCode::InviteRevoked, &by_revoke), "its time was over before");
    assert_noticed(&refusals(1_000, ErrorCode::InviteExpired, &|_| {}), "has expired before");
    assert_eq!(refusals(1_080, ErrorCode::InviteExpired, &|_| {}), [""; 0]);
    assert_noticed(&refusals(150, ErrorCode::NoSuchInvite, &|_| {}), "that was known before");
    assert_eq!(refusals(149, ErrorCode::NoSuchInvite, &|_| {}), [""; 0]);
    assert_noticed(&refusals(200, ErrorCode::NotYourInvite, &|_| {}), "its own invite");
    assert_noticed(&refusals(1_160, ErrorCode::SessionFull, &|_| {}), "after its time");
    assert_eq!(refusals(200, ErrorCode::SessionFull, &|_| {}), [""; 0]);
}

#[test]
fn who_finds_no_seat_by_an_invite_that_holds_one_is_noticed() {
    let Request::Invite(terms) = invite_of("bob") else { unreachable!() };
    let holding = Request::Invite(Invite { hold_seat: true, ..terms });
    let mut scene = Scene::new();
    scene.ask(ANN, [100, 150], holding, Ok(Value::Invited(vec![Ok(INVITE.number)])));
    scene.tell(150, BOB, &invited());
    scene.ask(BOB, [200, 250], join_by_invite(), refused(ErrorCode::SessionFull));
    assert_noticed(&scene.issues(), "holds a seat");
}

#[test]
fn who_is_told_of_an_end_without_a_cause_is_noticed() {
    let told = |life, event: &Event| issues_of(|scene| scene.tell(300, life, event));
    assert_noticed(&told(BOB, &REVOKED), "which it was not");
    assert_noticed(&told(BOB, &expired(None)), "has expired before");
    assert_noticed(&told(ANN, &by_bob("")), "which it was not");
    let late = |user_name| issues_of(|scene| scene.tell(1_200, ANN, &expired(Some(user(user_name)))));
    assert_eq!(late("bob"), [""; 0]);
    assert_noticed(&late("cat"), "of bob");
    let declined = |sent: &str, told: &str| {
        issues_of(|scene| {
            let request = Request::Decline(Decline { invite: INVITE, reason: Reason::new(sent).unwrap() });
            scene.ask(BOB, [200, 250], request, Ok(Value::Empty));
            scene.tell(300, ANN, &by_bob(told));
        })
    };
    assert_eq!(declined("busy", "busy"), [""; 0]);
    assert_noticed(&declined("busy", ""), "which it was not");
}

#[test]
fn an_invite_is_revoked_with_its_session_and_only_then() {
    let issues_of = |acted_at: Option<u64>| {
        let mut scene = Scene::with_one_told();
        if let Some(sent) = acted_at {
            scene.ask(ANN, [sent, 400], invite_of("cat"), Ok(Value::Invited(vec![Ok(2)])));
        }
        scene.tell(300, BOB, &REVOKED);
        let (intents, ends, mut issues) = (Intents::default(), Ends::default(), Issues::default());
        let (book, lives) = (&scene.book, &scene.lives);
        Judge { book, lives, intents: &intents, ends: &ends, living: &[] }.finish(&mut issues);
        issues.lines
    };
    assert_eq!(issues_of(None), [""; 0], "nobody knows that the session goes on");
    assert_eq!(issues_of(Some(300)), [""; 0]);
    assert_noticed(&issues_of(Some(301)), "which it was not");
}

#[test]
fn who_enters_a_session_for_invited_users_without_an_invite_is_noticed() {
    let issues_of = |admission| {
        let mut scene = Scene::new();
        let snapshot = Settings { admission, ..*mirror(1, 2, &[(1, "ann")]).settings() };
        scene.tell(90, ANN, &entered(mirror_with(snapshot, 1, 2, &[(1, "ann")])));
        scene.ask(BOB, [100, 150], Request::Join(Join::Session(SESSION)), is_in());
        scene.issues()
    };
    assert_eq!(issues_of(Admission::Open), [""; 0]);
    assert_noticed(&issues_of(Admission::Invited), "without an invite");
}
