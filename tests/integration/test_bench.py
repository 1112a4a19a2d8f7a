"""`mdss bench` with a real station on a tiny line, and two commits side by side: every figure that was promised is there."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path

import pytest

from bench.compare import main as compare
from mdss.cli import main
from measure.both_branches import own_cores
from tests.pages import ROOT
from tests.station import NAME, Trained

pytestmark = pytest.mark.timeout(600)
STAGES = ["ingest", "codec_frame", "prepare", "rgb", "sdf", "codec_score", "fusion", "journal"]
PROCESSES = {"supervisor", "ingest", "prepare", "rgb-0", "sdf-0", "fusion", "alerts", "collect"}


def test_a_bench_measures_machine_stages_and_station(trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bench.json"
    line = ["--store", str(trained.store), "--recipe", NAME, "--data", str(trained.data)]
    sizes = ["--size", "96x96", "--size", "128x112"]
    assert main(["bench", *line, *sizes, "--parts", "3", "--quick", "--reference", "--cameras", "1", "--json", str(path)]) == 0
    found = json.loads(path.read_text())
    assert found["machine"]["gflops"]["float32"]["1"] > 0 and found["machine"]["copy_gb_s"] > 0
    assert list(found["stages"]) == STAGES and list(found["stages_at"]["128x112"]) == STAGES[:3]
    for stage in found["stages"].values():
        assert 0 < stage["p50_ms"] <= stage["p99_ms"]
        assert stage["over_floor"] == pytest.approx(stage["p50_ms"] / stage["floor_ms"], rel=0.3, abs=0.01)  # of each part, in the middle
    assert list(found["end_to_end"]) == ["96x96", "128x112"]
    for size in found["end_to_end"].values():
        assert size["parts_per_s"] > 0 and size["parts"] >= 12
        assert size["overhead_p99_ms"] < size["p99_ms"] and size["p50_ms"] <= size["p99_ms"]
        assert list(size["overhead"]) == ["sending", "preparing", "between", "fusing", "hearing"]
        assert all(0 <= stage["p50_ms"] <= stage["p99_ms"] <= size["overhead_p99_ms"] for stage in size["overhead"].values())
    assert found["speedup_over_reference"] > 0
    assert found["memory_mb"].keys() == PROCESSES and min(found["memory_mb"].values()) > 1
    both = found["both_branches"]
    assert (both is None) == (len(own_cores()) == 1)
    assert both is None or (both["both_ms"] > 0 and both["over_slower"] > 0 and both["parts"] >= 3)
    (growth,) = found["growth"]
    assert (growth["processes"], growth["cameras"]) == (1, 1) and growth["parts_per_s"] > 0
    assert found["start_to_ready_s"] > 0 and found["is_trained"]
    assert "parts/s at full load" in capsys.readouterr().out


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="there are no commits to compare outside a checkout")
def test_two_commits_are_measured_in_turn_and_leave_nothing_behind(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    line = ["--store", str(trained.store), "--recipe", NAME, "--data", str(trained.data), "--size", "96x96"]
    assert compare(["HEAD", "HEAD", *line, "--rounds", "1", "--parts", "3"]) == 0
    heading, _, *rows = capsys.readouterr().out.splitlines()
    assert heading.count("HEAD") == 2
    assert [row.split("|")[1].strip() for row in rows] == STAGES
    assert list(tmp_path.iterdir()) == []
    assert str(tmp_path) not in worktrees()


def worktrees() -> str:
    """Return what git knows of this repository's working trees; others may come and go meanwhile."""
    command = ["git", "-C", str(ROOT), "worktree", "list", "--porcelain"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
