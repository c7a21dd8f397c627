//! The loop on real loopback sockets, and that both [`IoPath`]s do the same.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use tokio::sync::Notify;

use super::batch::{BATCH, Flushed, Inbox, Outbox};
use super::port::{Port, Room};
use super::{BufferSizes, Clock, Driven, IoPath, Socket, bind, drive};
use crate::base::{Ecn, Envelope, Now, Timestamp};

const PATHS: [IoPath; 2] = [IoPath::Batched, IoPath::Portable];

fn socket(path: IoPath) -> Socket {
    bind(([127, 0, 0, 1], 0).into(), BufferSizes::default()).unwrap().with_path(path)
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// A machine that notes what it is told, sends what it is given, and ends when told to.
#[derive(Default)]
struct Script {
    received: Vec<(SocketAddr, Vec<u8>)>,
    outgoing: VecDeque<(SocketAddr, Vec<u8>)>,
    /// Marks of what came, and of what leaves; where these end it leaves without.
    marks: Vec<Ecn>,
    outgoing_marks: VecDeque<Ecn>,
    /// Sends every datagram back.
    echo: bool,
    wakes: usize,
    turns: usize,
    timeouts: usize,
    deadline: Option<Timestamp>,
    /// The first batch makes a deadline that has passed already.
    is_late: bool,
    received_by_timeout: usize,
    /// What a batch takes.
    work: Duration,
    /// Datagrams since it was last asked for some, and the most of them.
    gathered: usize,
    most_gathered: usize,
    /// Datagrams after which it is done, if `finish` asks for them.
    expected: usize,
    finish: Option<fn(&Script) -> bool>,
}

impl Driven for Script {
    fn handle_datagrams(&mut self, now: Now, batch: &mut dyn Iterator<Item = (Envelope, BytesMut)>) {
        if std::mem::take(&mut self.is_late) {
            self.deadline = Some(now.mono);
        }
        for (Envelope { address: from, ecn }, datagram) in batch {
            self.marks.push(ecn);
            if self.echo {
                self.outgoing.push_back((from, datagram.to_vec()));
            }
            self.received.push((from, datagram.to_vec()));
            self.gathered += 1;
        }
        self.most_gathered = self.most_gathered.max(self.gathered);
        std::thread::sleep(self.work);
    }

    fn handle_wake(&mut self, _: Now) {
        self.wakes += 1;
    }

    fn handle_timeout(&mut self, now: Now) {
        assert!(self.deadline.take().is_some_and(|deadline| deadline <= now.mono), "never early");
        self.timeouts += 1;
        self.received_by_timeout = self.received.len();
    }

    fn poll_transmit(&mut self, _: Now, out: &mut BytesMut) -> Option<Envelope> {
        assert!(out.is_empty());
        self.turns += 1;
        self.gathered = 0;
        let (to, datagram) = self.outgoing.pop_front()?;
        out.put_slice(&datagram);
        let ecn = self.outgoing_marks.pop_front().unwrap_or_default();
        Some(Envelope { address: to, ecn })
    }

    fn poll_timeout(&self) -> Option<Timestamp> {
        self.deadline
    }

    fn is_finished(&self) -> bool {
        self.finish.is_some_and(|finish| finish(self))
    }
}

/// Sends datagrams from one machine to another over every pair of paths, and checks that they arrive. They
/// must fit a socket's buffer. `check_batches` is told how many batches they came in.
fn carry(sent: &[Vec<u8>], mut check_batches: impl FnMut(IoPath, u64)) {
    for (out_path, in_path) in PATHS.into_iter().flat_map(|out| PATHS.map(|inn| (out, inn))) {
        let (sender, receiver) = (socket(out_path), socket(in_path));
        let (from, to) = (sender.local_addr().unwrap(), receiver.local_addr().unwrap());
        let counters = [sender.counters(), receiver.counters()];
        let outgoing = sent.iter().map(|datagram| (to, datagram.clone())).collect();
        let mut source = Script { outgoing, finish: Some(|_| true), ..Script::default() };
        let expected: Vec<_> = sent.iter().map(|datagram| (from, datagram.clone())).collect();
        let finish: fn(&Script) -> bool = |script| script.received.len() >= script.expected;
        let mut sink = Script { expected: expected.len(), finish: Some(finish), ..Script::default() };
        run(async {
            drive(sender, Clock::new(), &mut source, Arc::new(Notify::new())).await.unwrap();
            drive(receiver, Clock::new(), &mut sink, Arc::new(Notify::new())).await.unwrap();
        });
        assert!(sink.received == expected, "{out_path:?} to {in_path:?}");
        let total = (sent.len() as u64, sent.iter().map(Vec::len).sum::<usize>() as u64);
        assert_eq!((counters[0].datagrams_out.get(), counters[0].bytes_out.get()), total);
        assert_eq!((counters[1].datagrams_in.get(), counters[1].bytes_in.get()), total);
        check_batches(in_path, counters[1].batches_in.get());
    }
}

#[test]
fn a_batch_arrives_whole_in_order_and_from_its_sender_on_both_paths() {
    let sent: Vec<Vec<u8>> = (0..BATCH + 6).map(|n| vec![u8::try_from(n).unwrap(); n]).collect();
    carry(&sent, |path, batches| assert_eq!(batches, 2, "{path:?}"));
}

/// Nothing else wakes the loop: without busy polling it would sleep.
#[test]
fn a_loop_that_polls_busily_turns_although_nothing_comes() {
    let receiver = socket(IoPath::default()).with_busy_poll(Duration::from_secs(600));
    let plain = std::net::UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    plain.send_to(b"x", receiver.local_addr().unwrap()).unwrap();
    let mut sink = Script { finish: Some(|script| script.turns > 1_000), ..Script::default() };
    let driven = async {
        let driving = drive(receiver, Clock::new(), &mut sink, Arc::new(Notify::new()));
        tokio::time::timeout(Duration::from_secs(60), driving).await.expect("it sleeps").unwrap();
    };
    run(driven);
    assert_eq!(sink.received.len(), 1);
}

/// A socket of both families names an IPv4 sender by the address that it is answered at. A host without
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

/// Several datagrams for one receiver leave as one row, and come as one.
#[test]
fn rows_arrive_as_the_datagrams_they_were_on_both_paths() {
    let lengths = [vec![200; 100], vec![20, 0, 20, 20, 0, 0, 9, 30], vec![300; BATCH], vec![3]].concat();
    let datagram = |(n, length): (usize, &usize)| vec![u8::try_from(n).unwrap(); *length];
    let sent: Vec<Vec<u8>> = lengths.iter().enumerate().map(datagram).collect();
    carry(&sent, |_, _| {});
}

/// Sends datagrams with these marks, in rows where they are equal, and tells the marks that they come with.
#[cfg(target_os = "linux")]
fn carry_marks(sender: Socket, receiver: Socket, to: SocketAddr, marks: &[Ecn]) -> Vec<Ecn> {
    let outgoing = marks.iter().map(|_| (to, vec![7; 100])).collect();
    let outgoing_marks = marks.iter().copied().collect();
    let mut source = Script { outgoing, outgoing_marks, finish: Some(|_| true), ..Script::default() };
    let finish: fn(&Script) -> bool = |script| script.received.len() >= script.expected;
    let mut sink = Script { expected: marks.len(), finish: Some(finish), ..Script::default() };
    run(async {
        drive(sender, Clock::new(), &mut source, Arc::default()).await.unwrap();
        drive(receiver, Clock::new(), &mut sink, Arc::default()).await.unwrap();
    });
    sink.marks
}

/// Where the receiver listens, and by which address it is sent to: over IPv4, over IPv6, and both to a socket
/// of both families. Those that the host has.
#[cfg(target_os = "linux")]
fn ways() -> impl Iterator<Item = (IpAddr, IpAddr)> {
    let (v4, v6): (IpAddr, IpAddr) = (Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into());
    let ways = [(v4, v4), (v6, v6), (Ipv6Addr::UNSPECIFIED.into(), v4), (Ipv6Addr::UNSPECIFIED.into(), v6)];
    ways.into_iter().filter(|(at, _)| bind((*at, 0).into(), BufferSizes::default()).is_ok())
}

#[cfg(target_os = "linux")]
#[test]
fn marks_arrive_as_they_were_sent_where_both_ends_have_batches() {
    let marks =
        [vec![Ecn::Ect0; 20], vec![Ecn::NotEct; 9], vec![Ecn::Ce; 3], vec![Ecn::Ect0], vec![Ecn::Ect1]];
    let marks = [marks.concat(), [Ecn::NotEct, Ecn::Ect0].repeat(5)].concat();
    for (at, over) in ways() {
        for (out_path, in_path) in PATHS.into_iter().flat_map(|out| PATHS.map(|inn| (out, inn))) {
            let bound = |ip, path| bind((ip, 0).into(), BufferSizes::default()).unwrap().with_path(path);
            let (sender, receiver) = (bound(over, out_path), bound(at, in_path));
            let to = SocketAddr::new(over, receiver.local_addr().unwrap().port());
            let counters = sender.counters();
            let come = carry_marks(sender, receiver, to, &marks);
            let rows_are_taken = out_path == IoPath::Portable || counters.batches_out.get() == 1;
            assert!(rows_are_taken, "the kernel refused a row at {at} over {over}");
            let are_carried = (out_path, in_path) == (IoPath::Batched, IoPath::Batched);
            let expected = if are_carried { marks.clone() } else { vec![Ecn::NotEct; marks.len()] };
            assert_eq!(come, expected, "{out_path:?} to {in_path:?} at {at} over {over}");
        }
    }
}

/// An IPv6 socket answers IPv4 senders, too.
#[cfg(target_os = "linux")]
#[test]
fn a_socket_of_both_families_marks_what_it_sends_over_ipv4() {
    let marks = [Ecn::Ect0, Ecn::NotEct, Ecn::NotEct, Ecn::Ect0, Ecn::Ect0, Ecn::Ce];
    let Ok(sender) = bind((Ipv6Addr::UNSPECIFIED, 0).into(), BufferSizes::default()) else { return };
    let receiver = socket(IoPath::Batched);
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST.to_ipv6_mapped(), receiver.local_addr().unwrap().port()));
    assert_eq!(carry_marks(sender, receiver, to, &marks), marks);
}

