//! [`TokenKey`]: the symmetric key of connect tokens, and its text form in key files.

use pasetors::keys::SymmetricKey;
use pasetors::paserk::{FormatAsPaserk, Id};
use pasetors::version4::V4;
use rand::CryptoRng;
use zeroize::Zeroizing;

use crate::secure::base64;

/// The key that a backend and its servers share. Its holder can impersonate every user and every server.
///
/// Wiped when dropped. It has no `Debug`, so that no log can contain it.
pub struct TokenKey {
    pub(super) key: SymmetricKey<V4>,
    id: String,
}

const PREFIX: &str = "k4.local.";

impl TokenKey {
    /// Generates a key from 32 random bytes of `rng`, which the caller has seeded from the system.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        rng.fill_bytes(&mut *bytes);
        Self::from_bytes(&bytes)
    }

    /// Creates the key from its bytes.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        let key = SymmetricKey::from(bytes).expect("invariant: a v4.local key has 32 bytes");
        let mut id = String::new();
        Id::from(&key).fmt(&mut id).expect("invariant: a string takes all that is written");
        Self { key, id }
    }

    /// Reads PASERK `k4.local.` text; surrounding white space, such as a file's last line end, is ignored.
    ///
    /// # Errors
    /// [`KeyError`] if the text is not such a key.
    // spec: TOK-7
    pub fn from_paserk(text: &str) -> Result<Self, KeyError> {
        let encoded = text.trim().strip_prefix(PREFIX).ok_or(KeyError::Kind)?;
        let bytes = base64::decode(encoded).ok_or(KeyError::Bytes)?;
        Ok(Self::from_bytes(&bytes))
    }

    /// Returns the key as PASERK `k4.local.` text, wiped when dropped.
    pub fn to_paserk(&self) -> Zeroizing<String> {
        let encoded = Zeroizing::new(base64::encode(self.key.as_bytes()));
        Zeroizing::new([PREFIX, &encoded].concat())
    }

    /// Returns the key's public name, PASERK `k4.lid.`, by which a token's footer names the key that opens
    /// it.
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl Clone for TokenKey {
    fn clone(&self) -> Self {
        Self { key: self.key.clone(), id: self.id.clone() }
    }
}

/// Reason why a text is not a token key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// It does not begin with `k4.local.`.
    #[error("a token key begins with k4.local.")]
    Kind,
    /// The part after it is not 32 bytes of base64url.
    #[error("a token key is 32 bytes in base64url")]
    Bytes,
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    fn key_of(last: u8) -> TokenKey {
        let mut bytes: [u8; 32] = std::array::from_fn(|at| 0x70 + at as u8);
        bytes[31] = last;
        TokenKey::from_bytes(&bytes)
    }

    /// The published vectors of PASERK `k4.local` and `k4.lid`.
    // spec-test: TOK-7
    #[test]
    fn the_published_paserk_vectors() {
        let known = [
            (
                0x8f,
                "cHFyc3R1dnd4eXp7fH1-f4CBgoOEhYaHiImKi4yNjo8",
                "iVtYQDjr5gEijCSjJC3fQaJm7nCeQSeaty0Jixy8dbsk",
            ),
            (
                0x90,
                "cHFyc3R1dnd4eXp7fH1-f4CBgoOEhYaHiImKi4yNjpA",
                "-v0wjDR1FVxNT2to41Ay1P4_8X6HIxnybX1nZ1a4FCTm",
            ),
        ];
        for (last, local, id) in known {
            let text = format!("k4.local.{local}");
            assert_eq!(*key_of(last).to_paserk(), text);
            assert_eq!(key_of(last).id(), format!("k4.lid.{id}"));
            let read = TokenKey::from_paserk(&format!("{text}\n")).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(read.id(), key_of(last).id());
        }
        let error = |text| TokenKey::from_paserk(text).err();
        assert_eq!(error("k4.local.HFyc3R1dnd4eXp7fH1-f4CBgoOEhYaHiImKi4yNjo8"), Some(KeyError::Bytes));
        assert_eq!(error("k3.local.cHFyc3R1dnd4eXp7fH1-f4CBgoOEhYaHiImKi4yNjo8"), Some(KeyError::Kind));
        assert_eq!(error("k4.local.cHFyc3R1dnd4eXp7fH1-f4CBgoOEhYaHiImKi4yNjo8A"), Some(KeyError::Bytes));
        assert_eq!(error("k4.local.cHFyc3R1dnd4eXp7fH1-f4CBgoOEhYaHiImKi4yNjo8="), Some(KeyError::Bytes));
    }

    #[test]
    fn generated_keys_follow_the_generator() {
        let generate = |seed| TokenKey::generate(&mut rand::rngs::StdRng::seed_from_u64(seed)).to_paserk();
        assert_eq!(generate(1), generate(1));
        assert_ne!(generate(1), generate(2));
    }
}
