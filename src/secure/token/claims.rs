//! [`Claims`]: the contents of a token, read from JSON and written to it.

use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use crate::base::{UnixTime, UserId};
use crate::secure::{base64, rfc3339};

/// Longest time from a token's `iat` to its `exp`. Spec: TOK-4.
pub const LIFETIME_MAX: Duration = Duration::from_secs(600);

/// Maximum length of a token's application data as JSON, in bytes. Spec: TOK-2.
pub const DATA_MAX_BYTES: usize = 256;

/// Identifies one token, and with it the one connection that it may make: `jti`, 1 to 64 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TokenId(Arc<str>);

impl TokenId {
    /// Longest id, in bytes.
    pub const MAX_BYTES: usize = 64;

    /// Checks the length of an id and wraps it; `None` if it is empty or too long.
    pub fn new(text: &str) -> Option<Self> {
        (1..=Self::MAX_BYTES).contains(&text.len()).then(|| Self(text.into()))
    }

    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The secret that a token's owner shares with the server; wiped when dropped, without `Debug`. Boxed, so
/// that a move leaves no copy behind.
#[derive(Clone)]
pub struct Psk(Box<Zeroizing<[u8; 32]>>);

impl Psk {
    /// Creates the secret from its bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Box::new(Zeroizing::new(bytes)))
    }

    /// Reads base64url text; `None` if it is not 32 bytes.
    pub fn from_base64(text: &str) -> Option<Self> {
        base64::decode(text).map(|bytes| Self(Box::new(bytes)))
    }

    /// Returns the secret as base64url text, wiped when dropped.
    pub fn to_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(base64::encode(&**self.0))
    }

    /// Returns the bytes.
    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// The contents of an authentic token. Spec: TOK-2.
#[derive(Clone)]
pub struct Claims {
    /// `sub`: the user who connects with it.
    pub user: UserId,
    /// `jti`: the token's id.
    pub id: TokenId,
    /// `iat`: the time of issue.
    pub issued: UnixTime,
    /// `exp`: the time from which it is void.
    pub expires: UnixTime,
    /// `aud`: the server that it is for, as the server is configured to call itself.
    pub audience: String,
    /// `psk`: the secret that its owner knows in addition to the token.
    pub psk: Psk,
    /// `data`: the application's data about the user, for its server.
    pub data: Option<Value>,
}

impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claims")
            .field("user", &self.user)
            .field("id", &self.id)
            .field("issued", &self.issued)
            .field("expires", &self.expires)
            .field("audience", &self.audience)
            .field("data", &self.data)
            .finish_non_exhaustive()
    }
}

impl Claims {
    /// Reads the JSON of an authentic token; unknown members are ignored.
    ///
    /// # Errors
    /// [`ClaimsError`] if a claim is missing, has the wrong type or breaks its limit.
    // spec: TOK-2
    pub(super) fn from_json(json: &str) -> Result<Self, ClaimsError> {
        let Ok(Value::Object(mut members)) = serde_json::from_str(json) else {
            return Err(ClaimsError::NotAnObject);
        };
        let claims = Self::from_members(&mut members);
        wipe(members.remove("psk"));
        claims
    }

    fn from_members(members: &mut Map<String, Value>) -> Result<Self, ClaimsError> {
        let data = members.remove("data").filter(|data| !data.is_null());
        if let Some(data) = &data {
            check_data(data)?;
        }
        let claims = Self {
            user: UserId::new(text(members, "sub")?).map_err(|_| ClaimsError::Value("sub"))?,
            id: TokenId::new(text(members, "jti")?).ok_or(ClaimsError::Value("jti"))?,
            issued: time(members, "iat")?,
            expires: time(members, "exp")?,
            audience: text(members, "aud")?.to_owned(),
            psk: Psk::from_base64(text(members, "psk")?).ok_or(ClaimsError::Value("psk"))?,
            data,
        };
        claims.check_lifetime()?;
        Ok(claims)
    }

