//! [`Line`]: one command of the terminal client, as it is typed.

use std::str::FromStr;
use std::time::Duration;

use crate::base::{InviteId, MemberId, SessionId, SessionKind, Slot, UserId};
use crate::cli::units;
use crate::wire::{InviteTtl, MaxMembers, PropertyKey};

/// A command; [`HELP`] lists the forms of all commands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is described in `HELP`, which users read")]
pub enum Line {
    Create { kind: SessionKind, max: MaxMembers },
    Invite { session: SessionId, user: UserId, ttl: InviteTtl, hold_seat: bool },
    Invites,
    Accept(InviteId),
    Decline(InviteId),
    Revoke(InviteId),
    Say { slot: Slot, text: String },
    Tell { slot: Slot, member: MemberId, text: String },
    Set { slot: Slot, key: PropertyKey, value: String },
    Increment { slot: Slot, key: PropertyKey, by: i64 },
    Members(Slot),
    Kick { slot: Slot, member: MemberId },
    Transfer { slot: Slot, member: MemberId },
    Delete(Slot),
    Leave(Slot),
    Wait(Duration),
    Help,
    Quit,
}

/// The commands that may be typed.
pub const HELP: &str = "\
create KIND MAX             a new session of at most MAX members
invite SESSION USER TTL     invite a user, as in: invite 81985529216486895 bob 60s; with `hold` behind it a seat is held
invites                     your open invites
accept INVITE               join with an invite, as in: accept 81985529216486895-1
decline INVITE              tell the owner that you will not join
revoke INVITE               take an invite of your session back
say SLOT TEXT               to every member of the session at that slot
tell SLOT MEMBER TEXT       to one member
set SLOT KEY VALUE          a property; a whole number stays one, all else is text
incr SLOT KEY N             add to a property that is a whole number
members SLOT                who is there
kick SLOT MEMBER            remove a member (owner)
transfer SLOT MEMBER        make a member the owner (owner)
delete SLOT                 end the session (owner)
leave SLOT                  leave the session
wait DURATION               do nothing for a while, as in: wait 2s
help                        this
quit                        leave the sessions, close the connection and end";

/// Returns true if `word` begins a command.
pub fn is_command(word: &str) -> bool {
    HELP.lines().any(|line| line.split_whitespace().next() == Some(word))
}

/// Why a line is not a command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// The first word is unknown.
    #[error("no such command: `{0}`; `help` lists them")]
    Unknown(String),
    /// A word is missing, superfluous or unreadable.
    #[error("{0}; `help` lists the commands")]
    Words(String),
}

impl FromStr for Line {
    type Err = LineError;

    fn from_str(text: &str) -> Result<Self, LineError> {
        let mut words = Words(text);
        let command = words.word("command")?;
        let line = match command {
            "create" => Self::Create { kind: words.id("KIND", SessionKind)?, max: words.max_members()? },
            "invite" => Self::Invite {
                session: words.id("SESSION", SessionId)?,
                user: words.parsed("USER")?,
                ttl: words.ttl()?,
                hold_seat: words.option("hold"),
            },
            "invites" => Self::Invites,
            "accept" => Self::Accept(words.parsed("INVITE")?),
            "decline" => Self::Decline(words.parsed("INVITE")?),
            "revoke" => Self::Revoke(words.parsed("INVITE")?),
            "say" => Self::Say { slot: words.id("SLOT", Slot)?, text: words.text() },
            "tell" => Self::Tell {
                slot: words.id("SLOT", Slot)?,
                member: words.id("MEMBER", MemberId)?,
                text: words.text(),
            },
            "set" => Self::Set { slot: words.id("SLOT", Slot)?, key: words.key()?, value: words.text() },
            "incr" => {
                Self::Increment { slot: words.id("SLOT", Slot)?, key: words.key()?, by: words.parsed("N")? }
            }
            "members" => Self::Members(words.id("SLOT", Slot)?),
            "kick" => Self::Kick { slot: words.id("SLOT", Slot)?, member: words.id("MEMBER", MemberId)? },
            "transfer" => {
                Self::Transfer { slot: words.id("SLOT", Slot)?, member: words.id("MEMBER", MemberId)? }
            }
            "delete" => Self::Delete(words.id("SLOT", Slot)?),
            "leave" => Self::Leave(words.id("SLOT", Slot)?),
            "wait" => Self::Wait(words.duration()?),
            "help" => Self::Help,
            "quit" => Self::Quit,
            unknown => return Err(LineError::Unknown(unknown.to_owned())),
        };
        words.end()?;
        Ok(line)
    }
}

impl Line {
    /// Returns the word with which the command begins.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Create { .. } => "create",
            Self::Invite { .. } => "invite",
            Self::Invites => "invites",
            Self::Accept(_) => "accept",
            Self::Decline(_) => "decline",
            Self::Revoke(_) => "revoke",
            Self::Say { .. } => "say",
            Self::Tell { .. } => "tell",
            Self::Set { .. } => "set",
            Self::Increment { .. } => "incr",
            Self::Members(_) => "members",
            Self::Kick { .. } => "kick",
            Self::Transfer { .. } => "transfer",
            Self::Delete(_) => "delete",
            Self::Leave(_) => "leave",
            Self::Wait(_) => "wait",
            Self::Help => "help",
            Self::Quit => "quit",
        }
    }
}

/// The rest of a line.
struct Words<'a>(&'a str);

