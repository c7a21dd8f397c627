//! [`open`]: turns a token's text into its claims, or returns the reason why it is invalid.

use pasetors::token::{Local, UntrustedToken};
use pasetors::version4::{LocalToken, V4};
use serde_json::Value;

use super::{Claims, ClaimsError, TOKEN_MAX_BYTES, TokenKey};

/// Maximum length of a token's footer before base64, in bytes. Spec: TOK-7.
const FOOTER_MAX_BYTES: usize = 64;

/// Opens a token with the key that its footer names, or with any key if it names none.
///
/// The caller checks whether it is already valid or has expired, and whether it is for this server.
///
/// # Errors
/// [`TokenError`]. All variants except [`TokenError::Claims`] mean that no holder of a key made the token.
// spec: TOK-7
pub fn open(keys: &[TokenKey], token: &[u8]) -> Result<Claims, TokenError> {
    if token.len() > TOKEN_MAX_BYTES {
        return Err(TokenError::Malformed);
    }
    let text = std::str::from_utf8(token).map_err(|_| TokenError::Malformed)?;
    let token = UntrustedToken::<Local, V4>::try_from(text).map_err(|_| TokenError::Malformed)?;
    let id = key_id(token.untrusted_footer())?;
    let mut named = keys.iter().filter(|key| id.as_deref().is_none_or(|id| key.id() == id)).peekable();
    if named.peek().is_none() {
        return Err(TokenError::UnknownKey);
    }
    let opened = named.find_map(|key| LocalToken::decrypt(&key.key, &token, None, None).ok());
    Claims::from_json(opened.ok_or(TokenError::Forged)?.payload()).map_err(TokenError::Claims)
}

/// Returns the key id in a footer, which is empty or a JSON object of which only `kid` counts.
fn key_id(footer: &[u8]) -> Result<Option<String>, TokenError> {
    if footer.is_empty() {
        return Ok(None);
    }
    if footer.len() > FOOTER_MAX_BYTES {
        return Err(TokenError::Malformed);
    }
    let Ok(Value::Object(mut members)) = serde_json::from_slice(footer) else {
        return Err(TokenError::Malformed);
    };
    match members.remove("kid") {
        Some(Value::String(id)) => Ok(Some(id)),
        _ => Err(TokenError::Malformed),
    }
}

/// Reason why a token is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is not a PASETO v4.local token, or its footer is not allowed.
    #[error("token is malformed")]
    Malformed,
    /// It was made with a key that is not, or no longer, in use.
    #[error("token is of an unknown key")]
    UnknownKey,
    /// It does not open, because somebody else made it or it was changed.
    #[error("token is forged")]
    Forged,
    /// It is authentic, but its claims are illegal.
    #[error(transparent)]
    Claims(#[from] ClaimsError),
}

#[cfg(test)]
mod tests {
    use super::super::mint::forge;
    use super::super::{MintError, MintRequest, mint};
    use super::*;
    use crate::base::{UnixTime, UserId};
    use pasetors::keys::SymmetricKey;
    use rand::SeedableRng;
    use serde_json::json;

    const CLAIMS: &str = r#"{"sub":"bob","jti":"1","iat":"2026-01-01T00:00:00Z","exp":"2026-01-01T00:01:00Z","aud":"s","psk":"AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA"}"#;

    fn key(byte: u8) -> TokenKey {
        TokenKey::from_bytes(&[byte; 32])
    }

    fn token(of: &TokenKey) -> String {
        token_for(of, "127.0.0.1:7777").unwrap()
    }

    fn token_for(of: &TokenKey, server: &str) -> Result<String, MintError> {
        let request = MintRequest::new(UserId::new("anna").unwrap(), server);
        let mut rng = rand::rngs::StdRng::seed_from_u64(1);
        mint(of, request, UnixTime::from_secs(1_000), &mut rng).map(|grant| grant.token)
    }

