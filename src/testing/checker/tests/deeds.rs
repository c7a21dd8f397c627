//! Checks that it is noticed when something does not end though the operator was told so.

use super::*;
use crate::client::core::Disconnected;
use crate::wire::command::Kick;
use crate::wire::{CloseCode, LeaveReason};

/// The operator kicks bob, removes him, or closes the session, all at 1 s and for "deed 1".
const KICKS: fn(&mut Deeds) = |deeds| deeds.kicked(at(1_000), BOB, &deed());
const REMOVES: fn(&mut Deeds) = |deeds| deeds.removed(at(1_000), SEAT, &deed());
const CLOSES: fn(&mut Deeds) = |deeds| deeds.closed(at(1_000), SESSION, &deed());

fn deed() -> Reason {
    Reason::new("deed 1").unwrap()
}

/// Returns the issues at the end after some deeds; bob is still there if `stays`.
fn issues_at_end(deeds: &Deeds, intents: &Intents, stays: bool) -> Vec<String> {
    let mut issues = Issues::default();
    let there = mirror(2, 3, &[(2, "bob")]);
    let living = [(BOB, user("bob"), vec![&there])];
    let living = if stays { &living[..] } else { &[] };
    deeds.finish(living, intents, &[(SEAT, BOB)].into(), &mut issues);
    issues.lines
}

#[test]
fn who_stays_though_the_operator_ended_it_is_noticed() {
    let issues_of = |deed: fn(&mut Deeds)| {
        let mut deeds = Deeds::default();
        deed(&mut deeds);
        issues_at_end(&deeds, &Intents::default(), true)
    };
    assert_noticed(&issues_of(KICKS), "was kicked and is still there");
    assert_noticed(&issues_of(REMOVES), "which was ended");
    assert_noticed(&issues_of(CLOSES), "which was ended");
    let elsewhere: fn(&mut Deeds) = |deeds| {
        deeds.kicked(at(1_000), BOBS_OTHER, &deed());
        deeds.removed(at(1_000), Seat { member: MemberId(3), ..SEAT }, &deed());
        deeds.closed(at(1_000), SessionId(1), &deed());
    };
    assert_eq!(issues_of(elsewhere), [""; 0]);
}

#[test]
fn what_the_server_has_not_done_when_it_begins_to_drain_it_need_not_do() {
    for deed in [KICKS, REMOVES, CLOSES] {
        let mut deeds = Deeds::default();
        deed(&mut deeds);
        deeds.drains(at(1_010));
        assert_eq!(issues_at_end(&deeds, &Intents::default(), true), [""; 0]);
    }
}

#[test]
fn who_acts_though_the_operator_has_ended_it_is_noticed() {
    let bobs = Mine { member: SEAT.member, ..MINE };
    let issues_of = |deed: fn(&mut Deeds), sent: u64, seat: Option<Mine>, request: Request| {
        let (mut deeds, mut issues) = (Deeds::default(), Issues::default());
        deed(&mut deeds);
        let asked = Asked { seat, ..asked(sent, request) };
        deeds.answered(BOB, &asked, &Ok(Value::Empty), &mut issues);
        deeds.answered(BOB, &asked, &refused(ErrorCode::NotAMember), &mut issues);
        issues.lines
    };
    for deed in [KICKS, REMOVES, CLOSES] {
        assert_eq!(issues_of(deed, 1_010, Some(bobs), Request::Leave), [""; 0], "it may be first");
        assert_noticed(&issues_of(deed, 1_030, Some(bobs), Request::Leave), "after Deed");
    }
    assert_noticed(&issues_of(KICKS, 1_030, None, Request::ListMine), "after Deed");
    assert_eq!(issues_of(REMOVES, 1_030, None, Request::ListMine), [""; 0]);
    // Ann, who kicks bob.
    let kick = Request::Kick(Kick { member: SEAT.member, reason: Reason::none() });
    assert_noticed(&issues_of(REMOVES, 1_030, Some(MINE), kick), "after Deed");
}

