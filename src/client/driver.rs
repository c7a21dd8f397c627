//! [`Driver`], the task that runs a [`Core`] on its socket, and [`Shared`], through which the app reaches the
//! same core.
//!
//! The app's calls reach the core at once, under a lock that is never held for longer than a batch of
//! datagrams takes, and wake the task to send. Only the task delivers results and events ([`Outputs`]), after
//! releasing the lock, so that a handler or a waker may call the client.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::BytesMut;
use tokio::sync::{Notify, oneshot, watch};

use super::core::{Core, Disconnected, Event, Output, RequestError};
use super::events::Sink;
use crate::base::sync::{Mutex, MutexGuard};
use crate::base::{Envelope, Now, RequestId, Timestamp};
use crate::net::{Clock, Driven, Socket, drive};
use crate::wire::Value;

/// Receives the result of a command.
type Waiter = oneshot::Sender<Result<Value, RequestError>>;

/// State shared by the app and the driver's task.
pub(super) struct Shared {
    state: Mutex<State>,
    pub(super) clock: Clock,
    pub(super) wake: Arc<Notify>,
    /// True once nothing more is sent or received.
    has_ended: watch::Sender<bool>,
}

/// The state guarded by the lock.
pub(super) struct State {
    pub(super) core: Core,
    /// The iteration order never matters.
    pub(super) waiters: HashMap<RequestId, Waiter>,
    pub(super) drains: Vec<Drain>,
    connected: Option<oneshot::Sender<Result<(), Disconnected>>>,
    /// How the connection ended.
    pub(super) end: Option<Disconnected>,
    race: Race,
}

/// A caller that waits until at most `queued_bytes` wait to be sent or acked.
pub(super) struct Drain {
    pub(super) queued_bytes: usize,
    pub(super) tell: oneshot::Sender<()>,
}

/// What a turn has for the app.
#[derive(Default)]
struct Outputs {
    notices: Vec<Notice>,
    events: Vec<Event>,
}

/// What a waiting caller is told. It may have stopped waiting.
enum Notice {
    Connected(oneshot::Sender<Result<(), Disconnected>>, Result<(), Disconnected>),
    Result(Waiter, Result<Value, RequestError>),
    Drained(oneshot::Sender<()>),
    /// The connection ended first, as the caller learns when the sender is dropped.
    NeverDrained(oneshot::Sender<()>),
}

impl Notice {
    fn tell(self) {
        match self {
            // A caller that no longer waits ends the attempt: see `connect`.
            Self::Connected(caller, outcome) => _ = caller.send(outcome),
            Self::Result(caller, outcome) => _ = caller.send(outcome),
            Self::Drained(caller) => _ = caller.send(()),
            Self::NeverDrained(caller) => drop(caller),
        }
    }
}

/// Decides which of several connection attempts continues: the first one answered. The others send nothing
/// more, because another packet from them would spend the token.
#[derive(Clone, Default)]
pub(super) struct Race(Arc<AtomicBool>);

impl Race {
    /// Lets the attempt win unless another one has; returns whether it did.
    fn win(&self) -> bool {
        !self.0.swap(true, Ordering::Relaxed)
    }
}

impl Shared {
    /// Shares `core`; `connected` receives the outcome of its handshake.
    pub(super) fn new(
        core: Core,
        clock: Clock,
        connected: oneshot::Sender<Result<(), Disconnected>>,
        race: Race,
    ) -> Self {
        let state = State {
            core,
            waiters: HashMap::new(),
            drains: Vec::new(),
            connected: Some(connected),
            end: None,
            race,
        };
        Self { state: Mutex::new(state), clock, wake: Arc::default(), has_ended: watch::Sender::new(false) }
    }

    /// Locks the core and its waiting callers. A panic elsewhere leaves no inconsistent state that matters
    /// here.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Waits until nothing more is sent or received; returns how the connection ended.
    pub(super) async fn ended(&self) -> Disconnected {
        let mut has_ended = self.has_ended.subscribe();
        // Cannot fail: `self` owns the sender.
        let _ = has_ended.wait_for(|ended| *ended).await;
        self.lock().end.clone().unwrap_or_else(runtime_ended)
    }

    /// Returns the monotonic time.
    pub(super) fn now(&self) -> Timestamp {
        self.clock.mono()
    }
}

impl State {
    /// Appends what the core has for the app to `outputs`. `reads` states whether the socket is being read.
    fn take_outputs(&mut self, outputs: &mut Outputs, reads: bool) {
        let Outputs { notices, events } = outputs;
        while let Some(output) = self.core.poll_output() {
            match output {
                // Abandoned before its confirmation is sent.
                Output::Connected if !self.race.win() => self.core.abandon(Disconnected::ByClient),
                Output::Connected => {
                    notices.extend(self.connected.take().map(|caller| Notice::Connected(caller, Ok(()))));
                }
                Output::Result { request, outcome } => {
                    let caller = self.waiters.remove(&request);
                    notices.extend(caller.map(|caller| Notice::Result(caller, outcome)));
                }
                // Only the connecting caller is notified that a connection ended before it was established.
                Output::Event(Event::Disconnected(why)) => {
                    let unread = why == Disconnected::TimedOut && !reads;
                    let why = if unread { Disconnected::EventsUnread } else { why };
                    self.end = Some(why.clone());
                    match self.connected.take() {
                        Some(caller) => notices.push(Notice::Connected(caller, Err(why))),
                        None => events.push(Event::Disconnected(why)),
                    }
                }
                Output::Event(event) => events.push(event),
            }
        }
        self.take_drained(notices);
    }

