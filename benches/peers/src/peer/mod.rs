//! The peers: for each a server, which passes messages on to their sender's group, and clients.
//!
//! One file a peer, or one for its server and one for its clients; each says which settings it has and
//! why.

mod datagram_clients;
#[cfg(feature = "enet")]
mod enet;
mod kcp;
mod quinn;
mod rallypoint;
mod raw;
mod raw_mmsg;
mod renet;
mod tcp;
mod traffic;

use serde::{Deserialize, Serialize};

pub use self::traffic::{Counts, Traffic};
use crate::error::Result;
use crate::load::{Clients, Inbox, Spec};
use crate::stage::Announce;

/// What is compared.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum Peer {
    /// UDP without reliability and encryption, one system call a datagram.
    Raw,
    /// The same with `recvmmsg` and `sendmmsg`.
    RawMmsg,
    /// TCP with length-prefixed frames.
    Tcp,
    /// KCP, in its turbo mode.
    Kcp,
    /// ENet, the C library.
    Enet,
    /// renet over netcode, which sends at once.
    Renet,
    /// The same, which sends at ticks.
    RenetTick,
    /// QUIC by quinn.
    Quinn,
    /// Rallypoint.
    Rallypoint,
}

impl Peer {
    /// All of them, the plainest first.
    pub const ALL: [Self; 9] = [
        Self::Raw,
        Self::RawMmsg,
        Self::Tcp,
        Self::Kcp,
        Self::Enet,
        Self::Renet,
        Self::RenetTick,
        Self::Quinn,
        Self::Rallypoint,
    ];

    /// Its name in tables, files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::RawMmsg => "raw-mmsg",
            Self::Tcp => "tcp",
            Self::Kcp => "kcp",
            Self::Enet => "enet",
            Self::Renet => "renet",
            Self::RenetTick => "renet-tick",
            Self::Quinn => "quinn",
            Self::Rallypoint => "rallypoint",
        }
    }

    /// True for those that do not send again what was lost.
    pub fn may_lose(self) -> bool {
        matches!(self, Self::Raw | Self::RawMmsg)
    }

    /// True for those whose packets can go through a relay of datagrams.
    pub fn is_on_udp(self) -> bool {
        self != Self::Tcp
    }

    /// True where one server uses several cores.
    pub fn has_workers(self) -> bool {
        self == Self::Rallypoint
    }

    /// Clients that a worker takes at most, by the peer's own limits.
    pub fn max_clients(self) -> usize {
        match self {
            // NETCODE_MAX_CLIENTS.
            Self::Renet | Self::RenetTick => 1_024,
            // ENET_PROTOCOL_MAXIMUM_PEER_ID.
            Self::Enet => 4_095,
            _ => 8_000,
        }
    }
}

/// Runs the peer's server, for so many clients, until the process ends. `workers` is 1 for a peer that has
/// none.
///
/// # Errors
/// When the server cannot go on.
pub fn serve(peer: Peer, announce: Announce, clients: usize, workers: u8) -> Result<()> {
    match peer {
        Peer::Raw => raw::serve(announce),
        Peer::RawMmsg => raw_mmsg::serve(announce),
        Peer::Tcp => tcp::serve(announce),
        Peer::Kcp => kcp::serve(announce),
        #[cfg(feature = "enet")]
        Peer::Enet => enet::serve(announce, clients),
        #[cfg(not(feature = "enet"))]
        Peer::Enet => Err(without_enet()),
        Peer::Renet => renet::serve(announce, clients, renet::Pace::AtOnce),
        Peer::RenetTick => renet::serve(announce, clients, renet::Pace::Ticks),
        Peer::Quinn => quinn::serve(announce),
        Peer::Rallypoint => rallypoint::serve(announce, workers),
    }
}

/// Connects the peer's clients and puts them into their groups.
///
/// # Errors
/// When not all get there.
pub fn connect(spec: &Spec, inbox: &Inbox) -> Result<Box<dyn Clients>> {
    match spec.peer {
        Peer::Raw | Peer::RawMmsg => datagram_clients::connect(spec, inbox),
        Peer::Tcp => tcp::connect(spec, inbox),
        Peer::Kcp => kcp::connect(spec, inbox),
        #[cfg(feature = "enet")]
        Peer::Enet => enet::connect(spec, inbox),
        #[cfg(not(feature = "enet"))]
        Peer::Enet => Err(without_enet()),
        Peer::Renet | Peer::RenetTick => renet::connect(spec, inbox),
        Peer::Quinn => quinn::connect(spec, inbox),
        Peer::Rallypoint => rallypoint::connect(spec, inbox),
    }
}

#[cfg(not(feature = "enet"))]
fn without_enet() -> crate::error::Error {
    crate::error::Error::bound("this binary was built without the feature `enet`")
}
