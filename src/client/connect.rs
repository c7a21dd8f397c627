//! Connecting: from a grant to a running client.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::net::lookup_host;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::config::ClientConfig;
use super::core::{Core, Disconnected};
use super::driver::{Driver, Shared, runtime_ended};
use super::events::Sink;
use super::handle::Client;
use crate::net::{self, Clock};
use crate::rudp::{self, Connecting, ConnectingConfig};
use crate::secure::ConnectGrant;
use crate::wire::RejectCode;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The grant names no server.
    #[error("the grant names no server")]
    NoServer,
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

impl ConnectError {
    /// The server's answer, if it has refused: after `token_expired` and `token_used` a new grant helps, after
    /// `full` and the limits time.
    pub fn reject_code(&self) -> Option<RejectCode> {
        match self {
            Self::Handshake(rudp::ConnectError::Refused(code)) => Some(*code),
            _ => None,
        }
    }
}

/// The next address is tried when those before have not answered for so long. Each attempt that reaches the server
/// begins a handshake there, so this is longer than the delay that RFC 8305 has between two.
const NEXT_TRY: Duration = Duration::from_secs(1);

/// What is to be tried.
enum Candidate {
    /// A server, whose addresses are to be found.
    Server(String),
    /// One of its addresses.
    Address(String, SocketAddr),
}

/// What came of trying.
enum Tried<T> {
    Server(String, io::Result<Vec<SocketAddr>>),
    Address(Result<(Client, T), ConnectError>),
}

/// Tries the grant's addresses, another one whenever those before stay silent, and takes the first that answers: a
/// name may have addresses at which nobody listens, or to which no way leads. `sink` makes the place for events of
/// an attempt.
///
/// # Errors
/// The last failure that was not silence; if there is none, that.
pub(super) async fn connect<T: Send + 'static>(
    grant: &ConnectGrant,
    config: &ClientConfig,
    mut sink: impl FnMut(&Client) -> (Sink, T),
) -> Result<(Client, T), ConnectError> {
    let mut attempts = Attempts::new(grant, config);
    // Dropped with the others in it when one has answered, or when nobody waits any more.
    let mut tries = JoinSet::new();
    let mut waiting: VecDeque<_> = grant.servers.iter().cloned().map(Candidate::Server).collect();
    let mut failed = match waiting.is_empty() {
        true => ConnectError::NoServer,
        false => ConnectError::Handshake(rudp::ConnectError::NoAnswer),
    };
    loop {
        match waiting.pop_front() {
            Some(Candidate::Server(server)) => {
                tries.spawn(async {
                    let addresses = lookup_host(&server).await.map(Iterator::collect);
                    Tried::Server(server, addresses)
                });
            }
            Some(Candidate::Address(server, address)) => match attempts.begin(&server, address, &mut sink) {
                Ok((client, connected, rest)) => {
                    tries.spawn(async { Tried::Address(answered(connected).await.map(|()| (client, rest))) });
                }
                Err(error) => failed = error,
            },
            None => {}
        }
        let patience = if waiting.is_empty() { Duration::MAX } else { NEXT_TRY };
        let Ok(tried) = timeout(patience, tries.join_next()).await else { continue };
        match tried {
            None if waiting.is_empty() => return Err(failed),
            None => {}
            Some(Ok(Tried::Address(Ok(connected)))) => return Ok(connected),
            Some(Ok(Tried::Address(Err(ConnectError::Handshake(rudp::ConnectError::NoAnswer))))) => {}
            Some(Ok(Tried::Address(Err(error)))) => failed = error,
            Some(Ok(Tried::Server(server, Ok(addresses)))) => {
                for address in addresses.into_iter().rev() {
                    waiting.push_front(Candidate::Address(server.clone(), address));
                }
            }
            Some(Ok(Tried::Server(server, Err(error)))) => failed = ConnectError::Resolve { server, error },
            Some(Err(_)) => return Err(ConnectError::Ended(runtime_ended())),
        }
    }
}

/// What the attempts have in common.
struct Attempts<'a> {
    grant: &'a ConnectGrant,
    config: &'a ClientConfig,
    clock: Clock,
    rng: StdRng,
}

/// Is told how a handshake ends.
type Connected = oneshot::Receiver<Result<(), Disconnected>>;

impl<'a> Attempts<'a> {
    fn new(grant: &'a ConnectGrant, config: &'a ClientConfig) -> Self {
        let rng = config.seed_for_tests.map_or_else(StdRng::from_os_rng, StdRng::seed_from_u64);
        // Whether the grant is still good is the server's to say: a player's clock may show any time.
        Self { grant, config, clock: Clock::new(), rng }
    }

    /// Begins to connect to one address; dropping the client ends the attempt.
    fn begin<T>(
        &mut self,
        server: &str,
        address: SocketAddr,
        sink: impl FnOnce(&Client) -> (Sink, T),
    ) -> Result<(Client, Connected, T), ConnectError> {
        let address = reachable(address);
        let Self { grant, config, .. } = *self;
        let socket = net::bind(any_address(address), config.socket_buffers)
            .map_err(ConnectError::Socket)?
            .with_path(config.io_path)
            .with_shared_timer();
        let connecting = Connecting::new(
            self.clock.now().mono,
            grant.audience_at(server),
            address,
            grant,
            ConnectingConfig {
                protocol_id: config.protocol_id,
                connection: config.connection.on_socket(socket.forbids_fragments()),
                deadline: config.connect_timeout,
            },
            StdRng::from_rng(&mut self.rng),
        );
        let core = Core::new(address, connecting.with_tracer(config.tracer.clone()));
        let (tell, connected) = oneshot::channel();
        let shared = Arc::new(Shared::new(core, self.clock.clone(), tell));
        let client = Client::of(Arc::clone(&shared));
        let (sink, rest) = sink(&client);
        tokio::spawn(Driver::new(shared, sink).run(socket));
        Ok((client, connected, rest))
    }
}

/// Waits until a handshake ends.
async fn answered(connected: Connected) -> Result<(), ConnectError> {
    match connected.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(Disconnected::ConnectFailed(error))) => Err(error.into()),
        Ok(Err(why)) => Err(ConnectError::Ended(why)),
        Err(_) => Err(ConnectError::Ended(runtime_ended())),
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
