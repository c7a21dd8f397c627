//! [`Load`]: connects the clients, has them send for a while, waits until everything has arrived.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use rand::Rng;
use rand::rngs::StdRng;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::bulk::{Bulk, BulkReceiver};
use super::member::{Figures, Message, Receiver, Sender};
use super::recovery::Gaps;
use super::report::{BulkOutcome, Cost, Outcome, Traffic, Workload};
use super::stage::{Stage, user_named};
use super::usage::Usage;
use crate::base::sync::Mutex;
use crate::base::{Timestamp, UserId};
use crate::cli::gather::{Guest, Seat, gather};
use crate::cli::output::{Failure, note};
use crate::cli::signals::Signals;
use crate::cli::verify::{EventLog, Latency, Tally};
use crate::client::{Client, CreateSession, Delivery, To};
use crate::net::{Clock, Timer};

/// A workload, to be run once.
pub struct Load {
    workload: Workload,
    message: Message,
    warmup: Duration,
    rng: StdRng,
    clock: Clock,
    figures: Arc<Figures>,
    bulk: Option<Bulk>,
}

/// Maximum number of concurrent handshakes.
const CONNECTS_AT_ONCE: usize = 32;
/// Maximum number of sessions that gather concurrently.
const GATHERINGS_AT_ONCE: usize = 16;
/// After this time without a delivery, missing messages count as lost.
const PATIENCE: Duration = Duration::from_secs(10);
/// The same for messages that may be lost.
const SHORT_PATIENCE: Duration = Duration::from_secs(2);

/// The usage of machine and network up to a moment.
#[derive(Clone, Copy)]
struct Used {
    server: Usage,
    client: Usage,
    /// `None` if it is not known for all clients.
    traffic: Option<Traffic>,
}

/// The counted time.
struct Counted {
    /// The usage when it began, and when it ended.
    before: Used,
    after: Used,
    /// Deliveries until it ended.
    delivered: u64,
    length: Duration,
}

/// The clients at work.
struct Crew {
    senders: Vec<Sender>,
    receivers: JoinSet<(usize, Tally)>,
    clients: Vec<Client>,
}

impl Load {
    /// Creates a workload whose messages go `to` these members, after a `warmup`.
    pub fn new(workload: Workload, to: To, warmup: Duration, rng: StdRng) -> Self {
        let message = Message { to, delivery: workload.delivery, size: workload.size_bytes };
        Self { workload, message, warmup, rng, clock: Clock::new(), figures: Arc::default(), bulk: None }
    }

    /// Runs the workload. A signal ends the current phase: connecting, sending, or waiting for messages in
    /// flight.
    ///
    /// # Errors
    /// [`Failure::Work`] if a bulk transfer does not begin.
    pub async fn run(mut self, stage: &Stage, signals: &mut Signals) -> Result<(Outcome, Cost), Failure> {
        let wanted = u64::from(self.workload.sessions) * u64::from(self.workload.members);
        let mut sessions = tokio::select! {
            sessions = self.connect(stage, wanted) => sessions,
            () = signals.next() => Vec::new(),
        };
        let seats: u64 = sessions.iter().map(|seats| seats.len() as u64).sum();
        let bulk_receiver = if self.workload.bulk && seats > 0 {
            let (bulk, receiver) = Bulk::start(stage, &mut sessions, &self.figures).await?;
            self.bulk = Some(bulk);
            Some(receiver)
        } else {
            None
        };
        let mut crew = self.crew(sessions, bulk_receiver);
        let clients = std::mem::take(&mut crew.clients);
        let counted = self.send(&mut crew, || used(stage, &clients), signals).await;
        tokio::select! {
            () = self.settle(clients.len()) => {}
            () = signals.next() => {}
        }
        let settled = used(stage, &clients);
        self.figures.is_over.store(true, Ordering::Relaxed);
        clients.iter().for_each(|client| client.close("the bench is over"));
        let bulk = self.close_bulk(counted.as_ref()).await;
        let latest_missing = self.close(crew).await;
        let cost = counted.map_or_else(Cost::default, |counted| counted.cost(&settled));
        Ok((self.outcome(wanted - seats, latest_missing, bulk), cost))
    }

