//! What a socket has done, for the operator: relaxed counters, read while the loop runs.

use crate::base::Counter;

/// Declares the counters of a socket and their sum.
macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident;)+) => {
        /// Totals of one [`Socket`](super::Socket) since it was bound.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[doc = $doc])+ pub $name: Counter,)+
        }

        /// What some sockets have carried, added up at about one moment.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct Traffic {
            $($(#[doc = $doc])+ pub $name: u64,)+
        }

        impl Traffic {
            /// Adds up what `sockets` count.
            pub fn of<'a>(sockets: impl IntoIterator<Item = &'a Counters>) -> Self {
                sockets.into_iter().fold(Self::default(), |sum, socket| Self {
                    $($name: sum.$name + socket.$name.get(),)+
                })
            }

            /// Names and values, for people and logs.
            pub fn rows(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)+]
            }
        }
    };
}

counters! {
    /// Datagrams received and handed up.
    datagrams_in;
    /// Their bytes, without UDP and IP headers.
    bytes_in;
    /// Batches that they came in.
    batches_in;
    /// Datagrams that the kernel took.
    datagrams_out;
    /// Their bytes, without UDP and IP headers.
    bytes_out;
    /// Batches that they left in.
    batches_out;
    /// Received datagrams dropped for being longer than
    /// [`MAX_DATAGRAM_BYTES`](crate::net::Socket::MAX_DATAGRAM_BYTES).
    oversized;
    /// Errors on receiving that say nothing about the socket, such as a port unreachable.
    receive_errors;
    /// Datagrams dropped because the system refused to send them: no route, no buffers, a firewall,
    /// longer than the interface's MTU. To the protocol each is a loss, but for the last: only probes of the path's size
    /// are that long (MTU-2).
    send_errors;
    /// Datagrams to senders that had proved nothing, dropped because too much waited in the socket's buffer.
    answers_dropped;
    /// Times that sending had to wait for room in the socket's buffer.
    send_blocked;
}
