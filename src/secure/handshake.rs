//! The handshake: `Noise_NNpsk0_25519_AESGCM_SHA256`, one message each way.
//!
//! The pre-shared key comes from the connect token, so message 1 proves that the client was given the token,
//! and message 2 that the server could open it. The ephemeral keys provide forward secrecy. The prologue
//! binds both messages to the game, the version, the server and the token. Transport parameters travel as
//! payloads.

use bytes::{Bytes, BytesMut};
use curve25519_dalek::MontgomeryPoint;
use rand::{RngCore, SeedableRng, rngs::StdRng};
use ring::digest;
use snow::params::{CipherChoice, DHChoice, HashChoice, NoiseParams};
use snow::resolvers::{CryptoResolver, RingResolver};
use snow::types::{Cipher, Dh, Hash, Random};
use snow::{Builder, HandshakeState};
use zeroize::{Zeroize, Zeroizing};

use super::{HandshakeSecrets, Psk};
use crate::base::{ConnectionId, DecodeError, Reader, Wire, Writer};
use crate::wire::TransportParameters;
use crate::wire::packet::PROTOCOL_VERSION;

const PATTERN: &str = "Noise_NNpsk0_25519_AESGCM_SHA256";

/// The context that a handshake is bound to, which must be the same at both ends. Spec: HSK-2.
#[derive(Debug, Clone, Copy)]
pub struct Binding<'a> {
    /// The game's protocol id.
    pub protocol_id: u64,
    /// Name of the server, as in the token's `aud`.
    pub server: &'a str,
    /// The token's text.
    pub token: &'a [u8],
}

impl Binding<'_> {
    /// Returns Noise's prologue: protocol id, version, hash of the server's name, hash of the token.
    // spec: HSK-2
    fn prologue(&self) -> Vec<u8> {
        let mut prologue = self.protocol_id.to_be_bytes().to_vec();
        prologue.push(PROTOCOL_VERSION);
        prologue.extend_from_slice(digest::digest(&digest::SHA256, self.server.as_bytes()).as_ref());
        prologue.extend_from_slice(digest::digest(&digest::SHA256, self.token).as_ref());
        prologue
    }
}

/// The client's half, between its message and the server's.
pub struct Initiator {
    noise: HandshakeState,
}

/// The client's result of a finished handshake.
pub struct Agreed {
    /// The connection's id, which the server chose.
    pub connection: ConnectionId,
    /// The server's transport parameters.
    pub parameters: TransportParameters,
    /// The secrets from which packet keys are derived.
    pub secrets: HandshakeSecrets,
}

impl Initiator {
    /// Begins a handshake; returns it with Noise message 1.
    pub fn start(
        binding: Binding<'_>,
        psk: &Psk,
        parameters: &TransportParameters,
        rng: &mut StdRng,
    ) -> (Self, Bytes) {
        let prologue = binding.prologue();
        let mut noise = builder(&prologue, psk, rng)
            .and_then(Builder::build_initiator)
            .expect("invariant: the pattern's primitives and inputs are all there");
        let message = write(&mut noise, &parameters.to_bytes())
            .expect("invariant: an initiator's first message needs nothing from the other end");
        (Self { noise }, message)
    }

    /// Processes Noise message 2.
    ///
    /// # Errors
    /// [`HandshakeError::NotAuthentic`] leaves the handshake as it was, so that a forged message changes
    /// nothing; after [`HandshakeError::Payload`] the handshake is unusable.
    pub fn finish(&mut self, message: &[u8]) -> Result<Agreed, HandshakeError> {
        let mut reader = Reader::new(read(&mut self.noise, message)?);
        let connection = ConnectionId(reader.u32("connection id")?);
        let parameters = TransportParameters::read(&mut reader)?;
        reader.end()?;
        Ok(Agreed { connection, parameters, secrets: secrets(&mut self.noise) })
    }
}

/// The server's half, between the client's message and its own.
pub struct Responder {
    noise: HandshakeState,
}

impl Responder {
    /// Processes Noise message 1: verifies its tag, without any Diffie–Hellman yet.
    ///
    /// # Errors
    /// [`HandshakeError`] if the sender does not know the PSK, uses another binding, or sends illegal
    /// parameters.
    pub fn read(
        binding: Binding<'_>,
        psk: &Psk,
        message: &[u8],
        rng: &mut StdRng,
    ) -> Result<(Self, TransportParameters), HandshakeError> {
        let prologue = binding.prologue();
        let mut noise = builder(&prologue, psk, rng)
            .and_then(Builder::build_responder)
            .expect("invariant: the pattern's primitives and inputs are all there");
        let payload = read(&mut noise, message)?;
        Ok((Self { noise }, TransportParameters::from_bytes(payload)?))
    }

