//! [`Bulk`]: one bulk transfer in addition to the sessions' traffic, to one member of the first session.
//!
//! The sender is a separate user that bypasses the relay; the receiver takes the transfer on the connection
//! of its session, so that both compete for one line. They meet in a session of two. The sender keeps
//! [`UNANSWERED`] messages in flight; the receiver answers each one that has arrived whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::member::Figures;
use super::stage::{Stage, user_named};
use crate::base::{MemberId, Slot};
use crate::cli::gather::{Guest, Seat, gather};
use crate::cli::output::Failure;
use crate::cli::verify::{Arrival, Stamp, Tally};
use crate::client::{Client, CreateSession, Delivery, Event, Events};
use crate::wire::{Body, ErrorCode};

/// A running transfer.
pub struct Bulk {
    client: Client,
    sending: JoinHandle<()>,
    progress: Arc<Progress>,
}

/// Maximum number of messages that wait for their answer: 192 KiB.
///
/// Two would let a line of 10 Mbit/s with a round trip of 40 ms run dry, because an answer is sent only once
/// the whole message has arrived, which takes 54 ms. Three exceed the 175 kB that this line and a queue of
/// 100 ms before it hold. The total must stay below the server's `lagging_bytes`, at which it notifies its
/// client that it lags.
const UNANSWERED: u64 = 3;
/// Payload of a message, in bytes: the maximum.
const SIZE_BYTES: usize = Body::MAX_BYTES;
/// Unordered, so that a lost message delays no other.
const DELIVERY: Delivery = Delivery::ReliableUnordered;
/// The receiver's answer; only its arrival matters.
const ANSWER: &[u8] = b"+";
/// How long to pause when the server's limits refuse more.
const PAUSE: Duration = Duration::from_millis(250);

/// State shared by the two ends and the load.
#[derive(Debug, Default)]
struct Progress {
    /// Messages sent and not refused.
    sent: AtomicU64,
    /// Messages received, correct or not.
    received: AtomicU64,
    /// Bytes received in the counted time.
    counted_bytes: AtomicU64,
    is_counted: AtomicBool,
    /// True once nothing more is sent.
    is_over: AtomicBool,
}

impl Bulk {
    /// Brings the two ends together; the sender begins at once. The first member of the first session
    /// receives.
    ///
    /// # Errors
    /// [`Failure::Work`] if the first session has no members or the two ends do not meet.
    pub async fn start(
        stage: &Stage,
        sessions: &mut [Vec<Seat>],
        figures: &Arc<Figures>,
    ) -> Result<(Self, BulkReceiver), Failure> {
        let Some(seats) = sessions.first_mut().filter(|seats| !seats.is_empty()) else {
            return Err(failed("the first session has no members"));
        };
        let Seat { guest: receiver, entered } = seats.remove(0);
        let [sender, receiver] = meet(stage, receiver).await?;
        let progress = Arc::new(Progress::default());
        let taking = BulkReceiver {
            client: receiver.guest.client.clone(),
            slot: receiver.entered.slot,
            sender: sender.entered.member,
            tally: tally(),
            progress: Arc::clone(&progress),
        };
        let sending = BulkSender {
            client: sender.guest.client.clone(),
            events: sender.guest.events,
            slot: sender.entered.slot,
            receiver: receiver.entered.member,
            sequence: 0,
            progress: Arc::clone(&progress),
            figures: Arc::clone(figures),
        };
        seats.insert(0, Seat { guest: receiver.guest, entered });
        let bulk = Self { client: sender.guest.client, sending: tokio::spawn(sending.run()), progress };
        Ok((bulk, taking))
    }

    /// Counts bytes from now until [`Bulk::finish`].
    pub fn count(&self) {
        self.progress.is_counted.store(true, Ordering::Relaxed);
    }

    /// Stops sending; messages in flight still arrive.
    pub fn finish(&self) {
        self.progress.is_counted.store(false, Ordering::Relaxed);
        self.progress.is_over.store(true, Ordering::Relaxed);
    }

    /// Returns how many messages have arrived.
    pub fn received(&self) -> u64 {
        self.progress.received.load(Ordering::Relaxed)
    }

    /// Returns how many messages are still missing.
    pub fn missing(&self) -> u64 {
        self.progress.sent.load(Ordering::Relaxed).saturating_sub(self.received())
    }

    /// Returns the bytes of whole messages that arrived in the counted time.
    pub fn counted_bytes(&self) -> u64 {
        self.progress.counted_bytes.load(Ordering::Relaxed)
    }

    /// Ends the sender.
    pub async fn close(self, reason: &str) {
        self.client.close(reason);
        // Anything that it could report was already counted.
        let _ = self.sending.await;
    }
}

fn failed(why: &str) -> Failure {
    Failure::while_doing("starting the bulk transfer", why)
}

