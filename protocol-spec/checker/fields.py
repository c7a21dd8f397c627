"""Fields that commands, results and events share: sessions.md, commands.md, errors.md."""

from .reader import Refused, one_of


class PayloadTooLarge(Refused):
    """Above MSG-2; it has an error of its own, as have the next two."""


class PropertyTooLarge(Refused):
    """A value above the bound of all properties."""


class TooManyProperties(Refused):
    """More than a session has."""


RULES = {1: "owner", 2: "any", 3: "creator"}


def codes(page, section):
    """The table of codes below a heading of errors.md: name by number."""
    table, inside = {}, False
    for line in page.splitlines():
        if line.startswith("## "):
            inside = line == f"## {section}"
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if inside and cells[0].isdigit():
            table[int(cells[0])] = cells[1].strip("`")
    return table


def code(reader, table):
    return one_of(reader.varint(), table, "code")


def many(reader, low, high, read):
    return [read(reader) for _ in range(reader.varint(low, high))]


def session(reader):
    return str(reader.u64())


def invite(reader):
    return {"session": session(reader), "number": reader.varint_u32()}


def user(reader):
    return reader.text(1, 64)


def reason(reader):
    return reader.text(0, 128)


def settings(reader):
    return {
        "kind": reader.u16(),
        "max_members": reader.varint(1, 1_024),
        "idle_ttl": reader.varint(0, 86_400),
        "on_owner_leave": one_of(reader.u8(), {0: "transfer", 1: "delete"}, "on owner leave"),
        "admission": one_of(reader.u8(), {0: "invited", 1: "open"}, "admission"),
    }


def key(reader):
    return reader.text(1, 64)


def value(reader):
    return one_of(reader.u8(), {0: blob, 1: integer}, "value kind")(reader)


def optional_value(reader):
    return one_of(reader.u8(), {0: blob, 1: integer, 2: lambda _: None}, "value kind")(reader)


def blob(reader):
    length = reader.varint()
    if length > 65_536:
        raise PropertyTooLarge(f"{length} bytes")
    return {"bytes": reader.take(length).hex()}


def integer(reader):
    return {"integer": str(reader.i64())}


def rule(reader):
    return one_of(reader.u8(), RULES, "write rule")


def optional_rule(reader):
    return one_of(reader.u8(), {0: None, **RULES}, "write rule")


def invitation(reader):
    return {
        "invite": invite(reader),
        "kind": reader.u16(),
        "owner": user(reader),
        "ttl_left_ms": reader.varint_u32(),
        "note": reader.text(0, 256),
    }


def payload(reader, delivery):
    """What a member sends; MSG-2."""
    small = delivery["mode"] in ("unreliable", "sequenced")
    data = reader.rest()
    if len(data) > (1_024 if small else 65_536):
        raise PayloadTooLarge(f"{len(data)} bytes")
    return data.hex()

