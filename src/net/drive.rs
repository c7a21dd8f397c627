//! The loop that runs a [`Driven`] machine on a socket.

use std::io;
use std::sync::{Arc, Once};
use std::time::Duration;

use tokio::sync::Notify;

use super::batch::{Flushed, ReceiveBatch, SendBatch};
use super::pace::{BusyPoll, Round, Slack};
use super::port::Port;
use super::sources::{Ready, Sending, Sources, TaskSources};
use super::timer::Timer;
use super::{Clock, Counters, Driven, IoPath, Socket};
use crate::base::{Now, Timestamp};

/// Maximum number of batches sent in one turn, so that a long backlog does not keep datagrams from being
/// read. Output caused by what is read after a turn can no longer share a datagram with what the turn has
/// sent, so more batches per turn make fewer datagrams.
const SEND_BATCHES_A_TURN: usize = 64;
/// The same limit for a socket with a small receive buffer.
const SEND_BATCHES_IN_HASTE: usize = 8;

/// Interval at which a loop checks its deadlines while its socket has no room, and its socket while it cannot
/// receive.
const BLOCKED_WAIT: Duration = Duration::from_millis(1);

/// Maximum time that a finished machine waits for room to send its last datagrams.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Runs `driven` on `socket`, as a task, until it is finished and everything that it wanted to send was sent,
/// or had no room for a second.
///
/// Must run inside a tokio runtime with I/O and time; dropping the future ends the loop at once.
///
/// # Errors
/// If the socket is broken. Errors of single datagrams are counted in [`Counters`].
pub async fn drive<D: Driven + ?Sized>(
    socket: Socket,
    clock: Clock,
    driven: &mut D,
    wake: Arc<Notify>,
) -> io::Result<()> {
    as_task(socket, clock, driven, wake, false).await
}

/// Does the same as [`drive`]; `rests` if its thread runs nothing else.
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

/// Parameters of a loop, in addition to its socket.
pub(super) struct Setup {
    clock: Clock,
    path: IoPath,
    busy_poll: Duration,
    counters: Arc<Counters>,
    /// Whether the loop may rest: it has its thread to itself, so that the duration of a round is its own
    /// time, and there is room for what arrives meanwhile.
    rests: bool,
    send_batches: usize,
    /// See [`Socket::with_local_addresses`].
    names_local: bool,
}

impl Setup {
    pub(super) fn of(socket: &Socket, clock: Clock, rests: bool) -> Self {
        let (path, busy_poll, counters) = (socket.path, socket.busy_poll, socket.counters());
        let is_roomy = socket.is_roomy();
        let send_batches = if is_roomy { SEND_BATCHES_A_TURN } else { SEND_BATCHES_IN_HASTE };
        let names_local = socket.names_local;
        Self { clock, path, busy_poll, counters, rests: rests && is_roomy, send_batches, names_local }
    }
}

/// Runs the loop, which waits only for its `sources`.
///
/// # Errors
/// Those of [`drive`].
pub(super) async fn turns<D: Driven + ?Sized>(
    setup: Setup,
    port: &Port,
    mut sources: impl Sources,
    driven: &mut D,
) -> io::Result<()> {
    let mut turns = Turns::new(setup, port, driven);
    let mut ready = Ready::default();
    loop {
        ready = match turns.play(ready)? {
            Wait::GoOn { sending } => sources.ready_soon(sending, turns.driven.wants_datagrams()).await?,
            Wait::Rest { until, sending } => {
                sources.sleep(until).await;
                sources.ready_soon(sending, turns.driven.wants_datagrams()).await?
            }
            Wait::Sources { now, deadline, sending } => {
                sources.put_off(now, deadline, turns.slack.next_turn())?;
                sources.ready(deadline, sending, turns.driven.wants_datagrams()).await?
            }
            Wait::Over => return Ok(()),
        };
    }
}

/// How a loop waits for its next turn; `sending` is how that of the last one ended.
enum Wait {
    /// No wait: more work is left, or the loop polls busily.
    GoOn { sending: Sending },
    /// For a fixed time, regardless of events.
    Rest { until: Timestamp, sending: Sending },
    /// For its sources and the deadline.
    Sources { now: Timestamp, deadline: Option<Timestamp>, sending: Sending },
    /// There is no next turn.
    Over,
}

