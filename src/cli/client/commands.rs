//! [`Commands`]: executes lines on a client.

use bytes::Bytes;

use super::line::Line;
use super::said::{self, Said};
use crate::base::{InviteId, SessionId, Slot};
use crate::client::{Client, CreateSession, Delivery, InviteUsers, RequestError, SendError, To};
use crate::wire::{ErrorCode, PropertyOp, PropertyValue, WriteRule};

/// Executes lines on a client.
pub struct Commands<'a>(&'a Client);

/// Why a line was not executed.
enum Refusal {
    Request(RequestError),
    Send(SendError),
    /// The line is about a session that the client is not in.
    NotIn(SessionId),
}

impl<'a> Commands<'a> {
    /// Creates the executor for `client`.
    pub fn new(client: &'a Client) -> Self {
        Self(client)
    }

    /// Executes one line; returns its output.
    pub async fn carry_out(&self, line: Line) -> Vec<Said> {
        let name = line.name();
        self.try_carry_out(line).await.unwrap_or_else(|refusal| vec![refusal.said(name)])
    }

    async fn try_carry_out(&self, line: Line) -> Result<Vec<Said>, Refusal> {
        let Self(client) = self;
        let done = Said::result(line.name());
        let said = match line {
            Line::Create { kind, max } => {
                let entered = client.create(CreateSession::new(kind.0).max_members(max.get())).await?;
                done.with("session", entered.session.to_string())
                    .with("slot", entered.slot.0)
                    .with("member", entered.member.0)
            }
            Line::Accept(invite) => {
                let entered = client.join(invite).await?;
                done.with("session", entered.session.to_string())
                    .with("slot", entered.slot.0)
                    .with("member", entered.member.0)
            }
            Line::Invite { session, user, ttl, hold_seat } => {
                let ttl = std::time::Duration::from_secs(ttl.get().into());
                let invite = InviteUsers::new([user]).ttl(ttl);
                let invite = if hold_seat { invite.hold_seat() } else { invite };
                return self.invite(self.slot(session)?, invite).await;
            }
            Line::Invites => {
                let open = client.list_invites().await?;
                let lines = open.iter().map(|invite| said::invited(Said::result("invite"), invite));
                return Ok(lines.chain([done.with("count", open.len())]).collect());
            }
            Line::Decline(invite) => {
                client.decline(invite, "").await?;
                done.with("invite", invite.to_string())
            }
            Line::Revoke(invite) => {
                self.revoke(invite).await?;
                done.with("invite", invite.to_string())
            }
            Line::Say { slot, text } => {
                let sent = client.broadcast(slot, To::All, Delivery::ReliableOrdered, text)?;
                done.with("slot", slot.0).with("counter", sent.counter)
            }
            Line::Tell { slot, member, text } => {
                let sent = client.message(slot, &[member], Delivery::ReliableOrdered, text)?;
                done.with("slot", slot.0).with("member", member.0).with("counter", sent.counter)
            }
            Line::Set { slot, key, value } => {
                let op = PropertyOp::set(key, property(value)).with_rule(WriteRule::Any);
                self.change(done, slot, op).await?
            }
            Line::Increment { slot, key, by } => {
                self.change(done, slot, PropertyOp::increment(key, by)).await?
            }
            Line::Members(slot) => {
                let session = client.session(slot).ok_or(RequestError::Refused(ErrorCode::NotAMember))?;
                said::members(done, &session)
            }
            Line::Kick { slot, member } => {
                client.kick(slot, member, "").await?;
                done.with("slot", slot.0).with("member", member.0)
            }
            Line::Transfer { slot, member } => {
                client.transfer(slot, member).await?;
                done.with("slot", slot.0).with("member", member.0)
            }
            Line::Delete(slot) => {
                client.delete(slot, "").await?;
                done.with("slot", slot.0)
            }
            Line::Leave(slot) => {
                client.leave(slot).await?;
                done.with("slot", slot.0)
            }
            Line::Wait(time) => {
                tokio::select! {
                    () = tokio::time::sleep(time) => done,
                    _ = client.closed() => return Err(RequestError::NotConnected.into()),
                }
            }
            Line::Help | Line::Quit => done,
        };
        Ok(vec![said])
    }

    async fn invite(&self, slot: Slot, invite: InviteUsers) -> Result<Vec<Said>, Refusal> {
        let answers = self.0.invite(slot, invite).await?;
        let said = answers.into_iter().map(|(user, answer)| match answer {
            Ok(invite) => {
                Said::result("invite").with("user", user.as_str()).with("invite", invite.to_string())
            }
            Err(code) => Said::error("invite", Some(code), code).with("user", user.as_str()),
        });
        Ok(said.collect())
    }

    async fn revoke(&self, invite: InviteId) -> Result<(), Refusal> {
        self.0.revoke(self.slot(invite.session)?, invite).await?;
        Ok(())
    }

    async fn change(&self, done: Said, slot: Slot, op: PropertyOp) -> Result<Said, Refusal> {
        let revision = self.0.set_properties(slot, vec![op]).await?;
        Ok(done.with("slot", slot.0).with("revision", revision.0))
    }

    /// Returns the slot of a session that the client is in.
    fn slot(&self, session: SessionId) -> Result<Slot, Refusal> {
        let sessions = self.0.sessions();
        let found = sessions.iter().find(|mirror| mirror.session() == session);
        found.map(|mirror| mirror.slot()).ok_or(Refusal::NotIn(session))
    }
}

impl Refusal {
    fn said(&self, name: &str) -> Said {
        match self {
            Self::Request(RequestError::Refused(code)) => Said::error(name, Some(*code), code),
            Self::Request(error) => Said::error(name, None, error),
            Self::Send(error) => Said::error(name, code_of(error), error),
            Self::NotIn(session) => Said::error(
                name,
                Some(ErrorCode::NotAMember),
                format_args!("not a member of session {session}"),
            ),
        }
    }
}

/// Returns the code with which the server would refuse what the client did not even send.
fn code_of(error: &SendError) -> Option<ErrorCode> {
    match error {
        SendError::NotAMember(_) => Some(ErrorCode::NotAMember),
        SendError::TooLarge { .. } => Some(ErrorCode::PayloadTooLarge),
        SendError::NotConnected | SendError::WouldBlock | SendError::Recipients(_) => None,
    }
}

impl From<RequestError> for Refusal {
    fn from(error: RequestError) -> Self {
        Self::Request(error)
    }
}

impl From<SendError> for Refusal {
    fn from(error: SendError) -> Self {
        Self::Send(error)
    }
}

/// Converts a property value: a whole number stays one, everything else is text, also `007`, which as a
/// number would be shown as another text.
fn property(value: String) -> PropertyValue {
    match value.parse::<i64>() {
        Ok(number) if number.to_string() == value => PropertyValue::Integer(number),
        _ => PropertyValue::Bytes(Bytes::from(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_written_like_a_number_is_one() {
        for (text, number) in [("0", 0), ("-5", -5), ("9223372036854775807", i64::MAX)] {
            assert_eq!(property(text.to_owned()), PropertyValue::Integer(number));
        }
        for text in ["007", "+5", "-0", "5 ", "9223372036854775808", "1e3", ""] {
            assert_eq!(property(text.to_owned()), PropertyValue::Bytes(Bytes::from(text)), "{text}");
        }
    }
}
