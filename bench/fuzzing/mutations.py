"""How valid input is damaged: bytes, JSON headers and multiparts, each changed slightly in a random place."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

Change = Callable[[bytes, Random, bytes], bytes]
MOST_CHANGES = 3  # of one input; with more of them, nothing valid is left to reach deeper code
PLACEHOLDER = "\x00here\x00"
WRONG_NUMBERS = (0, 1, 2, 63, 64, 65, 127, 128, 255, 2000, 2001, 65_535, 2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**62, 2**63 - 1, 2**63, 2**64)
WORDS = (
    b"", b"\x00", b"\xff\xfe", b"\xc3\x28", b"\xed\xa0\x80", b"\xf0\x9f\x92\xa9", b"\n", b"\r\n", b"..", b"/", b"%s%n", b'"', b"\\", b"{",
    b"}", b"[", b"]", b"MDSS1", b"FRAME", b"HELLO", b"PING", b"EOS", b"ACK", b"NACK", b"\x01", b"\x80", b"\xc0", b"\xc1",
    b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff",
    b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", b"\x91" * 3000,
)  # fmt: skip
VALUES = (
    "null", "true", "{}", "[]", '""', '"x"', "-1", "-0", "0.5", "1e-400", "1e400", "-1e308", "3.5e38", "NaN", "Infinity", "1" * 30,
    "9" * 5000, "0x10", "01", '"\\ud800"', '"\\u0000"', '"\\n"', '"a/../b"', '"\u202e"', '"é"', '"' + "A" * 129 + '"',
    '"' + "A" * 70_000 + '"', '"' + "/" * 60_000 + '"', "[" * 5000, '{"a":' * 5000, "[]" * 9, '"nan"', '"value"', '"confidence"', '"m"',
    '"mm"', '"cam"', '"other"', '"f1"', '"RGB8"',
)  # fmt: skip


def mutated(data: bytes, random: Random, other: bytes = b"") -> bytes:
    """Return the data with a few changes; one kind of change splices `other` in."""
    for _ in range(random.randint(1, MOST_CHANGES)):
        change: Change = random.choice(CHANGES)
        data = change(data, random, other)
    return data


def _flip(data: bytes, random: Random, _other: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(random.randint(1, 4) if data else 0):
        changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def _truncate(data: bytes, random: Random, _other: bytes) -> bytes:
    return data[: random.randrange(len(data) + 1)]


def _insert(data: bytes, random: Random, _other: bytes) -> bytes:
    at = random.randrange(len(data) + 1)
    return data[:at] + random.choice(WORDS) + data[at:]


def _noise(data: bytes, random: Random, _other: bytes) -> bytes:
    at = random.randrange(len(data) + 1)
    return data[:at] + random.randbytes(random.randint(1, 16)) + data[at + random.randint(0, 16) :]


def _delete(data: bytes, random: Random, _other: bytes) -> bytes:
    at = random.randrange(len(data) + 1)
    return data[:at] + data[at + random.randint(1, 12) :]


def _splice(data: bytes, random: Random, other: bytes) -> bytes:
    return data[: random.randrange(len(data) + 1)] + other[random.randrange(len(other) + 1) :]


def _repeat(data: bytes, random: Random, _other: bytes) -> bytes:
    at = random.randrange(len(data) + 1)
    piece = data[at : at + random.randint(1, 40)]
    return data[:at] + piece * random.choice((2, 3, 50)) + data[at + len(piece) :]


def _number(data: bytes, random: Random, _other: bytes) -> bytes:
    """Write a wrong number where one of 1, 2, 4 or 8 bytes may be."""
    width, at = random.choice((1, 2, 4, 8)), random.randrange(len(data) + 1)
    lie = random.choice(WRONG_NUMBERS) % (1 << 8 * width)
    return data[:at] + lie.to_bytes(width, random.choice(("big", "little"))) + data[at + width :]


CHANGES: tuple[Change, ...] = (_flip, _truncate, _insert, _noise, _delete, _splice, _repeat, _number)


def mutated_json(document: dict[str, Any], random: Random) -> bytes:
    """Return a JSON object with some values, keys or nestings that do not belong there."""
    document = json.loads(json.dumps(document))
    words = []
    for _ in range(random.randint(1, MOST_CHANGES)):
        place = document
        while inner := [value for value in place.values() if isinstance(value, dict)]:
            if random.random() < 0.5:
                break
            place = random.choice(inner)
        _change_object(place, random)
        words.append(str(random.choice(WRONG_NUMBERS)) if random.random() < 0.4 else random.choice(VALUES))
    text = json.dumps(document)
    for word in words:
        text = text.replace(json.dumps(PLACEHOLDER), word, 1)
    if random.random() < 0.1:
        text = text.replace("{", random.choice(('{"frame_id":"again",', '{"source_id":"twice",', '{"":0,', "[{", "{{")), 1)
    return text.encode("utf-8", "surrogatepass")


def _change_object(place: dict[str, Any], random: Random) -> None:
    key = random.choice([*place, "unknown", ""]) if place else "unknown"
    if random.random() < 0.2:
        place.pop(key, None)
    elif random.random() < 0.05:
        place[random.choice(("\ud800", "`", "x" * 9000, "$.rgb", "a\nb"))] = PLACEHOLDER
    else:
        place[key] = PLACEHOLDER


def shuffled(frames: Sequence[bytes], random: Random, others: Sequence[bytes]) -> list[bytes]:
    """Return a multipart with a frame too few, too many, twice, or in the wrong place."""
    frames = list(frames)
    at = random.randrange(len(frames) + 1)
    match random.randrange(6):
        case 0:
            frames[at : at + 1] = []
        case 1:
            frames[at:at] = [random.choice(WORDS)] * random.choice((1, 1, 300))
        case 2:
            frames[at:at] = frames[at : at + 1]
        case 3:
            random.shuffle(frames)
        case 4:
            frames = frames[:at] + list(others[random.randrange(len(others) + 1) :])
        case _:
            frames = frames[:at]
    return frames
