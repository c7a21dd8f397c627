//! Memory asked for before it is needed: see [`prefetch`](crate::base::prefetch()). The connection
//! itself comes first, then what it points to.

use super::Connection;
use crate::base::{StreamId, prefetch};

impl Connection {
    /// Asks for the connection.
    pub fn prefetch(&self) {
        prefetch(self);
    }

    /// Asks for the part of it that [`Self::send`] needs.
    pub fn prefetch_sender(&self) {
        prefetch(&self.state);
        prefetch(&self.outbox);
        prefetch(&self.timers);
    }

    /// Asks for what [`Self::send`] on `stream` needs besides.
    pub fn prefetch_to_send(&self, stream: StreamId) {
        self.outbox.prefetch_to_push(stream);
    }

    /// Asks for what [`Self::poll_transmit`] needs besides.
    pub fn prefetch_to_transmit(&self) {
        self.outbox.prefetch_to_send();
        self.sent.prefetch_to_send();
        self.keys.prefetch_to_seal();
        self.repair_encoder.prefetch();
    }

    /// Asks for what [`Self::handle_packet`] needs besides.
    pub fn prefetch_to_receive(&self) {
        self.keys.prefetch_to_open();
        self.replay.prefetch();
        self.sent.prefetch_to_ack();
        self.outbox.prefetch_streams();
        self.repair_encoder.prefetch();
        self.receive_streams.values().for_each(prefetch);
    }
}
