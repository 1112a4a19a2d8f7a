"""The thread that loads models beside those that judge: it steps back behind them, survives every error, and ends with its process."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from tests.fakes import refuses_with
from workers import model_loader
from workers.model_loader import Attempt, ModelLoader

NAME = "model loader"
MANY = 2000  # looks of five milliseconds: what takes longer hangs


def niceness(_: str) -> int:
    """Return that of the thread that calls."""
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def outcome(loader: ModelLoader[int]) -> Attempt[int]:
    """Return the outcome for the model that was asked for."""
    for _ in range(MANY):
        if (attempt := loader.finished()) is not None:
            return attempt
        threading.Event().wait(0.005)
    raise AssertionError("it is never finished")


@pytest.fixture
def loader() -> Iterator[ModelLoader[int]]:
    made = ModelLoader(niceness)
    yield made
    made.close()


@pytest.mark.parametrize("lower", [0, 8])  # as by Nice= in the station's unit
def test_models_are_loaded_at_a_lower_priority_than_the_thread_that_judges_has_which_keeps_its_own(
    loader: ModelLoader[int], lower: int
) -> None:
    seen = list[int | None]()

    def judge() -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness("") + lower)
        seen.append(niceness(""))
        loader.ask("cap/0001")
        seen.extend((outcome(loader).result, niceness("")))

    thread = threading.Thread(target=judge)
    thread.start()
    thread.join()
    own = min(19, niceness("") + lower)
    assert seen == [own, min(19, own + 5), own]


def test_where_no_priority_may_be_changed_that_is_said_and_models_are_loaded_all_the_same(
    loader: ModelLoader[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "setpriority", refuses_with(errno.EPERM))
    with capture_logs() as logs:
        loader.ask("cap/0001")
        assert outcome(loader) == Attempt("cap/0001", niceness(""))
    assert [(each["log_level"], each["reason"]) for each in logs] == [("warning", "Operation not permitted")]


def test_all_models_are_loaded_in_one_thread_which_ends_when_no_more_are_wanted() -> None:
    loader, threads = ModelLoader(lambda _: threading.get_native_id()), set[int | None]()
    for number in range(3):
        loader.ask(f"cap/000{number}")
        threads.add(outcome(loader).result)
    loader.close()
    assert len(threads) == 1
    assert NAME not in {thread.name for thread in threading.enumerate()}


def test_a_model_that_takes_long_holds_up_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_loader, "END_WITHIN_S", 0.05)
    gate = threading.Event()
    loader = ModelLoader(lambda _: gate.wait())
    loader.ask("cap/0001")
    loader.close()
    (thread,) = [each for each in threading.enumerate() if each.name == NAME]
    assert thread.daemon, "the process ends without it"
    gate.set()
    thread.join()
