"""Rows of pictures on a page: images and maps, each under its title. Drawing them as charts took half a second a row."""

from __future__ import annotations

import html
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from trainer.report_page import image

PICTURE_PX = 300  # of the longer side; a row of five is shown a little smaller
HOTTEST = 10.0  # of an aligned map, in deviations of good parts
OUTLINE_RGB = (0, 229, 255)

Image = NDArray[np.uint8]
Float = NDArray[np.float32]
Picture = tuple[str, Image | None]  # title, and the picture if there is one


def row(pictures: Sequence[Picture], text: str) -> str:
    """Return pictures (H, W, 3) in RGB side by side, as HTML with their bytes inside; `text` says what they show."""
    return '<div class="pictures">' + "".join(_figure(*each, text) for each in pictures) + "</div>"


def small(seen: Image) -> Image:
    """Return an image (H, W, 3), reduced to the size of a picture."""
    share = PICTURE_PX / max(seen.shape[:2])
    return seen if share >= 1 else np.asarray(cv2.resize(seen, None, fx=share, fy=share, interpolation=cv2.INTER_AREA), np.uint8)


def heat_map_picture(heat: Float, coldest: float, hottest: float) -> Image:
    """Return a map (H, W) as a picture, black at `coldest` and below, nearly white at `hottest` and above."""
    levels = np.asarray(np.nan_to_num(np.clip((heat - coldest) / (hottest - coldest), 0, 1)) * 255, np.uint8)
    return small(np.asarray(cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB), np.uint8))


def with_outline(picture: Image, truth: NDArray[np.bool_]) -> Image:
    """Return a picture with the marked pixels of its scan's truth (H, W) outlined."""
    height, width = picture.shape[:2]
    share = cv2.resize(truth.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)  # a scratch of one pixel does not vanish
    rims, _ = cv2.findContours((share > 0).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    return np.asarray(cv2.drawContours(picture.copy(), rims, -1, OUTLINE_RGB, 1), np.uint8)


def _figure(title: str, seen: Image | None, text: str) -> str:
    caption = f"<figcaption>{html.escape(title)}</figcaption>"
    if seen is None:
        return f"<figure>{caption}</figure>"
    _, png = cv2.imencode(".png", cv2.cvtColor(seen, cv2.COLOR_RGB2BGR))
    return f"<figure>{caption}{image(png.tobytes(), f'{text}: {title}')}</figure>"
