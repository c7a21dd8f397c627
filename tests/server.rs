//! A server on real sockets: its start and its end.

#![allow(clippy::unwrap_used)]

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::num::NonZeroU8;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rallypoint::base::{SessionId, UserId};
use rallypoint::client::{
    Client, ClientConfig, CloseCode, ConnectError, CreateSession, Disconnected, Event, Events, PropertyOp,
    RejectCode,
};
use rallypoint::secure::token::{MintRequest, mint};
use rallypoint::secure::{ConnectGrant, TokenKey};
use rallypoint::server::{
    Admit, BuildError, Builder, KeyCountError, Limits, Newcomer, Reason, Server, ServerEvent,
};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Value, json};

fn builder(workers: u8) -> Builder {
    Server::builder(1).key(TokenKey::from_bytes(&[1; 32])).workers(NonZeroU8::new(workers).unwrap())
}

#[test]
fn it_listens_until_it_is_shut_down() {
    for workers in [1, 3] {
        let server = builder(workers).start().unwrap();
        let address = server.local_addr();
        assert_ne!(address.port(), 0);
        assert!(UdpSocket::bind(address).is_err(), "the port is taken");
        // Without clients the server waits for none, so this does not take the full hour.
        server.shutdown(Duration::from_secs(3_600)).unwrap();
        assert!(UdpSocket::bind(address).is_ok(), "the sockets are closed");
    }
}

#[test]
fn the_port_of_another_server_is_not_shared_by_mistake() {
    for workers in [1, 3] {
        let first = builder(workers).start().unwrap();
        let second = builder(workers).listen(first.local_addr()).start();
        assert!(matches!(second, Err(BuildError::Bind { address, .. }) if address == first.local_addr()));
        first.shutdown(Duration::ZERO).unwrap();
    }
}

#[test]
fn a_server_without_a_key_or_with_a_bad_name_does_not_start() {
    assert!(matches!(Server::builder(1).start(), Err(BuildError::Keys(KeyCountError { keys: 0, .. }))));
    for name in ["", &"n".repeat(129)] {
        assert!(
            matches!(builder(1).name("eu-1").name(name).start(), Err(BuildError::Name { bytes }) if bytes == name.len()),
            "{name:?}"
        );
    }
}

#[test]
fn datagrams_that_are_noise_are_counted_by_reason() {
    let server = builder(1).start().unwrap();
    let noise = UdpSocket::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    noise.send_to(&[0x52; 1_200], server.local_addr()).unwrap();
    let end = Instant::now() + LONGEST;
    while server.counters().dropped_by_reason().map(|(_, count)| count).sum::<u64>() == 0 {
        assert!(Instant::now() < end, "nothing was dropped");
        std::thread::yield_now();
    }
    assert_eq!(server.counters().unproven_bytes_in, 1_200);
    assert_eq!(server.counters().unproven_bytes_out, 0);
    server.shutdown(Duration::ZERO).unwrap();
}

/// What has not happened by then never does.
const LONGEST: Duration = Duration::from_secs(60);

