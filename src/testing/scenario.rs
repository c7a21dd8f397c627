//! The parameters of a simulation, and those of each kind of run.

use std::time::Duration;

use super::checker::Causes;
use crate::link::{Impairments, Marks};
use crate::server::limits::Limits;

/// Parameters of a simulation.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Number of the server's workers.
    pub workers: u8,
    /// Number of users.
    pub clients: u16,
    /// Number of users who have a second device, which connects while the first is connected.
    pub devices: u16,
    /// Every client's path, each way.
    pub impairments: Impairments,
    /// Time for which users are active.
    pub busy: Duration,
    /// Mean time between two actions of a user.
    pub pace: Duration,
    /// Mean time from a client's connect to its crash or leave; `None` = clients stay.
    pub life: Option<Duration>,
    /// Mean time between a client's changes of address; `None` = it keeps its first address.
    pub address_changes: Option<Duration>,
    /// Mean time between two naps of any clients; a napping client does nothing for a while.
    pub naps: Option<Duration>,
    /// Mean time between two stalls of any workers; a stalled worker does nothing for a moment, so that mail
    /// waits for it.
    pub stalls: Option<Duration>,
    /// Packets after which either end of a connection renews its keys; `None` = after millions.
    pub renew_keys_after: Option<u64>,
    /// Number of users who follow no rule.
    pub intruders: u8,
    /// Mean time between two actions of the operator, who kicks users and ends sessions.
    pub operator: Option<Duration>,
    /// Whether the server shuts down at the end, while clients are active on their impaired paths.
    pub drains: bool,
    /// Whether the limits are so tight that anything may be refused for lack of room or budget.
    pub refuses: bool,
    /// The server's limits.
    pub limits: Limits,
}

/// Packets after which the keys of a connection that renews them often are renewed: several times a second
/// while it is busy.
const FEW_PACKETS: u64 = 40;

impl Scenario {
    /// Three workers and seventeen clients on bad paths for some seconds: a fifth of all datagrams is lost in
    /// short bursts, some are duplicated, late or damaged, and clients move, crash and come back. Some users
    /// have two clients, which replace each other.
    pub fn harsh() -> Self {
        Self {
            workers: 3,
            clients: 15,
            devices: 2,
            impairments: Impairments {
                loss: 0.2,
                burst: 1.5,
                delay: Duration::from_millis(15),
                jitter: Duration::from_millis(10),
                duplicate: 0.05,
                reorder: 0.05,
                corrupt: 0.01,
                ..Impairments::default()
            },
            busy: Duration::from_secs(12),
            pace: Duration::from_millis(150),
            life: Some(Duration::from_secs(8)),
            address_changes: Some(Duration::from_secs(6)),
            naps: None,
            stalls: None,
            renew_keys_after: None,
            intruders: 0,
            operator: None,
            drains: false,
            refuses: false,
            limits: Limits { idle_timeout_ms: 4_000, keepalive_ms: 1_000, ..Limits::default() },
        }
    }

    /// Users on good paths, some of whom follow no rule.
    pub fn hostile() -> Self {
        let harsh = Self::harsh();
        let limits = Limits {
            // A member may send no more than the other members' paths can take.
            session_bytes_per_second: 131_072,
            ..harsh.limits
        };
        let impairments = Impairments {
            loss: 0.01,
            delay: Duration::from_millis(15),
            jitter: Duration::from_millis(5),
            ..Impairments::default()
        };
        Self { impairments, intruders: 3, limits, ..harsh }
    }

    /// As in [`harsh`](Self::harsh), on a server that is always at its limits of connections, sessions,
    /// invites, mail and bytes queued for clients that do not read for a while.
    pub fn tight() -> Self {
        let harsh = Self::harsh();
        let limits = Limits {
            max_connections: 12,
            max_sessions: 4,
            sessions_per_user: 2,
            entries_per_second: 1,
            invites_per_user: 4,
            invites_by_user: 6,
            invites_per_session: 3,
            session_commands_per_second: 20,
            session_bytes_per_second: 65_536,
            lagging_bytes: 4_096,
            max_queued_bytes: 24_000,
            max_lagging_ms: 2_000,
            idle_timeout_ms: 8_000,
            mailbox_capacity: 64,
            ..harsh.limits
        };
        let naps = Some(Duration::from_millis(400));
        // More users than may be connected, so some wait.
        Self { clients: 16, devices: 0, naps, refuses: true, limits, ..harsh }
    }

    /// As in [`harsh`](Self::harsh), with users who act twice as often as their budgets allow, and with
    /// workers that stall while little mail may wait for them.
    pub fn hasty() -> Self {
        let harsh = Self::harsh();
        let limits = Limits {
            commands_per_second: 16,
            session_commands_per_second: 24,
            mailbox_capacity: 64,
            ..harsh.limits
        };
        Self {
            busy: Duration::from_secs(6),
            pace: Duration::from_millis(30),
            stalls: Some(Duration::from_millis(150)),
            refuses: true,
            limits,
            ..harsh
        }
    }

    /// The same run, but both ends of each connection renew their keys several times a second.
    #[must_use]
    pub fn renewing_keys(self) -> Self {
        Self { renew_keys_after: Some(FEW_PACKETS), ..self }
    }

    /// The same run on paths that lose nothing. Datagrams are still late, out of order and duplicated.
    #[must_use]
    pub fn losing_nothing(mut self) -> Self {
        let Impairments { loss, corrupt, blackhole, .. } = &mut self.impairments;
        [*loss, *corrupt] = [0.0; 2];
        *blackhole = None;
        self
    }

    /// Whether members have room for properties as large as they may be, at the pace at which users set them.
    pub(super) fn takes_bulk(&self) -> bool {
        !self.refuses && self.intruders == 0
    }

    /// Returns what may end a connection or refuse a command in such a run.
    pub(super) fn causes(&self) -> Causes {
        let Impairments { loss, corrupt, blackhole, rate, marks, mtu, .. } = &self.impairments;
        let is_narrow = rate.is_some() || mtu.is_some() || *marks == Marks::Drop;
        let loses = *loss > 0.0 || *corrupt > 0.0 || blackhole.is_some() || is_narrow;
        Causes {
            naps: self.naps.is_some(),
            crowd: self.limits.max_connections < u64::from(self.clients),
            limits: self.refuses,
            drain: false,
            loss: loses,
            drops: loses || self.naps.is_some() || self.refuses || self.intruders > 0,
            silence: *loss >= HIGH_LOSS || blackhole.is_some_and(|hole| hole.lasting >= CONNECTING),
        }
    }
}

/// Loss on each way at which it may happen that a client which connects is never answered. It tries some ten
/// times, and each time two datagrams must arrive.
const HIGH_LOSS: f64 = 0.1;
/// Time for which a client tries to connect.
const CONNECTING: Duration = Duration::from_secs(5);
