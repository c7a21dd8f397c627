//! Every code that travels: one table a family yields the constants, their numbers, names and
//! texts, and the rows that the specification shows.

use std::fmt;

use crate::base::{DecodeError, Reader, Wire, Writer};

/// Declares a family of codes from its table.
macro_rules! codes {
    (
        $(#[$doc:meta])* $family:ident, $what:literal {
            $($code:ident = $number:literal, $name:literal, $text:literal;)+
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u8)]
        #[non_exhaustive]
        pub enum $family {
            $(
                #[doc = concat!("`", $name, "`: ", $text, ".")]
                $code = $number,
            )+
        }

        impl $family {
            /// Every code, by number.
            pub const ALL: &'static [Self] = &[$(Self::$code),+];

            /// The number on the wire.
            pub const fn number(self) -> u8 {
                self as u8
            }

            /// The code of a number, if there is one.
            pub const fn from_number(number: u64) -> Option<Self> {
                match number {
                    $($number => Some(Self::$code),)+
                    _ => None,
                }
            }

            /// The name, as specification, command line and JSON write it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$code => $name,)+
                }
            }

            /// What it means, for people.
            pub const fn text(self) -> &'static str {
                match self {
                    $(Self::$code => $text,)+
                }
            }

            /// The table as the specification shows it, in Markdown.
            pub fn table() -> String {
                table(Self::ALL.iter().map(|code| (code.number(), code.name(), code.text())))
            }
        }

        impl fmt::Display for $family {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.text())
            }
        }

        impl Wire for $family {
            fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
                let value = reader.varint($what)?;
                Self::from_number(value).ok_or(DecodeError::Unknown { what: $what, value })
            }

            fn write(&self, writer: &mut Writer) {
                writer.varint(u64::from(self.number()));
            }
        }
    };
}

codes! {
    /// Why a command was refused. Spec: ERR-1.
    ErrorCode, "error code" {
        Malformed = 1, "malformed", "the command's bytes are not those of a legal command";
        UnknownCommand = 2, "unknown_command", "no such command on this stream";
        Unsupported = 3, "unsupported", "reserved, never sent: the server does not support this yet";
        Busy = 4, "busy", "the server has no room for this right now, try again";
        RateLimited = 5, "rate_limited", "too many commands, bytes, new keys, invites or entries in a short time";
        ShuttingDown = 6, "shutting_down", "reserved, never sent: the server is shutting down";
        ServerFull = 7, "server_full", "the server holds as many sessions as it may";
        TooManySessions = 8, "too_many_sessions", "the user is in as many sessions as allowed";
        TooManyInvites = 9, "too_many_invites", "the user, the inviter or the session has as many open invites as allowed";
        NoSuchSession = 16, "no_such_session", "there is no such session";
        SessionNotOpen = 17, "session_not_open", "the session admits invited users only";
        SessionFull = 18, "session_full", "every seat of the session is taken or held";
        AlreadyMember = 19, "already_member", "the user is a member of the session already";
        NotAMember = 20, "not_a_member", "the sender is not a member of the session";
        NotOwner = 21, "not_owner", "only the session's owner may do this";
        NoSuchMember = 22, "no_such_member", "there is no such member in the session";
        InvalidTarget = 23, "invalid_target", "the owner cannot be the target of this";
        NoSuchInvite = 32, "no_such_invite", "there is no such invite";
        NotYourInvite = 33, "not_your_invite", "the invite is for another user";
        InviteExpired = 34, "invite_expired", "the invite's time is over";
        InviteRevoked = 35, "invite_revoked", "the invite was revoked or replaced";
        InviteUsed = 36, "invite_used", "the invite was used already";
        InviteDeclined = 37, "invite_declined", "the invite was declined";
        PayloadTooLarge = 48, "payload_too_large", "the payload is larger than its delivery allows";
        NoSuchProperty = 64, "no_such_property", "there is no property of this key";
        PropertyDenied = 65, "property_denied", "the property's write rule does not allow this member";
        PropertyNotInteger = 66, "property_not_integer", "only an integer can be incremented";
        PropertyOverflow = 67, "property_overflow", "the increment leaves the range of 64 bits";
        PropertyMismatch = 68, "property_mismatch", "the property is not what the compare expected";
        TooManyProperties = 69, "too_many_properties", "the session would have more properties than allowed";
        PropertiesTooLarge = 70, "properties_too_large", "the session's properties would be larger than allowed";
    }
}

impl std::error::Error for ErrorCode {}

