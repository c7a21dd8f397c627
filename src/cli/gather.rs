//! [`gather`]: brings connected users together in a session, as in a game: one creates it and invites the
//! others, who accept.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::base::{InviteId, UserId};
use crate::cli::output::Failure;
use crate::client::{Client, CreateSession, Entered, Event, Events, InviteUsers};
use crate::wire::command::InvitedUsers;

/// A connected user.
pub struct Guest {
    /// The user's id.
    pub user: UserId,
    /// Its connection.
    pub client: Client,
    /// Its events.
    pub events: Events,
}

/// A member of a session.
pub struct Seat {
    /// The user and its connection. No event about the session has been read yet.
    pub guest: Guest,
    /// The session, its slot and the member's id.
    pub entered: Entered,
}

/// How long anything other than the network may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Gathers all `guests` in a session, with the first one as its owner. Without guests, returns no seats.
///
/// # Errors
/// [`Failure::Work`] if any guest does not get in.
pub async fn gather(guests: Vec<Guest>, session: CreateSession) -> Result<Vec<Seat>, Failure> {
    let mut guests = guests.into_iter();
    let Some(owner) = guests.next() else { return Ok(Vec::new()) };
    let entered = owner
        .client
        .create(session)
        .await
        .map_err(|error| Failure::while_doing("creating a session", error))?;
    let invited: Vec<Guest> = guests.collect();
    for some in invited.chunks(InvitedUsers::MAX) {
        let users = some.iter().map(|guest| guest.user.clone());
        let answers = owner.client.invite(entered.slot, InviteUsers::new(users)).await;
        for (user, invite) in answers.map_err(|error| Failure::while_doing("inviting", error))? {
            invite.map_err(|code| Failure::while_doing(format_args!("inviting {user}"), code))?;
        }
    }
    let mut accepting: JoinSet<Result<(usize, Seat), Failure>> = JoinSet::new();
    for (index, guest) in invited.into_iter().enumerate() {
        accepting.spawn(async move { Ok((index, guest.accept().await?)) });
    }
    let mut seats: Vec<(usize, Seat)> =
        accepting.join_all().await.into_iter().collect::<Result<_, Failure>>()?;
    seats.sort_by_key(|(index, _)| *index);
    let owner = Seat { guest: owner, entered };
    Ok(std::iter::once(owner).chain(seats.into_iter().map(|(_, seat)| seat)).collect())
}

impl Guest {
    /// Waits for an invite and accepts it.
    ///
    /// # Errors
    /// [`Failure::Work`] if none arrives or it does not admit the user.
    pub async fn accept(mut self) -> Result<Seat, Failure> {
        let invite = self.next_invite().await?;
        let entered = self
            .client
            .join(invite)
            .await
            .map_err(|error| Failure::while_doing(format_args!("{} joining", self.user), error))?;
        Ok(Seat { guest: self, entered })
    }

    /// Waits for an invite, ignoring all other events.
    ///
    /// # Errors
    /// [`Failure::Work`] if the connection ends or no invite arrives.
    pub async fn next_invite(&mut self) -> Result<InviteId, Failure> {
        let failed = |why: &dyn std::fmt::Display| {
            Failure::while_doing(format_args!("{} waiting for an invite", self.user), why)
        };
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            match tokio::time::timeout_at(deadline, self.events.recv()).await {
                Ok(Some(Event::Invited(invitation))) => return Ok(invitation.invite),
                Ok(Some(Event::Disconnected(why))) => return Err(failed(&why)),
                Ok(Some(_)) => {}
                Ok(None) => return Err(failed(&"the connection has ended")),
                Err(_) => return Err(failed(&"none comes")),
            }
        }
    }
}

/// Waits for `work`, but not forever.
///
/// # Errors
/// [`Failure::Work`] that names `what`, if it takes too long.
pub async fn in_time<T>(what: &str, work: impl Future<Output = T>) -> Result<T, Failure> {
    timeout(PATIENCE, work).await.map_err(|_| Failure::while_doing(what, "it takes too long"))
}
