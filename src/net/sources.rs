//! The sources of events that the loop waits for: its socket, its timer, and a wake from elsewhere.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use super::port::{Port, Room};
use super::timer::Timer;
use crate::base::Timestamp;

/// How a turn's sending ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sending {
    /// Nothing is left to send.
    Done,
    /// More is left; the next turn continues.
    Unfinished,
    /// The socket has no room; the loop waits for room in addition to everything else.
    Blocked,
}

/// The cause of a wakeup. A deadline is not included, because every turn that sends checks the clock.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ready {
    pub readable: bool,
    pub woken: bool,
}

/// The events that the loop waits for at once. `reads` states whether datagrams are wanted.
pub(super) trait Sources {
    /// Waits for any of them, and for the deadline (`None`: never). May end spuriously.
    async fn ready(
        &mut self,
        deadline: Option<Timestamp>,
        sending: Sending,
        reads: bool,
    ) -> io::Result<Ready>;

    /// Returns what may be ready, without waiting.
    async fn ready_soon(&mut self, sending: Sending, reads: bool) -> io::Result<Ready>;

    /// Waits until `until`, regardless of events.
    async fn sleep(&mut self, until: Timestamp);

    /// Prepares for a next wait with this deadline; the loop is expected to turn again within `soon`.
    fn put_off(&mut self, now: Timestamp, deadline: Option<Timestamp>, soon: Duration) -> io::Result<()>;
}

/// The sources of a task, which the runtime watches.
pub(super) struct TaskSources<'a> {
    port: &'a Port,
    room: Room,
    timer: Timer,
    wake: &'a Notify,
    notified: Pin<Box<Notified<'a>>>,
}

impl<'a> TaskSources<'a> {
    pub(super) fn new(port: &'a Port, timer: Timer, wake: &'a Notify) -> Self {
        Self { port, room: Room::default(), timer, wake, notified: Box::pin(wake.notified()) }
    }

    fn poll_io(&mut self, sending: Sending, reads: bool, cx: &mut Context<'_>) -> (Ready, bool) {
        let writable = if sending == Sending::Blocked {
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

impl Sources for TaskSources<'_> {
    async fn ready(
        &mut self,
        deadline: Option<Timestamp>,
        sending: Sending,
        reads: bool,
    ) -> io::Result<Ready> {
        poll_fn(|cx| {
            let (ready, writable) = self.poll_io(sending, reads, cx);
            let due = self.timer.poll(deadline, cx).is_ready();
            if ready.readable || ready.woken || writable || due {
                Poll::Ready(Ok(ready))
            } else {
                Poll::Pending
            }
        })
        .await
    }

    async fn ready_soon(&mut self, sending: Sending, reads: bool) -> io::Result<Ready> {
        // Gives the runtime an opportunity to look for events.
        tokio::task::yield_now().await;
        poll_fn(|cx| Poll::Ready(Ok(self.poll_io(sending, reads, cx).0))).await
    }

    async fn sleep(&mut self, until: Timestamp) {
        while self.timer.now() < until {
            poll_fn(|cx| self.timer.poll(Some(until), cx)).await;
        }
    }

    fn put_off(&mut self, now: Timestamp, deadline: Option<Timestamp>, soon: Duration) -> io::Result<()> {
        self.timer.put_off(now, deadline, soon);
        Ok(())
    }
}
