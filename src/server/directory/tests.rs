//! Users that connect, disconnect and are invited, one after the other and concurrently.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::base::sync::model;
use crate::base::{InviteId, SessionId, SessionKind, Timestamp, Wire};
use crate::wire::Note;

const NOW: Timestamp = Timestamp::ZERO;
const LIMITS: DirectoryLimits =
    DirectoryLimits { users: 100, sessions_per_user: 2, invites_per_user: 2, invites_by_user: 100 };

fn directory() -> Directory {
    Directory::new(4, LIMITS)
}

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

fn owner() -> UserId {
    user("owner")
}

fn other() -> UserId {
    user("other")
}

fn invite(number: u32) -> OpenInvite {
    OpenInvite {
        id: InviteId { session: SessionId(7), number },
        kind: SessionKind(1),
        owner: owner(),
        expires: Timestamp::from_millis(1_000),
        note: Note::none(),
    }
}

fn open(directory: &Directory, user: &UserId, number: u32) -> Option<ConnectionId> {
    directory.reserve_invite(NOW, user, &owner(), SessionId(7)).unwrap();
    let mut told = None;
    directory.commit_invite(NOW, user, invite(number), None, |live, _| told = Some(live));
    told
}

/// At each length of a varint.
#[test]
fn an_invitation_is_as_long_as_is_said_before_it_is_made() {
    for (number, name, note) in
        [(1, 1, 0), (63, 63, 63), (64, 64, 64), (1 << 14, 9, 256), (u32::MAX, 64, 256)]
    {
        let (owner, note) = (user(&"o".repeat(name)), Note::new(&"n".repeat(note)).unwrap());
        for ttl in [0, 63, 64, 1 << 14, 1 << 30, u64::MAX >> 20] {
            let expires = Timestamp::from_millis(ttl);
            let open = OpenInvite { owner: owner.clone(), note: note.clone(), expires, ..invite(number) };
            assert_eq!(open.invitation_bytes(NOW), open.invitation(NOW).to_bytes().len());
        }
    }
}

// spec-test: HSK-15
#[test]
fn a_second_connection_replaces_the_first() {
    let (directory, ann) = (directory(), user("ann"));
    let [first, second] = [1, 2].map(|id| directory.connect(&ann, ConnectionId(id)).unwrap());
    assert_eq!([first.replaced, second.replaced], [None, Some(ConnectionId(1))]);
    assert!(first.number < second.number);

    directory.disconnect(&ann, ConnectionId(1));
    assert_eq!(
        directory.live(&ann),
        Some(ConnectionId(2)),
        "the end of a replaced connection changes nothing"
    );
}

// spec-test: INV-6
#[test]
fn an_invite_is_told_once_to_each_connection() {
    let (directory, ann) = (directory(), user("ann"));
    assert_eq!(open(&directory, &ann, 1), None, "nobody is there to be told");
    let pending = directory.connect(&ann, ConnectionId(1)).unwrap();
    assert_eq!(pending.invites, [invite(1)]);
    assert_eq!(open(&directory, &ann, 2), Some(ConnectionId(1)));
}

#[test]
fn an_ended_invite_is_told_only_where_it_was_open() {
    let (directory, ann) = (directory(), user("ann"));
    directory.connect(&ann, ConnectionId(1)).unwrap();
    open(&directory, &ann, 1);
    let mut told = 0;
    directory.withdraw_invite(NOW, &ann, invite(1).id, |_| told += 1);
    directory.withdraw_invite(NOW, &ann, invite(1).id, |_| told += 1);
    assert_eq!((told, directory.invites(&ann)), (1, vec![]));
}

#[test]
fn an_invite_takes_the_place_of_the_one_it_replaces() {
    let (directory, ann) = (directory(), user("ann"));
    open(&directory, &ann, 1);
    directory.reserve_invite(NOW, &ann, &owner(), SessionId(7)).unwrap();
    directory.commit_invite(NOW, &ann, invite(2), Some(invite(1).id), |_, _| ());
    assert_eq!(directory.invites(&ann), [invite(2)]);
}

#[test]
fn an_invite_that_ends_before_its_commit_is_never_told() {
    let (directory, ann) = (directory(), user("ann"));
    directory.connect(&ann, ConnectionId(1)).unwrap();
    directory.reserve_invite(NOW, &ann, &owner(), SessionId(7)).unwrap();
    directory.withdraw_invite(NOW, &ann, invite(1).id, |_| panic!("it was not told of"));
    directory.commit_invite(NOW, &ann, invite(1), None, |_, _| panic!("it has ended"));
    assert_eq!(directory.invites(&ann), []);
    assert_eq!(open(&directory, &ann, 1), Some(ConnectionId(1)), "the mark went with the reservation");
}

