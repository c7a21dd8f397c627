//! A chat of two users in one process: how a game's client uses a session.
//!
//! Needs a server, in a terminal of its own, and a grant for each user, which a game's backend would hand
//! out. A grant is void after 60 s, or what `token --ttl` says (10min at most), so build the example first:
//!
//! ```text
//! cargo build --example chat
//! rallypoint serve --dev --key-file dev.key --listen 127.0.0.1:7777
//! rallypoint token --user ann --key-file dev.key --server 127.0.0.1:7777 > ann.json
//! rallypoint token --user bob --key-file dev.key --server 127.0.0.1:7777 > bob.json
//! cargo run --example chat ann.json bob.json
//! ```

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::sync::Arc;

use rallypoint::client::{
    Client, ClientConfig, CreateSession, Delivery, Event, Events, InviteUsers, To, UserId,
};
use rallypoint::secure::ConnectGrant;

/// Identifies the game; the server must be configured with the same id. This is the default of `serve`.
const PROTOCOL_ID: u64 = 1_382_116_460;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut files = std::env::args().skip(1);
    let (Some(ann), Some(bob)) = (files.next(), files.next()) else {
        return Err("usage: chat ANN.json BOB.json".into());
    };
    let grant = |file: &str| -> Result<_, Box<dyn Error>> {
        Ok(ConnectGrant::from_json(&std::fs::read_to_string(file)?)?)
    };
    chat(&grant(&ann)?, &grant(&bob)?).await
}

/// Lets two users exchange messages on a server.
pub async fn chat(ann: &ConnectGrant, bob: &ConnectGrant) -> Result<(), Box<dyn Error>> {
    let (ann, mut to_ann) = Client::connect(ann, ClientConfig::new(PROTOCOL_ID)).await?;
    let (bob, mut to_bob) = Client::connect(bob, ClientConfig::new(PROTOCOL_ID)).await?;

    // Ann opens a room for two and invites bob, who is notified and joins.
    let room = ann.create(CreateSession::new(1).max_members(2)).await?;
    ann.invite(room.slot, InviteUsers::new(["bob".parse()?]).note("a word?")).await?;
    let invite = loop {
        if let Event::Invited(invitation) = next(&mut to_bob).await? {
            println!("bob is invited by {}: {}", invitation.owner, invitation.note);
            break invitation.invite;
        }
    };
    let seat = bob.join(invite).await?;

    // Both receive both lines, in the same order: ordered broadcasts are numbered by the session.
    ann.broadcast(room.slot, To::All, Delivery::ReliableOrdered, "hello, bob")?;
    bob.broadcast(seat.slot, To::All, Delivery::ReliableOrdered, "hello, ann")?;
    for (name, events) in [("ann", &mut to_ann), ("bob", &mut to_bob)] {
        // The state of the session as of the events read, however late they are read: its users and
        // properties.
        let mut session = None;
        let mut lines = 0;
        while lines < 2 {
            let event = next(events).await?;
            if let Event::Entered { mirror, .. } = &event {
                session = Some(Arc::clone(mirror));
            }
            let Some(session) = &mut session else { continue };
            Arc::make_mut(session).apply(&event)?;
            if let Event::Message { sender, payload, .. } = event {
                let user = session.user(sender).map_or("somebody", UserId::as_str);
                println!("{name} hears {user}: {}", String::from_utf8_lossy(&payload));
                lines += 1;
            }
        }
    }

    bob.leave(seat.slot).await?;
    ann.delete(room.slot, "good night").await?;

    // Closing discards what the server has not acked. At the end of the program without closing, the server
    // would wait for the clients.
    for client in [ann, bob] {
        client.flush().await?;
        client.close("");
        client.closed().await;
    }
    Ok(())
}

async fn next(events: &mut Events) -> Result<Event, Box<dyn Error>> {
    match events.recv().await {
        Some(Event::Disconnected(why)) => Err(why.into()),
        Some(event) => Ok(event),
        None => Err("disconnected".into()),
    }
}
