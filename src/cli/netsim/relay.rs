//! The relay: one socket for all clients, and one to the upstream for each client.
//!
//! Every socket is driven by [`drive`]; the state machines share the relay's state, which one thread uses. A
//! machine that adds to another one's departures wakes it.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::Notify;

use super::departures::Departures;
use crate::base::{Envelope, Now, Route, Timestamp};
use crate::client::reachable;
use crate::link::{Arrival, Counts, Impairments, Link};
use crate::net::{BufferSizes, Clock, Counters, Driven, Socket, bind, drive};

/// A client loses its path after this long without traffic in either direction.
const IDLE: Duration = Duration::from_secs(60);
/// Maximum number of clients at once; datagrams of further ones are dropped.
pub const MAX_CLIENTS: usize = 1_024;

/// Relays between any number of clients and one upstream.
pub(super) struct Relay {
    shared: Rc<Shared>,
}

/// The counters of a relay.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Report {
    /// Paths created.
    pub(super) clients: u64,
    /// Datagrams of clients beyond the maximum number.
    pub(super) clients_refused: u64,
    /// Datagrams that the system refused to send.
    pub(super) send_errors: u64,
    /// Datagrams longer than a socket accepts.
    pub(super) oversized: u64,
    /// Datagrams dropped because too many waited for their time.
    pub(super) overflows: u64,
    /// Datagrams let through that were not yet due to leave.
    pub(super) under_way: u64,
    /// Datagrams on a client's path that were not from the upstream.
    pub(super) strangers: u64,
    pub(super) to_upstream: Counts,
    pub(super) to_clients: Counts,
}

impl Report {
    fn add_path(&mut self, path: &Path) {
        self.to_upstream += path.up.borrow().counts();
        self.to_clients += path.down.borrow().counts();
        self.add_port(path.socket.borrow().as_deref());
        self.add_departures(&path.to_upstream.borrow());
    }

    fn add_port(&mut self, counters: Option<&Counters>) {
        if let Some(counters) = counters {
            self.send_errors += counters.send_errors.get() + counters.too_long_to_send.get();
            self.oversized += counters.oversized.get();
        }
    }

    fn add_departures(&mut self, departures: &Departures) {
        self.overflows += departures.dropped();
        self.under_way += departures.waiting();
    }
}

struct Shared {
    upstream: SocketAddr,
    impairments: Impairments,
    rebind: Option<Duration>,
    clock: Clock,
    rng: RefCell<StdRng>,
    clients: RefCell<HashMap<Route, Rc<Path>>>,
    /// Datagrams that will leave the clients' socket.
    to_clients: RefCell<Departures>,
    /// Wakes the state machine on the clients' socket.
    wake: Arc<Notify>,
    /// Values counted directly, and those of ended paths and ports.
    totals: RefCell<Report>,
    /// Counters of the clients' socket.
    socket: RefCell<Option<Arc<Counters>>>,
}

/// One client's path to the upstream and back.
struct Path {
    client: Route,
    up: RefCell<Link>,
    down: RefCell<Link>,
    to_upstream: RefCell<Departures>,
    wake: Arc<Notify>,
    /// Counters of the socket on its port.
    socket: RefCell<Option<Arc<Counters>>>,
    last_used: Cell<Timestamp>,
}

impl Relay {
    pub(super) fn new(
        upstream: SocketAddr,
        impairments: Impairments,
        rebind: Option<Duration>,
        rng: StdRng,
    ) -> Self {
        Self {
            shared: Rc::new(Shared {
                upstream: reachable(upstream),
                impairments,
                rebind,
                clock: Clock::new(),
                rng: RefCell::new(rng),
                clients: RefCell::default(),
                to_clients: RefCell::default(),
                wake: Arc::default(),
                totals: RefCell::default(),
                socket: RefCell::default(),
            }),
        }
    }

    /// Relays until the future is dropped. Needs a `LocalSet`.
    pub(super) async fn serve(&self, socket: Socket) -> io::Result<()> {
        *self.shared.socket.borrow_mut() = Some(socket.counters());
        let mut side = ClientSide { shared: Rc::clone(&self.shared) };
        drive(socket, self.shared.clock, &mut side, Arc::clone(&self.shared.wake)).await
    }

    /// Returns the counters so far.
    pub(super) fn report(&self) -> Report {
        let mut report = *self.shared.totals.borrow();
        report.add_port(self.shared.socket.borrow().as_deref());
        report.add_departures(&self.shared.to_clients.borrow());
        self.shared.clients.borrow().values().for_each(|path| report.add_path(path));
        report
    }
}

/// The state machine on the clients' socket.
struct ClientSide {
    shared: Rc<Shared>,
}

impl Driven for ClientSide {
    fn handle_datagrams(&mut self, now: Now, batch: &mut dyn Iterator<Item = (Envelope, BytesMut)>) {
        for (Envelope { route: client, ecn }, datagram) in batch {
            let Some(path) = self.shared.path(client, now.mono) else { continue };
            path.last_used.set(now.mono);
            let mut departures = path.to_upstream.borrow_mut();
            for Arrival { at, ecn, datagram } in path.up.borrow_mut().carry(now.mono, ecn, datagram.freeze())
            {
                departures.push(at, Route::from(self.shared.upstream).marked(ecn), datagram);
            }
            path.wake.notify_one();
        }
    }

