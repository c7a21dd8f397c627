#!/usr/bin/env python3
"""Writes the fuzzers' seeds, fuzz/corpus/TARGET/, from protocol-spec/vectors/."""

import json
from hashlib import sha256
from pathlib import Path

HERE = Path(__file__).resolve().parent
VECTORS = HERE.parent / "protocol-spec" / "vectors"


def load(family):
    return json.loads((VECTORS / f"{family}.json").read_text(encoding="utf-8"))


def bytes_of(*families):
    return [bytes.fromhex(vector["bytes"]) for family in families for vector in load(family)]


def inside_records(payloads):
    """For `insider`: as the client and as the server, each payload with an operation and its length."""
    records = [bytes([0x09, len(payload)]) + payload for payload in payloads if len(payload) < 256]
    return [bytes([end]) + record for end in (0, 1) for record in records] + [b"\0" + b"".join(records[:20])]


def datagram_records(datagrams):
    """For `handshake`: a datagram behind its operation and its length in steps of 8 bytes."""
    records = []
    for data in datagrams:
        steps = min(-(-len(data) // 8), 255)
        records.append(bytes([0, steps]) + data.ljust(steps * 8, b"\0"))
    return records + [bytes([2, 3, 5, 7, 3, 7, 3]), bytes([2, 3, 3, 5, 1, 255, 7, 3])]


def seeds():
    yield "frames", bytes_of("frames")
    yield "packets", bytes_of("clear", "sealed")
    yield "commands", bytes_of("commands")
    yield "events", bytes_of("events", "results")
    yield "tokens", [vector["token"].encode() for vector in load("tokens")]
    yield "insider", inside_records(bytes_of("frames"))
    yield "handshake", datagram_records(bytes_of("clear", "sealed"))
    # Calls rather than bytes: a few plausible beginnings.
    yield "connection", [bytes([0, 3, 9] * 8 + [10, 0, 0] * 8), bytes([128, 0x63, 200, 10, 0, 0, 13, 200, 6] * 6)]
    yield "sessions", [bytes([0, 0, 8, 3, 1, 32, 9, 0, 0, 5, 0, 0]), bytes([0, 0, 1, 1, 0, 1, 3, 1, 0, 6, 0, 1])]


def main():
    for target, inputs in seeds():
        folder = HERE / "corpus" / target
        folder.mkdir(parents=True, exist_ok=True)
        for data in inputs:
            (folder / f"seed-{sha256(data).hexdigest()[:16]}").write_bytes(data)


if __name__ == "__main__":
    main()