// spec-test: INV-7
#[test]
fn the_end_of_an_invite_is_told_if_what_replaced_it_never_is() {
    let (directory, ann) = (directory(), user("ann"));
    for connected in [false, true] {
        if connected {
            directory.connect(&ann, ConnectionId(1)).unwrap();
        }
        open(&directory, &ann, 1);
        directory.reserve_invite(NOW, &ann, &owner(), SessionId(7)).unwrap();
        directory.withdraw_invite(NOW, &ann, invite(2).id, |_| panic!("it was not told of"));
        let mut told = Vec::new();
        directory.commit_invite(NOW, &ann, invite(2), Some(invite(1).id), |live, news| match news {
            InviteNews::Revoked(invite) => told.push((live, invite)),
            InviteNews::Invited(_) => panic!("it has ended"),
        });
        assert_eq!(directory.invites(&ann), []);
        let expected = connected.then_some((ConnectionId(1), invite(1).id));
        assert_eq!(told, Vec::from_iter(expected));
    }
}

// spec-test: LIM-1
#[test]
fn invites_by_a_user_are_counted_until_each_is_over_in_whatever_way() {
    let directory = Directory::new(4, DirectoryLimits { invites_by_user: 2, ..LIMITS });
    let users = ["ann", "ben", "cid"].map(user);
    let full = Err(LimitReached { limit: 2 });
    let reserve = |user: &UserId| directory.reserve_invite(NOW, user, &owner(), SessionId(7));
    let fill = || {
        for (user, number) in users.iter().zip([1, 2]) {
            open(&directory, user, number);
        }
        assert_eq!(reserve(&users[2]), full);
    };
    // Ended while open, one of them twice.
    fill();
    for (user, number) in [(0, 1), (0, 1), (1, 2)] {
        directory.withdraw_invite(NOW, &users[user], invite(number).id, |_| ());
    }
    // Replaced, also at the limit.
    fill();
    reserve(&users[1]).unwrap();
    directory.commit_invite(NOW, &users[1], invite(3), Some(invite(2).id), |_, _| ());
    assert_eq!(reserve(&users[2]), full);
    directory.withdraw_invite(NOW, &users[0], invite(1).id, |_| ());
    directory.withdraw_invite(NOW, &users[1], invite(3).id, |_| ());
    // Cancelled, and ended before it was committed.
    reserve(&users[0]).unwrap();
    reserve(&users[1]).unwrap();
    assert_eq!(reserve(&users[2]), full);
    directory.cancel_invite(&users[0], &owner());
    directory.withdraw_invite(NOW, &users[1], invite(4).id, |_| ());
    directory.commit_invite(NOW, &users[1], invite(4), None, |_, _| panic!("it has ended"));
    // Refused for another reason.
    let narrow = Directory::new(4, DirectoryLimits { invites_per_user: 1, invites_by_user: 2, ..LIMITS });
    narrow.reserve_invite(NOW, &users[0], &owner(), SessionId(7)).unwrap();
    for _ in 0..3 {
        narrow.reserve_invite(NOW, &users[0], &owner(), SessionId(8)).unwrap_err();
    }
    narrow.reserve_invite(NOW, &users[1], &owner(), SessionId(7)).unwrap();
    narrow.cancel_invite(&users[0], &owner());
    narrow.cancel_invite(&users[1], &owner());
    assert!(narrow.is_empty() && directory.is_empty(), "nothing is counted any more");
}

// spec-test: LIM-1
#[test]
fn one_inviter_has_a_quarter_of_the_places_and_others_have_the_rest() {
    let directory = Directory::new(4, DirectoryLimits { invites_per_user: 8, ..LIMITS });
    let (ann, owner) = (user("ann"), user("owner"));
    for number in 1..=2 {
        let id = InviteId { session: SessionId(number), number: 1 };
        directory.reserve_invite(NOW, &ann, &owner, id.session).unwrap();
        let open = OpenInvite { id, owner: owner.clone(), ..invite(1) };
        directory.commit_invite(NOW, &ann, open, None, |_, _| {});
    }
    assert_eq!(directory.reserve_invite(NOW, &ann, &owner, SessionId(3)), Err(LimitReached { limit: 8 }));
    assert_eq!(directory.reserve_invite(NOW, &ann, &owner, SessionId(2)), Ok(()), "in place of an open one");
    assert_eq!(directory.reserve_invite(NOW, &ann, &other(), SessionId(3)), Ok(()));
    // The invite of a session whose owner has changed is not the new owner's own.
    let id = InviteId { session: SessionId(3), number: 1 };
    directory.commit_invite(NOW, &ann, OpenInvite { id, owner: other(), ..invite(1) }, None, |_, _| {});
    assert_eq!(directory.reserve_invite(NOW, &ann, &owner, SessionId(3)), Err(LimitReached { limit: 8 }));
}

