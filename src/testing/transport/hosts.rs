//! The owner of a server's connections: receives from all of them, and sends on each.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::checker::{Checker, Gauge};
use super::message::End;
use super::scenario::Path;
use super::server::Server;
use super::talker::Talker;
use crate::base::{ConnectionId, Timestamp, WorkerId};
use crate::rudp::{ConnectionConfig, EndpointEvent};
use crate::testing::checker::Life;

/// All open connections of a server.
pub(super) struct Hosts {
    seed: u64,
    idle_timeout: Duration,
    lives: BTreeMap<ConnectionId, Life>,
    hosts: BTreeMap<Life, Host>,
    is_silent: bool,
    rng: StdRng,
}

struct Host {
    connection: ConnectionId,
    talker: Talker,
}

impl Hosts {
    pub(super) fn new(seed: u64, idle_timeout: Duration, rng: StdRng) -> Self {
        Self { seed, idle_timeout, lives: BTreeMap::new(), hosts: BTreeMap::new(), is_silent: false, rng }
    }

    /// Returns the number of open connections.
    pub(super) fn len(&self) -> usize {
        self.hosts.len()
    }

    /// Whether `life` has its connection.
    pub(super) fn is_confirmed(&self, life: Life) -> bool {
        self.hosts.contains_key(&life)
    }

    /// Returns when the next connection is due to send.
    pub(super) fn next_at(&self) -> Timestamp {
        self.hosts.values().map(|host| host.talker.acts_at).min().unwrap_or(Timestamp::MAX)
    }

    /// Handles the endpoints' events.
    pub(super) fn hear(
        &mut self,
        now: Timestamp,
        events: Vec<(WorkerId, EndpointEvent)>,
        paths: &[Path],
        checker: &mut Checker,
    ) {
        for (worker, event) in events {
            match event {
                EndpointEvent::Connected { connection, claims, .. } => {
                    checker.expect(connection.worker() == worker, || {
                        format!("{connection} is of another worker")
                    });
                    let life = claims.user.as_str().parse().map(Life).unwrap_or(Life(0));
                    checker.opened(life, End::Server);
                    self.lives.insert(connection, life);
                    let talker = self.talker(now, life, paths);
                    self.hosts.insert(life, Host { connection, talker });
                }
                EndpointEvent::Message { connection, stream, delivery, payload } => {
                    match self.lives.get(&connection) {
                        Some(life) => checker.message(*life, End::Server, stream, delivery, &payload),
                        None => {
                            checker.expect(false, || format!("a message of {connection}, which is closed"))
                        }
                    }
                }
                EndpointEvent::AddressChanged { .. } => {}
                EndpointEvent::Closed { connection, why } => {
                    let Some(life) = self.lives.remove(&connection) else {
                        checker.expect(false, || format!("{connection} closed again: {why}"));
                        continue;
                    };
                    self.hosts.remove(&life);
                    checker.closed(now, life, End::Server, &why);
                }
            }
        }
    }

    /// Lets the talkers that are due send.
    pub(super) fn act(&mut self, now: Timestamp, server: &mut Server, checker: &mut Checker) {
        for host in self.hosts.values_mut().filter(|host| host.talker.acts_at <= now) {
            match server.connection(now, host.connection) {
                Some(connection) => host.talker.act(now, connection, checker),
                // Its worker sleeps.
                None => host.talker.acts_at = now + Duration::from_millis(20),
            }
        }
    }

    /// Checks some of the connections. Access makes an endpoint poll a connection again, so checking each one
    /// every time would hide connections that the endpoint forgets.
    pub(super) fn gauge(
        &mut self,
        now: Timestamp,
        server: &mut Server,
        config: &ConnectionConfig,
        checker: &mut Checker,
    ) {
        for (life, host) in &self.hosts {
            if !self.rng.random_ratio(1, 40) {
                continue;
            }
            let armed = server.timeout_of(host.connection);
            let Some(connection) = server.connection(now, host.connection) else { continue };
            let gauge = Gauge::of(connection, config, self.idle_timeout);
            checker.gauge(now, *life, End::Server, &gauge);
            let is_armed = gauge.timeout.is_none_or(|timeout| armed.is_some_and(|armed| armed <= timeout));
            checker.expect(is_armed, || {
                format!(
                    "{life:?}: the endpoint waits until {armed:?}, its connection asked for {:?}",
                    gauge.timeout
                )
            });
        }
    }

    /// Stops all sending.
    pub(super) fn fall_silent(&mut self) {
        self.is_silent = true;
        self.hosts.values_mut().for_each(|host| host.talker.acts_at = Timestamp::MAX);
    }

    /// Whether no connection has queued bytes.
    pub(super) fn are_quiet(&self, now: Timestamp, server: &mut Server) -> bool {
        self.hosts.values().all(|host| {
            server.connection(now, host.connection).is_none_or(|connection| connection.queued_bytes() == 0)
        })
    }

    /// Sends one last message of each mode on each connection.
    pub(super) fn say_farewell(&mut self, now: Timestamp, server: &mut Server, checker: &mut Checker) {
        for host in self.hosts.values_mut() {
            if let Some(connection) = server.connection(now, host.connection) {
                host.talker.say_farewell(now, connection, checker);
            }
        }
    }

    /// Closes the connection of `life`, if it exists.
    pub(super) fn close(&mut self, now: Timestamp, life: Life, server: &mut Server, checker: &mut Checker) {
        if let Some(host) = self.hosts.get_mut(&life)
            && let Some(connection) = server.connection(now, host.connection)
        {
            host.talker.close(now, connection, checker);
        }
    }

    fn talker(&mut self, now: Timestamp, life: Life, paths: &[Path]) -> Talker {
        let pace = paths.get(self.rng.random_range(0..paths.len().max(1))).map(|path| path.pace);
        let rng = StdRng::from_rng(&mut self.rng);
        let pace = pace.unwrap_or(Duration::from_millis(20));
        let mut talker = Talker::new(self.seed, (life, End::Server), now, pace, rng);
        if self.is_silent {
            talker.acts_at = Timestamp::MAX;
        }
        talker
    }
}
