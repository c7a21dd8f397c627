//! The peers: each has a server, which forwards messages to their sender's group, and clients.
//!
//! Each peer has one file, or one for its server and one for its clients; its settings and their reasons are
//! described there.

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

/// The libraries and protocols that are compared.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum Peer {
    /// UDP without reliability and encryption, one system call per datagram.
    Raw,
    /// The same with `recvmmsg` and `sendmmsg`.
    RawMmsg,
    /// TCP with length-prefixed frames.
    Tcp,
    /// KCP, in its turbo mode.
    Kcp,
    /// ENet, the C library.
    Enet,
    /// renet over netcode, sending at once.
    Renet,
    /// renet over netcode, sending at ticks.
    RenetTick,
    /// QUIC by quinn.
    Quinn,
    /// Rallypoint.
    Rallypoint,
}

impl Peer {
    /// All peers, the plainest first.
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

    /// Returns its name in tables, files and on the command line.
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

    /// Returns true for peers that do not retransmit lost messages.
    pub fn may_lose(self) -> bool {
        matches!(self, Self::Raw | Self::RawMmsg)
    }

    /// Returns true for peers whose packets can pass a relay of datagrams.
    pub fn is_on_udp(self) -> bool {
        self != Self::Tcp
    }

    /// Returns true for peers where one server uses several cores.
    pub fn has_workers(self) -> bool {
        self == Self::Rallypoint
    }

    /// Returns the maximum number of clients of a worker, by the peer's own limits.
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

/// Runs the peer's server for `clients` clients until the process ends. `workers` is 1 for a peer without
/// workers.
///
/// # Errors
/// When the server cannot continue.
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
/// When a client does not succeed.
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