    /// The published vectors 4-E-1, 4-E-5 and 4-E-6 of PASETO v4.local, through the crate used here.
    #[test]
    fn the_published_paseto_vectors_open() {
        let key: [u8; 32] = std::array::from_fn(|at| 0x70 + at as u8);
        let key = SymmetricKey::from(&key).unwrap();
        let footer = r#"{"kid":"zVhMiPBP9fRf2snEcT7gFTioeA9COcNy9DfgL1W60haN"}"#;
        let vectors = [
            (
                "v4.local.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAQAr68PS4AXe7If_ZgesdkUMvSwscFlAl1pk5HC0e8kApeaqMfGo_7OpBnwJOAbY9V7WU6abu74MmcUE8YWAiaArVI8XJ5hOb_4v9RmDkneN0S92dx0OW4pgy7omxgf3S8c3LlQg",
                "secret",
                "",
            ),
            (
                "v4.local.32VIErrEkmY4JVILovbmfPXKW9wT1OdQepjMTC_MOtjA4kiqw7_tcaOM5GNEcnTxl60WkwMsYXw6FSNb_UdJPXjpzm0KW9ojM5f4O2mRvE2IcweP-PRdoHjd5-RHCiExR1IK6t4x-RMNXtQNbz7FvFZ_G-lFpk5RG3EOrwDL6CgDqcerSQ.eyJraWQiOiJ6VmhNaVBCUDlmUmYyc25FY1Q3Z0ZUaW9lQTlDT2NOeTlEZmdMMVc2MGhhTiJ9",
                "secret",
                footer,
            ),
            (
                "v4.local.32VIErrEkmY4JVILovbmfPXKW9wT1OdQepjMTC_MOtjA4kiqw7_tcaOM5GNEcnTxl60WiA8rd3wgFSNb_UdJPXjpzm0KW9ojM5f4O2mRvE2IcweP-PRdoHjd5-RHCiExR1IK6t6pWSA5HX2wjb3P-xLQg5K5feUCX4P2fpVK3ZLWFbMSxQ.eyJraWQiOiJ6VmhNaVBCUDlmUmYyc25FY1Q3Z0ZUaW9lQTlDT2NOeTlEZmdMMVc2MGhhTiJ9",
                "hidden",
                footer,
            ),
        ];
        for (text, word, footer) in vectors {
            let token = UntrustedToken::<Local, V4>::try_from(text).unwrap();
            let opened = LocalToken::decrypt(&key, &token, None, None).unwrap();
            let payload =
                format!(r#"{{"data":"this is a {word} message","exp":"2022-01-01T00:00:00+00:00"}}"#);
            assert_eq!(opened.payload(), payload);
            assert_eq!(opened.footer(), footer.as_bytes());
        }
    }

    // spec-test: TOK-7
    #[test]
    fn either_of_two_live_keys_opens_its_own_tokens() {
        let keys = [key(1), key(2)];
        for of in &keys {
            let claims = open(&keys, token(of).as_bytes()).unwrap();
            assert_eq!(claims.user.as_str(), "anna");
            assert_eq!(claims.expires, UnixTime::from_secs(1_060));
        }
        assert_eq!(open(&keys, token(&key(3)).as_bytes()).err(), Some(TokenError::UnknownKey));
    }

    /// A backend's library may omit the footer.
    // spec-test: TOK-7
    #[test]
    fn a_token_without_a_footer_opens_with_either_key() {
        for of in [key(1), key(2)] {
            let token = LocalToken::encrypt(&of.key, CLAIMS.as_bytes(), None, None).unwrap();
            assert_eq!(open(&[key(1), key(2)], token.as_bytes()).unwrap().user.as_str(), "bob");
            assert_eq!(open(&[key(3)], token.as_bytes()).err(), Some(TokenError::Forged));
        }
    }

    // spec-test: TOK-7
    #[test]
    fn a_footer_that_names_no_key_is_malformed() {
        let key = key(1);
        let padded = |bytes: usize| {
            let kid = json!({ "kid": key.id() }).to_string();
            format!("{}{kid}", " ".repeat(bytes - kid.len()))
        };
        let refused = |footer: &str| {
            let token = LocalToken::encrypt(&key.key, b"[]", Some(footer.as_bytes()), None).unwrap();
            open(std::slice::from_ref(&key), token.as_bytes()).err()
        };
        for footer in ["{}", r#"{"kid":5}"#, r#"{"kid":null}"#, "[]", "k4.lid", &padded(65)] {
            assert_eq!(refused(footer), Some(TokenError::Malformed), "{footer}");
        }
        assert_eq!(refused(&padded(64)), Some(TokenError::Claims(ClaimsError::NotAnObject)), "64 bytes do");
    }

    #[test]
    fn a_token_changed_anywhere_does_not_open() {
        let keys = [key(1)];
        let token = token(&keys[0]);
        assert!(open(&keys, token.as_bytes()).is_ok());
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let error = open(&keys, &changed).err();
            assert!(error.is_some_and(|error| !matches!(error, TokenError::Claims(_))), "byte {at}");
        }
    }

