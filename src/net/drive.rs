//! The loop that runs a [`Driven`] machine on a socket.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::batch::{Flushed, ReceiveBatch, SendBatch};
use super::pace::{BusyPoll, Round, Slack};
use super::port::Port;
use super::sources::{Ready, Sources, TaskSources, Turn};
use super::timer::Timer;
use super::{Clock, Counters, Driven, IoPath, Socket};
use crate::base::Now;

/// Most batches sent in one turn, so that a long backlog does not keep datagrams from being read. What is read between
/// two turns no longer shares a datagram with what has been sent: more batches a turn make fewer datagrams.
const SEND_BATCHES_A_TURN: usize = 64;
/// The same for a socket with a small receive buffer.
const SEND_BATCHES_IN_HASTE: usize = 8;

/// Turns in a row that leave due timers for later while more datagrams wait.
const MAX_DEFERRED_TURNS: u32 = 4;

/// A loop whose socket has no room looks at its deadlines so far apart; one that cannot receive, at its socket.
const BLOCKED_WAIT: Duration = Duration::from_millis(1);

/// A machine that is finished waits so long for room for its last words.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Runs `driven` on `socket`, as a task, until it is finished and all that it wanted to send is sent, or had no room
/// for a second.
///
/// Must run inside of a tokio runtime with I/O and time; dropping the future ends the loop at once.
///
/// # Errors
/// When the socket is broken. What concerns single datagrams is counted in [`Counters`].
pub async fn drive<D: Driven + ?Sized>(
    socket: Socket,
    clock: Clock,
    driven: &mut D,
    wake: Arc<Notify>,
) -> io::Result<()> {
    as_task(socket, clock, driven, wake, false).await
}

/// The same; `rests`: on a thread that runs nothing else.
pub(super) async fn as_task<D: Driven + ?Sized>(
    socket: Socket,
    clock: Clock,
    driven: &mut D,
    wake: Arc<Notify>,
    rests: bool,
) -> io::Result<()> {
    let timer = if socket.shares_timer { Timer::shared(clock) } else { Timer::new(clock) };
    let setup = Setup::of(&socket, clock, rests);
    let port = Port::new(socket.udp)?;
    let sources = TaskSources::new(&port, timer, &wake);
    turns(setup, &port, sources, driven).await
}

/// What a loop starts with, beside its socket.
pub(super) struct Setup {
    clock: Clock,
    path: IoPath,
    busy_poll: Duration,
    counters: Arc<Counters>,
    /// It may rest: the loop has its thread for itself, so that what a round takes is its own time, and there is room for
    /// what comes meanwhile.
    rests: bool,
    send_batches: usize,
}

impl Setup {
    pub(super) fn of(socket: &Socket, clock: Clock, rests: bool) -> Self {
        let (path, busy_poll, counters) = (socket.path, socket.busy_poll, socket.counters());
        let is_roomy = socket.is_roomy();
        let send_batches = if is_roomy { SEND_BATCHES_A_TURN } else { SEND_BATCHES_IN_HASTE };
        Self { clock, path, busy_poll, counters, rests: rests && is_roomy, send_batches }
    }
}

