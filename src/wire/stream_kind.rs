//! [`StreamKind`]: which commands and events a stream carries.

use crate::base::StreamId;

/// The two kinds of streams. Each has commands and events of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StreamKind {
    /// Stream 0: commands outside a session, and the events of a user.
    Control,
    /// The stream of a slot: commands in a session, and its events.
    Slot,
}

impl StreamKind {
    /// Returns the kind of `stream`.
    pub fn of(stream: StreamId) -> Self {
        if stream == StreamId::CONTROL { Self::Control } else { Self::Slot }
    }
}
