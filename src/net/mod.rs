//! The only sockets and the only clock.
//!
//! [`bind`] and [`bind_group`] make [`Socket`]s with sized kernel buffers. A sans-IO machine, anything that is
//! [`Driven`], runs on one: as a task by [`drive`], or on a thread of its own by a [`ThreadLoop`]. Each turn receives a
//! batch, gives it to the machine with one time of the [`Clock`] for all of it, sees to the wake and the timeout, and,
//! unless more waits to be read first, sends all that the machine wants to send, in batches.
//! On Linux a batch is one `recvmmsg` or `sendmmsg`, and datagrams of one size between the same two addresses
//! cross as one (GSO, GRO), each with its mark (ECN); elsewhere, or on request, one system call a datagram
//! ([`IoPath`]), and none is marked. Knows nothing of who is driven: a server's worker, a client.

#[cfg(target_os = "linux")]
mod alarm;
mod batch;
mod clock;
mod counters;
mod drive;
mod driven;
mod pace;
#[cfg(target_os = "linux")]
mod polling;
mod port;
mod socket;
mod sources;
#[cfg(target_os = "linux")]
mod sys;
#[cfg(test)]
mod tests;
mod thread;
mod timer;

pub use clock::Clock;
pub use counters::{Counters, Traffic};
pub use drive::drive;
pub use driven::Driven;
pub use socket::{
    BufferSizes, Group, IoPath, Socket, Steering, allow_many_sockets, bind, bind_group, link_datagram_bytes,
};
pub use thread::{ThreadLoop, Wake};
#[cfg(feature = "cli")]
pub(crate) use timer::Timer;
