//! Connecting: from a grant to a running client.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;
use std::{io, mem};

use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::net::lookup_host;
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;

use super::config::ClientConfig;
use super::core::{Core, Disconnected};
use super::driver::{Driver, Race, Shared, runtime_ended};
use super::events::Sink;
use super::handle::Client;
use crate::base::Timestamp;
use crate::net::{self, Clock};
use crate::rudp::{self, Connecting, ConnectingConfig, ConnectionConfig};
use crate::secure::ConnectGrant;
use crate::wire::RejectCode;

/// Why connecting failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The grant names no server.
    #[error("the grant names no server")]
    NoServer,
    /// A server in the grant is not of the form `HOST:PORT`.
    #[error("the grant names {server:?} as a server, which is not HOST:PORT")]
    Address {
        /// The server as written in the grant.
        server: String,
    },
    /// The name of a server could not be resolved.
    #[error("cannot resolve {server}: {error}")]
    Resolve {
        /// The server as written in the grant.
        server: String,
        /// The system's error.
        error: io::Error,
    },
    /// The system gave no socket for an address of the server.
    #[error("cannot open a socket for {address}: {error}")]
    Socket {
        /// The server's address.
        address: SocketAddr,
        /// The system's error.
        error: io::Error,
    },
    /// The system refused to send to an address of the server: no route, or a firewall.
    #[error("cannot send to {address}: {error}")]
    Unreachable {
        /// The server's address.
        address: SocketAddr,
        /// The system's error.
        error: io::Error,
    },
    /// The server refused, or did not answer.
    #[error(transparent)]
    Handshake(#[from] rudp::ConnectError),
    /// The connection ended before it could be used.
    #[error("connection ended: {0}")]
    Ended(Disconnected),
}

impl ConnectError {
    /// Returns true if another attempt, with a new grant, may succeed: see [`Disconnected::may_reconnect`].
    pub fn may_reconnect(&self) -> bool {
        match self {
            Self::NoServer | Self::Address { .. } => false,
            Self::Resolve { .. } | Self::Socket { .. } | Self::Unreachable { .. } => true,
            Self::Handshake(error) => error.may_reconnect(),
            Self::Ended(why) => why.may_reconnect(),
        }
    }

    /// Returns the more informative of two attempts' errors.
    fn or_rather(self, other: Self) -> Self {
        if other.rank() >= self.rank() { other } else { self }
    }

    /// Returns how informative the error is.
    fn rank(&self) -> u8 {
        match self {
            Self::NoServer | Self::Address { .. } => 0,
            Self::Resolve { .. } => 1,
            Self::Socket { .. } => 2,
            Self::Unreachable { .. } => 3,
            Self::Handshake(rudp::ConnectError::NoAnswer) => 4,
            Self::Ended(_) => 5,
            Self::Handshake(rudp::ConnectError::Refused(_)) => 7,
            Self::Handshake(_) => 6,
        }
    }

    /// Returns the server's reject code, if it refused.
    pub fn reject_code(&self) -> Option<RejectCode> {
        match self {
            Self::Handshake(rudp::ConnectError::Refused(code)) => Some(*code),
            _ => None,
        }
    }
}

/// Time between the starts of two attempts, unless the first has failed. Each attempt that reaches the server
/// begins a handshake there, and a token may have two, so this is longer than the delay in RFC 8305.
const NEXT_TRY: Duration = Duration::from_secs(1);

/// The outcome of resolving a server or of trying an address.
enum Tried<T> {
    Server(String, io::Result<Vec<SocketAddr>>),
    Address(Result<(Client, T), ConnectError>),
}

/// Tries the grant's addresses, starting another attempt whenever the earlier ones stay silent, and returns
/// the first that answers: a name may have addresses where nobody listens or that are unreachable. `sink`
/// creates the event sink of an attempt.
///
/// # Errors
/// The most informative failure: an answer of the server rather than silence, and silence rather than an address that
/// could not be tried.
pub(super) async fn connect<T: Send + 'static>(
    grant: &ConnectGrant,
    config: &ClientConfig,
    mut sink: impl FnMut(&Client) -> (Sink, T),
) -> Result<(Client, T), ConnectError> {
    let mut search = Search::new(grant, config);
    loop {
        search.start_due(&mut sink);
        let ended = search.next().await;
        if let ControlFlow::Break(outcome) = search.take(ended) {
            return outcome;
        }
    }
}

