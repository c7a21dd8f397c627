"""What a client does with the packets that it has opened, one after the other: packets.md, frames.md, reliability.md.

It is the end that vectors/README.md describes. It acks at once and hears of none of its acks.
"""

from . import acks, frames, repairs
from .reader import Refused
from .streams import Stream, Violation

MAX_MESSAGE_BYTES = 1_200
RECEIVE_BUFFER_BYTES = 65_536
REPLAY_NUMBERS = 2_047
MAX_STREAMS = 1_024
# STR-10.
FAR = 128
# ACK-1.
ASK_FOR_NO_ACK = ("ack", "ce_count", "close", "padding")


class Receiver:
    def __init__(self, sent, close_codes):
        """`sent`: the numbers of the packets that this end has sent; `close_codes`: name by number."""
        self.sent, self.close_codes = sent, close_codes
        self.largest_acked = 0
        self.opened = set()
        self.streams = {0: Stream()}
        self.opened_below = 1
        self.repairs = repairs.Repairs()
        # What the packet in hand has handed up.
        self.up = []

    def packet(self, number, payload):
        """What follows from an opened packet, as a step of the vectors says it."""
        self.up = []
        if self.has_come(number):
            return {"dropped": "PKT-9"}
        try:
            found = frames.frames(payload)
        except Refused:
            # Nothing of it is handled (FRM-1).
            return {"up": [], "closes": "protocol_violation"}
        if self.is_ambiguous(number, found):
            return {"dropped": "STR-10"}
        self.opened.add(number)
        try:
            close = self.take_all(found)
            if close is not None:
                return {"up": self.up, "closed": self.close_codes.get(close, "none")}
            repaired = self.repair(number, found)
        except Violation:
            # What stood before is done (FRM-2).
            return {"up": self.up, "closes": "protocol_violation"}
        asks = any(frame["type"] not in ASK_FOR_NO_ACK for frame in found)
        return {"up": self.up, "ack": acks.write(self.opened, repaired).hex() if asks else None}

    def finish(self, stream):
        """The application has read the last event of a stream (STR-9)."""
        del self.streams[stream]

    def has_come(self, number):
        """PKT-9."""
        return number in self.opened or (bool(self.opened) and number < max(self.opened) - REPLAY_NUMBERS)

    def is_ambiguous(self, packet, found):
        """A late packet with a number of 1 byte that cannot be read any more (STR-10)."""
        if not self.opened or packet > max(self.opened):
            return False
        narrow = [frame for frame in found if "number" in frame and frame["number"]["bits"] == 8]
        return any(self.space(frame).moved_since(packet) >= FAR for frame in narrow)

    def space(self, frame):
        """The number space of a message. In a stream that is not open yet, or not any more, nothing has come."""
        stream = self.streams.get(frame["stream"]) or Stream()
        return stream.space(frame["delivery"]["mode"])

    def take_all(self, found):
        """Handles frames in their order (FRM-2). Gives the code of a CLOSE, behind which nothing is taken (CON-5)."""
        # By the positions before the packet, for all of its messages (STR-6).
        numbers = [self.space(frame).expand(frame["number"]) if "number" in frame else None for frame in found]
        for frame, number in zip(found, numbers):
            if frame["type"] == "close":
                return frame["code"]
            if frame["type"] == "ack":
                self.largest_acked = acks.check(frame, self.sent, self.largest_acked)
            if frame["type"] == "ce_count" and frame["count"] > max(self.sent, default=-1) + 1:
                raise Violation("more packets marked than sent (ECN-5)")
            if frame["type"] in ("message", "fragment"):
                self.take(frame, number)
        return None

    def take(self, frame, number):
        """A message or a fragment of one."""
        if frame.get("total", len(frame["payload"]) // 2) > MAX_MESSAGE_BYTES:
            raise Violation("larger than max_message_bytes (FRM-6)")
        if number is None:
            self.hand_up(None, frame["delivery"], frame["payload"])
            return
        stream = self.stream(frame["stream"])
        if stream is None:
            return
        for payload in stream.space(frame["delivery"]["mode"]).take(number, frame, max(self.opened)):
            self.hand_up(frame["stream"], frame["delivery"], payload.hex())
        if sum(stream.held() for stream in self.streams.values()) > RECEIVE_BUFFER_BYTES:
            raise Violation("more than receive_buffer_bytes (REL-12)")

    def stream(self, stream):
        """An open stream, which the first message on it opens (STR-1); None for one that is finished (STR-4)."""
        if stream >= self.opened_below:
            if len(self.streams) + stream + 1 - self.opened_below > MAX_STREAMS:
                raise Violation("too many streams (STR-1)")
            self.streams.update({opened: Stream() for opened in range(self.opened_below, stream + 1)})
            self.opened_below = stream + 1
        return self.streams.get(stream)

    def hand_up(self, stream, delivery, payload):
        self.up.append({"stream": stream, "delivery": delivery, "payload": payload})

    def repair(self, number, found):
        """Takes the messages of packets that this one completes (FRM-10); gives the numbers of those."""
        repaired = []
        for missing, symbol in self.repairs.packet(number, found):
            if self.has_come(missing):
                continue
            content = repairs.messages(symbol)
            if not self.is_ambiguous(missing, content):
                self.take_all(content)
                repaired.append(missing)
        return repaired
