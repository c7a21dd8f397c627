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


# `client`: a session from its creation to its end, as messages of the server: stream, mode, message.
ENTERED = (0, 0, "400101" "0102030405060708" "01" "01")
SNAPSHOT = (1, 0, "50" "0102030405060708" "000708412c0000010101010104616e6e610000")
JOINED = (1, 0, "60" "01" "02" "0462c3b662")
HEARD = [
    (1, 0, "64" "02" "02" "6869"),
    (0, 1, "01" "70" "02" "6869"),
    (1, 2, "72" "02" "6869"),
    (1, 3, "74" "02" "0001" "6869"),
]
CHANGED = [(1, 0, "63" "03" "01" "01" "01" "00" "016b" "000178" "02"), (1, 0, "62" "04" "02")]
LEFT = [(1, 0, "61" "05" "02" "01" "00"), (1, 0, "62" "06" "01"), (1, 0, "61" "07" "01" "01" "00")]
DELETED = [(1, 0, "66" "05" "01" "00")]


def client_records():
    """For `client`: commands, then messages of a server: each of the vectors, and whole sessions."""

    def told(stream, mode, message):
        return bytes([3, stream, mode]) + len(message).to_bytes(2, "big") + message

    vectors = [
        told(0 if vector.get("stream") == "control" or family == "results" else 1, 0, bytes.fromhex(vector["bytes"]))
        for family in ("results", "events")
        for vector in load(family)
    ]
    asked = bytes([0, 0, 0, 0, 1, 0, 0, 2, 0, 0, 3, 0, 0, 4, 0])
    sessions = [
        [*begun, JOINED, *HEARD, *CHANGED, *ended]
        for begun in ([ENTERED, SNAPSHOT], [SNAPSHOT, ENTERED])
        for ended in (LEFT, DELETED)
    ]
    leave = bytes([0, 6, 1, 1, 1, 0, 0, 5, 1])
    lives = [b"".join(told(s, mode, bytes.fromhex(text)) for s, mode, text in session) for session in sessions]
    return [asked + data + leave for data in vectors] + [bytes([0, 0, 0]) + life + leave for life in lives]


# `pair`: the two ends' configurations, keys and memory; then turns of sending, by mode and size, and of what the packets meet.
PAIR = bytes(6 * 2 + 2 * 2)
TURNS = [
    bytes([0, 4, 32, 128, 2, 250, 7, 7]),
    bytes([0, 6, 9, 0, 1, 9, 8, 0, 0x5F, 200, 7, 0x4E, 100, 7]),
    bytes([0, 4, 200, 12, 1, 9, 1, 5, 2, 11, 0, 6, 7, 10, 0, 30, 7, 0x7F, 90, 7]),
]
# Without memory at an end, inputs after which it once waited for ever: of two large messages one was lost but for a piece and
# the other all (REL-15); all that probes carried was dropped (REL-7); pieces were kept and not acked (REL-15).
STARVED = [
    bytes.fromhex(text)
    for text in (
        "000000003a3b80b11313413b0156006b00ae7009012b020b0006070a001e07547f5a070004c80c01d2d2d2d2d2d2d2d2d2d2"
        "d2d2d2d209015a070607",
        "ebebebebebebebebebebebebebebebebebebebebebebebebebebebebebeb2500000000000000ebebebebebebebebebebeb00"
        "000000000000002500000000000000fc070004f3000000000000000000000000000000000004208002fa07070004208002fa"
        "070700042029a0860100070004208002fa07070004208002fa07070004208002fac80c01ff0707",
        "ebebebebebebebebebebebebebebebebebebebebebebebebebebebebebeb25000000000000ebebebebebebebebebebeb0000"
        "0000000000002500000000000000fc070004f3000000000000000000000000000000000004208002fa070700042080020707"
        "00040006070a001e077f5a070004c80cebebeb0000000000000000250001ff0707",
    )
]
# `reassembly`: one packet each. Whole messages, two fragments of one, many messages in a row.
WHOLE = bytes([0, 0x08, 0x00, 9, 0, 0])
PARTS = bytes([0, 0x00, 0x04, 5, 0, 1, 0, 0, 0, 0]) + bytes([0, 0x00, 0x04, 5, 0, 1, 0, 0, 1, 0])
MANY = bytes([0, 0x0D, 0x00, 1, 0, 255])
# `parameters`: one end's sizes and times, around powers of two, and its congestion control.
USUAL = bytes([11, 2, 20, 2, 10, 2, 22, 2, 22, 2, 18, 2, 23, 2, 21, 2, 15, 2, 16, 2, 0])

# `tokens`: the payload of a token that is opened.
CLAIMS = (
    b'{"sub":"anna","jti":"t-1","iat":"2026-01-01T00:00:00Z","exp":"2026-01-01T00:09:59.5+00:00","aud":"a:1",'
    b'"psk":"AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA","data":{"team":[3,-1.5e2,null]},"nbf":1}'
)


def seeds():
    yield "frames", bytes_of("frames")
    yield "packets", bytes_of("clear", "sealed")
    yield "commands", bytes_of("commands")
    yield "events", bytes_of("events", "results")
    yield "tokens", [vector["token"].encode() for vector in load("tokens")] + [CLAIMS]
    yield "client", client_records()
    yield "insider", inside_records(bytes_of("frames"))
    yield "handshake", datagram_records(bytes_of("clear", "sealed"))
    # Calls rather than bytes: a few plausible beginnings.
    yield "pair", [PAIR + turn * 6 for turn in TURNS] + [PAIR + b"".join(TURNS)] + STARVED
    yield "reassembly", [bytes([0]) + packet for packet in (WHOLE, PARTS, WHOLE + PARTS + MANY * 3 + WHOLE)]
    yield "parameters", [USUAL * 2 + end for end in (b"\0\1\0\1", b"\1\1\0", b"\1\0\1\0\x70\0\1")]
    yield "sessions", [bytes([0, 0, 8, 3, 1, 32, 9, 0, 0, 5, 0, 0]), bytes([0, 0, 1, 1, 0, 1, 3, 1, 0, 6, 0, 1])]


def main():
    for target, inputs in seeds():
        folder = HERE / "corpus" / target
        folder.mkdir(parents=True, exist_ok=True)
        for data in inputs:
            (folder / f"seed-{sha256(data).hexdigest()[:16]}").write_bytes(data)


if __name__ == "__main__":
    main()
