//! The load: all clients of a run on one thread, which send by plan and count the messages that arrive.
//!
//! | file | contents |
//! |---|---|
//! | `inbox` | counts the messages that arrive |
//! | `join` | puts every client into its group |
//! | `paced` | sends at a rate, each client at its own phase |
//! | `window` | sends when something arrives, for bulk |
//! | `runtime` | one turn of the loop for clients that run in tokio |

mod inbox;
mod join;
mod paced;
mod runtime;
mod window;

use std::net::SocketAddr;
use std::sync::mpsc::{TryRecvError, sync_channel};
use std::thread;

use serde::{Deserialize, Serialize};
use serde_json::json;

pub use self::inbox::Inbox;
pub use self::join::join_all;
pub use self::runtime::TokioLoop;
use crate::error::{Error, Result};
use crate::peer::{self, Peer};
use crate::sys;

/// All clients of a load.
pub trait Clients {
    /// Has a client send a message, which may wait for the next turn.
    ///
    /// # Errors
    /// When the client cannot: its connection has ended or its buffer is full.
    fn send(&mut self, client: usize, body: &[u8]) -> Result<()>;

    /// Sends the queued messages, then takes messages that have arrived and gives them to the inbox. Returns
    /// when any have arrived, and at `deadline` at the latest.
    ///
    /// # Errors
    /// When the clients cannot continue.
    fn turn(&mut self, deadline: u64) -> Result<()>;
}

/// The parameters of a load.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Spec {
    /// The peer whose clients these are.
    pub peer: Peer,
    /// The address at which they reach the server, which may be a relay's.
    pub server: SocketAddr,
    /// The server's own address.
    pub home: SocketAddr,
    /// The server's announcement beside its address.
    pub extra: String,
    /// The number of its first group among those of all loads.
    pub first_session: usize,
    /// Number of groups.
    pub sessions: usize,
    /// Number of members in each.
    pub members: usize,
    /// The clients' behaviour.
    pub plan: Plan,
    /// Whether clients must cost as little as possible, so that the server is the bottleneck.
    pub lean: bool,
    /// Seed of the random phases.
    pub seed: u64,
}

/// The clients' behaviour.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub enum Plan {
    /// Each sends `rate_hz` messages a second.
    Paced {
        /// Messages per second.
        rate_hz: f64,
        /// Size of a message in bytes.
        size: usize,
        /// Uncounted time at the start, in milliseconds.
        warmup_ms: u64,
        /// Counted time, in milliseconds.
        counted_ms: u64,
        /// Time without a delivery after which missing messages count as lost, in milliseconds.
        patience_ms: u64,
    },
    /// Each keeps `window` messages in flight.
    Window {
        /// Messages in flight.
        window: u64,
        /// Size of a message in bytes.
        size: usize,
        /// Uncounted time at the start, in milliseconds.
        warmup_ms: u64,
        /// Counted time, in milliseconds.
        counted_ms: u64,
    },
    /// No client sends.
    Idle {
        /// Uncounted time at the start, in milliseconds.
        warmup_ms: u64,
        /// Counted time, in milliseconds.
        counted_ms: u64,
    },
}

impl Spec {
    /// Returns the total number of clients.
    pub fn clients(&self) -> usize {
        self.sessions * self.members
    }
}

/// Time limit for connecting and joining.
pub const CONNECT_NANOS: u64 = 40_000_000_000;
/// Interval at which a load checks whether it may begin.
const BEGIN_NANOS: u64 = 5_000_000;

/// Runs the load. Its result goes to standard output, as does a line at the beginning and at the end of the
/// counted time, at which the parent reads the processes' CPU time.
///
/// # Errors
/// When the clients cannot continue.
pub fn run(spec: &Spec) -> Result<()> {
    sys::allow_many_files().map_err(Error::io("raising the limit of open files"))?;
    let inbox = Inbox::new(spec.clients())?;
    let mut clients = peer::connect(spec, &inbox)?;
    wait_to_begin(clients.as_mut())?;
    let result = match spec.plan {
        Plan::Paced { .. } => paced::run(spec, clients.as_mut(), &inbox)?,
        Plan::Window { .. } => window::run(spec, clients.as_mut(), &inbox)?,
        Plan::Idle { warmup_ms, counted_ms } => {
            let mut marks = Marks::new(sys::nanos(), warmup_ms, counted_ms);
            while !marks.pass(sys::nanos(), &inbox) {
                clients.turn(marks.next())?;
            }
            json!({ "arrivals": marks.arrivals(&inbox) })
        }
    };
    say(&format!("result {result}"));
    Ok(())
}

/// Reports that the clients are connected, and keeps them connected until the parent has written a line: the
/// loads of one job begin together.
fn wait_to_begin(clients: &mut dyn Clients) -> Result<()> {
    let (begin, begun) = sync_channel(1);
    let read = move || begin.send(std::io::stdin().read_line(&mut String::new()));
    thread::Builder::new().name("begin".to_owned()).spawn(read).map_err(Error::io("starting a thread"))?;
    say("mark ready");
    loop {
        match begun.try_recv() {
            Ok(read) => return read.map(drop).map_err(Error::io("reading when to begin")),
            Err(TryRecvError::Empty) => clients.turn(sys::nanos() + BEGIN_NANOS)?,
            Err(TryRecvError::Disconnected) => return Err(Error::bound("nobody says when to begin")),
        }
    }
}

/// Writes a line to the parent.
#[allow(clippy::print_stdout)]
pub fn say(line: &str) {
    println!("{line}");
}

/// The beginning and the end of the counted time.
struct Marks {
    begin: u64,
    end: u64,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Before,
    Counting { arrivals: u64 },
    After { arrivals: u64 },
}

impl Marks {
    fn new(start: u64, warmup_ms: u64, counted_ms: u64) -> Self {
        let begin = start + warmup_ms * 1_000_000;
        Self { begin, end: begin + counted_ms * 1_000_000, state: State::Before }
    }

    /// Reports to the parent the marks that have passed; returns true when the counted time is over.
    fn pass(&mut self, now: u64, inbox: &Inbox) -> bool {
        if self.state == State::Before && now >= self.begin {
            say("mark begin");
            self.state = State::Counting { arrivals: inbox.arrivals() };
        }
        if let State::Counting { arrivals } = self.state
            && now >= self.end
        {
            say("mark end");
            self.state = State::After { arrivals: inbox.arrivals() - arrivals };
        }
        matches!(self.state, State::After { .. })
    }

    fn is_counting(&self) -> bool {
        matches!(self.state, State::Counting { .. })
    }

    /// Returns the next mark.
    fn next(&self) -> u64 {
        if self.state == State::Before { self.begin } else { self.end }
    }

    /// Returns the number of messages that arrived in the counted time, independent of when they were sent.
    fn arrivals(&self, inbox: &Inbox) -> u64 {
        match self.state {
            State::Before => 0,
            State::Counting { arrivals } => inbox.arrivals() - arrivals,
            State::After { arrivals } => arrivals,
        }
    }
}