    /// Returns the JSON of a token with these claims, wiped when dropped.
    ///
    /// # Errors
    /// [`ClaimsError`] if `data` or the lifetime breaks its limit.
    pub(super) fn to_json(&self) -> Result<Zeroizing<String>, ClaimsError> {
        self.check_lifetime()?;
        let mut members = Map::new();
        members.insert("sub".into(), json!(self.user.as_str()));
        members.insert("jti".into(), json!(self.id.as_str()));
        members.insert("iat".into(), json!(rfc3339::format(self.issued)));
        members.insert("exp".into(), json!(rfc3339::format(self.expires)));
        members.insert("aud".into(), json!(self.audience));
        members.insert("psk".into(), json!(*self.psk.to_base64()));
        if let Some(data) = &self.data {
            check_data(data)?;
            members.insert("data".into(), data.clone());
        }
        let mut value = Value::Object(members);
        let json = wiped_text(&value);
        wipe(value.get_mut("psk").map(Value::take));
        Ok(json)
    }

    // spec: TOK-4
    fn check_lifetime(&self) -> Result<(), ClaimsError> {
        if self.expires <= self.issued || self.expires > self.issued + LIFETIME_MAX {
            return Err(ClaimsError::Lifetime);
        }
        Ok(())
    }
}

/// Reason why the contents of an authentic token are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClaimsError {
    /// The payload is not a JSON object.
    #[error("token payload is not a JSON object")]
    NotAnObject,
    /// A claim is missing, or is not text.
    #[error("claim {0} is missing or not text")]
    Type(&'static str),
    /// A claim's text is invalid.
    #[error("claim {0} has no legal value")]
    Value(&'static str),
    /// The application's data is too large.
    #[error("claim data takes {bytes} bytes, allowed are {DATA_MAX_BYTES}")]
    DataTooLarge {
        /// Its length as JSON.
        bytes: usize,
    },
    /// `exp` is not after `iat`, or too long after it.
    #[error("exp must be after iat, by at most {} s", LIFETIME_MAX.as_secs())]
    Lifetime,
}

fn text<'a>(members: &'a Map<String, Value>, claim: &'static str) -> Result<&'a str, ClaimsError> {
    members.get(claim).and_then(Value::as_str).ok_or(ClaimsError::Type(claim))
}

fn time(members: &Map<String, Value>, claim: &'static str) -> Result<UnixTime, ClaimsError> {
    rfc3339::parse(text(members, claim)?).ok_or(ClaimsError::Value(claim))
}

fn check_data(data: &Value) -> Result<(), ClaimsError> {
    match data.to_string().len() {
        0..=DATA_MAX_BYTES => Ok(()),
        bytes => Err(ClaimsError::DataTooLarge { bytes }),
    }
}

/// The text of a JSON value that holds a secret, wiped when dropped. A text that outgrows its buffer would leave parts of
/// it in the former one.
pub(super) fn wiped_text(value: &Value) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(USUAL_TEXT_BYTES));
    // A `String` takes all that is written.
    let _ = write!(*text, "{value}");
    text
}

/// More than a grant with 16 names of 253 characters.
const USUAL_TEXT_BYTES: usize = 8 << 10;

