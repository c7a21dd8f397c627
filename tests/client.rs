//! Clients and a server on loopback sockets, through the public API alone.

#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::net::SocketAddr;
use std::num::NonZeroU8;
use std::pin::pin;
use std::sync::{Arc, mpsc};
use std::task::{Context, Wake};
use std::thread;
use std::time::{Duration, SystemTime};

use rallypoint::backend;
use rallypoint::base::{EventNumber, Slot, UnixTime, UserId};
use rallypoint::client::{
    Client, ClientConfig, CloseCode, ConnectError, CreateSession, Delivery, Disconnected, Entered, Event,
    Events, InviteUsers, RequestError, SendError, To,
};
use rallypoint::rudp::ConnectionConfig;
use rallypoint::secure::token::{MintRequest, mint};
use rallypoint::secure::{ConnectGrant, TokenKey};
use rallypoint::server::Server;
use rallypoint::wire::{
    DeleteReason, ErrorCode, LeaveReason, PropertyKey, PropertyOp, PropertyValue, RejectCode, WriteRule,
};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::timeout;

#[allow(dead_code, reason = "its `main` is for people")]
#[path = "../examples/chat.rs"]
mod chat;
#[allow(dead_code, reason = "its `main` is for people")]
#[path = "../examples/engine.rs"]
mod engine;

const PROTOCOL: u64 = 7;
/// Longest wait for anything that must arrive.
const LONGEST: Duration = Duration::from_secs(60);

/// A server, and the key with which a backend makes grants for it.
struct World {
    server: Server,
    key: TokenKey,
}

impl World {
    fn new() -> Self {
        Self::at("127.0.0.1:0")
    }

    fn at(address: &str) -> Self {
        let key = backend::new_key();
        let workers = NonZeroU8::new(2).unwrap();
        let builder = Server::builder(PROTOCOL).listen(address.parse().unwrap()).key(key.clone());
        Self { server: builder.workers(workers).start().unwrap(), key }
    }

    fn grant(&self, user: &str) -> ConnectGrant {
        self.grant_at(user, self.server.local_addr().to_string())
    }

    fn grant_at(&self, user: &str, server: String) -> ConnectGrant {
        self.mint(SystemTime::now().into(), user, server)
    }

    fn grant_of(&self, issued: UnixTime, user: &str) -> ConnectGrant {
        self.mint(issued, user, self.server.local_addr().to_string())
    }

    fn mint(&self, issued: UnixTime, user: &str, server: String) -> ConnectGrant {
        let request = MintRequest::new(user.parse().unwrap(), server);
        mint(&self.key, request, issued, &mut StdRng::from_os_rng()).unwrap()
    }

    async fn connect(&self, user: &str) -> (Client, Events) {
        Client::connect(&self.grant(user), config()).await.unwrap()
    }
}

fn config() -> ClientConfig {
    ClientConfig::new(PROTOCOL)
}

fn bob() -> UserId {
    "bob".parse().unwrap()
}

/// Waits for the first event that `pick` accepts; the others are dropped.
async fn until<T>(events: &mut Events, pick: impl Fn(Event) -> Option<T>) -> T {
    loop {
        let event = timeout(LONGEST, events.recv()).await.expect("an event comes");
        if let Some(picked) = pick(event.expect("the connection lives")) {
            return picked;
        }
    }
}

/// Ann and bob in one session.
struct Met {
    ann: Client,
    to_ann: Events,
    bob: Client,
    to_bob: Events,
    of_ann: Entered,
    of_bob: Entered,
}

impl Met {
    async fn in_(world: &World) -> Self {
        let (ann, to_ann) = world.connect("ann").await;
        let (bob_client, mut to_bob) = world.connect("bob").await;
        let lobby = CreateSession::new(3).max_members(4).integer("round", 1, WriteRule::Any);
        let of_ann = ann.create(lobby).await.unwrap();
        let answers = ann.invite(of_ann.slot, InviteUsers::new([bob()]).note("come")).await.unwrap();
        let invite = until(&mut to_bob, |event| match event {
            Event::Invited(invitation) => Some(invitation),
            _ => None,
        })
        .await;
        assert_eq!(answers, [(bob(), Ok(invite.invite))]);
        assert_eq!((invite.note.as_str(), invite.owner.as_str()), ("come", "ann"));
        let of_bob = bob_client.join(invite.invite).await.unwrap();
        Self { ann, to_ann, bob: bob_client, to_bob, of_ann, of_bob }
    }
}