// spec-test: LIM-9
#[test]
fn invites_that_come_and_go_count_for_a_while_toward_their_inviter_and_all() {
    let directory = Directory::new(4, DirectoryLimits { invites_per_user: 16, ..LIMITS });
    let (ann, full) = (user("ann"), Err(LimitReached { limit: 16 }));
    let reserve = |now, by: &str, session| directory.reserve_invite(now, &ann, &user(by), SessionId(session));
    let come_and_go = |now, by: &str, session| {
        reserve(now, by, session)?;
        let id = InviteId { session: SessionId(session), number: 1 };
        let open = OpenInvite { id, owner: user(by), ..invite(1) };
        directory.commit_invite(now, &ann, open, None, |_, _| ());
        directory.withdraw_invite(now, &ann, id, |_| ());
        Ok(())
    };
    for _ in 0..20 {
        assert_eq!(come_and_go(NOW, "owner", 1), Ok(()), "who is not there is told of none");
    }
    directory.connect(&ann, ConnectionId(1)).unwrap();
    // Three by revoking, one by replacing.
    for _ in 0..3 {
        come_and_go(NOW, "owner", 1).unwrap();
    }
    assert_eq!(open(&directory, &ann, 1), Some(ConnectionId(1)));
    reserve(NOW, "owner", 7).unwrap();
    directory.commit_invite(NOW, &ann, invite(2), Some(invite(1).id), |_, _| ());
    for session in [1, 7] {
        assert_eq!(reserve(NOW, "owner", session), full);
    }
    // An invite that the user ends no longer counts.
    directory.settle_invite(&ann, invite(2).id, |_| ());
    for _ in 0..4 {
        for inviter in ["ben", "cid", "dan"] {
            come_and_go(NOW, inviter, 2).unwrap();
        }
    }
    for inviter in ["eve", "fay"] {
        assert_eq!(come_and_go(NOW, inviter, 3), Ok(()), "four do not keep a fifth from inviting");
        assert_eq!(reserve(NOW, inviter, 3), full, "but there are as many as may be open");
    }
    assert_eq!(come_and_go(NOW + Duration::from_millis(9_999), "owner", 1), full);
    let later = NOW + Duration::from_secs(10);
    for _ in 0..4 {
        assert_eq!(come_and_go(later, "owner", 1), Ok(()));
    }
    assert_eq!(come_and_go(later, "owner", 1), full);
    directory.disconnect(&ann, ConnectionId(1));
    assert!(directory.is_empty(), "nor does it outlive the connection");
}

// spec-test: LIM-9
#[test]
fn a_quarter_of_the_places_may_come_and_go_by_one_inviter_and_four_at_least() {
    for (invites_per_user, allowed) in [(8, 4), (64, 16)] {
        let directory = Directory::new(4, DirectoryLimits { invites_per_user, ..LIMITS });
        let ann = user("ann");
        directory.connect(&ann, ConnectionId(1)).unwrap();
        let come_and_go = |_: &i32| {
            let reserved = directory.reserve_invite(NOW, &ann, &owner(), SessionId(7));
            reserved.map(|()| {
                directory.commit_invite(NOW, &ann, invite(1), None, |_, _| ());
                directory.withdraw_invite(NOW, &ann, invite(1).id, |_| ());
            })
        };
        let came = (0..100).take_while(|number| come_and_go(number).is_ok()).count();
        assert_eq!(came, allowed, "of {invites_per_user}");
    }
}

// spec-test: LIM-1
#[test]
fn limits_count_what_is_reserved() {
    let (directory, ann) = (directory(), user("ann"));
    open(&directory, &ann, 1);
    let of_another = SessionId(8);
    directory.reserve_invite(NOW, &ann, &other(), of_another).unwrap();
    assert_eq!(directory.reserve_invite(NOW, &ann, &other(), of_another), Err(LimitReached { limit: 2 }));
    assert_eq!(
        directory.reserve_invite(NOW, &ann, &other(), SessionId(7)),
        Ok(()),
        "in place of the open one"
    );
    assert_eq!(directory.reserve_invite(NOW, &ann, &other(), SessionId(7)), Err(LimitReached { limit: 2 }));
    directory.cancel_invite(&ann, &other());
    directory.cancel_invite(&ann, &other());
    assert_eq!(directory.reserve_invite(NOW, &ann, &other(), of_another), Ok(()));

    directory.reserve_session(&ann).unwrap();
    directory.reserve_session(&ann).unwrap();
    assert_eq!(directory.reserve_session(&ann), Err(LimitReached { limit: 2 }));
    directory.release_session(&ann);
    assert_eq!(directory.reserve_session(&ann), Ok(()));
}

