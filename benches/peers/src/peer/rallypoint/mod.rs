//! `rallypoint`: the server as an app would embed it, with one worker, or as many as the workload states.
//!
//! Sessions are created and joined through the API; messages are reliable ordered broadcasts to all.
//! Settings: rate limits are raised, as by `rallypoint bench --bulk`, since a client of the echo and bulk
//! workloads is faster than a player; everything else is the default. Clients are the library's. Where
//! clients only need to be cheap, so that the server is the bottleneck, they are the library's core without
//! its tasks, in the same kind of loop as the clients of `raw`, `tcp` and `kcp`.

use std::num::NonZeroU8;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rallypoint::base::UserId;
use rallypoint::secure::token::{MintRequest, mint};
use rallypoint::secure::{ConnectGrant, TokenKey};
use rallypoint::server::{Limits, Server};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::Counts;
use crate::error::{Error, Result};
use crate::load::{Clients, Inbox, Spec};
use crate::stage::Announce;

mod clients;
mod lean;

const GAME: u64 = 0x7065_6572_7321;
/// The token key, with which the load mints tokens, as a game's backend would.
const KEY: [u8; 32] = [7; 32];

/// Runs the server.
pub fn serve(announce: Announce, workers: u8) -> Result<()> {
    let workers = NonZeroU8::new(workers).ok_or_else(|| Error::bound("a server without workers"))?;
    let limits = Limits {
        commands_per_second: 1_000_000,
        command_bytes_per_second: 1_073_741_824,
        session_commands_per_second: 10_000_000,
        session_bytes_per_second: 1_073_741_824,
        max_connections: 100_000,
        ..Limits::default()
    };
    let builder = Server::builder(GAME).key(TokenKey::from_bytes(&KEY)).limits(limits);
    let server = builder.workers(workers).start().map_err(Error::while_doing("starting the server"))?;
    let server = Arc::new(server);
    let read = Arc::clone(&server);
    announce.ready(server.local_addr(), "", move || {
        let traffic = read.traffic();
        let datagrams = traffic.datagrams_in + traffic.datagrams_out;
        Some(Counts { datagrams, bytes: traffic.bytes_in + traffic.bytes_out })
    })?;
    while !server.has_ended() {
        std::thread::sleep(Duration::from_secs(1));
    }
    Err(Error::bound("the server has ended"))
}

/// Connects the clients and has them enter their sessions.
pub fn connect(spec: &Spec, inbox: &Inbox) -> Result<Box<dyn Clients>> {
    if spec.lean { lean::connect(spec, inbox) } else { clients::connect(spec, inbox) }
}

/// Returns a client's user and its grant, as a game's backend would make it.
fn grant(spec: &Spec, number: usize) -> Result<(UserId, ConnectGrant)> {
    let user = UserId::new(&format!("user-{}", spec.first_session * spec.members + number))
        .map_err(Error::while_doing("naming a user"))?;
    let request = MintRequest::new(user.clone(), spec.server.to_string());
    let key = TokenKey::from_bytes(&KEY);
    let grant = mint(&key, request, SystemTime::now().into(), &mut StdRng::from_os_rng());
    Ok((user, grant.map_err(Error::while_doing("minting a token"))?))
}
