//! The retry cookie: a stateless proof that a client receives what is sent to its address.

use std::net::{IpAddr, SocketAddr};

use rand::{RngCore, rngs::StdRng};
use ring::hmac;
use zeroize::Zeroizing;

use crate::base::Timestamp;
use crate::wire::packet::{COOKIE_BYTES, Cookie, Echo};

/// Makes cookies and recognizes its own. Spec: HSK-5.
///
/// ```text
/// time bucket u64 | the first 16 bytes of HMAC-SHA256(key, address | port | time bucket | echo)
/// ```
pub struct CookieKey(hmac::Key);

/// Length of a time bucket in microseconds; a cookie is valid in its own bucket and in the next.
const BUCKET_MICROS: u64 = 10_000_000;

const MAC_BYTES: usize = 16;

impl CookieKey {
    /// Generates a key from `rng`; it lasts as long as the process.
    pub fn generate(rng: &mut StdRng) -> Self {
        let mut key = Zeroizing::new([0; 32]);
        rng.fill_bytes(&mut *key);
        Self(hmac::Key::new(hmac::HMAC_SHA256, &*key))
    }

    /// Returns the cookie for a HELLO with `echo` from `address`.
    // spec: HSK-5
    pub fn mint(&self, now: Timestamp, address: SocketAddr, echo: Echo) -> Cookie {
        self.cookie(bucket(now), address, echo)
    }

    /// Returns true if this key minted `cookie` for this address and echo, in this time bucket or the one
    /// before it, and so less than 10 to 20 s ago.
    // spec: HSK-5
    pub fn verify(&self, now: Timestamp, address: SocketAddr, echo: Echo, cookie: &Cookie) -> bool {
        let current = bucket(now);
        // Both are computed, so that the time taken reveals nothing.
        let own = [current, current.wrapping_sub(1)].map(|bucket| self.cookie(bucket, address, echo));
        own.iter().fold(false, |found, own| found | equal(own, cookie))
    }

    fn cookie(&self, bucket: u64, address: SocketAddr, echo: Echo) -> Cookie {
        let mut mac = hmac::Context::with_key(&self.0);
        match address.ip() {
            IpAddr::V4(ip) => mac.update(&ip.to_ipv6_mapped().octets()),
            IpAddr::V6(ip) => mac.update(&ip.octets()),
        }
        mac.update(&address.port().to_be_bytes());
        mac.update(&bucket.to_be_bytes());
        mac.update(&echo.0);
        let tag = mac.sign();
        let parts = bucket.to_be_bytes().into_iter().chain(tag.as_ref().iter().copied().take(MAC_BYTES));
        let mut cookie = [0; COOKIE_BYTES];
        for (to, from) in cookie.iter_mut().zip(parts) {
            *to = from;
        }
        Cookie(cookie)
    }
}

fn bucket(now: Timestamp) -> u64 {
    now.as_micros() / BUCKET_MICROS
}

/// Compares two cookies in constant time.
fn equal(a: &Cookie, b: &Cookie) -> bool {
    let differences = a.0.iter().zip(b.0).fold(0, |found, (a, b)| found | (a ^ b));
    std::hint::black_box(differences) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    const ECHO: Echo = Echo(*b"echoecho");

    fn key(seed: u64) -> CookieKey {
        CookieKey::generate(&mut StdRng::seed_from_u64(seed))
    }

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    // spec-test: HSK-5
    #[test]
    fn a_cookie_holds_in_its_bucket_and_the_next() {
        let address = "192.0.2.1:4000".parse().unwrap();
        let cookie = key(1).mint(at(9_999), address, ECHO);
        assert_eq!(cookie.0[..8], [0; 8]);
        assert!(key(1).verify(at(9_999), address, ECHO, &cookie));
        assert!(key(1).verify(at(19_999), address, ECHO, &cookie));
        assert!(!key(1).verify(at(20_000), address, ECHO, &cookie));
        let later = key(1).mint(at(10_000), address, ECHO);
        assert!(!key(1).verify(at(9_999), address, ECHO, &later), "a cookie from the future");
    }

    // spec-test: HSK-5
    #[test]
    fn a_cookie_is_for_one_key_address_port_and_echo() {
        let address = "192.0.2.1:4000".parse().unwrap();
        let cookie = key(1).mint(at(0), address, ECHO);
        assert!(!key(2).verify(at(0), address, ECHO, &cookie));
        for other in ["192.0.2.2:4000", "192.0.2.1:4001", "[2001:db8::1]:4000"] {
            assert!(!key(1).verify(at(0), other.parse().unwrap(), ECHO, &cookie));
        }
        assert!(!key(1).verify(at(0), address, Echo(*b"echoechp"), &cookie));
        for at_byte in 0..COOKIE_BYTES {
            let mut forged = cookie;
            forged.0[at_byte] ^= 1;
            assert!(!key(1).verify(at(0), address, ECHO, &forged));
        }
    }
}
