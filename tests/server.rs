//! A server on real sockets: its start and its end.

#![allow(clippy::unwrap_used)]

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::num::NonZeroU8;
use std::time::Duration;

use rallypoint::secure::TokenKey;
use rallypoint::server::{BuildError, Builder, Limits, Server};

fn builder(workers: u8) -> Builder {
    Server::builder().key(TokenKey::from_bytes(&[1; 32])).workers(NonZeroU8::new(workers).unwrap())
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

#[test]
fn what_cannot_work_is_refused_before_anything_runs() {
    assert!(matches!(Server::builder().start(), Err(BuildError::Keys { keys: 0 })));
    let key = || TokenKey::from_bytes(&[2; 32]);
    assert!(matches!(builder(1).key(key()).key(key()).start(), Err(BuildError::Keys { keys: 3 })));
    let limits = Limits { keepalive_ms: 0, ..Limits::default() };
    assert!(matches!(builder(1).limits(limits).start(), Err(BuildError::Limit(_))));
}
