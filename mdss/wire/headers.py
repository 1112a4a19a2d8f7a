"""The headers of the camera wire: the fields of each kind of message, and the refusals."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from mdss.errors import UNREADABLE, MdssError, legible
from mdss.misfit import describe_misfit
from mdss.settings_types import LARGEST_SIDE_PX, SMALLEST_SIDE_PX
from mdss.wire.cloud import Invalid, Unit
from mdss.wire.messages import FrameIdentity

NackCode = Literal["BUSY", "DRAINING", "TOO_LARGE", "SCHEMA", "SHAPE_MISMATCH", "NOT_ORGANISED", "UNKNOWN_RECIPE", "NOT_READY", "CRC"]
PASSING_CODES: frozenset[str] = frozenset({"BUSY", "DRAINING", "NOT_READY"})  # the same frame may be sent again later
NO_LINE_BREAK = r"(?!\n)"  # behind `$`, which in Python lets one trailing line break through
Name = Annotated[  # safe in a topic and in a path
    str, Meta(pattern=r"^[A-Za-z0-9._:-]{1,64}$" + NO_LINE_BREAK, description="1 to 64 of the characters A-Z a-z 0-9 . _ : -")
]
Label = Annotated[
    str, Meta(pattern=r"^[^\x00-\x1f\x7f-\x9f]{1,128}$" + NO_LINE_BREAK, description="1 to 128 characters without control characters")
]
Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
# The limits themselves are checked with codes of their own (`to_scan`): a larger image is TOO_LARGE, a cloud of height 1 NOT_ORGANISED.
Side = Annotated[int, Meta(ge=0, le=2**63 - 1, description=f"a whole number from {SMALLEST_SIDE_PX} to {LARGEST_SIDE_PX}")]

NO_OBJECT = re.compile(r"^Expected `object`, got `\w+`$")  # what msgspec says of a header that is a list or a number
# characters of a refusal; one that repeats what was sent could otherwise be just as long
LONGEST_SENTENCE = 500


def short(sentence: str) -> str:
    """Return a refusal for the NACK, the log and perhaps a verdict: of limited length, and legible."""
    return legible(sentence[:LONGEST_SENTENCE])[:LONGEST_SENTENCE]


class WireRefusal(MdssError):
    """A message that cannot be accepted; `code` and sentence go back as NACK, for the frame it names if that could be read."""

    def __init__(self, code: NackCode, sentence: str, frame_id: str = "") -> None:
        super().__init__(short(sentence))
        self.code: NackCode = code
        self.frame_id = frame_id


def in_words(error: Exception, kind: type[msgspec.Struct], header: bytes | memoryview) -> str:
    """Return at which field a header does not fit this type, what was found, and what was expected."""
    if not isinstance(error, msgspec.ValidationError):
        return f"found no JSON in UTF-8 ({error})"
    with suppress(*UNREADABLE):  # after the first field that does not fit, the rest may be no JSON
        place, sentence = describe_misfit(error, kind, msgspec.json.decode(header))
        return f"{place}: {sentence}" if place else sentence
    return "found no JSON object, expected one" if NO_OBJECT.match(str(error)) else str(error)


class Hello(msgspec.Struct, frozen=True, kw_only=True):
    """Camera -> station: first message on a connection, and again whenever the station seems to have restarted."""

    source_id: Name
    schema: Literal["mdss.frame.v1"] = "mdss.frame.v1"


class Credit(msgspec.Struct, frozen=True, kw_only=True):
    """Station -> camera: how many frames may be outstanding (sent, neither DONE nor NACK) from now on; 0 means wait."""

    credit: Count
    boot_id: str  # changes whenever the receiving process starts
    heartbeat_ms: Annotated[int, Meta(ge=1)] = 1000
    liveness: Annotated[int, Meta(ge=1)] = 3


class ImageFormat(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The first payload: height x width x 3 bytes, row by row."""

    pixel_format: Literal["RGB8"] = "RGB8"
    height: Side
    width: Side


class CloudFormat(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The second payload: height x width x 3 little-endian float32 on the image's own grid; the size, if given, must be the image's."""

    pixel_format: Literal["Coord3D_ABC32f"] = "Coord3D_ABC32f"
    unit: Unit
    invalid: Invalid = Invalid()
    height: Side | None = None
    width: Side | None = None


class FrameHeader(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The header of FRAME, mdss.frame.v1; `capture_time` is in UTC ns, `deadline_ms` counts from the frame's arrival."""

    schema: Literal["mdss.frame.v1"] = "mdss.frame.v1"
    source_id: Name
    sequence: Count
    frame_id: Label
    part_id: Label
    job_id: Label = "none"
    recipe_id: Name
    capture_time: Count
    deadline_ms: Annotated[int, Meta(ge=1, le=600_000)] | None = None
    rgb: ImageFormat
    xyz: CloudFormat
    is_simulated: bool = False
    crc32c: Annotated[int, Meta(ge=0, le=0xFFFFFFFF)] | None = None  # over all payloads, one after the other

    def identity(self) -> FrameIdentity:
        """Return the frame's identity for messages inside the station."""
        return FrameIdentity(
            source_id=self.source_id,
            sequence=self.sequence,
            frame_id=self.frame_id,
            part_id=self.part_id,
            job_id=self.job_id,
            recipe_id=self.recipe_id,
            capture_time_ns=self.capture_time,
            is_simulated=self.is_simulated,
        )


class Ack(msgspec.Struct, frozen=True, kw_only=True):
    """Station -> camera: exactly one verdict will follow."""

    frame_id: str
    result_id: str


class Nack(msgspec.Struct, frozen=True, kw_only=True):
    """Station -> camera: no verdict will follow, and why; `frame_id` is empty if it could not be read."""

    frame_id: str
    code: NackCode
    reason: str


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """Station -> camera: the verdict is in the journal under this sequence; the frame may be forgotten."""

    frame_id: str
    result_id: str
    sequence: int


class Ping(msgspec.Struct, frozen=True, kw_only=True):
    """Camera -> station, once per heartbeat: are you there?"""

    source_id: Name


class Pong(msgspec.Struct, frozen=True, kw_only=True):
    """Station -> camera: yes; `is_known` is false for a connection that has not said HELLO to this process."""

    boot_id: str
    is_known: bool


class Eos(msgspec.Struct, frozen=True, kw_only=True):
    """Camera -> station: no more frames will come; silence is no fault from now on."""

    source_id: Name
