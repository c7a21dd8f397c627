//! Counters that tests, operators and the command line read while the server runs.
//!
//! Each worker counts for itself, without locks; [`Totals`] adds them up.

use crate::base::Counter;
use crate::rudp::DropReason;

/// Declares the counters of a worker and their sum.
macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident;)+) => {
        /// What one worker counts. Written by the worker only.
        #[derive(Debug, Default)]
        #[repr(align(128))]
        pub struct WorkerCounters {
            $($(#[doc = $doc])+ pub $name: Counter,)+
            /// Datagrams dropped, in the order of [`DropReason::ALL`].
            pub dropped: [Counter; DropReason::ALL.len()],
        }

        /// The counters of all workers, added up at about one moment.
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        pub struct Totals {
            /// Sessions now.
            pub sessions: u64,
            $($(#[doc = $doc])+ pub $name: u64,)+
            /// Datagrams dropped, or the handshakes in them, in the order of [`DropReason::ALL`].
            pub dropped: [u64; DropReason::ALL.len()],
        }

        impl Totals {
            /// Adds up the counters of `workers`.
            pub fn of<'a>(sessions: u64, workers: impl IntoIterator<Item = &'a WorkerCounters>) -> Self {
                let mut sum = Self { sessions, ..Self::default() };
                for worker in workers {
                    $(sum.$name += worker.$name.get();)+
                    for (sum, count) in sum.dropped.iter_mut().zip(&worker.dropped) {
                        *sum += count.get();
                    }
                }
                sum
            }

            /// Names and values, for people and logs.
            pub fn rows(&self) -> Vec<(&'static str, u64)> {
                vec![("sessions", self.sessions), $((stringify!($name), self.$name),)+]
            }

            /// What was dropped, by reason.
            pub fn dropped_by_reason(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
                DropReason::ALL.iter().copied().zip(self.dropped)
            }
        }
    };
}

counters! {
    /// Connections now.
    connections;
    /// Handshakes now that are answered, and that no client has confirmed yet.
    connections_half_open;
    /// Connections now that have ended, and tell their client so.
    connections_closing;
    /// Connections that ever opened.
    connections_opened;
    /// Connections that went on at the worker of a session's other members.
    connections_moved;
    /// Connections closed because their user connected again.
    connections_replaced;
    /// Connections closed by the operator: [`Server::kick`](super::Server::kick), or `admit` once they had opened.
    connections_kicked;
    /// Connections that their client has closed.
    connections_left;
    /// Connections whose client fell silent, or took nothing of what it was sent.
    connections_timed_out;
    /// Connections closed because they did not take their messages fast enough.
    connections_lagging;
    /// Connections closed because their client broke the protocol.
    protocol_violations;
    /// Connections closed because their keys may be used no further: too many packets did not open, or too many left.
    connections_at_key_limit;
    /// Handshakes rejected because as many users were connected as may be, or by [`Builder::admit`](super::Builder::admit).
    /// What else was rejected is in [`Totals::dropped_by_reason`].
    handshakes_refused;
    /// Commands taken.
    commands;
    /// Commands refused, with any code.
    commands_refused;
    /// Messages of members queued for members.
    deliveries;
    /// Mail taken from this server's workers.
    mails;
    /// Datagrams passed on to the worker that owns their connection.
    datagrams_forwarded;
    /// Datagrams that could not be passed on: that worker was behind, or the connection had ended.
    datagrams_not_forwarded;
    /// Bytes of datagrams that prove nothing: all but sealed packets that were not dropped.
    unproven_bytes_in;
    /// Bytes of clear packets sent, nearly all of them to addresses that have proved nothing.
    unproven_bytes_out;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_add_up_the_workers() {
        let workers = [WorkerCounters::default(), WorkerCounters::default()];
        workers[0].commands.add(3);
        workers[1].commands.add(4);
        workers[1].connections.set(1);
        let totals = Totals::of(5, &workers);
        assert_eq!((totals.sessions, totals.commands, totals.connections), (5, 7, 1));
        assert!(totals.rows().contains(&("commands", 7)));
    }
}
