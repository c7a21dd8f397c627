//! [`EndpointConfig`]: which clients an endpoint admits, and how many.

use std::sync::Arc;
use std::time::Duration;

use crate::rudp::{ConnectionConfig, MemoryBudgets, Tracer};
use crate::secure::KeyRing;

/// Configuration of an endpoint, shared by all workers of a server. Every number is valid.
pub struct EndpointConfig {
    /// Identifies the game: clear packets of other games fail their checksum.
    pub protocol_id: u64,
    /// Names by which tokens refer to this server: a token's `aud` must be one of them. When empty, every
    /// token of `keys` is accepted, which is right as long as no other server has these keys.
    pub audiences: Vec<String>,
    /// Token keys in use.
    pub keys: Arc<KeyRing>,
    /// Configuration of each connection.
    pub connection: ConnectionConfig,
    /// Memory that all connections of the process share.
    pub budgets: MemoryBudgets,
    /// Most connections of this endpoint, half-open ones included. When reached, the oldest that is closing
    /// gives its place to a new one; where none is, new ones are refused. Default 16,384.
    pub max_connections: usize,
    /// Most half-open connections of this endpoint. When reached, new ones are refused unless another may be
    /// given up for them. Default 1,024.
    pub max_half_open: usize,
    /// Most half-open connections of one user. Default 8.
    pub max_half_open_per_user: u32,
    /// Most half-open connections of one address prefix (IPv4 /24, IPv6 /56). Default 512.
    pub max_half_open_per_prefix: u32,
    /// How long a half-open connection waits for the client's first sealed packet; more than 30 s count as 30
    /// s. Must be longer than clients wait for an answer; otherwise the last answer could not be confirmed.
    /// Default 8 s.
    pub half_open_timeout: Duration,
    /// HELLOs per second from which clients must prove their address with a cookie; 0 for always. Default
    /// 2,000.
    pub cookie_from_hellos_per_second: u32,
    /// Half-open connections of one address prefix from which clients there must prove their address with a
    /// cookie, so that nobody can take those places with forged addresses; 0 for always. Default 64.
    pub cookie_from_half_open_per_prefix: u32,
    /// Most REJECTs sent per second; any more are not sent at all. Default 1,000.
    pub max_rejects_per_second: u32,
    /// Decides which connections are traced; `None` traces none.
    pub tracer: Option<Arc<dyn Tracer>>,
}

impl EndpointConfig {
    /// Returns the default limits, for tokens of `keys` that are issued for any of `audiences`.
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
