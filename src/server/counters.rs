//! Counters that tests, operators and the command line read while the server runs.
//!
//! Each worker counts for itself, without locks; [`Totals`] adds them up.

use crate::base::{Counter, Metric, MetricKind};
use crate::rudp::DropReason;

/// Declares the counters of a worker and their sum.
macro_rules! counters {
    ($($kind:ident $name:ident: $help:literal;)+) => {
        /// What one worker counts. Written by the worker only.
        #[derive(Debug, Default)]
        #[repr(align(128))]
        pub struct WorkerCounters {
            $(#[doc = $help] pub $name: Counter,)+
            /// Datagrams dropped, in the order of [`DropReason::ALL`].
            pub dropped: [Counter; DropReason::ALL.len()],
        }

        /// The counters of all workers, added up at about one moment.
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        pub struct Totals {
            /// Sessions now.
            pub sessions: u64,
            $(#[doc = $help] pub $name: u64,)+
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

            /// All but what was dropped.
            pub fn metrics(&self) -> Vec<Metric> {
                let metric = |name, kind, help, value| Metric { name, kind, help, value };
                vec![
                    metric("sessions", MetricKind::Gauge, "Sessions now.", self.sessions),
                    $(metric(stringify!($name), MetricKind::$kind, $help, self.$name),)+
                ]
            }

            /// What was dropped, by reason.
            pub fn dropped_by_reason(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
                DropReason::ALL.iter().copied().zip(self.dropped)
            }
        }
    };
}

counters! {
    Gauge connections: "Connections now.";
    Gauge connections_half_open: "Handshakes now that are answered, and that no client has confirmed yet.";
    Gauge connections_closing: "Connections now that have ended, and tell their client so.";
    Counter connections_opened: "Connections that ever opened.";
    Counter connections_moved: "Connections that went on at the worker of a session's other members.";
    Counter address_changes: "Changes of a client's address that its connection has followed.";
    Counter connections_replaced: "Connections closed because their user connected again.";
    Counter connections_kicked:
        "Connections closed by the operator: `Server::kick`, or `admit` once they had opened.";
    Counter connections_left: "Connections that their client has closed.";
    Counter connections_timed_out:
        "Connections whose client fell silent, or took nothing of what it was sent.";
    Counter connections_lagging: "Connections closed because they did not take their messages fast enough.";
    Counter protocol_violations: "Connections closed because their client broke the protocol.";
    Counter connections_at_key_limit:
        "Connections closed because their keys may be used no further: too many packets did not open, or too \
         many left.";
    Counter handshakes_refused:
        "Handshakes rejected because as many users were connected as may be, or by `Builder::admit`. What \
         else was rejected is dropped, by reason.";
    Counter commands: "Commands taken.";
    Counter commands_refused: "Commands refused, with any code.";
    Counter deliveries:
        "Messages of members, once for each member that one is for, even if it is then shed, or the member's \
         connection has ended or takes no more.";
    Counter mails: "Mail taken from this server's workers.";
    Counter datagrams_forwarded: "Datagrams passed on to the worker that owns their connection.";
    Counter datagrams_not_forwarded:
        "Datagrams that could not be passed on: that worker was behind, or the connection had ended.";
    Counter unproven_bytes_in:
        "Bytes of datagrams that prove nothing: all but sealed packets that were not dropped.";
    Counter unproven_bytes_out:
        "Bytes of clear packets sent, nearly all of them to addresses that have proved nothing.";
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
        let commands = totals.metrics().into_iter().find(|metric| metric.name == "commands");
        assert_eq!(commands.map(|metric| (metric.kind, metric.value)), Some((MetricKind::Counter, 7)));
    }
}
