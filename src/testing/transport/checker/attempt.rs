//! Whether the result of a call of `send` is legal.

use bytes::Bytes;

use super::side::State;
use crate::base::StreamId;
use crate::rudp::{SendError, Sent};
use crate::wire::Delivery;

/// One call of `send`.
pub(in crate::testing::transport) struct Attempt<'a> {
    pub(in crate::testing::transport) serial: u32,
    pub(in crate::testing::transport) stream: StreamId,
    pub(in crate::testing::transport) delivery: Delivery,
    pub(in crate::testing::transport) payload: &'a Bytes,
    /// Whether the stream is open, if the end knows it.
    pub(in crate::testing::transport) is_open: Option<bool>,
    /// The largest payload that fitted before the call, and the bytes queued then.
    pub(in crate::testing::transport) max_bytes: usize,
    pub(in crate::testing::transport) queued_bytes: usize,
}

impl Attempt<'_> {
    /// Returns what is wrong with the result at an end in `state`.
    pub(super) fn objection(&self, state: State, answer: Result<Sent, SendError>) -> Option<String> {
        let (bytes, max) = (self.payload.len(), self.max_bytes);
        let is_legal = match answer {
            _ if state != State::Open => answer == Err(SendError::Closed),
            Ok(_) => bytes <= max && (self.is_open != Some(false) || self.delivery == Delivery::Unreliable),
            Err(SendError::TooLarge { .. }) => bytes > max,
            Err(SendError::WouldBlock) => self.delivery.key().is_some() || self.delivery.is_reliable(),
            Err(SendError::UnknownStream(_)) => self.is_open != Some(true),
            Err(SendError::Closed) => false,
        };
        let blocks_idle = answer == Err(SendError::WouldBlock) && self.queued_bytes == 0;
        (!is_legal || blocks_idle).then(|| {
            let Self { stream, delivery, queued_bytes, .. } = self;
            format!(
                "{answer:?} to {bytes} bytes ({delivery:?} on {stream:?}, {queued_bytes} queued, {state:?})"
            )
        })
    }
}
