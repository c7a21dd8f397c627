//! Races: commands of several workers on one session, under many orders of taking the locks.
//!
//! Mail goes through its own lock, so that other tasks may run between a change and its mail, and between the
//! mails of one change. Each test also checks that every outcome that it allows has occurred: a race that
//! only one side ever wins proves nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::*;
use crate::base::Revision;
use crate::base::sync::{Mutex, model};
use crate::wire::{PropertyKey, PropertyOp, PropertyValue, WriteRule};

/// The port that all workers share.
#[derive(Clone)]
struct Shared(Arc<Mutex<Mail>>);

impl WorkerPort for Shared {
    fn reserve(&mut self, workers: &[WorkerId], load: Load) -> Result<(), MailboxFull> {
        self.0.lock().reserve(workers, load)
    }

    fn post(&mut self, to: WorkerId, fanout: Fanout, from: RoomFrom) {
        self.0.lock().post(to, fanout, from);
    }

    fn wake(&mut self, keeper: WorkerId) {
        self.0.lock().wake(keeper);
    }
}

/// A table that workers share.
#[derive(Clone)]
struct Racers {
    table: Arc<SessionTable>,
    mail: Shared,
    now: Timestamp,
}

impl Racers {
    /// Takes over a world whose earlier mail has been delivered.
    fn of(world: World) -> Self {
        let World { table, now, .. } = world;
        Self { table: Arc::new(table), mail: Shared(Arc::new(Mutex::new(Mail::default()))), now }
    }

    /// Starts a command on another worker.
    fn start<T: Send + 'static>(
        &self,
        command: impl FnOnce(&SessionTable, Timestamp, &mut Shared) -> T + Send + 'static,
    ) -> shuttle::thread::JoinHandle<T> {
        let Self { table, mut mail, now } = self.clone();
        shuttle::thread::spawn(move || command(&table, now, &mut mail))
    }

    /// Returns the mail of a worker, in order.
    fn mail_of(&self, worker: WorkerId) -> Vec<Change> {
        let mail = self.mail.0.lock();
        let its = mail.posted.iter().filter(|(to, _)| *to == worker);
        its.map(|(_, fanout)| fanout.change.clone()).collect()
    }

    fn numbers_of(&self, worker: WorkerId) -> Vec<u64> {
        self.mail_of(worker).iter().filter_map(number_of).collect()
    }
}

/// Runs `race` under many schedules and checks that it has as many distinct outcomes as `outcomes`.
fn check_outcomes(outcomes: usize, race: impl Fn() -> String + Send + Sync + 'static) {
    let seen = model::outcomes(outcomes, race);
    assert_eq!(seen.len(), outcomes, "{seen:?}");
}

fn kinds(changes: &[Change]) -> Vec<&'static str> {
    let kind = |change: &Change| match change {
        Change::Joined { .. } => "joined",
        Change::Left { .. } => "left",
        Change::Message { .. } => "message",
        Change::Deleted { .. } => "deleted",
        _ => "other",
    };
    changes.iter().map(kind).collect()
}

fn hp(op: fn(PropertyKey) -> PropertyOp) -> PropertyOps {
    PropertyOps::new(vec![op(PropertyKey::new("hp").unwrap())]).unwrap()
}

#[test]
fn of_two_joins_for_the_last_seat_one_is_admitted() {
    check_outcomes(2, || {
        let mut world = World::new();
        let max_members = MaxMembers::new(2).unwrap();
        let session = world.create("a", Settings { max_members, ..open() }).session;
        let racers = Racers::of(world);
        let [b, c] = ["b", "c"].map(|name| {
            racers.start(move |table, now, mail| {
                table.join(now, entrant(&user(name)), Join::Session(session), mail)
            })
        });
        let (b, c) = (b.join().unwrap(), c.join().unwrap());
        assert!(b.is_ok() != c.is_ok(), "promise 1: {b:?} {c:?}");
        assert_eq!(b.and(c), Err(ErrorCode::SessionFull));
        assert_eq!(kinds(&racers.mail_of(at("a").worker)), ["joined"]);
        assert_eq!(racers.table.info(&user("a"), session).unwrap().members, 2);
        format!("b was admitted: {}", b.is_ok())
    });
}

