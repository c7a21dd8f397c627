//! Decisions of the surrounding program: who connects, who is removed, which session ends.

use std::net::SocketAddr;

use super::Worker;
use crate::base::{ConnectionId, SessionId, Timestamp, UserId};
use crate::secure::Claims;
use crate::server::newcomer::{Admit, Newcomer};
use crate::wire::{CloseCode, LeaveReason, Reason};

impl Worker {
    /// Returns whether the operator admits a client with these claims.
    // spec: HSK-10
    pub(super) fn admits(&self, claims: &Claims, address: SocketAddr) -> Admit {
        self.shared.admits(&Newcomer { user: &claims.user, data: claims.data.as_ref(), address })
    }

    /// Ends a connection whose user the operator removes or refuses.
    pub(super) fn kicked(
        &mut self,
        now: Timestamp,
        connection: ConnectionId,
        code: CloseCode,
        reason: &Reason,
    ) {
        if self.part(now, connection, LeaveReason::Dropped, code) {
            self.counters().connections_kicked.add(1);
            self.clients.close_because(now, connection, code, reason.as_str());
        }
    }

    /// Ends a session on behalf of the operator; its members and the invited users are notified.
    // spec: SES-18
    pub(super) fn close_session(&mut self, now: Timestamp, session: SessionId, reason: Reason) {
        // The session may have ended since.
        if let Ok(departed) = self.with_table(|table, port| table.close(now, session, reason, port)) {
            self.departed(now, session, &departed);
        }
        self.shared.decided();
    }

    /// Removes a user from a session on behalf of the operator, as its owner could.
    // spec: SES-18
    pub(super) fn remove_member(
        &mut self,
        now: Timestamp,
        session: SessionId,
        user: &UserId,
        reason: Reason,
    ) {
        // The user may have left since.
        let expel = self.with_table(|table, port| table.expel(now, session, user, reason, port));
        if let Ok(departed) = expel {
            self.departed(now, session, &departed);
        }
        self.shared.decided();
    }
}
