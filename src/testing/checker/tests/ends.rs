//! Checks that an end without a cause is detected.

use super::*;
use crate::client::core::Disconnected;
use crate::rudp::ConnectError;
use crate::wire::command::{Delete, Kick};
use crate::wire::{CloseCode, DeleteReason, RejectCode};

const ALL: Causes =
    Causes { naps: true, crowd: true, limits: true, drain: true, loss: true, drops: true, silence: true };

fn by_server(code: CloseCode, reason: &str) -> Disconnected {
    Disconnected::ByServer { code, reason: reason.to_owned() }
}

fn rejected(code: RejectCode) -> Disconnected {
    Disconnected::ConnectFailed(ConnectError::Refused(code))
}

/// Returns lives of these users, each of which the server knew before the next one connected.
fn lives(all: &[(u32, &str)]) -> Lives {
    let mut lives = Lives::default();
    for (life, name) in all {
        let at = Timestamp::from_millis(u64::from(*life) * 10);
        lives.born(Life(*life), user(name));
        lives.connected(Life(*life), at);
        lives.heard(Life(*life), at + std::time::Duration::from_millis(5));
    }
    lives
}

/// Returns the issues when ann's connection ends with `why` in a run with these causes.
fn issues_of_end(causes: Causes, why: &Disconnected) -> Vec<String> {
    let mut issues = Issues::default();
    Ends::new(causes).disconnected(Life(1), &lives(&[(1, "ann")]), why, &mut issues);
    issues.lines
}

#[test]
fn a_connection_that_ends_without_a_cause_is_noticed() {
    let ends = [
        (Disconnected::TimedOut, Causes { naps: false, drain: false, ..ALL }),
        (by_server(CloseCode::Lagging, ""), Causes { naps: false, ..ALL }),
        (by_server(CloseCode::Full, ""), Causes { crowd: false, ..ALL }),
        (rejected(RejectCode::Full), Causes { crowd: false, ..ALL }),
        (by_server(CloseCode::ShuttingDown, ""), Causes { drain: false, ..ALL }),
        (rejected(RejectCode::Draining), Causes { drain: false, ..ALL }),
        (
            Disconnected::ConnectFailed(ConnectError::NoAnswer),
            Causes { naps: false, drain: false, silence: false, ..ALL },
        ),
    ];
    for (why, without) in ends {
        assert_eq!(issues_of_end(ALL, &why), [""; 0]);
        assert_noticed(&issues_of_end(without, &why), "was disconnected");
    }
}

#[test]
fn some_ends_need_no_cause_and_some_have_none() {
    assert_eq!(issues_of_end(Causes::default(), &Disconnected::ByClient), [""; 0]);
    let never = [
        by_server(CloseCode::ProtocolViolation, ""),
        by_server(CloseCode::Internal, ""),
        // She has not connected again.
        by_server(CloseCode::Replaced, ""),
        rejected(RejectCode::Denied),
        rejected(RejectCode::TokenUsed),
        Disconnected::ConnectFailed(ConnectError::Token { bytes: 901 }),
        Disconnected::EventsUnread,
    ];
    for why in never {
        assert_noticed(&issues_of_end(ALL, &why), "was disconnected");
    }
}

#[test]
fn a_connection_is_replaced_by_a_later_one_of_its_user_alone() {
    let issues_of = |life, name| {
        let all = lives(&[(2, "ann"), (life, name)]);
        let mut issues = Issues::default();
        Ends::default().disconnected(Life(2), &all, &by_server(CloseCode::Replaced, ""), &mut issues);
        issues.lines
    };
    assert_eq!(issues_of(3, "ann"), [""; 0]);
    assert_noticed(&issues_of(3, "bob"), "was disconnected");
    assert_noticed(&issues_of(1, "ann"), "was disconnected");
}

#[test]
fn a_token_that_is_used_is_noticed_but_of_a_client_that_has_moved() {
    let issues_of = |moved| {
        let (mut ends, mut issues) = (Ends::new(ALL), Issues::default());
        ends.moved(Life(moved));
        ends.disconnected(Life(1), &lives(&[(1, "ann")]), &rejected(RejectCode::TokenUsed), &mut issues);
        issues.lines
    };
    assert_eq!(issues_of(1), [""; 0]);
    assert_noticed(&issues_of(2), "was disconnected");
}

#[test]
fn a_user_that_the_operator_has_not_kicked_so_is_noticed() {
    let issues_of = |name: &str, reason: &str| {
        let (mut ends, mut issues) = (Ends::default(), Issues::default());
        ends.kicked(&user("ann"), &Reason::new("deed 1").unwrap());
        let why = by_server(CloseCode::KickedByOperator, reason);
        ends.disconnected(Life(1), &lives(&[(1, name)]), &why, &mut issues);
        issues.lines
    };
    assert_eq!(issues_of("ann", "deed 1"), [""; 0]);
    assert_noticed(&issues_of("ann", "deed 2"), "was disconnected");
    assert_noticed(&issues_of("bob", "deed 1"), "was disconnected");
}

