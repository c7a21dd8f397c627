//! Datagrams between a server and its clients. Each client address has its own path, and a datagram that
//! arrives shows whether it is intact.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::message::End;
use super::scenario::{Path, draw_mtu};
use crate::base::{Ecn, Envelope, Route, Timestamp};
use crate::link::{Counts, Impairments, Link};
use crate::testing::checker::Life;
use crate::wire::packet::is_clear;

/// All paths, and the datagrams in flight on them.
pub(super) struct Network {
    lines: BTreeMap<SocketAddr, Line>,
    under_way: BinaryHeap<Reverse<UnderWay>>,
    order: u64,
    rng: StdRng,
}

/// The path of one address.
struct Line {
    life: Life,
    up: Link,
    down: Link,
}

/// A datagram that has arrived.
#[derive(Debug)]
pub(super) struct Parcel {
    pub(super) from: Envelope,
    pub(super) to: SocketAddr,
    pub(super) datagram: BytesMut,
    pub(super) stamp: Option<Stamp>,
}

/// Marks a sealed packet that is as its sender made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stamp {
    pub(super) life: Life,
    pub(super) from: End,
    /// Increases with each datagram sent.
    pub(super) number: u64,
    pub(super) sent_at: Timestamp,
    pub(super) bytes: usize,
}

/// A datagram in flight; the first fields' order is the order of arrival.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct UnderWay {
    at: Timestamp,
    order: u64,
    from: Envelope,
    to: SocketAddr,
    datagram: Bytes,
    stamp: Option<Stamp>,
}

impl Network {
    pub(super) fn new(rng: StdRng) -> Self {
        Self { lines: BTreeMap::new(), under_way: BinaryHeap::new(), order: 0, rng }
    }

    /// Gives `address` to a client, with its own path. Returns true if it was another life's before.
    pub(super) fn connect(&mut self, address: SocketAddr, life: Life, path: &Path) -> bool {
        if let Some(line) = self.lines.get_mut(&address) {
            return std::mem::replace(&mut line.life, life) != life;
        }
        let up = Link::new(path.up.clone(), StdRng::seed_from_u64(self.rng.random()));
        let down = Link::new(path.down.clone(), StdRng::seed_from_u64(self.rng.random()));
        self.lines.insert(address, Line { life, up, down });
        false
    }

    /// Puts a datagram that `from` sends on its way between `client` and the server, and returns the life
    /// that owns the path. Without a client at the address the datagram is lost.
    pub(super) fn send(
        &mut self,
        now: Timestamp,
        from: End,
        (client, server): (SocketAddr, SocketAddr),
        (ecn, datagram): (Ecn, &Bytes),
    ) -> Option<Life> {
        let line = self.lines.get_mut(&client)?;
        let (link, address, to) = match from {
            End::Client => (&mut line.up, client, server),
            End::Server => (&mut line.down, server, client),
        };
        self.order += 1;
        let stamp = Stamp { life: line.life, from, number: self.order, sent_at: now, bytes: datagram.len() };
        for arrival in link.carry(now, ecn, datagram.clone()) {
            let is_intact = !is_clear(datagram) && arrival.datagram == *datagram;
            let under_way = UnderWay {
                at: arrival.at,
                order: self.order,
                from: Route::from(address).marked(arrival.ecn),
                to,
                datagram: arrival.datagram,
                stamp: is_intact.then_some(stamp),
            };
            self.under_way.push(Reverse(under_way));
        }
        Some(line.life)
    }

    /// Injects an attacker's datagram with any source address, marked CE. It arrives at once.
    pub(super) fn inject(&mut self, now: Timestamp, from: SocketAddr, to: SocketAddr, datagram: Bytes) {
        self.order += 1;
        let from = Route::from(from).marked(Ecn::Ce);
        let under_way = UnderWay { at: now, order: self.order, from, to, datagram, stamp: None };
        self.under_way.push(Reverse(under_way));
    }

    /// Takes the next datagram that has arrived by `now`.
    pub(super) fn receive(&mut self, now: Timestamp) -> Option<Parcel> {
        if self.next_at()? > now {
            return None;
        }
        let Reverse(UnderWay { from, to, datagram, stamp, .. }) = self.under_way.pop()?;
        Some(Parcel { from, to, datagram: BytesMut::from(&datagram[..]), stamp })
    }

    /// Returns when the next datagram arrives.
    pub(super) fn next_at(&self) -> Option<Timestamp> {
        self.under_way.peek().map(|Reverse(next)| next.at)
    }

    /// Gives each direction of all paths a new MTU of at least 1,200 bytes.
    pub(super) fn change_mtus(&mut self) {
        for link in self.lines.values_mut().flat_map(|line| [&mut line.up, &mut line.down]) {
            link.set_mtu(draw_mtu(&mut self.rng));
        }
    }

    /// Returns the counters of all existing paths.
    pub(super) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for line in self.lines.values() {
            counts += line.up.counts();
            counts += line.down.counts();
        }
        counts
    }

    /// Changes all existing paths.
    pub(super) fn set(&mut self, impairments: &Impairments) {
        for line in self.lines.values_mut() {
            line.up.set(impairments.clone());
            line.down.set(impairments.clone());
        }
    }
}
