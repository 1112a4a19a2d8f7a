"""The picture of a part that is not OK."""

from __future__ import annotations

import hashlib
import resource
import shutil
import signal
from pathlib import Path
from urllib.parse import unquote, urlparse

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from workers import evidence


def decoded(png: bytes, how: int = cv2.IMREAD_COLOR) -> NDArray[np.uint8]:
    """Return the pixels of a PNG."""
    return np.asarray(cv2.imdecode(np.frombuffer(png, np.uint8), how), np.uint8)


def picture() -> tuple[bytes, NDArray[np.uint8]]:
    """Return the PNG of a grey part with one hot place, and its pixels."""
    heat = np.zeros((32, 32), np.float32)
    heat[10:20, 10:20] = 9.0
    png = evidence.draw(np.full((32, 32, 3), 128, np.uint8), heat, level=3.0, caption="p1  NotOK: score 3 is above µ")
    return png, decoded(png)


def test_the_hot_place_is_outlined_in_both_panels_and_nothing_else_is() -> None:
    _, pixels = picture()
    outlined = (pixels == evidence.OUTLINE_RGB[::-1]).all(axis=2)
    assert outlined[20, 20:38].all()
    assert outlined[:64, :64].sum() == outlined[:64, 64:].sum() > 0
    assert not outlined[:15].any()


def test_the_left_is_the_part_as_it_was_seen_and_the_right_the_same_under_the_colours_of_heat() -> None:
    rgb = np.empty((32, 32, 3), np.uint8)
    rgb[:] = (200, 120, 40)
    page = decoded(evidence.draw(rgb, np.full((32, 32), 3.0, np.float32), level=3.0, caption=""))[..., ::-1]
    assert (page[:64, :64] == (200, 120, 40)).all()
    inferno = cv2.applyColorMap(np.full((1, 1), 127, np.uint8), cv2.COLORMAP_INFERNO)[0, 0, ::-1]
    expected = (1 - evidence.HEAT_SHARE) * rgb[0, 0] + evidence.HEAT_SHARE * inferno
    assert np.abs(page[:64, 64:128] - expected).max() <= 1


def test_a_caption_is_seen_to_its_last_word_however_many_reasons_there_are() -> None:
    rgb, heat = np.full((224, 224, 3), 128, np.uint8), np.zeros((224, 224), np.float32)
    reasons = "; ".join(["one more reason"] * 20)
    pages = [decoded(evidence.draw(rgb, heat, level=3.0, caption=f"part-0001  NotDecidable: {reasons} {last}")) for last in "ab"]
    assert pages[0].shape == pages[1].shape and (pages[0] != pages[1]).any()
    assert (pages[0][448:, -evidence.MARGIN_PX :] == evidence.DARK).all()  # no line runs out of the picture


def test_the_file_is_what_its_reference_says(tmp_path: Path) -> None:
    png, _ = picture()
    reference = evidence.EvidenceFolder(tmp_path / "with space").write("r1", png)
    stored = Path(unquote(urlparse(reference.uri).path))
    assert stored.read_bytes() == png
    assert reference.sha256 == hashlib.sha256(png).hexdigest()
    assert [path.name for path in stored.parent.iterdir()] == ["r1.png"]


def test_a_picture_that_the_disk_does_not_take_leaves_nothing_of_itself(tmp_path: Path) -> None:
    folder = evidence.EvidenceFolder(tmp_path)
    largest = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, largest[1]))
    try:
        with pytest.raises(OSError, match=r"File too large: .*evidence/r1.png"):
            folder.write("r1", bytes(10_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, largest)
        signal.signal(signal.SIGXFSZ, before)
    assert list((tmp_path / "evidence").iterdir()) == []


def test_what_an_earlier_life_left_half_written_goes_at_the_start_and_pictures_stay(tmp_path: Path) -> None:
    whole, half = tmp_path / "evidence" / "r1.png", tmp_path / "evidence" / "r2.part"
    whole.parent.mkdir()
    whole.touch()
    half.touch()
    evidence.EvidenceFolder(tmp_path)
    assert list(whole.parent.iterdir()) == [whole]


def test_a_folder_that_somebody_removes_is_made_again(tmp_path: Path) -> None:
    folder = evidence.EvidenceFolder(tmp_path)
    folder.write("r1", b"1")
    shutil.rmtree(tmp_path / "evidence")
    folder.write("r2", b"2")
    assert [path.name for path in (tmp_path / "evidence").iterdir()] == ["r2.png"]


def test_a_folder_that_cannot_be_used_costs_pictures_and_no_start(tmp_path: Path) -> None:
    away, stuck = tmp_path / "away" / "evidence", tmp_path / "stuck" / "evidence" / "r1.part"
    away.parent.mkdir()
    away.symlink_to(tmp_path / "a disk that is not mounted")
    stuck.mkdir(parents=True)  # root, too, may not unlink a folder
    evidence.EvidenceFolder(stuck.parents[1])
    with pytest.raises(FileExistsError):
        evidence.EvidenceFolder(away.parent).write("r1", b"1")


def test_a_map_alone_keeps_its_level_in_the_middle_of_the_grey_scale() -> None:
    heat = np.array([[0.0, 3.0], [6.0, np.nan]], np.float32)
    grey = decoded(evidence.heat_png(heat, 3.0), cv2.IMREAD_UNCHANGED)
    assert grey.tolist() == [[0, 127], [255, 0]]
