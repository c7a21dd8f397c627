//! One client of the load: what it sends, and how it judges what it receives.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::bulk::BulkReceiver;
use super::recovery::Gaps;
use crate::base::sync::Mutex;
use crate::base::{EventNumber, Slot, Timestamp};
use crate::cli::verify::{Arrival, EventLog, Latency, Seen, Stamp, Tally};
use crate::client::{Client, Delivery, Disconnected, Event, Events, SendError, To};
use crate::net::Clock;

/// The combined figures of all clients of a run.
#[derive(Default)]
pub struct Figures {
    pub timeouts: AtomicU64,
    /// Other errors, except those counted in `altered`.
    pub errors: AtomicU64,
    /// Of these, the connections that ended before the run did.
    pub ended: AtomicU64,
    /// Of them, too, messages for which the client's send buffer had no room.
    pub unsent: AtomicU64,
    /// Messages that nobody sent in this form.
    pub altered: AtomicU64,
    pub sent: AtomicU64,
    pub expected: AtomicU64,
    pub delivered: AtomicU64,
    /// Messages that the server refused, by reason.
    pub refused: Mutex<BTreeMap<&'static str, u64>>,
    pub order_violations: AtomicU64,
    pub duplicates: AtomicU64,
    pub latency: Mutex<Latency>,
    /// Of these, the deliveries at the member that receives the bulk transfer.
    pub latency_beside_bulk: Mutex<Latency>,
    /// Times from the end of a blackhole to the next delivery.
    pub recovery: Mutex<Latency>,
    /// True once connections may end.
    pub is_over: AtomicBool,
}

impl Figures {
    /// Counts an event of `who` that reports a problem; ignores all others.
    pub fn note_trouble(&self, who: impl fmt::Display, event: &Event) {
        match event {
            Event::Refused { code, .. } => {
                tracing::debug!(%who, %code, "a message was refused");
                *self.refused.lock().entry(code.name()).or_default() += 1;
                count(&self.errors);
            }
            Event::Lagging { .. } => {
                tracing::debug!(%who, "a client lags");
                count(&self.errors);
            }
            Event::Disconnected(_) if self.is_over.load(Ordering::Relaxed) => {}
            Event::Disconnected(Disconnected::TimedOut | Disconnected::EventsUnread) => count(&self.timeouts),
            Event::Disconnected(why) => {
                tracing::warn!(%who, %why, "a connection has ended");
                count(&self.errors);
                count(&self.ended);
            }
            _ => {}
        }
    }

    /// Counts a message that could not be sent.
    pub fn note_unsent(&self, error: &SendError) {
        match error {
            // The end was counted when the receiver was notified of it.
            SendError::NotConnected | SendError::NotAMember(_) => {}
            _ => {
                count(&self.errors);
                count(&self.unsent);
            }
        }
    }
}

/// Adds one to a figure.
fn count(figure: &AtomicU64) {
    figure.fetch_add(1, Ordering::Relaxed);
}

/// Adds a sample.
fn record(latency: &Mutex<Latency>, micros: u64) {
    latency.lock().record(micros);
}

/// A member that sends.
pub struct Sender {
    pub client: Client,
    pub slot: Slot,
    /// Its number among the run's senders.
    pub number: u32,
    /// Number of deliveries that one of its messages causes.
    pub receivers: u64,
    /// When it sends next.
    pub due: Timestamp,
    /// Sequence number of its next message.
    pub sequence: u32,
}

/// The kind of messages to send.
#[derive(Debug, Clone, Copy)]
pub struct Message {
    pub to: To,
    pub delivery: Delivery,
    pub size: usize,
}

impl Sender {
    /// Sends the next message, stamped with `clock`'s time at the call.
    pub fn send(&mut self, clock: &Clock, message: Message, is_counted: bool, figures: &Figures) {
        let stamp = Stamp {
            sender: self.number,
            sequence: self.sequence,
            sent_micros: clock.mono().as_micros(),
            counted: is_counted,
        };
        let payload = stamp.payload(message.size);
        match self.client.broadcast(self.slot, message.to, message.delivery, payload) {
            Ok(_) => {
                self.sequence += 1;
                if is_counted {
                    count(&figures.sent);
                    figures.expected.fetch_add(self.receivers, Ordering::Relaxed);
                }
            }
            Err(error) => figures.note_unsent(&error),
        }
    }
}

