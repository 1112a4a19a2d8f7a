"""A scan and its labels become the frames of one message: bit for bit, and with what nobody said filled in."""

from __future__ import annotations

import time

import numpy as np
import pytest

from mdss.errors import BadInput
from mdss.settings_types import LARGEST_SIDE_PX
from mdss.wire.cloud import Invalid
from mdss.wire.labels import FrameLabels, from_scan

SHAPE = (64, 70, 3)
LABELS: FrameLabels = {"part_id": "p", "recipe_id": "r"}


def test_the_payloads_are_the_arrays_row_by_row_in_the_numbers_of_the_wire() -> None:
    random = np.random.default_rng(0)
    rgb, xyz = random.integers(0, 256, SHAPE, np.uint8), random.normal(size=SHAPE).astype(np.float32)
    confidence = random.integers(0, 200, SHAPE[:2], np.uint8)  # as some sensors count it
    labels: FrameLabels = {**LABELS, "invalid": Invalid(kind="confidence"), "confidence": confidence}
    _, (_, _, _, *payloads) = from_scan(rgb[:, ::-1], xyz[:, ::-1], labels, "camera", 1)
    for payload, kind, sent in zip(payloads, ("u1", "<f4", "<f4"), (rgb[:, ::-1], xyz[:, ::-1], confidence), strict=True):
        np.testing.assert_array_equal(np.frombuffer(payload, kind), sent.ravel())


def test_a_frame_without_an_id_and_a_time_gets_an_id_of_its_own_and_the_time_now() -> None:
    before_ns = time.time_ns()
    labels: tuple[FrameLabels, ...] = (LABELS, {**LABELS, "frame_id": ""})
    first, second = (from_scan(np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.float32), each, "camera", 1)[0] for each in labels)
    assert first.frame_id and second.frame_id and first.frame_id != second.frame_id
    assert before_ns <= first.capture_time <= second.capture_time <= time.time_ns()


def test_a_scan_may_be_as_large_as_a_station_takes_it() -> None:
    largest = (64, LARGEST_SIDE_PX, 3)
    header, _ = from_scan(np.zeros(largest, np.uint8), np.zeros(largest, np.float32), LABELS, "camera", 1)
    assert (header.rgb.height, header.rgb.width) == largest[:2]


@pytest.mark.parametrize("kind", [np.complex64, "U3"])
def test_confidences_that_are_no_real_numbers_are_refused(kind: type | str) -> None:
    labels = {**LABELS, "invalid": Invalid(kind="confidence"), "confidence": np.zeros(SHAPE[:2], kind)}
    with pytest.raises(BadInput, match=r"confidence: found .* of shape \(64, 70\), expected float32 of shape \(64, 70\)"):
        from_scan(np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.float32), labels, "camera", 1)  # type: ignore[arg-type]
