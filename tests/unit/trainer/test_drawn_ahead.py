"""What steps learn from, drawn by other processes: the same, in the same order, and nothing stays behind."""

from __future__ import annotations

import os

import numpy as np
import psutil
import pytest
import torch

from trainer import drawn_ahead
from trainer.drawn_ahead import drawers, drawn

GPU = "cuda:0"  # drawing itself touches no GPU


def drawing(number: int) -> tuple[int, torch.Tensor]:
    return os.getpid(), torch.from_numpy(np.random.default_rng((7, number)).random(1000))


@pytest.fixture
def many_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)))


def test_beside_a_gpu_other_processes_draw_what_this_one_would_have_drawn(many_cores: None) -> None:
    here, there = (list(drawn(drawing, range(3, 20), device)) for device in ("cpu", GPU))
    assert all(torch.equal(one, other) for (_, one), (_, other) in zip(here, there, strict=True))
    assert {process for process, _ in here} == {os.getpid()}
    assert len({process for process, _ in there}) == 2 and os.getpid() not in {process for process, _ in there}


def test_drawers_end_when_nobody_asks_any_more(many_cores: None) -> None:
    batches = drawn(drawing, range(1000), GPU)
    process, _ = next(batches)
    assert psutil.pid_exists(process)
    del batches
    assert not psutil.pid_exists(process)


@pytest.mark.parametrize(
    ("cores", "processes", "expected"), [(1, 1, 0), (2, 1, 0), (4, 1, 1), (16, 1, 7), (16, 4, 1), (64, 1, drawn_ahead.MOST)]
)
def test_drawers_leave_the_other_branch_its_cores(monkeypatch: pytest.MonkeyPatch, cores: int, processes: int, expected: int) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))
    monkeypatch.setenv(drawn_ahead.LOCAL_WORLD, str(processes))
    assert drawers() == expected
