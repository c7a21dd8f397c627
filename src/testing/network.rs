//! Datagrams between one server and its clients, on impaired links.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::base::{Envelope, Route, Timestamp};
use crate::link::{Arrival, Impairments, Link};

/// The network of a simulation: each client address has a path to the server, with a link each way.
pub(super) struct Network {
    server: SocketAddr,
    impairments: Impairments,
    paths: BTreeMap<SocketAddr, Path>,
    under_way: BinaryHeap<Reverse<UnderWay>>,
    order: u64,
    rng: StdRng,
}

struct Path {
    up: Link,
    down: Link,
}

/// A datagram in flight; the fields' order is the order of arrival.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct UnderWay {
    at: Timestamp,
    order: u64,
    from: Envelope,
    to: SocketAddr,
    datagram: Bytes,
}

/// A datagram that has arrived.
pub(super) struct Arrived {
    pub(super) from: Envelope,
    pub(super) to: SocketAddr,
    pub(super) datagram: BytesMut,
}

impl Network {
    pub(super) fn new(server: SocketAddr, impairments: Impairments, rng: StdRng) -> Self {
        Self { server, impairments, paths: BTreeMap::new(), under_way: BinaryHeap::new(), order: 0, rng }
    }

    /// Puts a datagram on its way; one end is the server.
    pub(super) fn send(&mut self, now: Timestamp, from: SocketAddr, to: Envelope, datagram: Bytes) {
        let Envelope { route: Route { remote: to, .. }, ecn } = to;
        let up = to == self.server;
        let client = if up { from } else { to };
        let (rng, impairments) = (&mut self.rng, &self.impairments);
        let path = self.paths.entry(client).or_insert_with(|| Path::new(impairments, rng));
        let link = if up { &mut path.up } else { &mut path.down };
        for Arrival { at, ecn, datagram } in link.carry(now, ecn, datagram) {
            self.order += 1;
            let (order, from) = (self.order, Route::from(from).marked(ecn));
            self.under_way.push(Reverse(UnderWay { at, order, from, to, datagram }));
        }
    }

    /// Gives one client its own path with `impairments`.
    pub(super) fn set_path(&mut self, client: SocketAddr, impairments: &Impairments) {
        let path = Path::new(impairments, &mut self.rng);
        self.paths.insert(client, path);
    }

    /// Takes the next datagram that has arrived by `now`.
    pub(super) fn receive(&mut self, now: Timestamp) -> Option<Arrived> {
        if self.next_at()? > now {
            return None;
        }
        let Reverse(UnderWay { from, to, datagram, .. }) = self.under_way.pop()?;
        Some(Arrived { from, to, datagram: BytesMut::from(datagram) })
    }

    /// Returns when the next datagram arrives.
    pub(super) fn next_at(&self) -> Option<Timestamp> {
        self.under_way.peek().map(|Reverse(next)| next.at)
    }

    /// Changes all paths, including existing ones.
    pub(super) fn set(&mut self, impairments: Impairments) {
        for path in self.paths.values_mut() {
            path.up.set(impairments.clone());
            path.down.set(impairments.clone());
        }
        self.impairments = impairments;
    }
}

impl Path {
    fn new(impairments: &Impairments, rng: &mut StdRng) -> Self {
        let mut link = || Link::new(impairments.clone(), StdRng::seed_from_u64(rng.random()));
        Self { up: link(), down: link() }
    }
}
