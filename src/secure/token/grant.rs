//! [`ConnectGrant`]: a backend's grant to a client, sent over the backend's own TLS connection.

use std::fmt;

use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::claims::{wipe, wiped_text};
use super::{Psk, TOKEN_MAX_BYTES};
use crate::base::UnixTime;
use crate::secure::rfc3339;

/// A token, its secret, and the servers to use them with.
///
/// As JSON, with `audience` only if there is one:
/// `{"token": "v4.local.…", "psk": base64url, "servers": ["address"], "expires": RFC 3339}`. Spec: TOK-8.
#[derive(Clone)]
pub struct ConnectGrant {
    /// The token's text, opaque to the client.
    pub token: String,
    /// The secret that the client proves to know; never sent.
    pub psk: Psk,
    /// Addresses of the server, the preferred one first: 1 to 16, each `HOST:PORT`. [`Self::at`] sets others.
    /// Without an `audience`, the address is also the server's name.
    pub servers: Vec<String>,
    /// The name of the server that the token is for; `None` if it is the address as written in `servers`.
    pub audience: Option<String>,
    /// Time from which the token is void, by the clock of the backend and the server.
    pub expires: UnixTime,
}

impl ConnectGrant {
    /// Maximum number of addresses in a grant. Spec: TOK-8.
    pub const MAX_SERVERS: usize = 16;

    /// Reads the JSON form; unknown members are ignored.
    ///
    /// # Errors
    /// [`GrantError`] if a member is missing or invalid.
    pub fn from_json(json: &str) -> Result<Self, GrantError> {
        let mut value: Value = serde_json::from_str(json).map_err(|_| GrantError::NotJson)?;
        let read = Self::read(&value);
        wipe(value.get_mut("psk").map(Value::take));
        read
    }

    fn read(value: &Value) -> Result<Self, GrantError> {
        let text = |member| value.get(member).and_then(Value::as_str).ok_or(GrantError::Member(member));
        let token = text("token")?;
        if !(1..=TOKEN_MAX_BYTES).contains(&token.len()) {
            return Err(GrantError::Member("token"));
        }
        let servers = servers(value).ok_or(GrantError::Member("servers"))?;
        let audience = match value.get("audience").filter(|name| !name.is_null()) {
            // A token names one server, which cannot be each of several addresses.
            None if servers.len() > 1 => return Err(GrantError::Member("audience")),
            None => None,
            Some(name) => Some(name.as_str().ok_or(GrantError::Member("audience"))?.to_owned()),
        };
        Ok(Self {
            token: token.to_owned(),
            psk: Psk::from_base64(text("psk")?).ok_or(GrantError::Member("psk"))?,
            servers,
            audience,
            expires: rfc3339::parse(text("expires")?).ok_or(GrantError::Member("expires"))?,
        })
    }

    /// Returns the grant for a server that is reached at addresses other than its name: 1 to 16, each
    /// `HOST:PORT`, the preferred one first.
    ///
    /// # Errors
    /// [`GrantError::Member`] for `servers` if there are none or too many, or one is not an address.
    // spec: TOK-8
    pub fn at(mut self, addresses: impl IntoIterator<Item = impl Into<String>>) -> Result<Self, GrantError> {
        let name = self.servers.drain(..).next();
        self.audience = self.audience.or(name);
        self.servers = addresses.into_iter().map(Into::into).collect();
        let are_good = (1..=Self::MAX_SERVERS).contains(&self.servers.len())
            && self.servers.iter().all(|address| Self::is_address(address));
        if are_good { Ok(self) } else { Err(GrantError::Member("servers")) }
    }

    /// Returns true for `HOST:PORT`, the form of [`Self::servers`]. Does not check whether it is reachable.
    pub fn is_address(text: &str) -> bool {
        let parts = text.rsplit_once(':');
        parts.is_some_and(|(host, port)| !host.is_empty() && port.parse().is_ok_and(|port: u16| port > 0))
    }

    /// Returns the server's name for a client that connects to `address`, one of [`Self::servers`].
    // spec: TOK-8
    pub fn audience_at<'a>(&'a self, address: &'a str) -> &'a str {
        self.audience.as_deref().unwrap_or(address)
    }

    /// Returns the JSON form, wiped when dropped.
    pub fn to_json(&self) -> Zeroizing<String> {
        let mut members = json!({
            "token": self.token,
            "psk": *self.psk.to_base64(),
            "servers": self.servers,
            "expires": rfc3339::format(self.expires),
        });
        if let (Some(audience), Some(members)) = (&self.audience, members.as_object_mut()) {
            members.insert("audience".to_owned(), audience.as_str().into());
        }
        let json = wiped_text(&members);
        wipe(members.get_mut("psk").map(Value::take));
        json
    }
}

impl fmt::Debug for ConnectGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectGrant")
            .field("servers", &self.servers)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// Reason why a text is not a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GrantError {
    /// It is not JSON.
    #[error("grant is not JSON")]
    NotJson,
    /// A member is missing or invalid.
    #[error("member {0} of the grant is missing or illegal")]
    Member(&'static str),
}

