//! [`SessionLimits`]: limits of sessions, with the defaults that the specification states.

use std::time::Duration;

use crate::wire::property::{MAX_PROPERTIES, MAX_PROPERTY_BYTES};

/// Limits of the session table. What exceeds a limit is refused with the code named here. Spec: LIM-1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionLimits {
    /// Sessions of the server; `server_full`. Default 10,000.
    pub max_sessions: usize,
    /// Empty sessions that one user was the last owner of. Another session that this user creates takes the
    /// place of one of these. Default 1,024.
    pub max_empty_per_owner: usize,
    /// Open invites of a session; `too_many_invites`. Default 1,024.
    pub max_open_invites: usize,
    /// Ended invites that a session remembers, so that a user of one gets the reason of its end. Above the
    /// limit the one that ended first is forgotten and is then `no_such_invite`. Default 1,024.
    pub max_ended_invites: usize,
    /// How many of them it still remembers once its last member has left: a user may leave a thousand empty
    /// sessions behind. Default 32.
    pub max_ended_invites_of_empty: usize,
    /// Time past its TTL for which an ended invite is remembered. Default 60 s.
    pub ended_invite_memory: Duration,
    /// Properties of a session; `too_many_properties`. Default and maximum: 256.
    pub max_properties: usize,
    /// Bytes of a session's property keys and values; `properties_too_large`. Default and maximum: 64 KiB.
    pub max_property_bytes: usize,
    /// Broadcasts, messages, property changes and transfers of a session per second, and the same number at
    /// once; `rate_limited`. Default 8,000.
    pub commands_per_second: u64,
    /// Bytes of these per second, and a quarter of them at once; `rate_limited`. Each counts 64 bytes more,
    /// as it does in the queue of each member: the traffic of a session stays below what a healthy member
    /// drains. Default 2 MiB.
    pub bytes_per_second: u64,
    /// Keys per second not used recently in the session, 2,048 at once; `rate_limited`. Default 256.
    pub new_keys_per_second: u64,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self {
            max_sessions: 10_000,
            max_empty_per_owner: 1_024,
            max_open_invites: 1_024,
            max_ended_invites: 1_024,
            max_ended_invites_of_empty: 32,
            ended_invite_memory: Duration::from_secs(60),
            max_properties: MAX_PROPERTIES,
            max_property_bytes: MAX_PROPERTY_BYTES,
            commands_per_second: 8_000,
            bytes_per_second: 2 << 20,
            new_keys_per_second: 256,
        }
    }
}