/// Waits until `has_happened`.
async fn eventually(what: &str, mut has_happened: impl FnMut() -> bool) {
    let end = Instant::now() + LONGEST;
    while !has_happened() {
        assert!(Instant::now() < end, "{what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Connects a user with a token whose `data` the backend has set.
async fn connect(server: &Server, user: &str, data: Option<Value>) -> Result<(Client, Events), ConnectError> {
    Client::connect(&grant(server, user, data), ClientConfig::new(1)).await
}

fn grant(server: &Server, user: &str, data: Option<Value>) -> ConnectGrant {
    let mut request = MintRequest::new(user.parse().unwrap(), server.local_addr().to_string());
    request.data = data;
    let key = TokenKey::from_bytes(&[1; 32]);
    mint(&key, request, SystemTime::now().into(), &mut StdRng::from_os_rng()).unwrap()
}

// spec-test: HSK-10
#[tokio::test]
async fn the_program_around_the_server_says_who_may_connect() {
    let admit = |newcomer: &Newcomer<'_>| {
        assert!(newcomer.address.ip().is_loopback());
        newcomer.user.as_str() != "ann" && newcomer.data != Some(&json!({"banned": true}))
    };
    let server = builder(2).admit(admit).start().unwrap();
    for (user, data) in [("ann", None), ("ben", Some(json!({"banned": true})))] {
        let refused = connect(&server, user, data).await.unwrap_err();
        assert_eq!(refused.reject_code(), Some(RejectCode::Denied), "{user}");
        assert!(!refused.may_reconnect());
    }
    assert!(server.counters().handshakes_refused >= 2);
    let (ben, _) = connect(&server, "ben", Some(json!({"banned": false}))).await.unwrap();
    let room = ben.create(CreateSession::new(1)).await.unwrap();
    assert_eq!(server.members(room.session), Some(vec![(room.member, "ben".parse().unwrap())]));
    assert_eq!(server.sessions(), [server.session(room.session).unwrap()]);
    assert!(server.close_session(room.session, Reason::none()));
    eventually("the session ends", || server.session(room.session).is_none()).await;
    assert!(!server.close_session(room.session, Reason::none()));
    tokio::task::spawn_blocking(move || server.shutdown(Duration::ZERO)).await.unwrap().unwrap();
}

/// A server that waits for the end of its matches does not ban the user.
// spec-test: HSK-10
#[tokio::test]
async fn who_may_not_connect_is_told_whether_to_come_again() {
    let admit = |newcomer: &Newcomer<'_>| match newcomer.user.as_str() {
        "ann" => Admit::Denied,
        "ben" => Admit::Draining,
        "eve" => Admit::Full,
        _ => Admit::Yes,
    };
    let server = builder(2).admit(admit).start().unwrap();
    let told = [
        ("ann", RejectCode::Denied, false),
        ("ben", RejectCode::Draining, true),
        ("eve", RejectCode::Full, true),
    ];
    for (user, code, comes_again) in told {
        let refused = connect(&server, user, None).await.unwrap_err();
        assert_eq!((refused.reject_code(), refused.may_reconnect()), (Some(code), comes_again), "{user}");
    }
    connect(&server, "tim", None).await.unwrap();
    tokio::task::spawn_blocking(move || server.shutdown(Duration::ZERO)).await.unwrap().unwrap();
}

#[tokio::test]
async fn for_whom_admit_panics_is_not_let_in_and_nobody_else_notices() {
    let admit = |newcomer: &Newcomer<'_>| {
        assert_ne!(newcomer.user.as_str(), "eve", "as planned");
        true
    };
    let server = Arc::new(builder(2).admit(admit).start().unwrap());
    let (ann, _events) = connect(&server, "ann", None).await.unwrap();
    let refused = connect(&server, "eve", None).await.unwrap_err();
    assert_eq!(refused.reject_code(), Some(RejectCode::Denied));
    ann.create(CreateSession::new(1)).await.unwrap();
    // Any holder of the shared server can wait for its end.
    let waits = Arc::clone(&server);
    let waits = tokio::task::spawn_blocking(move || waits.join());
    assert!(!server.has_ended());
    server.drain(Duration::from_secs(3));
    waits.await.unwrap().unwrap();
    assert!(server.has_ended() && server.join().is_ok());
}

/// The server keeps one of two connections with the same grant. The other is notified, and need not wait for
/// the idle timeout.
// spec-test: HSK-13
#[tokio::test]
async fn of_two_attempts_with_one_grant_one_is_told_that_the_other_has_won() {
    let server = builder(1).start().unwrap();
    let grant = grant(&server, "ann", None);
    let connect = || Client::connect(&grant, ClientConfig::new(1));
    let (first, second) = tokio::join!(connect(), connect());
    let ended = [first, second].map(|attempt| async {
        let Ok((client, mut events)) = attempt else { return true };
        if client.create(CreateSession::new(1)).await.is_ok() {
            return false;
        }
        let lost = Disconnected::ByServer { code: CloseCode::Replaced, reason: String::new() };
        assert_eq!(events.recv().await, Some(Event::Disconnected(lost)));
        true
    });
    let [first, second] = ended;
    let lost = <[bool; 2]>::from(tokio::join!(first, second));
    assert_eq!(lost.iter().filter(|lost| **lost).count(), 1, "{lost:?}");
}

