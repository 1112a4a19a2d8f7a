"""The messages between camera and station: multipart messages with the marker MDSS1 and a kind, a JSON header, raw payloads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import zmq

from mdss.errors import UNREADABLE
from mdss.wire.headers import (
    Ack,
    Credit,
    Done,
    Eos,
    FrameHeader,
    Hello,
    Label,
    Nack,
    Ping,
    Pong,
    WireRefusal,
    in_words,
)

__all__ = [
    "KINDS", "MAGIC", "Ack", "CameraMessage", "Credit", "Done", "Eos", "FrameHeader", "FrameMessage", "Header", "Hello", "Nack",
    "Payload", "Ping", "Pong", "WireRefusal", "compose", "compose_frame", "parse",
]  # fmt: skip

MAGIC = b"MDSS1"


@dataclass(frozen=True)
class FrameMessage:
    """FRAME as it arrived: the header is checked, the payloads are not yet."""

    header: FrameHeader
    payloads: tuple[memoryview, ...]


Header = Hello | Credit | Ack | Nack | Done | Ping | Pong | Eos
CameraMessage = Header | FrameMessage
KINDS: dict[bytes, type[Header | FrameHeader]] = {
    b"FRAME": FrameHeader,
    b"HELLO": Hello,
    b"CREDIT": Credit,
    b"ACK": Ack,
    b"NACK": Nack,
    b"DONE": Done,
    b"PING": Ping,
    b"PONG": Pong,
    b"EOS": Eos,
}
_KIND_OF = {header: kind for kind, header in KINDS.items()}
Payload = bytes | memoryview
LARGEST_HEADER_BYTES = 64 * 1024  # far above any real header; checked before the JSON is parsed
LONGEST_KIND = 16
MOST_PAYLOADS = 3


class _OnlyFrameId(msgspec.Struct):
    frame_id: Label = ""


def compose(message: Header) -> list[bytes]:
    """Return the frames of a message without payloads."""
    return [MAGIC, _KIND_OF[type(message)], msgspec.json.encode(message)]


def compose_frame(header: FrameHeader, payloads: Sequence[Payload]) -> list[Payload]:
    """Return the frames of FRAME; payloads are not copied."""
    return [MAGIC, _KIND_OF[FrameHeader], msgspec.json.encode(header), *payloads]


def parse(frames: Sequence[zmq.Frame | bytes]) -> CameraMessage:
    """Return the message in these frames, without a ROUTER's identity frame."""
    parts = [frame.buffer if isinstance(frame, zmq.Frame) else memoryview(frame) for frame in frames]
    first = bytes(parts[0][: len(MAGIC) + 1]) if parts else b""  # a frame may have megabytes: only its start is copied
    if len(parts) < 3 or first != MAGIC:
        found = f"found {len(parts)} frames that begin with {first!r}"
        raise WireRefusal("SCHEMA", f"message: {found}, expected {MAGIC.decode()}, a kind and a header")
    kind = bytes(parts[1][:LONGEST_KIND])
    if parts[2].nbytes > LARGEST_HEADER_BYTES:
        raise WireRefusal("SCHEMA", f"message header: found {parts[2].nbytes} bytes, expected at most {LARGEST_HEADER_BYTES}")
    if kind not in KINDS:
        raise WireRefusal("SCHEMA", f"message kind: found {kind!r}, expected one of {' '.join(map(bytes.decode, KINDS))}")
    header = _header(kind, parts[2])
    if not isinstance(header, FrameHeader):
        return header
    _check_keys(parts[2], header.frame_id)
    if len(parts) > 3 + MOST_PAYLOADS:
        sentence = f"FRAME: found {len(parts) - 3} payloads, expected at most {MOST_PAYLOADS}"
        raise WireRefusal("SHAPE_MISMATCH", sentence, header.frame_id)
    return FrameMessage(header, tuple(parts[3:]))


def _header(kind: bytes, header: memoryview) -> Header | FrameHeader:
    expected = KINDS[kind]
    try:
        return msgspec.json.decode(header, type=expected)
    except UNREADABLE as error:
        frame_id = _frame_id(header) if expected is FrameHeader else ""
        raise WireRefusal("SCHEMA", f"{kind.decode()} header: {in_words(error, expected, header)}", frame_id) from error


def _check_keys(header: memoryview, frame_id: str) -> None:
    """Refuse a header with a key that comes twice: msgspec, which took it, uses the last value of such a key and says nothing."""
    try:
        json.loads(bytes(header), object_pairs_hook=_refuse_repeated)
    except ValueError as error:
        raise WireRefusal("SCHEMA", f"FRAME header: {error}", frame_id) from error


def _refuse_repeated(pairs: list[tuple[str, Any]]) -> None:
    seen = set[str]()
    for key, _ in pairs:
        if key in seen:
            raise ValueError(f"{key}: found it twice, expected each key once")
        seen.add(key)


def _frame_id(header: memoryview) -> str:
    """Read the frame id from an otherwise invalid header, so that the camera learns which frame was refused."""
    try:
        return msgspec.json.decode(header, type=_OnlyFrameId).frame_id
    except UNREADABLE:
        return ""
