//! The library's clients in one runtime, with a handler for events, the shortest way.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rallypoint::base::{InviteId, Slot, UserId};
use rallypoint::client::{
    Client, ClientConfig, CreateSession, Delivery, Disconnected, Event, InviteUsers, To,
};
use tokio::sync::{Notify, mpsc};

use super::{GAME, grant};
use crate::error::{Error, Result};
use crate::load::{CONNECT_NANOS, Clients, Inbox, Spec, TokioLoop};

/// Number of users that one command invites.
const INVITES: usize = 64;

struct Members {
    clients: Vec<(Client, Slot)>,
    tokio: TokioLoop,
}

/// Connects the clients and has them enter their sessions.
pub fn connect(spec: &Spec, inbox: &Inbox) -> Result<Box<dyn Clients>> {
    let mut tokio = TokioLoop::new()?;
    let arrived = Arc::clone(&tokio.arrived);
    let clients = tokio.block_on(async {
        let gathering = gather_all(spec, inbox, &arrived);
        let limit = Duration::from_nanos(CONNECT_NANOS);
        tokio::time::timeout(limit, gathering).await.map_err(|_| Error::bound("connecting takes too long"))?
    })?;
    Ok(Box::new(Members { clients, tokio }))
}

/// A connected user.
struct Guest {
    client: Client,
    user: UserId,
    invites: mpsc::Receiver<InviteId>,
}

async fn gather_all(spec: &Spec, inbox: &Inbox, arrived: &Arc<Notify>) -> Result<Vec<(Client, Slot)>> {
    let mut all = Vec::new();
    for session in 0..spec.sessions {
        let mut guests = Vec::new();
        for member in 0..spec.members {
            guests.push(connect_one(spec, session * spec.members + member, inbox, arrived).await?);
        }
        all.extend(gather(guests).await?);
    }
    (0..all.len()).for_each(|client| inbox.join(client));
    Ok(all)
}

async fn connect_one(spec: &Spec, number: usize, inbox: &Inbox, arrived: &Arc<Notify>) -> Result<Guest> {
    let (user, grant) = grant(spec, number)?;
    let (invited, invites) = mpsc::channel(1);
    let (inbox, arrived) = (inbox.clone(), Arc::clone(arrived));
    let handler = move |_: &Client, event| match event {
        Event::Message { payload, .. } => {
            inbox.take(number, &payload);
            arrived.notify_one();
        }
        // The channel is full if the user has already been invited; one invite is enough.
        Event::Invited(invitation) => drop(invited.try_send(invitation.invite)),
        Event::Refused { code, .. } => inbox.trouble(&code),
        Event::Lagging { .. } => inbox.trouble(&"a client lags"),
        Event::Disconnected(why) if !matches!(why, Disconnected::ByClient) => inbox.trouble(&why),
        _ => {}
    };
    let connecting = Client::connect_with_handler(&grant, ClientConfig::new(GAME), handler);
    let client = connecting.await.map_err(Error::while_doing("connecting"))?;
    Ok(Guest { client, user, invites })
}

/// Creates a session for all guests, with the first as its owner.
async fn gather(guests: Vec<Guest>) -> Result<Vec<(Client, Slot)>> {
    let mut guests = guests.into_iter();
    let owner = guests.next().ok_or_else(|| Error::bound("a session of nobody"))?;
    let mut invited: Vec<Guest> = guests.collect();
    let seats = u16::try_from(invited.len() + 1).map_err(Error::while_doing("counting seats"))?;
    let create = owner.client.create(CreateSession::new(1).max_members(seats)).await;
    let slot = create.map_err(Error::while_doing("creating a session"))?.slot;
    for some in invited.chunks(INVITES) {
        let users = InviteUsers::new(some.iter().map(|guest| guest.user.clone()));
        owner.client.invite(slot, users).await.map_err(Error::while_doing("inviting"))?;
    }
    let mut members = vec![(owner.client, slot)];
    for guest in &mut invited {
        let invite = guest.invites.recv().await.ok_or_else(|| Error::bound("a client has ended"))?;
        let entered = guest.client.join(invite).await.map_err(Error::while_doing("joining"))?;
        members.push((guest.client.clone(), entered.slot));
    }
    Ok(members)
}

impl Clients for Members {
    fn send(&mut self, client: usize, body: &[u8]) -> Result<()> {
        let (client, slot) = &self.clients[client];
        let payload = Bytes::copy_from_slice(body);
        let sent = client.broadcast(*slot, To::All, Delivery::ReliableOrdered, payload);
        sent.map(|_| ()).map_err(Error::while_doing("sending"))
    }

    fn turn(&mut self, deadline: u64) -> Result<()> {
        self.tokio.turn(deadline)
    }
}
