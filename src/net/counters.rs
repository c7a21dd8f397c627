//! The counters of a socket, for the operator: relaxed, and readable while the loop runs.

use std::io;
use std::sync::atomic::{AtomicI32, Ordering};

use crate::base::{Counter, Metric, MetricKind};

/// Declares the counters of a socket and their sum.
macro_rules! counters {
    ($($name:ident: $help:literal;)+) => {
        /// Totals of one [`Socket`](super::Socket) since it was bound.
        #[derive(Debug, Default)]
        pub struct Counters {
            $(#[doc = $help] pub $name: Counter,)+
            /// The system's error number for the last datagram that it refused to send; 0 before.
            last_send_error: AtomicI32,
        }

        /// The traffic of several sockets, added up at approximately one moment.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct Traffic {
            $(#[doc = $help] pub $name: u64,)+
        }

        impl Traffic {
            /// Adds up the counters of `sockets`.
            pub fn of<'a>(sockets: impl IntoIterator<Item = &'a Counters>) -> Self {
                sockets.into_iter().fold(Self::default(), |sum, socket| Self {
                    $($name: sum.$name + socket.$name.get(),)+
                })
            }

            /// All of it.
            pub fn metrics(&self) -> Vec<Metric> {
                let metric = |name, help, value| Metric { name, kind: MetricKind::Counter, help, value };
                vec![$(metric(stringify!($name), $help, self.$name),)+]
            }
        }
    };
}

impl Counters {
    /// Counts a datagram that the system refused to send, `too_long` for the interface or for another reason.
    pub(super) fn count_send_error(&self, error: &io::Error, too_long: bool) {
        let count = if too_long { &self.too_long_to_send } else { &self.send_errors };
        count.add(1);
        self.last_send_error.store(error.raw_os_error().unwrap_or(0), Ordering::Relaxed);
    }

    /// Returns why the system refused to send a datagram, for the last that it refused.
    pub fn last_send_error(&self) -> Option<io::Error> {
        let number = self.last_send_error.load(Ordering::Relaxed);
        (number != 0).then(|| io::Error::from_raw_os_error(number))
    }
}

counters! {
    datagrams_in: "Datagrams received and handed up.";
    bytes_in: "Bytes of datagrams received and handed up, without UDP and IP headers.";
    batches_in: "Batches that datagrams were received in.";
    datagrams_out: "Datagrams that the kernel took.";
    bytes_out: "Bytes of datagrams that the kernel took, without UDP and IP headers.";
    batches_out: "Batches that datagrams were sent in.";
    oversized: "Received datagrams dropped for being longer than `MAX_DATAGRAM_BYTES`.";
    receive_errors: "Errors on receiving that say nothing about the socket, such as a port unreachable.";
    send_errors:
        "Datagrams dropped because the system refused to send them: no route, no buffers, a firewall. To the \
         protocol each is a loss.";
    too_long_to_send:
        "Datagrams dropped because the interface's MTU is less. Only probes of a path's size are that long \
         (MTU-2).";
    answers_dropped:
        "Datagrams to senders that had proved nothing, dropped because too much waited in the socket's \
         buffer.";
    send_blocked: "Times that sending had to wait for room in the socket's buffer.";
}
