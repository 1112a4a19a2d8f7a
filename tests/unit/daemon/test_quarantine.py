"""The quarantine keeps scans so that they can be looked at and replayed, and never more than fit."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from structlog.testing import capture_logs

from daemon import quarantine
from daemon.held_parts import HeldPart
from daemon.quarantine import Quarantine
from daemon.recording import find_pairs, read_pair
from mdss.wire.cloud import SensorCloud
from mdss.wire.messages import Frame
from tests.parts import accepted


def held(name: str) -> HeldPart:
    random = np.random.default_rng(1)
    given = random.normal(size=(8, 9, 3)).astype(np.float32)
    given[0, 0] = np.nan
    return HeldPart(
        accepted(name, 10),
        Frame(
            result_id=name,
            recipe_id="cap",
            model_version="0001",
            rgb=random.integers(0, 255, (8, 9, 3), np.uint8),
            xyz=SensorCloud(given=given, unit="m"),
        ),
    )


def test_what_is_kept_is_read_back_bit_by_bit_as_replay_reads_it(tmp_path: Path) -> None:
    part, folder = held("r1"), tmp_path / "quarantine"  # which is not there before the first
    Quarantine(folder).keep(part, "two processes ended with it")
    (pair,) = find_pairs(folder, "test")
    rgb, xyz = read_pair(pair)
    np.testing.assert_array_equal(rgb, part.frame.rgb)
    np.testing.assert_array_equal(xyz, part.frame.xyz[:])
    said = msgspec.json.decode((folder / "r1.json").read_bytes())
    assert (said["reason"], said["unit"], said["accepted"]["identity"]["part_id"]) == ("two processes ended with it", "mm", "p")


def test_a_station_that_breaks_on_everything_does_not_fill_its_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quarantine, "MOST_SCANS", 2)
    with capture_logs() as logs:
        for name in ("a", "b", "c"):
            Quarantine(tmp_path).keep(held(name), "")
    kept, full = "a part that no worker survives is kept for inspection", "not kept: the quarantine is full"
    assert [(line["event"], line["result_id"]) for line in logs] == [(kept, "a"), (kept, "b"), (full, "c")]
    assert sorted(path.stem for path in tmp_path.glob("*.json")) == ["a", "b"]
    assert len(list((tmp_path / "xyz").iterdir())) == 2


def test_a_disk_that_takes_nothing_costs_the_scan_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "quarantine").write_text("a file where the folder should be")
    Quarantine(tmp_path / "quarantine").keep(held("r1"), "")
    assert "is not kept" in capsys.readouterr().out


@pytest.mark.parametrize("refused", ["xyz/r1.tiff", "r1.json"])
def test_of_a_scan_that_the_disk_takes_in_part_nothing_is_left(tmp_path: Path, refused: str) -> None:
    (tmp_path / refused).mkdir(parents=True)
    Quarantine(tmp_path).keep(held("r1"), "")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
