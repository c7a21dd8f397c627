//! The handling of datagrams, which is the same on both paths.

use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use tokio::sync::Notify;

use super::{PATHS, Script, carry, run, socket};
use crate::net::batch::{BATCH, ReceiveBatch};
use crate::net::port::Port;
use crate::net::{BufferSizes, Clock, Socket, bind, drive};

#[test]
fn a_batch_arrives_whole_in_order_and_from_its_sender_on_both_paths() {
    let sent: Vec<Vec<u8>> = (0..BATCH + 6).map(|n| vec![u8::try_from(n).unwrap(); n]).collect();
    carry(&sent, |path, batches| assert_eq!(batches, 2, "{path:?}"));
}

/// A socket of both families reports the address of an IPv4 sender to which it can answer. A host without
/// IPv6 has nothing to test.
#[test]
fn a_socket_of_both_families_tells_who_sent_on_both_paths() {
    let at = |host: IpAddr| bind((host, 0).into(), BufferSizes::default());
    for path in PATHS {
        let Ok(over_ipv6) = at(Ipv6Addr::LOCALHOST.into()) else { return };
        let over_ipv4 = at(Ipv4Addr::LOCALHOST.into()).unwrap();
        let receiver = at(Ipv6Addr::UNSPECIFIED.into()).unwrap().with_path(path);
        let port = receiver.local_addr().unwrap().port();
        let ports = [&over_ipv6, &over_ipv4].map(|sender| sender.local_addr().unwrap().port());
        for sender in [over_ipv6, over_ipv4] {
            let to = SocketAddr::new(sender.local_addr().unwrap().ip(), port);
            let outgoing = [(to, b"hello".to_vec())].into();
            let mut source = Script { outgoing, finish: Some(|_| true), ..Script::default() };
            run(drive(sender.with_path(path), Clock::new(), &mut source, Arc::default())).unwrap();
        }
        let finish: fn(&Script) -> bool = |script| script.received.len() >= script.expected;
        let mut sink = Script { expected: 2, finish: Some(finish), ..Script::default() };
        run(drive(receiver, Clock::new(), &mut sink, Arc::default())).unwrap();
        let from = |ip: Ipv6Addr, port| (SocketAddr::new(ip.into(), port), b"hello".to_vec());
        let expected =
            [from(Ipv6Addr::LOCALHOST, ports[0]), from(Ipv4Addr::LOCALHOST.to_ipv6_mapped(), ports[1])];
        assert_eq!(sink.received, expected, "{path:?}");
    }
}

/// Several datagrams for one receiver leave as one row, and arrive as one.
#[test]
fn rows_arrive_as_the_datagrams_they_were_on_both_paths() {
    let lengths = [vec![200; 100], vec![20, 0, 20, 20, 0, 0, 9, 30], vec![300; BATCH], vec![3]].concat();
    let datagram = |(n, length): (usize, &usize)| vec![u8::try_from(n).unwrap(); *length];
    let sent: Vec<Vec<u8>> = lengths.iter().enumerate().map(datagram).collect();
    carry(&sent, |_, _| {});
}

/// A row that the kernel refuses, here for an impossible port, is tried datagram by datagram.
#[test]
fn a_row_that_is_refused_costs_only_its_own_datagrams_on_both_paths() {
    for path in PATHS {
        let (sender, receiver) = (socket(path), socket(path));
        let to = receiver.local_addr().unwrap();
        let counters = sender.counters();
        let nowhere = SocketAddr::new(to.ip(), 0);
        let outgoing = [to, to, nowhere, nowhere, nowhere, to, to].map(|to| (to, vec![1; 50]));
        let mut source = Script { outgoing: outgoing.into(), finish: Some(|_| true), ..Script::default() };
        let mut sink = Script { finish: Some(|script| script.received.len() == 4), ..Script::default() };
        run(async {
            drive(sender, Clock::new(), &mut source, Arc::new(Notify::new())).await.unwrap();
            drive(receiver, Clock::new(), &mut sink, Arc::new(Notify::new())).await.unwrap();
        });
        assert_eq!(counters.send_errors.get(), 3, "{path:?}");
        assert_eq!(counters.datagrams_out.get(), 4, "{path:?}");
    }
}