fn servers(grant: &Value) -> Option<Vec<String>> {
    let servers = grant.get("servers")?.as_array()?;
    if !(1..=ConnectGrant::MAX_SERVERS).contains(&servers.len()) {
        return None;
    }
    let address =
        |server: &Value| server.as_str().filter(|text| ConnectGrant::is_address(text)).map(str::to_owned);
    servers.iter().map(address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant() -> ConnectGrant {
        ConnectGrant {
            token: "v4.local.AAAA".into(),
            psk: Psk::new([7; 32]),
            servers: vec!["127.0.0.1:7777".into()],
            audience: None,
            expires: UnixTime::from_secs(1_640_995_200),
        }
    }

    // spec-test: TOK-8
    #[test]
    fn a_grant_is_read_as_it_is_written() {
        let value: Value = serde_json::from_str(&grant().to_json()).unwrap();
        assert_eq!(value["expires"], "2022-01-01T00:00:00Z");
        assert_eq!(value["psk"], "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc");
        let read = ConnectGrant::from_json(&grant().to_json()).unwrap();
        assert_eq!(
            (read.token, read.servers, read.expires),
            (grant().token, grant().servers, grant().expires)
        );
        assert_eq!(read.psk.bytes(), &[7; 32]);
        assert_eq!((read.audience, value.get("audience")), (None, None));
    }

    #[test]
    fn an_address_has_a_host_and_a_port() {
        for good in ["127.0.0.1:7777", "[::1]:1", "game.example:65535"] {
            assert!(ConnectGrant::is_address(good), "{good}");
        }
        for bad in ["", "eu-1", ":7777", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536", "[::1]", "a b"] {
            assert!(!ConnectGrant::is_address(bad), "{bad}");
        }
    }

    // spec-test: TOK-8
    #[test]
    fn a_server_that_has_a_name_may_be_reached_at_several_addresses() {
        assert_eq!(grant().audience_at("127.0.0.1:7777"), "127.0.0.1:7777");
        let named = ConnectGrant { servers: vec!["eu-1".into()], ..grant() };
        let named = named.at(["192.0.2.1:1", "[2001:db8::1]:1"]).unwrap();
        let read = ConnectGrant::from_json(&named.to_json()).unwrap();
        assert_eq!(read.servers, ["192.0.2.1:1", "[2001:db8::1]:1"]);
        assert_eq!(read.audience_at(&read.servers[1]), "eu-1");
        let again = read.at(["192.0.2.2:1"]).unwrap();
        assert_eq!((again.audience_at("192.0.2.2:1"), again.servers.len()), ("eu-1", 1));
        for bad in [&[][..], &["eu-1"], &["192.0.2.1:1", "192.0.2.1"], &["192.0.2.1:1"; 17]] {
            let refused = grant().at(bad.iter().copied());
            assert_eq!(refused.err(), Some(GrantError::Member("servers")), "{bad:?}");
        }
        let mut value: Value = serde_json::from_str(&grant().to_json()).unwrap();
        value["audience"] = Value::Null;
        assert_eq!(ConnectGrant::from_json(&value.to_string()).unwrap().audience, None);
        value["audience"] = json!(7);
        assert_eq!(ConnectGrant::from_json(&value.to_string()).err(), Some(GrantError::Member("audience")));
    }

    // spec-test: TOK-8
    #[test]
    fn what_is_missing_or_illegal_is_named() {
        assert_eq!(ConnectGrant::from_json("{").err(), Some(GrantError::NotJson));
        for (member, value) in [
            ("token", json!("")),
            ("psk", json!("short")),
            ("servers", json!([])),
            ("servers", json!([1])),
            ("servers", json!(["eu-1"])),
            ("servers", json!(["127.0.0.1:7777", ""])),
            ("servers", json!(vec!["127.0.0.1:7777"; 17])),
            ("expires", json!("soon")),
        ] {
            let mut grant: Value = serde_json::from_str(&grant().to_json()).unwrap();
            grant[member] = value;
            assert_eq!(ConnectGrant::from_json(&grant.to_string()).err(), Some(GrantError::Member(member)));
            grant.as_object_mut().unwrap().remove(member);
            assert_eq!(ConnectGrant::from_json(&grant.to_string()).err(), Some(GrantError::Member(member)));
        }
    }

    // spec-test: TOK-8
    #[test]
    fn of_several_addresses_the_servers_name_must_be_given() {
        let two = || ["192.0.2.1:1", "192.0.2.2:1"];
        let mut value: Value = serde_json::from_str(&grant().to_json()).unwrap();
        value["servers"] = json!(two());
        assert_eq!(ConnectGrant::from_json(&value.to_string()).err(), Some(GrantError::Member("audience")));
        value["audience"] = json!("192.0.2.1:1");
        assert_eq!(ConnectGrant::from_json(&value.to_string()).unwrap().servers, two());
    }

    #[test]
    fn debug_output_holds_neither_token_nor_secret() {
        let debug = format!("{:?}", grant());
        assert!(debug.contains("127.0.0.1"));
        assert!(!debug.contains("v4.local") && !debug.contains("psk") && !debug.contains("7, 7"));
    }
}