#[tokio::test]
async fn the_program_around_the_server_hears_who_comes_and_goes_and_which_sessions_there_are() {
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let observe = move |event: &ServerEvent<'_>| {
        let line = match event {
            ServerEvent::Connected { user, data, address, .. } => {
                assert!(address.ip().is_loopback());
                format!("{user} came with {}", data.map_or("nothing".to_owned(), Value::to_string))
            }
            ServerEvent::Disconnected { user, why, code, .. } => {
                format!("{user} went: {}, {}", why.name(), code.name())
            }
            ServerEvent::SessionBegan { session, kind, owner, .. } => {
                format!("{owner} began {session} of kind {}", kind.0)
            }
            ServerEvent::MemberJoined { session, member, user, .. } => {
                format!("{user} joined {session} as {}", member.0)
            }
            ServerEvent::MemberLeft { session, member, user, why, .. } => {
                format!("{user} left {session} as {}: {}", member.0, why.name())
            }
            ServerEvent::SessionEnded { session, kind, why, members, properties, .. } => {
                let users: Vec<_> =
                    members.iter().map(|(member, user)| format!("{}={user}", member.0)).collect();
                let score = properties.values().next().map(|entry| &entry.value);
                format!("{session} of kind {} ended: {}, {users:?}, {score:?}", kind.0, why.name())
            }
            other => format!("{other:?}"),
        };
        tell.send(line).unwrap();
        assert_ne!(event_user(event), Some("eve"), "as planned");
    };
    let server = builder(2).observe(observe).start().unwrap();
    let (ann, _) = connect(&server, "ann", Some(json!({"rank": 3}))).await.unwrap();
    assert_eq!(told.recv().await.unwrap(), r#"ann came with {"rank":3}"#);
    let score = PropertyOp::set("score".parse().unwrap(), 3);
    let room = ann.create(CreateSession::new(7)).await.unwrap();
    assert_eq!(told.recv().await.unwrap(), format!("ann began {} of kind 7", room.session));
    assert_eq!(told.recv().await.unwrap(), format!("ann joined {} as 1", room.session));
    ann.set_properties(room.slot, vec![score]).await.unwrap();
    assert_eq!(
        server.properties(room.session).unwrap().values().map(|entry| &entry.value).collect::<Vec<_>>(),
        [&3.into()]
    );
    assert!(server.properties(SessionId(0)).is_none());
    ann.delete(room.slot, "").await.unwrap();
    assert_eq!(
        told.recv().await.unwrap(),
        format!(r#"{} of kind 7 ended: deleted, ["1=ann"], Some(Integer(3))"#, room.session)
    );
    let room = ann.create(CreateSession::new(8)).await.unwrap();
    assert_eq!(told.recv().await.unwrap(), format!("ann began {} of kind 8", room.session));
    assert_eq!(told.recv().await.unwrap(), format!("ann joined {} as 1", room.session));
    server.close_session(room.session, Reason::none());
    assert_eq!(
        told.recv().await.unwrap(),
        format!(r#"{} of kind 8 ended: closed_by_operator, ["1=ann"], None"#, room.session)
    );
    // Independent of which workers have the two connections.
    let (ann, _) = connect(&server, "ann", None).await.unwrap();
    assert_eq!(told.recv().await.unwrap(), "ann came with nothing");
    assert_eq!(told.recv().await.unwrap(), "ann went: replaced, replaced");
    ann.close("");
    assert_eq!(told.recv().await.unwrap(), "ann went: left, none");
    // A client whose connect makes the observer panic is served like any other.
    let (eve, _) = connect(&server, "eve", None).await.unwrap();
    assert_eq!(told.recv().await.unwrap(), "eve came with nothing");
    let room = eve.create(CreateSession::new(9).idle_ttl(Duration::ZERO)).await.unwrap();
    assert_eq!(told.recv().await.unwrap(), format!("eve began {} of kind 9", room.session));
    assert_eq!(told.recv().await.unwrap(), format!("eve joined {} as 1", room.session));
    eve.leave(room.slot).await.unwrap();
    assert_eq!(told.recv().await.unwrap(), format!("eve left {} as 1: left", room.session));
    assert_eq!(told.recv().await.unwrap(), format!("{} of kind 9 ended: idle, [], None", room.session));
    let room = eve.create(CreateSession::new(10)).await.unwrap();
    assert_eq!(told.recv().await.unwrap(), format!("eve began {} of kind 10", room.session));
    assert_eq!(told.recv().await.unwrap(), format!("eve joined {} as 1", room.session));
    assert!(server.remove_member(room.session, &UserId::new("eve").unwrap(), Reason::none()));
    assert_eq!(told.recv().await.unwrap(), format!("eve left {} as 1: kicked", room.session));
    let score = PropertyOp::set("score".parse().unwrap(), 4);
    let room = eve.create(CreateSession::new(11).idle_ttl(Duration::from_secs(1))).await.unwrap();
    assert_eq!(told.recv().await.unwrap(), format!("eve began {} of kind 11", room.session));
    assert_eq!(told.recv().await.unwrap(), format!("eve joined {} as 1", room.session));
    eve.set_properties(room.slot, vec![score]).await.unwrap();
    eve.leave(room.slot).await.unwrap();
    assert_eq!(told.recv().await.unwrap(), format!("eve left {} as 1: left", room.session));
    assert_eq!(
        told.recv().await.unwrap(),
        format!("{} of kind 11 ended: idle, [], Some(Integer(4))", room.session),
        "a second later"
    );
    server.drain(Duration::from_secs(1));
    assert_eq!(told.recv().await.unwrap(), "eve went: dropped, shutting_down");
    tokio::task::spawn_blocking(move || server.join()).await.unwrap().unwrap();
    assert_eq!(told.recv().await, None, "nothing else has happened");
}

fn event_user<'a>(event: &ServerEvent<'a>) -> Option<&'a str> {
    match event {
        ServerEvent::Connected { user, .. } => Some(user.as_str()),
        _ => None,
    }
}

