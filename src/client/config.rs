//! [`ClientConfig`]: the settings that an app chooses for its client.

use std::sync::Arc;
use std::time::Duration;

use crate::net::{BufferSizes, IoPath};
use crate::rudp::{ConnectionConfig, Tracer};

/// The settings that an app chooses for its client; [`ClientConfig::new`] returns the defaults.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// Identifier of the game; the server must be configured with the same one.
    pub protocol_id: u64,
    /// Limits and timeouts of the connection. Where the system reports the datagram size of the route to the
    /// server (Linux), that size replaces `link_datagram_bytes`. `max_datagram_bytes` limits both directions.
    /// `max_message_bytes` and `receive_buffer_bytes` should be at least 262,144: any member may send 65,536
    /// bytes and a snapshot is larger, and the server closes the connection of a client that cannot take what
    /// it must be told (`lagging`), again after each reconnection.
    pub connection: ConnectionConfig,
    /// How long to try each address of a server; at most one second more once the server has rejected.
    /// Default 5 s. With several addresses, the next one is also tried once the earlier ones have been silent
    /// for a second. To bound the whole of `connect`, including name resolution, wrap it in a `timeout`.
    pub connect_timeout: Duration,
    /// Number of events that may wait for the app. Default 4,096, at least 1. An event may hold a message of
    /// 65,536 bytes, so this many may take 256 MiB; usual ones are small.
    ///
    /// When this many events are waiting, the client stops reading its socket until the app has read some.
    /// While a command is awaiting its result, the client stops only when a further 16 MiB of events are
    /// waiting, because an app that awaits a command may not be reading. The server notices the missing acks
    /// and ends the connection of a client that stays in this state; after the idle timeout the client itself
    /// ends it with [`Disconnected::EventsUnread`](super::Disconnected::EventsUnread). An app that resumes
    /// reading before that misses nothing, and finds a warning among the waiting events
    /// ([`Event::Lagging`](super::Event::Lagging)).
    pub events_buffer: usize,
    /// Sizes of the socket's buffers, in bytes. Default 1 MiB each.
    pub socket_buffers: BufferSizes,
    /// How datagrams are passed to and from the kernel.
    pub io_path: IoPath,
    /// Tracer that decides whether to trace the connection. It is called by the task that reads the socket or
    /// from within the app's own call, in the middle of processing, so it must not call the client. Default
    /// `None`.
    pub tracer: Option<Arc<dyn Tracer>>,
}

impl ClientConfig {
    /// Returns the default configuration for the game with this `protocol_id`.
    pub fn new(protocol_id: u64) -> Self {
        Self {
            protocol_id,
            connection: ConnectionConfig::default(),
            connect_timeout: Duration::from_secs(5),
            events_buffer: 4_096,
            socket_buffers: BufferSizes { receive_bytes: 1 << 20, send_bytes: 1 << 20 },
            io_path: IoPath::default(),
            tracer: None,
        }
    }
}
