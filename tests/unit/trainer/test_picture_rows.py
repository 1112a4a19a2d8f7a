"""Rows of pictures on a page: what is seen in them is what was given."""

from __future__ import annotations

import base64
import re

import cv2
import numpy as np

from trainer.picture_rows import OUTLINE_RGB, PICTURE_PX, heat_map_picture, row, small, with_outline


def test_a_picture_on_the_page_has_the_very_pixels_and_words_that_were_given() -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    page = row([("image", image), ("champion: no part", None)], "a <b> part")
    assert page.count("<figure>") == 2 and 'alt="a &lt;b&gt; part: image"' in page and "champion: no part" in page
    (encoded,) = re.findall(r"base64,([^\"]+)", page)
    seen = cv2.imdecode(np.frombuffer(base64.b64decode(encoded), np.uint8), cv2.IMREAD_COLOR_RGB)
    assert seen is not None and np.array_equal(seen, image)


def test_a_large_image_is_shown_small_and_a_small_one_as_it_is() -> None:
    assert small(np.zeros((1200, 1600, 3), np.uint8)).shape == (PICTURE_PX * 3 // 4, PICTURE_PX, 3)
    assert small(np.zeros((96, 96, 3), np.uint8)).shape == (96, 96, 3)


def test_a_map_goes_from_black_to_nearly_white_and_what_is_no_number_is_black() -> None:
    cold, warm, hot, none = heat_map_picture(np.array([[-1.0, 5.0, 11.0, np.nan]], np.float32), 0, 10)[0].astype(int)
    assert cold.sum() < 10 and cold.sum() < warm.sum() < hot.sum() and hot.min() > 150
    assert np.array_equal(none, cold)


def test_what_is_marked_of_a_scan_is_outlined_on_a_smaller_picture_of_it() -> None:
    truth = np.zeros((1200, 1600), bool)
    truth[400:800, 400:800] = True
    picture = np.full((225, 300, 3), 9, np.uint8)
    found = (with_outline(picture, truth) == OUTLINE_RGB).all(axis=2)
    rows, columns = np.nonzero(found)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (75, 149, 75, 149)
    assert not found[80:145, 80:145].any() and not (picture == OUTLINE_RGB).all(axis=2).any()
    truth[:] = False
    truth[601] = True
    assert (with_outline(picture, truth) == OUTLINE_RGB).all(axis=2).any()
    assert not (with_outline(picture, np.zeros_like(truth)) != picture).any()
