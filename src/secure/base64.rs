//! base64url without padding, for keys and tokens as text.

use ct_codecs::{Base64UrlSafeNoPadding, Decoder, Encoder};
use zeroize::Zeroizing;

/// Encodes `bytes`.
pub(super) fn encode(bytes: &[u8]) -> String {
    Base64UrlSafeNoPadding::encode_to_string(bytes).expect("invariant: a key's length does not overflow")
}

/// Decodes `text` if it is exactly `N` bytes, which are wiped when dropped.
pub(super) fn decode<const N: usize>(text: &str) -> Option<Zeroizing<[u8; N]>> {
    let mut bytes = Zeroizing::new([0; N]);
    let length = Base64UrlSafeNoPadding::decode(&mut *bytes, text, None).ok()?.len();
    (length == N).then_some(bytes)
}