async fn texts(events: &mut Events, count: usize) -> Vec<(Option<EventNumber>, String)> {
    let mut texts = Vec::new();
    while texts.len() < count {
        let text = until(events, |event| match event {
            Event::Message { number, payload, .. } => {
                Some((number, String::from_utf8(payload.to_vec()).unwrap()))
            }
            _ => None,
        });
        texts.push(text.await);
    }
    texts
}

#[tokio::test]
async fn two_clients_meet_and_hear_each_other_in_one_order() {
    let world = World::new();
    let mut met = Met::in_(&world).await;
    let session = met.bob.session(met.of_bob.slot).unwrap();
    let members = session.members().map(|(_, user)| user.as_str());
    assert_eq!(members.collect::<Vec<_>>(), ["ann", "bob"]);
    for round in 0..50 {
        let all = (To::All, Delivery::ReliableOrdered);
        met.ann.broadcast(met.of_ann.slot, all.0, all.1, format!("ann {round}")).unwrap();
        met.bob.broadcast(met.of_bob.slot, all.0, all.1, format!("bob {round}")).unwrap();
    }
    let (at_ann, at_bob) = tokio::join!(texts(&mut met.to_ann, 100), texts(&mut met.to_bob, 100));
    assert_eq!(at_ann, at_bob);
    let of_ann: Vec<_> = at_bob.iter().filter(|(_, text)| text.starts_with("ann")).collect();
    assert!(of_ann.iter().enumerate().all(|(at, (_, text))| *text == format!("ann {at}")), "{of_ann:?}");
}

#[tokio::test]
async fn every_delivery_arrives_where_it_was_sent() {
    let world = World::new();
    let mut met = Met::in_(&world).await;
    let deliveries = [
        Delivery::Sequenced { key: 1 },
        Delivery::ReliableUnordered,
        Delivery::ReliableOrdered,
        Delivery::ReliableLatest { key: 2 },
        Delivery::Unreliable,
    ];
    // One at a time: the arrival of the reliable messages proves that bob has his snapshot before the others
    // are sent.
    for delivery in deliveries {
        met.ann.message(met.of_ann.slot, &[met.of_bob.member], delivery, "only you").unwrap();
        let got = until(&mut met.to_bob, |event| match event {
            Event::Message { slot, number, sender, delivery, payload } => {
                Some((slot, number, sender, delivery, payload))
            }
            _ => None,
        });
        let got = got.await;
        assert_eq!((got.0, got.1, got.2, got.3), (met.of_bob.slot, None, met.of_ann.member, delivery));
        assert_eq!(got.4, "only you");
    }
    met.ann.broadcast(met.of_ann.slot, To::Others, Delivery::ReliableOrdered, "others").unwrap();
    let number = until(&mut met.to_ann, |event| match event {
        Event::Receipt { number, .. } => Some(number),
        Event::Message { .. } => panic!("it was for others"),
        _ => None,
    });
    let number = number.await;
    assert_eq!(texts(&mut met.to_bob, 1).await, [(Some(number), "others".to_owned())]);
}

/// In both directions, up to the limits of loopback's MTU and of this implementation's largest datagram.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn datagrams_grow_to_what_the_link_takes_while_much_waits() {
    let world = World::new();
    let mut met = Met::in_(&world).await;
    let link = rallypoint::net::link_datagram_bytes(world.server.local_addr()).unwrap().unwrap().min(9_216);
    let bytes_of_ann = || met.ann.stats().unwrap().datagram_bytes;
    assert_eq!(bytes_of_ann(), 1_200);
    let received = |client: &Client| {
        let stats = client.stats().unwrap();
        (stats.bytes_received, stats.packets_received)
    };
    let (mut of_server, mut rounds) = (0, 0..600);
    while bytes_of_ann() < link as u64 || of_server <= 1_452 {
        let round = rounds.next().expect("they grow within some rounds");
        let before = received(&met.bob);
        for number in 0..50 {
            let text = format!("{round} {number} {}", "-".repeat(900));
            met.ann.broadcast(met.of_ann.slot, To::Others, Delivery::ReliableOrdered, text).unwrap();
        }
        let texts = texts(&mut met.to_bob, 50).await;
        assert!((0..50).zip(&texts).all(|(at, (_, text))| text.starts_with(&format!("{round} {at} -"))));
        let after = received(&met.bob);
        of_server = (after.0 - before.0) / (after.1 - before.1);
        // Stays within a connection's byte budget for any number of rounds.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(bytes_of_ann(), link as u64);
}