/// The loop, which waits for its `sources` alone.
///
/// One turn reads one batch at most, sees to the wake and the deadline, then sends, so that what it causes leaves in
/// it. While more waits than a batch, further turns read on before anything is sent, for 16 ms at most: so much leaves
/// at once, and a flood delays nothing else for longer. One with a thread of its own may rest when that took long.
///
/// # Errors
/// Those of [`drive`].
pub(super) async fn turns<D: Driven + ?Sized>(
    Setup { clock, path, busy_poll, counters, rests, send_batches }: Setup,
    port: &Port,
    mut sources: impl Sources,
    driven: &mut D,
) -> io::Result<()> {
    let path = port.path(path);
    let io = Io { port, counters: &counters, send_batches };
    let mut busy = BusyPoll::new(busy_poll);
    let mut inbox = ReceiveBatch::new(port, path);
    let mut outbox = SendBatch::new(port, path);
    let mut slack = Slack::new(clock.mono());
    let mut round = Round::new(clock.mono());
    let mut ready = Ready::default();
    let mut deferred = 0;
    let mut finished_at = None;
    loop {
        round.begin_turn(clock.mono());
        let reads = driven.wants_datagrams() && (ready.readable || !inbox.is_empty());
        let mut more = reads && inbox.receive(io.port, io.counters)?;
        let now = clock.now();
        slack.on_turn(now.mono);
        if reads && !inbox.is_empty() {
            busy.on_datagrams(now.mono);
            driven.handle_datagrams(now, &mut inbox.drain(io.counters));
        }
        if ready.woken {
            driven.handle_wake(now);
        }
        // An ack that waits in the socket settles what a timer would take for lost.
        deferred = if more && deferred < MAX_DEFERRED_TURNS { deferred + 1 } else { 0 };
        if deferred == 0 && driven.poll_timeout().is_some_and(|at| at <= now.mono) {
            driven.handle_timeout(now);
        }
        more |= !inbox.is_empty() && driven.wants_datagrams();
        if more && !inbox.keeps_failing() && round.reads_on(now.mono) {
            ready = sources.ready_soon(Turn::Done, driven.wants_datagrams()).await?;
            continue;
        }
        let flushed = io.flush(now, driven, &mut outbox)?;
        if driven.is_finished() {
            let since = *finished_at.get_or_insert(now.mono);
            let gives_up = flushed == Turn::Blocked && now.mono >= since + LAST_WORDS;
            if flushed == Turn::Done || gives_up {
                return Ok(());
            }
        }
        if flushed == Turn::Unfinished {
            round.sends_on();
        }
        let goes_on = more || flushed == Turn::Unfinished;
        let is_busy = flushed == Turn::Done && busy.is_busy(now.mono);
        let rest = if reads && inbox.keeps_failing() {
            Some(now.mono + BLOCKED_WAIT)
        } else if flushed == Turn::Done {
            let rest = round.end(clock.mono(), driven.poll_timeout());
            rest.filter(|_| rests && !more && !is_busy)
        } else {
            None
        };
        if let Some(until) = rest {
            sources.sleep(until).await;
        }
        ready = if goes_on || rest.is_some() || is_busy {
            sources.ready_soon(flushed, driven.wants_datagrams()).await?
        } else {
            let mut wake_at = driven.poll_timeout().map(|deadline| deadline + slack.time());
            if flushed == Turn::Blocked {
                // What is due may be due until it has left, for which there is no room.
                wake_at = wake_at.map(|at| at.max(now.mono + BLOCKED_WAIT));
                wake_at = wake_at.into_iter().chain(finished_at.map(|since| since + LAST_WORDS)).min();
            }
            sources.put_off(now.mono, wake_at, slack.next_turn());
            sources.ready(wake_at, flushed, driven.wants_datagrams()).await?
        };
    }
}

/// The socket and how it is used.
#[derive(Clone, Copy)]
struct Io<'a> {
    port: &'a Port,
    counters: &'a Counters,
    /// Most of them in a turn.
    send_batches: usize,
}

impl Io<'_> {
    /// Sends what is kept from earlier turns, then what `driven` has now.
    fn flush<D: Driven + ?Sized>(
        &self,
        now: Now,
        driven: &mut D,
        outbox: &mut SendBatch,
    ) -> io::Result<Turn> {
        if outbox.send(self.port, self.counters)? == Flushed::Blocked {
            self.counters.answers_dropped.add_len(driven.drop_answers());
            return Ok(Turn::Blocked);
        }
        for _ in 0..self.send_batches {
            if driven.has_answers() && self.port.is_crowded() {
                self.counters.answers_dropped.add_len(driven.drop_answers());
            }
            let full = outbox.fill(|datagram| driven.poll_transmit(now, datagram));
            if outbox.send(self.port, self.counters)? == Flushed::Blocked {
                return Ok(Turn::Blocked);
            }
            if !full {
                return Ok(Turn::Done);
            }
        }
        Ok(Turn::Unfinished)
    }
}