/// As from a router, which writes CE into what passes.
#[cfg(target_os = "linux")]
#[test]
fn congestion_on_the_way_is_read() {
    for (at, over) in ways() {
        let receiver = bind((at, 0).into(), BufferSizes::default()).unwrap();
        let to = SocketAddr::new(over, receiver.local_addr().unwrap().port());
        let plain = std::net::UdpSocket::bind((over, 0)).unwrap();
        let options = socket2::SockRef::from(&plain);
        for bits in [3, 2, 0] {
            if over.is_ipv4() { options.set_tos_v4(bits) } else { options.set_tclass_v6(bits) }.unwrap();
            plain.send_to(&[7], to).unwrap();
        }
        let mut sink = Script { finish: Some(|script| script.received.len() == 3), ..Script::default() };
        run(drive(receiver, Clock::new(), &mut sink, Arc::default())).unwrap();
        assert_eq!(sink.marks, [Ecn::Ce, Ecn::Ect0, Ecn::NotEct], "at {at} over {over}");
    }
}

/// A row that the kernel does not take, here for a port that cannot be, is tried datagram by datagram.
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

/// Datagrams that a late machine has taken when its timer runs, of `waiting` in its socket.
fn received_by_timeout(path: IoPath, waiting: usize) -> usize {
    let receiver = socket(path);
    let to = receiver.local_addr().unwrap();
    let plain = std::net::UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    (0..waiting).for_each(|_| assert_eq!(plain.send_to(&[7], to).unwrap(), 1));
    let finish: fn(&Script) -> bool = |script| script.timeouts == 1;
    let mut sink = Script { is_late: true, finish: Some(finish), ..Script::default() };
    run(drive(receiver, Clock::new(), &mut sink, Arc::new(Notify::new()))).unwrap();
    sink.received_by_timeout
}