#[test]
fn a_connection_that_falls_silent_is_noticed_but_of_who_was_kicked() {
    for (kicked, loss, is_noticed) in [("ann", true, false), ("ann", false, true), ("bob", true, true)] {
        let causes = Causes { loss, ..Causes::default() };
        let (mut ends, mut issues) = (Ends::new(causes), Issues::default());
        ends.kicked(&user(kicked), &Reason::none());
        ends.disconnected(Life(1), &lives(&[(1, "ann")]), &Disconnected::TimedOut, &mut issues);
        assert_eq!(!issues.lines.is_empty(), is_noticed, "{:?}", issues.lines);
    }
}

#[test]
fn who_misses_that_a_later_connection_has_replaced_it_falls_silent() {
    let issues_of = |causes, all: &[(u32, &str)]| {
        let mut issues = Issues::default();
        Ends::new(causes).disconnected(Life(1), &lives(all), &Disconnected::TimedOut, &mut issues);
        issues.lines
    };
    let loss = Causes { loss: true, ..Causes::default() };
    let both = [(1, "ann"), (2, "ann")];
    assert_eq!(issues_of(loss, &both), [""; 0]);
    assert_noticed(&issues_of(Causes::default(), &both), "was disconnected");
    assert_noticed(&issues_of(loss, &[(1, "ann"), (2, "bob")]), "was disconnected");
}

#[test]
fn two_connections_of_one_user_that_both_stay_are_noticed() {
    let issues_of = |names: [&str; 2]| {
        let living = [(Life(1), user(names[0]), vec![]), (Life(2), user(names[1]), vec![])];
        let mut issues = Issues::default();
        let seats = BTreeMap::new();
        Ends::default().finish(&living, &Lives::default(), &Intents::default(), &seats, &mut issues);
        issues.lines
    };
    assert_eq!(issues_of(["ann", "bob"]), [""; 0]);
    assert_noticed(&issues_of(["ann", "ann"]), "are both connected");
}

#[test]
fn a_session_that_the_operator_has_not_closed_so_is_noticed() {
    let issues_of = |closed: SessionId, why, reason: &str| {
        let (mut ends, mut issues) = (Ends::default(), Issues::default());
        ends.closed(closed, &Reason::new("deed 1").unwrap());
        ends.closed(closed, &Reason::new("deed 2").unwrap());
        let (number, reason) = (EventNumber(3), Reason::new(reason).unwrap());
        let deleted = Event::SessionDeleted { slot: Slot(1), number, why, reason };
        ends.event(SESSION, &deleted, &mut issues);
        issues.lines
    };
    let by_operator = DeleteReason::ClosedByOperator;
    assert_eq!(issues_of(SESSION, by_operator, "deed 1"), [""; 0]);
    assert_eq!(issues_of(SessionId(1), DeleteReason::Idle, ""), [""; 0]);
    assert_noticed(&issues_of(SESSION, by_operator, "deed 2"), "nobody asked for");
    assert_noticed(&issues_of(SessionId(1), by_operator, "deed 1"), "nobody asked for");
    assert_noticed(&issues_of(SESSION, DeleteReason::ShuttingDown, ""), "nobody asked for");
}

type Cause = fn(&mut Ends, &mut Intents);

/// Returns the issues when bob at [`SEAT`], in his second life, is reported to have left for `why`; `cause`
/// is what happened before.
fn issues_of_leave(why: LeaveReason, causes: Causes, cause: Cause) -> Vec<String> {
    issues_of_end_of_bob(&left(3, 2, "bob", why), causes, cause)
}

/// Returns the issues when `end`, of bob's membership or the session, is reported.
fn issues_of_end_of_bob(end: &Event, causes: Causes, cause: Cause) -> Vec<String> {
    let (mut ends, mut issues) = (Ends::new(causes), Issues::default());
    let mut intents = Intents::default();
    cause(&mut ends, &mut intents);
    ends.event(SESSION, end, &mut issues);
    let lives = lives(&[(1, "ann"), (2, "bob")]);
    ends.finish(&[], &lives, &intents, &[(SEAT, Life(2))].into(), &mut issues);
    issues.lines
}

