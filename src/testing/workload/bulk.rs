//! [`Bulk`]: large messages to one member, each answered, so that a few are always in flight.

use bytes::Bytes;

use crate::base::{Slot, Timestamp};
use crate::client::core::Core;
use crate::wire::Delivery;
use crate::wire::command::To;

/// One end of a bulk transfer: its sender or its receiver.
#[derive(Debug, Default)]
pub(super) struct Bulk {
    sends: bool,
}

/// Size of a large message in bytes.
const MESSAGE_BYTES: usize = 64 << 10;
/// Maximum number of unanswered large messages; their total is below the server's limit for lagging.
const UNANSWERED: usize = 3;

impl Bulk {
    /// Whether this is the sender, once it has started.
    pub(super) fn is_sender(&self) -> bool {
        self.sends
    }

    /// Begins to send in a session.
    pub(super) fn start(&mut self, now: Timestamp, slot: Slot, core: &mut Core) {
        self.sends = true;
        for _ in 0..UNANSWERED {
            say(now, slot, Bytes::from(vec![0; MESSAGE_BYTES]), core);
        }
    }

    /// Handles a large message or the answer to one, and sends what follows. Returns the large message's
    /// bytes.
    pub(super) fn hear(&mut self, now: Timestamp, slot: Slot, payload: &Bytes, core: &mut Core) -> u64 {
        let next = if self.sends { MESSAGE_BYTES } else { 1 };
        say(now, slot, Bytes::from(vec![0; next]), core);
        if self.sends { 0 } else { payload.len() as u64 }
    }
}

fn say(now: Timestamp, slot: Slot, payload: Bytes, core: &mut Core) {
    core.broadcast(now, slot, To::Others, Delivery::ReliableUnordered, payload)
        .expect("invariant: few messages are under way");
}