// spec-test: HSK-15
#[test]
fn of_two_connections_that_replace_an_older_one_the_newest_stays() {
    check_outcomes(2, || {
        let mut world = World::new();
        let session = world.create("a", open()).session;
        world.join("b", Join::Session(session)).unwrap();
        let racers = Racers::of(world);
        let [second, third] = [2, 3].map(LoginNumber).map(|login| {
            racers.start(move |table, now, mail| {
                let (user, at) = (user("b"), MemberAt { login, ..at("b") });
                table
                    .join(now, Entrant { at, ..entrant(&user) }, Join::Session(session), mail)
                    .map(|admitted| admitted.member_ref())
            })
        });
        let (second, third) = (second.join().unwrap(), third.join().unwrap());
        assert!(third.is_ok(), "{third:?}");
        assert!(matches!(second, Ok(_) | Err(ErrorCode::AlreadyMember)), "{second:?}");
        let left =
            racers.start(move |table, now, mail| table.leave(now, third.unwrap(), LeaveReason::Left, mail));
        assert!(left.join().unwrap().is_ok(), "it is the member");
        format!("the second was in: {}", second.is_ok())
    });
}

// spec-test: SES-10
#[test]
fn of_a_join_and_an_invite_that_holds_the_last_seat_one_gets_it() {
    check_outcomes(2, || {
        let mut world = World::new();
        let max_members = MaxMembers::new(2).unwrap();
        let ann = world.create("a", Settings { max_members, ..open() });
        let racers = Racers::of(world);
        let join = racers.start(move |table, now, mail| {
            table.join(now, entrant(&user("c")), Join::Session(ann.session), mail).map(|_| ())
        });
        let hold = racers.start(move |table, now, mail| {
            let invite = Invite { hold_seat: true, ..invite_of("b") };
            let inviting = table.invite(now, ann, &invite, &[user("b")], mail).unwrap();
            inviting.users[0].map(|_| ())
        });
        let (joined, held) = (join.join().unwrap(), hold.join().unwrap());
        assert_ne!(joined, held, "promise 1");
        assert_eq!(joined.and(held), Err(ErrorCode::SessionFull));
        format!("c was admitted: {}", joined.is_ok())
    });
}

#[test]
fn an_invite_admits_once_though_its_user_uses_it_twice_at_a_time() {
    check_outcomes(2, || {
        let mut world = World::new();
        let ann = world.create("a", settings());
        let invite = world.invite(ann, "b");
        let racers = Racers::of(world);
        let uses = [(); 2].map(|()| {
            racers.start(move |table, now, mail| {
                table.join(now, entrant(&user("b")), Join::Invite(invite), mail)
            })
        });
        let [first, second] = uses.map(|used| used.join().unwrap());
        assert!(first.is_ok() != second.is_ok(), "promise 2: {first:?} {second:?}");
        assert_eq!(first.and(second), Err(ErrorCode::InviteUsed));
        format!("the first was admitted: {}", first.is_ok())
    });
}

#[test]
fn a_join_is_before_the_deletion_and_is_told_of_it_or_finds_no_session() {
    check_outcomes(2, || {
        let mut world = World::new();
        let ann = world.create("a", settings());
        let invite = world.invite(ann, "b");
        let racers = Racers::of(world);
        let join = racers
            .start(move |table, now, mail| table.join(now, entrant(&user("b")), Join::Invite(invite), mail));
        let delete = racers.start(move |table, now, mail| table.delete(now, ann, Reason::none(), mail));
        let (joined, deleted) = (join.join().unwrap(), delete.join().unwrap().unwrap());
        let told = kinds(&racers.mail_of(at("b").worker)).join(", ");
        match joined {
            Ok(_) => assert_eq!((told.as_str(), deleted.revoked.len()), ("joined, deleted", 0)),
            Err(code) => {
                assert_eq!((code, told.as_str()), (ErrorCode::NoSuchSession, ""));
                assert_eq!(deleted.revoked, [EndedInvite { invite, user: user("b") }]);
            }
        }
        assert!(racers.table.is_empty());
        told
    });
}

