//! [`Inbox`]: counts the messages that arrive at the clients.

use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::message::{Kind, Stamp};
use crate::sys;

/// Counts the messages that arrive at the clients; clones share their counts.
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

/// The longest latency that the histogram distinguishes, 100 s.
const LONGEST_NANOS: u64 = 100_000_000_000;

impl Inbox {
    /// Returns an inbox for `clients` clients, none of which has joined.
    ///
    /// # Errors
    /// None is expected.
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

    /// Takes a message that has just arrived at `client`.
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

    /// Records that something went wrong at a client.
    pub fn trouble(&self, what: &dyn Display) {
        self.lock().note(what);
    }

    /// Records that a client is in its group.
    pub fn join(&self, client: usize) {
        self.lock().join(client);
    }

    /// Returns true if this client is in its group.
    pub fn has_joined(&self, client: usize) -> bool {
        self.lock().joined.get(client).copied().unwrap_or(false)
    }

    /// Returns the number of clients that are in no group yet.
    pub fn missing(&self) -> usize {
        self.lock().missing
    }

    /// Returns the number of messages that have arrived, counted or not.
    pub fn arrivals(&self) -> u64 {
        self.lock().arrivals
    }

    /// Returns how many of these have arrived at this client.
    pub fn arrivals_at(&self, client: usize) -> u64 {
        self.lock().arrivals_at.get(client).copied().unwrap_or(0)
    }

    /// Returns the number of counted messages that have arrived.
    pub fn delivered(&self) -> u64 {
        self.lock().delivered
    }

    /// Returns the counts in the form that the parent reads.
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

/// Returns an empty histogram of nanoseconds, exact to three digits.
///
/// # Errors
/// None is expected.
pub fn histogram() -> Result<Histogram<u64>> {
    Histogram::new_with_bounds(1, LONGEST_NANOS, 3).map_err(Error::while_doing("making a histogram"))
}

/// Returns the reported quantiles of times, in microseconds; null if there are none.
pub fn micros(times: &Histogram<u64>) -> Value {
    if times.is_empty() {
        return Value::Null;
    }
    let at = |quantile| times.value_at_quantile(quantile) as f64 / 1_000.0;
    json!({ "p50": at(0.5), "p99": at(0.99), "p999": at(0.999), "max": times.max() as f64 / 1_000.0 })
}
