//! The load: all clients of a run on one thread, which send by plan and count what arrives.
//!
//! | file | what it does |
//! |---|---|
//! | `inbox` | counts what arrives |
//! | `join` | puts every client into its group |
//! | `paced` | sends at a rate, each client at a phase of its own |
//! | `window` | sends when something arrives, for bulk |
//! | `runtime` | a turn of the loop for clients that live in tokio |

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
    /// Has a client send a message; it may wait for the next turn.
    ///
    /// # Errors
    /// When the client cannot: its connection has ended or its buffer is full.
    fn send(&mut self, client: usize, body: &[u8]) -> Result<()>;

    /// Puts what was sent on its way, then takes what has arrived and gives it to the inbox. Returns when
    /// something did, and at `deadline` at the latest.
    ///
    /// # Errors
    /// When the clients cannot go on.
    fn turn(&mut self, deadline: u64) -> Result<()>;
}

/// What a load is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Spec {
    /// Whose clients.
    pub peer: Peer,
    /// Where they reach the server, which may be a relay.
    pub server: SocketAddr,
    /// Where the server is.
    pub home: SocketAddr,
    /// What the server said beside its address.
    pub extra: String,
    /// The number of its first group among those of all loads.
    pub first_session: usize,
    /// Groups.
    pub sessions: usize,
    /// Members of each.
    pub members: usize,
    /// What they do.
    pub plan: Plan,
    /// True where clients are to cost as little as they can: the server is to be what is at its end.
    pub lean: bool,
    /// Where the random phases come from.
    pub seed: u64,
}

/// What the clients do.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub enum Plan {
    /// Each sends `rate_hz` messages a second.
    Paced {
        /// Messages a second.
        rate_hz: f64,
        /// Bytes of one.
        size: usize,
        /// Milliseconds that are not counted.
        warmup_ms: u64,
        /// Milliseconds that are.
        counted_ms: u64,
        /// Without a delivery for so long, what is missing is taken for lost.
        patience_ms: u64,
    },
    /// Each keeps so many messages under way.
    Window {
        /// Messages under way.
        window: u64,
        /// Bytes of one.
        size: usize,
        /// Milliseconds that are not counted.
        warmup_ms: u64,
        /// Milliseconds that are.
        counted_ms: u64,
    },
    /// Nobody sends.
    Idle {
        /// Milliseconds that are not counted.
        warmup_ms: u64,
        /// Milliseconds that are.
        counted_ms: u64,
    },
}

impl Spec {
    /// Clients in all.
    pub fn clients(&self) -> usize {
        self.sessions * self.members
    }
}

/// How long connecting and joining may take.
pub const CONNECT_NANOS: u64 = 40_000_000_000;
/// How often a load looks whether it may begin.
const BEGIN_NANOS: u64 = 5_000_000;

/// Runs the load. Its result goes to standard output, as does a line at the beginning and at the end of
/// the counted time, for whoever reads the processes' CPU time then.
///
/// # Errors
/// When the clients cannot go on.
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

/// Says that the clients are connected, and keeps them so until the parent has written a line: loads of one
/// job begin together.
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

/// Says a line to the parent.
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

    /// Tells the parent of marks that are passed; true when the counted time is over.
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

    /// The next mark.
    fn next(&self) -> u64 {
        if self.state == State::Before { self.begin } else { self.end }
    }

    /// What arrived in the counted time, whenever it was sent.
    fn arrivals(&self, inbox: &Inbox) -> u64 {
        match self.state {
            State::Before => 0,
            State::Counting { arrivals } => inbox.arrivals() - arrivals,
            State::After { arrivals } => arrivals,
        }
    }
}