    fn handle_wake(&mut self, _: Now) {}

    fn handle_timeout(&mut self, _: Now) {}

    fn poll_transmit(&mut self, now: Now, out: &mut BytesMut) -> Option<Envelope> {
        self.shared.to_clients.borrow_mut().pop(now.mono, out)
    }

    fn poll_timeout(&self) -> Option<Timestamp> {
        self.shared.to_clients.borrow().next_at()
    }

    fn is_finished(&self) -> bool {
        false
    }
}

/// The state machine on a client's socket to the upstream.
struct UpstreamSide {
    shared: Rc<Shared>,
    path: Rc<Path>,
    finished: bool,
}

impl Driven for UpstreamSide {
    fn handle_datagrams(&mut self, now: Now, batch: &mut dyn Iterator<Item = (Envelope, BytesMut)>) {
        let mut departures = self.shared.to_clients.borrow_mut();
        for (Envelope { route: from, ecn }, datagram) in batch {
            if from.remote != self.shared.upstream {
                self.shared.totals.borrow_mut().strangers += 1;
                continue;
            }
            self.path.last_used.set(now.mono);
            let mut link = self.path.down.borrow_mut();
            for Arrival { at, ecn, datagram } in link.carry(now.mono, ecn, datagram.freeze()) {
                departures.push(at, self.path.client.marked(ecn), datagram);
            }
        }
        self.shared.wake.notify_one();
    }

    fn handle_wake(&mut self, _: Now) {}

    fn handle_timeout(&mut self, now: Now) {
        self.finished |= now.mono >= self.path.last_used.get() + IDLE;
    }

    fn poll_transmit(&mut self, now: Now, out: &mut BytesMut) -> Option<Envelope> {
        self.path.to_upstream.borrow_mut().pop(now.mono, out)
    }

    fn poll_timeout(&self) -> Option<Timestamp> {
        let idle_at = self.path.last_used.get() + IDLE;
        let next_at = self.path.to_upstream.borrow().next_at();
        Some(next_at.map_or(idle_at, |at| at.min(idle_at)))
    }

    fn is_finished(&self) -> bool {
        self.finished
    }
}

impl Shared {
    /// Returns the path of `client`, creating one if necessary; `None` if there are too many clients.
    fn path(self: &Rc<Self>, client: Route, now: Timestamp) -> Option<Rc<Path>> {
        if let Some(path) = self.clients.borrow().get(&client) {
            return Some(Rc::clone(path));
        }
        let mut clients = self.clients.borrow_mut();
        let mut report = self.totals.borrow_mut();
        if clients.len() >= MAX_CLIENTS {
            report.clients_refused += 1;
            return None;
        }
        report.clients += 1;
        let path = Rc::new(Path {
            client,
            up: RefCell::new(self.link()),
            down: RefCell::new(self.link()),
            to_upstream: RefCell::default(),
            wake: Arc::default(),
            socket: RefCell::default(),
            last_used: Cell::new(now),
        });
        clients.insert(client, Rc::clone(&path));
        tokio::task::spawn_local(Rc::clone(self).serve_path(Rc::clone(&path)));
        Some(path)
    }

    fn link(&self) -> Link {
        let seed = self.rng.borrow_mut().random();
        Link::new(self.impairments.clone(), StdRng::seed_from_u64(seed))
    }

    /// Runs the path of one client until it is idle.
    async fn serve_path(self: Rc<Self>, path: Rc<Path>) {
        let mut side = UpstreamSide { shared: Rc::clone(&self), path: Rc::clone(&path), finished: false };
        while !side.finished {
            if let Err(error) = self.serve_port(&mut side).await {
                tracing::warn!(client = %path.client.remote, %error, "a client's path to the upstream failed");
                break;
            }
        }
        self.clients.borrow_mut().remove(&path.client);
        self.totals.borrow_mut().add_path(&path);
    }

    /// Runs a path on one port, until it is idle or must move to another port.
    async fn serve_port(&self, side: &mut UpstreamSide) -> io::Result<()> {
        let any: SocketAddr = match self.upstream {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = bind(any, BUFFERS)?;
        *side.path.socket.borrow_mut() = Some(socket.counters());
        let (path, wake) = (Rc::clone(&side.path), Arc::clone(&side.path.wake));
        let driven = drive(socket, self.clock, side, wake);
        let ended = match self.rebind {
            Some(every) => tokio::time::timeout(every, driven).await.unwrap_or(Ok(())),
            None => driven.await,
        };
        self.totals.borrow_mut().add_port(path.socket.take().as_deref());
        ended
    }
}

/// Buffers of a client's socket to the upstream; one client has little in flight.
const BUFFERS: BufferSizes = BufferSizes { receive_bytes: 1 << 18, send_bytes: 1 << 18 };