/// Tracks which of a member's own broadcasts have a place in the order. Broadcasts to others come back to
/// their sender as receipts, in order, except for refused ones, whose refusal arrives first.
#[derive(Debug, Default)]
struct Own {
    next: u32,
    refused: BTreeSet<u32>,
}

impl Own {
    /// Notes a refusal. The `counter` of a message equals the sequence of its stamp: both count what was sent
    /// in the session, from 0.
    fn refused(&mut self, counter: u64) {
        self.refused.extend(u32::try_from(counter));
    }

    /// Returns the sequence of the broadcast for which a receipt has arrived.
    fn next_receipt(&mut self) -> u32 {
        while self.refused.remove(&self.next) {
            self.next += 1;
        }
        self.next += 1;
        self.next - 1
    }
}

/// A member that receives.
pub struct Receiver {
    pub events: Events,
    /// Its session.
    pub slot: Slot,
    /// The same client's number as a sender.
    pub number: u32,
    pub clock: Clock,
    /// Log of the events that the session's members saw, by number; only ordered broadcasts are events.
    pub log: Arc<Mutex<EventLog>>,
    pub tally: Tally,
    /// The gaps left by blackholes, if any are configured.
    pub gaps: Option<Gaps>,
    /// The receiving end of the bulk transfer, at one member of the run.
    pub bulk: Option<BulkReceiver>,
    pub figures: Arc<Figures>,
}

impl Receiver {
    /// Judges every event until the connection ends; returns what arrived from each sender.
    pub async fn run(mut self) -> Tally {
        let mut own = Own::default();
        while let Some(event) = self.events.recv().await {
            match event {
                Event::Message { slot, number, payload, .. } => self.take(slot, number, &payload),
                Event::Receipt { number, .. } => {
                    let sequence = own.next_receipt();
                    self.agree(number, Seen::Message(self.number, sequence));
                }
                Event::Refused { slot, counter, .. } if slot == self.slot => {
                    own.refused(counter);
                    self.figures.note_trouble(self.number, &event);
                }
                // The bulk data in flight almost makes a member lag, so it may be warned while its line is
                // dead and acks are lost. Being closed for lagging would count.
                Event::Lagging { .. } if self.bulk.is_some() => {}
                other => self.figures.note_trouble(self.number, &other),
            }
        }
        let recovery = self.gaps.as_mut().and_then(Gaps::finish);
        self.note_recovery(recovery);
        self.tally
    }

    fn take(&mut self, slot: Slot, number: Option<EventNumber>, payload: &[u8]) {
        match &mut self.bulk {
            Some(bulk) if bulk.slot() == slot => {
                if !bulk.take(payload, &self.figures) {
                    count(&self.figures.altered);
                }
            }
            _ => self.judge(number, payload),
        }
    }

    fn judge(&mut self, number: Option<EventNumber>, payload: &[u8]) {
        let now = self.clock.mono().as_micros();
        let Ok(stamp) = Stamp::read(payload) else { return count(&self.figures.altered) };
        match self.tally.arrive(stamp.sender, stamp.sequence) {
            Arrival::Fresh => {}
            Arrival::OutOfOrder => count(&self.figures.order_violations),
            Arrival::Duplicate => return count(&self.figures.duplicates),
            Arrival::Stranger => return count(&self.figures.altered),
        }
        if let Some(number) = number {
            self.agree(number, Seen::Message(stamp.sender, stamp.sequence));
        }
        if stamp.counted {
            count(&self.figures.delivered);
            let micros = now.saturating_sub(stamp.sent_micros);
            record(&self.figures.latency, micros);
            if self.bulk.is_some() {
                record(&self.figures.latency_beside_bulk, micros);
            }
        }
        let recovery = self.gaps.as_mut().and_then(|gaps| gaps.deliver(now, stamp.counted));
        self.note_recovery(recovery);
    }

    fn note_recovery(&self, micros: Option<u64>) {
        if let Some(micros) = micros {
            record(&self.figures.recovery, micros);
        }
    }

    fn agree(&self, number: EventNumber, seen: Seen) {
        let mut log = self.log.lock();
        if !log.note(number, seen) {
            count(&self.figures.order_violations);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_refused_gets_no_receipt() {
        let mut own = Own::default();
        assert_eq!(own.next_receipt(), 0);
        [1, 2, 4].into_iter().for_each(|counter| own.refused(counter));
        assert_eq!([(); 3].map(|()| own.next_receipt()), [3, 5, 6]);
    }
}
