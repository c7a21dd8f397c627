//! [`Inbox`]: counts what arrives at the clients.

use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::message::{Kind, Stamp};
use crate::sys;

/// Counts what arrives at the clients; clones are the same one.
#[derive(Clone)]
pub struct Inbox {
    counts: Arc<Mutex<Counts>>,
}

struct Counts {
    joined: Vec<bool>,
    missing: usize,
    arrivals: u64,
    arrivals_at: Vec<u64>,
    delivered: u64,
    latency: Histogram<u64>,
    troubles: u64,
    first_trouble: Option<String>,
}

/// The longest latency that is told apart, 100 s.
const LONGEST_NANOS: u64 = 100_000_000_000;

impl Inbox {
    /// For so many clients, of which none has joined.
    ///
    /// # Errors
    /// None that is expected.
    pub fn new(clients: usize) -> Result<Self> {
        let latency = histogram()?;
        let joined = vec![false; clients];
        let counts = Counts {
            joined,
            missing: clients,
            arrivals: 0,
            arrivals_at: vec![0; clients],
            delivered: 0,
            latency,
            troubles: 0,
            first_trouble: None,
        };
        Ok(Self { counts: Arc::new(Mutex::new(counts)) })
    }

    /// Takes a message that has arrived now at `client`.
    pub fn take(&self, client: usize, body: &[u8]) {
        let now = sys::nanos();
        let mut counts = self.lock();
        match Stamp::read(body) {
            Ok(Stamp { kind: Kind::Join(_), .. }) => counts.join(client),
            Ok(Stamp { kind: Kind::Early, .. }) => counts.arrive(client),
            Ok(Stamp { kind: Kind::Counted, sent_nanos, .. }) => {
                counts.arrive(client);
                counts.delivered += 1;
                let latency = now.saturating_sub(sent_nanos);
                counts.latency.saturating_record(latency);
            }
            Err(error) => counts.note(&error),
        }
    }

    /// Notes that something went wrong at a client.
    pub fn trouble(&self, what: &dyn Display) {
        self.lock().note(what);
    }

    /// Notes that a client is in its group.
    pub fn join(&self, client: usize) {
        self.lock().join(client);
    }

    /// True when this client is in its group.
    pub fn has_joined(&self, client: usize) -> bool {
        self.lock().joined.get(client).copied().unwrap_or(false)
    }

    /// Clients that are in no group yet.
    pub fn missing(&self) -> usize {
        self.lock().missing
    }

    /// Messages that have arrived, counted ones and others.
    pub fn arrivals(&self) -> u64 {
        self.lock().arrivals
    }

    /// Of these, those that have arrived at this client.
    pub fn arrivals_at(&self, client: usize) -> u64 {
        self.lock().arrivals_at.get(client).copied().unwrap_or(0)
    }

    /// Counted messages that have arrived.
    pub fn delivered(&self) -> u64 {
        self.lock().delivered
    }

    /// What it has counted, as the parent reads it.
    pub fn report(&self) -> Value {
        let counts = self.lock();
        json!({
            "delivered": counts.delivered,
            "troubles": counts.troubles,
            "first_trouble": counts.first_trouble,
            "latency": micros(&counts.latency),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn arrive(&mut self, client: usize) {
        self.arrivals += 1;
        if let Some(arrivals) = self.arrivals_at.get_mut(client) {
            *arrivals += 1;
        }
    }

    fn join(&mut self, client: usize) {
        if let Some(joined) = self.joined.get_mut(client).filter(|joined| !**joined) {
            *joined = true;
            self.missing -= 1;
        }
    }

    fn note(&mut self, what: &dyn Display) {
        self.troubles += 1;
        self.first_trouble.get_or_insert_with(|| what.to_string());
    }
}

/// An empty histogram of nanoseconds, three digits exact.
///
/// # Errors
/// None that is expected.
pub fn histogram() -> Result<Histogram<u64>> {
    Histogram::new_with_bounds(1, LONGEST_NANOS, 3).map_err(Error::while_doing("making a histogram"))
}

/// What is told of times, in microseconds; nothing of none.
pub fn micros(times: &Histogram<u64>) -> Value {
    if times.is_empty() {
        return Value::Null;
    }
    let at = |quantile| times.value_at_quantile(quantile) as f64 / 1_000.0;
    json!({ "p50": at(0.5), "p99": at(0.99), "p999": at(0.999), "max": times.max() as f64 / 1_000.0 })
}