/// Connects the sender and gathers it and the receiver in a session; returns the seats in this order.
async fn meet(stage: &Stage, receiver: Guest) -> Result<[Seat; 2], Failure> {
    let user = user_named("bulk")?;
    let (client, events) = stage.direct.connect(&user).await?;
    let sender = Guest { user, client, events };
    let pair = gather(vec![sender, receiver], CreateSession::new(2).max_members(2)).await?;
    pair.try_into().map_err(|_| failed("the two ends do not meet"))
}

/// The sending end.
struct BulkSender {
    client: Client,
    events: Events,
    slot: Slot,
    receiver: MemberId,
    sequence: u32,
    progress: Arc<Progress>,
    figures: Arc<Figures>,
}

impl BulkSender {
    /// Sends until the transfer is over, and reads answers until the connection ends.
    async fn run(mut self) {
        let mut unanswered = 0;
        loop {
            while unanswered < UNANSWERED && !self.progress.is_over.load(Ordering::Relaxed) {
                if !self.send() {
                    break;
                }
                unanswered += 1;
            }
            match self.events.recv().await {
                None => return,
                Some(Event::Message { slot, .. }) if slot == self.slot => {
                    unanswered = unanswered.saturating_sub(1);
                }
                Some(event @ Event::Refused { code, .. }) => {
                    if code != ErrorCode::RateLimited {
                        self.figures.note_trouble("the bulk sender", &event);
                    }
                    self.progress.sent.fetch_sub(1, Ordering::Relaxed);
                    unanswered = unanswered.saturating_sub(1);
                    sleep(PAUSE).await;
                }
                Some(event) => self.figures.note_trouble("the bulk sender", &event),
            }
        }
    }

    /// Sends the next message; returns false if that is not possible.
    fn send(&mut self) -> bool {
        let payload = stamp(self.sequence).payload(SIZE_BYTES);
        match self.client.message(self.slot, &[self.receiver], DELIVERY, payload) {
            Ok(_) => {
                self.sequence = self.sequence.wrapping_add(1);
                self.progress.sent.fetch_add(1, Ordering::Relaxed);
                true
            }
            Err(error) => {
                self.figures.note_unsent(&error);
                false
            }
        }
    }
}

/// The receiving end, which is a part of a member's receiver.
pub struct BulkReceiver {
    client: Client,
    slot: Slot,
    sender: MemberId,
    tally: Tally,
    progress: Arc<Progress>,
}

impl BulkReceiver {
    /// Returns the slot whose messages belong to the transfer.
    pub fn slot(&self) -> Slot {
        self.slot
    }

    /// Handles a message of the transfer and answers it; returns false if it differs from what was sent.
    pub fn take(&mut self, payload: &[u8], figures: &Figures) -> bool {
        let is_right = is_next(&mut self.tally, payload);
        self.progress.received.fetch_add(1, Ordering::Relaxed);
        if is_right && self.progress.is_counted.load(Ordering::Relaxed) {
            self.progress.counted_bytes.fetch_add(payload.len() as u64, Ordering::Relaxed);
        }
        if let Err(error) = self.client.message(self.slot, &[self.sender], DELIVERY, ANSWER) {
            figures.note_unsent(&error);
        }
        is_right
    }
}

fn stamp(sequence: u32) -> Stamp {
    // The send time is not useful, because a message waits for earlier ones of the same transfer.
    Stamp { sender: 0, sequence, sent_micros: 0, counted: false }
}

/// Creates the tally of the messages of the one sender.
fn tally() -> Tally {
    Tally::new(DELIVERY, 0, 1)
}

/// Returns true if a payload is, byte for byte, one that was sent and has not arrived before.
fn is_next(tally: &mut Tally, payload: &[u8]) -> bool {
    let Ok(stamp) = Stamp::read(payload) else { return false };
    payload.len() == SIZE_BYTES && tally.arrive(stamp.sender, stamp.sequence) == Arrival::Fresh
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_right_once_whole_and_unaltered() {
        let mut tally = tally();
        let payload = stamp(7).payload(SIZE_BYTES);
        let mut altered = payload.to_vec();
        altered[SIZE_BYTES - 1] ^= 1;
        assert!(!is_next(&mut tally, &altered));
        assert!(!is_next(&mut tally, &payload[..SIZE_BYTES - 1]));
        assert!(!is_next(&mut tally, &[]));
        assert!(is_next(&mut tally, &payload));
        assert!(!is_next(&mut tally, &payload), "it was there before");
        assert!(is_next(&mut tally, &stamp(3).payload(SIZE_BYTES)), "in any order");
    }

    #[test]
    fn what_waits_at_the_server_stays_below_what_lags() {
        let lagging_bytes = crate::server::Limits::default().lagging_bytes;
        assert!(UNANSWERED * (SIZE_BYTES as u64) < lagging_bytes);
    }
}
