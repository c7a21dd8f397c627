//! [`HalfOpens`]: connections that were answered with a HELLO_ACK and are not confirmed yet.
//!
//! They are few, bounded and short-lived, are found by connection id and by the sender of the HELLO, and are
//! counted by user and by address prefix.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;

use crate::base::{ConnectionId, Host, IdMap, Timestamp, UserId};
use crate::rudp::Connection;
use crate::secure::Claims;
use crate::wire::packet::EPHEMERAL_BYTES;

/// A connection that waits for the client's first sealed packet.
pub(super) struct HalfOpen {
    pub(super) connection: Box<Connection>,
    pub(super) claims: Claims,
    /// The client's ephemeral key.
    pub(super) ephemeral: [u8; EPHEMERAL_BYTES],
    /// Address that its HELLO came from.
    pub(super) from: SocketAddr,
    /// The HELLO_ACK, kept to be sent again.
    pub(super) answer: Bytes,
}

/// Identifies a repeated HELLO: the client's ephemeral key, and the host that it comes from. The answer to
/// one host is sent to no other, since a host that receives it speaks for the address that the connection
/// then has.
type Caller = ([u8; EPHEMERAL_BYTES], Host);

impl HalfOpen {
    fn caller(&self) -> Caller {
        (self.ephemeral, self.from.into())
    }
}

/// All half-open connections of an endpoint. Spec: HSK-11.
#[derive(Default)]
pub(super) struct HalfOpens {
    by_id: IdMap<ConnectionId, HalfOpen>,
    by_caller: HashMap<Caller, ConnectionId>,
    users: HashMap<UserId, u32>,
    prefixes: HashMap<Prefix, u32>,
    /// In the order of their ends, since all live equally long. May include some that have already ended.
    ends: VecDeque<(Timestamp, ConnectionId)>,
}

impl HalfOpens {
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Returns the number of entries in all tables.
    #[cfg(test)]
    pub(super) fn places(&self) -> usize {
        let tables = [self.by_id.len(), self.by_caller.len()];
        let counts = [self.users.len(), self.prefixes.len(), self.ends.len()];
        tables.into_iter().chain(counts).sum()
    }

    /// Returns the connection whose time ends then.
    #[cfg(test)]
    pub(super) fn ending_at(&self, end: Timestamp) -> Option<ConnectionId> {
        let (_, id) = self.ends.iter().find(|(at, id)| *at == end && self.by_id.contains_key(id))?;
        Some(*id)
    }

    /// Returns the number of half-open connections of one user.
    pub(super) fn of_user(&self, user: &UserId) -> u32 {
        self.users.get(user).copied().unwrap_or(0)
    }

    /// Returns the number of half-open connections of one address's prefix.
    pub(super) fn of_prefix(&self, address: SocketAddr) -> u32 {
        self.prefixes.get(&Prefix::of(address)).copied().unwrap_or(0)
    }

    /// Returns the connection made by a HELLO with this ephemeral key from this host.
    // spec: HSK-10
    pub(super) fn of_caller(&self, ephemeral: [u8; EPHEMERAL_BYTES], from: SocketAddr) -> Option<&HalfOpen> {
        let id = self.by_caller.get(&(ephemeral, from.into()))?;
        self.by_id.get(id)
    }

    /// Returns the claims of all their tokens.
    pub(super) fn claims(&self) -> impl Iterator<Item = &Claims> {
        self.by_id.values().map(|half_open| &half_open.claims)
    }

    pub(super) fn contains(&self, id: ConnectionId) -> bool {
        self.by_id.contains_key(&id)
    }

    pub(super) fn get_mut(&mut self, id: ConnectionId) -> Option<&mut HalfOpen> {
        self.by_id.get_mut(&id)
    }

    pub(super) fn insert(&mut self, end: Timestamp, id: ConnectionId, half_open: HalfOpen) {
        self.by_caller.insert(half_open.caller(), id);
        *self.users.entry(half_open.claims.user.clone()).or_default() += 1;
        *self.prefixes.entry(Prefix::of(half_open.from)).or_default() += 1;
        self.ends.push_back((end, id));
        self.by_id.insert(id, half_open);
    }

