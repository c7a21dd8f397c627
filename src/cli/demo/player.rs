//! [`Player`]: one user of the demo, with its client, what it sends, and the checks of everything it
//! receives.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use super::figures::Figures;
use crate::base::sync::{Mutex, MutexGuard};
use crate::base::{EventNumber, InviteId, Slot, UserId};
use crate::cli::backend::Backend;
use crate::cli::gather::in_time;
use crate::cli::output::Failure;
use crate::cli::verify::{Arrival, EventLog, Seen, Stamp, Tally};
use crate::client::{Client, Delivery, Disconnected, Event, Events, To};

/// A user of the demo.
pub struct Player {
    pub user: UserId,
    pub client: Client,
    /// Its number among the senders of its session.
    number: u32,
    sequence: Arc<AtomicU32>,
    /// Its stays in the session, as its judge recorded them.
    stays: Arc<Mutex<Stays>>,
    /// Invites and their expiry.
    invites: UnboundedReceiver<Event>,
    sending: Option<JoinHandle<()>>,
}

/// What the players of one session share.
#[derive(Clone)]
pub struct Game {
    /// Log of the events that the members saw, by number.
    pub log: Arc<Mutex<EventLog>>,
    /// Number of players that send.
    pub seats: usize,
    pub figures: Arc<Figures>,
}

/// The stays of a player as a member, each from its first event number up to, but not including, its end.
#[derive(Debug, Default)]
struct Stays {
    ended: Vec<(EventNumber, EventNumber)>,
    /// First event number of the current stay, and the number of its next event.
    present: Option<(EventNumber, EventNumber)>,
}

impl Player {
    /// Connects a user and starts to judge everything that it receives.
    ///
    /// # Errors
    /// [`Failure::Work`] if it does not connect.
    pub async fn connect(backend: &Backend, user: UserId, number: u32, game: Game) -> Result<Self, Failure> {
        let (client, events) = backend.connect(&user).await?;
        let (tell, invites) = unbounded_channel();
        let stays = Arc::new(Mutex::new(Stays::default()));
        let judge = Judge {
            tally: Tally::new(Delivery::ReliableOrdered, 0, game.seats),
            stays: Arc::clone(&stays),
            game,
        };
        tokio::spawn(judge.run(events, move |event| drop(tell.send(event))));
        Ok(Self { user, client, number, sequence: Arc::default(), stays, invites, sending: None })
    }

    /// Begins to broadcast at `slot`, for the first time after `phase`.
    pub fn send(
        &mut self,
        slot: Slot,
        phase: Duration,
        period: Duration,
        size: usize,
        figures: &Arc<Figures>,
    ) {
        let (client, figures) = (self.client.clone(), Arc::clone(figures));
        let (number, sequence) = (self.number, Arc::clone(&self.sequence));
        self.sending = Some(tokio::spawn(async move {
            tokio::time::sleep(phase).await;
            let mut ticks = interval(period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let sent_micros = figures.now_micros();
                let next = sequence.load(Ordering::Relaxed);
                let stamp = Stamp { sender: number, sequence: next, sent_micros, counted: true };
                match client.broadcast(slot, To::All, Delivery::ReliableOrdered, stamp.payload(size)) {
                    Ok(_) => {
                        sequence.store(next + 1, Ordering::Relaxed);
                        figures.lock().sent += 1;
                    }
                    Err(error) => return figures.problem(format_args!("a broadcast was not sent: {error}")),
                }
            }
        }));
    }

    /// Stops sending.
    pub async fn stop(&mut self) {
        if let Some(sending) = self.sending.take() {
            sending.abort();
            // Only after this is it certain that nothing more is sent.
            let _ = sending.await;
        }
    }

    /// Returns how many broadcasts it has sent.
    pub fn sent(&self) -> u64 {
        self.sequence.load(Ordering::Relaxed).into()
    }

    /// Waits for the next invite.
    ///
    /// # Errors
    /// [`Failure::Work`] if none arrives.
    pub async fn next_invite(&mut self) -> Result<InviteId, Failure> {
        self.next_of("an invite", |event| match event {
            Event::Invited(invitation) => Some(invitation.invite),
            _ => None,
        })
        .await
    }

