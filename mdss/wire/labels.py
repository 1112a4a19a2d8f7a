"""Builds the message for a scan and its labels, and checks it before it is sent: a misspelt label would otherwise be a silent loss."""

from __future__ import annotations

import time
import uuid
from typing import Final, Literal, Required, TypedDict, get_type_hints

import msgspec
import numpy as np
from numpy.typing import NDArray

from mdss.errors import BadInput
from mdss.misfit import LONGEST_SHOWN
from mdss.settings_types import LARGEST_SIDE_PX, SMALLEST_SIDE_PX
from mdss.wire.camera import Payload, compose_frame
from mdss.wire.cloud import Invalid
from mdss.wire.headers import CloudFormat, FrameHeader, ImageFormat

REQUIRED: Final = ("part_id", "recipe_id")
AN_ID = "a str of 1 to 128 characters without control characters"
EXPECTED = {
    "part_id": AN_ID,
    "recipe_id": "a str of 1 to 64 of the characters A-Z a-z 0-9 . _ : -",
    "frame_id": AN_ID,
    "job_id": AN_ID,
    "unit": "'mm' or 'm'",
    "invalid": "an Invalid of kind 'nan', 'value' or 'confidence' with a finite float",
    "capture_time": "an int of ns since 1970",
    "deadline_ms": "an int from 1 to 600000",
    "is_simulated": "True or False",
}
TYPES = get_type_hints(CloudFormat, include_extras=True) | get_type_hints(FrameHeader, include_extras=True)


class FrameLabels(TypedDict, total=False):
    """The labels of a scan; `part_id` and `recipe_id` are required."""

    part_id: Required[str]
    recipe_id: Required[str]
    frame_id: str  # generated if left out; frames with the same id are judged once, however often they are sent
    job_id: str
    unit: Literal["mm", "m"]
    invalid: Invalid
    confidence: NDArray[np.float32]  # (H, W), for invalid.kind "confidence"
    capture_time: int  # UTC ns
    deadline_ms: int
    is_simulated: bool


def from_scan(
    rgb: NDArray[np.uint8], xyz: NDArray[np.float32], labels: FrameLabels, source_id: str, sequence: int
) -> tuple[FrameHeader, list[Payload]]:
    """Return the header of a scan, rgb (H, W, 3) and xyz (H, W, 3), and the frames of its FRAME; BadInput if no station would take it."""
    _check_names(labels)
    _check_arrays(rgb, xyz, labels)
    header = FrameHeader(
        source_id=source_id,
        sequence=sequence,
        frame_id=labels.get("frame_id") or uuid.uuid4().hex,
        part_id=labels["part_id"],
        job_id=labels.get("job_id", "none"),
        recipe_id=labels["recipe_id"],
        capture_time=labels.get("capture_time", time.time_ns()),
        deadline_ms=labels.get("deadline_ms"),
        rgb=ImageFormat(height=rgb.shape[0], width=rgb.shape[1]),
        xyz=CloudFormat(unit=labels.get("unit", "mm"), invalid=labels.get("invalid", Invalid())),
        is_simulated=labels.get("is_simulated", False),
    )
    _check_values(header)
    _check_confidence(header.xyz.invalid, labels)
    payloads: list[Payload] = [rgb.tobytes(), xyz.astype("<f4", copy=False).tobytes()]
    if "confidence" in labels:
        payloads.append(labels["confidence"].astype("<f4", copy=False).tobytes())
    return header, compose_frame(header, payloads)


def _check_names(labels: FrameLabels) -> None:
    known = FrameLabels.__annotations__
    if unknown := [name for name in labels if name not in known]:
        raise BadInput(f"labels: found {', '.join(unknown)}, expected only {', '.join(known)}")
    if missing := [name for name in REQUIRED if name not in labels]:
        raise BadInput(f"labels: found no {' and no '.join(missing)}, expected {' and '.join(REQUIRED)} with every scan")


def _check_arrays(rgb: NDArray[np.uint8], xyz: NDArray[np.float32], labels: FrameLabels) -> None:
    if not isinstance(rgb, np.ndarray) or rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
        raise BadInput(f"rgb: found {_found(rgb)}, expected uint8 of shape (H, W, 3)")
    if not isinstance(xyz, np.ndarray) or xyz.dtype != np.float32 or xyz.shape != rgb.shape:
        raise BadInput(f"xyz: found {_found(xyz)}, expected float32 of shape {rgb.shape}")
    if max(rgb.shape) > LARGEST_SIDE_PX:  # no station takes it, and much larger payloads would end the connection
        raise BadInput(f"rgb: found {rgb.shape[0]} x {rgb.shape[1]} px, expected at most {LARGEST_SIDE_PX} on each side")
    if min(rgb.shape[:2]) < SMALLEST_SIDE_PX:
        raise BadInput(f"rgb: found {rgb.shape[0]} x {rgb.shape[1]} px, expected at least {SMALLEST_SIDE_PX} on each side")
    if "confidence" not in labels:
        return
    confidence = labels["confidence"]
    if not isinstance(confidence, np.ndarray) or confidence.dtype.kind not in "fiub" or confidence.shape != rgb.shape[:2]:
        raise BadInput(f"confidence: found {_found(confidence)}, expected float32 of shape {rgb.shape[:2]}")


def _check_values(header: FrameHeader) -> None:
    for name, expected in EXPECTED.items():
        value = getattr(header if hasattr(header, name) else header.xyz, name)
        try:
            msgspec.convert(value, TYPES[name])
            msgspec.json.decode(msgspec.json.encode(value), type=TYPES[name])  # a lone surrogate or a NaN passes a check of types alone
        except (msgspec.ValidationError, TypeError, ValueError) as error:
            raise BadInput(f"{name}: found {repr(value)[:LONGEST_SHOWN]}, expected {expected}") from error


def _check_confidence(invalid: Invalid, labels: FrameLabels) -> None:
    if ("confidence" in labels) != (invalid.kind == "confidence"):
        found = "one" if "confidence" in labels else "none"
        raise BadInput(f"confidence: found {found} with invalid.kind {invalid.kind!r}, expected one with 'confidence' and with no other")


def _found(array: object) -> str:
    return f"{array.dtype} of shape {array.shape}" if isinstance(array, np.ndarray) else f"no array but {type(array).__name__}"