/// The state that a loop keeps between turns.
struct Turns<'a, D: ?Sized> {
    driven: &'a mut D,
    clock: Clock,
    io: Io<'a, Port>,
    inbox: ReceiveBatch,
    outbox: SendBatch,
    busy: BusyPoll,
    slack: Slack,
    round: Round,
    /// See [`Setup`].
    rests: bool,
    /// Time since which `driven` has been finished.
    finished_at: Option<Timestamp>,
}

impl<'a, D: Driven + ?Sized> Turns<'a, D> {
    fn new(setup: Setup, port: &'a Port, driven: &'a mut D) -> Self {
        let Setup { clock, path, busy_poll, counters, rests, send_batches, names_local } = setup;
        let path = port.path(path);
        if names_local && path == IoPath::Portable {
            // Once for all workers of a server.
            static TOLD: Once = Once::new();
            TOLD.call_once(|| {
                tracing::warn!("answers may leave from another address than was asked: bind only one");
            });
        }
        Self {
            driven,
            clock,
            io: Io { line: port, counters, send_batches },
            inbox: ReceiveBatch::new(port, path),
            outbox: SendBatch::new(port, path),
            busy: BusyPoll::new(busy_poll),
            slack: Slack::new(clock.mono()),
            round: Round::new(clock.mono()),
            rests,
            finished_at: None,
        }
    }

    /// Runs one turn. It reads at most one batch, handles the wake and the deadline, then sends, so that the
    /// output caused by the input leaves in the same turn. While more than a batch waits, further turns
    /// continue reading before the deadline is handled and anything is sent, for at most 16 ms: an ack that
    /// waits in the socket may acknowledge what a timer would declare lost, all of their output leaves at
    /// once, and a flood delays nothing else for longer. A loop with a thread of its own may rest after a
    /// long round.
    fn play(&mut self, ready: Ready) -> io::Result<Wait> {
        self.round.begin_turn(self.clock.mono());
        let reads = self.driven.wants_datagrams() && (ready.readable || !self.inbox.is_empty());
        let (now, more) = self.read(reads, ready.woken)?;
        if more && !self.inbox.keeps_failing() && self.round.reads_on(now.mono) {
            return Ok(Wait::GoOn { sending: Sending::Done });
        }
        if self.driven.poll_timeout().is_some_and(|at| at <= now.mono) {
            self.driven.handle_timeout(now);
        }
        let sending = self.io.flush(now, self.driven, &mut self.outbox)?;
        if self.is_over(now.mono, sending) {
            return Ok(Wait::Over);
        }
        let is_busy = sending == Sending::Done && self.busy.is_busy(now.mono);
        if sending == Sending::Unfinished {
            self.round.sends_on();
        }
        let rest = if reads && self.inbox.keeps_failing() {
            Some(now.mono + BLOCKED_WAIT)
        } else if sending == Sending::Done {
            let rest = self.round.end(self.clock.mono(), self.driven.poll_timeout());
            rest.filter(|_| self.rests && !more && !is_busy)
        } else {
            None
        };
        Ok(match rest {
            Some(until) => Wait::Rest { until, sending },
            None if more || sending == Sending::Unfinished || is_busy => Wait::GoOn { sending },
            None => Wait::Sources { now: now.mono, deadline: self.deadline(now.mono, sending), sending },
        })
    }

    /// Passes all received datagrams to `driven`; returns the time, and whether more are waiting.
    fn read(&mut self, reads: bool, woken: bool) -> io::Result<(Now, bool)> {
        let more = reads && self.inbox.receive(self.io.line, &self.io.counters)?;
        let now = self.clock.now();
        self.slack.on_turn(now.mono);
        if reads && !self.inbox.is_empty() {
            self.busy.on_datagrams(now.mono);
            self.driven.handle_datagrams(now, &mut self.inbox.drain(&self.io.counters));
        }
        if woken {
            self.driven.handle_wake(now);
        }
        Ok((now, more || (!self.inbox.is_empty() && self.driven.wants_datagrams())))
    }