#[tokio::test]
async fn commands_change_what_all_see() {
    let world = World::new();
    let mut met = Met::in_(&world).await;
    let round = || PropertyKey::new("round").unwrap();
    let map = || "map".parse::<PropertyKey>().unwrap();
    let wrong = PropertyOp::compare_and_set(round(), Some(9.into()), Some(10.into()));
    let refused =
        met.bob.set_properties(met.of_bob.slot, vec![PropertyOp::increment(round(), 1), wrong]).await;
    assert_eq!(refused, Err(RequestError::Refused(ErrorCode::PropertyMismatch)), "both or none");
    let set = PropertyOp::set(map(), "ice");
    met.bob.set_properties(met.of_bob.slot, vec![set]).await.unwrap();
    let by_another = met.ann.set_properties(met.of_ann.slot, vec![PropertyOp::delete(map())]).await;
    assert_eq!(by_another, Err(RequestError::Refused(ErrorCode::PropertyDenied)), "the creator's alone");
    let for_all =
        PropertyOp::compare_and_set("turn".parse().unwrap(), None, Some(1.into())).with_rule(WriteRule::Any);
    let ops = vec![PropertyOp::delete(map()), for_all, PropertyOp::increment(round(), 4)];
    let revision = met.bob.set_properties(met.of_bob.slot, ops).await.unwrap();
    until(&mut met.to_ann, |event| match event {
        Event::PropertiesChanged { revision: heard, .. } => (heard == revision).then_some(()),
        _ => None,
    })
    .await;
    let session = met.ann.session(met.of_ann.slot).unwrap();
    let integer = |key| session.property(key).and_then(PropertyValue::as_integer);
    assert_eq!((session.revision(), integer("round"), integer("turn")), (revision, Some(5), Some(1)));
    assert!(session.property("map").is_none());
    let turn = PropertyOp::set("turn".parse().unwrap(), "over");
    met.ann.set_properties(met.of_ann.slot, vec![turn]).await.unwrap();
    let session = met.ann.session(met.of_ann.slot).unwrap();
    let over = session.property("turn").and_then(PropertyValue::as_bytes);
    assert_eq!(over.unwrap(), "over", "its rule lets anyone");

    met.ann.transfer(met.of_ann.slot, met.of_bob.member).await.unwrap();
    let info = met.ann.info(met.of_ann.session).await.unwrap();
    assert_eq!((info.owner, info.members), (met.of_bob.member, 2));
    let refused = met.ann.kick(met.of_ann.slot, met.of_bob.member, "").await;
    assert_eq!(refused, Err(RequestError::Refused(ErrorCode::NotOwner)));
    assert_eq!(met.bob.list_mine().await.unwrap().len(), 1);
    assert_eq!(met.bob.list_invites().await.unwrap(), []);

    met.ann.leave(met.of_ann.slot).await.unwrap();
    let last = until(&mut met.to_ann, |event| match event {
        Event::MemberLeft { is_own: true, why, .. } => Some(why),
        _ => None,
    });
    assert_eq!(last.await, LeaveReason::Left);
    let late = met.ann.leave(met.of_ann.slot).await;
    assert_eq!(late, Err(RequestError::Refused(ErrorCode::NotAMember)));
    assert_eq!(met.ann.sessions(), []);
}

#[tokio::test]
async fn an_invite_ends_when_it_is_declined_or_revoked() {
    let world = World::new();
    let (ann, mut to_ann) = world.connect("ann").await;
    let (bob_client, mut to_bob) = world.connect("bob").await;
    let room = ann.create(CreateSession::new(3)).await.unwrap();
    let invite = async || ann.invite(room.slot, InviteUsers::new([bob()])).await.unwrap()[0].1.unwrap();

    let declined = invite().await;
    until(&mut to_bob, |event| matches!(event, Event::Invited(_)).then_some(())).await;
    bob_client.decline(declined, "not now").await.unwrap();
    let told = until(&mut to_ann, |event| match event {
        Event::InviteDeclined { invite, user, reason } => Some((invite, user, reason.as_str().to_owned())),
        _ => None,
    });
    assert_eq!(told.await, (declined, bob(), "not now".to_owned()));

    let revoked = invite().await;
    let other = ann.create(CreateSession::new(3)).await.unwrap();
    let elsewhere = ann.revoke(other.slot, revoked).await;
    assert_eq!(elsewhere, Err(RequestError::Refused(ErrorCode::NoSuchInvite)), "it is not that session's");
    ann.revoke(room.slot, revoked).await.unwrap();
    let told = until(&mut to_bob, |event| match event {
        Event::InviteRevoked { invite } => Some(invite),
        _ => None,
    });
    assert_eq!(told.await, revoked);
    for (invite, code) in [(declined, ErrorCode::InviteDeclined), (revoked, ErrorCode::InviteRevoked)] {
        assert_eq!(bob_client.join(invite).await, Err(RequestError::Refused(code)));
    }
}

