//! The relay between real sockets.

use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::task::LocalSet;

use super::*;
use crate::link::{Impairments, Marks};

/// Runs `test` with a relay to an upstream; passes it the relay's address and the upstream's socket.
fn with_relay<F: Future<Output = ()>>(
    impairments: Impairments,
    rebind: Option<Duration>,
    test: impl FnOnce(SocketAddr, UdpSocket) -> F,
) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let upstream = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let socket = bind(([127, 0, 0, 1], 0).into(), BufferSizes::default()).unwrap();
        let addr = socket.local_addr().unwrap();
        let rng = StdRng::seed_from_u64(1);
        // The address as reported by a server that listens on all addresses.
        let named = ([0, 0, 0, 0], upstream.local_addr().unwrap().port()).into();
        let relay = Relay::new(named, impairments, rebind, rng);
        tokio::select! {
            ended = relay.serve(socket) => panic!("the relay ended: {ended:?}"),
            () = test(addr, upstream) => {}
        }
        relay.report()
    })
}

#[test]
fn an_upstream_that_is_the_relay_itself_is_known() {
    let address = |text: &str| text.parse::<SocketAddr>().unwrap();
    for (listen, upstream, expected) in [
        ("127.0.0.1:7000", "127.0.0.1:7000", true),
        ("127.0.0.1:7000", "127.0.0.1:7001", false),
        ("127.0.0.1:7000", "127.0.0.2:7000", false),
        ("0.0.0.0:7000", "127.0.0.1:7000", true),
        ("0.0.0.0:7000", "192.0.2.1:7000", false),
        ("[::]:7000", "127.0.0.1:7000", true),
        ("[::1]:7000", "[::1]:7000", true),
        ("0.0.0.0:7000", "[::1]:7000", false),
        ("[::1]:7000", "127.0.0.1:7000", false),
    ] {
        assert_eq!(is_own(address(listen), address(upstream)), expected, "{listen} {upstream}");
    }
}

async fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = [0; 10_000];
    let (bytes, from) = socket.recv_from(&mut buffer).await.unwrap();
    (buffer[..bytes].to_vec(), from)
}

#[test]
fn each_client_has_its_own_way_there_and_back() {
    let report = with_relay(Impairments::default(), None, |relay, upstream| async move {
        let clients =
            [UdpSocket::bind("127.0.0.1:0").await.unwrap(), UdpSocket::bind("127.0.0.1:0").await.unwrap()];
        let mut ways = Vec::new();
        for (number, client) in clients.iter().enumerate() {
            let name = number.to_string().into_bytes();
            client.send_to(&name, relay).await.unwrap();
            let (received, way) = receive(&upstream).await;
            assert_eq!(received, name);
            ways.push((name, way));
        }
        assert_ne!(ways[0].1, ways[1].1);
        for (name, way) in ways.iter().rev() {
            upstream.send_to(name, way).await.unwrap();
        }
        for (client, (name, _)) in clients.iter().zip(&ways) {
            assert_eq!(receive(client).await, (name.clone(), relay));
        }
    });
    assert_eq!((report.clients, report.to_upstream.delivered, report.to_clients.delivered), (2, 2, 2));
    assert_eq!((report.to_upstream.offered_bytes, report.send_errors), (2, 0));
}

#[test]
fn what_is_too_long_for_a_socket_is_told() {
    let report = with_relay(Impairments::default(), None, |relay, upstream| async move {
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        for bytes in [9_217, 9_216] {
            client.send_to(&vec![7; bytes], relay).await.unwrap();
        }
        assert_eq!(receive(&upstream).await.0.len(), 9_216);
    });
    assert_eq!((report.oversized, report.to_upstream.offered), (1, 1));
}

/// Marks can only be passed on where the kernel reports them.
#[cfg(target_os = "linux")]
#[test]
fn marks_reach_the_link() {
    let congested = Impairments { marks: Marks::Congest, ..Impairments::default() };
    let report = with_relay(congested, None, |relay, upstream| async move {
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        for tos in [2, 0] {
            socket2::SockRef::from(&client).set_tos_v4(tos).unwrap();
            client.send_to(b"there", relay).await.unwrap();
            receive(&upstream).await;
        }
    });
    assert_eq!((report.to_upstream.congested, report.to_upstream.delivered), (1, 2));
}

#[test]
fn impairments_hold_in_both_directions() {
    let doubled = Impairments { duplicate: 1.0, delay: Duration::from_millis(2), ..Impairments::default() };
    let report = with_relay(doubled, None, |relay, upstream| async move {
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        client.send_to(b"there", relay).await.unwrap();
        let (first, way) = receive(&upstream).await;
        assert_eq!((first, receive(&upstream).await.0), (b"there".to_vec(), b"there".to_vec()));
        upstream.send_to(b"back", way).await.unwrap();
        assert_eq!(receive(&client).await.0, receive(&client).await.0);
    });
    assert_eq!((report.to_upstream.duplicated, report.to_clients.duplicated), (1, 1));
}

#[test]
fn what_does_not_pass_is_dropped_and_counted() {
    let narrow = Impairments { mtu: Some(10), ..Impairments::default() };
    let report = with_relay(narrow, None, |relay, upstream| async move {
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        client.send_to(b"eleven byte", relay).await.unwrap();
        client.send_to(b"ten bytes!", relay).await.unwrap();
        assert_eq!(receive(&upstream).await.0, b"ten bytes!");
    });
    assert_eq!((report.to_upstream.offered, report.to_upstream.delivered), (2, 1));
    assert_eq!(report.to_upstream.too_long, 1);
}

#[test]
fn what_has_not_left_at_the_end_and_what_others_send_is_told() {
    let slow = Impairments { delay: Duration::from_secs(600), ..Impairments::default() };
    let report = with_relay(Impairments::default(), None, |relay, upstream| async move {
        let (client, stranger) =
            (UdpSocket::bind("127.0.0.1:0").await.unwrap(), UdpSocket::bind("127.0.0.1:0").await.unwrap());
        client.send_to(b"there", relay).await.unwrap();
        let (_, way) = receive(&upstream).await;
        stranger.send_to(b"not from there", way).await.unwrap();
        upstream.send_to(b"back", way).await.unwrap();
        assert_eq!(receive(&client).await.0, b"back");
    });
    assert_eq!((report.strangers, report.under_way), (1, 0));
    assert_eq!(own_faults(&report).unwrap(), "1 not from the upstream");
    assert_eq!(own_faults(&Report::default()), None);

    let report = with_relay(slow, None, |relay, _upstream| async move {
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        client.send_to(b"there", relay).await.unwrap();
        client.send_to(&[7; 9_217], relay).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    });
    assert_eq!((report.to_upstream.delivered, report.under_way), (1, 1));
}

#[test]
fn rebinding_gives_a_client_a_new_port() {
    let report =
        with_relay(Impairments::default(), Some(Duration::from_millis(5)), |relay, upstream| async move {
            let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            client.send_to(b"x", relay).await.unwrap();
            let (_, before) = receive(&upstream).await;
            loop {
                client.send_to(b"x", relay).await.unwrap();
                if receive(&upstream).await.1 != before {
                    break;
                }
            }
        });
    assert_eq!(report.clients, 1);
}
