//! Checks that a false answer of `info`, `list_mine` or `list_invites` is noticed.

use super::*;
use crate::wire::result::{Info, Membership};

const ID: RequestId = RequestId(1);

fn own_mirror(next: u64) -> Mirror {
    mirror(1, next, &[(1, "ann"), (2, "bob")])
}

/// What the session of [`own_mirror`] looks like when event 5 is next.
fn info() -> Info {
    Info {
        session: SESSION,
        settings: *own_mirror(5).settings(),
        owner: MemberId(1),
        members: 2,
        open_invites: 0,
        revision: Revision(0),
        next: EventNumber(5),
    }
}

/// Records the answer to `request`, sent by ann's first life at 100 and answered at 200, and returns the
/// issues.
fn answer(
    lists: &mut Lists,
    views: &[Mirror],
    request: &Request,
    outcome: Result<Value, RequestError>,
) -> Vec<String> {
    answer_in(&InviteBook::default(), lists, views, request, outcome)
}

fn answer_in(
    book: &InviteBook,
    lists: &mut Lists,
    views: &[Mirror],
    request: &Request,
    outcome: Result<Value, RequestError>,
) -> Vec<String> {
    let mut issues = Issues::default();
    lists.asked(ANN, ID, request, views.iter(), book);
    let asked = asked(100, request.clone());
    let sender = Sender { life: ANN, user: user("ann"), id: ID };
    lists.answered(at(200), &sender, &asked, &outcome, book, &mut issues);
    issues.lines
}

#[test]
fn an_info_that_was_never_true_is_noticed() {
    // The member knew event 4 as the next one, then all saw event 4, and no more.
    let issues_of = |info: Info, invited: usize| {
        let (mut lists, mut logs, mut issues) = (Lists::default(), Logs::default(), Issues::default());
        let mut book = InviteBook::default();
        (0..invited).for_each(|_| book.strange(MINE, &invite_of("bob")));
        logs.state(&own_mirror(5), &mut issues);
        let request = Request::Info(SESSION);
        issues.lines = answer_in(&book, &mut lists, &[own_mirror(4)], &request, Ok(Value::Info(info)));
        let there = own_mirror(5);
        let living = [(Life(1), user("ann"), vec![&there])];
        lists.finish(&living, &BTreeMap::new(), &logs, &book, &mut issues);
        issues.lines
    };
    assert_eq!(issues_of(info(), 0), [""; 0]);
    assert_eq!(issues_of(Info { next: EventNumber(4), members: 9, ..info() }, 0), [""; 0], "none saw that");
    assert_eq!(issues_of(Info { open_invites: 2, ..info() }, 2), [""; 0]);
    let settings = Settings { kind: SessionKind(9), ..info().settings };
    for (false_info, words) in [
        (Info { session: SessionId(9), ..info() }, "asked for"),
        (Info { next: EventNumber(3), ..info() }, "was next before"),
        (Info { next: EventNumber(6), ..info() }, "but event 5 is next"),
        (Info { open_invites: 3, ..info() }, "no more than 2 users were invited"),
        (Info { owner: MemberId(2), ..info() }, "its members knew"),
        (Info { members: 3, ..info() }, "its members knew"),
        (Info { revision: Revision(1), ..info() }, "its members knew"),
        (Info { settings, ..info() }, "its members knew"),
    ] {
        assert_noticed(&issues_of(false_info, 2), words);
    }
}

#[test]
fn a_member_that_is_told_to_be_none_is_noticed() {
    let issues_of = |stays| {
        let (mut lists, mut issues) = (Lists::default(), Issues::default());
        let (there, request) = (own_mirror(4), Request::Info(SESSION));
        answer(&mut lists, std::slice::from_ref(&there), &request, refused(ErrorCode::NotAMember));
        let views = if stays { vec![&there] } else { vec![] };
        let living = [(Life(1), user("ann"), views)];
        lists.finish(&living, &BTreeMap::new(), &Logs::default(), &InviteBook::default(), &mut issues);
        issues.lines
    };
    assert_eq!(issues_of(false), [""; 0], "its end may still have been on its way");
    assert_noticed(&issues_of(true), "is not at");
}

#[test]
fn a_member_that_acts_where_it_was_told_that_it_is_not_is_noticed() {
    let issues_of = |asked_at: u64| {
        let (mut lists, mut issues) = (Lists::default(), Issues::default());
        let (there, info) = (own_mirror(4), Request::Info(SESSION));
        answer(&mut lists, &[there], &info, refused(ErrorCode::NotAMember));
        let (leave, mine) = (Request::Leave, Mine { member: MemberId(1), ..MINE });
        let command = Asked { seat: Some(mine), ..asked(asked_at, leave) };
        let (done, book) = (Ok(Value::Empty), InviteBook::default());
        let sender = Sender { life: ANN, user: user("ann"), id: RequestId(2) };
        lists.answered(at(400), &sender, &command, &done, &book, &mut issues);
        issues.lines
    };
    assert_eq!(issues_of(199), [""; 0], "it may have been carried out before");
    assert_noticed(&issues_of(200), "where it then acted");
}

/// An entry of `list_mine` for the session in a slot.
fn entry(slot: u32) -> Membership {
    let entered = Entered { session: SESSION, slot: Slot(slot), member: MemberId(1) };
    Membership { entered, kind: SessionKind(1) }
}