#[test]
fn a_leaver_is_told_every_message_before_its_leave_and_none_after_it() {
    // Of the six orders, two look the same: the leaver's message is refused after the leave.
    check_outcomes(5, || {
        let mut world = World::new();
        let ann = world.create("a", open());
        let session = ann.session;
        let bob = member_ref(session, world.join("b", Join::Session(session)).unwrap());
        let racers = Racers::of(world);
        let say = |who| {
            let ordered = broadcast(Delivery::ReliableOrdered, b"hello");
            racers.start(move |table, now, mail| table.broadcast(now, who, ordered, mail))
        };
        let (from_ann, from_bob) = (say(ann), say(bob));
        let leave = racers.start(move |table, now, mail| table.leave(now, bob, LeaveReason::Left, mail));
        assert_eq!(from_ann.join().unwrap(), Ok(()));
        let from_bob = from_bob.join().unwrap();
        assert!(leave.join().unwrap().is_ok());
        let (to_ann, to_bob) = (racers.mail_of(at("a").worker), racers.mail_of(at("b").worker));
        let (to_ann, to_bob) = (kinds(&to_ann), kinds(&to_bob));
        assert_eq!(to_bob.last(), Some(&"left"), "promise 3: nothing after leave");
        assert_eq!(to_ann[..to_bob.len()], to_bob, "promise 3: the same for both until then");
        let messages = to_ann.iter().filter(|kind| **kind == "message").count();
        assert_eq!(messages, 1 + usize::from(from_bob.is_ok()));
        assert!(matches!(from_bob, Ok(()) | Err(ErrorCode::NotAMember)));
        format!("{:?} {from_bob:?}", senders(&racers.mail_of(at("a").worker)))
    });
}

/// The keeper scans the stripes while a deadline is armed, then sleeps until the earliest one that it found.
#[test]
fn no_deadline_that_is_armed_meanwhile_is_slept_through() {
    check_outcomes(2, || {
        let table = SessionTable::new(1, 1, SessionLimits::default(), StdRng::seed_from_u64(7));
        let (mut world, keeper) = (World { table, ..World::new() }, WorkerId(0));
        let ann = world.create("a", open());
        let racers = Racers::of(world);
        let invite = racers.start(move |table, now, mail| {
            table.invite(now, ann, &invite_of("b"), &[user("b")], mail).unwrap();
        });
        let look = racers.start(move |table, _, _| {
            let seen = table.begin_expiry(keeper).filter_map(|stripe| table.next_deadline(stripe)).min();
            table.end_expiry(keeper);
            seen
        });
        invite.join().unwrap();
        let seen = look.join().unwrap();
        let armed = racers.table.next_deadline(0).unwrap();
        assert!(racers.table.earliest_deadline(keeper).is_some_and(|at| at <= armed));
        format!("{seen:?}")
    });
}

/// Returns the sender of each message; `None` for other changes.
fn senders(changes: &[Change]) -> Vec<Option<MemberId>> {
    let sender = |change: &Change| match change {
        Change::Message { sender, .. } => Some(*sender),
        _ => None,
    };
    changes.iter().map(sender).collect()
}

#[test]
fn of_two_compare_and_sets_on_one_value_one_wins() {
    check_outcomes(2, || {
        let mut world = World::new();
        let ann = world.create("a", open());
        let session = ann.session;
        let bob = member_ref(session, world.join("b", Join::Session(session)).unwrap());
        let racers = Racers::of(world);
        let claim = |who| {
            let ops = hp(|key| PropertyOp::CompareAndSet {
                key,
                expected: None,
                value: Some(PropertyValue::Integer(1)),
                rule: Some(WriteRule::Any),
            });
            racers.start(move |table, now, mail| table.set_properties(now, who, &ops, mail))
        };
        let (from_ann, from_bob) = (claim(ann), claim(bob));
        let (from_ann, from_bob) = (from_ann.join().unwrap(), from_bob.join().unwrap());
        let results = BTreeSet::from([from_ann, from_bob]);
        let one_wins = BTreeSet::from([Ok(Revision(1)), Err(ErrorCode::PropertyMismatch)]);
        assert_eq!(results, one_wins, "promise 7");
        assert_eq!(racers.numbers_of(at("a").worker).len(), 1);
        format!("ann won: {}", from_ann.is_ok())
    });
}

