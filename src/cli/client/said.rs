//! What the terminal client prints for events and results: a line for people or a JSON object.

use std::fmt;

use ct_codecs::{Base64, Encoder};
use serde_json::{Map, Value, json};

use crate::cli::delivery;
use crate::client::{Disconnected, Event, Invitation, Mirror};
use crate::wire::{ErrorCode, PropertyChange, PropertyValue};

/// One line of output: its subject, and its members in order.
///
/// 64-bit ids are text also in JSON, because many JSON readers store numbers as floating point.
#[derive(Debug, Clone, PartialEq)]
pub struct Said {
    /// `event`, `result` or `error`.
    class: &'static str,
    name: String,
    members: Vec<(&'static str, Value)>,
}

impl Said {
    fn new(class: &'static str, name: &str) -> Self {
        Self { class, name: name.to_owned(), members: Vec::new() }
    }

    /// Creates the result of the command `name`.
    pub fn result(name: &str) -> Self {
        Self::new("result", name)
    }

    /// Creates the error of the command `name`, which was not executed; `code` is the server's code for such
    /// a refusal, if any.
    pub fn error(name: &str, code: Option<ErrorCode>, text: impl fmt::Display) -> Self {
        Self::new("error", name).with("code", code.map(ErrorCode::name)).with("text", text.to_string())
    }

    /// Adds a member.
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.members.push((name, value.into()));
        self
    }

    /// Returns the line as one JSON object.
    pub fn to_json(&self) -> String {
        let mut object = Map::new();
        object.insert(self.class.to_owned(), self.name.clone().into());
        object.extend(self.members.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        harmless(&Value::Object(object).to_string())
    }
}

/// Formats the line for people: `event message slot=1 sender=2 text="hello"`.
impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.class, self.name)?;
        for (name, value) in self.members.iter().filter(|(_, value)| !value.is_null()) {
            write!(f, " {name}={}", harmless(&value.to_string()))?;
        }
        Ok(())
    }
}

/// Escapes the control characters that JSON leaves unescaped and a terminal may obey: DEL and those of the C1
/// set.
fn harmless(json: &str) -> String {
    json.chars().fold(String::with_capacity(json.len()), |mut text, char| {
        match char {
            '\u{7f}'..='\u{9f}' => text.push_str(&format!("\\u{:04x}", u32::from(char))),
            char => text.push(char),
        }
        text
    })
}

/// Converts an event to its line of output.
impl From<&Event> for Said {
    fn from(event: &Event) -> Self {
        let said = |name| {
            let said = Self::new("event", name);
            let said = match event.slot() {
                Some(slot) => said.with("slot", slot.0),
                None => said,
            };
            match event.number() {
                Some(number) => said.with("number", number.0),
                None => said,
            }
        };
        match event {
            Event::Entered { session, member, .. } => {
                said("entered").with("session", session.to_string()).with("member", member.0)
            }
            Event::MemberJoined { member, user, .. } => {
                said("member_joined").with("member", member.0).with("user", user.as_str())
            }
            Event::MemberLeft { member, user, why, reason, .. } => said("member_left")
                .with("member", member.0)
                .with("user", user.as_str())
                .with("why", why.name())
                .with("reason", reason.as_str()),
            Event::OwnerChanged { owner, .. } => said("owner_changed").with("owner", owner.0),
            Event::PropertiesChanged { revision, member, changes, .. } => said("properties_changed")
                .with("revision", revision.0)
                .with("member", member.0)
                .with("changes", changes.as_slice().iter().map(change).collect::<Vec<_>>()),
            Event::Message { sender, delivery, payload, .. } => {
                let said =
                    said("message").with("sender", sender.0).with("delivery", delivery::name(*delivery));
                match str::from_utf8(payload) {
                    Ok(text) => said.with("text", text),
                    Err(_) => said.with("base64", base64(payload)),
                }
            }
            Event::Receipt { .. } => said("receipt"),
            Event::SessionDeleted { why, reason, .. } => {
                said("session_deleted").with("why", why.name()).with("reason", reason.as_str())
            }
            Event::Refused { counter, code, .. } => {
                said("refused").with("counter", *counter).with("code", code.name())
            }
            Event::Lagging { .. } => said("lagging"),
            Event::Invited(invitation) => invited(said("invited"), invitation),
            Event::InviteRevoked { invite } => said("invite_revoked").with("invite", invite.to_string()),
            Event::InviteExpired { invite, user } => said("invite_expired")
                .with("invite", invite.to_string())
                .with("user", user.as_ref().map(|user| user.as_str())),
            Event::InviteDeclined { invite, user, reason } => said("invite_declined")
                .with("invite", invite.to_string())
                .with("user", user.as_str())
                .with("reason", reason.as_str()),
            Event::Disconnected(why) => {
                let code = match why {
                    Disconnected::ByServer { code, .. } => Some(code.name()),
                    _ => None,
                };
                said("disconnected")
                    .with("why", why.to_string())
                    .with("code", code)
                    .with("may_reconnect", why.may_reconnect())
            }
        }
    }
}

