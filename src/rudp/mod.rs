//! The reliable protocol over sealed datagrams, sans-IO.
//!
//! Everything here is driven from outside under one contract. Inputs are `handle_*(now, …)` and method calls,
//! outputs are `poll_*`. After any input, drain `poll_event` and `poll_transmit`, then wait no longer than
//! until the time of `poll_timeout`. No socket, clock or global randomness is used.

mod budget;
mod connecting;
mod connection;
mod endpoint;
mod payload;

pub use budget::{MemoryBudget, MemoryBudgets};
pub use connecting::{ConnectError, Connecting, ConnectingConfig};
pub use connection::{
    BASE_DATAGRAM_BYTES, Closed, CongestionControl, Connection, ConnectionConfig, EcnState, Event, KeyLimit,
    MAX_STREAMS, Metrics, PacketDropped, ProtocolViolation, Role, SendError, Sent, Stats, Trace, TraceEvent,
    TracedFrame, TracedPlace, Tracer, Vantage,
};
pub use endpoint::{
    Backlog, Counters, DropReason, Endpoint, EndpointConfig, EndpointEvent, ForOwner, Incoming, Moving,
};
pub use payload::Payload;