    /// Connects all `wanted` clients and gathers them in sessions; returns the sessions, with the clients
    /// that got in.
    async fn connect(&self, stage: &Stage, wanted: u64) -> Vec<Vec<Seat>> {
        let Workload { sessions, members, .. } = self.workload;
        let progress = progress(wanted, "connected");
        let connects = Arc::new(Semaphore::new(CONNECTS_AT_ONCE));
        let gatherings = Arc::new(Semaphore::new(GATHERINGS_AT_ONCE));
        let mut tasks = JoinSet::new();
        for session in 0..sessions {
            let (connects, gatherings) = (Arc::clone(&connects), Arc::clone(&gatherings));
            let (backend, progress) = (Arc::clone(&stage.backend), progress.clone());
            tasks.spawn(async move {
                // Limits how many sessions gather at once, so that nobody waits long in an unfinished one.
                let _turn = gatherings.acquire().await;
                let mut guests = JoinSet::new();
                for member in 0..members {
                    let (connects, backend) = (Arc::clone(&connects), Arc::clone(&backend));
                    let progress = progress.clone();
                    guests.spawn(async move {
                        let _turn = connects.acquire().await;
                        let user = user(session, member)?;
                        let (client, events) = backend.connect(&user).await?;
                        progress.inc(1);
                        Ok::<_, Failure>(Guest { user, client, events })
                    });
                }
                let guests = guests.join_all().await;
                let guests: Vec<Guest> = guests.into_iter().filter_map(told).collect();
                let create = CreateSession::new(1).max_members(members);
                (session, told(gather(guests, create).await).unwrap_or_default())
            });
        }
        let mut sessions = tasks.join_all().await;
        progress.finish_and_clear();
        sessions.sort_by_key(|(session, _)| *session);
        sessions.into_iter().map(|(_, seats)| seats).collect()
    }

    /// Starts the receivers, and prepares the senders at random phases. The first member of all gets `bulk`.
    fn crew(&mut self, sessions: Vec<Vec<Seat>>, mut bulk: Option<BulkReceiver>) -> Crew {
        let period = Duration::from_secs_f64(1.0 / self.workload.rate_hz);
        let start = self.clock.mono() + Duration::from_millis(100);
        let per_session = usize::from(self.workload.members);
        let mut crew = Crew { senders: Vec::new(), receivers: JoinSet::new(), clients: Vec::new() };
        for (session, seats) in (0_u32..).zip(sessions) {
            let first = session * u32::from(self.workload.members);
            let log = Arc::new(Mutex::new(EventLog::read_by(seats.len())));
            let left_out = u64::from(self.message.to == To::Others);
            let receivers = (seats.len() as u64).saturating_sub(left_out);
            for (number, seat) in (first..).zip(seats) {
                let receiver = Receiver {
                    events: seat.guest.events,
                    slot: seat.entered.slot,
                    number,
                    clock: self.clock,
                    log: Arc::clone(&log),
                    tally: Tally::new(self.message.delivery, first, per_session),
                    gaps: self.workload.blackhole.map(Gaps::new),
                    bulk: bulk.take(),
                    figures: Arc::clone(&self.figures),
                };
                let index = crew.senders.len();
                crew.receivers.spawn(async move { (index, receiver.run().await) });
                crew.clients.push(seat.guest.client.clone());
                crew.senders.push(Sender {
                    client: seat.guest.client,
                    slot: seat.entered.slot,
                    number,
                    receivers,
                    due: start + self.rng.random_range(Duration::ZERO..period),
                    sequence: 0,
                });
            }
        }
        crew
    }

