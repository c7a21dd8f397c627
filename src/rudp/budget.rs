//! [`ReceiveBudget`]: what all connections of a process together keep of unfinished messages.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of incomplete and out-of-order messages in one process; cheap to clone and share.
///
/// Overflow rule: a packet that would need more is dropped unacked, so its sender resends it later.
/// Connections on other threads may pass the limit by a packet's worth each. Spec: REL-14.
#[derive(Clone, Debug)]
pub struct ReceiveBudget {
    held: Arc<AtomicUsize>,
    max: usize,
}

impl ReceiveBudget {
    /// A budget of `max` bytes.
    pub fn new(max: usize) -> Self {
        Self { held: Arc::default(), max }
    }

    /// Bytes held by all connections.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// True when `bytes` more fit.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.held().saturating_add(bytes) <= self.max
    }

    pub(super) fn charge(&self, bytes: usize) {
        self.held.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn release(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Default for ReceiveBudget {
    /// 1 GiB.
    fn default() -> Self {
        Self::new(1 << 30)
    }
}