    /// Returns true if `driven` is finished and its last datagrams have left, or had no room for too long.
    fn is_over(&mut self, now: Timestamp, sending: Sending) -> bool {
        if !self.driven.is_finished() {
            return false;
        }
        let since = *self.finished_at.get_or_insert(now);
        sending == Sending::Done || (sending == Sending::Blocked && now >= since + LAST_WORDS)
    }

    /// Returns the latest time of the next turn.
    fn deadline(&self, now: Timestamp, sending: Sending) -> Option<Timestamp> {
        let due = self.driven.poll_timeout().map(|due| due + self.slack.time());
        if sending != Sending::Blocked {
            return due;
        }
        // A deadline may stay due until its datagrams have left, for which there is no room.
        let due = due.map(|due| due.max(now + BLOCKED_WAIT));
        due.into_iter().chain(self.finished_at.map(|since| since + LAST_WORDS)).min()
    }
}

/// What a loop sends through.
trait Line {
    /// Sends what a batch holds, as [`SendBatch::send`].
    fn send(&self, outbox: &mut SendBatch, counters: &Counters) -> io::Result<Flushed>;

    /// See [`Port::is_crowded`].
    fn is_crowded(&self) -> bool;
}

impl Line for Port {
    fn send(&self, outbox: &mut SendBatch, counters: &Counters) -> io::Result<Flushed> {
        outbox.send(self, counters)
    }

    fn is_crowded(&self) -> bool {
        self.is_crowded()
    }
}

/// The socket, and how the loop uses it.
struct Io<'a, L> {
    line: &'a L,
    counters: Arc<Counters>,
    /// Maximum number of batches sent in a turn.
    send_batches: usize,
}