    /// Has everyone send until the time is over; returns the counted time, if it has begun.
    async fn send(&self, crew: &mut Crew, used: impl Fn() -> Used, signals: &mut Signals) -> Option<Counted> {
        let period = Duration::from_secs_f64(1.0 / self.workload.rate_hz);
        let counted_from = self.clock.mono() + Duration::from_millis(100) + self.warmup;
        let end = counted_from + Duration::from_secs(self.workload.seconds.into());
        let mut queue: BinaryHeap<Reverse<(Timestamp, usize)>> =
            crew.senders.iter().enumerate().map(|(index, sender)| Reverse((sender.due, index))).collect();
        let progress = progress(end.since(self.clock.mono()).as_secs(), "seconds of load");
        let mut timer = Timer::new(self.clock);
        let mut before = None;
        while let Some(&Reverse((due, _))) = queue.peek() {
            let due = due.min(if before.is_none() { counted_from } else { end });
            tokio::select! {
                () = std::future::poll_fn(|cx| timer.poll(Some(due), cx)) => {}
                () = signals.next() => break,
            }
            let now = self.clock.mono();
            if before.is_none() && now >= counted_from {
                self.bulk.iter().for_each(Bulk::count);
                before = Some((now, used()));
            }
            if now >= end || self.have_all_ended(crew.senders.len()) {
                break;
            }
            while let Some(&Reverse((due, index))) = queue.peek()
                && due <= now
            {
                queue.pop();
                let Some(sender) = crew.senders.get_mut(index) else { continue };
                sender.send(&self.clock, self.message, before.is_some(), &self.figures);
                sender.due += period;
                queue.push(Reverse((sender.due, index)));
            }
            progress.set_position(end.since(counted_from).as_secs().saturating_sub(end.since(now).as_secs()));
            // Even when late: what was sent leaves before more is sent.
            tokio::task::yield_now().await;
        }
        progress.finish_and_clear();
        self.bulk.iter().for_each(Bulk::finish);
        let delivered = self.figures.delivered.load(Ordering::Relaxed);
        let now = self.clock.mono();
        before.map(|(since, before)| Counted { before, after: used(), delivered, length: now.since(since) })
    }

    /// Returns true if none of the `clients` clients is connected any more.
    fn have_all_ended(&self, clients: usize) -> bool {
        let Figures { timeouts, ended, .. } = &*self.figures;
        timeouts.load(Ordering::Relaxed) + ended.load(Ordering::Relaxed) >= clients as u64
    }