/// The search for an address that answers.
struct Search<'a, T> {
    attempts: Attempts<'a>,
    candidates: Candidates,
    /// Dropped with the remaining attempts when one has answered or the caller stops waiting.
    tries: JoinSet<Tried<T>>,
    /// The most informative failure so far.
    failed: ConnectError,
}

impl<'a, T: Send + 'static> Search<'a, T> {
    fn new(grant: &'a ConnectGrant, config: &'a ClientConfig) -> Self {
        let attempts = Attempts::new(grant, config);
        let candidates = Candidates::new(attempts.now(), &grant.servers);
        Self { attempts, candidates, tries: JoinSet::new(), failed: ConnectError::NoServer }
    }

    /// Begins to resolve or to try the candidates that are due.
    fn start_due(&mut self, sink: &mut impl FnMut(&Client) -> (Sink, T)) {
        let now = self.attempts.now();
        while let Some(candidate) = self.candidates.next(now) {
            match candidate {
                Candidate::Server(server) if !ConnectGrant::is_address(&server) => {
                    self.candidates.found(now, &server, Vec::new());
                    self.fail(ConnectError::Address { server });
                }
                Candidate::Server(server) => {
                    self.tries.spawn(async {
                        let addresses = resolve(&server).await;
                        Tried::Server(server, addresses)
                    });
                }
                Candidate::Address(server, address) => {
                    match self.attempts.begin(&server, address, &mut *sink) {
                        Ok(Begun { client, reader, attempt }) => {
                            if !attempt.has_route {
                                self.candidates.go_on(now);
                            }
                            self.tries.spawn(async {
                                Tried::Address(attempt.answered().await.map(|()| (client, reader)))
                            });
                        }
                        Err(error) => {
                            self.candidates.go_on(now);
                            self.fail(error);
                        }
                    }
                }
            }
        }
    }

    /// Waits for the end of a try; `None` if there is none, or if the next candidate is due before.
    async fn next(&mut self) -> Option<Result<Tried<T>, JoinError>> {
        let ended = self.tries.join_next();
        match self.candidates.due() {
            None => ended.await,
            Some(at) => timeout(at.since(self.attempts.now()), ended).await.ok().flatten(),
        }
    }

    /// Takes what [`Search::next`] has returned. Breaks with the outcome of the search.
    fn take(
        &mut self,
        ended: Option<Result<Tried<T>, JoinError>>,
    ) -> ControlFlow<Result<(Client, T), ConnectError>> {
        let now = self.attempts.now();
        match ended {
            Some(Ok(Tried::Address(Ok(connected)))) => return ControlFlow::Break(Ok(connected)),
            Some(Ok(Tried::Address(Err(error)))) => {
                self.candidates.go_on(now);
                self.fail(error);
            }
            Some(Ok(Tried::Server(server, Ok(found)))) => self.candidates.found(now, &server, found),
            Some(Ok(Tried::Server(server, Err(error)))) => {
                self.candidates.found(now, &server, Vec::new());
                self.fail(ConnectError::Resolve { server, error });
            }
            Some(Err(_)) => return ControlFlow::Break(Err(ConnectError::Ended(runtime_ended()))),
            None if self.candidates.due().is_none() => {
                return ControlFlow::Break(Err(mem::replace(&mut self.failed, ConnectError::NoServer)));
            }
            None => self.candidates.go_on(now),
        }
        ControlFlow::Continue(())
    }

    fn fail(&mut self, error: ConnectError) {
        let before = mem::replace(&mut self.failed, ConnectError::NoServer);
        self.failed = before.or_rather(error);
    }
}

/// Returns the addresses of a server, at least one.
async fn resolve(server: &str) -> io::Result<Vec<SocketAddr>> {
    let addresses: Vec<_> = lookup_host(server).await?.collect();
    match addresses.is_empty() {
        true => Err(io::Error::new(io::ErrorKind::NotFound, "it has no address")),
        false => Ok(addresses),
    }
}

/// What is still to be tried, and when.
struct Candidates {
    /// Servers that are not resolved yet.
    servers: VecDeque<String>,
    /// Resolved addresses, each with its server.
    addresses: VecDeque<(String, SocketAddr)>,
    /// When the last attempt began.
    begun: Option<Timestamp>,
    next_at: Timestamp,
}

#[derive(Debug, PartialEq, Eq)]
enum Candidate {
    /// A server to resolve.
    Server(String),
    /// An address of a server.
    Address(String, SocketAddr),
}