#[test]
fn no_increment_is_lost() {
    check_outcomes(2, || {
        let mut world = World::new();
        let ann = world.create("a", open());
        let session = ann.session;
        let bob = member_ref(session, world.join("b", Join::Session(session)).unwrap());
        let zero =
            |key| PropertyOp::Set { key, value: PropertyValue::Integer(0), rule: Some(WriteRule::Any) };
        world.set(ann, &hp(zero)).unwrap();
        let racers = Racers::of(world);
        let add = |who| {
            let ops = hp(|key| PropertyOp::Increment { key, delta: 1 });
            racers.start(move |table, now, mail| table.set_properties(now, who, &ops, mail))
        };
        let (from_ann, from_bob) = (add(ann), add(bob));
        let (from_ann, from_bob) = (from_ann.join().unwrap(), from_bob.join().unwrap());
        let revisions = BTreeSet::from([from_ann, from_bob]);
        assert_eq!(revisions, BTreeSet::from([Ok(Revision(2)), Ok(Revision(3))]), "promise 7");
        let two = hp(|key| PropertyOp::CompareAndSet {
            key,
            expected: Some(PropertyValue::Integer(2)),
            value: None,
            rule: None,
        });
        let check = racers.start(move |table, now, mail| table.set_properties(now, ann, &two, mail));
        assert_eq!(check.join().unwrap(), Ok(Revision(4)), "promise 7: the sum is two");
        format!("{from_ann:?}")
    });
}

#[test]
fn every_worker_gets_its_mail_in_the_order_of_the_event_numbers() {
    // Six orders of three commands.
    check_outcomes(6, || {
        let mut world = World::new();
        let ann = world.create("a", open());
        let session = ann.session;
        let bob = world.join("b", Join::Session(session)).unwrap();
        world.join("c", Join::Session(session)).unwrap();
        let next = world.table.info(&user("a"), session).unwrap().next.0;
        let racers = Racers::of(world);
        let ordered = || broadcast(Delivery::ReliableOrdered, b"hello");
        let set = hp(|key| PropertyOp::Set { key, value: PropertyValue::Integer(1), rule: None });
        let tasks = [
            racers.start(move |table, now, mail| table.broadcast(now, ann, ordered(), mail)),
            racers.start(move |table, now, mail| table.transfer(now, ann, bob, mail)),
            racers.start(move |table, now, mail| {
                table.set_properties(now, member_ref(session, bob), &set, mail).map(|_| ())
            }),
        ];
        for task in tasks {
            assert_eq!(task.join().unwrap(), Ok(()));
        }
        let sent: Vec<_> = ["a", "b", "c"].map(|name| racers.mail_of(at(name).worker)).into();
        for changes in &sent {
            let numbers: Vec<_> = changes.iter().filter_map(number_of).collect();
            assert_eq!(numbers, [next, next + 1, next + 2], "promise 3");
        }
        let orders = sent.iter().map(|changes| {
            let kinds = changes.iter().map(std::mem::discriminant);
            format!("{:?}", kinds.collect::<Vec<_>>())
        });
        let mut orders: Vec<_> = orders.collect();
        orders.dedup();
        assert_eq!(orders.len(), 1, "promise 3: the same for all workers");
        orders.remove(0)
    });
}

#[test]
fn of_two_creations_in_the_place_of_one_empty_session_one_is_refused() {
    check_outcomes(2, || {
        let limits = SessionLimits { max_sessions: 2, ..SessionLimits::default() };
        let mut world = World::with(limits);
        world.create("a", open());
        let left = world.create("b", Settings { idle_ttl: IdleTtl::new(60).unwrap(), ..open() });
        world.leave(left).unwrap();
        let mut racers = Racers::of(world);
        let [c, d] = ["c", "d"].map(|name| {
            let create = Create { settings: open(), properties: InitialProperties::default() };
            racers.start(move |table, now, mail| table.create(now, entrant(&user(name)), create, mail))
        });
        let (c, d) = (c.join().unwrap(), d.join().unwrap());
        assert!(c.is_ok() != d.is_ok(), "{c:?} {d:?}");
        assert_eq!(c.and(d), Err(ErrorCode::ServerFull));
        for stripe in 0..racers.table.stripes() {
            racers.table.expire(stripe, racers.now, &mut racers.mail);
        }
        assert_eq!(racers.table.len(), 2);
        format!("c was created: {}", c.is_ok())
    });
}

