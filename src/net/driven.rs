//! The interface that `net` drives: a machine with inputs, outputs and one deadline.

use bytes::BytesMut;

use crate::base::{Envelope, Now, Timestamp};

/// A sans-IO machine on one socket. [`drive`](super::drive) calls it from one task, one call at a time.
///
/// Each turn of the loop calls [`Driven::handle_datagrams`] and [`Driven::handle_wake`] if they apply. Then,
/// unless more datagrams wait, it calls [`Driven::handle_timeout`] if it is due, [`Driven::poll_transmit`]
/// until nothing is left or many batches have been sent, and [`Driven::poll_timeout`], all with the same
/// `now`. While more datagrams wait, further turns come first, for at most 16 ms, during which a machine
/// keeps what it has to send. A machine passes data to its own user inside these calls.
pub trait Driven {
    /// Processes datagrams in order of arrival, each with its sender and its mark.
    ///
    /// Datagrams left in `batch` when the call returns are dropped.
    fn handle_datagrams(&mut self, now: Now, batch: &mut dyn Iterator<Item = (Envelope, BytesMut)>);

    /// Handles a notification from another task: mail or commands may be waiting.
    fn handle_wake(&mut self, now: Now);

    /// Handles the deadline of [`Driven::poll_timeout`]. The call may come late, never early.
    fn handle_timeout(&mut self, now: Now);

    /// Appends one datagram to the empty `out` and returns its receiver and mark; `None` if there is nothing
    /// to send now.
    fn poll_transmit(&mut self, now: Now, out: &mut BytesMut) -> Option<Envelope>;

    /// Returns true while datagrams wait for senders that have proved nothing. None of these datagrams may
    /// take room from others; when little room is left, [`Driven::drop_answers`] is called.
    fn has_answers(&self) -> bool {
        false
    }

    /// Drops the datagrams that wait for senders that have proved nothing; returns their number.
    fn drop_answers(&mut self) -> usize {
        0
    }

    /// Returns the time of the next call to [`Driven::handle_timeout`]; `None` if none is needed.
    fn poll_timeout(&self) -> Option<Timestamp>;

    /// Returns false while the machine has no room for what datagrams may bring. The loop then leaves them in
    /// the socket, whose buffer drops the excess, until a wake after which this is true again.
    fn wants_datagrams(&self) -> bool {
        true
    }

    /// Returns true when the machine is done. What it still wants to send is sent, then the loop ends.
    fn is_finished(&self) -> bool;
}