    pub(super) fn remove(&mut self, id: ConnectionId) -> Option<HalfOpen> {
        let half_open = self.by_id.remove(&id)?;
        self.by_caller.remove(&half_open.caller());
        count_down(&mut self.users, &half_open.claims.user);
        count_down(&mut self.prefixes, &Prefix::of(half_open.from));
        if self.by_id.is_empty() {
            // Frees the memory that many connections at once have taken.
            *self = Self::default();
        }
        Some(half_open)
    }

    /// Returns true if a connection of others may have to give its place to one by this user from this
    /// address; [`Self::yielding`] returns which.
    pub(super) fn may_yield(&self, user: &UserId, from: SocketAddr) -> bool {
        let most = |counts: Option<&u32>| counts.copied().unwrap_or(0);
        let crowd = (most(self.users.values().max()), most(self.prefixes.values().max()));
        crowd > self.crowd_with(user, from)
    }

    /// Returns the connection that gives its place to one by this user from this address: of those whose time
    /// is over by `until`, the oldest of the user who has most, or of the prefix that has most where no user
    /// has more than others. `None` if that would not even out who has how many.
    // spec: HSK-11
    pub(super) fn yielding(&self, until: Timestamp, user: &UserId, from: SocketAddr) -> Option<ConnectionId> {
        let (mut most, mut yielding) = (self.crowd_with(user, from), None);
        for (_, id) in self.ends.iter().take_while(|(end, _)| *end <= until) {
            let Some(half_open) = self.by_id.get(id) else { continue };
            let crowd = (self.of_user(&half_open.claims.user), self.of_prefix(half_open.from));
            if crowd > most {
                (most, yielding) = (crowd, Some(*id));
            }
        }
        yielding
    }

    /// Returns how many connections this user and this address's prefix would have with one more.
    fn crowd_with(&self, user: &UserId, from: SocketAddr) -> (u32, u32) {
        (self.of_user(user) + 1, self.of_prefix(from) + 1)
    }

    /// Returns a connection whose time is over.
    pub(super) fn pop_ended(&mut self, now: Timestamp) -> Option<ConnectionId> {
        while let Some((_, id)) = self.ends.pop_front_if(|(end, _)| *end <= now) {
            if self.by_id.contains_key(&id) {
                return Some(id);
            }
        }
        None
    }

    /// Returns when the oldest ends; too early when that one has ended before its time.
    pub(super) fn next_end(&self) -> Option<Timestamp> {
        self.ends.front().map(|(end, _)| *end)
    }
}

fn count_down<K: Hash + Eq>(counts: &mut HashMap<K, u32>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

/// The part of an address that one owner usually has alone: IPv4 /24, IPv6 /56.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Prefix(u64);

impl Prefix {
    fn of(address: SocketAddr) -> Self {
        match address.ip().to_canonical() {
            IpAddr::V4(ip) => Self(u64::from(ip.to_bits() >> 8)),
            // An IPv6 prefix in use has bits above those of any IPv4 prefix.
            IpAddr::V6(ip) => Self(u64::try_from(ip.to_bits() >> 64).unwrap_or(u64::MAX) >> 8),
        }
    }
}

/// Longest lifetime of a half-open connection, whatever the configuration says. Its id must not be in use
/// again while its end still waits in a queue.
pub(super) const TIMEOUT_MAX: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_share_a_prefix_and_mapped_addresses_are_ipv4() {
        let prefix = |text: &str| Prefix::of(text.parse().unwrap());
        assert_eq!(prefix("192.0.2.1:1"), prefix("192.0.2.255:2"));
        assert_ne!(prefix("192.0.2.1:1"), prefix("192.0.3.1:1"));
        assert_eq!(prefix("[::ffff:192.0.2.1]:1"), prefix("192.0.2.1:1"));
        assert_eq!(prefix("[2001:db8:0:1::1]:1"), prefix("[2001:db8:0:ff::1]:1"));
        assert_ne!(prefix("[2001:db8:0:1::1]:1"), prefix("[2001:db8:0:101::1]:1"));
    }
}
