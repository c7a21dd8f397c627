//! [`Counter`]: a count that other threads can read while it changes. [`Metric`]: a count as monitoring reads it.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that one thread at a time writes and any thread reads. Accesses are relaxed and order no other
/// memory.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Returns the current count.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Sets the count, for a quantity that is counted elsewhere.
    pub fn set(&self, count: u64) {
        self.0.store(count, Ordering::Relaxed);
    }

    /// Adds `more`.
    pub fn add(&self, more: u64) {
        // One writer, so no read-modify-write is needed.
        self.set(self.get().wrapping_add(more));
    }

    /// Adds a length.
    pub fn add_len(&self, more: usize) {
        self.add(u64::try_from(more).unwrap_or(u64::MAX));
    }
}

/// A count with its description for monitoring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// In lower case, with underscores.
    pub name: &'static str,
    /// How it changes.
    pub kind: MetricKind,
    /// What is counted.
    pub help: &'static str,
    /// The count.
    pub value: u64,
}

/// How a [`Metric`] changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// It only grows.
    Counter,
    /// It is what there is now.
    Gauge,
}
