//! Recounts the outbox's totals for tests and fuzzing.

use super::Outbox;
use crate::rudp::connection::sent::SentFrame;
use crate::rudp::connection::stream::{Buffered, FragmentId};
use crate::wire::frame::MESSAGE_OVERHEAD_BYTES;

impl Outbox {
    /// Recounts everything and compares; `under_way` are the frames in flight.
    pub fn audit(&self, under_way: &[SentFrame]) {
        let queued = |name| self.lanes.count(name);
        let flying = |name, fragment: Option<FragmentId>| match fragment {
            Some(fragment) => {
                under_way.iter().filter(|frame| **frame == SentFrame::Fragment(name, fragment)).count()
            }
            None => under_way.iter().flat_map(SentFrame::messages).filter(|message| *message == name).count(),
        };
        let (mut reliable, mut unreliable, mut window_used) = (Buffered::default(), Buffered::default(), 0);
        for stream in self.streams.values() {
            window_used += stream.audit(&queued, &flying, &mut reliable, &mut unreliable);
            assert!(!stream.is_done(), "a stream that is done is kept");
        }
        let (bytes, messages) = self.lanes.unreliable();
        unreliable.bytes += bytes + messages * MESSAGE_OVERHEAD_BYTES;
        unreliable.messages += messages;
        assert_eq!((reliable, unreliable, window_used), (self.reliable, self.unreliable, self.window_used));
        assert!(self.reliable.bytes <= self.max_reliable_bytes && self.window_used <= self.window);
        assert_eq!(self.share.held(), self.queued_bytes());
    }
}
