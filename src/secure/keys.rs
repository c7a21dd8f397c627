//! Keys of sealed packets: derivation from a finished handshake, sealing, opening, renewal.
//!
//! Each direction has its own key, IV and update secret, all from HKDF-SHA256 with the Noise handshake hash
//! as salt. A direction's next generation is derived from the update secret of the current one, so that an
//! old key reveals nothing about a newer one.

use ring::{aead, hkdf};
use zeroize::Zeroizing;

use crate::base::{PacketNumber, prefetch};

/// Bytes that a seal adds to a packet.
pub const TAG_BYTES: usize = 16;

/// A key that was idle is expanded again for each of this many uses; after that the expansion is kept.
const PASSING_USES: u8 = 16;

const LABEL_KEY: &[u8] = b"rallypoint key";
const LABEL_IV: &[u8] = b"rallypoint iv";
const LABEL_UPDATE: &[u8] = b"rallypoint update";

/// The secrets that a finished handshake leaves to both ends; wiped when dropped. Spec: KEY-1.
pub struct HandshakeSecrets {
    hash: Zeroizing<[u8; 32]>,
    client_to_server: Zeroizing<[u8; 32]>,
    server_to_client: Zeroizing<[u8; 32]>,
}

impl HandshakeSecrets {
    /// Creates the secrets from the handshake hash and the raw split keys of a finished handshake.
    pub fn new(
        hash: Zeroizing<[u8; 32]>,
        client_to_server: Zeroizing<[u8; 32]>,
        server_to_client: Zeroizing<[u8; 32]>,
    ) -> Self {
        Self { hash, client_to_server, server_to_client }
    }

    /// Returns the handshake hash, then the secrets of the client's and of the server's direction (`h`, `k1`,
    /// `k2` of KEY-1). For test vectors.
    pub fn parts(&self) -> [&[u8; 32]; 3] {
        [&self.hash, &self.client_to_server, &self.server_to_client]
    }

    /// Returns the keys with which the client seals and opens.
    pub fn client_keys(&self) -> PacketKeys {
        PacketKeys {
            seal: SealKey(Generation::derive(&self.hash, &self.client_to_server)),
            open: OpenKey(Generation::derive(&self.hash, &self.server_to_client)),
        }
    }

    /// Returns the keys with which the server seals and opens.
    pub fn server_keys(&self) -> PacketKeys {
        PacketKeys {
            seal: SealKey(Generation::derive(&self.hash, &self.server_to_client)),
            open: OpenKey(Generation::derive(&self.hash, &self.client_to_server)),
        }
    }
}

/// One end's keys for both directions.
pub struct PacketKeys {
    /// Key for the packets that this end sends.
    pub seal: SealKey,
    /// Key for the packets that this end receives.
    pub open: OpenKey,
}

/// Seals packets of one direction and generation.
pub struct SealKey(Generation);

impl SealKey {
    /// Encrypts `payload` in place and returns its tag; `header` is authenticated with it.
    ///
    /// Each `number` may be used only once with a key, because the nonce is derived from it. Spec: KEY-3.
    // spec: KEY-3
    pub fn seal(&mut self, number: PacketNumber, header: &[u8], payload: &mut [u8]) -> [u8; TAG_BYTES] {
        let (nonce, header) = (self.0.nonce(number), aead::Aad::from(header));
        let tag = self
            .0
            .with_aead(|key| key.seal_in_place_separate_tag(nonce, header, payload))
            .expect("invariant: a packet is far below the 64 GiB that AES-GCM may seal at once");
        let mut bytes = [0; TAG_BYTES];
        bytes.copy_from_slice(tag.as_ref());
        bytes
    }

    /// Returns the key of the direction's next generation. Spec: KEY-4.
    pub fn next(&self) -> Self {
        Self(self.0.next())
    }

    /// Prefetches the memory that the use of the key needs; see [`prefetch()`].
    pub fn prefetch(&self) {
        self.0.prefetch();
    }

    /// Frees the memory that the use of the key needs, until the key is used again.
    pub fn drop_expansion(&mut self) {
        self.0.drop_expansion();
    }
}

/// Opens packets of one direction and generation.
pub struct OpenKey(Generation);

