//! The loop that runs a [`Driven`] machine on a socket.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use super::batch::{Flushed, Inbox, Outbox};
use super::port::{Port, Room};
use super::timer::Timer;
use super::{Clock, Counters, Driven, Socket};
use crate::base::{Now, Timestamp};

/// Most batches sent in one turn, so that a long backlog does not keep datagrams from being read.
const SEND_BATCHES_A_TURN: usize = 8;

/// Turns in a row that leave due timers for later while more datagrams wait.
const MAX_DEFERRED_TURNS: u32 = 4;

/// Runs `driven` on `socket` until it is finished and all that it wanted to send is sent.
///
/// One turn reads one batch at most, sees to the wake and the deadline, then sends; so a flood
/// delays nothing else by more than a batch, and what one turn causes leaves in that turn. Must run
/// inside of a tokio runtime with I/O and time; dropping the future ends the loop at once.
///
/// # Errors
/// When the socket is broken. What concerns single datagrams is counted in [`Counters`].
pub async fn drive<D: Driven + ?Sized>(
    socket: Socket,
    clock: Clock,
    driven: &mut D,
    wake: Arc<Notify>,
) -> io::Result<()> {
    let counters = socket.counters();
    let mut busy = Busy::new(socket.busy_poll);
    let port = Port::new(socket.udp)?;
    let path = port.path(socket.path);
    let io = Io { port: &port, counters: &counters };
    let mut inbox = Inbox::new(&port, path);
    let mut outbox = Outbox::new(&port, path);
    let mut sources = Sources::new(&port, Timer::new(clock.clone()), &wake);
    let mut pace = Pace::new(clock.now().mono);
    let mut ready = Ready::default();
    let mut deferred = 0;
    loop {
        let reads = driven.wants_datagrams() && (ready.readable || !inbox.is_empty());
        let mut more = reads && inbox.receive(io.port, io.counters)?;
        let now = clock.now();
        pace.on_turn(now.mono);
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
        let flushed = io.flush(now, driven, &mut outbox)?;
        if flushed == Turn::Done && driven.is_finished() {
            return Ok(());
        }
        more |= !inbox.is_empty() && driven.wants_datagrams();
        let goes_on = more || flushed == Turn::Unfinished;
        ready = if goes_on || (flushed == Turn::Done && busy.is_busy(now.mono)) {
            // To be polled again at once, but only after the runtime has looked for I/O.
            tokio::task::yield_now().await;
            sources.ready_now(flushed, driven.wants_datagrams()).await
        } else {
            let wake_at = driven.poll_timeout().map(|deadline| deadline + pace.slack());
            sources.ready(wake_at, flushed, driven.wants_datagrams()).await
        };
    }
}

/// How fast turns follow each other.
///
/// Every turn sees to the deadlines that have come. While turns come many times a millisecond the timer
/// need not end a wait for them: most of its wake-ups would find that the next datagram has come as well.
#[derive(Debug)]
struct Pace {
    last: Timestamp,
    /// Smoothed time from one turn to the next.
    interval: Duration,
}

/// A deadline is seen to so much later at most than it comes, and only while turns are faster than that.
const MAX_SLACK: Duration = Duration::from_millis(1);

impl Pace {
    fn new(now: Timestamp) -> Self {
        Self { last: now, interval: MAX_SLACK }
    }

    fn on_turn(&mut self, now: Timestamp) {
        // A longer silence says no more than that it was one.
        let interval = now.since(self.last).min(MAX_SLACK * 2);
        self.interval = (self.interval * 7 + interval) / 8;
        self.last = now;
    }

    /// How much later than a deadline the timer may wake the loop.
    fn slack(&self) -> Duration {
        if self.interval < MAX_SLACK { (self.interval * 2).min(MAX_SLACK) } else { Duration::ZERO }
    }
}

/// Whether to look for datagrams without sleeping.
#[derive(Debug)]
struct Busy {
    time: Duration,
    until: Timestamp,
}

impl Busy {
    /// For so long after each batch.
    fn new(time: Duration) -> Self {
        Self { time, until: Timestamp::ZERO }
    }

    fn on_datagrams(&mut self, now: Timestamp) {
        self.until = now + self.time;
    }

