"""Both branches at once: what becomes of a branch that ends, and which processors they are given."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mdss.errors import MdssError
from measure import both_branches
from measure.both_branches import Runner, figures_of, own_cores


def test_a_branch_that_ended_between_two_parts_is_told_in_a_sentence() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", "raise SystemExit(3)"], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        process.wait()
        runner = Runner(process, "sdf")
        runner.tell(0)
        with pytest.raises(MdssError, match="sdf: its process ended with code 3"):
            runner.wait()
        process.communicate()


def test_of_processors_that_share_a_core_one_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for processor, siblings in enumerate(("0,2", "1", "0,2")):
        folder = tmp_path / f"cpu{processor}" / "topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(f"{siblings}\n")
    monkeypatch.setattr(both_branches, "TOPOLOGY", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    assert own_cores() == [0, 1, 3]


def test_each_part_in_both_branches_is_held_against_its_own_slower_one() -> None:
    found = figures_of([(10.0, 20.0, 24.0), (40.0, 5.0, 44.0), (8.0, 10.0, 20.0)])
    assert (found.rgb_ms, found.sdf_ms, found.both_ms, found.parts) == (10.0, 10.0, 24.0, 3)
    assert found.over_slower == 1.2