#[test]
fn a_member_that_leaves_without_a_cause_is_noticed() {
    let kick = |_: &mut Ends, intents: &mut Intents| {
        let kick = Kick { member: SEAT.member, reason: Reason::none() };
        intents.asked(Some(MINE), &Request::Kick(kick));
    };
    let causes: [(LeaveReason, Cause); 7] = [
        (LeaveReason::Left, |_, intents| {
            intents.asked(Some(Mine { member: SEAT.member, ..MINE }), &Request::Leave);
        }),
        (LeaveReason::Left, |ends, _| {
            ends.disconnected(
                Life(2),
                &lives(&[(2, "bob")]),
                &Disconnected::ByClient,
                &mut Issues::default(),
            );
        }),
        (LeaveReason::Kicked, kick),
        (LeaveReason::Kicked, |ends, _| ends.removed(SESSION, &user("bob"), &Reason::none())),
        (LeaveReason::TimedOut, |ends, _| ends.crashed(Life(2))),
        (LeaveReason::TimedOut, |ends, _| {
            ends.disconnected(
                Life(2),
                &lives(&[(2, "bob")]),
                &Disconnected::ByClient,
                &mut Issues::default(),
            );
        }),
        (LeaveReason::Dropped, |ends, _| ends.kicked(&user("bob"), &Reason::none())),
    ];
    let without_naps = Causes { naps: false, ..ALL };
    for (why, cause) in causes {
        assert_eq!(issues_of_leave(why, without_naps, cause), [""; 0], "{why}");
    }
    for why in [LeaveReason::TimedOut, LeaveReason::Lagging] {
        assert_eq!(issues_of_leave(why, ALL, |_, _| ()), [""; 0], "{why}");
    }
    for why in LeaveReason::ALL {
        assert_noticed(&issues_of_leave(*why, without_naps, |_, _| ()), "is told to have left");
    }
    // Another member's request is no cause.
    let of_ann = issues_of_leave(LeaveReason::Left, ALL, |_, intents| {
        intents.asked(Some(MINE), &Request::Leave);
    });
    assert_noticed(&of_ann, "is told to have left");
}

#[test]
fn a_reason_that_nobody_gave_is_noticed() {
    let words = |text: &str| Reason::new(text).unwrap();
    let leaves = |why, text| match left(3, 2, "bob", why) {
        Event::MemberLeft { slot, number, member, user, is_own, .. } => {
            Event::MemberLeft { slot, number, member, user, is_own, why, reason: words(text) }
        }
        _ => unreachable!(),
    };
    let ends = |why, text| {
        let reason = words(text);
        Event::SessionDeleted { slot: Slot(1), number: EventNumber(3), why, reason }
    };
    let by_owner: Cause = |_, intents| {
        let reason = Reason::new("rude").unwrap();
        intents.asked(Some(MINE), &Request::Kick(Kick { member: SEAT.member, reason: reason.clone() }));
        intents.asked(Some(MINE), &Request::Delete(Delete { reason }));
        intents.asked(Some(Mine { member: SEAT.member, ..MINE }), &Request::Leave);
    };
    let by_operator: Cause = |ends, _| ends.removed(SESSION, &user("bob"), &Reason::new("rude").unwrap());
    let issues_of = |end, cause| issues_of_end_of_bob(&end, Causes::default(), cause);
    for cause in [by_owner, by_operator] {
        assert_eq!(issues_of(leaves(LeaveReason::Kicked, "rude"), cause), [""; 0]);
        assert_noticed(&issues_of(leaves(LeaveReason::Kicked, ""), cause), "is told to have left");
        assert_noticed(&issues_of(leaves(LeaveReason::Kicked, "late"), cause), "is told to have left");
    }
    assert_noticed(&issues_of(leaves(LeaveReason::Left, "rude"), by_owner), "is told to have left");
    assert_eq!(issues_of(ends(DeleteReason::Deleted, "rude"), by_owner), [""; 0]);
    assert_noticed(&issues_of(ends(DeleteReason::Deleted, ""), by_owner), "did not ask for it");
    assert_noticed(&issues_of(ends(DeleteReason::OwnerLeft, "rude"), by_owner), "nobody asked for");
}

#[test]
fn who_is_replaced_must_have_come_again_and_be_who_they_were() {
    let issues_of = |all: &[(u32, &str)]| {
        let (mut ends, mut issues) = (Ends::default(), Issues::default());
        ends.event(SESSION, &left(3, 2, "bob", LeaveReason::Replaced), &mut issues);
        let seats = [(SEAT, Life(2))].into();
        ends.finish(&[], &lives(all), &Intents::default(), &seats, &mut issues);
        issues.lines
    };
    assert_eq!(issues_of(&[(2, "bob"), (3, "bob")]), [""; 0]);
    assert_noticed(&issues_of(&[(1, "bob"), (2, "bob")]), "is told to have left");
    assert_noticed(&issues_of(&[(2, "bob"), (3, "ann")]), "is told to have left");
    assert_noticed(&issues_of(&[(2, "ann"), (3, "bob")]), "is told to have left");
}
