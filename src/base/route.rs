//! [`Route`]: between which addresses a datagram travels; [`Envelope`]: all that stands on its outside.

use std::net::{IpAddr, SocketAddr};

use super::Ecn;

/// The two ends of a datagram's way, seen from one of them.
///
/// Made of an address alone it leaves this end to the system.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Route {
    /// The other end: who sent what came, who is to get what leaves.
    pub remote: SocketAddr,
    /// This end, where the socket has many addresses and the system tells which of them a datagram came to: an
    /// answer leaves from there, or its receiver would not know whose it is.
    pub local: Option<IpAddr>,
}

impl Route {
    /// The outside of a datagram that goes this way so marked.
    pub const fn marked(self, ecn: Ecn) -> Envelope {
        Envelope { route: self, ecn }
    }

    /// True when the other one leads between the same hosts: it has at most another port.
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

/// The way of a datagram, and the mark that it arrives or leaves with.
///
/// Made of a route or an address alone it bears no mark.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Envelope {
    /// The way.
    pub route: Route,
    /// The mark.
    pub ecn: Ecn,
}

impl<T: Into<Route>> From<T> for Envelope {
    fn from(route: T) -> Self {
        Self { route: route.into(), ecn: Ecn::NotEct }
    }
}
