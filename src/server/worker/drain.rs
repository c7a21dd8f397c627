//! The end of the server: every client is told, then the worker is done.

use super::Worker;
use crate::base::Timestamp;
use crate::wire::CloseCode;

impl Worker {
    /// Begins to drain when the server does. Sessions end with the process, so nobody is told of
    /// members that leave: each connection's own end says it all.
    // spec: CON-8
    pub(super) fn start_drain(&mut self, now: Timestamp) {
        if self.draining || self.shared.drain_until().is_none() {
            return;
        }
        self.draining = true;
        self.clients.endpoint.set_draining(true);
        for connection in self.clients.connections() {
            self.clients.remove(connection);
            self.clients.close(now, connection, CloseCode::ShuttingDown);
        }
    }

    /// When the drain ends at the latest.
    pub(super) fn drain_deadline(&self) -> Option<Timestamp> {
        self.shared.drain_until().filter(|_| self.draining)
    }

    /// True when every client knows, or there is no time left to tell.
    pub(super) fn is_drained(&self) -> bool {
        // What arrives for those that have moved still comes here.
        let connections = self.clients.endpoint.connection_count() + self.clients.endpoint.moved_count();
        let all_told = self.draining && connections == 0;
        all_told || self.drain_deadline().is_some_and(|until| until <= self.now)
    }
}
