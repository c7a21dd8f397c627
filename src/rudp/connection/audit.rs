//! Access to a connection for tests and fuzzers, beyond its API.

use super::Connection;
use super::stream::ReceiveStream;

#[doc(hidden)]
impl Connection {
    /// Panics unless every counter matches what it counts, nothing is forgotten, and a timer runs.
    pub fn audit(&self) {
        self.sent.audit();
        if !self.is_closed() {
            self.outbox.audit(&self.sent.frames_in_flight().copied().collect::<Vec<_>>());
            assert!(self.poll_timeout().is_some(), "an open connection has a timer");
        }
        let held: usize = self.receive_streams.values().map(ReceiveStream::audit).sum();
        assert_eq!(self.receive_buffer.held(), held);
    }

    /// Renews the keys after `packets` packets instead of millions.
    pub fn renew_keys_after(&mut self, packets: u64) {
        self.keys.renew_after(packets);
    }

    /// As if `failed` packets had not opened.
    pub fn fail_opens(&mut self, failed: u64) {
        self.keys.fail(failed);
    }

    /// As if `sealed` packets had left with the present keys.
    pub fn wear_keys(&mut self, sealed: u64) {
        self.keys.wear(sealed);
    }
}