impl OpenKey {
    /// Verifies `sealed` (payload and tag) together with `header`, and decrypts it in place.
    ///
    /// Returns the payload, which lies at the start of `sealed`.
    ///
    /// # Errors
    /// [`OpenError`] if the peer did not seal this packet with this number and header; `sealed` is garbage
    /// then.
    // spec: KEY-3
    pub fn open<'a>(
        &mut self,
        number: PacketNumber,
        header: &[u8],
        sealed: &'a mut [u8],
    ) -> Result<&'a mut [u8], OpenError> {
        let (nonce, header) = (self.0.nonce(number), aead::Aad::from(header));
        self.0.with_aead(|key| key.open_in_place(nonce, header, sealed)).map_err(|_| OpenError)
    }

    /// Returns the key of the direction's next generation. Spec: KEY-4.
    pub fn next(&self) -> Self {
        Self(self.0.next())
    }

    /// Prefetches the memory that the use of the key needs; see [`prefetch()`].
    pub fn prefetch(&self) {
        self.0.prefetch();
    }

    /// Frees the memory that the use of the key needs, until the key is used again.
    pub fn drop_expansion(&mut self) {
        self.0.drop_expansion();
    }
}

/// Error for a packet that was not sealed by the peer, or was changed on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("packet does not open")]
pub struct OpenError;

/// Key, IV and update secret of one direction and generation.
///
/// The expanded key is five times as large as everything else, and is made in a fraction of a microsecond. It
/// is kept while the key is in use, but not for the few packets of a handshake or a keepalive. `ring` keeps
/// it in memory that it does not wipe; the key that it is expanded from is wiped.
#[repr(C)] // What each packet needs lies together; the rest is for the next generation.
struct Generation {
    expanded: Option<Box<aead::LessSafeKey>>,
    iv: Zeroizing<[u8; 12]>,
    /// Number of expansions since the key was last idle.
    expansions: u8,
    salt: Zeroizing<[u8; 32]>,
    key: Zeroizing<[u8; 32]>,
    update: Zeroizing<[u8; 32]>,
}

impl Generation {
    // spec: KEY-2
    fn derive(salt: &Zeroizing<[u8; 32]>, input: &[u8; 32]) -> Self {
        let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, &**salt).extract(input);
        Self {
            salt: salt.clone(),
            key: expand(&secret, LABEL_KEY),
            iv: expand(&secret, LABEL_IV),
            update: expand(&secret, LABEL_UPDATE),
            expanded: None,
            expansions: 0,
        }
    }

    fn with_aead<T>(&mut self, call: impl FnOnce(&aead::LessSafeKey) -> T) -> T {
        if let Some(key) = &self.expanded {
            return call(key);
        }
        let key = aead::UnboundKey::new(&aead::AES_256_GCM, &*self.key);
        let key = aead::LessSafeKey::new(key.expect("invariant: an AES-256 key has 32 bytes"));
        if self.expansions >= PASSING_USES {
            return call(self.expanded.insert(Box::new(key)));
        }
        self.expansions += 1;
        call(&key)
    }

    fn prefetch(&self) {
        if let Some(expanded) = &self.expanded {
            prefetch(&**expanded);
        }
    }

    fn drop_expansion(&mut self) {
        self.expanded = None;
        self.expansions = 0;
    }

    // spec: KEY-4
    fn next(&self) -> Self {
        Self::derive(&self.salt, &self.update)
    }

    fn nonce(&self, number: PacketNumber) -> aead::Nonce {
        let mut nonce = *self.iv;
        for (byte, number) in nonce.iter_mut().skip(4).zip(number.0.to_be_bytes()) {
            *byte ^= number;
        }
        aead::Nonce::assume_unique_for_key(nonce)
    }
}

