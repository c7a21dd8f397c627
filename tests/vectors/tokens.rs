//! Connect tokens. Unlike the other families these are not made here: `checker/mint.py` seals them
//! with nonces that stay the same, and this crate opens them.

use rallypoint::secure::TokenKey;
use rallypoint::secure::token::open;
use serde_json::{Value, json};

use super::{hex, unhex};

pub(crate) fn tokens_json() -> Vec<Value> {
    serde_json::from_str(include_str!("../../protocol-spec/vectors/tokens.json")).unwrap()
}

// spec-test: TOK-1, TOK-2, TOK-4, TOK-7
#[test]
fn tokens() {
    for vector in tokens_json() {
        let name = vector["name"].as_str().unwrap();
        let key = TokenKey::from_bytes(&unhex(vector["key"].as_str().unwrap()).try_into().unwrap());
        let opened = open(&[key], vector["token"].as_str().unwrap().as_bytes());
        if vector.get("refused").is_some() {
            assert!(opened.is_err(), "{name}");
            continue;
        }
        let claims = opened.unwrap_or_else(|error| panic!("{name}: {error}"));
        let psk: Vec<u8> = base64url(&claims.psk.to_base64());
        let value = json!({
            "sub": claims.user.as_str(), "jti": claims.id.as_str(), "aud": claims.audience,
            "iat_ms": claims.issued.as_millis().to_string(), "exp_ms": claims.expires.as_millis().to_string(),
            "psk": hex(&psk), "data": claims.data,
        });
        assert_eq!(value, vector["value"], "{name}");
    }
}

fn base64url(text: &str) -> Vec<u8> {
    use ct_codecs::{Base64UrlSafeNoPadding, Decoder};
    Base64UrlSafeNoPadding::decode_to_vec(text, None).unwrap()
}
