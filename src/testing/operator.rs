//! Actions of the program around the server: it kicks users and ends sessions.

use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use super::checker::Checker;
use super::client::SimClient;
use super::simulation::later;
use crate::base::{SessionId, Timestamp};
use crate::server::shared::Shared;
use crate::wire::Reason;

pub(super) struct Operator {
    /// Mean time between two actions.
    pace: Option<Duration>,
    pub(super) acts_at: Timestamp,
    /// Number of actions so far; each has its own reason.
    deeds: u32,
    rng: StdRng,
}

impl Operator {
    pub(super) fn new(pace: Option<Duration>, mut rng: StdRng) -> Self {
        Self { pace, acts_at: later(pace, Timestamp::ZERO, &mut rng), deeds: 0, rng }
    }

    /// Performs an action if one is due.
    pub(super) fn act(
        &mut self,
        now: Timestamp,
        shared: &Shared,
        clients: &[SimClient],
        checker: &mut Checker,
    ) {
        if self.acts_at > now {
            return;
        }
        self.acts_at = later(self.pace, now, &mut self.rng);
        self.deeds += 1;
        let reason = Reason::new(&format!("deed {}", self.deeds)).expect("invariant: a short reason");
        let deed = self.rng.random_range(0..4);
        let Some(client) = clients.choose(&mut self.rng) else { return };
        if deed < 2 {
            if shared.kick(&client.user, reason.clone()) {
                // The server knows a client that has received an ack of its own packets. Otherwise the kick
                // concerns an older life.
                let is_known = client.core.as_ref().is_some_and(|core| core.rtt().is_some());
                let life = (client.is_up() && is_known).then_some(client.life);
                checker.kicked(now, &client.user, life, &reason);
            }
            return;
        }
        let mut sessions: Vec<SessionId> = shared.sessions.infos().iter().map(|info| info.session).collect();
        sessions.sort_unstable();
        let Some(&session) = sessions.choose(&mut self.rng) else { return };
        if deed == 2 && shared.close_session(session, reason.clone()) {
            checker.closed(now, session, &reason);
        }
        let members = shared.sessions.members(session).unwrap_or_default();
        let member = members.iter().find(|member| member.user == client.user).map(|member| member.id);
        let is_done = deed == 3 && shared.remove_member(session, &client.user, reason.clone());
        if let Some(member) = member.filter(|_| is_done) {
            checker.removed(now, session, member, &client.user, &reason);
        }
    }
}
