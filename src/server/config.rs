//! Derives the configurations of the lower layers from a server's limits.

use std::sync::Arc;
use std::time::Duration;

use super::limits::{Limits, size};
use crate::rudp::{ConnectionConfig, EndpointConfig, MemoryBudgets};
use crate::secure::KeyRing;
use crate::session::SessionLimits;
use crate::wire::command::MAX_COMMAND_BYTES;

/// Which clients may connect to a server. [`Limits`] state how many.
pub struct Identity {
    /// Names the game; packets of other games fail their checksum.
    pub protocol_id: u64,
    /// Names by which tokens may identify the server; if empty, it accepts tokens for any server.
    pub names: Vec<String>,
    /// Token keys in use.
    pub keys: Arc<KeyRing>,
}

/// Connections beyond two per user.
const COME_BACK_TWICE: u64 = 64;

/// Returns the configuration of every worker's endpoint.
pub fn endpoint(identity: Identity, limits: &Limits) -> EndpointConfig {
    EndpointConfig {
        connection: connection(limits),
        budgets: MemoryBudgets::new(size(limits.receive_memory_bytes), size(limits.send_memory_bytes)),
        // A user who connects again is admitted although all places are taken, because the directory counts
        // users. The remains of the user's older connections send CLOSE for some seconds, in which few
        // connect again twice.
        max_connections: size(limits.max_connections.saturating_mul(2).saturating_add(COME_BACK_TWICE)),
        max_half_open: size(limits.max_half_open),
        ..EndpointConfig::new(identity.protocol_id, identity.names, identity.keys)
    }
}

/// Returns the configuration of every connection.
pub fn connection(limits: &Limits) -> ConnectionConfig {
    let idle_timeout = Duration::from_millis(limits.idle_timeout_ms);
    ConnectionConfig {
        idle_timeout,
        keepalive: Duration::from_millis(limits.keepalive_ms).min(idle_timeout / 3),
        max_message_bytes: MAX_COMMAND_BYTES,
        send_buffer_bytes: size(limits.max_queued_bytes),
        receive_buffer_bytes: size(limits.receive_buffer_bytes),
        ..ConnectionConfig::default().on_any_link()
    }
}

/// Returns the limits of the session table.
pub fn sessions(limits: &Limits) -> SessionLimits {
    SessionLimits {
        max_sessions: size(limits.max_sessions),
        max_empty_per_owner: size(limits.empty_sessions_per_user),
        max_open_invites: size(limits.invites_per_session),
        commands_per_second: limits.session_commands_per_second,
        bytes_per_second: limits.session_bytes_per_second,
        new_keys_per_second: limits.new_keys_per_second.saturating_mul(4),
        ..SessionLimits::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rudp::MAX_STREAMS;
    use crate::secure::TokenKey;

    #[test]
    fn a_client_is_asked_for_a_sign_of_life_well_before_it_is_given_up() {
        let limits = Limits { idle_timeout_ms: 3_000, keepalive_ms: 200_000, ..Limits::default() };
        assert_eq!(connection(&limits).keepalive, Duration::from_secs(1));
    }

    #[test]
    fn what_bounds_the_transport_reaches_it() {
        let limits = Limits {
            receive_memory_bytes: 70_000_001,
            send_memory_bytes: 70_000_002,
            receive_buffer_bytes: 300_003,
            max_queued_bytes: 2_000_004,
            max_half_open: 25,
            max_connections: 106,
            idle_timeout_ms: 20_007,
            keepalive_ms: 508,
            ..Limits::default()
        };
        limits.check().unwrap();
        let key = TokenKey::from_bytes(&[7; 32]);
        let keys = Arc::new(KeyRing::new(vec![key]).unwrap());
        let given = endpoint(Identity { protocol_id: 9, names: vec![], keys }, &limits);
        assert_eq!([given.budgets.receive.max(), given.budgets.send.max()], [70_000_001, 70_000_002]);
        assert_eq!([given.max_half_open, given.max_connections], [25, 2 * 106 + 64]);
        let ConnectionConfig {
            idle_timeout,
            keepalive,
            receive_buffer_bytes,
            send_buffer_bytes,
            max_message_bytes,
            ..
        } = given.connection;
        assert_eq!(max_message_bytes, 131_072, "HSK-9");
        assert_eq!([idle_timeout, keepalive], [20_007, 508].map(Duration::from_millis));
        assert_eq!([receive_buffer_bytes, send_buffer_bytes], [300_003, 2_000_004]);
    }

    #[test]
    fn every_stream_that_a_user_may_have_fits_its_connection() {
        let most = Limits::ALL.iter().find(|limit| limit.name == "sessions_per_user").unwrap().max;
        // Ended streams stay open at the client until their last events have arrived, while as many new ones
        // begin.
        assert!(2 * size(most) < MAX_STREAMS);
    }
}