    #[test]
    fn another_key_behind_the_name_of_a_live_one_is_forged() {
        let stranger = key(9);
        let stolen = token(&key(1));
        let (_, footer) = stolen.rsplit_once('.').unwrap();
        let own = token(&stranger);
        let (body, _) = own.rsplit_once('.').unwrap();
        let error = open(&[key(1)], format!("{body}.{footer}").as_bytes()).err();
        assert_eq!(error, Some(TokenError::Forged));
    }

    #[test]
    fn an_authentic_token_that_says_nonsense_is_told_apart() {
        let error = open(&[key(1)], forge(&key(1), "[1]").as_bytes()).err();
        assert_eq!(error, Some(TokenError::Claims(ClaimsError::NotAnObject)));
    }

    // spec-test: TOK-1
    #[test]
    fn a_token_above_900_bytes_is_neither_opened_nor_minted() {
        let padded = |bytes: usize| {
            let claims = format!("{CLAIMS}{}", " ".repeat(bytes - CLAIMS.len()));
            LocalToken::encrypt(&key(1).key, claims.as_bytes(), None, None).unwrap()
        };
        let (fits, long) = (padded(604), padded(605));
        assert_eq!((fits.len(), long.len()), (900, 901));
        assert!(open(&[key(1)], fits.as_bytes()).is_ok());
        assert_eq!(open(&[key(1)], long.as_bytes()).err(), Some(TokenError::Malformed));
        // Each of these becomes six characters in JSON.
        let minted = token_for(&key(1), &"\u{1}".repeat(128));
        assert!(matches!(minted, Err(MintError::TooLong { bytes: 901.. })), "{minted:?}");
    }

    #[test]
    fn no_token_is_minted_for_a_name_that_no_server_has() {
        for bytes in [0, 129] {
            let minted = token_for(&key(1), &"s".repeat(bytes));
            assert!(matches!(minted, Err(MintError::ServerName { bytes: found }) if found == bytes));
        }
        assert!(token_for(&key(1), &"s".repeat(128)).is_ok());
    }

    #[test]
    fn what_is_no_token_is_malformed() {
        let whole = token(&key(1));
        let (without_footer, _) = whole.rsplit_once('.').unwrap();
        let strange_footer = format!("{without_footer}.e30");
        let long = "v4.local.".to_owned() + &"A".repeat(900);
        for text in ["", "v4.local.", "v4.public.AAAA", &strange_footer, &long] {
            assert_eq!(open(&[key(1)], text.as_bytes()).err(), Some(TokenError::Malformed), "{text}");
        }
        assert_eq!(open(&[key(1)], &[0xff; 20]).err(), Some(TokenError::Malformed));
    }
}