#[test]
fn users_of_which_nothing_is_known_take_no_memory() {
    let (directory, ann) = (directory(), user("ann"));
    directory.connect(&ann, ConnectionId(1)).unwrap();
    directory.reserve_session(&ann).unwrap();
    open(&directory, &ann, 1);
    assert_eq!(directory.len(), 2, "the one who invites is known as well");
    directory.withdraw_invite(NOW, &ann, invite(1).id, |_| ());
    directory.release_session(&ann);
    directory.disconnect(&ann, ConnectionId(1));
    assert!(directory.is_empty());
}

// spec-test: HSK-15
#[test]
fn of_connections_at_the_same_time_exactly_one_stays() {
    let (directory, ann) = (directory(), user("ann"));
    let replaced = Mutex::new(vec![]);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (directory, ann, replaced) = (&directory, &ann, &replaced);
            scope.spawn(move || {
                for number in 0..100 {
                    let id = ConnectionId(thread * 1_000 + number);
                    replaced.lock().extend(directory.connect(ann, id).unwrap().replaced);
                }
            });
        }
    });
    let mut all = std::mem::take(&mut *replaced.lock());
    all.extend(directory.live(&ann));
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 400, "each was replaced once, but the last");
}

/// A user who connects again takes their own place, and the end of the older connection frees none.
// spec-test: LIM-5
#[test]
fn of_users_at_the_same_time_no_more_are_connected_than_may_be() {
    model::check(300, || {
        let directory = Arc::new(Directory::new(4, DirectoryLimits { users: 2, ..LIMITS }));
        directory.connect(&user("ann"), ConnectionId(1)).unwrap();
        let others = [("ben", 3), ("eve", 4)].map(|(name, id)| {
            let directory = Arc::clone(&directory);
            shuttle::thread::spawn(move || directory.connect(&user(name), ConnectionId(id)).is_some())
        });
        assert!(directory.has_place(&user("ann")));
        assert!(directory.connect(&user("ann"), ConnectionId(2)).is_some());
        directory.disconnect(&user("ann"), ConnectionId(1));
        let let_in = others.map(|other| other.join().unwrap());
        assert!(let_in[0] != let_in[1], "one of the two has the last place");
        assert_eq!((directory.users(), directory.len()), (2, 2), "nothing is kept of the other");
        assert!(!directory.has_place(&user("tim")));
        directory.disconnect(&user("ann"), ConnectionId(2));
        assert!(
            directory.has_place(&user("tim")) && directory.connect(&user("tim"), ConnectionId(5)).is_some()
        );
    });
}

// spec-test: INV-6
#[test]
fn who_connects_while_they_are_invited_hears_of_the_invite_once() {
    model::check(200, || {
        let (directory, ann) = (Arc::new(directory()), user("ann"));
        directory.reserve_invite(NOW, &ann, &owner(), SessionId(7)).unwrap();
        let told = Arc::new(Mutex::new(0));
        let invites = {
            let (directory, ann, told) = (Arc::clone(&directory), ann.clone(), Arc::clone(&told));
            shuttle::thread::spawn(move || {
                directory.commit_invite(NOW, &ann, invite(1), None, |_, _| *told.lock() += 1);
            })
        };
        let found = directory.connect(&ann, ConnectionId(1)).unwrap().invites.len();
        invites.join().unwrap();
        assert_eq!(found + *told.lock(), 1);
    });
}

#[test]
fn an_invite_and_its_end_leave_nothing_behind_in_any_order() {
    model::check(200, || {
        let (directory, ann) = (Arc::new(directory()), user("ann"));
        directory.connect(&ann, ConnectionId(1)).unwrap();
        directory.reserve_invite(NOW, &ann, &owner(), SessionId(7)).unwrap();
        let told = Arc::new(Mutex::new(vec![]));
        let ends = {
            let (directory, ann, told) = (Arc::clone(&directory), ann.clone(), Arc::clone(&told));
            shuttle::thread::spawn(move || {
                directory.withdraw_invite(NOW, &ann, invite(1).id, |_| told.lock().push("end"));
            })
        };
        directory.commit_invite(NOW, &ann, invite(1), None, |_, _| told.lock().push("invite"));
        ends.join().unwrap();
        let told = told.lock();
        assert!(told.is_empty() || *told == ["invite", "end"], "{told:?}");
        assert_eq!(directory.invites(&ann), []);
    });
}