/// Adds an invitation's members.
pub fn invited(said: Said, invitation: &Invitation) -> Said {
    said.with("invite", invitation.invite.to_string())
        .with("kind", invitation.kind.0)
        .with("owner", invitation.owner.as_str())
        .with("ttl_left_ms", invitation.ttl_left_ms)
        .with("note", invitation.note.as_str())
}

/// Adds the members of a session.
pub fn members(said: Said, session: &Mirror) -> Said {
    let members: Vec<Value> = session
        .members()
        .map(|(member, user)| json!({"member": member.0, "user": user.as_str(), "owner": member == session.owner()}))
        .collect();
    said.with("slot", session.slot().0).with("members", members)
}

fn change(change: &PropertyChange) -> Value {
    match change {
        PropertyChange::Created { key, value, rule } => {
            json!({"key": key.as_str(), "value": property(value), "created": rule.name()})
        }
        PropertyChange::Set { key, value } => json!({"key": key.as_str(), "value": property(value)}),
        PropertyChange::Deleted { key } => json!({"key": key.as_str(), "value": null}),
    }
}

fn property(value: &PropertyValue) -> Value {
    match value {
        PropertyValue::Integer(number) => json!(number),
        PropertyValue::Bytes(bytes) => match str::from_utf8(bytes) {
            Ok(text) => json!(text),
            Err(_) => json!({"base64": base64(bytes)}),
        },
    }
}

fn base64(bytes: &[u8]) -> String {
    Base64::encode_to_string(bytes).expect("invariant: at most a message long")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{EventNumber, MemberId, Slot};
    use crate::wire::Delivery;
    use bytes::Bytes;

    #[test]
    fn an_event_is_one_line_for_people_and_for_scripts() {
        let event = Event::Message {
            slot: Slot(1),
            number: Some(EventNumber(7)),
            sender: MemberId(2),
            delivery: Delivery::ReliableOrdered,
            payload: Bytes::from_static(b"a \"b\"\n"),
        };
        let said = Said::from(&event);
        assert_eq!(
            said.to_string(),
            r#"event message slot=1 number=7 sender=2 delivery="ordered" text="a \"b\"\n""#
        );
        let json: Value = serde_json::from_str(&said.to_json()).unwrap();
        assert_eq!((&json["event"], &json["number"]), (&json!("message"), &json!(7)));
    }

    #[test]
    fn what_members_say_does_not_steer_a_terminal() {
        let said = Said::result("say").with("text", "a\u{1b}[2J\u{9b}2J\u{7f}é");
        assert_eq!(said.to_string(), r#"result say text="a\u001b[2J\u009b2J\u007fé""#);
        let json: Value = serde_json::from_str(&said.to_json()).unwrap();
        assert!(said.to_json().contains(r"\u009b") && json["text"] == "a\u{1b}[2J\u{9b}2J\u{7f}é");
    }

    #[test]
    fn what_is_no_text_is_not_made_one() {
        let message = |payload| Event::Message {
            slot: Slot(1),
            number: None,
            sender: MemberId(2),
            delivery: Delivery::Unreliable,
            payload: Bytes::from_static(payload),
        };
        let json: Value = serde_json::from_str(&Said::from(&message(&[0xff, 0])).to_json()).unwrap();
        assert_eq!((&json["base64"], json.get("text")), (&json!("/wA="), None));
        let json: Value = serde_json::from_str(&Said::from(&message(b"\0")).to_json()).unwrap();
        assert_eq!((json.get("base64"), &json["text"]), (None, &json!("\0")));
        let value = PropertyValue::Bytes(Bytes::from_static(&[0xfe, 0]));
        assert_eq!(property(&value), json!({"base64": "/gA="}));
        assert_eq!(property(&PropertyValue::Bytes(Bytes::from_static(b"7"))), json!("7"));
    }

    #[test]
    fn an_error_names_its_code() {
        let said = Said::error("kick", Some(ErrorCode::NotOwner), "refused");
        assert_eq!(said.to_json(), r#"{"code":"not_owner","error":"kick","text":"refused"}"#);
        assert_eq!(Said::error("say", None, "no").to_string(), r#"error say text="no""#);
    }
}