    /// Completes the handshake; returns Noise message 2 and the secrets from which packet keys are derived.
    ///
    /// This is the expensive step, with a key pair and a Diffie–Hellman.
    ///
    /// # Errors
    /// [`HandshakeError::NotAuthentic`] if the client's ephemeral key is unusable.
    pub fn answer(
        mut self,
        connection: ConnectionId,
        parameters: &TransportParameters,
    ) -> Result<(Bytes, HandshakeSecrets), HandshakeError> {
        let mut payload = Writer::new();
        payload.u32(connection.0);
        parameters.write(&mut payload);
        let message = write(&mut self.noise, payload.as_slice())?;
        Ok((message, secrets(&mut self.noise)))
    }

    /// Returns an authentic message 2 with any payload.
    #[cfg(test)]
    pub(crate) fn answer_with(mut self, payload: &[u8]) -> Bytes {
        write(&mut self.noise, payload).unwrap()
    }
}

/// Reason why a handshake message is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// Its sender does not know the PSK, or the message was changed.
    #[error("handshake message is not authentic")]
    NotAuthentic,
    /// It is authentic, but its payload is invalid.
    #[error("handshake payload: {0}")]
    Payload(#[from] DecodeError),
}

fn builder<'a>(prologue: &'a [u8], psk: &'a Psk, rng: &mut StdRng) -> Result<Builder<'a>, snow::Error> {
    let params: NoiseParams = PATTERN.parse()?;
    Builder::with_resolver(params, Box::new(Seeded::from(rng))).prologue(prologue)?.psk(0, psk.bytes())
}

fn write(noise: &mut HandshakeState, payload: &[u8]) -> Result<Bytes, HandshakeError> {
    let mut message = BytesMut::zeroed(payload.len() + OVERHEAD_BYTES);
    let length = noise.write_message(payload, &mut message).map_err(|_| HandshakeError::NotAuthentic)?;
    message.truncate(length);
    Ok(message.freeze())
}

fn read(noise: &mut HandshakeState, message: &[u8]) -> Result<Bytes, HandshakeError> {
    let mut payload = BytesMut::zeroed(message.len());
    let length = noise.read_message(message, &mut payload).map_err(|_| HandshakeError::NotAuthentic)?;
    payload.truncate(length);
    Ok(payload.freeze())
}

/// Bytes that a Noise message adds to its payload: an ephemeral key and a tag.
const OVERHEAD_BYTES: usize = 48;

fn secrets(noise: &mut HandshakeState) -> HandshakeSecrets {
    assert!(noise.is_handshake_finished(), "an unfinished handshake has no keys to split");
    let mut hash = Zeroizing::new([0; 32]);
    for (to, from) in hash.iter_mut().zip(noise.get_handshake_hash()) {
        *to = *from;
    }
    let (client_to_server, server_to_client) = noise.dangerously_get_raw_split();
    HandshakeSecrets::new(hash, Zeroizing::new(client_to_server), Zeroizing::new(server_to_client))
}

/// Noise's primitives: `ring` for cipher and hash, and an ephemeral key from the caller's generator.
///
/// The generator is replaced by the one that follows from it: who finds it in memory later cannot compute the
/// ephemeral key of this handshake, so that what it protects stays secret (forward secrecy).
struct Seeded {
    ephemeral: Zeroizing<[u8; 32]>,
}

impl From<&mut StdRng> for Seeded {
    fn from(rng: &mut StdRng) -> Self {
        let mut ephemeral = Zeroizing::new([0; 32]);
        rng.fill_bytes(&mut *ephemeral);
        *rng = StdRng::from_rng(rng);
        Self { ephemeral }
    }
}

impl CryptoResolver for Seeded {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(Ephemeral { key: self.ephemeral.clone(), is_used: false }))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        let x25519 = || -> Box<dyn Dh> { Box::<X25519>::default() };
        (*choice == DHChoice::Curve25519).then(x25519)
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        RingResolver.resolve_hash(choice)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        RingResolver.resolve_cipher(choice)
    }
}