/// Returns the issues of a list of ann's sessions, and at the end. She has entered slot 1 and left it again
/// if `is_over`; at the end she has been at `seat`, and still is if `stays`.
fn issues_of_mine(is_over: bool, listed: Vec<Membership>, seat: MemberId, stays: bool) -> Vec<String> {
    let (mut lists, mut issues) = (Lists::default(), Issues::default());
    let there = own_mirror(4);
    lists.event(Life(1), &entered(there.clone()));
    if is_over {
        let (number, why, reason) = (EventNumber(4), crate::wire::DeleteReason::Idle, Reason::none());
        lists.event(Life(1), &Event::SessionDeleted { slot: Slot(1), number, why, reason });
    }
    issues.lines = answer(&mut lists, &[], &Request::ListMine, Ok(Value::Sessions(listed)));
    let views = if stays { vec![&there] } else { vec![] };
    let living = [(Life(1), user("ann"), views)];
    let seats = [(Seat { session: SESSION, member: seat }, Life(1))].into();
    lists.finish(&living, &seats, &Logs::default(), &InviteBook::default(), &mut issues);
    issues.lines
}

#[test]
fn a_list_of_sessions_that_lacks_one_or_has_one_too_many_is_noticed() {
    let ann = MemberId(1);
    assert_eq!(issues_of_mine(false, vec![entry(1)], ann, true), [""; 0]);
    assert_eq!(issues_of_mine(false, vec![], ann, false), [""; 0], "its end may have been on its way");
    assert_noticed(&issues_of_mine(false, vec![], ann, true), "is not at");
    assert_noticed(&issues_of_mine(true, vec![entry(1)], ann, false), "had ended before");
    assert_eq!(issues_of_mine(true, vec![entry(2)], ann, true), [""; 0], "she enters it later");
    assert_noticed(&issues_of_mine(true, vec![entry(2)], MemberId(7), false), "which it never entered");
    assert_noticed(&issues_of_mine(false, vec![entry(2), entry(1)], ann, false), "not in the order");
}

/// The state after ann was told of the invites 1 and 2, of which 2 is over.
fn two_known() -> Scene {
    let mut scene = Scene::new();
    for number in [1, 2] {
        scene.tell(0, ANN, &Event::Invited(invitation(number, "cat")));
    }
    scene.tell(0, ANN, &Event::InviteRevoked { invite: InviteId { number: 2, ..INVITE } });
    scene
}

fn listed(numbers: &[u32]) -> Result<Value, RequestError> {
    Ok(Value::Invites(numbers.iter().map(|number| invitation(*number, "cat")).collect()))
}

/// Returns the issues at the end.
fn finish(lists: &Lists, book: &InviteBook) -> Vec<String> {
    let mut issues = Issues::default();
    let living = [(ANN, user("ann"), vec![])];
    lists.finish(&living, &BTreeMap::new(), &Logs::default(), book, &mut issues);
    issues.lines
}

#[test]
fn a_list_of_invites_with_one_too_many_is_noticed() {
    let issues_of = |outcome: Result<Value, RequestError>| {
        let (mut lists, scene) = (Lists::default(), two_known());
        let mut lines = answer_in(&scene.book, &mut lists, &[], &Request::ListInvites, outcome);
        lines.extend(finish(&lists, &scene.book));
        lines
    };
    assert_eq!(issues_of(listed(&[1])), [""; 0]);
    assert_eq!(issues_of(listed(&[])), [""; 0], "it may just have ended");
    assert_noticed(&issues_of(listed(&[2])), "was over before");
    assert_noticed(&issues_of(listed(&[1, 1])), "an invite twice");
    assert_noticed(&issues_of(listed(&[3])), "never of itself");
    let by_ann = Ok(Value::Invites(vec![invitation(1, "ann")]));
    assert_noticed(&issues_of(by_ann), "by the user themselves");
}

#[test]
fn a_list_of_invites_that_lacks_one_that_admits_later_is_noticed() {
    let issues_of = |numbers: &[u32], joins_at: u64| {
        let (mut lists, mut scene) = (Lists::default(), two_known());
        answer_in(&scene.book, &mut lists, &[], &Request::ListInvites, listed(numbers));
        scene.ask(ANN, [joins_at, 300], join_by_invite(), is_in());
        finish(&lists, &scene.book)
    };
    assert_eq!(issues_of(&[1], 200), [""; 0]);
    assert_eq!(issues_of(&[], 199), [""; 0], "the join may have been carried out before");
    assert_noticed(&issues_of(&[], 200), "but it was open later");
}

#[test]
fn a_list_of_invites_that_lacks_one_whose_time_is_not_over_is_noticed() {
    // The list came at 200.
    let issues_of = |left: u32, numbers: &[u32]| {
        let (mut lists, mut scene) = (Lists::default(), Scene::new());
        let told = Invitation { ttl_left_ms: left, ..invitation(1, "cat") };
        scene.tell(0, ANN, &Event::Invited(told));
        answer_in(&scene.book, &mut lists, &[], &Request::ListInvites, listed(numbers));
        scene.tell(5_000, ANN, &Event::InviteExpired { invite: INVITE, user: None });
        finish(&lists, &scene.book)
    };
    assert_eq!(issues_of(1_000, &[1]), [""; 0]);
    assert_eq!(issues_of(200, &[]), [""; 0]);
    assert_noticed(&issues_of(1_000, &[]), "but it expired later");
}
