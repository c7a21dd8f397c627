//! A server on real sockets: its start and its end.

#![allow(clippy::unwrap_used)]

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::num::NonZeroU8;
use std::time::{Duration, SystemTime};

use rallypoint::base::UserId;
use rallypoint::client::{Client, ClientConfig, Disconnected, Event};
use rallypoint::secure::TokenKey;
use rallypoint::secure::token::{MintRequest, mint};
use rallypoint::server::{BuildError, Builder, Limits, Server};
use rallypoint::wire::CloseCode;
use rand::SeedableRng;
use rand::rngs::StdRng;

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
        // Without clients there is nobody to wait for, so this does not take the whole hour.
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
    assert!(matches!(Server::builder(1).start(), Err(BuildError::Keys { keys: 0 })));
    for name in ["", &"n".repeat(129)] {
        assert!(matches!(builder(1).name("eu-1").name(name).start(), Err(BuildError::Name)), "{name:?}");
    }
}

#[test]
fn datagrams_that_are_noise_are_counted_by_reason() {
    let server = builder(1).start().unwrap();
    let noise = UdpSocket::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    noise.send_to(&[0x52; 1_200], server.local_addr()).unwrap();
    while server.counters().dropped_by_reason().map(|(_, count)| count).sum::<u64>() == 0 {
        std::thread::yield_now();
    }
    assert_eq!(server.counters().unproven_bytes_in, 1_200);
    assert_eq!(server.counters().unproven_bytes_out, 0);
    server.shutdown(Duration::ZERO).unwrap();
}

#[tokio::test]
async fn a_user_that_is_kicked_is_disconnected_at_once() {
    let key = TokenKey::from_bytes(&[1; 32]);
    let server = builder(2).start().unwrap();
    let ann = UserId::new("ann").unwrap();
    assert!(!server.kick(&ann) && !server.is_connected(&ann));
    let request = MintRequest {
        user: ann.clone(),
        server: server.local_addr().to_string(),
        lifetime: Duration::from_secs(60),
        data: None,
    };
    let grant = mint(&key, request, SystemTime::now().into(), &mut StdRng::from_os_rng()).unwrap();
    let (_client, mut events) = Client::connect(&grant, ClientConfig::new(1)).await.unwrap();

    // The client is sure of its connection before the server has heard from it again.
    while !server.is_connected(&ann) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(server.kick(&ann));
    match events.recv().await {
        Some(Event::Disconnected(Disconnected::ByServer { code, .. })) => {
            assert_eq!(code, CloseCode::KickedByOperator);
        }
        other => panic!("{other:?}"),
    }
    assert!(!server.is_connected(&ann));
    tokio::task::spawn_blocking(|| server.shutdown(Duration::ZERO)).await.unwrap().unwrap();
}

#[test]
fn what_cannot_work_is_refused_before_anything_runs() {
    assert!(matches!(Server::builder(1).start(), Err(BuildError::Keys { keys: 0 })));
    let key = || TokenKey::from_bytes(&[2; 32]);
    assert!(matches!(builder(1).key(key()).key(key()).start(), Err(BuildError::Keys { keys: 3 })));
    let limits = Limits { keepalive_ms: 0, ..Limits::default() };
    assert!(matches!(builder(1).limits(limits).start(), Err(BuildError::Limit(_))));
}
