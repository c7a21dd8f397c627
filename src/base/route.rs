//! [`Route`]: the addresses that a datagram travels between; [`Envelope`]: a route and an ECN mark.

use std::net::{IpAddr, SocketAddr};

use super::Ecn;

/// The two addresses of a datagram, seen from one end.
///
/// Made from an address alone, it leaves the local address to the system.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Route {
    /// The other end: the sender of a received datagram, the receiver of a sent one.
    pub remote: SocketAddr,
    /// The local address, if the socket has many and the system reports which of them a datagram came to. An
    /// answer leaves from this address; otherwise its receiver would not recognize its sender.
    pub local: Option<IpAddr>,
}

impl Route {
    /// Returns the envelope of a datagram on this route with the mark `ecn`.
    pub const fn marked(self, ecn: Ecn) -> Envelope {
        Envelope { route: self, ecn }
    }

    /// Returns true if `other` connects the same hosts; at most the remote port differs.
    // spec: PTH-8, PTH-10
    pub fn has_ips_of(&self, other: &Self) -> bool {
        let remote = |route: &Self| route.remote.ip().to_canonical();
        remote(self) == remote(other) && self.local == other.local
    }
}

impl<T: Into<SocketAddr>> From<T> for Route {
    fn from(remote: T) -> Self {
        Self { remote: remote.into(), local: None }
    }
}

/// The route of a datagram, and the mark that it arrives or leaves with.
///
/// Made from a route or an address alone, it has no mark.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Envelope {
    /// The route.
    pub route: Route,
    /// The mark.
    pub ecn: Ecn,
}

impl<T: Into<Route>> From<T> for Envelope {
    fn from(route: T) -> Self {
        Self { route: route.into(), ecn: Ecn::NotEct }
    }
}