fn expand<const N: usize>(secret: &hkdf::Prk, label: &[u8]) -> Zeroizing<[u8; N]> {
    struct Length(usize);
    impl hkdf::KeyType for Length {
        fn len(&self) -> usize {
            self.0
        }
    }
    let mut bytes = Zeroizing::new([0; N]);
    secret
        .expand(&[label], Length(N))
        .and_then(|output| output.fill(&mut *bytes))
        .expect("invariant: 32 bytes are fewer than HKDF-SHA256 can give");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets() -> HandshakeSecrets {
        HandshakeSecrets::new(Zeroizing::new([1; 32]), Zeroizing::new([2; 32]), Zeroizing::new([3; 32]))
    }

    fn unhex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().map(|d| char::from(d).to_digit(16).unwrap() as u8).collect();
        digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }

    /// RFC 5869 A.1: `expand` and `Salt::extract` compute HKDF-SHA256.
    #[test]
    fn hkdf_is_that_of_rfc_5869_a_1() {
        let secret =
            hkdf::Salt::new(hkdf::HKDF_SHA256, &unhex("000102030405060708090a0b0c")).extract(&[0x0b; 22]);
        let okm = expand::<42>(&secret, &unhex("f0f1f2f3f4f5f6f7f8f9"));
        assert_eq!(
            okm.to_vec(),
            unhex("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865")
        );
    }

    /// The GCM specification's test case 16: AES-256, 60 bytes, 20 bytes of associated data.
    #[test]
    fn the_seal_is_aes_256_gcm() {
        let key = unhex("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308");
        let generation = Generation {
            salt: Zeroizing::new([0; 32]),
            key: Zeroizing::new(key.try_into().unwrap()),
            iv: Zeroizing::new(unhex("cafebabefacedbaddecaf888").try_into().unwrap()),
            update: Zeroizing::new([0; 32]),
            expanded: None,
            expansions: 0,
        };
        let mut text = unhex(
            "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
        );
        let header = unhex("feedfacedeadbeeffeedfacedeadbeefabaddad2");
        let tag = SealKey(generation).seal(PacketNumber(0), &header, &mut text);
        assert_eq!(
            text,
            unhex(
                "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
            )
        );
        assert_eq!(tag.to_vec(), unhex("76fc6ece0f4e1768cddf8853bb2d551b"));
    }

    // spec-test: KEY-3
    #[test]
    fn the_nonce_is_the_iv_xor_the_number() {
        let mut generation = Generation::derive(&Zeroizing::new([0; 32]), &[0; 32]);
        generation.iv = Zeroizing::new([0xff; 12]);
        let nonce = generation.nonce(PacketNumber(0x0102_0304_0506_0708));
        assert_eq!(nonce.as_ref(), &unhex("fffffffffefdfcfbfaf9f8f7")[..]);
    }

    #[test]
    fn what_one_end_seals_the_other_opens() {
        let (client, server) = (secrets().client_keys(), secrets().server_keys());
        for (mut seal, mut open) in [(client.seal, server.open), (server.seal, client.open)] {
            let mut packet = b"frames".to_vec();
            let tag = seal.seal(PacketNumber(7), b"head", &mut packet);
            packet.extend(tag);
            assert_eq!(open.open(PacketNumber(7), b"head", &mut packet).unwrap(), b"frames");
        }
    }

    #[test]
    fn a_key_is_the_same_before_its_expansion_is_kept_while_it_is_and_after_a_rest() {
        let (mut client, mut server) = (secrets().client_keys(), secrets().server_keys());
        let mut number = 0;
        for _ in 0..2 {
            for uses in 1..=PASSING_USES + 2 {
                let mut packet = b"frames".to_vec();
                let tag = client.seal.seal(PacketNumber(number), b"head", &mut packet);
                packet.extend(tag);
                assert_eq!(server.open.open(PacketNumber(number), b"head", &mut packet).unwrap(), b"frames");
                let is_kept = |key: &Generation| key.expanded.is_some();
                assert_eq!(
                    [&client.seal.0, &server.open.0].map(is_kept),
                    [uses > PASSING_USES; 2],
                    "{uses} uses"
                );
                number += 1;
            }
            client.seal.drop_expansion();
            server.open.drop_expansion();
        }
    }

    #[test]
    fn another_number_header_direction_or_byte_does_not_open() {
        let (mut client, mut server) = (secrets().client_keys(), secrets().server_keys());
        let mut packet = b"frames".to_vec();
        let tag = client.seal.seal(PacketNumber(7), b"head", &mut packet);
        packet.extend(tag);
        let opens = |key: &mut OpenKey, number, header: &[u8], mut packet: Vec<u8>| {
            key.open(PacketNumber(number), header, &mut packet).is_ok()
        };
        assert!(opens(&mut server.open, 7, b"head", packet.clone()));
        assert!(!opens(&mut server.open, 8, b"head", packet.clone()));
        assert!(!opens(&mut server.open, 7, b"haed", packet.clone()));
        assert!(!opens(&mut client.open, 7, b"head", packet.clone()));
        for at in 0..packet.len() {
            let mut changed = packet.clone();
            changed[at] ^= 1;
            assert!(!opens(&mut server.open, 7, b"head", changed));
        }
        assert!(!opens(&mut server.open, 7, b"head", packet[..TAG_BYTES - 1].to_vec()));
    }

    // spec-test: KEY-4
    #[test]
    fn the_next_generation_opens_only_its_own() {
        let (client, mut server) = (secrets().client_keys(), secrets().server_keys());
        let mut packet = b"frames".to_vec();
        let tag = client.seal.next().seal(PacketNumber(7), b"head", &mut packet);
        packet.extend(tag);
        assert!(server.open.open(PacketNumber(7), b"head", &mut packet.clone()).is_err());
        assert!(server.open.next().open(PacketNumber(7), b"head", &mut packet.clone()).is_ok());
        assert!(server.open.next().next().open(PacketNumber(7), b"head", &mut packet).is_err());
    }
}