#[test]
fn who_enters_a_session_that_the_operator_has_closed_is_noticed() {
    let issues_of = |sent| {
        let (mut deeds, mut issues) = (Deeds::default(), Issues::default());
        CLOSES(&mut deeds);
        deeds.answered(BOB, &asked(sent, join_by_invite()), &is_in(), &mut issues);
        issues.lines
    };
    assert_eq!(issues_of(1_010), [""; 0]);
    assert_noticed(&issues_of(1_030), "after Deed");
}

#[test]
fn a_connection_that_ends_otherwise_than_the_operator_asked_is_noticed() {
    let issues_of = |why: &Disconnected| {
        let (mut deeds, mut issues) = (Deeds::default(), Issues::default());
        KICKS(&mut deeds);
        deeds.kicked(at(1_010), BOB, &Reason::none());
        deeds.disconnected(at(1_100), BOB, why, &mut issues);
        issues.lines
    };
    let by_server = |code, reason: &str| Disconnected::ByServer { code, reason: reason.to_owned() };
    assert_eq!(issues_of(&by_server(CloseCode::KickedByOperator, "deed 1")), [""; 0]);
    assert_noticed(&issues_of(&by_server(CloseCode::KickedByOperator, "")), "was kicked before");
    assert_noticed(&issues_of(&by_server(CloseCode::ShuttingDown, "")), "was kicked before");
    for why in [Disconnected::ByClient, Disconnected::TimedOut, by_server(CloseCode::Replaced, "")] {
        assert_eq!(issues_of(&why), [""; 0], "it may have been first");
    }
}

#[test]
fn a_member_whose_end_has_another_cause_that_came_later_is_noticed() {
    let issues_of = |deed: fn(&mut Deeds), why, reason: Reason, quit: u64| {
        let mut deeds = Deeds::default();
        deed(&mut deeds);
        deeds.quit(at(quit), BOB);
        let Event::MemberLeft { slot, number, member, user, is_own, .. } = left(3, 2, "bob", why) else {
            unreachable!()
        };
        let left = Event::MemberLeft { slot, number, member, user, is_own, why, reason };
        deeds.event(SESSION, &left);
        issues_at_end(&deeds, &Intents::default(), false)
    };
    for deed in [KICKS, REMOVES, CLOSES] {
        for why in [LeaveReason::Left, LeaveReason::TimedOut] {
            assert_eq!(issues_of(deed, why, Reason::none(), 1_010), [""; 0], "{why} may be first");
            assert_noticed(&issues_of(deed, why, Reason::none(), 1_030), "is told to have left");
        }
    }
    assert_eq!(issues_of(REMOVES, LeaveReason::Kicked, deed(), 9_000), [""; 0]);
    assert_noticed(&issues_of(REMOVES, LeaveReason::Kicked, Reason::none(), 9_000), "is told to have left");
    let kicks_later: fn(&mut Deeds) = |deeds| {
        REMOVES(deeds);
        deeds.kicked(at(1_030), BOB, &deed());
    };
    assert_eq!(issues_of(KICKS, LeaveReason::Dropped, Reason::none(), 9_000), [""; 0]);
    assert_noticed(&issues_of(kicks_later, LeaveReason::Dropped, Reason::none(), 9_000), "to have left");
}

#[test]
fn a_member_that_asked_to_leave_or_to_be_kicked_may_have_been_first() {
    let mut deeds = Deeds::default();
    REMOVES(&mut deeds);
    deeds.quit(at(9_000), BOB);
    let mut intents = Intents::default();
    let kick = Kick { member: SEAT.member, reason: Reason::none() };
    intents.asked(Some(MINE), &Request::Kick(kick));
    intents.asked(Some(Mine { member: SEAT.member, ..MINE }), &Request::Leave);
    for why in [LeaveReason::Left, LeaveReason::Kicked] {
        deeds.event(SESSION, &left(3, 2, "bob", why));
        assert_eq!(issues_at_end(&deeds, &intents, false), [""; 0], "{why}");
    }
}
