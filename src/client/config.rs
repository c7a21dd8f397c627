//! [`ClientConfig`]: what an app chooses for its client.

use std::sync::Arc;
use std::time::Duration;

use crate::net::{BufferSizes, IoPath};
use crate::rudp::{ConnectionConfig, Tracer};

/// What an app chooses for its client; [`ClientConfig::new`] has the usual.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// Names the game; the server must be configured with the same.
    pub protocol_id: u64,
    /// Limits and times of the connection. What its link takes (`link_datagram_bytes`) is replaced by what the
    /// system says of the route to the server, where it does (Linux). `max_datagram_bytes` is the most for either
    /// direction.
    pub connection: ConnectionConfig,
    /// How long each address of a server is tried; a second from when the server rejects. Default 5 s. Where there are
    /// several, the next one is tried as well once those before have been silent for a second. To bound the whole of
    /// `connect`, name resolution included, put a `timeout` around it.
    pub connect_timeout: Duration,
    /// Events that wait for the app. Default 4,096, at least 1.
    ///
    /// When so many wait, the client stops reading its socket until the app has read some; while a command waits
    /// for its result, when as many more wait, or 1,024 if that is more: whoever awaits a command may not read. The
    /// server notices missing acks and ends the connection of a client that goes on; so does the client itself after
    /// the idle timeout, with [`Disconnected::EventsUnread`](super::Disconnected::EventsUnread). An app that reads again
    /// before that misses nothing, and finds a warning among what has waited
    /// ([`Event::Lagging`](super::Event::Lagging)).
    pub events_buffer: usize,
    /// Buffers of the socket, in bytes. Default 1 MiB each.
    pub socket_buffers: BufferSizes,
    /// How datagrams cross into the kernel.
    pub io_path: IoPath,
    /// Seeds what the client draws at random, keys included: for tests alone. Default `None`: the
    /// system's random source.
    pub seed_for_tests: Option<u64>,
    /// Traces the connection if it chooses to; called by the task that reads the socket, or by the app's own call, and
    /// in the midst of it: it must not call the client. Default `None`.
    pub tracer: Option<Arc<dyn Tracer>>,
}

impl ClientConfig {
    /// The usual, for the game that `protocol_id` names.
    pub fn new(protocol_id: u64) -> Self {
        Self {
            protocol_id,
            connection: ConnectionConfig::default(),
            connect_timeout: Duration::from_secs(5),
            events_buffer: 4_096,
            socket_buffers: BufferSizes { receive_bytes: 1 << 20, send_bytes: 1 << 20 },
            io_path: IoPath::default(),
            seed_for_tests: None,
            tracer: None,
        }
    }
}
