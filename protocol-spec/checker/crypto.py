"""Token, Noise, keys and seals: handshake.md. Ciphers come from `cryptography`, hashes from Python itself."""

import base64
import hashlib
import hmac
import json
import struct
from datetime import datetime

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from .reader import Refused


# HKDF and AES-GCM


def hmac256(key, data):
    return hmac.new(key, data, hashlib.sha256).digest()


def hkdf(salt, ikm, info, length):
    """RFC 5869 with SHA-256, up to 32 bytes."""
    return hmac256(hmac256(salt, ikm), info + b"\x01")[:length]


def direction_keys(handshake_hash, secret):
    """Key, IV and update secret of one direction (KEY-2)."""
    return {
        "key": hkdf(handshake_hash, secret, b"rallypoint key", 32),
        "iv": hkdf(handshake_hash, secret, b"rallypoint iv", 12),
        "update": hkdf(handshake_hash, secret, b"rallypoint update", 32),
    }


def open_packet(keys, number, header, sealed):
    """The frames of a sealed packet (KEY-3)."""
    nonce = bytes(a ^ b for a, b in zip(keys["iv"], bytes(4) + number.to_bytes(8, "big")))
    return open_aead(keys["key"], nonce, header, sealed)


def seal_packet(keys, number, header, frames):
    nonce = bytes(a ^ b for a, b in zip(keys["iv"], bytes(4) + number.to_bytes(8, "big")))
    return AESGCM(keys["key"]).encrypt(nonce, frames, header)


def open_aead(key, nonce, ad, sealed):
    try:
        return AESGCM(key).decrypt(nonce, sealed, ad)
    except InvalidTag:
        raise Refused("the seal does not open") from None


# Noise_NNpsk0_25519_AESGCM_SHA256


class Noise:
    """Both ends of a handshake at once, with their private keys given."""

    NAME = b"Noise_NNpsk0_25519_AESGCM_SHA256"

    def __init__(self, prologue, psk):
        self.h = self.ck = self.NAME
        self.mix_hash(prologue)
        self.ck, t, self.k = self.noise_hkdf(psk, 3)
        self.mix_hash(t)

    def mix_hash(self, data):
        self.h = hashlib.sha256(self.h + data).digest()

    def noise_hkdf(self, ikm, outputs):
        t = hmac256(self.ck, ikm)
        found, last = [], b""
        for index in range(1, outputs + 1):
            last = hmac256(t, last + bytes([index]))
            found.append(last)
        return found

    def mix_key(self, ikm):
        self.ck, self.k = self.noise_hkdf(ikm, 2)

    def public(self, key):
        self.mix_hash(key)
        self.mix_key(key)

    def seal(self, payload):
        sealed = AESGCM(self.k).encrypt(bytes(12), payload, self.h)
        self.mix_hash(sealed)
        return sealed

    def open(self, sealed):
        payload = open_aead(self.k, bytes(12), self.h, sealed)
        self.mix_hash(sealed)
        return payload

    def split(self):
        return self.noise_hkdf(b"", 2)


def x25519_public(private):
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def x25519(private, public):
    return X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(public))


# PASETO v4.local


def base64url(text):
    """Base64url without padding, in its only form."""
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        raise Refused("not base64url") from None
    if to_base64url(data) != text:
        raise Refused("not base64url")
    return data


def to_base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def open_token(key, text):
    """The payload of a token (TOK-1, TOK-7)."""
    if len(text.encode()) > 900:
        raise Refused("a token has 900 bytes at most")
    header = "v4.local."
    if not text.startswith(header):
        raise Refused("no v4.local token")
    parts = text[len(header) :].split(".")
    if len(parts) > 2:
        raise Refused("too many parts")
    body = base64url(parts[0])
    footer = base64url(parts[1]) if len(parts) == 2 else b""
    check_footer(key, footer)
    if len(body) < 64:
        raise Refused("too short")
    nonce, sealed, tag = body[:32], body[32:-32], body[-32:]
    tmp = hashlib.blake2b(b"paseto-encryption-key" + nonce, key=key, digest_size=56).digest()
    auth = hashlib.blake2b(b"paseto-auth-key-for-aead" + nonce, key=key, digest_size=32).digest()
    covered = pae(header.encode(), nonce, sealed, footer, b"")
    if not hmac.compare_digest(hashlib.blake2b(covered, key=auth, digest_size=32).digest(), tag):
        raise Refused("the token is not of this key")
    return xchacha20(tmp[:32], tmp[32:], sealed)