#[test]
fn what_waits_in_the_socket_comes_before_timers_but_not_for_ever() {
    for path in PATHS {
        assert_eq!(received_by_timeout(path, 2 * BATCH + 2), 2 * BATCH + 2, "{path:?}");
        assert_eq!(received_by_timeout(path, 8 * BATCH), 5 * BATCH, "{path:?}");
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
        assert_eq!(counters.send_errors.get(), 1, "{path:?}");
        assert_eq!(counters.datagrams_out.get(), 2, "{path:?}");
    }
}

#[test]
fn the_deadline_comes_without_any_datagram() {
    let clock = Clock::new();
    let mut script = Script {
        deadline: Some(Timestamp::from_millis(3)),
        finish: Some(|script| script.timeouts == 1),
        ..Script::default()
    };
    run(drive(socket(IoPath::Batched), clock, &mut script, Arc::new(Notify::new()))).unwrap();
    assert_eq!(script.timeouts, 1);
}

#[test]
fn a_wake_from_elsewhere_is_handled_even_when_it_came_first() {
    let wake = Arc::new(Notify::new());
    wake.notify_one();
    let mut script = Script { finish: Some(|script| script.wakes == 2), ..Script::default() };
    run(async {
        let again = Arc::clone(&wake);
        let waker = async move {
            tokio::task::yield_now().await;
            again.notify_one();
        };
        let (driven, ()) =
            tokio::join!(drive(socket(IoPath::Batched), Clock::new(), &mut script, wake), waker);
        driven.unwrap();
    });
    assert_eq!(script.wakes, 2);
}

