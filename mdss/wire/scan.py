"""Takes one scan out of a frame's payloads, after checking that they match the header."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mdss.settings_types import LARGEST_SIDE_PX, SMALLEST_SIDE_PX
from mdss.wire.cloud import SensorCloud
from mdss.wire.crc32c import crc32c
from mdss.wire.headers import FrameHeader, WireRefusal


@dataclass(frozen=True)
class FrameLimits:
    """The largest frame this station takes, in pixels."""

    max_height_px: int = LARGEST_SIDE_PX
    max_width_px: int = LARGEST_SIDE_PX


def to_scan(header: FrameHeader, payloads: Sequence[bytes | memoryview], limits: FrameLimits) -> tuple[NDArray[np.uint8], SensorCloud]:
    """Return image (H, W, 3) and cloud, both views of the payloads; WireRefusal says what does not fit."""
    _check_size(header, limits)
    _check_payloads(header, payloads)
    if header.crc32c is not None and crc32c(payloads) != header.crc32c:
        raise WireRefusal("CRC", f"FRAME crc32c: the payloads have another checksum than the header's {header.crc32c}", header.frame_id)
    height, width = header.rgb.height, header.rgb.width
    rgb = np.frombuffer(payloads[0], np.uint8).reshape(height, width, 3)
    points = np.frombuffer(payloads[1], "<f4").reshape(height, width, 3)
    confidence = np.frombuffer(payloads[2], "<f4").reshape(height, width) if len(payloads) > 2 else None
    return rgb, SensorCloud(given=points, confidence=confidence, unit=header.xyz.unit, invalid=header.xyz.invalid)


def _check_size(header: FrameHeader, limits: FrameLimits) -> None:
    image, cloud = header.rgb, header.xyz
    if cloud.height == 1 and image.height != 1:
        raise WireRefusal("NOT_ORGANISED", "FRAME xyz: found a list of points, expected one point per pixel of the image", header.frame_id)
    height, width = (side if said is None else said for said, side in ((cloud.height, image.height), (cloud.width, image.width)))
    if (height, width) != (image.height, image.width):
        sizes = f"found {height} x {width} px, expected {image.height} x {image.width} px as the image"
        raise WireRefusal("SHAPE_MISMATCH", f"FRAME xyz: {sizes}", header.frame_id)
    for name, found, largest in (("height", image.height, limits.max_height_px), ("width", image.width, limits.max_width_px)):
        if found > largest:
            raise WireRefusal("TOO_LARGE", f"FRAME rgb.{name}: found {found} px, expected at most {largest}", header.frame_id)
        if found < SMALLEST_SIDE_PX:
            raise WireRefusal(
                "SHAPE_MISMATCH", f"FRAME rgb.{name}: found {found} px, expected at least {SMALLEST_SIDE_PX}", header.frame_id
            )


def _check_payloads(header: FrameHeader, payloads: Sequence[bytes | memoryview]) -> None:
    pixels = header.rgb.height * header.rgb.width
    expected = {"rgb": pixels * 3, "xyz": pixels * 12}
    if header.xyz.invalid.kind == "confidence":
        expected["confidence"] = pixels * 4
    if len(payloads) != len(expected):
        sentence = f"FRAME: found {len(payloads)} payloads, expected {len(expected)} ({', '.join(expected)})"
        raise WireRefusal("SHAPE_MISMATCH", sentence, header.frame_id)
    for (name, size), payload in zip(expected.items(), payloads, strict=True):
        found = memoryview(payload).nbytes
        if found != size:
            raise WireRefusal("SHAPE_MISMATCH", f"FRAME {name}: found {found} bytes, expected {size}", header.frame_id)
