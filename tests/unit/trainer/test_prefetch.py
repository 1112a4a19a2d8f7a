"""What steps learn from, drawn by other processes: the same, in the same order, and nothing stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
import torch

from trainer import prefetch
from trainer.prefetch import prefetch_processes, prefetched

GPU = "cuda:0"  # drawing itself touches no GPU
DRAWS_FOR_EVER = """
import os, sys, time, torch
from trainer.prefetch import prefetched
torch.set_num_threads(3)
large = prefetched(lambda _: (os.getpid(), b"x" * (4 << 20)), range(1000), "cuda:0")
print(next(large)[0], next(large)[0], flush=True)
time.sleep(600)
"""
FAILS = """
import torch
from trainer.prefetch import prefetched
torch.set_num_threads(2)
batches = prefetched(str, range(1000), "cuda:0")
raise ValueError(next(batches))
"""


def drawing(number: int) -> tuple[int, torch.Tensor]:
    return os.getpid(), torch.from_numpy(np.random.default_rng((7, number)).random(1000))


@pytest.fixture
def three_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)


def test_beside_a_gpu_other_processes_draw_what_this_one_would_have_drawn(three_threads: None) -> None:
    here, there = (list(prefetched(drawing, range(3, 20), device)) for device in ("cpu", GPU))
    assert all(torch.equal(one, other) for (_, one), (_, other) in zip(here, there, strict=True))
    assert {process for process, _ in here} == {os.getpid()}
    assert len({process for process, _ in there}) == 2 and os.getpid() not in {process for process, _ in there}


def test_drawers_end_when_nobody_asks_any_more(three_threads: None) -> None:
    batches = prefetched(drawing, range(1000), GPU)
    process, _ = next(batches)
    assert psutil.pid_exists(process)
    del batches
    assert not psutil.pid_exists(process)


def test_what_stops_a_training_does_not_stop_those_who_draw_for_its_last_step(three_threads: None) -> None:
    batches = prefetched(drawing, range(40), GPU)
    process, _ = next(batches)
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(process, number)
    assert len(list(batches)) == 39


def test_nobody_draws_for_a_process_that_was_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", DRAWS_FOR_EVER], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        drawing = [int(number) for number in process.stdout.readline().split()]
        assert all(psutil.pid_exists(number) for number in drawing)
        process.kill()
        process.wait()
        end_s = time.monotonic() + 20
        while any(psutil.pid_exists(number) for number in drawing) and time.monotonic() < end_s:
            time.sleep(0.05)
        assert not any(psutil.pid_exists(number) for number in drawing)


def test_a_process_that_fails_ends_while_others_draw_for_it() -> None:
    ended = subprocess.run([sys.executable, "-c", FAILS], stderr=subprocess.PIPE, text=True, timeout=120, check=False)
    assert (ended.returncode, ended.stderr.splitlines()[-1]) == (1, "ValueError: 0")


@pytest.mark.parametrize(("threads", "expected"), [(1, 0), (2, 1), (8, 7), (64, prefetch.MOST)])
def test_of_the_threads_one_computes_and_the_others_draw(monkeypatch: pytest.MonkeyPatch, threads: int, expected: int) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert prefetch_processes() == expected
