//! [`Counters`]: what an endpoint has received, dropped and answered.

/// Declares the reasons with their names.
macro_rules! reasons {
    ($($(#[$doc:meta])* $reason:ident = $name:literal,)+) => {
        /// Why a datagram, or the HELLO in it, was dropped or refused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum DropReason {
            $($(#[$doc])* $reason,)+
        }

        impl DropReason {
            /// All reasons.
            pub const ALL: &'static [Self] = &[$(Self::$reason,)+];

            /// Returns the reason's name in metrics and logs.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$reason => $name,)+
                }
            }
        }
    };
}

reasons! {
    /// A clear packet that is not 1,200 bytes long, or an empty datagram.
    BadLength = "bad_length",
    /// Wrong magic or checksum: noise, or another game.
    BadChecksum = "bad_checksum",
    /// A clear packet of another version.
    BadVersion = "bad_version",
    /// A clear packet that is not a well-formed HELLO.
    Malformed = "malformed",
    /// A HELLO without a valid cookie where one is required.
    NoCookie = "no_cookie",
    /// A token that was not made with a key in use.
    TokenForged = "token_forged",
    /// An authentic token with invalid claims.
    TokenMalformed = "token_malformed",
    /// A token that has expired.
    TokenExpired = "token_expired",
    /// A token issued in the future.
    TokenEarly = "token_early",
    /// A token for another server.
    WrongServer = "wrong_server",
    /// A token that has already made its connection.
    TokenUsed = "token_used",
    /// A Noise message whose sender does not know the token's secret.
    HandshakeForged = "handshake_forged",
    /// The owner refused the connection.
    Refused = "refused",
    /// No room for another connection.
    Full = "full",
    /// Too many half-open connections.
    HandshakesFull = "handshakes_full",
    /// Too many tokens that were used and have not expired.
    LedgerFull = "ledger_full",
    /// No new connections, because the server is about to stop.
    Draining = "draining",
    /// The user or the token has too many half-open connections.
    UserLimit = "user_limit",
    /// The address's prefix has too many half-open connections.
    AddressLimit = "address_limit",
    /// A sealed packet for a connection that is not known here.
    UnknownConnection = "unknown_connection",
    /// A sealed packet that is malformed.
    SealedMalformed = "sealed_malformed",
    /// A sealed packet that was received before, or is too old to tell.
    Replayed = "replayed",
    /// A sealed packet that does not open.
    DoesNotOpen = "does_not_open",
    /// A sealed packet that came too late, or for a closed connection.
    Late = "late",
    /// A sealed packet with a message for which there was no memory; it is sent again.
    OverBudget = "over_budget",
    /// A sealed packet larger than every path carries, from a host other than the client's.
    OffPath = "off_path",
}

/// What an endpoint has done, counted from its creation.
#[derive(Debug, Clone, Default)]
pub struct Counters {
    /// Bytes of datagrams received that prove nothing: all except sealed packets that were not dropped.
    pub unproven_bytes_received: u64,
    /// Bytes of all clear packets sent, nearly all of them to addresses that have proven nothing.
    pub unproven_bytes_sent: u64,
    /// RETRYs sent.
    pub retries_sent: u64,
    dropped: [u64; DropReason::ALL.len()],
}

impl Counters {
    /// Returns how many datagrams were dropped for `reason`.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped.get(reason as usize).copied().unwrap_or(0)
    }

    /// Returns all drops, by reason.
    pub fn dropped_by_reason(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        DropReason::ALL.iter().map(|reason| (*reason, self.dropped(*reason)))
    }

    pub(super) fn count_dropped(&mut self, reason: DropReason) {
        if let Some(count) = self.dropped.get_mut(reason as usize) {
            *count += 1;
        }
    }
}