// spec-test: INV-9
#[tokio::test]
async fn an_invite_may_hold_the_last_seat() {
    let world = World::new();
    let (ann, _to_ann) = world.connect("ann").await;
    let (bob_client, mut to_bob) = world.connect("bob").await;
    let (cat, _to_cat) = world.connect("cat").await;
    let room = ann.create(CreateSession::new(7).max_members(2).open()).await.unwrap();
    let invites = ann.invite(room.slot, InviteUsers::new([bob()]).hold_seat()).await.unwrap();
    let full = Err(RequestError::Refused(ErrorCode::SessionFull));
    assert_eq!(cat.join_open(room.session).await.map(|_| ()), full);
    let invited = until(&mut to_bob, |event| match event {
        Event::Invited(invitation) => Some(invitation.invite),
        _ => None,
    });
    let invite = invited.await;
    assert_eq!(invites[0].1, Ok(invite));
    bob_client.join(invite).await.unwrap();
    assert_eq!(cat.join_open(room.session).await.map(|_| ()), full);
}

#[tokio::test]
async fn a_session_ends_with_its_owner_if_it_was_created_so() {
    let world = World::new();
    let (ann, _to_ann) = world.connect("ann").await;
    let (bob_client, mut to_bob) = world.connect("bob").await;
    let room = ann.create(CreateSession::new(3).open().delete_when_owner_leaves()).await.unwrap();
    bob_client.join_open(room.session).await.unwrap();
    ann.leave(room.slot).await.unwrap();
    let deleted = until(&mut to_bob, |event| match event {
        Event::SessionDeleted { why, .. } => Some(Some(why)),
        Event::OwnerChanged { .. } => Some(None),
        _ => None,
    });
    assert_eq!(deleted.await, Some(DeleteReason::OwnerLeft));
}

// spec-test: SES-15
#[tokio::test]
async fn dropping_a_client_takes_it_out_of_its_sessions() {
    let world = World::new();
    let mut met = Met::in_(&world).await;
    let clone = met.bob.clone();
    drop(met.bob);
    assert!(clone.is_connected(), "one is left");
    drop(clone);
    let left = until(&mut met.to_ann, |event| match event {
        Event::MemberLeft { member, why, .. } => Some((member, why)),
        _ => None,
    });
    assert_eq!(left.await, (met.of_bob.member, LeaveReason::Left));
    let closed = until(&mut met.to_bob, |event| match event {
        Event::Disconnected(why) => Some(why),
        _ => None,
    });
    assert_eq!(closed.await, Disconnected::ByClient);
    assert_eq!(met.to_bob.recv().await, None);
}

#[tokio::test]
async fn who_does_not_read_events_learns_why_the_connection_has_ended() {
    let world = World::new();
    let (first, _) = world.connect("ann").await;
    assert_eq!(first.disconnected(), None);
    let (second, _) = world.connect("ann").await;
    let why = first.closed().await;
    assert!(matches!(why, Disconnected::ByServer { code: CloseCode::Replaced, .. }), "{why:?}");
    assert!(!why.may_reconnect(), "two that both came back would take turns for ever");
    assert_eq!(first.disconnected(), Some(why));
    second.close("");
    assert_eq!(second.closed().await, Disconnected::ByClient);
}

/// The client's own mirror is ahead of the events read so far.
#[tokio::test]
async fn who_is_who_follows_from_events_however_late_they_are_read() {
    let world = World::new();
    let (ann, _) = world.connect("ann").await;
    let (bob, mut to_bob) = world.connect("bob").await;
    let room = ann.create(CreateSession::new(1).open()).await.unwrap();
    let seat = bob.join_open(room.session).await.unwrap();
    ann.broadcast(room.slot, To::Others, Delivery::ReliableOrdered, "hello").unwrap();
    ann.leave(room.slot).await.unwrap();
    let leaves = async {
        while bob.session(seat.slot).unwrap().user(room.member).is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LONGEST, leaves).await.expect("the leave arrives");
    let members = until(&mut to_bob, |event| match event {
        Event::Entered { mirror, .. } => {
            Some(mirror.members().map(|(_, user)| user.to_string()).collect::<Vec<_>>())
        }
        _ => None,
    });
    assert_eq!(members.await, ["ann", "bob"]);
    assert_eq!(texts(&mut to_bob, 1).await[0].1, "hello");
    let left = until(&mut to_bob, |event| match event {
        Event::MemberLeft { member, is_own, .. } => Some((member, is_own)),
        _ => None,
    });
    assert_eq!(left.await, (room.member, false));
}

