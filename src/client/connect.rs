//! Connecting: from a grant to a running client.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::net::lookup_host;
use tokio::sync::{Notify, oneshot};

use super::config::ClientConfig;
use super::core::{Core, Disconnected};
use super::driver::{Driver, Shared};
use super::events::Sink;
use crate::net::{self, Clock, Socket};
use crate::rudp::{self, Connecting, ConnectingConfig};
use crate::secure::ConnectGrant;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The name of a server was not resolved.
    #[error("cannot resolve {server}: {error}")]
    Resolve {
        /// As the grant has it.
        server: String,
        /// What the system says.
        error: io::Error,
    },
    /// No socket.
    #[error("cannot open a socket: {0}")]
    Socket(io::Error),
    /// The server refused, or did not answer.
    #[error(transparent)]
    Handshake(#[from] rudp::ConnectError),
    /// The connection ended before it was of use.
    #[error("connection ended: {0}")]
    Ended(Disconnected),
}

/// An address that does not answer is left for another one after so long, and tried again when none does: a name
/// may have addresses at which nobody listens, or to which no way leads.
const FIRST_TRY: Duration = Duration::from_secs(1);

/// Tries the grant's addresses in turn; the first that answers is it. `sink` makes the place for
/// events of an attempt.
///
/// # Errors
/// That of the last server.
pub(super) async fn connect<T>(
    grant: &ConnectGrant,
    config: &ClientConfig,
    mut sink: impl FnMut(Arc<Notify>) -> (Sink, T),
) -> Result<(Arc<Shared>, T), ConnectError> {
    // Whether the grant is still good is the server's to say: a player's clock may show any time.
    let clock = Clock::new();
    let mut rng = config.seed_for_tests.map_or_else(StdRng::from_os_rng, StdRng::seed_from_u64);
    let mut failed = None;
    let mut try_at = async |server: &str, address: SocketAddr, deadline: Duration| {
        let socket = net::bind(any_address(address), config.socket_buffers)
            .map_err(ConnectError::Socket)?
            .with_path(config.io_path)
            .with_shared_timer();
        let wake = Arc::new(Notify::new());
        let (sink, rest) = sink(Arc::clone(&wake));
        let connecting = Connecting::new(
            clock.now().mono,
            grant.audience_at(server),
            address,
            grant,
            ConnectingConfig {
                protocol_id: config.protocol_id,
                connection: config.connection.on_socket(socket.forbids_fragments()),
                deadline,
            },
            StdRng::from_rng(&mut rng),
        );
        let core = Core::new(address, connecting.with_tracer(config.tracer.clone()));
        attempt(socket, core, clock.clone(), wake, sink).await.map(|shared| (shared, rest))
    };
    let mut silent = Vec::new();
    for (number, server) in grant.servers.iter().enumerate() {
        let addresses: Vec<_> = match lookup_host(server).await {
            Ok(addresses) => addresses.collect(),
            Err(error) => {
                failed = Some(ConnectError::Resolve { server: server.clone(), error });
                continue;
            }
        };
        for (index, address) in addresses.iter().copied().map(reachable).enumerate() {
            let is_last = number + 1 == grant.servers.len() && index + 1 == addresses.len();
            let deadline =
                if is_last { config.connect_timeout } else { config.connect_timeout.min(FIRST_TRY) };
            match try_at(server, address, deadline).await {
                Ok(connected) => return Ok(connected),
                Err(ConnectError::Handshake(rudp::ConnectError::NoAnswer)) if !is_last => {
                    silent.push((server, address));
                }
                Err(error) => failed = Some(error),
            }
        }
    }
    for (server, address) in silent {
        match try_at(server, address, config.connect_timeout).await {
            Ok(connected) => return Ok(connected),
            Err(error) => failed = Some(error),
        }
    }
    Err(failed.unwrap_or(ConnectError::Handshake(rudp::ConnectError::NoAnswer)))
}

/// Runs `core` until it is connected, and on.
async fn attempt(
    socket: Socket,
    core: Core,
    clock: Clock,
    wake: Arc<Notify>,
    sink: Sink,
) -> Result<Arc<Shared>, ConnectError> {
    let (tell, connected) = oneshot::channel();
    let shared = Arc::new(Shared::new(core, clock, wake, tell));
    let attempt = Attempt(&shared);
    tokio::spawn(Driver::new(Arc::clone(&shared), sink).run(socket));
    match connected.await {
        Ok(Ok(())) => {
            std::mem::forget(attempt);
            Ok(shared)
        }
        Ok(Err(Disconnected::ConnectFailed(error))) => Err(error.into()),
        Ok(Err(why)) => Err(ConnectError::Ended(why)),
        Err(_) => Err(ConnectError::Ended(Disconnected::Socket("the runtime has ended".into()))),
    }
}

/// Ends an attempt that its caller no longer waits for.
struct Attempt<'a>(&'a Shared);

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let now = self.0.now();
        self.0.lock().core.close(now, "");
        self.0.wake.notify_one();
    }
}

/// Where an address is reached: `0.0.0.0` and `[::]`, by which a server listens on all of its addresses, are this machine
/// to the kernel, but the answer comes from its loopback address.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

/// Any port on any interface, of the same kind as `server`.
fn any_address(server: SocketAddr) -> SocketAddr {
    match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    }
}