impl Candidates {
    fn new(now: Timestamp, servers: &[String]) -> Self {
        let servers = servers.iter().cloned().collect();
        Self { servers, addresses: VecDeque::new(), begun: None, next_at: now }
    }

    /// Returns the next candidate, if it is due.
    fn next(&mut self, now: Timestamp) -> Option<Candidate> {
        if now < self.next_at {
            return None;
        }
        let next = match self.addresses.pop_front() {
            Some((server, address)) => {
                self.begun = Some(now);
                Candidate::Address(server, address)
            }
            None => Candidate::Server(self.servers.pop_front()?),
        };
        self.next_at = now + NEXT_TRY;
        Some(next)
    }

    /// Adds the addresses of a server, possibly none. They are tried before the remaining candidates.
    fn found(&mut self, now: Timestamp, server: &str, addresses: Vec<SocketAddr>) {
        for address in addresses.into_iter().rev() {
            self.addresses.push_front((server.to_owned(), address));
        }
        self.next_at = self.begun.map_or(now, |begun| begun + NEXT_TRY);
    }

    /// Makes the next candidate due at once, because an attempt has failed.
    fn go_on(&mut self, now: Timestamp) {
        self.next_at = now;
    }

    /// Returns when the next candidate is due; `None` if none is left.
    fn due(&self) -> Option<Timestamp> {
        (!self.servers.is_empty() || !self.addresses.is_empty()).then_some(self.next_at)
    }
}

/// State shared by the attempts.
struct Attempts<'a> {
    grant: &'a ConnectGrant,
    config: &'a ClientConfig,
    clock: Clock,
    rng: StdRng,
    race: Race,
}

/// An attempt that has begun.
struct Begun<T> {
    client: Client,
    /// Reads the client's events.
    reader: T,
    attempt: Attempt,
}

/// A handshake in progress.
struct Attempt {
    address: SocketAddr,
    /// Whether the system reports a route to the address.
    has_route: bool,
    /// Receives the outcome of the handshake.
    connected: oneshot::Receiver<Result<(), Disconnected>>,
    /// Counters of its socket.
    counters: Arc<net::Counters>,
}

impl Attempt {
    /// Waits until the handshake ends.
    async fn answered(self) -> Result<(), ConnectError> {
        match self.connected.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(Disconnected::ConnectFailed(error))) => {
                let has_sent = self.counters.datagrams_out.get() > 0;
                Err(match self.counters.last_send_error() {
                    Some(error) if !has_sent => ConnectError::Unreachable { address: self.address, error },
                    _ => error.into(),
                })
            }
            Ok(Err(why)) => Err(ConnectError::Ended(why)),
            Err(_) => Err(ConnectError::Ended(runtime_ended())),
        }
    }
}

impl<'a> Attempts<'a> {
    fn new(grant: &'a ConnectGrant, config: &'a ClientConfig) -> Self {
        // Only the server decides whether the grant has expired: a player's clock may be wrong.
        let rng = StdRng::from_os_rng();
        Self { grant, config, clock: Clock::new(), rng, race: Race::default() }
    }

    fn now(&self) -> Timestamp {
        self.clock.mono()
    }

    /// Begins to connect to one address; dropping the client ends the attempt.
    fn begin<T>(
        &mut self,
        server: &str,
        address: SocketAddr,
        sink: impl FnOnce(&Client) -> (Sink, T),
    ) -> Result<Begun<T>, ConnectError> {
        let address = reachable(address);
        let Self { grant, config, .. } = *self;
        let socket = net::bind(any_address(address), config.socket_buffers)
            .map_err(|error| ConnectError::Socket { address, error })?
            .with_path(config.io_path)
            .with_shared_timer();
        let counters = socket.counters();
        let link = net::link_datagram_bytes(address);
        // Without a route the attempt continues all the same: the network may come up.
        let has_route = link.is_ok();
        let connection = on_link(config.connection, link.ok().flatten());
        let connecting = Connecting::new(
            self.now(),
            grant.audience_at(server),
            address,
            grant,
            ConnectingConfig {
                protocol_id: config.protocol_id,
                connection: connection.on_socket(socket.forbids_fragments()),
                timeout: config.connect_timeout,
            },
            StdRng::from_rng(&mut self.rng),
        );
        let core = Core::new(address, connecting.with_tracer(config.tracer.clone()));
        let (tell, connected) = oneshot::channel();
        let shared = Arc::new(Shared::new(core, self.clock, tell, self.race.clone()));
        let client = Client::of(Arc::clone(&shared));
        let (sink, reader) = sink(&client);
        tokio::spawn(Driver::new(shared, sink).run(socket));
        Ok(Begun { client, reader, attempt: Attempt { address, has_route, connected, counters } })
    }
}

