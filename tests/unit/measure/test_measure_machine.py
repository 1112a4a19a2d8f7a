"""The machine's rates: the fastest repetition counts, and the precision is that of the branches themselves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from mdss.method import torch_device
from measure import machine


def test_the_fastest_repetition_counts_and_the_first_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    readings: Iterator[float] = iter([0.0, 3.0, 3.0, 5.0, 5.0, 9.0])
    monkeypatch.setattr("measure.machine.time.perf_counter", lambda: next(readings))
    calls: list[None] = []
    assert machine.best_of(lambda: calls.append(None), 3) == 2.0
    assert len(calls) == 4


def test_a_matrix_rate_counts_two_operations_for_each_product(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "best_of", lambda action, _: action() or 0.5)
    assert machine.matrix_rate(64, torch.float32, "cpu", 1) == 2 * 64**3 / 0.5 / 1e9


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16, torch.int8])
def test_every_type_that_branches_compute_in_has_a_rate(kind: torch.dtype) -> None:
    assert machine.matrix_rate(64, kind, "cpu", 2) > 0


@pytest.mark.parametrize(("is_faster", "expected"), [(True, torch.bfloat16), (False, torch.float32)])
def test_the_precision_is_the_one_that_branches_score_in(is_faster: bool, expected: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_device, "cpu_gains_by_bfloat16", lambda: is_faster)
    assert machine.scoring_type("cpu") is expected


def test_a_durable_write_leaves_no_file(tmp_path: Path) -> None:
    assert machine.sync_write_ms(tmp_path) > 0
    assert list(tmp_path.iterdir()) == []