    fn is_busy(&self, now: Timestamp) -> bool {
        now < self.until
    }
}

/// The socket and how it is used.
#[derive(Clone, Copy)]
struct Io<'a> {
    port: &'a Port,
    counters: &'a Counters,
}

/// How a turn's sending ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// Nothing is left to send.
    Done,
    /// There is more; the next turn goes on.
    Unfinished,
    /// The socket has no room; the loop waits for it beside everything else.
    Blocked,
}

impl Io<'_> {
    /// Sends what is kept from earlier turns, then what `driven` has now.
    fn flush<D: Driven + ?Sized>(&self, now: Now, driven: &mut D, outbox: &mut Outbox) -> io::Result<Turn> {
        if outbox.send(self.port, self.counters)? == Flushed::Blocked {
            return Ok(Turn::Blocked);
        }
        for _ in 0..SEND_BATCHES_A_TURN {
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

/// What woke the loop. A deadline is not here: it is asked for by the clock in every turn.
#[derive(Debug, Default, Clone, Copy)]
struct Ready {
    readable: bool,
    woken: bool,
}

/// All that the loop waits for at once.
struct Sources<'a> {
    port: &'a Port,
    room: Room,
    timer: Timer,
    wake: &'a Notify,
    notified: Pin<Box<Notified<'a>>>,
}

impl<'a> Sources<'a> {
    fn new(port: &'a Port, timer: Timer, wake: &'a Notify) -> Self {
        Self { port, room: Room::default(), timer, wake, notified: Box::pin(wake.notified()) }
    }

    /// Waits for any of them.
    async fn ready(&mut self, deadline: Option<Timestamp>, turn: Turn, reads: bool) -> Ready {
        poll_fn(|cx| {
            let (ready, writable) = self.poll_io(turn, reads, cx);
            let due = self.timer.poll(deadline, cx).is_ready();
            if ready.readable || ready.woken || writable || due { Poll::Ready(ready) } else { Poll::Pending }
        })
        .await
    }

    /// What is ready, without waiting.
    async fn ready_now(&mut self, turn: Turn, reads: bool) -> Ready {
        poll_fn(|cx| Poll::Ready(self.poll_io(turn, reads, cx).0)).await
    }

    /// `reads`: whether datagrams are wanted.
    fn poll_io(&mut self, turn: Turn, reads: bool, cx: &mut Context<'_>) -> (Ready, bool) {
        let writable = if turn == Turn::Blocked {
            self.room.poll(self.port, cx).is_ready()
        } else {
            self.room.leave();
            false
        };
        let readable = reads && self.port.poll_readable(cx).is_ready();
        let woken = self.notified.as_mut().poll(cx).is_ready();
        if woken {
            self.notified.set(self.wake.notified());
        }
        (Ready { readable, woken }, writable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_is_busy_for_a_while_after_each_batch() {
        let at = Timestamp::from_millis;
        let mut busy = Busy::new(Duration::from_millis(2));
        assert!(!busy.is_busy(at(1)), "nothing came yet");
        busy.on_datagrams(at(10));
        assert_eq!([10, 11, 12].map(|millis| busy.is_busy(at(millis))), [true, true, false]);
        let mut never = Busy::new(Duration::ZERO);
        never.on_datagrams(at(10));
        assert!(!never.is_busy(at(10)));
    }

    #[test]
    fn only_a_loop_that_turns_fast_lets_its_timer_wait() {
        let mut now = Timestamp::from_millis(1_000);
        let mut pace = Pace::new(now);
        assert_eq!(pace.slack(), Duration::ZERO, "nothing is known yet");
        let mut turns = |pace: &mut Pace, count, micros| {
            for _ in 0..count {
                now += Duration::from_micros(micros);
                pace.on_turn(now);
            }
        };
        turns(&mut pace, 50, 100);
        assert!((200..=210).contains(&pace.slack().as_micros()), "{:?}", pace.slack());
        turns(&mut pace, 50, 700);
        assert_eq!(pace.slack(), MAX_SLACK);
        turns(&mut pace, 3, 60_000);
        assert_eq!(pace.slack(), Duration::ZERO, "a few slow turns end it");
    }
}
