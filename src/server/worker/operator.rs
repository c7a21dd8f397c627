//! What the program around the server decides: who connects, who goes, which session ends.

use std::net::SocketAddr;

use super::Worker;
use crate::base::{ConnectionId, SessionId, Timestamp, UserId};
use crate::secure::Claims;
use crate::server::newcomer::{Admit, Newcomer};
use crate::wire::{CloseCode, LeaveReason, Reason};

impl Worker {
    /// Whether the operator lets somebody connect whose token says this.
    // spec: HSK-10
    pub(super) fn admits(&self, claims: &Claims, address: SocketAddr) -> Admit {
        self.shared.admits(&Newcomer { user: &claims.user, data: claims.data.as_ref(), address })
    }

    /// The operator will not have the user of `connection` here.
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

    /// The operator ends a session; its members and who was invited are told.
    // spec: SES-18
    pub(super) fn close_session(&mut self, now: Timestamp, session: SessionId, reason: Reason) {
        // It may have ended since.
        if let Ok(departed) = self.with_table(|table, outbox| table.close(now, session, reason, outbox)) {
            self.departed(now, session, &departed);
        }
    }

    /// The operator removes a user from a session, as its owner might.
    // spec: SES-18
    pub(super) fn remove_member(
        &mut self,
        now: Timestamp,
        session: SessionId,
        user: &UserId,
        reason: Reason,
    ) {
        // They may have left since.
        let expel = self.with_table(|table, outbox| table.expel(now, session, user, reason, outbox));
        if let Ok(departed) = expel {
            self.departed(now, session, &departed);
        }
    }
}