    /// Waits for the event that an invite of its own has expired.
    ///
    /// # Errors
    /// [`Failure::Work`] if the event does not arrive.
    pub async fn next_expired(&mut self) -> Result<InviteId, Failure> {
        self.next_of("the end of an invite", |event| match event {
            Event::InviteExpired { invite, user: None } => Some(invite),
            _ => None,
        })
        .await
    }

    async fn next_of<T>(&mut self, what: &str, wanted: impl Fn(Event) -> Option<T>) -> Result<T, Failure> {
        let what = format!("{} waiting for {what}", self.user);
        let found = async {
            while let Some(event) = self.invites.recv().await {
                if let Some(found) = wanted(event) {
                    return Some(found);
                }
            }
            None
        };
        in_time(&what, found).await?.ok_or_else(|| Failure::while_doing(&what, "the connection has ended"))
    }

    /// Returns the number of the next event that it expects; `None` if it is not a member.
    pub fn next_event(&self) -> Option<EventNumber> {
        self.stays().present.map(|(_, next)| next)
    }

    /// Returns how many deliveries to this player the broadcasts in `log` should cause.
    pub fn expected(&self, log: &EventLog) -> u64 {
        let stays = self.stays();
        stays.ended.iter().chain(&stays.present).map(|&(first, end)| log.messages(first, end)).sum()
    }

    fn stays(&self) -> MutexGuard<'_, Stays> {
        self.stays.lock()
    }
}

/// Judges everything that one player receives.
struct Judge {
    tally: Tally,
    stays: Arc<Mutex<Stays>>,
    game: Game,
}

impl Judge {
    async fn run(mut self, mut events: Events, tell: impl Fn(Event) + Send) {
        while let Some(event) = events.recv().await {
            if let Some(number) = event.number() {
                self.number(number, &event);
            }
            match event {
                Event::Entered { next, .. } => self.stays().present = Some((next, next)),
                Event::Message { payload, .. } => self.message(&payload),
                Event::MemberLeft { is_own: true, .. } => self.end(),
                Event::SessionDeleted { .. } => self.end(),
                Event::Invited(_) | Event::InviteExpired { .. } => tell(event),
                Event::Refused { code, .. } => {
                    self.game.figures.problem(format_args!("a broadcast was refused: {code}"));
                }
                Event::Lagging { .. } => self.game.figures.problem("a player is lagging"),
                Event::Disconnected(Disconnected::ByClient) => {}
                Event::Disconnected(why) => {
                    self.game.figures.problem(format_args!("a connection has ended: {why}"));
                }
                _ => {}
            }
        }
    }

    /// Checks that a numbered event is the next one, and the same for all members.
    fn number(&mut self, number: EventNumber, event: &Event) {
        let seen = match event {
            Event::Message { payload, .. } => {
                Stamp::read(payload).map_or(Seen::Other, |stamp| Seen::Message(stamp.sender, stamp.sequence))
            }
            _ => Seen::Other,
        };
        let agreed = self.game.log.lock().note(number, seen);
        let expected = self.stays().present.map(|(_, next)| next);
        let mut counts = self.game.figures.lock();
        // Duplicate messages are detected by their stamps.
        let is_message = matches!(event, Event::Message { .. });
        let is_old = expected.is_some_and(|expected| number < expected);
        counts.duplicates += u64::from(is_old && !is_message);
        counts.order_violations += u64::from(!agreed || expected.is_none_or(|expected| number > expected));
        drop(counts);
        if let Some((_, next)) = &mut self.stays().present {
            *next = (*next).max(EventNumber(number.0 + 1));
        }
    }

    fn message(&mut self, payload: &[u8]) {
        let figures = &self.game.figures;
        let Ok(stamp) = Stamp::read(payload) else { return figures.problem("a payload was altered") };
        match self.tally.arrive(stamp.sender, stamp.sequence) {
            Arrival::Fresh => figures.delivered(stamp.sent_micros),
            Arrival::OutOfOrder => figures.lock().order_violations += 1,
            Arrival::Duplicate => figures.lock().duplicates += 1,
            Arrival::Stranger => figures.problem("a payload of another session"),
        }
    }

    fn end(&mut self) {
        let mut stays = self.stays();
        if let Some(stay) = stays.present.take() {
            stays.ended.push(stay);
        }
    }

    fn stays(&self) -> MutexGuard<'_, Stays> {
        self.stays.lock()
    }
}