/// A machine without room until it is woken, which its own deadline does; when it has taken a whole batch
/// it has none again.
struct Paused {
    wake: Arc<Notify>,
    deadline: Option<Timestamp>,
    has_room: bool,
    received: usize,
    expected: usize,
}

impl Driven for Paused {
    fn handle_datagrams(&mut self, now: Now, batch: &mut dyn Iterator<Item = (Envelope, BytesMut)>) {
        assert!(self.has_room, "it did not want any");
        let received = batch.count();
        self.received += received;
        if received == BATCH {
            self.has_room = false;
            self.deadline = Some(now.mono);
        }
    }

    fn handle_wake(&mut self, _: Now) {
        self.has_room = true;
    }

    fn handle_timeout(&mut self, _: Now) {
        self.deadline = None;
        self.wake.notify_one();
    }

    fn poll_transmit(&mut self, _: Now, _: &mut BytesMut) -> Option<Envelope> {
        None
    }

    fn poll_timeout(&self) -> Option<Timestamp> {
        self.deadline
    }

    fn wants_datagrams(&self) -> bool {
        self.has_room
    }

    fn is_finished(&self) -> bool {
        self.received == self.expected
    }
}

#[test]
fn a_machine_without_room_is_given_nothing_until_it_has_some() {
    for (path, expected) in
        PATHS.into_iter().flat_map(|path| [1, 2 * BATCH, 3 * BATCH - 1].map(|n| (path, n)))
    {
        let (sender, receiver) = (socket(path), socket(path));
        let to = receiver.local_addr().unwrap();
        let outgoing = vec![(to, vec![7; 32]); expected].into();
        let mut source = Script { outgoing, finish: Some(|_| true), ..Script::default() };
        let wake = Arc::new(Notify::new());
        let deadline = Some(Timestamp::from_millis(3));
        let mut paused = Paused { wake: Arc::clone(&wake), deadline, has_room: false, received: 0, expected };
        run(async {
            drive(sender, Clock::new(), &mut source, Arc::new(Notify::new())).await.unwrap();
            drive(receiver, Clock::new(), &mut paused, wake).await.unwrap();
        });
        assert_eq!(paused.received, expected, "{path:?}");
    }
}

/// Two machines that echo keep each other busy for ever: there is always something to read.
#[test]
fn a_flood_starves_neither_the_deadline_nor_the_wake() {
    for path in PATHS {
        let (left, right) = (socket(path), socket(path));
        let to_right = right.local_addr().unwrap();
        let wake = Arc::new(Notify::new());
        wake.notify_one();
        let mut flooded = Script {
            echo: true,
            outgoing: vec![(to_right, vec![7; 32]); 2 * BATCH].into(),
            deadline: Some(Timestamp::from_millis(20)),
            finish: Some(|script| script.timeouts == 1 && script.wakes == 1 && script.received.len() > BATCH),
            ..Script::default()
        };
        let mut mirror = Script { echo: true, ..Script::default() };
        run(async {
            let endless = drive(right, Clock::new(), &mut mirror, Arc::new(Notify::new()));
            let ends = drive(left, Clock::new(), &mut flooded, wake);
            tokio::select! {
                ended = endless => panic!("the mirror has no end: {ended:?}"),
                ended = ends => ended.unwrap(),
            }
        });
    }
}

