//! [`Builder`]: the configuration that a server is started with.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU8;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::config::{self, Identity};
use super::limits::{LimitError, Limits};
use super::newcomer::{Admit, Gatekeeper, Newcomer};
use super::observer::{Observe, ServerEvent};
use super::running::{Server, UnstartedWorker};
use super::shared::Shared;
use super::worker::Worker;
use crate::net::{self, BufferSizes, Clock, Group, IoPath, Socket};
use crate::rudp::{EndpointConfig, Tracer};
use crate::secure::token::NAME_BYTES;
use crate::secure::{KeyCountError, KeyRing, TokenKey};
use crate::wire::packet::SEALED;

/// Builds and starts a [`Server`].
#[must_use]
pub struct Builder {
    listen: SocketAddr,
    protocol_id: u64,
    names: Vec<String>,
    keys: Vec<TokenKey>,
    limits: Limits,
    workers: Option<NonZeroU8>,
    buffers: BufferSizes,
    io_path: IoPath,
    busy_poll: Duration,
    tracer: Option<Arc<dyn Tracer>>,
    admit: Option<Box<Gatekeeper>>,
    observe: Option<Box<Observe>>,
}

impl Builder {
    pub(super) fn new(protocol_id: u64) -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            protocol_id,
            names: Vec::new(),
            keys: Vec::new(),
            limits: Limits::default(),
            workers: None,
            buffers: BufferSizes::default(),
            io_path: IoPath::default(),
            busy_poll: Duration::ZERO,
            tracer: None,
            admit: None,
            observe: None,
        }
    }

    /// Sets the address to listen on; port 0 requests one from the system. Default: a free port of loopback.
    ///
    /// An unspecified address (`0.0.0.0`, `::`) stands for all addresses of the host; each client is answered
    /// from the address that it sends to. Where [`IoPath::Batched`] does not work, the system chooses the
    /// source address by its routes, and a client accepts no answer from another address. There, on a host
    /// with several addresses, listen on the one that the tokens name.
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = address;
        self
    }

    /// Adds a token key; `start` fails unless one or two were added. [`Server::set_keys`] can replace them
    /// later.
    pub fn key(mut self, key: TokenKey) -> Self {
        self.keys.push(key);
        self
    }

    /// Adds a name by which tokens may identify this server (their `aud`), 1 to 128 bytes; `start` refuses
    /// others. Without a name the server accepts tokens for every server, which is correct only while no
    /// other server has its keys.
    pub fn name(mut self, name: &str) -> Self {
        self.names.push(name.to_owned());
        self
    }

    /// Sets the limits; see [`Limits`] for the defaults.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets the number of workers, each a thread with its own socket. Default: one per core on Linux,
    /// otherwise one, because other systems do not spread the senders of one port over sockets; some refuse
    /// several.
    pub fn workers(mut self, workers: NonZeroU8) -> Self {
        self.workers = Some(workers);
        self
    }

    /// Sets the kernel's buffers of each socket. With less than 1 MiB to receive into (2 MiB elsewhere than on
    /// Linux, which grants twice what it is asked for), a worker that is nearly saturated never stays away from
    /// its socket for long, and so puts less into each datagram.
    pub fn buffers(mut self, buffers: BufferSizes) -> Self {
        self.buffers = buffers;
        self
    }

    /// Sets how datagrams are passed to the kernel. Default: in batches where the system supports it.
    pub fn io_path(mut self, path: IoPath) -> Self {
        self.io_path = path;
        self
    }

    /// Sets how long after a datagram a worker polls for the next one without sleeping. This lowers latency
    /// at the cost of one busy core per worker. For servers with more cores than workers. Default: zero.
    pub fn busy_poll(mut self, time: Duration) -> Self {
        self.busy_poll = time;
        self
    }

    /// Traces the connections that `tracer` selects. Workers call it, so a slow tracer slows the server; it
    /// is called in no tokio runtime. Default: none.
    pub fn tracer(mut self, tracer: Arc<dyn Tracer>) -> Self {
        self.tracer = Some(tracer);
        self
    }

    /// Sets the function that decides who may connect. It is called for each newcomer with a valid token,
    /// again for each repeated request, and once more when the newcomer is connected, by the worker that
    /// handles the newcomer. It must not block, because all clients of the worker wait, and is called in no
    /// tokio runtime. It returns an [`Admit`] or a `bool`; a newcomer for whom it panics is denied. It is
    /// meant for bans, maintenance and the `data` of tokens: for answers that stay the same however often
    /// they are requested. It is not suited to count connections, and [`Server::is_connected`] may already be
    /// true for the newcomer. Default: everyone may connect.
    pub fn admit<A: Into<Admit>>(
        mut self,
        admit: impl Fn(&Newcomer<'_>) -> A + Send + Sync + 'static,
    ) -> Self {
        self.admit = Some(Box::new(move |newcomer| admit(newcomer).into()));
        self
    }

    /// Sets the function that receives the events of the server: which users connect and disconnect, which
    /// sessions begin and end, and who joins and leaves them. The worker that causes an event calls it, in
    /// the order of that worker's events. Concurrent events of two workers may be reported in either order,
    /// even the leave of a member before its join; member ids are not reused. It must not block, because all
    /// clients of the worker wait, nor wait for the server's end; a program with much work for an event sends
    /// it to a channel. It is called in no tokio runtime: to spawn tasks it must hold a `Handle`. To query
    /// the server it must hold a [`Weak`](std::sync::Weak) reference: the server holds this function and
    /// would otherwise never be dropped. A panic is logged. At a shutdown the end of every connection is
    /// reported, except of one that moves to another worker just as the time of the drain ends, but the end
    /// of no session. Default: none.
    pub fn observe(mut self, observe: impl Fn(&ServerEvent<'_>) + Send + Sync + 'static) -> Self {
        self.observe = Some(Box::new(observe));
        self
    }

    /// Binds the sockets and starts the workers.
    ///
    /// # Errors
    /// [`BuildError`]; nothing runs then.
    pub fn start(mut self) -> Result<Server, BuildError> {
        self.limits.check()?;
        if let Some(name) = self.names.iter().find(|name| !NAME_BYTES.contains(&name.len())) {
            return Err(BuildError::Name { bytes: name.len() });
        }
        let keys = Arc::new(KeyRing::new(std::mem::take(&mut self.keys))?);
        let workers = self.workers.unwrap_or_else(default_workers);
        let Group { sockets, is_steered } =
            self.bind(workers).map_err(|error| BuildError::Bind { address: self.listen, error })?;
        let mut rng = StdRng::from_os_rng();
        let identity = Identity { protocol_id: self.protocol_id, names: self.names, keys: Arc::clone(&keys) };
        let config = config::endpoint(identity, &self.limits);
        let connection = config.connection.on_socket(sockets.iter().all(Socket::forbids_fragments));
        let config = Arc::new(EndpointConfig { tracer: self.tracer, connection, ..config });
        // Without steering, each datagram of a user that has moved would be forwarded.
        let gathered_seats = if is_steered { self.limits.gathered_seats } else { 0 };
        let limits = Limits { gathered_seats, ..self.limits };
        let shared = Shared::new(limits, workers.get(), &mut rng).admitting_by(self.admit);
        let shared = Arc::new(shared.observed_by(self.observe));
        let unstarted = sockets.into_iter().zip(shared.mailboxes.workers()).map(|(socket, id)| {
            let rng = StdRng::from_rng(&mut rng);
            UnstartedWorker {
                socket,
                worker: Worker::new(Arc::clone(&shared), Arc::clone(&config), id, rng),
                id,
            }
        });
        let unstarted = unstarted.collect();
        Server::start(Arc::clone(&shared), keys, Clock::new(), unstarted).map_err(BuildError::Start)
    }

    /// Binds one socket per worker, all to one address.
    fn bind(&self, workers: NonZeroU8) -> io::Result<Group> {
        // The worker is the first byte of a sealed packet's connection id.
        let steering = net::Steering { mark: SEALED, at: 1 };
        let group = net::bind_group(self.listen, self.buffers, workers, steering)?;
        let as_asked = |socket: Socket| {
            socket.with_path(self.io_path).with_busy_poll(self.busy_poll).with_local_addresses()
        };
        Ok(Group { sockets: group.sockets.into_iter().map(as_asked).collect(), ..group })
    }
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder")
            .field("listen", &self.listen)
            .field("protocol_id", &self.protocol_id)
            .finish_non_exhaustive()
    }
}

/// Reason why a server did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The number of token keys is not one or two.
    #[error(transparent)]
    Keys(#[from] KeyCountError),
    /// A name is empty or too long.
    #[error("a server's name has {bytes} bytes, allowed are {} to {}", NAME_BYTES.start(), NAME_BYTES.end())]
    Name {
        /// Its length.
        bytes: usize,
    },
    /// A limit is out of its range.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// The address cannot be used.
    #[error("cannot listen on {address}: {error}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Error of the system.
        error: io::Error,
    },
    /// A worker's thread did not start.
    #[error("cannot start a worker: {0}")]
    Start(io::Error),
}

fn default_workers() -> NonZeroU8 {
    let spreads_senders = cfg!(target_os = "linux");
    let cores = if spreads_senders { thread::available_parallelism().map_or(1, usize::from) } else { 1 };
    u8::try_from(cores).ok().and_then(NonZeroU8::new).unwrap_or(NonZeroU8::MAX)
}
