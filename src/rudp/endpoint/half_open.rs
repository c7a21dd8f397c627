//! [`HalfOpens`]: connections that were answered with a HELLO_ACK and have not confirmed it.
//!
//! Few, bounded and short-lived; found by connection id, by who has said HELLO and by token, and counted by user and
//! by address prefix.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::base::{ConnectionId, IdMap, Timestamp, UserId};
use crate::rudp::Connection;
use crate::secure::{Claims, TokenId};
use crate::wire::packet::EPHEMERAL_BYTES;

/// A connection that waits for the client's first sealed packet.
pub(super) struct HalfOpen {
    pub(super) connection: Box<Connection>,
    pub(super) claims: Claims,
    pub(super) begun: Timestamp,
    /// Another handshake of its token, or of its user, has taken its place: it is to be told so when it confirms.
    pub(super) is_beaten: bool,
    /// The client's ephemeral key.
    pub(super) ephemeral: [u8; EPHEMERAL_BYTES],
    /// Where its HELLO came from.
    pub(super) from: SocketAddr,
    /// The HELLO_ACK, to be sent again.
    pub(super) answer: Bytes,
}

/// By what a repeated HELLO is known: the client's ephemeral key, and the IP that it comes from. The answer to one
/// IP goes to no other, for whoever hears it speaks for the address that the connection then has.
type Caller = ([u8; EPHEMERAL_BYTES], IpAddr);

impl HalfOpen {
    fn caller(&self) -> Caller {
        (self.ephemeral, self.from.ip().to_canonical())
    }
}

/// All half-open connections of an endpoint. Spec: HSK-11.
#[derive(Default)]
pub(super) struct HalfOpens {
    by_id: IdMap<ConnectionId, HalfOpen>,
    by_caller: HashMap<Caller, ConnectionId>,
    by_token: HashMap<TokenId, SmallVec<[ConnectionId; 2]>>,
    /// Oldest first.
    by_user: HashMap<UserId, SmallVec<[ConnectionId; 2]>>,
    prefixes: HashMap<Prefix, u32>,
    /// By end time: all live equally long. May name some that have already ended.
    ends: VecDeque<(Timestamp, ConnectionId)>,
}

impl HalfOpens {
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Places taken in all tables.
    #[cfg(test)]
    pub(super) fn places(&self) -> usize {
        let tables = [self.by_id.len(), self.by_caller.len(), self.by_token.len()];
        let counts = [self.by_user.len(), self.prefixes.len(), self.ends.len()];
        tables.into_iter().chain(counts).sum()
    }

    /// Those of one user, the oldest first.
    pub(super) fn of_user(&self, user: &UserId) -> &[ConnectionId] {
        self.by_user.get(user).map_or(&[], SmallVec::as_slice)
    }

    /// Those of one address's prefix.
    pub(super) fn of_prefix(&self, address: SocketAddr) -> u32 {
        self.prefixes.get(&Prefix::of(address)).copied().unwrap_or(0)
    }

    /// The one that a HELLO with this ephemeral key from this IP has made.
    // spec: HSK-10
    pub(super) fn of_caller(&self, ephemeral: [u8; EPHEMERAL_BYTES], from: SocketAddr) -> Option<&HalfOpen> {
        let id = self.by_caller.get(&(ephemeral, from.ip().to_canonical()))?;
        self.by_id.get(id)
    }

    /// True for one that is so old that a newer one may have its place.
    // spec: HSK-11
    pub(super) fn gives_way(&self, id: ConnectionId, now: Timestamp) -> bool {
        self.by_id.get(&id).is_some_and(|half_open| half_open.begun + GIVES_WAY_AFTER <= now)
    }

    pub(super) fn get_mut(&mut self, id: ConnectionId) -> Option<&mut HalfOpen> {
        self.by_id.get_mut(&id)
    }

    pub(super) fn insert(&mut self, end: Timestamp, id: ConnectionId, half_open: HalfOpen) {
        self.by_caller.insert(half_open.caller(), id);
        self.by_token.entry(half_open.claims.id.clone()).or_default().push(id);
        self.by_user.entry(half_open.claims.user.clone()).or_default().push(id);
        *self.prefixes.entry(Prefix::of(half_open.from)).or_default() += 1;
        self.ends.push_back((end, id));
        self.by_id.insert(id, half_open);
    }

    pub(super) fn remove(&mut self, id: ConnectionId) -> Option<HalfOpen> {
        let half_open = self.by_id.remove(&id)?;
        if !half_open.is_beaten {
            self.unlist(id, &half_open);
        }
        if self.by_id.is_empty() {
            // What many at once took is not kept.
            *self = Self::default();
        }
        Some(half_open)
    }

    /// Another one takes the place of this one, which is found by its id alone from now on.
    pub(super) fn beat(&mut self, id: ConnectionId) {
        if let Some(half_open) = self.by_id.remove(&id) {
            self.unlist(id, &half_open);
            self.by_id.insert(id, HalfOpen { is_beaten: true, ..half_open });
        }
    }

    fn unlist(&mut self, id: ConnectionId, half_open: &HalfOpen) {
        self.by_caller.remove(&half_open.caller());
        take_out(&mut self.by_token, &half_open.claims.id, id);
        take_out(&mut self.by_user, &half_open.claims.user, id);
        let prefix = Prefix::of(half_open.from);
        if let Some(count) = self.prefixes.get_mut(&prefix) {
            *count -= 1;
            if *count == 0 {
                self.prefixes.remove(&prefix);
            }
        }
    }

    /// Those that a token is making, the oldest first.
    pub(super) fn of_token(&self, token: &TokenId) -> &[ConnectionId] {
        self.by_token.get(token).map_or(&[], SmallVec::as_slice)
    }

    /// One whose time is over.
    pub(super) fn pop_ended(&mut self, now: Timestamp) -> Option<ConnectionId> {
        while let Some((_, id)) = self.ends.pop_front_if(|(end, _)| *end <= now) {
            if self.by_id.contains_key(&id) {
                return Some(id);
            }
        }
        None
    }

    /// When the oldest ends; may be early, when that one has ended before its time.
    pub(super) fn next_end(&self) -> Option<Timestamp> {
        self.ends.front().map(|(end, _)| *end)
    }
}

fn take_out<K: Hash + Eq>(lists: &mut HashMap<K, SmallVec<[ConnectionId; 2]>>, key: &K, id: ConnectionId) {
    if let Some(ids) = lists.get_mut(key) {
        ids.retain(|other| *other != id);
        if ids.is_empty() {
            lists.remove(key);
        }
    }
}

/// The part of an address that one owner usually has to himself: IPv4 /24, IPv6 /56.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Prefix(u64);

impl Prefix {
    fn of(address: SocketAddr) -> Self {
        match address.ip().to_canonical() {
            IpAddr::V4(ip) => Self(u64::from(ip.to_bits() >> 8)),
            // An IPv6 prefix in use has bits above those of any IPv4 one.
            IpAddr::V6(ip) => Self(u64::try_from(ip.to_bits() >> 64).unwrap_or(u64::MAX) >> 8),
        }
    }
}

/// From this age on a half-open connection gives way to a newer one of its token or user: a client that is there has
/// confirmed it long since, and whoever sends a client's HELLO on from elsewhere must not end it before that.
const GIVES_WAY_AFTER: Duration = Duration::from_secs(1);

/// How long a half-open connection may live at most, whatever the configuration says: its id must
/// not be in use again while its end still waits in a queue.
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
