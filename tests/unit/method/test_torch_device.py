"""bfloat16 is taken where it is faster, not wherever a processor has it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from mdss.method import torch_device
from mdss.method.recipe import Learning


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    tried = torch_device.cpu_gains_by_bfloat16
    tried.cache_clear()
    yield
    tried.cache_clear()


def with_times(monkeypatch: pytest.MonkeyPatch, exact_s: list[float], narrow_s: list[float]) -> None:
    readings = {torch.float32: iter(exact_s), torch.bfloat16: iter(narrow_s)}
    monkeypatch.setattr(torch_device, "cpu_has_bfloat16", lambda: True)
    monkeypatch.setattr(torch_device, "matmul_s", lambda kind: next(readings[kind]))


@pytest.mark.parametrize(("narrow_s", "expected"), [(0.25, True), (0.9, False), (2.0, False)])
def test_bfloat16_is_used_only_where_it_is_clearly_faster(narrow_s: float, expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    with_times(monkeypatch, [1.0] * 6, [narrow_s] * 6)
    assert torch_device.cpu_gains_by_bfloat16() is expected
    assert torch_device.learning_precision("cpu")._enabled is expected


def test_what_the_first_multiplication_takes_and_what_disturbs_some_does_not_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    with_times(monkeypatch, [0.1, 1.0, 1.0, 9.0, 9.0, 9.0], [9.0, 9.0, 0.5, 9.0, 9.0, 9.0])
    assert torch_device.cpu_gains_by_bfloat16()


def test_it_is_tried_in_one_thread_and_computed_in_as_many_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    threads = set[int]()

    def noted(_: torch.dtype) -> float:
        threads.add(torch.get_num_threads())
        return 1.0

    monkeypatch.setattr(torch_device, "cpu_has_bfloat16", lambda: True)
    monkeypatch.setattr(torch_device, "matmul_s", noted)
    torch.set_num_threads(2)
    try:
        torch_device.cpu_gains_by_bfloat16()
        assert (threads, torch.get_num_threads()) == ({1}, 2)
    finally:
        torch.set_num_threads(before)


def test_a_processor_without_bfloat16_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_device, "cpu_has_bfloat16", lambda: False)
    monkeypatch.setattr(torch_device, "matmul_s", lambda kind: pytest.fail(f"{kind} was tried"))
    assert not torch_device.cpu_gains_by_bfloat16()


@pytest.mark.parametrize(("capability", "expected"), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_a_gpu_that_can_but_is_not_faster_computes_in_float32(
    capability: tuple[int, int], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", {"cuda:1": capability}.__getitem__)
    assert torch_device.gains_by_bfloat16("cuda:1") is expected


@pytest.mark.parametrize(("has_it", "learns_in", "expected"), [(True, "bfloat16", True), (True, "auto", False), (False, "bfloat16", False)])
def test_what_learns_better_in_bfloat16_does_so_where_it_is_slower_unless_the_processor_lacks_it(
    has_it: bool, learns_in: Learning, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch_device, "cpu_gains_by_bfloat16", lambda: False)
    monkeypatch.setattr(torch_device, "cpu_has_bfloat16", lambda: has_it)
    assert torch_device.learning_precision("cpu", learns_in)._enabled is expected