def check_footer(key, footer):
    """TOK-7: nothing, or a JSON object that names the key."""
    if not footer:
        return
    try:
        named = json.loads(footer) if len(footer) <= 64 else None
    except ValueError:
        named = None
    if not isinstance(named, dict) or named.get("kid") != key_id(key):
        raise Refused("the footer does not name the key")


def key_id(key):
    """The PASERK `k4.lid.` of a key."""
    text = "k4.lid." + "k4.local." + to_base64url(key)
    return "k4.lid." + to_base64url(hashlib.blake2b(text.encode(), digest_size=33).digest())


def pae(*parts):
    """PASETO's pre-authentication encoding."""
    return struct.pack("<Q", len(parts)) + b"".join(struct.pack("<Q", len(part)) + part for part in parts)


def xchacha20(key, nonce, data):
    subkey = hchacha20(key, nonce[:16])
    cipher = Cipher(algorithms.ChaCha20(subkey, bytes(8) + nonce[16:]), mode=None)
    return cipher.encryptor().update(data)


def hchacha20(key, nonce):
    state = list(struct.unpack("<16I", b"expand 32-byte k" + key + nonce))

    def quarter(a, b, c, d):
        for x, y, z, bits in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            state[x] = (state[x] + state[y]) & 0xFFFFFFFF
            mixed = state[z] ^ state[x]
            state[z] = (mixed << bits | mixed >> (32 - bits)) & 0xFFFFFFFF

    for _ in range(10):
        for column in range(4):
            quarter(column, column + 4, column + 8, column + 12)
        quarter(0, 5, 10, 15)
        quarter(1, 6, 11, 12)
        quarter(2, 7, 8, 13)
        quarter(3, 4, 9, 14)
    return struct.pack("<8I", *state[:4], *state[12:])


CLAIMS = ("sub", "jti", "iat", "exp", "aud", "psk")


def claims(payload):
    """The claims of a token as the vectors write them (TOK-2 to TOK-4)."""
    try:
        found = json.loads(payload)
    except ValueError:
        raise Refused("claims are JSON") from None
    if not isinstance(found, dict):
        raise Refused("claims are an object")
    for name in CLAIMS:
        if not isinstance(found.get(name), str):
            raise Refused(f"{name} is a string")
    for name in ("sub", "jti"):
        if not 1 <= len(found[name].encode()) <= 64:
            raise Refused(f"{name} has 1 to 64 bytes")
    issued, expires = milliseconds(found["iat"]), milliseconds(found["exp"])
    if not 0 < expires - issued <= 600_000:
        raise Refused("exp is after iat, by 600 s at most")
    psk = base64url(found["psk"])
    if len(psk) != 32:
        raise Refused("psk has 32 bytes")
    data = found.get("data")
    if data is not None and len(json.dumps(data, separators=(",", ":"), ensure_ascii=False).encode()) > 256:
        raise Refused("data has 256 bytes at most")
    return {
        **{name: found[name] for name in ("sub", "jti", "aud")},
        "iat_ms": str(issued),
        "exp_ms": str(expires),
        "psk": psk.hex(),
        "data": data,
    }


def milliseconds(text):
    """An RFC 3339 time as milliseconds since 1970."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise Refused(f"{text} is no time") from None
    if "T" not in text or time.tzinfo is None:
        raise Refused(f"{text} is no RFC 3339 time")
    return round(time.timestamp() * 1_000)