impl<L: Line> Io<'_, L> {
    /// Sends the datagrams kept from earlier turns, then those that `driven` has now.
    fn flush<D: Driven + ?Sized>(
        &self,
        now: Now,
        driven: &mut D,
        outbox: &mut SendBatch,
    ) -> io::Result<Sending> {
        if self.line.send(outbox, &self.counters)? == Flushed::Blocked {
            self.counters.answers_dropped.add_len(driven.drop_answers());
            return Ok(Sending::Blocked);
        }
        for _ in 0..self.send_batches {
            if driven.has_answers() && self.line.is_crowded() {
                self.counters.answers_dropped.add_len(driven.drop_answers());
            }
            let full = outbox.fill(|datagram| driven.poll_transmit(now, datagram));
            if self.line.send(outbox, &self.counters)? == Flushed::Blocked {
                return Ok(Sending::Blocked);
            }
            if !full {
                return Ok(Sending::Done);
            }
        }
        Ok(Sending::Unfinished)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::collections::VecDeque;

    use bytes::BytesMut;

    use super::*;
    use crate::base::Envelope;
    use crate::net::{BufferSizes, bind};

    /// A line that has no room where its script says so, and takes everything after it.
    #[derive(Default)]
    struct Scripted {
        script: RefCell<VecDeque<Flushed>>,
        taken: Cell<usize>,
        is_crowded: bool,
    }

    impl Line for Scripted {
        fn send(&self, outbox: &mut SendBatch, _: &Counters) -> io::Result<Flushed> {
            let next = self.script.borrow_mut().pop_front().unwrap_or(Flushed::Dry);
            if next == Flushed::Dry {
                self.taken.set(self.taken.get() + outbox.take());
            }
            Ok(next)
        }

        fn is_crowded(&self) -> bool {
            self.is_crowded
        }
    }

    /// A machine with datagrams of its own, and with answers to strangers.
    #[derive(Default)]
    struct Machine {
        own: usize,
        answers: usize,
        due: Option<Timestamp>,
        is_finished: bool,
    }

    impl Driven for Machine {
        fn handle_datagrams(&mut self, _: Now, _: &mut dyn Iterator<Item = (Envelope, BytesMut)>) {}

        fn handle_wake(&mut self, _: Now) {}

        fn handle_timeout(&mut self, _: Now) {}

        fn poll_transmit(&mut self, _: Now, _: &mut BytesMut) -> Option<Envelope> {
            let left = if self.own > 0 { &mut self.own } else { &mut self.answers };
            *left = left.checked_sub(1)?;
            Some(Envelope::from(([127, 0, 0, 1], 9)))
        }

        fn has_answers(&self) -> bool {
            self.answers > 0
        }

        fn drop_answers(&mut self) -> usize {
            std::mem::take(&mut self.answers)
        }

        fn poll_timeout(&self) -> Option<Timestamp> {
            self.due
        }

        fn is_finished(&self) -> bool {
            self.is_finished
        }
    }

    /// Calls `test` with a socket and what a loop on it keeps.
    fn with_port(test: impl FnOnce(Setup, &Port)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let socket = bind(([127, 0, 0, 1], 0).into(), BufferSizes::default()).unwrap();
            let setup = Setup::of(&socket, Clock::new(), false);
            test(setup, &Port::new(socket.udp).unwrap());
        });
    }

    /// Flushes a machine with 70 datagrams of its own and 5 answers, two batches at most; returns how that
    /// ended, what was taken, the answers that were dropped, and the datagrams that are left.
    fn flush(line: &Scripted) -> (Sending, usize, u64, usize) {
        let mut flushed = None;
        with_port(|setup, port| {
            let (mut machine, counters) =
                (Machine { own: 70, answers: 5, ..Machine::default() }, setup.counters);
            let io = Io { line, counters: Arc::clone(&counters), send_batches: 2 };
            let mut outbox = SendBatch::new(port, setup.path);
            let sending = io.flush(setup.clock.now(), &mut machine, &mut outbox).unwrap();
            let left = machine.own + machine.answers;
            flushed = Some((sending, line.taken.get(), counters.answers_dropped.get(), left));
        });
        flushed.unwrap()
    }

    #[test]
    fn answers_to_strangers_take_no_room_from_others() {
        let line = |script: &[Flushed], is_crowded| Scripted {
            script: script.iter().copied().collect::<VecDeque<_>>().into(),
            is_crowded,
            ..Scripted::default()
        };
        assert_eq!(flush(&line(&[], false)), (Sending::Done, 75, 0, 0));
        assert_eq!(flush(&line(&[], true)), (Sending::Done, 70, 5, 0), "little room is left");
        let none = [Flushed::Blocked];
        assert_eq!(flush(&line(&none, false)), (Sending::Blocked, 0, 5, 70), "none for older ones");
        let some = [Flushed::Dry, Flushed::Dry, Flushed::Blocked];
        assert_eq!(flush(&line(&some, false)), (Sending::Blocked, 64, 0, 0), "a batch of eleven is kept");
    }

    /// A turn sends a limited number of batches, and what was not sent is sent by the next.
    #[test]
    fn a_long_backlog_takes_several_turns() {
        with_port(|setup, port| {
            let (mut machine, line) = (Machine { own: 200, ..Machine::default() }, Scripted::default());
            let io = Io { line: &line, counters: setup.counters, send_batches: 2 };
            let mut outbox = SendBatch::new(port, setup.path);
            let now = setup.clock.now();
            let mut next = || (io.flush(now, &mut machine, &mut outbox).unwrap(), line.taken.get());
            assert_eq!([next(), next()], [(Sending::Unfinished, 128), (Sending::Done, 200)]);
        });
    }

    #[test]
    fn last_words_wait_for_room_but_not_forever() {
        with_port(|setup, port| {
            let at = |millis: u64| Timestamp::from_millis(1_000 + millis);
            let mut machine = Machine { due: Some(at(0)), ..Machine::default() };
            let mut turns = Turns::new(setup, port, &mut machine);
            assert!(!turns.is_over(at(0), Sending::Done));
            assert_eq!(
                turns.deadline(at(5), Sending::Blocked),
                Some(at(5) + BLOCKED_WAIT),
                "it does not spin"
            );
            turns.driven.is_finished = true;
            turns.driven.due = None;
            assert!(!turns.is_over(at(10), Sending::Blocked));
            assert_eq!(turns.deadline(at(10), Sending::Blocked), Some(at(10) + LAST_WORDS));
            assert!(
                !turns.is_over(at(1_009), Sending::Blocked) && !turns.is_over(at(1_010), Sending::Unfinished)
            );
            assert!(turns.is_over(at(1_010), Sending::Blocked) && turns.is_over(at(20), Sending::Done));
        });
    }
}
