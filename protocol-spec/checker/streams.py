"""Streams as their receiver keeps them: each message once, in the order of its mode. reliability.md, STR, REL and FRM.

It remembers for ever what a real end keeps in a window; what it hands up is the same.
"""

from .packets import expand

WINDOW = 4_096
MAX_KEYS = 256
MAX_NUMBER = 2**62 - 1
OVERHEAD = 64


class Violation(Exception):
    """The peer broke a rule: the connection closes with `protocol_violation`."""


class Stream:
    """Three number spaces (STR-3)."""

    def __init__(self):
        self.ordered, self.unordered, self.keyed = Ordered(), Unordered(), Keyed()

    def space(self, mode):
        return {"reliable_ordered": self.ordered, "reliable_unordered": self.unordered}.get(mode, self.keyed)

    def held(self):
        return self.ordered.held() + self.unordered.held() + self.keyed.held()


class Space:
    def __init__(self):
        self.position = 0
        # Each place that the position moved to, and the newest packet by then.
        self.moves = []
        # Messages of which fragments have come, by number.
        self.parts = {}

    def expand(self, number):
        """The whole of a truncated number (STR-6)."""
        expected = self.position if number["bits"] == 32 else max(0, self.position - 64)
        return expand(expected, number["value"], number["bits"])

    def move(self, position, newest):
        self.position = position
        self.moves.append((newest, position))

    def moved_since(self, packet):
        """How far the position has moved since packets of the age of `packet` came (STR-10)."""
        then = [position for newest, position in self.moves if newest < packet]
        return self.position - (then[-1] if then else 0)

    def held(self):
        """What it takes of the receive buffer (REL-12)."""
        return sum(parts.total + OVERHEAD for parts in self.parts.values())

    def whole(self, number, frame):
        """The message that `frame` is or completes; None while others of its fragments are missing (FRM-6)."""
        if number > MAX_NUMBER:
            raise Violation("no number is so large")
        payload = bytes.fromhex(frame["payload"])
        if frame["type"] == "message":
            if number in self.parts:
                raise Violation("the whole message while fragments of it wait")
            return payload
        parts = self.parts.setdefault(number, Parts(frame))
        parts.add(frame, payload)
        if len(parts.pieces) < parts.count:
            return None
        del self.parts[number]
        return b"".join(parts.pieces[index] for index in range(parts.count))

    def check_window(self, number):
        if number - self.position >= WINDOW:
            raise Violation("beyond the window (REL-10)")


class Parts:
    """A message of which some fragments have come."""

    def __init__(self, first):
        self.delivery, self.total, self.count = first["delivery"], first["total"], first["count"]
        self.pieces = {}

    def add(self, frame, payload):
        if (frame["delivery"], frame["total"]) != (self.delivery, self.total):
            raise Violation("fragments that contradict each other")
        if frame["count"] > self.count:
            # It was cut anew (FRM-12).
            self.count, self.pieces = frame["count"], {}
        if frame["count"] == self.count:
            self.pieces.setdefault(frame["index"], payload)


class Ordered(Space):
    """`position` is the number that it hands up next."""

    def __init__(self):
        super().__init__()
        self.waiting = {}

    def held(self):
        return super().held() + sum(len(payload) + OVERHEAD for payload in self.waiting.values())

    def take(self, number, frame, newest):
        if number < self.position or number in self.waiting:
            return []
        self.check_window(number)
        payload = self.whole(number, frame)
        if payload is None:
            return []
        self.waiting[number] = payload
        up = []
        while self.position + len(up) in self.waiting:
            up.append(self.waiting.pop(self.position + len(up)))
        if up:
            self.move(self.position + len(up), newest)
        return up


class Unordered(Space):
    """`position` is the oldest number that has not arrived."""

    def __init__(self):
        super().__init__()
        self.arrived = set()

    def take(self, number, frame, newest):
        if number in self.arrived:
            return []
        self.check_window(number)
        payload = self.whole(number, frame)
        if payload is None:
            return []
        self.arrived.add(number)
        position = self.position
        while position in self.arrived:
            position += 1
        if position > self.position:
            self.move(position, newest)
        return [payload]


class Keyed(Space):
    """`position` is one above the newest number that has arrived."""

    def __init__(self):
        super().__init__()
        self.newest = {}
        # Up to this number all is old, whatever its key (STR-8).
        self.forgotten = -1

    def take(self, number, frame, newest):
        key = frame["delivery"]["key"]
        if number <= self.newest.get(key, self.forgotten):
            if number in self.parts:
                # A newer one has overtaken it: it counts until now (REL-12).
                self.whole(number, frame)
                self.parts.pop(number, None)
            return []
        payload = self.whole(number, frame)
        if payload is None:
            return []
        self.newest[key] = number
        if len(self.newest) > MAX_KEYS:
            self.forgotten = self.newest.pop(min(self.newest, key=self.newest.get))
        if number >= self.position:
            self.move(number + 1, newest)
        return [payload]
