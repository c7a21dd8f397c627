"""Repair: lost packets put together from symbols. frames.md, FRM-8 to FRM-10."""

from . import frames
from .acks import varint
from .reader import Reader, Refused
from .streams import Violation

MODES = {name: number for number, name in frames.MODES.items()}
RELIABLE = ("reliable_unordered", "reliable_ordered", "reliable_latest")
# REP-5; a receiver may remember more or less.
MAX_SYMBOLS = 32
MAX_WAITING = 16
MAX_IN_PACKET = 4


class Repairs:
    def __init__(self):
        # The symbols of packets that have come or were repaired, the newest last.
        self.symbols = {}
        # REPAIRs of which more than one symbol is missing: the numbers that each covers, and its symbol.
        self.waiting = []

    def packet(self, number, found):
        """A packet came, with these frames. Gives what it completes: numbers and symbols, the oldest first."""
        for repair in [frame for frame in found if frame["type"] == "repair"][:MAX_IN_PACKET]:
            covered = [number - lag for lag in repair["lags"]]
            if min(covered) >= 0:
                self.waiting.append((covered, bytes.fromhex(repair["symbol"])))
        self.waiting = self.waiting[-MAX_WAITING:]
        self.remember(number, symbol(found))
        done = {}
        while (completed := self.complete()) is not None:
            done.update(completed)
        return sorted(done.items())

    def complete(self):
        """What the first REPAIR that lacks one symbol gives. Those that lack none are of no use any more."""
        self.waiting = [repair for repair in self.waiting if self.missing(repair)]
        for repair in self.waiting:
            missing = self.missing(repair)
            if len(missing) == 1:
                self.waiting.remove(repair)
                covered, total = repair
                for number in set(covered) - set(missing):
                    total = xor(total, self.symbols[number])
                self.remember(missing[0], total)
                return {missing[0]: total}
        return None

    def missing(self, repair):
        return [number for number in repair[0] if number not in self.symbols]

    def remember(self, number, content):
        if content is None:
            return
        self.symbols[number] = content
        while len(self.symbols) > MAX_SYMBOLS:
            del self.symbols[next(iter(self.symbols))]


def symbol(found):
    """The symbol of a packet with these frames (FRM-9); None for one that no REPAIR covers."""
    covered = [frame for frame in found if is_repairable(frame)]
    content = b"".join(message(frame, frame is covered[-1]) for frame in covered)
    return len(content).to_bytes(2, "big") + content if 1 <= len(content) <= 512 else None


def messages(content):
    """The messages of a symbol that was put together (FRM-10)."""
    reader = Reader(content)
    try:
        found = frames.frames(reader.take(reader.u16()))
    except Refused:
        raise Violation("a symbol without messages") from None
    if any(reader.rest()) or not all(is_repairable(frame) for frame in found):
        raise Violation("a symbol that holds something else than messages of the reliable modes")
    return found


def is_repairable(frame):
    return frame["type"] == "message" and frame["delivery"]["mode"] in RELIABLE


def message(frame, is_last):
    """A MESSAGE frame as its packet would have it."""
    number, delivery, payload = frame["number"], frame["delivery"], bytes.fromhex(frame["payload"])
    kind = 0x20 | (0x10 if is_last else 0) | (0x08 if number["bits"] == 32 else 0) | MODES[delivery["mode"]]
    head = bytes([kind]) + varint(frame["stream"]) + number["value"].to_bytes(number["bits"] // 8, "big")
    if "key" in delivery:
        head += delivery["key"].to_bytes(2, "big")
    return head + (b"" if is_last else varint(len(payload))) + payload


def xor(one, other):
    length = max(len(one), len(other))
    return bytes(a ^ b for a, b in zip(one.ljust(length, b"\x00"), other.ljust(length, b"\x00")))
