//! Datagrams that a link has let through, until their time to leave a socket.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use bytes::{Bytes, BytesMut};

use crate::base::{Envelope, Timestamp};

/// Datagrams that wait for their time to leave one socket, each with its receiver.
#[derive(Debug, Default)]
pub(super) struct Departures {
    waiting: BinaryHeap<Reverse<Departure>>,
    /// Order number of the next datagram to arrive: datagrams due at the same time leave in order of arrival.
    order: u64,
    /// Datagrams dropped for lack of room.
    dropped: u64,
}

/// Maximum number of datagrams that wait at one socket; more are dropped, as by a full router.
const MAX_WAITING: usize = 65_536;

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Departure {
    at: Timestamp,
    order: u64,
    to: Envelope,
    datagram: Bytes,
}

impl Departures {
    /// Adds a datagram, or drops and counts it if too many are waiting.
    pub(super) fn push(&mut self, at: Timestamp, to: Envelope, datagram: Bytes) {
        if self.waiting.len() >= MAX_WAITING {
            self.dropped += 1;
            return;
        }
        self.waiting.push(Reverse(Departure { at, order: self.order, to, datagram }));
        self.order += 1;
    }

    /// Returns the number of datagrams dropped for lack of room.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Returns the number of datagrams that are not due yet.
    pub(super) fn waiting(&self) -> u64 {
        self.waiting.len() as u64
    }

    /// Takes the next datagram that is due.
    pub(super) fn pop(&mut self, now: Timestamp, out: &mut BytesMut) -> Option<Envelope> {
        if self.next_at()? > now {
            return None;
        }
        let Reverse(departure) = self.waiting.pop()?;
        out.extend_from_slice(&departure.datagram);
        Some(departure.to)
    }

    /// Returns when the next datagram leaves.
    pub(super) fn next_at(&self) -> Option<Timestamp> {
        self.waiting.peek().map(|Reverse(departure)| departure.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_leave_at_their_time_and_in_order() {
        let to = Envelope::from(([127, 0, 0, 1], 9));
        let mut departures = Departures::default();
        for (at, text) in [(5, "c"), (3, "a"), (3, "b")] {
            departures.push(Timestamp::from_millis(at), to, Bytes::from_static(text.as_bytes()));
        }
        assert_eq!(departures.next_at(), Some(Timestamp::from_millis(3)));
        let mut out = BytesMut::new();
        assert_eq!(departures.pop(Timestamp::from_millis(2), &mut out), None);
        while departures.pop(Timestamp::from_millis(4), &mut out).is_some() {}
        assert_eq!(&out[..], b"ab");
        assert_eq!(departures.pop(Timestamp::from_millis(5), &mut out), Some(to));
    }
}
