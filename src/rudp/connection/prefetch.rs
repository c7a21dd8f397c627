//! Prefetching of memory before it is needed: see [`prefetch`](crate::base::prefetch()). The connection
//! itself comes first, then what it points to.

use super::Connection;
use crate::base::{StreamId, prefetch};

impl Connection {
    /// Prefetches the connection itself.
    pub fn prefetch(&self) {
        prefetch(self);
    }

    /// Prefetches the fields that [`Self::send`] needs.
    pub fn prefetch_sender(&self) {
        prefetch(&self.state);
        prefetch(&self.outbox);
        prefetch(&self.timers);
    }

    /// Prefetches what [`Self::send`] on `stream` needs in addition.
    pub fn prefetch_to_send(&self, stream: StreamId) {
        self.outbox.prefetch_to_push(stream);
    }

    /// Prefetches what [`Self::poll_transmit`] needs in addition.
    pub fn prefetch_to_transmit(&self) {
        self.outbox.prefetch_to_send();
        self.sent.prefetch_to_send();
        self.keys.prefetch_to_seal();
        self.repair_encoder.prefetch();
    }

    /// Prefetches what [`Self::handle_packet`] needs in addition.
    pub fn prefetch_to_receive(&self) {
        self.keys.prefetch_to_open();
        self.replay.prefetch();
        self.sent.prefetch_to_ack();
        self.outbox.prefetch_streams();
        self.repair_encoder.prefetch();
        self.receive_streams.values().for_each(prefetch);
    }
}