#[tokio::test]
async fn a_closed_client_says_so() {
    let world = World::new();
    let (ann, _events) = world.connect("ann").await;
    ann.close("good night");
    assert_eq!(ann.create(CreateSession::new(1)).await, Err(RequestError::NotConnected));
    let sent = ann.broadcast(Slot(1), To::All, Delivery::Unreliable, "x");
    assert_eq!(sent, Err(SendError::NotConnected));
    assert!(!ann.is_connected());
    assert_eq!(ann.disconnected(), Some(Disconnected::ByClient));
}

/// The mirror knows everything in the events that precede a command's result.
// spec-test: SES-19
#[tokio::test]
async fn when_a_command_returns_the_mirror_knows_what_it_did() {
    let world = World::new();
    let Met { ann, bob, of_ann, of_bob, .. } = Met::in_(&world).await;
    let set = PropertyOp::Set {
        key: PropertyKey::new("map").unwrap(),
        value: PropertyValue::Integer(7),
        rule: Some(WriteRule::Any),
    };
    for turn in 0..20 {
        let revision = ann.set_properties(of_ann.slot, vec![set.clone()]).await.unwrap();
        let mirror = ann.session(of_ann.slot).unwrap();
        assert_eq!((mirror.revision(), mirror.property("map").is_some()), (revision, true), "{turn}");
    }
    ann.transfer(of_ann.slot, of_bob.member).await.unwrap();
    assert_eq!(ann.session(of_ann.slot).unwrap().owner(), of_bob.member);
    let refused = ann.kick(of_ann.slot, of_bob.member, "").await;
    assert_eq!(refused, Err(RequestError::Refused(ErrorCode::NotOwner)));
    bob.transfer(of_bob.slot, of_ann.member).await.unwrap();
    assert!(!bob.session(of_bob.slot).unwrap().is_owner());
    ann.kick(of_ann.slot, of_bob.member, "").await.unwrap();
    assert_eq!(ann.session(of_ann.slot).unwrap().user(of_bob.member), None);
}

#[tokio::test]
async fn what_is_flushed_before_a_client_closes_arrives() {
    let world = World::new();
    let Met { ann, bob, mut to_bob, of_ann, .. } = Met::in_(&world).await;
    assert_eq!(ann.flush().await, Ok(()), "nothing is under way");
    let large = "x".repeat(20_000);
    for n in 0..10 {
        let text = format!("{n}{large}");
        ann.broadcast(of_ann.slot, To::Others, Delivery::ReliableOrdered, text).unwrap();
    }
    // The client's task has not run since, so all of it is queued.
    assert!(ann.queued_bytes() > 10 * 20_064, "{}", ann.queued_bytes());
    ann.flush().await.unwrap();
    assert_eq!(ann.queued_bytes(), 0);
    ann.close("");
    assert_eq!(ann.flush().await, Err(SendError::NotConnected));
    assert_eq!(texts(&mut to_bob, 10).await.len(), 10);
    bob.close("");
    while let Some(event) = to_bob.recv().await {
        assert!(!to_bob.is_closed() || matches!(event, Event::Disconnected(_)));
    }
    assert!(to_bob.is_closed() && to_bob.try_recv().is_none());
}

#[tokio::test]
async fn who_has_filled_the_send_buffer_waits_for_room() {
    let world = World::new();
    let connection = ConnectionConfig { send_buffer_bytes: 50_000, ..ConnectionConfig::default() };
    let narrow = ClientConfig { connection, ..config() };
    let (ann, _to_ann) = Client::connect(&world.grant("ann"), narrow).await.unwrap();
    let room = ann.create(CreateSession::new(1)).await.unwrap();
    ann.flush().await.unwrap();
    let send = || ann.broadcast(room.slot, To::Others, Delivery::ReliableOrdered, vec![0; 20_000]);
    assert!(send().is_ok() && send().is_ok());
    assert_eq!(send(), Err(SendError::WouldBlock), "nothing can have left");
    let queued = ann.queued_bytes();
    assert_eq!(ann.drained_to(queued).await, Ok(()), "that is how much is queued");
    ann.drained_to(29_000).await.unwrap();
    assert!(ann.queued_bytes() <= 29_000);
    assert!(send().is_ok());
    let (drained, ()) = tokio::join!(ann.drained_to(1), async { ann.close("") });
    assert_eq!(drained, Err(SendError::NotConnected));
}