#[tokio::test]
async fn a_user_that_is_kicked_is_disconnected_at_once() {
    let server = builder(2).start().unwrap();
    let ann = UserId::new("ann").unwrap();
    assert!(!server.kick(&ann, Reason::none()) && !server.is_connected(&ann));
    let (_client, mut events) = connect(&server, "ann", None).await.unwrap();

    // The client considers itself connected before the server has received another packet from it.
    eventually("the user is connected", || server.is_connected(&ann)).await;
    assert!(server.kick(&ann, "spam".parse().unwrap()));
    let reason = "spam".to_owned();
    let kicked = Disconnected::ByServer { code: CloseCode::KickedByOperator, reason };
    assert_eq!(events.recv().await, Some(Event::Disconnected(kicked)));
    assert!(!server.is_connected(&ann));
    tokio::task::spawn_blocking(move || server.shutdown(Duration::ZERO)).await.unwrap().unwrap();
}

#[test]
fn what_cannot_work_is_refused_before_anything_runs() {
    let key = || TokenKey::from_bytes(&[2; 32]);
    let refused = builder(1).key(key()).key(key()).start();
    assert!(matches!(refused, Err(BuildError::Keys(KeyCountError { keys: 3, .. }))));
    let limits = Limits { keepalive_ms: 0, ..Limits::default() };
    assert!(matches!(builder(1).limits(limits).start(), Err(BuildError::Limit(_))));
}
