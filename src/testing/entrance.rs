//! [`Entrance`]: how simulated clients enter a server and its sessions.

use std::net::SocketAddr;
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::base::{Now, SessionId, SessionKind, Timestamp, UnixTime, UserId};
use crate::client::core::Core;
use crate::rudp::{Connecting, ConnectingConfig};
use crate::secure::TokenKey;
use crate::secure::token::{MintRequest, mint};
use crate::server::config::{Identity, connection};
use crate::server::limits::Limits;
use crate::wire::command::{Create, InitialProperties, Join};
use crate::wire::{Admission, IdleTtl, MaxMembers, OnOwnerLeave, Request, Settings};

pub(super) struct Entrance {
    pub(super) server: SocketAddr,
    key: TokenKey,
    limits: Limits,
}

/// Wall-clock time at the origin of the virtual clock.
pub(super) const WALL: UnixTime = UnixTime::from_secs(1_800_000_000);

const PROTOCOL_ID: u64 = 1;

impl Entrance {
    pub(super) fn new(limits: Limits, rng: &mut StdRng) -> Self {
        let server = SocketAddr::from(([10, 255, 255, 1], 7_777));
        Self { server, key: TokenKey::from_bytes(&rng.random()), limits }
    }

    pub(super) fn identity(&self) -> Identity {
        Identity { protocol_id: PROTOCOL_ID, names: Vec::new(), keys: Arc::new(self.key.clone().into()) }
    }

    /// Returns a client with a user of its own that begins to connect.
    pub(super) fn connect(&self, now: Now, number: usize, rng: &mut StdRng) -> Core {
        let request = MintRequest::new(
            UserId::new(&format!("member-{number}")).expect("invariant: a short id is legal"),
            self.server.to_string(),
        );
        let grant = mint(&self.key, request, now.wall, rng).expect("invariant: a legal request");
        let config =
            ConnectingConfig { connection: connection(&self.limits), ..ConnectingConfig::new(PROTOCOL_ID) };
        let name = self.server.to_string();
        let rng = StdRng::from_rng(rng);
        Core::new(self.server, Connecting::new(now.mono, &name, self.server, &grant, config, rng))
    }

    /// Requests a new session that is open to all who know its id.
    pub(super) fn create(core: &mut Core, now: Timestamp, seats: u16) {
        let settings = Settings {
            kind: SessionKind(1),
            max_members: MaxMembers::new(seats).expect("invariant: few members"),
            idle_ttl: IdleTtl::new(60).expect("invariant: a minute is legal"),
            on_owner_leave: OnOwnerLeave::Transfer,
            admission: Admission::Open,
        };
        let properties = InitialProperties::new(Vec::new()).expect("invariant: none are legal");
        request(core, now, &Request::Create(Create { settings, properties }));
    }

    /// Requests to join a session.
    pub(super) fn join(core: &mut Core, now: Timestamp, session: SessionId) {
        request(core, now, &Request::Join(Join::Session(session)));
    }
}

fn request(core: &mut Core, now: Timestamp, what: &Request) {
    core.request(now, what).expect("invariant: connected, with nothing else under way");
}
