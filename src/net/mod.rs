//! The only sockets and the only clock.
//!
//! [`bind`] and [`bind_group`] make [`Socket`]s with sized kernel buffers. A sans-IO machine, which is
//! anything that implements [`Driven`], runs on one: as a task with [`drive`], or on a thread of its own with
//! a [`ThreadLoop`]. Each turn receives a batch, passes it to the machine with a single [`Clock`] time for
//! all of it, handles the wake and the timeout, and, unless more datagrams wait to be read first, sends
//! everything that the machine wants to send, in batches.
//!
//! On Linux a batch is one `recvmmsg` or `sendmmsg`, and datagrams of equal length between the same two
//! addresses cross as one (GSO, GRO), each with its mark (ECN). Elsewhere, or on request, each datagram takes
//! one system call ([`IoPath`]) and none is marked. The module does not depend on what it drives, a server's
//! worker or a client.

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