#[test]
fn a_datagram_too_long_is_dropped_and_counted_on_both_paths() {
    for path in PATHS {
        let receiver = socket(path);
        let to = receiver.local_addr().unwrap();
        let counters = receiver.counters();
        let plain = std::net::UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        plain.send_to(&[1; Socket::MAX_DATAGRAM_BYTES + 1], to).unwrap();
        plain.send_to(&[2; 30_000], to).unwrap();
        plain.send_to(&[3; Socket::MAX_DATAGRAM_BYTES], to).unwrap();
        let mut sink = Script { finish: Some(|script| !script.received.is_empty()), ..Script::default() };
        run(drive(receiver, Clock::new(), &mut sink, Arc::new(Notify::new()))).unwrap();
        assert_eq!(sink.received.len(), 1);
        assert_eq!(sink.received[0].1, vec![3; Socket::MAX_DATAGRAM_BYTES]);
        assert_eq!(counters.oversized.get(), 2, "{path:?}");
    }
}

#[test]
fn a_datagram_that_cannot_be_sent_costs_only_itself_on_both_paths() {
    for path in PATHS {
        let (sender, receiver) = (socket(path), socket(path));
        let to = receiver.local_addr().unwrap();
        let counters = sender.counters();
        let too_long = vec![0; 70_000];
        let outgoing = [(to, vec![1]), (to, too_long), (to, vec![2])];
        let mut source = Script { outgoing: outgoing.into(), finish: Some(|_| true), ..Script::default() };
        let mut sink = Script { finish: Some(|script| script.received.len() == 2), ..Script::default() };
        run(async {
            drive(sender, Clock::new(), &mut source, Arc::new(Notify::new())).await.unwrap();
            drive(receiver, Clock::new(), &mut sink, Arc::new(Notify::new())).await.unwrap();
        });
        assert_eq!((counters.send_errors.get(), counters.too_long_to_send.get()), (0, 1), "{path:?}");
        assert_eq!(counters.datagrams_out.get(), 2, "{path:?}");
    }
}

/// However many datagrams came before, an inbox reports whether more are left, because nothing else would
/// wake its loop.
#[test]
fn what_is_left_in_the_socket_is_told_on_both_paths() {
    for path in PATHS {
        run(async {
            let receiver = socket(path);
            let (to, counters) = (receiver.local_addr().unwrap(), receiver.counters());
            let plain = std::net::UdpSocket::bind(("127.0.0.1", 0)).unwrap();
            let port = Port::new(receiver.udp).unwrap();
            let mut inbox = ReceiveBatch::new(&port, path);
            for first in [1, 20, BATCH - 20, BATCH - 1, BATCH] {
                for waiting in [first, 2 * BATCH + 3] {
                    (0..waiting).for_each(|_| assert_eq!(plain.send_to(&[7], to).unwrap(), 1));
                    poll_fn(|cx| port.poll_readable(cx)).await;
                    let mut received = 0;
                    loop {
                        let more = inbox.receive(&port, &counters).unwrap();
                        received += inbox.drain(&counters).count();
                        if !more {
                            break;
                        }
                    }
                    assert_eq!(received, waiting, "{path:?}, {first} before");
                }
            }
        });
    }
}

#[test]
fn an_empty_socket_is_no_error_on_both_paths() {
    for path in PATHS {
        run(async {
            let empty = socket(path);
            let counters = empty.counters();
            let port = Port::new(empty.udp).unwrap();
            let mut inbox = ReceiveBatch::new(&port, path);
            assert!(!inbox.receive(&port, &counters).unwrap());
            assert!(inbox.is_empty());
            assert_eq!(counters.batches_in.get(), 0);
        });
    }
}
