//! [`EndpointConfig`]: whom an endpoint lets in, and how many.

use std::sync::Arc;
use std::time::Duration;

use crate::rudp::{ConnectionConfig, MemoryBudgets, Tracer};
use crate::secure::KeyRing;

/// What an endpoint needs to know; shared by all workers of a server.
pub struct EndpointConfig {
    /// Names the game: clear packets of other games fall out at their checksum.
    pub protocol_id: u64,
    /// The names under which tokens know this server: a token's `aud` must be one of them. When
    /// empty, every token of `keys` is for this server: right while no other server has these keys.
    pub audiences: Vec<String>,
    /// Token keys in use.
    pub keys: Arc<KeyRing>,
    /// For each connection.
    pub connection: ConnectionConfig,
    /// What all connections of the process may keep together.
    pub budgets: MemoryBudgets,
    /// Connections at most, of this endpoint. When reached, new ones are refused.
    pub max_connections: usize,
    /// Half-open connections at most, of this endpoint. When reached, new ones are refused.
    pub max_half_open: usize,
    /// Half-open connections of one user at most.
    pub max_half_open_per_user: u32,
    /// Half-open connections of one address prefix (IPv4 /24, IPv6 /56) at most.
    pub max_half_open_per_prefix: u32,
    /// How long a half-open connection waits for the client's first sealed packet, 30 s at most: longer
    /// than clients wait for an answer, or the last one could not be confirmed.
    pub half_open_timeout: Duration,
    /// HELLOs in a second from which on clients must prove their address with a cookie; 0 for
    /// always.
    pub cookie_from_hellos_per_second: u32,
    /// Half-open connections of one address prefix from which on clients there must prove their address with a cookie:
    /// nobody takes those places in the name of others.
    pub cookie_from_half_open_per_prefix: u32,
    /// REJECTs that are sent in a second; further ones are not sent at all.
    pub max_rejects_per_second: u32,
    /// Decides which connections are traced. `None`: not one.
    pub tracer: Option<Arc<dyn Tracer>>,
}

impl EndpointConfig {
    /// The usual limits, for tokens of `keys` that are made for any of `audiences`.
    pub fn new(protocol_id: u64, audiences: Vec<String>, keys: Arc<KeyRing>) -> Self {
        Self {
            protocol_id,
            audiences,
            keys,
            connection: ConnectionConfig::default(),
            budgets: MemoryBudgets::default(),
            max_connections: 16_384,
            max_half_open: 1_024,
            max_half_open_per_user: 8,
            max_half_open_per_prefix: 512,
            half_open_timeout: Duration::from_secs(8),
            cookie_from_hellos_per_second: 2_000,
            cookie_from_half_open_per_prefix: 64,
            max_rejects_per_second: 1_000,
            tracer: None,
        }
    }
}
