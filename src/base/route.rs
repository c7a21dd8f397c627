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
        Host::from(self.remote) == Host::from(other.remote) && self.local == other.local
    }
}

/// A host, without a port: its IP, and the link that a link-local one is on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Host {
    ip: IpAddr,
    link: u32,
}

impl Host {
    /// Returns true if `other` is this host; a link-local one that names no link may be on any.
    pub fn includes(&self, other: Self) -> bool {
        self.ip == other.ip && (self.link == 0 || self.link == other.link)
    }
}

impl From<SocketAddr> for Host {
    /// A socket of both families shows an IPv4 address as an IPv6 one, which is the same host.
    fn from(address: SocketAddr) -> Self {
        let link = match address {
            SocketAddr::V6(v6) if v6.ip().is_unicast_link_local() => v6.scope_id(),
            _ => 0,
        };
        Self { ip: address.ip().to_canonical(), link }
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

#[cfg(test)]
mod tests {
    use super::*;

    // spec-test: PTH-8
    #[test]
    fn a_link_local_address_names_a_host_on_its_link_only() {
        let of = |address: &str, scope| {
            let SocketAddr::V6(mut address) = address.parse().unwrap() else { panic!("it is an IPv6 one") };
            address.set_scope_id(scope);
            Route::from(address)
        };
        let [here, there] = [2, 3].map(|scope| of("[fe80::c]:1", scope));
        assert!(!here.has_ips_of(&there) && here.has_ips_of(&of("[fe80::c]:9", 2)));
        let host = |route: Route| Host::from(route.remote);
        assert!(host(of("[fe80::c]:1", 0)).includes(host(here)), "configured without a link");
        assert!(host(here).includes(host(here)) && !host(here).includes(host(there)));
        assert!(of("[2001:db8::1]:1", 0).has_ips_of(&of("[2001:db8::1]:1", 2)), "the same anywhere");
        assert!(of("[::ffff:192.0.2.1]:1", 0).has_ips_of(&Route::from(([192, 0, 2, 1], 9))));
    }
}