#[test]
fn a_loop_without_time_left_reads_several_batches_before_it_sends() {
    for path in PATHS {
        let (left, right) = (socket(path), socket(path));
        let to_right = right.local_addr().unwrap();
        let mut laden = Script {
            echo: true,
            outgoing: vec![(to_right, vec![7; 32]); 3 * BATCH].into(),
            work: Duration::from_millis(1),
            finish: Some(|script| script.most_gathered > 2 * BATCH && script.outgoing.is_empty()),
            ..Script::default()
        };
        let mut mirror = Script { echo: true, ..Script::default() };
        run(async {
            let endless = drive(right, Clock::new(), &mut mirror, Arc::new(Notify::new()));
            let ends = drive(left, Clock::new(), &mut laden, Arc::new(Notify::new()));
            tokio::select! {
                ended = endless => panic!("the mirror has no end: {ended:?}"),
                ended = tokio::time::timeout(Duration::from_secs(60), ends) => ended.expect("it sends after each").unwrap(),
            }
        });
    }
}

#[test]
fn what_the_socket_has_no_room_for_is_kept() {
    for path in PATHS {
        run(async {
            let small = BufferSizes { receive_bytes: 1 << 16, send_bytes: 1 };
            let sender = bind(([127, 0, 0, 1], 0).into(), small).unwrap();
            let counters = sender.counters();
            let (port, mut room) = (Port::new(sender.udp).unwrap(), Room::default());
            poll_fn(|cx| room.poll(&port, cx)).await.unwrap();
            let (mut outbox, mut blocked) = (Outbox::new(&port, path), false);
            // A port where nobody reads and nobody is bound would answer with errors.
            let receiver = socket(path);
            let to = receiver.local_addr().unwrap();
            outbox.fill(|datagram| {
                datagram.put_bytes(9, 8_000);
                Some(to.into())
            });
            // Loopback delivers at once, so the buffer may never fill; what is kept is right anyway.
            while outbox.unsent() > 0 {
                let before = outbox.unsent();
                match outbox.send(&port, &counters).unwrap() {
                    Flushed::Blocked => {
                        blocked = true;
                        assert!(outbox.unsent() > 0 && outbox.unsent() <= before);
                        poll_fn(|cx| room.poll(&port, cx)).await.unwrap();
                    }
                    Flushed::Dry => assert_eq!(outbox.unsent(), 0),
                }
            }
            assert_eq!(counters.send_blocked.get() > 0, blocked);
            assert_eq!(counters.datagrams_out.get() + counters.send_errors.get(), BATCH as u64);
        });
    }
}

/// However many came before: as long as there is more, an inbox says so, for nothing else would wake its loop.
#[test]
fn what_is_left_in_the_socket_is_told_on_both_paths() {
    for path in PATHS {
        run(async {
            let receiver = socket(path);
            let (to, counters) = (receiver.local_addr().unwrap(), receiver.counters());
            let plain = std::net::UdpSocket::bind(("127.0.0.1", 0)).unwrap();
            let port = Port::new(receiver.udp).unwrap();
            let mut inbox = Inbox::new(&port, path);
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
            let mut inbox = Inbox::new(&port, path);
            assert!(!inbox.receive(&port, &counters).unwrap());
            assert!(inbox.is_empty());
            assert_eq!(counters.batches_in.get(), 0);
        });
    }
}

/// An app may spawn it on a runtime of many threads.
#[test]
fn the_loop_may_move_between_threads() {
    fn is_send<T: Send>(_: &T) {}
    let mut script = Script::default();
    is_send(&drive(socket(IoPath::Batched), Clock::new(), &mut script, Arc::new(Notify::new())));
}