codes! {
    /// Why an end closed a connection. Spec: CLO-1.
    CloseCode, "close code" {
        None = 0, "none", "the application closed the connection";
        ProtocolViolation = 1, "protocol_violation", "the peer broke the protocol";
        IdleTimeout = 2, "idle_timeout", "nothing was heard for too long, or no reliable message taken";
        Replaced = 3, "replaced", "another connection of the same user took over";
        Lagging = 4, "lagging", "the client did not take its messages fast enough, or takes none so large";
        ShuttingDown = 5, "shutting_down", "the server is shutting down";
        KickedByOperator = 6, "kicked_by_operator", "an operator ended the connection";
        Internal = 7, "internal", "an error inside this end";
        TooManyFailedOpens = 8, "too_many_failed_opens", "too many packets could not be opened";
        Full = 9, "full", "the server holds as many connections as it may";
    }
}

codes! {
    /// Why a server does not let a client connect. Spec: HSK-7.
    RejectCode, "reject code" {
        Version = 1, "version", "the server speaks another version of the protocol";
        TokenExpired = 2, "token_expired", "the connect token's time is over";
        TokenUsed = 3, "token_used", "the connect token was used already";
        WrongServer = 4, "wrong_server", "the connect token is for another server";
        Full = 5, "full", "the server has no room for another connection, handshake or token";
        Draining = 6, "draining", "the server is shutting down";
        TokenInvalid = 7, "token_invalid", "reserved, never sent: the connect token is not authentic";
        UserLimit = 8, "user_limit", "too many handshakes of this user";
        AddressLimit = 9, "address_limit", "too many handshakes from this address";
        Denied = 10, "denied", "the server's operator does not let the user connect";
    }
}

codes! {
    /// Why a member left its session. Spec: EVT-5.
    LeaveReason, "leave reason" {
        Left = 1, "left", "the member left or closed its connection";
        Kicked = 2, "kicked", "the owner or an operator removed the member";
        TimedOut = 3, "timed_out", "nothing was heard of the member for too long, or it took no reliable message";
        Lagging = 4, "lagging", "the member did not take its messages fast enough";
        Replaced = 5, "replaced", "a newer connection of the same user took over";
        Dropped = 6, "dropped", "the server closed the member's connection";
    }
}

codes! {
    /// Why a session ended. Spec: EVT-9.
    DeleteReason, "delete reason" {
        Deleted = 1, "deleted", "the owner deleted the session";
        OwnerLeft = 2, "owner_left", "the owner left, and the session ends with it";
        Idle = 3, "idle", "the session was empty for too long";
        ShuttingDown = 4, "shutting_down", "reserved, never sent: the server is shutting down (CON-8)";
        ClosedByOperator = 5, "closed_by_operator", "an operator ended the session";
    }
}

/// Renders rows of number, name and text.
fn table(rows: impl Iterator<Item = (u8, &'static str, &'static str)>) -> String {
    let mut table = String::from("| code | name | meaning |\n|---|---|---|\n");
    for (number, name, text) in rows {
        table.push_str(&format!("| {number} | `{name}` | {text} |\n"));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    // spec-test: ERR-1
    #[test]
    fn numbers_and_names_are_unique_and_read_back() {
        let mut names = BTreeSet::new();
        for &code in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_number(u64::from(code.number())), Some(code));
            assert_eq!(ErrorCode::from_bytes(code.to_bytes()), Ok(code));
            assert!(names.insert(code.name()), "{} twice", code.name());
        }
        assert!(ErrorCode::ALL.is_sorted());
    }

    // spec-test: CLO-1
    #[test]
    fn known_bytes() {
        assert_eq!(ErrorCode::PropertiesTooLarge.to_bytes(), &[0x40, 70][..]);
        assert_eq!(CloseCode::Lagging.to_bytes(), &[4][..]);
        assert_eq!(LeaveReason::TimedOut.to_bytes(), &[3][..]);
        assert_eq!(DeleteReason::Deleted.to_bytes(), &[1][..]);
    }

    /// The last one has the low byte of a known code.
    // spec-test: ERR-1
    #[test]
    fn an_unknown_code_is_refused_by_name() {
        for value in [0, 7, 60, 257] {
            let mut writer = Writer::new();
            writer.varint(value);
            let read = LeaveReason::from_bytes(writer.finish());
            assert_eq!(read, Err(DecodeError::Unknown { what: "leave reason", value }));
        }
    }

    #[test]
    fn the_table_has_a_row_a_code() {
        let table = LeaveReason::table();
        assert_eq!(table.lines().count(), 2 + LeaveReason::ALL.len());
        assert!(
            table.contains("| 2 | `kicked` | the owner or an operator removed the member |\n"),
            "{table}"
        );
    }
}
