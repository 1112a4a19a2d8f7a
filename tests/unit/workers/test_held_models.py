"""What a worker holds of models: it keeps to the plan, loads beside what judges, says at once what it can and cannot use."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from psutil import Process
from structlog.testing import capture_logs

from mdss.errors import ModelRefused
from mdss.method.model_store import ModelFolder
from mdss.system_calls import LIBC
from mdss.wire.heartbeat import HeartbeatSender
from mdss.wire.messages import Heartbeat
from mdss.wire.model_plan import ModelPlan, PlanFile, Served
from tests.fakes import FakeClock, FakeLink
from tests.unit.method.test_model_store import store_one
from workers.held_models import HeldModels, ModelUse

LOOKS = 2000  # of five milliseconds: what takes longer hangs


class Bench:
    """A store with two versions, a plan, and a process that makes of a model its version, when it is let."""

    def __init__(self, folder: Path) -> None:
        self.store, self.file, self.health = folder / "models", PlanFile(folder), FakeLink()
        for _ in range(2):
            store_one(self.store, "cap")
        self.gate, self.made, self.proven = threading.Event(), list[str](), list[str]()
        self.gate.set()
        self.breaks_with: Exception | None = None
        self.breaks_at: tuple[str, ...] = ("0001", "0002")
        self.heartbeats = HeartbeatSender("rgb-0", self.health, FakeClock())
        self.models = HeldModels(ModelUse(self.load, self.prove), self.store, self.file, self.heartbeats)

    def load(self, folder: ModelFolder) -> str:
        """Stand in for a branch."""
        self.made.append(folder.version)
        self.gate.wait()
        if self.breaks_with is not None and folder.version in self.breaks_at:
            raise self.breaks_with
        return folder.version

    def prove(self, folder: ModelFolder, _: str) -> None:
        """Stand in for golden scans."""
        self.proven.append(folder.version)

    def plan(self, *versions: str, serving: str = "", revision: int = 1, since: int = 0) -> None:
        """Write a plan; `since` is the plan that asked for the last of the versions."""
        served = {"cap": Served(serving, 1)} if serving else {}
        held = tuple(f"cap/{version}" for version in versions)
        self.file.write(ModelPlan(revision=revision, serving=served, held=held, since={held[-1]: since}))

    def said(self) -> tuple[int, dict[str, str]]:
        """Return what the next heartbeat says."""
        self.heartbeats.send_if_due(0)
        beat = self.health.sent[-1]
        assert isinstance(beat, Heartbeat)
        return beat.models.revision, beat.models.held

    def look_until(self, held: dict[str, str], revision: int) -> None:
        """Look as a loop does between messages, until the process says this."""
        pause = threading.Event()
        for _ in range(LOOKS):
            self.models.look()
            if self.said() == (revision, held):
                return
            pause.wait(0.005)
        raise AssertionError(self.said())


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.gate.set()
    made.models.close()


def test_a_process_that_begins_loads_all_that_the_plan_holds_before_it_says_anything(bench: Bench) -> None:
    bench.plan("0001", "0002")
    bench.models.begin()
    assert bench.models.loaded == {"cap/0001": "0001", "cap/0002": "0002"}
    assert bench.said() == (1, {"cap/0001": "", "cap/0002": ""})


def test_what_serves_is_not_proven_again_by_every_process_that_comes_back(bench: Bench) -> None:
    bench.plan("0001", "0002", serving="0001")
    bench.models.begin()
    assert bench.proven == ["0002"]


def test_the_process_judges_on_while_another_version_is_loaded_and_says_at_once_when_it_is_there(bench: Bench) -> None:
    bench.plan("0001")
    bench.models.begin()
    bench.gate.clear()
    bench.plan("0001", "0002", revision=2)
    bench.look_until({"cap/0001": ""}, revision=2)
    assert bench.models.loaded == {"cap/0001": "0001"}
    bench.gate.set()
    bench.look_until({"cap/0001": "", "cap/0002": ""}, revision=2)
    assert bench.proven == ["0001", "0002"]


def test_what_the_plan_drops_is_let_go_of(bench: Bench) -> None:
    bench.plan("0001", "0002")
    bench.models.begin()
    bench.plan("0002", revision=2)
    bench.look_until({"cap/0002": ""}, revision=2)
    assert bench.models.loaded == {"cap/0002": "0002"}


def test_what_was_let_go_of_is_loaded_anew_when_the_plan_holds_it_again(bench: Bench) -> None:
    bench.plan("0001")
    bench.models.begin()
    for revision, versions in enumerate((("0001", "0002"), ("0001",), ("0001", "0002")), 2):
        bench.plan(*versions, revision=revision)
        bench.look_until({f"cap/{version}": "" for version in versions}, revision)
    assert bench.made == ["0001", "0002", "0002"]


@pytest.mark.parametrize("error", [ModelRefused("golden scan 3: found 2, expected 1"), MemoryError("16 GiB"), RuntimeError("CUDA error")])
def test_a_version_that_cannot_be_used_is_named_with_the_reason_and_the_others_stay(bench: Bench, error: Exception) -> None:
    bench.plan("0001")
    bench.models.begin()
    bench.breaks_with = error
    bench.plan("0001", "0002", revision=2)
    reason = str(error) if isinstance(error, ModelRefused) else f"model cap/0002 cannot be used: {type(error).__name__}: {error}"
    bench.look_until({"cap/0001": "", "cap/0002": reason}, revision=2)
    assert bench.models.loaded == {"cap/0001": "0001"}
    bench.models.look()
    bench.models.close()
    assert bench.made == ["0001", "0002"], "it is not tried again and again"
    bench.plan("0001", revision=3)
    bench.look_until({"cap/0001": ""}, revision=3)


def test_a_version_that_was_refused_is_tried_again_when_it_is_asked_for_again_though_no_plan_without_it_was_read(bench: Bench) -> None:
    bench.plan("0001")
    bench.models.begin()
    bench.breaks_with = ModelRefused("no memory")
    bench.plan("0001", "0002", revision=2, since=2)
    bench.look_until({"cap/0001": "", "cap/0002": "no memory"}, revision=2)
    bench.breaks_with = None
    bench.plan("0001", "0002", revision=4, since=4)
    bench.look_until({"cap/0001": "", "cap/0002": ""}, revision=4)


def test_a_refusal_stands_through_plans_that_ask_for_other_versions(bench: Bench) -> None:
    store_one(bench.store, "cap")
    bench.plan("0001")
    bench.models.begin()
    bench.breaks_with = ModelRefused("no memory")
    bench.plan("0001", "0002", revision=2, since=2)
    bench.look_until({"cap/0001": "", "cap/0002": "no memory"}, revision=2)
    bench.plan("0001", "0003", "0002", revision=3, since=2)
    bench.look_until({"cap/0001": "", "cap/0003": "", "cap/0002": "no memory"}, revision=3)
    assert bench.made == ["0001", "0002", "0003"]


def test_a_try_that_was_begun_before_a_version_was_asked_for_again_is_no_answer_to_that(bench: Bench) -> None:
    bench.plan("0001")
    bench.models.begin()
    bench.breaks_with = ModelRefused("no memory")
    bench.gate.clear()
    bench.plan("0001", "0002", revision=2, since=2)
    bench.look_until({"cap/0001": ""}, revision=2)
    bench.plan("0001", "0002", revision=4, since=4)
    bench.look_until({"cap/0001": ""}, revision=4)
    bench.gate.set()
    bench.look_until({"cap/0001": "", "cap/0002": "no memory"}, revision=4)
    assert bench.made == ["0001", "0002", "0002"]


def test_a_version_that_is_dropped_while_it_is_loaded_does_not_come(bench: Bench) -> None:
    bench.plan("0001")
    bench.models.begin()
    bench.gate.clear()
    bench.plan("0001", "0002", revision=2)
    bench.look_until({"cap/0001": ""}, revision=2)
    bench.plan("0001", revision=3)
    bench.models.look()
    bench.gate.set()
    bench.models.close()
    assert "model loader" not in {thread.name for thread in threading.enumerate()}
    bench.models.look()
    assert bench.models.loaded == {"cap/0001": "0001"}


def test_versions_that_are_dropped_and_wanted_again_while_one_of_them_is_loaded_come_and_are_loaded_once(bench: Bench) -> None:
    store_one(bench.store, "cap")
    bench.plan("0001")
    bench.models.begin()
    bench.gate.clear()
    for revision, versions in enumerate((("0001", "0002", "0003"), ("0001",), ("0001", "0002", "0003")), 2):
        bench.plan(*versions, revision=revision)
        bench.look_until({"cap/0001": ""}, revision)
    bench.gate.set()
    bench.look_until({"cap/0001": "", "cap/0002": "", "cap/0003": ""}, revision=4)
    assert bench.made == ["0001", "0002", "0003"]


def test_a_version_that_is_dropped_before_its_turn_is_not_loaded(bench: Bench) -> None:
    store_one(bench.store, "cap")
    bench.plan("0001")
    bench.models.begin()
    bench.gate.clear()
    bench.plan("0001", "0002", "0003", revision=2)
    bench.look_until({"cap/0001": ""}, revision=2)
    bench.plan("0001", "0002", revision=3)
    bench.look_until({"cap/0001": ""}, revision=3)
    bench.gate.set()
    bench.look_until({"cap/0001": "", "cap/0002": ""}, revision=3)
    assert bench.made == ["0001", "0002"]


def test_a_plan_that_cannot_be_read_changes_nothing_and_is_said_once_and_not_before_every_message(bench: Bench) -> None:
    bench.plan("0001")
    bench.models.begin()
    bench.file.path.write_bytes(b"{")
    with capture_logs() as lines:
        for _ in range(3):
            bench.models.look()
    assert [line["log_level"] for line in lines] == ["error"]
    assert bench.said() == (1, {"cap/0001": ""})
    bench.plan("0001", "0002", revision=2)
    bench.look_until({"cap/0001": "", "cap/0002": ""}, revision=2)


def test_a_process_with_nothing_that_it_can_use_says_why_and_does_not_begin(bench: Bench) -> None:
    (bench.store / "cap" / "0001" / "rgb.safetensors").write_bytes(b"damaged")
    bench.plan("0001")
    with pytest.raises(ModelRefused, match="found the checksum"):
        bench.models.begin()


def test_a_process_that_comes_back_while_the_store_is_away_says_so_and_loads_what_a_later_plan_asks_for_again(bench: Bench) -> None:
    away = bench.store.rename(bench.store.with_name("away"))
    bench.plan("0001", serving="0001", revision=2)
    bench.models.begin()
    missing = bench.store / "cap" / "0001" / "SHA256SUMS"
    assert bench.said() == (2, {"cap/0001": f"{missing}: no such file; expected a model folder with the checksums of its files"})
    away.rename(bench.store)
    bench.plan("0001", revision=3, since=3)
    bench.look_until({"cap/0001": ""}, revision=3)


def test_a_process_that_comes_back_without_the_means_for_what_serves_ends_and_is_started_again(bench: Bench) -> None:
    bench.plan("0001", "0002", serving="0002")
    (bench.store / "cap" / "0001" / "rgb.safetensors").write_bytes(b"damaged")
    bench.breaks_with = MemoryError("16 GiB")
    with pytest.raises(MemoryError):
        bench.models.begin()


def test_a_process_that_comes_back_without_the_means_for_what_is_only_coming_judges_by_what_serves(bench: Bench) -> None:
    bench.plan("0001", "0002", serving="0001")
    bench.breaks_with, bench.breaks_at = MemoryError("16 GiB"), ("0002",)
    bench.models.begin()
    assert bench.models.loaded == {"cap/0001": "0001"}
    assert bench.said() == (1, {"cap/0001": "", "cap/0002": "model cap/0002 cannot be used: MemoryError: 16 GiB"})


def test_a_process_that_comes_back_to_a_damaged_model_that_serves_names_it_and_judges_by_the_others(bench: Bench) -> None:
    bench.plan("0001", "0002", serving="0001")
    (bench.store / "cap" / "0001" / "rgb.safetensors").write_bytes(b"damaged")
    with capture_logs() as logs:
        bench.models.begin()
    assert [(each["event"], each["log_level"], each["model"]) for each in logs] == [("model refused", "error", "cap/0001")]
    revision, held = bench.said()
    assert (revision, bench.models.loaded, held["cap/0002"]) == (1, {"cap/0002": "0002"}, "")
    assert "found the checksum" in held["cap/0001"]


@pytest.mark.skipif(not hasattr(LIBC, "malloc_trim"), reason="only glibc keeps freed memory that it can be asked to give back")
def test_the_memory_of_a_dropped_model_goes_back_to_the_system(bench: Bench) -> None:
    models = HeldModels(ModelUse(lambda _: [bytearray(60_000) for _ in range(2000)]), bench.store, bench.file, bench.heartbeats)
    bench.plan("0001", "0002")
    models.begin()
    process = Process()
    before = process.memory_info().rss
    bench.plan("0002", revision=2)  # which lies above the other in memory
    models.look()
    assert before - process.memory_info().rss > 60_000 * 1000
