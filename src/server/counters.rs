//! Counters that tests, operators and the command line read while the server runs.
//!
//! Each worker counts for itself, without locks; [`Snapshot`] adds them up.

use std::sync::atomic::{AtomicU64, Ordering};

/// Declares the counters of a worker and their sum.
macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident;)+) => {
        /// What one worker counts. Written by the worker only.
        #[derive(Debug, Default)]
        #[repr(align(128))]
        pub struct WorkerCounters {
            $($(#[doc = $doc])+ pub $name: Counter,)+
        }

        /// The counters of all workers, added up at about one moment.
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        pub struct Snapshot {
            /// Sessions now.
            pub sessions: u64,
            $($(#[doc = $doc])+ pub $name: u64,)+
        }

        impl Snapshot {
            /// Adds up the counters of `workers`.
            pub fn of<'a>(sessions: u64, workers: impl IntoIterator<Item = &'a WorkerCounters>) -> Self {
                let mut sum = Self { sessions, ..Self::default() };
                for worker in workers {
                    $(sum.$name += worker.$name.value();)+
                }
                sum
            }

            /// Names and values, for people and logs.
            pub fn rows(&self) -> Vec<(&'static str, u64)> {
                vec![("sessions", self.sessions), $((stringify!($name), self.$name),)+]
            }
        }
    };
}

counters! {
    /// Connections now.
    connections;
    /// Connections that ever opened.
    connections_opened;
    /// Connections closed because their user connected again.
    connections_replaced;
    /// Connections closed because they did not take their messages fast enough.
    connections_lagging;
    /// Connections closed because their client broke the protocol.
    protocol_violations;
    /// Handshakes rejected: full or draining.
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
    /// Datagrams that could not be passed on, because that worker was behind.
    datagrams_not_forwarded;
    /// Datagrams dropped: not of this protocol, or malformed.
    dropped_malformed;
    /// Datagrams dropped: no such connection.
    dropped_unknown_connection;
    /// Datagrams dropped: they did not open, or were replayed.
    dropped_not_authentic;
    /// Handshakes dropped: their token or their proof did not hold.
    dropped_handshakes;
    /// Bytes received from addresses before they were proven.
    unproven_bytes_in;
    /// Bytes sent to addresses before they were proven.
    unproven_bytes_out;
}

/// A number that one thread writes and any thread reads.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `amount`.
    pub fn add(&self, amount: u64) {
        // One writer, so no read-modify-write is needed.
        self.set(self.value().wrapping_add(amount));
    }

    /// Takes `amount` off, for what is counted now and not ever.
    pub fn subtract(&self, amount: u64) {
        self.set(self.value().saturating_sub(amount));
    }

    /// Sets the value, for what is counted elsewhere.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The value now.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_adds_up_the_workers() {
        let workers = [WorkerCounters::default(), WorkerCounters::default()];
        workers[0].commands.add(3);
        workers[1].commands.add(4);
        workers[1].connections.add(2);
        workers[1].connections.subtract(1);
        let snapshot = Snapshot::of(5, &workers);
        assert_eq!((snapshot.sessions, snapshot.commands, snapshot.connections), (5, 7, 1));
        assert!(snapshot.rows().contains(&("commands", 7)));
    }
}
