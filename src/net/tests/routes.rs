//! The addresses at which a host is contacted, and from which it answers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use std::collections::VecDeque;
use std::sync::Arc;

use super::run;
use crate::base::{Ecn, Envelope, Now, Route, Timestamp};
use crate::net::{BufferSizes, Clock, Driven, bind, drive};

/// Sends each datagram back on its route, marked with `mark`; done after `expected` datagrams.
struct Echo {
    mark: Ecn,
    expected: usize,
    came: Vec<Route>,
    back: VecDeque<(Envelope, BytesMut)>,
}

impl Driven for Echo {
    fn handle_datagrams(&mut self, _: Now, batch: &mut dyn Iterator<Item = (Envelope, BytesMut)>) {
        for (from, datagram) in batch {
            self.came.push(from.route);
            self.back.push_back((from.route.marked(self.mark), datagram));
        }
    }

    fn handle_wake(&mut self, _: Now) {}

    fn handle_timeout(&mut self, _: Now) {}

    fn poll_transmit(&mut self, _: Now, out: &mut BytesMut) -> Option<Envelope> {
        let (to, datagram) = self.back.pop_front()?;
        out.put_slice(&datagram);
        Some(to)
    }

    fn poll_timeout(&self) -> Option<Timestamp> {
        None
    }

    fn is_finished(&self) -> bool {
        self.came.len() >= self.expected && self.back.is_empty()
    }
}

/// Contacts a socket that is bound to `all` at `at`; returns the address at which the socket reports to have
/// been contacted. An answer from any other address would not reach the asker.
fn ask(all: IpAddr, at: IpAddr, mark: Ecn, datagrams: usize) -> Option<IpAddr> {
    let Ok(socket) = bind((all, 0).into(), BufferSizes::default()) else { return None };
    let server = socket.with_local_addresses();
    let here: IpAddr = if at.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
    let asker = UdpSocket::bind((here, 0)).unwrap();
    asker.connect(SocketAddr::new(at, server.local_addr().unwrap().port())).unwrap();
    asker.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    for n in 0..datagrams {
        asker.send(&[u8::try_from(n).unwrap(); 40]).unwrap();
    }
    let mut echo = Echo { mark, expected: datagrams, came: Vec::new(), back: VecDeque::new() };
    run(drive(server, Clock::new(), &mut echo, Arc::default())).unwrap();
    for n in 0..datagrams {
        let mut datagram = [0; 64];
        assert_eq!(asker.recv(&mut datagram).unwrap(), 40, "{all} asked at {at}");
        assert_eq!(usize::from(datagram[0]), n);
    }
    let local = echo.came[0].local;
    assert!(echo.came.iter().all(|route| route.local == local));
    local
}

// spec-test: PTH-10
/// Single datagrams and rows, with the default mark and with another.
#[test]
fn answers_leave_from_where_they_were_asked() {
    let second = Ipv4Addr::new(127, 0, 0, 2);
    for (mark, datagrams) in [(Ecn::Ect0, 1), (Ecn::NotEct, 1), (Ecn::Ect0, 5), (Ecn::NotEct, 5)] {
        let told = ask(Ipv4Addr::UNSPECIFIED.into(), second.into(), mark, datagrams);
        assert_eq!(told, Some(second.into()));
        // A host without IPv6 has no more to test.
        let of_both = |at| ask(Ipv6Addr::UNSPECIFIED.into(), at, mark, datagrams);
        if let Some(told) = of_both(second.into()) {
            assert_eq!(told.to_canonical(), IpAddr::from(second));
            assert_eq!(of_both(Ipv6Addr::LOCALHOST.into()), Some(Ipv6Addr::LOCALHOST.into()));
        }
    }
}

/// Its answers can come from no other address, so nothing is requested from the kernel.
#[test]
fn a_socket_of_one_address_is_told_nothing() {
    let here = IpAddr::from(Ipv4Addr::LOCALHOST);
    assert_eq!(ask(here, here, Ecn::Ect0, 1), None);
}