impl<'a> Words<'a> {
    fn word(&mut self, name: &str) -> Result<&'a str, LineError> {
        let text = self.0.trim_start();
        let (word, rest) = text.split_at(text.find(char::is_whitespace).unwrap_or(text.len()));
        if word.is_empty() {
            return Err(LineError::Words(format!("{name} is missing")));
        }
        self.0 = rest;
        Ok(word)
    }

    /// Takes everything that is left, without the one space after the previous word.
    fn text(&mut self) -> String {
        let rest = std::mem::take(&mut self.0);
        rest.strip_prefix(char::is_whitespace).unwrap_or(rest).to_owned()
    }

    fn parsed<T: FromStr<Err: std::fmt::Display>>(&mut self, name: &str) -> Result<T, LineError> {
        let word = self.word(name)?;
        word.parse().map_err(|error| LineError::Words(format!("{name} `{word}`: {error}")))
    }

    /// Takes a number and converts it to an identifier with `make`.
    fn id<N: FromStr<Err: std::fmt::Display>, T>(
        &mut self,
        name: &str,
        make: fn(N) -> T,
    ) -> Result<T, LineError> {
        self.parsed(name).map(make)
    }

    fn key(&mut self) -> Result<PropertyKey, LineError> {
        let word = self.word("KEY")?;
        PropertyKey::new(word).map_err(|error| LineError::Words(format!("KEY `{word}`: {error}")))
    }

    fn max_members(&mut self) -> Result<MaxMembers, LineError> {
        let max = self.parsed("MAX")?;
        MaxMembers::new(max).map_err(|error| LineError::Words(format!("MAX: {error}")))
    }

    fn duration(&mut self) -> Result<Duration, LineError> {
        units::duration(self.word("DURATION")?).map_err(|error| LineError::Words(error.to_string()))
    }

    fn ttl(&mut self) -> Result<InviteTtl, LineError> {
        let refused = || LineError::Words("TTL: whole seconds from 1 to 86400, as in 60 or 60s".to_owned());
        let word = self.word("TTL")?;
        if let Ok(secs) = word.parse() {
            return InviteTtl::new(secs).map_err(|_| refused());
        }
        let ttl = units::duration(word).map_err(|error| LineError::Words(error.to_string()))?;
        let secs = u32::try_from(ttl.as_secs()).map_err(|_| refused())?;
        if ttl.subsec_nanos() != 0 { Err(refused()) } else { InviteTtl::new(secs).map_err(|_| refused()) }
    }

    /// Takes the next word if it is `name`.
    fn option(&mut self, name: &str) -> bool {
        let rest = self.0.trim_start().strip_prefix(name);
        let rest = rest.filter(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace));
        rest.map(|rest| self.0 = rest).is_some()
    }

    fn end(mut self) -> Result<(), LineError> {
        match self.word("") {
            Ok(word) => Err(LineError::Words(format!("`{word}` is one word too many"))),
            Err(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Result<Line, String> {
        text.parse().map_err(|error: LineError| error.to_string())
    }

    #[test]
    fn every_command_of_the_help_is_read() {
        let examples = [
            "create 7 8",
            "invite 9 bob 60s",
            "invites",
            "accept 9-1",
            "decline 9-1",
            "revoke 9-1",
            "say 1 hello",
            "tell 1 2 hello",
            "set 1 score 5",
            "incr 1 score -5",
            "members 1",
            "kick 1 2",
            "transfer 1 2",
            "delete 1",
            "leave 1",
            "wait 250ms",
            "help",
            "quit",
        ];
        assert_eq!(HELP.lines().count(), examples.len());
        for (example, help) in examples.iter().zip(HELP.lines()) {
            let name = line(example).unwrap().name();
            assert_eq!(Some(name), example.split(' ').next());
            assert_eq!(Some(name), help.split(' ').next());
        }
    }

    #[test]
    fn text_is_taken_as_it_is() {
        let say = Line::Say { slot: Slot(1), text: " two  spaces ".to_owned() };
        assert_eq!(line("say 1  two  spaces "), Ok(say));
        assert_eq!(line("say 1"), Ok(Line::Say { slot: Slot(1), text: String::new() }));
    }

    #[test]
    fn an_invite_holds_a_seat_when_told_so() {
        let holds = |text: &str| match line(text) {
            Ok(Line::Invite { hold_seat, .. }) => Ok(hold_seat),
            Ok(_) => panic!("no invite: {text}"),
            Err(error) => Err(error),
        };
        assert_eq!(holds("invite 9 bob 60s"), Ok(false));
        assert_eq!(holds("invite 9 bob 60s  hold "), Ok(true));
        assert!(holds("invite 9 bob 60s holds").unwrap_err().starts_with("`holds` is one word too many"));
        assert!(holds("invite 9 bob 60s hold hold").unwrap_err().starts_with("`hold` is one word too many"));
    }

    #[test]
    fn a_ttl_without_a_unit_is_in_seconds() {
        assert_eq!(line("invite 9 bob 60"), line("invite 9 bob 60s"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = |text| line(text).unwrap_err();
        assert_eq!(error("dance"), "no such command: `dance`; `help` lists them");
        assert!(error("create 7").starts_with("MAX is missing"));
        assert!(error("create 7 0").starts_with("MAX: "));
        assert!(error("leave 1 2").starts_with("`2` is one word too many"));
        assert!(error("accept 9").starts_with("INVITE `9`: "));
        assert!(error("invite 9 bob 0").starts_with("TTL: whole seconds"));
        assert!(error("invite 9 bob 1500ms").starts_with("TTL: whole seconds"));
        assert!(error("invite 9 bob 25h").starts_with("TTL: whole seconds"));
    }
}
