#!/usr/bin/env python3
"""Writes vectors/tokens.json: tokens under known keys with known nonces, so that the file stays the same.

    python3 checker/mint.py        (from the folder above)

A PASETO library draws its nonces at random, so these come from here, and every implementation only opens them.
"""

import hashlib
import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from checker import crypto  # noqa: E402

KEY = bytes(range(0x70, 0x90))
OTHER_KEY = bytes(range(0x90, 0xB0))
PSK = bytes(range(32))


def footer_of(key):
    return json.dumps({"kid": crypto.key_id(key)}, separators=(",", ":"))


def seal(payload, footer, key=KEY, header="v4.local."):
    """The token of `payload`; its nonce follows from what it says."""
    nonce = hashlib.sha256(f"nonce {payload} {footer}".encode()).digest()
    tmp = hashlib.blake2b(b"paseto-encryption-key" + nonce, key=key, digest_size=56).digest()
    auth = hashlib.blake2b(b"paseto-auth-key-for-aead" + nonce, key=key, digest_size=32).digest()
    sealed = crypto.xchacha20(tmp[:32], tmp[32:], payload.encode())
    covered = crypto.pae(header.encode(), nonce, sealed, footer.encode(), b"")
    tag = hashlib.blake2b(covered, key=auth, digest_size=32).digest()
    token = header + crypto.to_base64url(nonce + sealed + tag)
    return f"{token}.{crypto.to_base64url(footer.encode())}" if footer else token


def claims(**changes):
    """An ordinary payload with some claims changed; None leaves one out."""
    found = {
        "sub": "anna",
        "jti": "t-1",
        "iat": "2027-01-31T12:00:00Z",
        "exp": "2027-01-31T12:01:00Z",
        "aud": "127.0.0.1:7777",
        "psk": crypto.to_base64url(PSK),
    }
    found.update(changes)
    return json.dumps({name: value for name, value in found.items() if value is not None}, separators=(",", ":"))


def vectors():
    footer = footer_of(KEY)
    good = [
        ("ordinary", claims(), footer),
        ("without a footer", claims(), ""),
        ("with app data", claims(data={"team": 3, "tags": ["a", "ü"]}), footer),
        ("app data of 256 bytes", claims(data="x" * 254), footer),
        ("the largest ids", claims(sub="ü" * 32, jti="j" * 64), footer),
        ("unknown claims are ignored", claims(nbf=5, iss="backend"), footer),
        ("a lifetime of 600 s", claims(exp="2027-01-31T12:10:00Z"), footer),
        ("times with offsets and fractions", claims(iat="2027-01-31T13:00:00.5+01:00", exp="2027-01-31T07:00:01.25-05:00"), footer),
    ]
    bad = [
        ("of another key", seal(claims(), "", OTHER_KEY), "not of this key"),
        ("its footer names another key", seal(claims(), footer_of(OTHER_KEY)), "the footer names another key"),
        ("its footer is no JSON", seal(claims(), "kid"), "the footer is not a JSON object"),
        ("its footer has no kid", seal(claims(), "{}"), "the footer names no key"),
        ("its footer is longer than 64 bytes", seal(claims(), footer[:-1] + " " * 8 + "}"), "the footer is too long"),
        ("not of this version", seal(claims(), footer, header="v3.local."), "not v4.local"),
        ("empty", "", "not v4.local"),
        ("a header alone", "v4.local.", "too short"),
        ("a character that is not base64url", seal(claims(), "")[:-1] + "=", "not base64url"),
        ("longer than 900 bytes", seal(claims(x="x" * 600), footer), "longer than 900 bytes"),
        ("not a JSON object", seal("[]", footer), "claims are an object"),
        ("not JSON", seal("{", footer), "claims are JSON"),
        ("app data of 257 bytes", seal(claims(data="x" * 255), footer), "data is too large"),
        ("a lifetime of 0", seal(claims(exp="2027-01-31T12:00:00Z"), footer), "lifetime"),
        ("a lifetime above 600 s", seal(claims(exp="2027-01-31T12:10:00.001Z"), footer), "lifetime"),
        ("an iat that is no time", seal(claims(iat="2027-02-30T12:00:00Z"), footer), "iat is no time"),
        ("an iat without an offset", seal(claims(iat="2027-01-31T12:00:00"), footer), "iat is no time"),
        ("a psk of 31 bytes", seal(claims(psk=crypto.to_base64url(PSK[:31])), footer), "psk has 32 bytes"),
        ("a psk with padding", seal(claims(psk=crypto.to_base64url(PSK) + "="), footer), "psk is base64url without padding"),
    ]
    for name in ("sub", "jti", "iat", "exp", "aud", "psk"):
        bad.append((f"without {name}", seal(claims(**{name: None}), footer), f"{name} is missing"))
        bad.append((f"{name} is a number", seal(claims(**{name: 5}), footer), f"{name} is not a string"))
    for name in ("sub", "jti"):
        bad.append((f"{name} is empty", seal(claims(**{name: ""}), footer), f"{name} has 1 to 64 bytes"))
        bad.append((f"{name} of 65 bytes", seal(claims(**{name: "x" * 65}), footer), f"{name} has 1 to 64 bytes"))
    good_token = seal(claims(), footer)
    for where, at in (("nonce", 9), ("text", 80), ("tag", len(seal(claims(), "")) - 3), ("footer", len(good_token) - 3)):
        changed = good_token[:at] + ("A" if good_token[at] != "A" else "B") + good_token[at + 1 :]
        bad.append((f"changed in its {where}", changed, "it was changed"))
    for name, payload, footer in good:
        yield {"name": name, "key": KEY.hex(), "token": seal(payload, footer), "value": crypto.claims(payload.encode())}
    for name, token, why in bad:
        yield {"name": name, "key": KEY.hex(), "token": token, "refused": why}


def main():
    lines = [json.dumps(vector, ensure_ascii=False, sort_keys=True) for vector in vectors()]
    (HERE.parent / "vectors" / "tokens.json").write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
