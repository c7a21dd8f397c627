//! ECN: marks sent and received.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use super::{PATHS, Script, run, socket};
use crate::base::Ecn;
use crate::net::{BufferSizes, Clock, IoPath, Socket, bind, drive};

/// Sends datagrams with these marks, in rows where they are equal; returns the marks with which they arrive.
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

/// Pairs of the address that the receiver listens at and the address that is sent to: over IPv4, over IPv6,
/// and both to a socket of both families. Only those that the host has.
fn ways() -> impl Iterator<Item = (IpAddr, IpAddr)> {
    let (v4, v6): (IpAddr, IpAddr) = (Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into());
    let ways = [(v4, v4), (v6, v6), (Ipv6Addr::UNSPECIFIED.into(), v4), (Ipv6Addr::UNSPECIFIED.into(), v6)];
    ways.into_iter().filter(|(at, _)| bind((*at, 0).into(), BufferSizes::default()).is_ok())
}

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

/// An IPv6 socket also answers IPv4 senders.
#[test]
fn a_socket_of_both_families_marks_what_it_sends_over_ipv4() {
    let marks = [Ecn::Ect0, Ecn::NotEct, Ecn::NotEct, Ecn::Ect0, Ecn::Ect0, Ecn::Ce];
    let Ok(sender) = bind((Ipv6Addr::UNSPECIFIED, 0).into(), BufferSizes::default()) else { return };
    let receiver = socket(IoPath::Batched);
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST.to_ipv6_mapped(), receiver.local_addr().unwrap().port()));
    assert_eq!(carry_marks(sender, receiver, to, &marks), marks);
}

/// As from a router, which writes CE into passing packets.
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
