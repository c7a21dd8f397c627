#!/usr/bin/env python3
"""Decodes every vector of `vectors/` with a decoder written from these pages alone, and compares each field; those of `receiver`
are played to a receiver written so.

    pip install -r requirements.txt
    python3 check.py

Prints how many vectors held, family by family. Exit status 1 when one did not.
"""

import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from checker import commands, crypto, events, fields, frames, handshake, packets, receiver  # noqa: E402
from checker.reader import Reader, Refused  # noqa: E402


def whole(decode):
    """A decoder of a value that fills its bytes."""

    def run(data):
        reader = Reader(data)
        value = decode(reader)
        reader.end()
        return value

    return run


def check_bytes(decode):
    """Vectors of bytes that are a value, or that are refused."""

    def check(vector):
        compare(decode, bytes.fromhex(vector["bytes"]), vector)

    return check


def compare(decode, data, vector):
    """Decodes `data`: it gives the vector's value, or is refused as the vector says."""
    try:
        value = decode(data)
    except Refused as refusal:
        if "value" in vector:
            raise Mismatch(f"refused: {refusal}") from None
        return
    if "value" not in vector:
        raise Mismatch(f"taken for {value}, should be refused: {vector['refused']}")
    same(value, vector["value"])


def check_command(vector):
    try:
        value = commands.command(bytes.fromhex(vector["bytes"]), vector["stream"] == "slot")
    except commands.Malformed as malformed:
        if "value" in vector:
            raise Mismatch(f"refused: {malformed}") from None
        same(malformed.reply, vector["reply"])
        return
    if "value" not in vector:
        raise Mismatch(f"taken for {value}, should be refused: {vector['refused']}")
    same(value, vector["value"])


def check_event(vector):
    check_bytes(whole(lambda reader: EVENT(reader, vector["stream"] == "slot")))(vector)


def check_sealed(vector):
    """A packet sealed under the secrets that the vector gives."""

    def decode(data):
        from_client = vector["from"] == "client"
        header, length = packets.sealed_header(data, from_client)
        secret = bytes.fromhex(vector["k1" if from_client else "k2"])
        salt = bytes.fromhex(vector["handshake_hash"])
        keys = crypto.direction_keys(salt, secret)
        for _ in range(vector["generation"]):
            keys = crypto.direction_keys(salt, keys["update"])
        truncated = header.pop("number")
        number = packets.expand(int(vector["expected"]), truncated["value"], truncated["bits"])
        opened = crypto.open_packet(keys, number, data[:length], data[length:])
        if crypto.seal_packet(keys, number, data[:length], opened) != data[length:]:
            raise Mismatch("sealed again it differs")
        found = frames.frames(opened)
        return {**header, "truncated": truncated, "number": str(number), "frames": found}

    check_bytes(decode)(vector)


def check_clear(vector):
    check_bytes(lambda data: packets.clear(int(vector["protocol_id"]), data, REJECTS))(vector)


def check_token(vector):
    key = bytes.fromhex(vector["key"])
    compare(lambda text: crypto.claims(crypto.open_token(key, text)), vector["token"], vector)


def check_handshake(vector):
    run = handshake.accept if "refused" in vector else handshake.run
    compare(run, vector, vector)


def check_number(vector):
    number = packets.expand(int(vector["expected"]), vector["value"], vector["bits"])
    same(str(number), vector["number"])


def check_receiver(vector):
    """A script of packets: after each of them what follows is compared."""
    end = receiver.Receiver({int(number) for number in vector.get("sent", [])}, CLOSES)
    for step in vector["steps"]:
        if "finish" in step:
            end.finish(step["finish"])
            continue
        found = end.packet(int(step["number"]), bytes.fromhex(step["frames"]))
        same({"number": step["number"], "frames": step["frames"], **found}, step)


class Mismatch(Exception):
    """A vector says something else than the pages."""


def same(found, wanted):
    if found != wanted:
        raise Mismatch(f"found {found}\n  wanted {wanted}")


ERRORS_PAGE = (HERE / "errors.md").read_text(encoding="utf-8")
ERRORS = fields.codes(ERRORS_PAGE, "Results")
CLOSES = fields.codes(ERRORS_PAGE, "CLOSE")
REJECTS = fields.codes(ERRORS_PAGE, "REJECT")
EVENT = events.decoder(
    ERRORS,
    fields.codes(ERRORS_PAGE, "Why a member left"),
    fields.codes(ERRORS_PAGE, "Why a session was deleted"),
)

FAMILIES = {
    "varints": check_bytes(whole(lambda reader: str(reader.varint()))),
    "numbers": check_number,
    "parameters": check_bytes(whole(packets.parameters)),
    "frames": check_bytes(frames.frames),
    "clear": check_clear,
    "commands": check_command,
    "results": check_bytes(whole(commands.result(ERRORS))),
    "events": check_event,
    "sealed": check_sealed,
    "tokens": check_token,
    "handshake": check_handshake,
    "receiver": check_receiver,
}


def main():
    failed = 0
    files = sorted((HERE / "vectors").glob("*.json"))
    unknown = {path.stem for path in files} ^ set(FAMILIES)
    if unknown:
        print(f"vectors without a decoder, or the other way round: {sorted(unknown)}")
        failed += 1
    for path in files:
        if path.stem in unknown:
            continue
        vectors = json.loads(path.read_text(encoding="utf-8"))
        held = 0
        for vector in vectors:
            try:
                FAMILIES[path.stem](vector)
                held += 1
            except Mismatch as mismatch:
                print(f"{path.name}: {vector['name']}: {mismatch}")
            except Exception as error:  # A decoder that breaks is a failure as well.
                print(f"{path.name}: {vector['name']}: the decoder failed: {error!r}")
        refused = sum("refused" in vector for vector in vectors)
        print(f"{path.stem:12} {held:4} of {len(vectors):4} vectors hold, {refused} of them refusals")
        failed += len(vectors) - held
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