/// Returns the configuration for a link that takes datagrams of up to `bytes`, if the system reports a size.
/// Datagrams larger than the app wants to send need not be received either, so `max_datagram_bytes` caps the
/// size.
// spec: HSK-16
fn on_link(config: ConnectionConfig, bytes: Option<usize>) -> ConnectionConfig {
    let link = bytes.unwrap_or(config.link_datagram_bytes);
    ConnectionConfig { link_datagram_bytes: link.min(config.max_datagram_bytes), ..config }
}

/// Returns the address at which `address` can be reached. To the kernel, `0.0.0.0` and `[::]`, on which a
/// server listens on all of its addresses, are this machine, but the answer comes from its loopback address.
pub fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

/// Returns the unspecified address and port of the same family as `server`.
fn any_address(server: SocketAddr) -> SocketAddr {
    match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 2] = ["first", "second"];

    fn address(number: u8) -> SocketAddr {
        ([192, 0, 2, number], 7_777).into()
    }

    fn server(number: usize) -> Option<Candidate> {
        Some(Candidate::Server(NAMES[number].into()))
    }

    fn one(number: u8) -> Option<Candidate> {
        Some(Candidate::Address(NAMES[0].into(), address(number)))
    }

    // spec-test: HSK-16
    #[test]
    fn a_client_announces_what_its_link_takes_and_its_app_allows() {
        let told = |max_datagram_bytes, link| {
            let config = ConnectionConfig { max_datagram_bytes, ..ConnectionConfig::default() };
            on_link(config, link).on_socket(false).parameters().max_datagram_bytes
        };
        for (max, link, expected) in [
            (9_216, Some(65_488), 9_216),
            (9_216, Some(8_952), 8_952),
            (9_216, Some(1_232), 1_232),
            (9_216, Some(900), 1_200),
            (9_216, None, 1_452),
            (1_280, Some(65_488), 1_280),
            (1_280, None, 1_280),
        ] {
            assert_eq!(told(max, link), expected, "{max} {link:?}");
        }
    }

    /// Whatever came last.
    #[test]
    fn the_error_that_tells_most_is_reported() {
        let (address, error) = (address(1), || io::ErrorKind::NetworkUnreachable.into());
        let by_rank = || {
            vec![
                ConnectError::Address { server: String::new() },
                ConnectError::Resolve { server: String::new(), error: error() },
                ConnectError::Socket { address, error: error() },
                ConnectError::Unreachable { address, error: error() },
                rudp::ConnectError::NoAnswer.into(),
                ConnectError::Ended(Disconnected::TimedOut),
                rudp::ConnectError::Token { bytes: 0 }.into(),
                rudp::ConnectError::Refused(RejectCode::Denied).into(),
            ]
        };
        let told = |errors: Vec<ConnectError>| {
            errors.into_iter().fold(ConnectError::NoServer, ConnectError::or_rather).to_string()
        };
        for most in 1..=by_rank().len() {
            let errors = || by_rank().into_iter().take(most);
            let expected = errors().last().unwrap().to_string();
            assert_eq!(told(errors().collect()), expected);
            assert_eq!(told(errors().rev().collect()), expected);
        }
    }

    #[test]
    fn attempts_begin_a_second_apart_whenever_names_are_found() {
        let at = Timestamp::from_millis;
        let mut candidates = Candidates::new(at(0), &NAMES.map(String::from));
        assert_eq!(candidates.next(at(0)), server(0));
        assert_eq!((candidates.next(at(999)), candidates.due()), (None, Some(at(1_000))));
        assert_eq!(
            candidates.next(at(1_000)),
            server(1),
            "a name that is not found in time holds up no other"
        );
        assert_eq!(candidates.due(), None);
        candidates.found(at(1_500), NAMES[0], vec![address(1), address(2), address(3)]);
        assert_eq!(candidates.next(at(1_500)), one(1));
        candidates.found(at(1_600), NAMES[1], Vec::new());
        assert_eq!((candidates.next(at(2_499)), candidates.due()), (None, Some(at(2_500))));
        assert_eq!(candidates.next(at(2_500)), one(2));
        candidates.go_on(at(2_600));
        assert_eq!(candidates.next(at(2_600)), one(3), "the one before has failed");
        assert_eq!((candidates.next(at(9_000)), candidates.due()), (None, None));
    }
}
