//! Disturbances of clients, workers, paths and the clock, besides what links do to each datagram.

use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;

use super::simulation::Simulation;
use crate::base::Timestamp;

impl Simulation {
    /// Begins and ends lives that are due, and changes clients' addresses.
    pub(super) fn live(&mut self, index: usize) {
        let now = self.now;
        let Some(party) = self.parties.get_mut(index).filter(|party| party.asleep_until <= now) else {
            return;
        };
        if party.begins_at <= now {
            self.begin(index);
        } else if party.ends_at <= now {
            party.ends_at = Timestamp::MAX;
            party.begins_at = now + party.rng.random_range(Duration::ZERO..Duration::from_secs(2));
            match party.rng.random_range(0..3) {
                0 => party.crash(&mut self.checker),
                1 => party.close(now, &mut self.checker),
                _ => self.hosts.close(now, party.life, &mut self.server, &mut self.checker),
            }
        } else if party.moves_at <= now {
            self.change_address(index);
        }
    }

    /// Begins a client's new life, with a new token, at its old address or at a new one.
    fn begin(&mut self, index: usize) {
        let (now, life) = (self.now(), self.next_life());
        let (Some(party), Some(path)) = (self.parties.get_mut(index), self.scenario.paths.get(index)) else {
            return;
        };
        party.crash(&mut self.checker);
        if party.rng.random_bool(0.7) {
            party.change_address();
        }
        self.checker.born(life);
        if self.network.connect(party.address, life, path) {
            self.checker.inherits(life);
        }
        self.addresses.insert(party.address, index);
        party.connect(now, life, &self.door);
        let ends = |mean: Duration| now.mono + party.rng.random_range(Duration::ZERO..mean * 2);
        party.ends_at = self.scenario.life.map_or(Timestamp::MAX, ends);
        party.moves_at = later(self.scenario.address_changes, now.mono, &mut party.rng);
    }

    fn change_address(&mut self, index: usize) {
        let (Some(party), Some(path)) = (self.parties.get_mut(index), self.scenario.paths.get(index)) else {
            return;
        };
        self.outcome.moves += 1;
        party.change_address();
        if self.network.connect(party.address, party.life, path) {
            self.checker.inherits(party.life);
        }
        self.addresses.insert(party.address, index);
        party.moves_at = if party.rng.random_bool(0.2) {
            self.now + party.rng.random_range(Duration::ZERO..Duration::from_millis(40))
        } else {
            later(self.scenario.address_changes, self.now, &mut party.rng)
        };
    }

    /// Puts a client or a worker to sleep if a nap is due: it does nothing, and handles all datagrams that
    /// have arrived when it wakes.
    pub(super) fn nap(&mut self) {
        if self.naps_at > self.now {
            return;
        }
        self.naps_at = later(self.scenario.naps, self.now, &mut self.rng);
        let until = self.now + odd_time(self.scenario.idle_timeout(), &mut self.rng);
        self.checker.sleeps(until);
        let parties = self.parties.len();
        match self.parties.get_mut(self.rng.random_range(0..=parties)) {
            Some(party) => party.asleep_until = until,
            None => self.server.nap(until),
        }
    }

    /// Lets the clock jump if that is due; returns how far.
    pub(super) fn jump(&mut self) -> Duration {
        if self.jumps_at > self.now {
            return Duration::ZERO;
        }
        let far = odd_time(self.scenario.idle_timeout(), &mut self.rng);
        self.now += far;
        self.jumps_at = later(self.scenario.jumps, self.now, &mut self.rng);
        self.checker.sleeps(self.now);
        far
    }

    /// Changes the paths' MTUs if that is due.
    pub(super) fn change_mtus(&mut self) {
        if self.mtus_at <= self.now {
            self.mtus_at = later(self.scenario.mtu_changes, self.now, &mut self.rng);
            self.network.change_mtus();
        }
    }

    /// Lets the attacker send a datagram if that is due.
    pub(super) fn attack(&mut self) {
        if self.attacker.acts_at <= self.now
            && let Some(strike) = self.attacker.act(self.now)
        {
            self.outcome.attacks += 1;
            self.network.inject(self.now, strike.from, strike.to, strike.datagram);
        }
    }
}

/// Returns a time after `now`, on average by `mean`; never if `mean` is `None`.
fn later(mean: Option<Duration>, now: Timestamp, rng: &mut StdRng) -> Timestamp {
    mean.map_or(Timestamp::MAX, |mean| now + rng.random_range(mean / 10..mean * 2))
}

/// Returns a usually short time, sometimes longer than a connection survives.
fn odd_time(idle: Duration, rng: &mut StdRng) -> Duration {
    let longest = if rng.random_bool(0.15) { idle * 2 } else { idle / 3 };
    longest.mul_f64(rng.random_range(0.01f64..1.0).powi(2))
        + Duration::from_micros(rng.random_range(1..1_000))
}
