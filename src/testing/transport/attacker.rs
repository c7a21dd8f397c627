//! An attacker on the path, who sees datagrams, keeps copies and sends them, unchanged or modified, to either
//! end from any address. It holds no key, so nothing it sends may have an effect.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rand::Rng;
use rand::rngs::StdRng;

use super::message::End;
use crate::base::Timestamp;

/// The datagrams that it has seen, and the time of its next one.
pub(super) struct Attacker {
    pub(super) acts_at: Timestamp,
    pace: Duration,
    server: SocketAddr,
    seen: Vec<Seen>,
    rng: StdRng,
}

/// A datagram that it has seen.
struct Seen {
    from: End,
    client: SocketAddr,
    datagram: Bytes,
}

/// A datagram that it sends.
pub(super) struct Strike {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) datagram: Bytes,
}

/// Maximum number of datagrams that it keeps.
const MEMORY: usize = 64;

impl Attacker {
    /// Returns an attacker whose datagrams are `pace` apart on average; without a pace it does nothing.
    pub(super) fn new(now: Timestamp, pace: Option<Duration>, server: SocketAddr, rng: StdRng) -> Self {
        let acts_at = pace.map_or(Timestamp::MAX, |pace| now + pace);
        Self { acts_at, pace: pace.unwrap_or_default(), server, seen: Vec::new(), rng }
    }

    /// Keeps a copy of a datagram.
    pub(super) fn see(&mut self, from: End, client: SocketAddr, datagram: &[u8]) {
        if self.acts_at == Timestamp::MAX {
            return;
        }
        let seen = Seen { from, client, datagram: Bytes::copy_from_slice(datagram) };
        if self.seen.len() < MEMORY {
            self.seen.push(seen);
        } else if let Some(old) = self.seen.get_mut(self.rng.random_range(0..MEMORY)) {
            *old = seen;
        }
    }

    /// Sends a datagram.
    pub(super) fn act(&mut self, now: Timestamp) -> Option<Strike> {
        self.acts_at = now + self.rng.random_range(self.pace / 10..self.pace * 2);
        let at = self.rng.random_range(0..self.seen.len().max(1));
        let Seen { from, client, datagram } = self.seen.get(at)?;
        let (from, client, datagram) = (*from, *client, datagram.clone());
        // Occasionally back to its sender.
        let to_server = (from == End::Client) != self.rng.random_bool(0.1);
        let elsewhere =
            SocketAddr::from(([203, 0, 113, self.rng.random()], self.rng.random_range(1..=u16::MAX)));
        let (peer, to) = if to_server { (client, self.server) } else { (self.server, client) };
        let from = if self.rng.random_bool(0.5) { peer } else { elsewhere };
        Some(Strike { from, to, datagram: self.change(datagram) })
    }

    fn change(&mut self, datagram: Bytes) -> Bytes {
        let mut bytes = BytesMut::from(&datagram[..]);
        match self.rng.random_range(0..6) {
            0 | 1 => return datagram,
            2 => bytes.truncate(self.rng.random_range(0..=datagram.len())),
            3 => self.flip(&mut bytes, 0..datagram.len().min(12)),
            4 => self.flip(&mut bytes, 0..datagram.len()),
            _ => {
                // The start of a datagram, followed by random bytes.
                let keep = self.rng.random_range(0..=datagram.len().min(10));
                bytes.truncate(keep);
                bytes.resize(self.rng.random_range(keep..1_300), 0);
                if let Some(noise) = bytes.get_mut(keep..) {
                    self.rng.fill(noise);
                }
            }
        }
        bytes.freeze()
    }

    fn flip(&mut self, bytes: &mut [u8], within: std::ops::Range<usize>) {
        if within.is_empty() {
            return;
        }
        for _ in 0..self.rng.random_range(1..4) {
            let at = self.rng.random_range(within.clone());
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << self.rng.random_range(0..8);
            }
        }
    }
}
