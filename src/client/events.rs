//! [`Events`], which an app reads, and [`Sink`], where the driver puts them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::sync::{Notify, Semaphore};

use super::core::Event;
use crate::wire::{PropertyChange, PropertyValue};

/// The events of a [`Client`](super::Client), in order.
///
/// Bounded: an app that does not read stops its client from reading the socket
/// ([`ClientConfig::events_buffer`](super::ClientConfig::events_buffer)). After this is dropped, events are
/// discarded and the client continues.
#[derive(Debug)]
pub struct Events {
    receiver: Receiver<Event>,
    pause: Arc<Pause>,
}

impl Events {
    /// Waits for the next event; returns `None` after [`Event::Disconnected`], or when the connection's
    /// runtime has ended. Cancel safe.
    pub async fn recv(&mut self) -> Option<Event> {
        let event = self.receiver.recv().await;
        self.pause.end();
        event
    }

    /// Appends the waiting events, at most `limit`, to `events`; waits if there are none. Returns how many
    /// were appended: 0 after [`Event::Disconnected`]. Cancel safe.
    pub async fn recv_many(&mut self, events: &mut Vec<Event>, limit: usize) -> usize {
        let count = self.receiver.recv_many(events, limit).await;
        self.pause.end();
        count
    }

    /// Returns true when no event is waiting and none will come, so that a loop over [`Events::try_recv`] can
    /// end.
    pub fn is_closed(&self) -> bool {
        self.receiver.is_closed() && self.receiver.is_empty()
    }

    /// Returns the next event if one is waiting.
    pub fn try_recv(&mut self) -> Option<Event> {
        let event = self.receiver.try_recv().ok();
        self.pause.end();
        event
    }
}

impl Drop for Events {
    /// Releases a driver that waits for the app to read.
    fn drop(&mut self) {
        self.receiver.close();
        self.pause.end();
    }
}

/// Records whether the driver waits for the app to read.
#[derive(Debug)]
struct Pause {
    is_on: AtomicBool,
    wake: Arc<Notify>,
}

impl Pause {
    /// Resumes a waiting driver, because the app has read.
    fn end(&self) {
        if self.is_on.load(Ordering::SeqCst) && self.is_on.swap(false, Ordering::SeqCst) {
            self.wake.notify_one();
        }
    }
}

/// Where the driver puts events.
pub(super) enum Sink {
    /// A queue read through [`Events`].
    Queue(Queue),
    /// The app's closure, called by the driver.
    Handler(Box<dyn FnMut(Event) + Send>),
}

/// The driver's end of an [`Events`].
pub(super) struct Queue {
    /// `None` once the reader is gone.
    sender: Option<Sender<Event>>,
    /// Events that did not fit, oldest first: at most [`RESERVE_BYTES`], and those of one batch of datagrams.
    backlog: VecDeque<Event>,
    /// Bytes of `backlog`, with the payloads.
    backlog_bytes: usize,
    pause: Arc<Pause>,
}

/// Bytes of events kept beyond the bound while the app awaits a result. Others in a session decide how many
/// come meanwhile: as many as a server passes on to a member in several seconds, by its default limits.
const RESERVE_BYTES: usize = 16 << 20;

/// Creates a queue of `bound` events and its reader; reading wakes a driver that waits for room.
pub(super) fn queue(bound: usize, wake: Arc<Notify>) -> (Sink, Events) {
    let (sender, receiver) = mpsc::channel(bound.clamp(1, Semaphore::MAX_PERMITS));
    let pause = Arc::new(Pause { is_on: AtomicBool::new(false), wake });
    let (backlog, pause_of_queue) = (VecDeque::new(), Arc::clone(&pause));
    let queue = Queue { sender: Some(sender), backlog, backlog_bytes: 0, pause: pause_of_queue };
    (Sink::Queue(queue), Events { receiver, pause })
}

impl Sink {
    /// Delivers the backlog and then `events`.
    pub(super) fn put(&mut self, events: impl Iterator<Item = Event>) {
        match self {
            Self::Handler(handler) => events.for_each(handler),
            Self::Queue(queue) => {
                queue.extend(events);
                queue.flush();
            }
        }
    }

    /// Returns false while there is a backlog; if the app `awaits` a result, and so may not be reading, only
    /// when the backlog has reached its reserve.
    pub(super) fn has_room(&self, awaits: bool) -> bool {
        match self {
            Self::Handler(_) => true,
            Self::Queue(queue) if awaits => queue.backlog_bytes < RESERVE_BYTES,
            Self::Queue(queue) => queue.backlog.is_empty(),
        }
    }

    /// Delivers the backlog, however long that takes; the last thing a driver does.
    pub(super) async fn finish(&mut self) {
        let Self::Queue(queue) = self else { return };
        let Some(sender) = queue.sender.take() else { return };
        while let Some(event) = queue.backlog.pop_front() {
            if sender.send(event).await.is_err() {
                return;
            }
        }
    }
}

/// Returns the memory that an event takes.
fn bytes_of(event: &Event) -> usize {
    let payload = match event {
        Event::Message { payload, .. } => payload.len(),
        Event::PropertiesChanged { changes, .. } => changes.as_slice().iter().map(bytes_of_change).sum(),
        _ => 0,
    };
    size_of::<Event>() + payload
}

