//! [`Traffic`]: the traffic of a server's sockets.

use std::ops::Add;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

/// The traffic of a server's sockets in UDP payload, updated by the server's thread and read by another.
#[derive(Debug, Default)]
pub struct Traffic {
    datagrams: AtomicU64,
    bytes: AtomicU64,
}

/// Datagrams and their bytes, both directions together.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Number of datagrams.
    pub datagrams: u64,
    /// Number of bytes.
    pub bytes: u64,
}

impl Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { datagrams: self.datagrams + other.datagrams, bytes: self.bytes + other.bytes }
    }
}

impl Traffic {
    /// Returns new, shared counters.
    pub fn shared() -> Arc<Self> {
        Arc::default()
    }

    /// Adds datagrams of either direction.
    pub fn add(&self, datagrams: u64, bytes: u64) {
        self.datagrams.fetch_add(datagrams, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Returns the current counts.
    pub fn counts(&self) -> Counts {
        Counts {
            datagrams: self.datagrams.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }
}
