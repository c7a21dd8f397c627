//! [`Traffic`]: what a server's sockets have carried.

use std::ops::Add;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

/// What a server's sockets have carried, UDP payload; kept by the server's thread, read by another.
#[derive(Debug, Default)]
pub struct Traffic {
    datagrams: AtomicU64,
    bytes: AtomicU64,
}

/// Datagrams, both ways together, and their bytes.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Datagrams.
    pub datagrams: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { datagrams: self.datagrams + other.datagrams, bytes: self.bytes + other.bytes }
    }
}

impl Traffic {
    /// One that is shared.
    pub fn shared() -> Arc<Self> {
        Arc::default()
    }

    /// Adds datagrams, one way or the other.
    pub fn add(&self, datagrams: u64, bytes: u64) {
        self.datagrams.fetch_add(datagrams, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// What it has counted.
    pub fn counts(&self) -> Counts {
        Counts {
            datagrams: self.datagrams.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }
}
