//! [`KeyRing`]: the token keys in use, which can be changed while a server runs.

use std::sync::Arc;

use super::TokenKey;
use crate::base::sync::Mutex;

/// The token keys in use: one, or two while a backend changes from one to the other. Shared by all workers of
/// a process, and changed for all of them at once.
pub struct KeyRing(Mutex<Arc<[TokenKey]>>);

/// Maximum number of token keys in use.
const MAX_KEYS: usize = 2;

impl KeyRing {
    /// Creates a ring of these keys.
    ///
    /// # Errors
    /// [`KeyCountError`].
    pub fn new(keys: Vec<TokenKey>) -> Result<Self, KeyCountError> {
        checked(keys).map(|keys| Self(Mutex::new(keys)))
    }

    /// Replaces all keys; a token that is opened from now on is opened with one of these.
    ///
    /// # Errors
    /// [`KeyCountError`]; nothing changes then.
    pub fn replace(&self, keys: Vec<TokenKey>) -> Result<(), KeyCountError> {
        let keys = checked(keys)?;
        // The replaced keys are wiped outside the lock.
        let _replaced = std::mem::replace(&mut *self.0.lock(), keys);
        Ok(())
    }

    /// Returns the current keys.
    pub fn keys(&self) -> Arc<[TokenKey]> {
        Arc::clone(&self.0.lock())
    }
}

impl From<TokenKey> for KeyRing {
    fn from(key: TokenKey) -> Self {
        Self(Mutex::new([key].into()))
    }
}

fn checked(keys: Vec<TokenKey>) -> Result<Arc<[TokenKey]>, KeyCountError> {
    if (1..=MAX_KEYS).contains(&keys.len()) {
        Ok(keys.into())
    } else {
        Err(KeyCountError { keys: keys.len() })
    }
}

/// Error for a number of token keys other than one or two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a server has 1 or {MAX_KEYS} token keys, not {keys}")]
pub struct KeyCountError {
    /// Number of keys given.
    pub keys: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(bytes: &[u8]) -> Vec<TokenKey> {
        bytes.iter().map(|byte| TokenKey::from_bytes(&[*byte; 32])).collect()
    }

    // spec-test: TOK-7
    #[test]
    fn there_are_one_or_two_keys_at_any_time() {
        let count = |keys| Err(KeyCountError { keys });
        assert_eq!([0, 3].map(|n| KeyRing::new(keys(&vec![1; n])).map(drop)), [0, 3].map(count));
        let ring = KeyRing::new(keys(&[1])).unwrap();
        assert_eq!([0, 3].map(|n| ring.replace(keys(&vec![2; n]))), [0, 3].map(count));
        let ids = |keys: &[TokenKey]| keys.iter().map(|key| key.id().to_owned()).collect::<Vec<_>>();
        assert_eq!(ids(&ring.keys()), ids(&keys(&[1])), "nothing has changed");
        ring.replace(keys(&[2, 1])).unwrap();
        assert_eq!(ids(&ring.keys()), ids(&keys(&[2, 1])));
    }
}