fn bytes_of_change(change: &PropertyChange) -> usize {
    let value = match change {
        PropertyChange::Created { value, .. } | PropertyChange::Set { value, .. } => Some(value),
        PropertyChange::Deleted { .. } => None,
    };
    let bytes = if let Some(PropertyValue::Bytes(bytes)) = value { bytes.len() } else { 0 };
    size_of::<PropertyChange>() + bytes
}

impl Queue {
    fn extend(&mut self, events: impl Iterator<Item = Event>) {
        for event in events {
            self.backlog_bytes += bytes_of(&event);
            self.backlog.push_back(event);
        }
    }

    fn flush(&mut self) {
        if self.push_all() {
            return;
        }
        self.pause.is_on.store(true, Ordering::SeqCst);
        // The app may have read before it could see that the driver is waiting.
        if self.push_all() {
            self.pause.is_on.store(false, Ordering::SeqCst);
        }
    }

    /// Returns true when nothing is left.
    fn push_all(&mut self) -> bool {
        while let Some(event) = self.backlog.pop_front() {
            let bytes = bytes_of(&event);
            self.backlog_bytes -= bytes;
            let Some(sender) = &self.sender else { continue };
            match sender.try_send(event) {
                Ok(()) => {}
                Err(TrySendError::Full(event)) => {
                    self.backlog.push_front(event);
                    self.backlog_bytes += bytes;
                    return false;
                }
                Err(TrySendError::Closed(_)) => self.sender = None,
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{EventNumber, MemberId, Revision, Slot};
    use crate::wire::Delivery;
    use crate::wire::property::PropertyChanges;
    use bytes::Bytes;

    fn event(number: u64) -> Event {
        Event::Receipt { slot: Slot(1), number: EventNumber(number) }
    }

    fn message(bytes: usize) -> Event {
        Event::Message {
            slot: Slot(1),
            number: None,
            sender: MemberId(1),
            delivery: Delivery::Unreliable,
            payload: Bytes::from(vec![0; bytes]),
        }
    }

    #[tokio::test]
    async fn a_full_queue_asks_for_a_pause_and_reading_ends_it() {
        let wake = Arc::new(Notify::new());
        let (mut sink, mut events) = queue(2, Arc::clone(&wake));
        sink.put((1..=2).map(event));
        assert!(sink.has_room(false));
        sink.put((3..=4).map(event));
        assert!(!sink.has_room(false), "two have no room");
        assert_eq!(events.try_recv(), Some(event(1)));
        wake.notified().await;
        sink.put(std::iter::empty());
        assert!(!sink.has_room(false), "one has no room");
        assert_eq!(events.recv().await, Some(event(2)));
        wake.notified().await;
        sink.put(std::iter::empty());
        assert!(sink.has_room(false));
        assert_eq!(events.recv().await, Some(event(3)));
        assert_eq!(events.recv().await, Some(event(4)));
        sink.finish().await;
        assert_eq!(events.recv().await, None);
    }

    #[tokio::test]
    async fn more_is_kept_for_an_app_that_waits_for_a_result_but_not_without_bound() {
        let (mut sink, _events) = queue(1, Arc::default());
        // The first one has room.
        sink.put((0..2).map(|_| message(RESERVE_BYTES - 10_000)));
        assert!(!sink.has_room(false) && sink.has_room(true));
        sink.put(std::iter::once(message(10_000)));
        assert!(!sink.has_room(true));
    }

    #[tokio::test]
    async fn values_of_properties_are_kept_within_the_same_bound() {
        let (mut sink, _events) = queue(1, Arc::default());
        let value = PropertyValue::bytes(Bytes::from(vec![0; 65_000])).unwrap();
        let change = PropertyChange::Set { key: "map".parse().unwrap(), value };
        let changed = Event::PropertiesChanged {
            slot: Slot(1),
            number: EventNumber(1),
            revision: Revision(1),
            member: MemberId(1),
            changes: PropertyChanges::new(vec![change]).unwrap(),
        };
        // The first one has room.
        sink.put(std::iter::repeat_n(changed, 1 + RESERVE_BYTES / 65_536));
        assert!(sink.has_room(true));
        sink.put((0..3).map(|_| message(65_536)));
        assert!(!sink.has_room(true));
    }

    #[tokio::test]
    async fn what_is_kept_is_counted_until_it_is_read() {
        let (mut sink, mut events) = queue(1, Arc::default());
        sink.put((1..=9).map(event));
        let kept = |sink: &Sink| if let Sink::Queue(queue) = sink { queue.backlog_bytes } else { 0 };
        assert_eq!(kept(&sink), 8 * size_of::<Event>());
        for left in (0..8).rev() {
            assert!(events.recv().await.is_some());
            sink.put(std::iter::empty());
            assert_eq!(kept(&sink), left * size_of::<Event>());
        }
    }

    #[tokio::test]
    async fn a_driver_waits_for_nobody_who_has_stopped_to_read() {
        let wake = Arc::new(Notify::new());
        let (mut sink, events) = queue(1, Arc::clone(&wake));
        sink.put((1..=3).map(event));
        assert!(!sink.has_room(false));
        drop(events);
        wake.notified().await;
        sink.put(std::iter::empty());
        assert!(sink.has_room(false));
    }

    #[tokio::test]
    async fn events_that_nobody_reads_are_dropped() {
        let (mut sink, events) = queue(1, Arc::new(Notify::new()));
        drop(events);
        sink.put((1..=9).map(event));
        assert!(sink.has_room(false));
    }
}
