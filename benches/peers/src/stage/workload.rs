//! [`Workload`]: the workloads and their numbers.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;
use crate::load::Plan;
use crate::peer::Peer;

/// The workloads in which the peers are compared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Workload {
    /// Every member of every session sends to its session.
    Broadcast {
        /// Number of sessions.
        sessions: usize,
        /// Number of members in each.
        members: usize,
        /// Messages per second of each member.
        rate_hz: f64,
    },
    /// Sessions of 8 at 30 Hz, increasing until deliveries are late or missing.
    Saturation,
    /// The same for a server of `workers` workers with one core each. For a peer with single-threaded
    /// servers, that many servers run, which share nothing.
    Workers {
        /// Number of workers.
        workers: usize,
    },
    /// A single client sends 2,000 messages a second, which return to it.
    Echo,
    /// A single client keeps 256 messages of 1,000 bytes in flight.
    Bulk,
    /// One session of 8 at 30 Hz with an RTT of 40 ms and `percent` percent of datagrams lost, each way.
    Loss {
        /// Percent lost.
        percent: u32,
    },
    /// Clients in sessions of 8 that send nothing.
    Idle {
        /// Number of clients.
        clients: usize,
    },
}

/// The durations of a load.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// Uncounted time at the start, in milliseconds.
    pub warmup_ms: u64,
    /// Counted time, in milliseconds.
    pub counted_ms: u64,
}

/// Size of a message in bytes, except for bulk.
const SIZE: usize = 64;
/// Rate of the sessions of 8.
const RATE_HZ: f64 = 30.0;
/// Size of a bulk message in bytes.
pub const BULK_SIZE: usize = 1_000;
/// Bulk messages in flight: fewer bytes than sockets' buffers hold, and than Rallypoint's limit for lagging.
const BULK_WINDOW: u64 = 256;
/// Number of sessions per worker with which the search for the limit begins.
const FIRST_SESSIONS: usize = 32;
/// Maximum number of workers, and of processes of their load.
const MAX_WORKERS: usize = 8;
/// Messages per second of the echo: a round trip is over before the next begins.
const ECHO_HZ: f64 = 2_000.0;

impl Workload {
    /// Returns the usual workloads in their order.
    pub fn all() -> Vec<Self> {
        let mut all = vec![
            Self::Broadcast { sessions: 1, members: 8, rate_hz: RATE_HZ },
            Self::Broadcast { sessions: 8, members: 8, rate_hz: RATE_HZ },
            Self::Broadcast { sessions: 1, members: 64, rate_hz: 20.0 },
            Self::Saturation,
            Self::Echo,
            Self::Bulk,
        ];
        all.extend([0, 1, 5, 10, 20].map(|percent| Self::Loss { percent }));
        all.push(Self::Idle { clients: 1_000 });
        all
    }

    /// Returns the number of sessions and of members in each; a saturation increases the number of sessions.
    pub fn shape(&self) -> (usize, usize) {
        match *self {
            Self::Broadcast { sessions, members, .. } => (sessions, members),
            Self::Saturation => (FIRST_SESSIONS, 8),
            Self::Workers { workers } => (FIRST_SESSIONS * workers, 8),
            Self::Echo | Self::Bulk => (1, 1),
            Self::Loss { .. } => (1, 8),
            Self::Idle { clients } => (clients.div_ceil(8), 8),
        }
    }

    /// Returns what the clients do.
    pub fn plan(&self, times: Times) -> Plan {
        let Times { warmup_ms, counted_ms } = times;
        let paced =
            |rate_hz, patience_ms| Plan::Paced { rate_hz, size: SIZE, warmup_ms, counted_ms, patience_ms };
        match *self {
            Self::Broadcast { rate_hz, .. } => paced(rate_hz, 1_000),
            Self::Saturation | Self::Workers { .. } => paced(RATE_HZ, 1_000),
            Self::Loss { .. } => paced(RATE_HZ, 5_000),
            Self::Echo => paced(ECHO_HZ, 1_000),
            Self::Bulk => Plan::Window { window: BULK_WINDOW, size: BULK_SIZE, warmup_ms, counted_ms },
            Self::Idle { .. } => Plan::Idle { warmup_ms, counted_ms },
        }
    }

    /// Returns true where the server must be the bottleneck, not the load.
    pub fn wants_lean_clients(&self) -> bool {
        matches!(self, Self::Saturation | Self::Workers { .. })
    }

    /// Returns the number of the server's workers.
    pub fn workers(&self) -> usize {
        if let Self::Workers { workers } = self { *workers } else { 1 }
    }

    /// Returns the number of processes among which the clients are divided, if there are cores for them.
    pub fn loads(&self) -> usize {
        if matches!(self, Self::Workers { .. }) { MAX_WORKERS } else { 1 }
    }

    /// Returns false where the workload makes no sense for the peer: TCP cannot pass a relay of datagrams.
    pub fn is_for(&self, peer: Peer) -> bool {
        !matches!(self, Self::Loss { .. }) || peer.is_on_udp()
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broadcast { sessions, members, rate_hz } => {
                write!(f, "broadcast-{sessions}x{members}@{rate_hz}")
            }
            Self::Saturation => write!(f, "saturation"),
            Self::Workers { workers } => write!(f, "workers-{workers}"),
            Self::Echo => write!(f, "echo"),
            Self::Bulk => write!(f, "bulk"),
            Self::Loss { percent } => write!(f, "loss-{percent}"),
            Self::Idle { clients } => write!(f, "idle-{clients}"),
        }
    }
}

impl FromStr for Workload {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (name, number) = text.split_once('-').unwrap_or((text, ""));
        let broadcast = || {
            let (shape, rate_hz) = number.split_once('@')?;
            let (sessions, members) = shape.split_once('x')?;
            let (sessions, members) = (sessions.parse().ok()?, members.parse().ok()?);
            let rate_hz = rate_hz.parse().ok().filter(|rate: &f64| (0.1..=1_000.0).contains(rate))?;
            let fits = (1..=1_000).contains(&sessions) && (1..=1_000).contains(&members);
            (fits && sessions * members <= 8_000).then_some(Self::Broadcast { sessions, members, rate_hz })
        };
        let workload = match (name, number) {
            ("broadcast", _) => broadcast(),
            ("saturation", "") => Some(Self::Saturation),
            ("workers", _) => number
                .parse()
                .ok()
                .filter(|it| (1..=MAX_WORKERS).contains(it))
                .map(|workers| Self::Workers { workers }),
            ("echo", "") => Some(Self::Echo),
            ("bulk", "") => Some(Self::Bulk),
            ("loss", _) => number.parse().ok().filter(|it| *it <= 90).map(|percent| Self::Loss { percent }),
            ("idle", _) => number
                .parse()
                .ok()
                .filter(|it| (1..=8_000).contains(it))
                .map(|clients| Self::Idle { clients }),
            _ => None,
        };
        workload.ok_or_else(|| {
            Error::bound(format_args!(
                "`{text}` is no workload: broadcast-8x8@30, saturation, workers-2, echo, bulk, loss-5 or \
                 idle-1000"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workload_is_known_by_its_name() {
        for workload in Workload::all().into_iter().chain([Workload::Workers { workers: 8 }]) {
            assert!(workload.to_string().parse::<Workload>().is_ok_and(|read| read == workload));
        }
        for wrong in ["", "broadcast", "broadcast-8x@3", "loss-x", "idle-0", "echo-1", "workers-0"] {
            assert!(wrong.parse::<Workload>().is_err(), "{wrong}");
        }
    }
}