/// Wipes the text of a JSON value that held a secret.
pub(super) fn wipe(value: Option<Value>) {
    if let Some(Value::String(text)) = value {
        drop(Zeroizing::new(text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members() -> Value {
        json!({
            "sub": "anna", "jti": "t-1",
            "iat": "2026-01-01T00:00:00Z", "exp": "2026-01-01T00:10:00+00:00",
            "aud": "127.0.0.1:7777",
            "psk": "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA",
            "data": {"team": 3}, "nbf": "ignored"
        })
    }

    fn with(claim: &str, value: Value) -> Result<Claims, ClaimsError> {
        let mut members = members();
        members[claim] = value;
        Claims::from_json(&members.to_string())
    }

    // spec-test: TOK-2
    #[test]
    fn a_payload_is_json_that_64_bits_and_127_levels_hold() {
        let read = |claim: &str| {
            let json = members().to_string();
            let open = json.strip_suffix('}').unwrap();
            Claims::from_json(&format!("{open},{claim}}}"))
        };
        let nested = |levels: usize| format!("\"x\":{}{}", "[".repeat(levels), "]".repeat(levels));
        // The payload itself is a level.
        for good in [nested(126), "\"x\":1e300".into(), "\"x\":\"\\ud83d\\ude00\"".into()] {
            assert!(read(&good).is_ok(), "{good}");
        }
        for bad in [nested(127), "\"x\":1e999".into(), "\"x\":\"\\ud800\"".into()] {
            assert_eq!(read(&bad).err(), Some(ClaimsError::NotAnObject), "{bad}");
        }
        let data = |text: &str| read(&format!("\"data\":{text}")).unwrap().data.unwrap().to_string();
        assert_eq!(data("18446744073709551615"), "18446744073709551615");
        assert_eq!(data("12345678901234567890123"), "1.2345678901234568e+22", "a double");
    }

    // spec-test: TOK-2
    #[test]
    fn claims_are_read_and_written() {
        let claims = Claims::from_json(&members().to_string()).unwrap();
        assert_eq!((claims.user.as_str(), claims.id.as_str()), ("anna", "t-1"));
        assert_eq!(claims.expires, claims.issued + Duration::from_secs(600));
        assert_eq!(claims.audience, "127.0.0.1:7777");
        assert_eq!(claims.psk.bytes()[..3], [1, 2, 3]);
        assert_eq!(claims.data, Some(json!({"team": 3})));
        let again = Claims::from_json(&claims.to_json().unwrap()).unwrap();
        assert_eq!(format!("{claims:?}"), format!("{again:?}"));
        assert_eq!(claims.psk.bytes(), again.psk.bytes());
    }

    // spec-test: TOK-2
    #[test]
    fn each_missing_or_mistyped_claim_is_named() {
        for claim in ["sub", "jti", "iat", "exp", "aud", "psk"] {
            assert_eq!(with(claim, json!(5)).err(), Some(ClaimsError::Type(claim)));
            assert_eq!(with(claim, Value::Null).err(), Some(ClaimsError::Type(claim)));
        }
        for (claim, value) in [
            ("sub", "".to_owned()),
            ("sub", "x".repeat(65)),
            ("jti", "".to_owned()),
            ("jti", "x".repeat(65)),
            ("iat", "yesterday".to_owned()),
            ("exp", "2026-02-30T00:00:00Z".to_owned()),
            ("psk", "AQID".to_owned()),
            ("psk", "A".repeat(44)),
        ] {
            assert_eq!(with(claim, json!(value)).err(), Some(ClaimsError::Value(claim)), "{value}");
        }
        assert_eq!(Claims::from_json("[]").err(), Some(ClaimsError::NotAnObject));
        assert_eq!(Claims::from_json("{").err(), Some(ClaimsError::NotAnObject));
    }

    // spec-test: TOK-2
    #[test]
    fn of_a_claim_that_stands_there_twice_the_last_one_counts() {
        let twice = members().to_string().replace(r#""sub":"anna""#, r#""sub":"anna","sub":"bob""#);
        assert_eq!(Claims::from_json(&twice).unwrap().user.as_str(), "bob");
    }

    // spec-test: TOK-4
    #[test]
    fn a_lifetime_is_positive_and_at_most_ten_minutes() {
        for (exp, legal) in [
            ("2026-01-01T00:10:00.001Z", false),
            ("2026-01-01T00:10:00Z", true),
            ("2026-01-01T00:00:00.001Z", true),
            ("2026-01-01T00:00:00Z", false),
            ("2025-12-31T23:59:00Z", false),
        ] {
            let expected = if legal { None } else { Some(ClaimsError::Lifetime) };
            assert_eq!(with("exp", json!(exp)).err(), expected, "{exp}");
        }
    }

    // spec-test: TOK-2
    #[test]
    fn app_data_is_at_most_256_bytes() {
        assert!(with("data", json!("x".repeat(254))).is_ok());
        let error = ClaimsError::DataTooLarge { bytes: 257 };
        assert_eq!(with("data", json!("x".repeat(255))).err(), Some(error));
        assert_eq!(with("data", Value::Null).unwrap().data, None);
    }

    #[test]
    fn debug_output_holds_no_secret() {
        let claims = Claims::from_json(&members().to_string()).unwrap();
        let debug = format!("{claims:?}");
        assert!(!debug.contains("psk") && !debug.contains("1, 2, 3") && !debug.contains("AQIDBA"));
    }
}
