//! [`Driver`]: the task that runs a [`Core`] on its socket, and [`Shared`], by which the app reaches
//! the same core.
//!
//! The app's calls go to the core at once, under a lock that nobody holds for longer than a batch of
//! datagrams takes, and wake the task to send. Only the task hands out results and events, after it
//! has let go of the lock, so that a handler may call the client.

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

/// Where the result of a command goes.
type Waiter = oneshot::Sender<Result<Value, RequestError>>;

/// What the app and the driver's task share.
pub(super) struct Shared {
    state: Mutex<State>,
    pub(super) clock: Clock,
    pub(super) wake: Arc<Notify>,
    /// True once nothing more is sent or taken.
    has_ended: watch::Sender<bool>,
}

/// What the lock guards.
pub(super) struct State {
    pub(super) core: Core,
    /// Its order never matters.
    pub(super) waiters: HashMap<RequestId, Waiter>,
    pub(super) drains: Vec<Drain>,
    connected: Option<oneshot::Sender<Result<(), Disconnected>>>,
    /// How the connection has ended.
    pub(super) end: Option<Disconnected>,
    race: Race,
}

/// Who waits until no more than so many bytes wait to be sent or acked.
pub(super) struct Drain {
    pub(super) queued_bytes: usize,
    pub(super) tell: oneshot::Sender<()>,
}

/// Which of several attempts to connect goes on: the first that is answered. Of the others the server hears no more,
/// for a word from them would spend the token.
#[derive(Clone, Default)]
pub(super) struct Race(Arc<AtomicBool>);

impl Race {
    /// True for the first that asks.
    fn is_won(&self) -> bool {
        !self.0.swap(true, Ordering::Relaxed)
    }
}

impl Shared {
    /// Shares `core`; `connected` is told how its handshake ends.
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

    /// The core and who waits for it. A panic elsewhere leaves nothing half done that matters here.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Waits until nothing more is sent or taken; how it has ended.
    pub(super) async fn ended(&self) -> Disconnected {
        let mut has_ended = self.has_ended.subscribe();
        // The sender is this value's own.
        let _ = has_ended.wait_for(|ended| *ended).await;
        self.lock().end.clone().unwrap_or_else(runtime_ended)
    }

    /// Monotonic time.
    pub(super) fn now(&self) -> Timestamp {
        self.clock.mono()
    }
}

impl State {
    /// Hands results to who waits for them, and keeps the events in `events`. `reads`: whether the socket is
    /// read.
    fn take_outputs(&mut self, events: &mut Vec<Event>, reads: bool) {
        while let Some(output) = self.core.poll_output() {
            match output {
                // Before its confirmation leaves.
                Output::Connected if !self.race.is_won() => self.core.abandon(Disconnected::ByClient),
                Output::Connected => _ = self.tell_connected(Ok(())),
                Output::Result { request, outcome } => {
                    if let Some(waiter) = self.waiters.remove(&request) {
                        // The caller may have stopped waiting.
                        let _ = waiter.send(outcome);
                    }
                }
                // The end of what has never begun is told to who tries to connect, and to nobody else.
                Output::Event(Event::Disconnected(why)) => {
                    let unread = why == Disconnected::TimedOut && !reads;
                    let why = if unread { Disconnected::EventsUnread } else { why };
                    self.end = Some(why.clone());
                    if !self.tell_connected(Err(why.clone())) {
                        events.push(Event::Disconnected(why));
                    }
                }
                Output::Event(event) => events.push(event),
            }
        }
        self.tell_drained();
    }

    /// True when the app awaits what the server has to say first.
    fn is_awaited(&self) -> bool {
        self.waiters.values().any(|waiter| !waiter.is_closed())
            || self.drains.iter().any(|drain| !drain.tell.is_closed())
    }

    /// Tells who waits that little enough is under way, or lets go of them when that will never be known.
    fn tell_drained(&mut self) {
        if !self.core.is_connected() {
            self.drains.clear();
        }
        let queued_bytes = self.core.queued_bytes();
        for drain in self.drains.extract_if(.., |drain| queued_bytes <= drain.queued_bytes) {
            // The caller may have stopped waiting.
            let _ = drain.tell.send(());
        }
    }

    /// Tells who waits for the handshake how it has ended; false when it was told before.
    fn tell_connected(&mut self, outcome: Result<(), Disconnected>) -> bool {
        let Some(connected) = self.connected.take() else { return false };
        // Who no longer waits ends the attempt: see `connect`.
        let _ = connected.send(outcome);
        true
    }
}

/// The task that runs a connection is gone, and nobody has closed it.
pub(super) fn runtime_ended() -> Disconnected {
    Disconnected::Socket("the runtime has ended".into())
}

/// The machine that `net` drives.
pub(super) struct Driver {
    shared: Arc<Shared>,
    sink: Sink,
    events: Vec<Event>,
    /// The app's handler is running.
    is_telling: bool,
}

impl Driver {
    /// A driver of `shared` that puts events into `sink`.
    pub(super) fn new(shared: Arc<Shared>, sink: Sink) -> Self {
        Self { shared, sink, events: Vec::new(), is_telling: false }
    }

    /// Runs until the connection has ended and all is told.
    pub(super) async fn run(mut self, socket: Socket) {
        let (clock, wake) = (self.shared.clock, Arc::clone(&self.shared.wake));
        if let Err(error) = drive(socket, clock, &mut self, wake).await {
            tracing::warn!(%error, "the client's socket failed");
            self.turn(|core| core.abandon(Disconnected::Socket(error.to_string())));
        }
        self.shared.has_ended.send_replace(true);
        self.sink.finish().await;
    }

    /// Does `input` under the lock, then hands out what came of it.
    fn turn(&mut self, input: impl FnOnce(&mut Core)) {
        let mut state = self.shared.lock();
        let reads = self.sink.has_room(state.is_awaited());
        input(&mut state.core);
        state.take_outputs(&mut self.events, reads);
        drop(state);
        self.is_telling = true;
        self.sink.put(self.events.drain(..));
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
        // After the end nothing that arrives is an event, but that the server knows of it must still be read.
        state.end.is_some() || self.sink.has_room(state.is_awaited())
    }

    fn is_finished(&self) -> bool {
        self.shared.lock().core.is_finished()
    }
}

impl Drop for Driver {
    /// When the runtime ends before the connection: nobody waits for ever.
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.core.abandon(match std::thread::panicking() {
            true if self.is_telling => Disconnected::Panicked,
            // The app's own, where that ends the runtime, or tokio's, which lacks what a socket needs.
            true => Disconnected::Socket("a panic on its thread; has the runtime I/O and time?".into()),
            false => runtime_ended(),
        });
        state.take_outputs(&mut self.events, true);
        drop(state);
        self.shared.has_ended.send_replace(true);
        // A handler that has just panicked is not called again.
        if !std::thread::panicking() {
            self.sink.put(self.events.drain(..));
        }
    }
}