    /// Returns true while the app awaits something that the server must do first.
    fn is_awaited(&self) -> bool {
        self.waiters.values().any(|waiter| !waiter.is_closed())
            || self.drains.iter().any(|drain| !drain.tell.is_closed())
    }

    /// Takes the callers whose threshold is reached, or all of them once the connection is gone.
    fn take_drained(&mut self, notices: &mut Vec<Notice>) {
        if !self.core.is_connected() {
            notices.extend(self.drains.drain(..).map(|drain| Notice::NeverDrained(drain.tell)));
        }
        let queued_bytes = self.core.queued_bytes();
        let drained = self.drains.extract_if(.., |drain| queued_bytes <= drain.queued_bytes);
        notices.extend(drained.map(|drain| Notice::Drained(drain.tell)));
    }
}

/// Returns the reason for a connection whose task is gone although nobody closed it.
pub(super) fn runtime_ended() -> Disconnected {
    Disconnected::Socket("the runtime has ended".into())
}

/// The state machine that `net` drives.
pub(super) struct Driver {
    shared: Arc<Shared>,
    sink: Sink,
    outputs: Outputs,
    /// True while the app's code may be running: its handler or a waker.
    is_telling: bool,
}

impl Driver {
    /// Creates a driver of `shared` that puts events into `sink`.
    pub(super) fn new(shared: Arc<Shared>, sink: Sink) -> Self {
        Self { shared, sink, outputs: Outputs::default(), is_telling: false }
    }

    /// Runs until the connection has ended and all events are delivered.
    pub(super) async fn run(mut self, socket: Socket) {
        let (clock, wake) = (self.shared.clock, Arc::clone(&self.shared.wake));
        if let Err(error) = drive(socket, clock, &mut self, wake).await {
            tracing::warn!(%error, "the client's socket failed");
            self.turn(|core| core.abandon(Disconnected::Socket(error.to_string())));
        }
        self.shared.has_ended.send_replace(true);
        self.sink.finish().await;
    }

    /// Applies `input` under the lock, then delivers the results and events.
    fn turn(&mut self, input: impl FnOnce(&mut Core)) {
        let mut state = self.shared.lock();
        let reads = self.sink.has_room(state.is_awaited());
        input(&mut state.core);
        state.take_outputs(&mut self.outputs, reads);
        drop(state);
        self.is_telling = true;
        self.outputs.notices.drain(..).for_each(Notice::tell);
        self.sink.put(self.outputs.events.drain(..));
        self.is_telling = false;
    }
}

impl Driven for Driver {
    fn handle_datagrams(&mut self, now: Now, batch: &mut dyn Iterator<Item = (Envelope, BytesMut)>) {
        self.turn(|core| batch.for_each(|(from, datagram)| core.handle_datagram(now.mono, from, datagram)));
    }

    fn handle_wake(&mut self, _: Now) {
        self.turn(|_| {});
    }

    fn handle_timeout(&mut self, now: Now) {
        self.turn(|core| core.handle_timeout(now.mono));
    }

    fn poll_transmit(&mut self, now: Now, out: &mut BytesMut) -> Option<Envelope> {
        self.shared.lock().core.poll_transmit(now.mono, out)
    }

    fn poll_timeout(&self) -> Option<Timestamp> {
        self.shared.lock().core.poll_timeout()
    }

    fn wants_datagrams(&self) -> bool {
        let state = self.shared.lock();
        // After the end, nothing that arrives becomes an event, but the server's answer to the close must
        // still be read.
        state.end.is_some() || self.sink.has_room(state.is_awaited())
    }

    fn is_finished(&self) -> bool {
        self.shared.lock().core.is_finished()
    }
}

impl Drop for Driver {
    /// Ends the connection when the runtime ends first, so that nobody waits forever.
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.core.abandon(match std::thread::panicking() {
            true if self.is_telling => Disconnected::Panicked,
            // Either the app's own panic, if it ends the runtime, or tokio's, if the runtime lacks what a
            // socket needs.
            true => Disconnected::Socket("a panic on its thread; has the runtime I/O and time?".into()),
            false => runtime_ended(),
        });
        state.take_outputs(&mut self.outputs, true);
        drop(state);
        self.outputs.notices.drain(..).for_each(Notice::tell);
        self.shared.has_ended.send_replace(true);
        // A handler that has just panicked is not called again.
        if !std::thread::panicking() {
            self.sink.put(self.outputs.events.drain(..));
        }
    }
}