/// The acks are queued behind events that the app does not read meanwhile.
#[tokio::test]
async fn a_flush_does_not_wait_for_the_app_to_read() {
    let world = World::new();
    let narrow = ClientConfig { events_buffer: 1, ..config() };
    let (ann, _unread) = Client::connect(&world.grant("ann"), narrow).await.unwrap();
    let (bob_client, _) = world.connect("bob").await;
    let room = ann.create(CreateSession::new(2).open()).await.unwrap();
    let of_bob = bob_client.join_open(room.session).await.unwrap();
    for n in 0..100 {
        bob_client.broadcast(of_bob.slot, To::Others, Delivery::ReliableOrdered, format!("{n}")).unwrap();
        tokio::task::yield_now().await;
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    ann.broadcast(room.slot, To::Others, Delivery::ReliableOrdered, "mine").unwrap();
    assert_eq!(ann.flush().await, Ok(()));
}

#[tokio::test]
async fn who_flushes_a_connection_that_ends_is_told() {
    let world = World::new();
    let Met { ann, of_ann, .. } = Met::in_(&world).await;
    ann.broadcast(of_ann.slot, To::Others, Delivery::ReliableOrdered, vec![0; 60_000]).unwrap();
    let (flushed, ()) = tokio::join!(ann.flush(), async { ann.close("") });
    assert_eq!(flushed, Err(SendError::NotConnected));
}

#[tokio::test]
async fn a_handler_hears_events_and_may_call_the_client() {
    let world = World::new();
    let (ann, _events) = world.connect("ann").await;
    let room = ann.create(CreateSession::new(1).open()).await.unwrap();
    let (heard_out, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let handler = move |client: &Client, event| match event {
        Event::Entered { slot, .. } => {
            client.broadcast(slot, To::All, Delivery::ReliableOrdered, "here").unwrap();
        }
        Event::Message { payload, .. } => heard_out.send(payload).unwrap(),
        _ => {}
    };
    let bob = Client::connect_with_handler(&world.grant("bob"), config(), handler).await.unwrap();
    bob.join_open(room.session).await.unwrap();
    assert_eq!(heard.recv().await.unwrap(), "here");
    drop(bob);
    assert_eq!(heard.recv().await, None, "the client of the handler alone keeps no connection");
}

/// Starts relays in front of a server, each of which forwards datagrams after `delay`, and returns their
/// addresses.
/// Some executors poll a task from within its waker.
#[test]
fn a_waker_may_call_the_client() {
    struct Asks(Client, mpsc::Sender<usize>);
    impl Wake for Asks {
        fn wake(self: Arc<Self>) {
            self.1.send(self.0.sessions().len()).unwrap();
        }
    }
    let world = World::new();
    let grant = world.grant("ann");
    let (tell, told) = mpsc::channel();
    // A thread of its own: on failure it never ends.
    thread::spawn(move || {
        runtime().block_on(async {
            let (client, _) = Client::connect(&grant, config()).await.unwrap();
            let waker = Arc::new(Asks(client.clone(), tell)).into();
            let mut create = pin!(client.create(CreateSession::new(1)));
            assert!(create.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            client.closed().await;
        });
    });
    assert_eq!(told.recv_timeout(LONGEST), Ok(1), "the session that was created");
}

async fn behind_slow_relays(server: SocketAddr, delay: Duration, count: usize) -> (Vec<String>, JoinSet<()>) {
    let (mut addresses, mut relays) = (Vec::new(), JoinSet::new());
    for _ in 0..count {
        let relay = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        addresses.push(relay.local_addr().unwrap().to_string());
        let relay = Arc::new(relay);
        relays.spawn(async move {
            let (mut buffer, mut client) = ([0; 2_048], None);
            loop {
                let (length, from) = relay.recv_from(&mut buffer).await.unwrap();
                let to = if from == server { client.unwrap() } else { server };
                if from != server {
                    client = Some(from);
                }
                let (relay, datagram) = (Arc::clone(&relay), buffer[..length].to_vec());
                tokio::spawn(async move {
                    tokio::time::sleep(delay).await;
                    relay.send_to(&datagram, to).await
                });
            }
        });
    }
    (addresses, relays)
}

/// A token permits two handshakes at a time, so abandoned attempts would use it up.
// spec-test: HSK-11
#[tokio::test]
async fn a_server_that_answers_late_at_all_of_its_addresses_is_reached_by_the_first() {
    let world = World::new();
    let (addresses, _relays) =
        behind_slow_relays(world.server.local_addr(), Duration::from_millis(600), 4).await;
    let (ann, _events) = Client::connect(&world.grant("ann").at(addresses).unwrap(), config()).await.unwrap();
    assert!(ann.create(CreateSession::new(1)).await.is_ok());
}

/// Both answers are waiting while the app blocks its runtime. The second attempt has the faster path to the
/// server, and one packet of it would spend the token.
// spec-test: HSK-13
#[test]
fn of_attempts_that_are_answered_at_once_one_connects() {
    let world = World::new();
    let server = world.server.local_addr();
    let elsewhere =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let ((first, _first), (second, _second)) = elsewhere.block_on(async {
        let first = behind_slow_relays(server, Duration::from_millis(590), 1).await;
        (first, behind_slow_relays(server, Duration::from_millis(40), 1).await)
    });
    let grant = world.grant("ann").at([first, second].iter().flatten().map(String::as_str)).unwrap();
    runtime().block_on(async {
        tokio::spawn(async {
            // The second attempt has sent its cookie by then.
            tokio::time::sleep(Duration::from_millis(1_130)).await;
            std::thread::sleep(Duration::from_millis(500));
        });
        let (ann, _events) = Client::connect(&grant, config()).await.unwrap();
        ann.create(CreateSession::new(1)).await.unwrap();
        assert_eq!(ann.list_mine().await.unwrap().len(), 1, "it is the one that the server knows");
    });
}

#[tokio::test]
async fn a_handler_that_panics_ends_its_connection_and_says_so() {
    let world = World::new();
    let handler = |_: &Client, event| {
        if let Event::Entered { .. } = event {
            panic!("as planned");
        }
    };
    let ann = Client::connect_with_handler(&world.grant("ann"), config(), handler).await.unwrap();
    ann.create(CreateSession::new(1)).await.unwrap();
    assert_eq!(ann.closed().await, Disconnected::Panicked);
}

#[tokio::test]
async fn an_address_at_which_nobody_answers_holds_up_the_next_for_a_while_only() {
    let world = World::new();
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let addresses =
        [silent.local_addr().unwrap(), world.server.local_addr()].map(|address| address.to_string());
    let patient = ClientConfig { connect_timeout: Duration::from_secs(3_600), ..config() };
    let (ann, _events) = Client::connect(&world.grant("ann").at(addresses).unwrap(), patient).await.unwrap();
    assert!(ann.create(CreateSession::new(1)).await.is_ok());
}

/// `serve` prints this address, so users will pass it to clients.
#[tokio::test]
async fn the_address_that_stands_for_all_is_this_machine() {
    let world = World::new();
    let all = format!("0.0.0.0:{}", world.server.local_addr().port());
    let (ann, _events) = Client::connect(&world.grant("ann").at([all]).unwrap(), config()).await.unwrap();
    assert!(ann.is_connected());
}

#[tokio::test]
async fn a_grant_that_has_expired_is_the_servers_to_refuse() {
    let world = World::new();
    let expired = ConnectGrant { expires: UnixTime::from_secs(1), ..world.grant("ann") };
    Client::connect(&expired, config()).await.unwrap();
    let refused = Client::connect(&world.grant_of(UnixTime::from_secs(1), "bob"), config()).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.reject_code(), Some(RejectCode::TokenExpired));
    assert!(refused.may_reconnect());
}

#[tokio::test]
async fn a_server_whose_name_leads_nowhere_is_passed_over() {
    let world = World::new();
    let mut grant = world.grant("ann");
    grant.servers.insert(0, "no port".into());
    let (ann, _events) = Client::connect(&grant, config()).await.unwrap();
    assert!(ann.is_connected());
    grant.servers.truncate(1);
    let refused = Client::connect(&grant, config()).await;
    assert!(
        matches!(refused, Err(ConnectError::Address { ref server }) if server == "no port"),
        "{refused:?}"
    );
    grant.servers.clear();
    let refused = Client::connect(&grant, config()).await;
    assert!(matches!(refused, Err(ConnectError::NoServer)), "{refused:?}");
}

/// The system sends nothing to a broadcast address unless it is asked to.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_address_to_which_nothing_is_sent_is_passed_over_and_told_with_its_cause() {
    let world = World::new();
    let mut grant = world.grant("ann");
    let grant_at = |addresses: &[&str]| world.grant("ann").at(addresses.iter().copied()).unwrap();
    let server = grant.servers.remove(0);
    let both = grant_at(&["255.255.255.255:9", &server]);
    let (ann, _events) = Client::connect(&both, config()).await.unwrap();
    assert!(ann.is_connected());

    let config = ClientConfig { connect_timeout: Duration::from_millis(300), ..config() };
    let failed = Client::connect(&grant_at(&["255.255.255.255:9"]), config).await.unwrap_err();
    // Not permitted, or without a route where loopback is the only interface.
    assert!(failed.to_string().starts_with("cannot send to 255.255.255.255:9: "), "{failed}");
    assert!(matches!(failed, ConnectError::Unreachable { .. }) && failed.may_reconnect());
}

/// Loopback has more than one address, and answers would by default leave from the first.
#[cfg(target_os = "linux")]
// spec-test: PTH-10
#[tokio::test]
async fn a_server_at_all_addresses_answers_from_the_one_that_was_asked() {
    let world = World::at("0.0.0.0:0");
    let second = format!("127.0.0.2:{}", world.server.local_addr().port());
    let (ann, _events) = Client::connect(&world.grant_at("ann", second), config()).await.unwrap();
    ann.create(CreateSession::new(1)).await.unwrap();
}

#[tokio::test]
async fn events_that_the_app_does_not_read_yet_are_not_lost() {
    let world = World::new();
    let (ann, mut to_ann) =
        Client::connect(&world.grant("ann"), ClientConfig { events_buffer: 1, ..config() }).await.unwrap();
    let room = ann.create(CreateSession::new(1)).await.unwrap();
    for round in 0..300 {
        ann.broadcast(room.slot, To::All, Delivery::ReliableOrdered, round.to_string()).unwrap();
    }
    assert_eq!(ann.list_mine().await.unwrap().len(), 1, "a result comes although nobody reads events");
    let texts = texts(&mut to_ann, 300).await;
    assert!(texts.iter().enumerate().all(|(at, (_, text))| *text == at.to_string()));
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

#[test]
fn who_waits_for_its_end_is_known_to_have_left() {
    let world = World::new();
    let theirs = runtime();
    let mut met = theirs.block_on(Met::in_(&world));
    let short = runtime();
    let carl = short.block_on(async {
        let (carl, mut to_carl) = world.connect("carl").await;
        met.ann.invite(met.of_ann.slot, InviteUsers::new(["carl".parse().unwrap()])).await.unwrap();
        let invite =
            until(&mut to_carl, |event| if let Event::Invited(it) = event { Some(it.invite) } else { None });
        let entered = carl.join(invite.await).await.unwrap();
        carl.close("");
        carl.closed().await;
        entered.member
    });
    drop(short);
    let why = theirs.block_on(until(&mut met.to_ann, |event| match event {
        Event::MemberLeft { member, user, why, .. } if member == carl => Some((user.to_string(), why)),
        _ => None,
    }));
    assert_eq!(why, ("carl".into(), LeaveReason::Left));
}

#[tokio::test]
async fn the_example_of_a_chat_runs_with_a_server_as_its_comment_starts_it() {
    let key = backend::new_key();
    let server = Server::builder(rallypoint::cli::PROTOCOL_ID).key(key.clone()).start().unwrap();
    let world = World { server, key };
    chat::chat(&world.grant("ann"), &world.grant("bob")).await.unwrap();
}

/// The server did not fall silent: the client stopped reading.
#[tokio::test]
async fn an_app_that_does_not_read_its_events_is_told_so_at_the_end() {
    let world = World::new();
    let mut config = ClientConfig { events_buffer: 1, ..ClientConfig::new(PROTOCOL) };
    config.connection.idle_timeout = Duration::from_secs(2);
    let (ann, mut to_ann) = Client::connect(&world.grant("ann"), config).await.unwrap();
    let (bob, _) = Client::connect(&world.grant("bob"), ClientConfig::new(PROTOCOL)).await.unwrap();
    let room = ann.create(CreateSession::new(1).open()).await.unwrap();
    let seat = bob.join_open(room.session).await.unwrap();
    while world.server.is_connected(&"ann".parse().unwrap()) {
        let _ = bob.broadcast(seat.slot, To::Others, Delivery::ReliableOrdered, "are you there?");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // She has not read a byte since, so by her own clock the connection has also timed out, or soon will.
    assert_eq!(ann.closed().await, Disconnected::EventsUnread);
    let why = until(&mut to_ann, |event| match event {
        Event::Disconnected(why) => Some(why),
        _ => None,
    });
    assert_eq!(why.await, Disconnected::EventsUnread);
}

#[test]
fn the_example_of_an_engine_hears_what_it_sends() {
    let key = backend::new_key();
    let server = Server::builder(rallypoint::cli::PROTOCOL_ID).key(key.clone()).start().unwrap();
    let world = World { server, key };
    // The messages of its last frames may still be on their way back.
    let heard = engine::play(&world.grant("ann")).unwrap();
    assert!((1..=60).contains(&heard), "{heard}");
}

#[test]
fn the_end_of_the_runtime_is_the_end_of_the_connection() {
    let world = World::new();
    let first = runtime();
    let (ann, mut events) = first.block_on(world.connect("ann"));
    drop(first);
    let (created, last) =
        runtime().block_on(async { (ann.create(CreateSession::new(1)).await, events.recv().await) });
    assert_eq!(created, Err(RequestError::NotConnected));
    assert!(matches!(last, Some(Event::Disconnected(Disconnected::Socket(_)))), "{last:?}");
}
