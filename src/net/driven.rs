//! The port that `net` drives: a machine of inputs, outputs and one deadline.

use bytes::BytesMut;

use crate::base::{Envelope, Now, Timestamp};

/// A sans-IO machine on one socket. [`drive`](super::drive) calls it from one task, one call at a time.
///
/// In each turn of the loop: the `handle_*` that apply, all with the same `now`. Then, unless more datagrams wait,
/// [`Driven::poll_transmit`] until it has nothing more, or many batches have been sent, and
/// [`Driven::poll_timeout`]. While more wait, further turns come first, for 16 ms at most: for so long a machine
/// keeps what it has to send. Whatever a machine hands up to its own user it does inside of these calls.
pub trait Driven {
    /// Takes datagrams in the order in which they arrived, each with its sender and its mark.
    ///
    /// What is left in `batch` when the call returns is dropped.
    fn handle_datagrams(&mut self, now: Now, batch: &mut dyn Iterator<Item = (Envelope, BytesMut)>);

    /// Another task has notified: mail or commands may be waiting.
    fn handle_wake(&mut self, now: Now);

    /// The deadline of [`Driven::poll_timeout`] has come. It may come late, never early.
    fn handle_timeout(&mut self, now: Now);

    /// Appends one datagram to the empty `out` and names its receiver and its mark; `None` when there is
    /// nothing to send now.
    fn poll_transmit(&mut self, now: Now, out: &mut BytesMut) -> Option<Envelope>;

    /// True while datagrams wait for senders that have proved nothing. None of them may cost others their room: with
    /// little of it left [`Driven::drop_answers`] is called.
    fn has_answers(&self) -> bool {
        false
    }

    /// Drops the datagrams that wait for senders that have proved nothing; how many.
    fn drop_answers(&mut self) -> usize {
        0
    }

    /// When [`Driven::handle_timeout`] is wanted next; `None` for not at all.
    fn poll_timeout(&self) -> Option<Timestamp>;

    /// False while the machine has no room for what datagrams may bring: the loop then leaves them in
    /// the socket, whose buffer drops the excess, until a wake after which this is true again.
    fn wants_datagrams(&self) -> bool {
        true
    }

    /// True when the machine is done: what it still wanted to send is sent, then the loop ends.
    fn is_finished(&self) -> bool;
}