fn full_with_an_empty_one() -> (Racers, SessionId) {
    let limits = SessionLimits { max_sessions: 2, ..SessionLimits::default() };
    let mut world = World::with(limits);
    world.create("a", open());
    let left = world.create("b", Settings { idle_ttl: IdleTtl::new(60).unwrap(), ..open() });
    world.leave(left).unwrap();
    (Racers::of(world), left.session)
}

/// Creates a session while another user enters the empty one.
fn create_and_join(
    racers: &mut Racers,
    empty: SessionId,
) -> (Result<Admitted, ErrorCode>, Result<Admitted, ErrorCode>) {
    let create = Create { settings: open(), properties: InitialProperties::default() };
    let created = racers.start(move |table, now, mail| table.create(now, entrant(&user("c")), create, mail));
    let joined = racers
        .start(move |table, now, mail| table.join(now, entrant(&user("d")), Join::Session(empty), mail));
    let outcomes = (created.join().unwrap(), joined.join().unwrap());
    expire_all(racers);
    outcomes
}

fn expire_all(racers: &mut Racers) {
    for stripe in 0..racers.table.stripes() {
        racers.table.expire(stripe, racers.now, &mut racers.mail);
    }
}

// spec-test: SES-5
#[test]
fn an_empty_session_is_entered_or_gives_way_and_never_both() {
    check_outcomes(2, || {
        let (mut racers, empty) = full_with_an_empty_one();
        let (created, joined) = create_and_join(&mut racers, empty);
        assert_eq!(racers.table.len(), 2);
        match (created, joined) {
            // `busy`: it was undecided whether the session would give way.
            (Ok(_), Err(ErrorCode::NoSuchSession | ErrorCode::Busy)) => "gave way".to_owned(),
            (Err(ErrorCode::ServerFull), Ok(_)) => "entered".to_owned(),
            both => panic!("{both:?}"),
        }
    });
}

/// A user who joins meanwhile never gets `no_such_session`.
// spec-test: SES-9, SES-16
#[test]
fn an_empty_session_whose_place_is_not_taken_in_the_end_goes_on() {
    check_outcomes(2, || {
        let (mut racers, empty) = full_with_an_empty_one();
        assert_ne!(at("c").worker, at("d").worker);
        racers.mail.0.lock().full = vec![at("c").worker];
        let (created, joined) = create_and_join(&mut racers, empty);
        assert_eq!((racers.table.len(), racers.table.look_at(empty).is_some()), (2, true));
        assert!(matches!(created, Err(ErrorCode::Busy | ErrorCode::ServerFull)), "{created:?}");
        match joined {
            Ok(_) => "entered".to_owned(),
            Err(ErrorCode::Busy) => "may try again".to_owned(),
            Err(why) => panic!("{why}"),
        }
    });
}

/// Its place becomes free once, whoever ends it and whether or not the other session is created.
// spec-test: SES-5
#[test]
fn an_empty_session_that_the_operator_closes_leaves_one_place() {
    for refused in [false, true] {
        check_outcomes(if refused { 1 } else { 2 }, move || {
            let (mut racers, empty) = full_with_an_empty_one();
            racers.mail.0.lock().full = if refused { vec![at("c").worker] } else { vec![] };
            let create = Create { settings: open(), properties: InitialProperties::default() };
            let created =
                racers.start(move |table, now, mail| table.create(now, entrant(&user("c")), create, mail));
            let closed =
                racers.start(move |table, now, mail| table.close(now, empty, Reason::none(), mail).is_ok());
            let (created, closed) = (created.join().unwrap(), closed.join().unwrap());
            assert!(closed, "it is there until its worker ends it");
            expire_all(&mut racers);
            assert_eq!(racers.table.len(), if created.is_ok() { 2 } else { 1 });
            assert_eq!(racers.table.infos().len(), racers.table.len());
            match created {
                Ok(_) => assert!(!refused),
                // The empty session was closed after the creation had found no free place.
                Err(ErrorCode::ServerFull) => {}
                Err(why) => assert_eq!((refused, why), (true, ErrorCode::Busy)),
            }
            format!("{created:?}").chars().take(2).collect()
        });
    }
}