/// The bytes of one ephemeral private key, which is all the randomness that the pattern needs.
struct Ephemeral {
    key: Zeroizing<[u8; 32]>,
    is_used: bool,
}

impl Random for Ephemeral {
    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), snow::Error> {
        if std::mem::replace(&mut self.is_used, true) || bytes.len() != self.key.len() {
            return Err(snow::Error::Rng);
        }
        bytes.copy_from_slice(&*self.key);
        self.key.zeroize();
        Ok(())
    }
}

/// X25519 (RFC 7748) with a private key that is wiped when dropped.
#[derive(Default)]
struct X25519 {
    private: Zeroizing<[u8; 32]>,
    public: [u8; 32],
}

impl X25519 {
    fn make_public(&mut self) {
        self.public = MontgomeryPoint::mul_base_clamped(*self.private).to_bytes();
    }
}

impl Dh for X25519 {
    fn name(&self) -> &'static str {
        "25519"
    }

    fn pub_len(&self) -> usize {
        32
    }

    fn priv_len(&self) -> usize {
        32
    }

    fn set(&mut self, private: &[u8]) {
        self.private.copy_from_slice(private);
        self.make_public();
    }

    fn generate(&mut self, rng: &mut dyn Random) -> Result<(), snow::Error> {
        rng.try_fill_bytes(&mut *self.private)?;
        self.make_public();
        Ok(())
    }

    fn pubkey(&self) -> &[u8] {
        &self.public
    }

    fn privkey(&self) -> &[u8] {
        &*self.private
    }

    /// Fails for a public key with which the result would not depend on the private keys. RFC 7748 section
    /// 6.1.
    // spec: HSK-2
    fn dh(&self, public: &[u8], out: &mut [u8]) -> Result<(), snow::Error> {
        let public = public.first_chunk().ok_or(snow::Error::Dh)?;
        let shared = Zeroizing::new(MontgomeryPoint(*public).mul_clamped(*self.private).to_bytes());
        if shared.iter().fold(0, |all, byte| all | byte) == 0 {
            return Err(snow::Error::Dh);
        }
        out.first_chunk_mut().map(|out| *out = *shared).ok_or(snow::Error::Dh)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::PacketNumber;

    const TOKEN: &[u8] = b"v4.local.some-token";

    fn binding() -> Binding<'static> {
        Binding { protocol_id: 7, server: "127.0.0.1:7777", token: TOKEN }
    }

    fn psk() -> Psk {
        Psk::new([5; 32])
    }

    fn rng(seed: u64) -> StdRng {
        StdRng::seed_from_u64(seed)
    }

    fn start() -> (Initiator, Bytes) {
        Initiator::start(binding(), &psk(), &TransportParameters::default(), &mut rng(1))
    }

    fn respond(binding: Binding<'_>, psk: &Psk, message: &[u8]) -> Result<Responder, HandshakeError> {
        Responder::read(binding, psk, message, &mut rng(2)).map(|(responder, _)| responder)
    }

    fn unhex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    /// Else who finds the generator in memory could compute the ephemeral keys of all handshakes before.
    #[test]
    fn a_handshake_replaces_the_generator_that_its_ephemeral_key_is_from() {
        let mut after = rng(1);
        Initiator::start(binding(), &psk(), &TransportParameters::default(), &mut after);
        let mut went_on = rng(1);
        went_on.fill_bytes(&mut [0; 32]);
        let mut replaced = StdRng::from_rng(&mut went_on);
        assert_eq!(after, replaced);
        assert_ne!(after.next_u64(), went_on.next_u64());
        assert_ne!(replaced.next_u64(), went_on.next_u64());
    }

    /// Points of small order, RFC 7748 section 6.1.
    // spec-test: HSK-2
    #[test]
    fn a_public_key_that_gives_no_secret_is_refused() {
        let mut own = X25519::default();
        own.set(&[7; 32]);
        let mut one = [0; 32];
        one[0] = 1;
        let of_order_8 = unhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800");
        for public in [&[0; 32][..], &one, &of_order_8] {
            assert_eq!(own.dh(public, &mut [0; 32]), Err(snow::Error::Dh));
        }
        assert_eq!(own.dh(&[9; 32], &mut [0; 32]), Ok(()));
    }

    /// A client whose ephemeral key was never set.
    // spec-test: HSK-2
    #[test]
    fn a_client_without_an_ephemeral_key_is_not_answered() {
        struct Unset(Seeded);
        struct NoKey(X25519);
        impl CryptoResolver for Unset {
            fn resolve_rng(&self) -> Option<Box<dyn Random>> {
                self.0.resolve_rng()
            }
            fn resolve_dh(&self, _: &DHChoice) -> Option<Box<dyn Dh>> {
                Some(Box::new(NoKey(X25519::default())))
            }
            fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
                self.0.resolve_hash(choice)
            }
            fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
                self.0.resolve_cipher(choice)
            }
        }
        impl Dh for NoKey {
            fn name(&self) -> &'static str {
                self.0.name()
            }
            fn pub_len(&self) -> usize {
                32
            }
            fn priv_len(&self) -> usize {
                32
            }
            fn set(&mut self, _: &[u8]) {}
            fn generate(&mut self, _: &mut dyn Random) -> Result<(), snow::Error> {
                Ok(())
            }
            fn pubkey(&self) -> &[u8] {
                &[0; 32]
            }
            fn privkey(&self) -> &[u8] {
                &[0; 32]
            }
            fn dh(&self, _: &[u8], out: &mut [u8]) -> Result<(), snow::Error> {
                out.fill(0);
                Ok(())
            }
        }
        let (prologue, psk) = (binding().prologue(), psk());
        let unset = Box::new(Unset(Seeded::from(&mut rng(1))));
        let mut noise = Builder::with_resolver(PATTERN.parse().unwrap(), unset)
            .prologue(&prologue)
            .and_then(|builder| builder.psk(0, psk.bytes()))
            .and_then(Builder::build_initiator)
            .unwrap();
        let parameters = TransportParameters::default();
        let message = write(&mut noise, &parameters.to_bytes()).unwrap();
        let responder = respond(binding(), &psk, &message).unwrap();
        let answer = responder.answer(ConnectionId(9), &parameters).map(|_| ());
        assert_eq!(answer, Err(HandshakeError::NotAuthentic));
    }

    /// The published vector of this pattern (cacophony), including the raw split of keys: the first transport
    /// message is sealed with a key from the split.
    #[test]
    fn the_published_noise_vector() {
        let prologue = unhex("4a6f686e2047616c74");
        let psk = Psk::new(
            unhex("54686973206973206d7920417573747269616e20706572737065637469766521").try_into().unwrap(),
        );
        let fixed = |ephemeral: &str| unhex(ephemeral);
        let (client, server) = (
            fixed("893e28b9dc6ca8d611ab664754b8ceb7bac5117349a4439a6b0569da977c464a"),
            fixed("bbdb4cdbd309f1a1f2e1456967fe288cadd6f712d65dc7b7793d5e63da6b375b"),
        );
        let mut initiator = builder(&prologue, &psk, &mut rng(0))
            .unwrap()
            .fixed_ephemeral_key_for_testing_only(&client)
            .build_initiator()
            .unwrap();
        let mut responder = builder(&prologue, &psk, &mut rng(0))
            .unwrap()
            .fixed_ephemeral_key_for_testing_only(&server)
            .build_responder()
            .unwrap();
        let first = write(&mut initiator, &unhex("4c756477696720766f6e204d69736573")).unwrap();
        assert_eq!(
            first,
            unhex(
                "ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c79447c37a89fc17813788d30df2d59501d6066f5f8aecc3406bbd9829f2d24a531b1"
            )
        );
        read(&mut responder, &first).unwrap();
        let second = write(&mut responder, &unhex("4d757272617920526f746862617264")).unwrap();
        assert_eq!(
            second,
            unhex(
                "95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f1448088432f29d79368ef9de4e1ae7a362fb05bf0ad668e026bf5714554497b3a720461"
            )
        );
        read(&mut initiator, &second).unwrap();
        let hash = unhex("9f3b1f9afd7767767b5b9d1069844a6154fdbdcc36dfb3e31c0fffc5c973d530");
        assert_eq!(initiator.get_handshake_hash(), hash);
        assert_eq!(responder.get_handshake_hash(), hash);
        let (key, _) = initiator.dangerously_get_raw_split();
        assert_eq!(key, responder.dangerously_get_raw_split().0);
        let key = ring::aead::UnboundKey::new(&ring::aead::AES_256_GCM, &key).unwrap();
        let nonce = ring::aead::Nonce::assume_unique_for_key([0; 12]);
        let mut message = unhex("462e20412e20486179656b");
        ring::aead::LessSafeKey::new(key)
            .seal_in_place_append_tag(nonce, ring::aead::Aad::empty(), &mut message)
            .unwrap();
        assert_eq!(message, unhex("7c01e898a6201f36aecee532e29cd0b7f8ffa29d3366ad0dce39a6"));
    }

    // spec-test: HSK-9
    #[test]
    fn both_ends_agree_on_id_parameters_and_keys() {
        let (mut initiator, first) = start();
        let (responder, parameters) = Responder::read(binding(), &psk(), &first, &mut rng(2)).unwrap();
        assert_eq!(parameters, TransportParameters::default());
        let own = TransportParameters { idle_timeout_ms: 5_000, ..parameters };
        let (second, server) = responder.answer(ConnectionId(0x0102_0304), &own).unwrap();
        let agreed = initiator.finish(&second).unwrap();
        assert_eq!((agreed.connection, agreed.parameters), (ConnectionId(0x0102_0304), own));
        let mut packet = *b"frames";
        let tag = agreed.secrets.client_keys().seal.seal(PacketNumber(0), b"h", &mut packet);
        let mut sealed = [&packet[..], &tag].concat();
        assert!(server.server_keys().open.open(PacketNumber(0), b"h", &mut sealed).is_ok());
    }

    /// The parameters come from an authentic peer in every case.
    // spec-test: HSK-9, HSK-17
    #[test]
    fn parameters_outside_of_their_range_are_refused_by_either_end() {
        let good = TransportParameters::default().to_bytes();
        let (before, last) = good.split_at(good.len() - 4);
        // A receive buffer of 65,535 bytes instead of 4,194,304.
        let low = [before, &[0x80, 0, 0xff, 0xff]].concat();
        let long = [&good[..], &[0]].concat();
        let later = [&good[..], &[0, 1, 9]].concat();
        let short = [before, &last[..3]].concat();
        for (told, legal) in
            [(&good[..], true), (&later, true), (&low, false), (&long, false), (&short, false)]
        {
            let psk = psk();
            let prologue = binding().prologue();
            let noise = builder(&prologue, &psk, &mut rng(1)).and_then(Builder::build_initiator);
            let first = write(&mut noise.unwrap(), told).unwrap();
            let by_responder = respond(binding(), &psk, &first).map(|_| ());
            let (mut initiator, first) = start();
            let responder = respond(binding(), &psk, &first).unwrap();
            let second = responder.answer_with(&[&[0, 0, 0, 1], told].concat());
            let by_initiator = initiator.finish(&second).map(|_| ());
            for heard in [by_responder, by_initiator] {
                match heard {
                    Ok(()) => assert!(legal, "{told:?}"),
                    Err(HandshakeError::Payload(_)) => assert!(!legal, "{told:?}"),
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }

    // spec-test: HSK-2
    #[test]
    fn each_part_of_the_binding_counts() {
        let (_, first) = start();
        assert!(respond(binding(), &psk(), &first).is_ok());
        let others = [
            Binding { protocol_id: 8, ..binding() },
            Binding { server: "127.0.0.1:7778", ..binding() },
            Binding { token: b"v4.local.some-other", ..binding() },
        ];
        for other in others {
            assert_eq!(respond(other, &psk(), &first).err(), Some(HandshakeError::NotAuthentic));
        }
        let error = respond(binding(), &Psk::new([6; 32]), &first).err();
        assert_eq!(error, Some(HandshakeError::NotAuthentic));
    }

    #[test]
    fn a_forged_answer_changes_nothing() {
        let (mut initiator, first) = start();
        let responder = respond(binding(), &psk(), &first).unwrap();
        let (second, _) = responder.answer(ConnectionId(1), &TransportParameters::default()).unwrap();
        for at in 0..second.len() {
            let mut forged = second.to_vec();
            forged[at] ^= 1;
            assert_eq!(initiator.finish(&forged).err(), Some(HandshakeError::NotAuthentic));
        }
        assert_eq!(initiator.finish(&[]).err(), Some(HandshakeError::NotAuthentic));
        assert!(initiator.finish(&second).is_ok());
    }

    #[test]
    fn the_same_seed_gives_the_same_handshake() {
        assert_eq!(start().1, start().1);
        let other = Initiator::start(binding(), &psk(), &TransportParameters::default(), &mut rng(3));
        assert_ne!(start().1, other.1);
    }
}