    /// Waits until everything that was sent to the `clients` clients has arrived, or no more arrives.
    async fn settle(&self, clients: usize) {
        let must_arrive = self.message.delivery.is_reliable()
            && !matches!(self.message.delivery, Delivery::ReliableLatest { .. });
        let patience = if must_arrive { PATIENCE } else { SHORT_PATIENCE };
        let bulk = |figure: fn(&Bulk) -> u64| self.bulk.as_ref().map_or(0, figure);
        let (mut seen, mut since) = ((0, 0), self.clock.mono());
        loop {
            let delivered = self.figures.delivered.load(Ordering::Relaxed);
            let arrived = (delivered, bulk(Bulk::received));
            let now = self.clock.mono();
            if arrived != seen {
                (seen, since) = (arrived, now);
            }
            let expected = self.figures.expected.load(Ordering::Relaxed);
            let is_complete = delivered >= expected && bulk(Bulk::missing) == 0;
            if is_complete || now.since(since) >= patience || self.have_all_ended(clients) {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits for the receivers; returns how often a sender's last message did not reach a receiver that it
    /// must reach.
    async fn close(&self, crew: Crew) -> u64 {
        let Crew { senders, receivers, .. } = crew;
        let tallies = receivers.join_all().await;
        if !matches!(self.message.delivery, Delivery::ReliableLatest { .. }) {
            return 0;
        }
        let members = u32::from(self.workload.members);
        let missing = tallies.iter().map(|(index, tally)| {
            let Some(own) = senders.get(*index) else { return 0 };
            let peers = senders.iter().filter(|sender| sender.number / members == own.number / members);
            let heard = peers.filter(|sender| self.message.to == To::All || sender.number != own.number);
            heard.filter(|sender| tally.next_of(sender.number) != sender.sequence).count() as u64
        });
        missing.sum()
    }

    /// Ends the bulk transfer; returns its outcome.
    async fn close_bulk(&mut self, counted: Option<&Counted>) -> Option<BulkOutcome> {
        let bulk = self.bulk.take()?;
        let time = counted.map_or(Duration::ZERO, |counted| counted.length);
        let outcome = BulkOutcome { bytes: bulk.counted_bytes(), missing: bulk.missing(), time };
        bulk.close("the bench is over").await;
        Some(outcome)
    }

    fn outcome(&self, connect_failures: u64, latest_missing: u64, bulk: Option<BulkOutcome>) -> Outcome {
        let figure = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
        let times = |times: &Mutex<Latency>| std::mem::take(&mut *times.lock());
        Outcome {
            connect_failures,
            timeouts: figure(&self.figures.timeouts),
            errors: figure(&self.figures.errors) + figure(&self.figures.altered),
            altered: figure(&self.figures.altered),
            ended: figure(&self.figures.ended),
            unsent: figure(&self.figures.unsent),
            sent: figure(&self.figures.sent),
            expected: figure(&self.figures.expected),
            delivered: figure(&self.figures.delivered),
            refused: std::mem::take(&mut *self.figures.refused.lock()),
            order_violations: figure(&self.figures.order_violations),
            duplicates: figure(&self.figures.duplicates),
            latest_missing,
            bulk,
            latency: times(&self.figures.latency),
            latency_beside_bulk: self.workload.bulk.then(|| times(&self.figures.latency_beside_bulk)),
            recovery: self.workload.blackhole.map(|_| times(&self.figures.recovery)),
        }
    }
}

impl Counted {
    /// Returns its cost, given the usage after everything sent in it has arrived.
    fn cost(&self, settled: &Used) -> Cost {
        let micros = |time: Option<Duration>| time.and_then(|time| u64::try_from(time.as_micros()).ok());
        let Self { before, after, delivered, length } = self;
        Cost {
            counted_us: micros(Some(*length)).unwrap_or_default(),
            delivered_in_time: *delivered,
            server_busy_us: micros(after.server.cpu_since(before.server)),
            client_busy_us: micros(after.client.cpu_since(before.client)),
            client_waited_us: micros(after.client.waited_since(before.client)),
            server_cpu_us: micros(settled.server.cpu_since(before.server)),
            client_cpu_us: micros(settled.client.cpu_since(before.client)),
            traffic: settled.traffic.zip(before.traffic).map(|(after, before)| after.since(before)),
            server_rss_bytes: settled.server.rss_bytes,
        }
    }
}

fn used(stage: &Stage, clients: &[Client]) -> Used {
    let traffic = clients.iter().try_fold(Traffic::default(), |sum, client| {
        let stats = client.stats()?;
        Some(Traffic {
            datagrams_down: sum.datagrams_down + stats.packets_sent_by_peer,
            datagrams_arrived: sum.datagrams_arrived + stats.packets_received,
            bytes_arrived: sum.bytes_arrived + stats.bytes_received,
            datagrams_up: sum.datagrams_up + stats.packets_sent,
            bytes_up: sum.bytes_up + stats.bytes_sent,
        })
    });
    Used { server: stage.server_usage(), client: Usage::of(std::process::id()), traffic }
}

/// Returns the value, or prints what went wrong.
fn told<T>(result: Result<T, Failure>) -> Option<T> {
    result.map_err(note).ok()
}

fn user(session: u32, member: u16) -> Result<UserId, Failure> {
    user_named(format_args!("{session}-{member}"))
}

/// Creates a progress bar on standard error, if that is a terminal.
fn progress(length: u64, what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} {msg}");
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length).with_style(style).with_message(what)
}
