//! Creation of sessions, and the choice of the empty session that gives way when there is no more room.

use std::sync::atomic::Ordering;

use rand::Rng;

use super::super::state::{Session, Turn};
use super::super::{Admitted, Entrant, WorkerPort};
use super::SessionTable;
use super::parked::Parked;
use crate::base::{SessionId, Timestamp};
use crate::wire::ErrorCode;
use crate::wire::command::Create;

impl SessionTable {
    /// Creates a session with `creator` as its owner and first member. If the limit of sessions, or of empty
    /// sessions that this user has left behind, is reached, an empty session gives way: its idle TTL is over
    /// at once.
    ///
    /// # Errors
    /// `too_many_properties`, `properties_too_large`, `server_full`, `busy`.
    pub fn create(
        &self,
        now: Timestamp,
        creator: Entrant<'_>,
        create: Create,
        port: &mut dyn WorkerPort,
    ) -> Result<Admitted, ErrorCode> {
        let session = Session::new(create, creator.user, now, &self.limits)?;
        let room = |sessions| (sessions < self.limits.max_sessions).then_some(sessions + 1);
        let most = self.limits.max_empty_per_owner;
        let mut gives_way = self.claim_empty(|parked| parked.surplus_of(creator.user, most));
        if gives_way.is_none()
            && self.sessions.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).is_err()
        {
            let claimed = self.claim_empty(Parked::first_to_go);
            gives_way = Some(claimed.ok_or(ErrorCode::ServerFull)?);
        }
        let created = self.insert(now, session, creator, port);
        let settle = |session: &mut Session, turn: &mut Turn<'_>| {
            session.phase.settle_claim(turn.now, created.is_ok());
            Ok(())
        };
        // The claimed session may have ended meanwhile, but only by the operator or by its own deadline.
        let stays =
            gives_way.is_some_and(|id| self.with(now, id, ErrorCode::NoSuchSession, port, settle).is_ok());
        if created.is_err() && !stays {
            self.sessions.fetch_sub(1, Ordering::Relaxed);
        }
        created
    }

    /// Claims the empty session that `choose` selects, so that a new one can take its place. From now on it
    /// is counted as the new one, and no other caller can claim it.
    fn claim_empty(&self, choose: impl Fn(&Parked) -> Option<SessionId>) -> Option<SessionId> {
        loop {
            let id = choose(&self.parked.lock())?;
            let mut state = self.stripe_of(id).1.state.lock();
            // Meanwhile it may have ended, been entered or been claimed; then another one is tried.
            if self.update(&mut state, id, |session| session.phase.claim()) == Some(true) {
                return Some(id);
            }
        }
    }

    /// Gives a session a free random id and admits its creator.
    fn insert(
        &self,
        now: Timestamp,
        mut session: Session,
        creator: Entrant<'_>,
        port: &mut dyn WorkerPort,
    ) -> Result<Admitted, ErrorCode> {
        loop {
            let id = SessionId(self.rng.lock().random());
            let (_, stripe) = self.stripe_of(id);
            let mut state = stripe.state.lock();
            if id == SessionId(0) || state.sessions.contains_key(&id) {
                continue;
            }
            state.now = state.now.max(now);
            let mut turn = Turn { now: state.now, limits: &self.limits, port };
            let admitted = session.open(id, creator, &mut turn)?;
            // A session with a member in it and no invites has no deadline.
            state.sessions.insert(id, Box::new(session));
            return Ok(admitted);
        }
    }
}
