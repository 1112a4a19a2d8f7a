"""Draws the evidence picture of a part that is not OK: image, outlined regions, heat map, and the reasons of the verdict."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mdss.scan_files import png
from mdss.whole_files import named_as
from mdss.wire.verdict import Evidence

SCALE = 2
OUTLINE_RGB = (255, 60, 60)
HEAT_SHARE = 0.45
LINE_HEIGHT_PX, BASELINE_PX, MARGIN_PX = 28, 19, 8  # of the caption
FONT = cv2.FONT_HERSHEY_SIMPLEX, 0.45  # and its scale
DARK = 24  # of 255: the caption's background, and everything outside the camera's frame
PARTIAL_SUFFIX = ".part"  # suffix of a picture while it is being written

Image = NDArray[np.uint8]


def draw(rgb: Image, heat: NDArray[np.float32], level: float, caption: str, outline_level: float | None = None) -> bytes:
    """Return a PNG: the image with outlined regions, beside it the same under its heat map, and the caption below.

    rgb (S, S, 3), heat (S, S) in deviations of good parts. What is above `level` is outlined, or above `outline_level` if that is given.
    """
    warmth = cv2.cvtColor(cv2.applyColorMap(brightness(heat, level), cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    overlay = cv2.addWeighted(rgb, 1 - HEAT_SHARE, warmth, HEAT_SHARE, 0)
    panels = enlarge(np.hstack([rgb, overlay]))
    outlined = heat > (level if outline_level is None else outline_level)
    outlines, _ = cv2.findContours(enlarge(outlined.astype(np.uint8)), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    for panel in np.split(panels, 2, axis=1):
        cv2.drawContours(panel, outlines, -1, OUTLINE_RGB, 2)
    page = np.vstack([panels, caption_strip(panels.shape[1], caption)])
    return png(np.asarray(page, np.uint8))


def within_frame(rgb: Image, in_frame: NDArray[np.bool_]) -> Image:
    """Return the grid's image (S, S, 3), darkened outside the frame (S, S); there the grid only repeats its border for the networks."""
    return rgb if in_frame.all() else np.where(in_frame[..., None], rgb, np.uint8(DARK))


def heat_png(heat: NDArray[np.float32], level: float) -> bytes:
    """Return the map alone as an 8-bit grey PNG: 0 is the mean of good parts, 255 twice the level."""
    return png(brightness(heat, level))


def brightness(heat: NDArray[np.float32], level: float) -> Image:
    """Return the map as 0 to 255, with the level at 127."""
    share = np.nan_to_num(np.clip(heat / (2 * max(level, 1e-9)), 0, 1))
    return np.asarray(share * 255, np.uint8)


def enlarge(image: NDArray[np.generic]) -> Image:
    """Return the image at twice its size."""
    return np.asarray(cv2.resize(np.asarray(image, np.uint8), None, fx=SCALE, fy=SCALE, interpolation=cv2.INTER_NEAREST), np.uint8)


def caption_strip(width_px: int, text: str) -> Image:
    """Return a dark strip with a text, in as many lines as it takes."""
    lines = in_lines(text.encode("ascii", "replace").decode(), width_px - 2 * MARGIN_PX)
    strip = np.full((len(lines) * LINE_HEIGHT_PX, width_px, 3), DARK, np.uint8)
    for number, line in enumerate(lines):
        at = MARGIN_PX, number * LINE_HEIGHT_PX + BASELINE_PX
        cv2.putText(strip, line, at, *FONT, (235, 235, 235), 1, cv2.LINE_AA)
    return strip


def in_lines(text: str, width_px: int) -> list[str]:
    """Return a text's lines of at most this width; a longer word has a line of its own."""
    first, *words = text.split(" ")
    lines = [first]
    for word in words:
        longer = f"{lines[-1]} {word}"
        if cv2.getTextSize(longer, *FONT, 1)[0][0] <= width_px:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


class EvidenceFolder:
    """The folder `<state>/evidence`, one `<result id>.png` per part; readers never see half a picture; only one process writes here.

    If the folder cannot be used, each picture is lost when it is written, and nothing else fails.
    """

    def __init__(self, state_directory: Path) -> None:
        self._folder = state_directory.resolve() / "evidence"
        with suppress(OSError):  # the next picture will report what is wrong with the folder
            for half in self._folder.glob(f"*{PARTIAL_SUFFIX}"):  # left by an earlier run that was cut short
                half.unlink(missing_ok=True)

    def write(self, result_id: str, png: bytes) -> Evidence:
        """Store one picture and return where it is; OSError if the disk refuses it."""
        path = self._folder / f"{result_id}.png"
        half = path.with_suffix(PARTIAL_SUFFIX)
        self._folder.mkdir(parents=True, exist_ok=True)  # somebody who frees space may have removed the folder
        try:
            with named_as(path, half):
                half.write_bytes(png)
                half.replace(path)
        finally:
            half.unlink(missing_ok=True)  # half a picture would take the last space of a full disk
        return Evidence(uri=path.as_uri(), sha256=hashlib.sha256(png).hexdigest())
