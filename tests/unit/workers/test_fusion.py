"""The fusion worker: exactly one verdict per part reaches the journal and the subscribers, with its picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from structlog.testing import capture_logs

from mdss.settings import DriftSettings, FusionSettings, Settings
from mdss.wire.heartbeat import Tally
from mdss.wire.messages import Ended, Fault, Judged, Message, Resend
from mdss.wire.verdict import Beat, Evidence, Verdict
from tests.fakes import NOBODY, FakeClock, Nobody
from tests.parts import SIZE_PX, accepted, calibration, joined_messages, model, prepared, score
from workers.evidence import DARK, OUTLINE_RGB, SCALE
from workers.fusion import Fusion, FusionServices, PartObserver, configuration_id
from workers.judge import Judge, Judgement, VerdictOrigin
from workers.part_join import PartJoin


@dataclass
class World:
    """A journal, a publisher, a picture folder and a judge in one."""

    evaluation: str = "OK"
    disk_is_full: bool = False
    journaled: list[Verdict] = field(default_factory=list)
    published: list[Verdict] = field(default_factory=list)
    pictures: list[str] = field(default_factory=list)
    beats: list[Beat] = field(default_factory=list)
    rules: list[FusionSettings] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)
    clock: FakeClock = field(default_factory=FakeClock)

    def judge(self, what: Any) -> Any:
        """Decide on a part, or journal a verdict: judge and journal have one method name."""
        if isinstance(what, Verdict):
            self.journaled.append(msgspec.structs.replace(what, sequence=len(self.journaled) + 1))
            return self.journaled[-1]
        heat = what.scores["rgb"].map if what.scores else None
        if what.code is not None:
            return Judgement("Undefined", (what.reason,), what.code)
        return Judgement(self.evaluation, heat=heat, score=1.0)  # type: ignore[arg-type]

    def with_rules(self, rules: FusionSettings) -> World:
        self.rules.append(rules)
        return self

    def model_of(self, _: object) -> Any:
        return model()

    def last_sequence(self) -> int:
        return len(self.journaled)

    def publish(self, verdict: Verdict, heat_png: Callable[[], bytes] | None) -> None:
        self.published.append(verdict)

    def serve(self, beat: Callable[[], Beat]) -> None:
        self.beats.append(beat())

    def write(self, result_id: str, png: bytes) -> Evidence:
        if self.disk_is_full:
            raise OSError(28, "No space left on device")
        self.pictures.append(result_id)
        return Evidence(uri=f"file:///{result_id}.png", sha256="00")

    def worker(self, observer: PartObserver = NOBODY) -> Fusion:
        """Return a fusion worker in this world."""
        services = FusionServices(self, self, self, self.tally, observer, self.clock.ns, self.clock.ns)
        return Fusion(PartJoin(), self, VerdictOrigin("line", "boot", "configuration"), services)  # type: ignore[arg-type]


class Drawn(list[NDArray[np.uint8]]):
    """A folder of pictures that keeps their pixels."""

    def write(self, result_id: str, png: bytes) -> Evidence:
        self.append(np.asarray(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR), np.uint8))
        return Evidence(uri=f"file:///{result_id}.png", sha256="00")


class Rates(Nobody):
    """An observer that notes the settings which it is told."""

    drift: object = None

    def reconfigure(self, drift: object) -> None:
        self.drift = drift


def deadline(world: World) -> int:
    return world.clock.ns() + 5 * 10**9


def send(worker: Fusion, world: World, name: str) -> list[Any]:
    """Send everything that belongs to one part."""
    messages = joined_messages(name, deadline(world))
    return [answer for message in messages for answer in worker.step(message)]


def test_a_good_part_gives_one_verdict_without_a_picture() -> None:
    world = World()
    answers = send(world.worker(), world, "a")
    assert answers == [Judged.of(world.journaled[0])]
    assert world.journaled == world.published
    assert (world.pictures, world.published[0].evidence) == ([], None)


@pytest.mark.parametrize("evaluation", ["NotOK", "NotDecidable"])
def test_a_part_that_is_not_ok_has_a_picture(evaluation: str) -> None:
    world = World(evaluation)
    send(world.worker(), world, "a")
    assert world.pictures == ["a"]
    assert world.published[0].evidence == Evidence(uri="file:///a.png", sha256="00")


def pictures_of(world: World, *messages: Message) -> list[NDArray[np.uint8]]:
    """Return what is drawn (H, W, BGR) of a part that the real judge decides on."""
    drawn = Drawn()
    services = FusionServices(world, world, drawn, world.tally, NOBODY, world.clock.ns, world.clock.ns)
    worker = Fusion(PartJoin(), Judge({"cap/0001": model()}, FusionSettings()), VerdictOrigin("line", "boot", "configuration"), services)
    for message in messages:
        worker.step(message)
    return drawn


@pytest.mark.parametrize(("peak", "is_outlined"), [(1.5, True), (8.0, True), (1.0, False)])
def test_a_picture_outlines_what_the_verdict_names_be_it_below_the_level(peak: float, is_outlined: bool) -> None:
    """Of two maps of 1.5 the score of 2.25 is above the threshold of 2, and no pixel above the level of 3; of 1.0 the part is OK."""
    world = World()
    drawn = pictures_of(world, accepted("a", deadline(world)), prepared("a"), score("rgb", "a", peak), score("sdf", "a", peak))
    assert bool(world.published[0].regions) == is_outlined
    assert any((each == OUTLINE_RGB[::-1]).all(axis=2).any() for each in drawn) == is_outlined


def test_a_picture_shows_nothing_where_the_camera_saw_nothing() -> None:
    """The grid repeats the rim of an image that is not square; in a picture that would be taken for the part."""
    world = World()
    seen, nowhere = (np.full((SIZE_PX, SIZE_PX, 3), value) for value in (np.uint8(200), np.float32(np.nan)))
    wide = msgspec.structs.replace(prepared("a"), height=32, width=64, rgb=seen, xyz=nowhere)
    (picture,) = pictures_of(world, accepted("a", deadline(world)), wide, score("rgb", "a", 8.0), score("sdf", "a", 8.0))
    rows = picture[: SCALE * SIZE_PX, SCALE * SIZE_PX // 2]  # beside what is outlined
    frame, half = slice(len(rows) // 4, 3 * len(rows) // 4), len(rows) // 2
    assert (rows[frame] == 200).all()
    assert (rows == DARK).all(axis=1).sum() == half


def test_a_full_disk_costs_the_picture_and_is_counted_but_the_verdict_goes_out() -> None:
    world = World("NotOK", disk_is_full=True)
    send(world.worker(), world, "a")
    assert (len(world.published), world.published[0].evidence) == (1, None)
    assert world.tally.counters["mdss_evidence_failed_total"] == 1


def test_late_is_said_at_the_deadline_and_what_comes_after_changes_nothing() -> None:
    world = World()
    worker = world.worker()
    first, *rest = joined_messages("a", deadline(world))
    assert list(worker.step(first)) == []
    world.clock.advance(5)
    (word,) = worker.tick()
    assert word == Judged.of(world.journaled[0])
    assert (word.code, word.reason) == ("LATE", "no result from prepare and rgb and sdf before the deadline")
    assert [answer for message in rest for answer in worker.step(message)] == []
    assert [(verdict.evaluation, verdict.code, verdict.deadline_missed) for verdict in world.published] == [("Undefined", "LATE", True)]
    counters = world.tally.counters
    assert counters["mdss_deadline_misses_total"] == 1
    send(worker, world, "b")
    assert (counters["mdss_deadline_misses_total"], counters["mdss_late_results_total"]) == (1, 3)


def test_draining_gives_every_open_part_its_verdict() -> None:
    world = World()
    worker = world.worker()
    for name in ("a", "b"):
        worker.step(accepted(name, deadline(world)))
    assert [answer.result_id for answer in worker.drain() if isinstance(answer, Judged)] == ["a", "b"]
    assert {verdict.code for verdict in world.journaled} == {"DRAINED"}


def test_the_heartbeat_carries_the_last_sequence() -> None:
    world = World()
    worker = world.worker()
    send(worker, world, "a")
    worker.tick()
    assert (world.beats[-1].sequence, world.beats[-1].boot_id) == (1, "boot")


def test_verdicts_are_counted_by_evaluation_and_timed() -> None:
    world = World("NotOK")
    send(world.worker(), world, "a")
    assert world.tally.counters['mdss_verdicts_total{evaluation="NotOK",code=""}'] == 1
    assert len(world.tally.timings["mdss_verdict_latency_seconds"]) == 1
    assert world.tally.timings["mdss_score_to_threshold_ratio"] == [0.5]
    assert world.tally.timings["mdss_invalid_point_ratio"] == [0.1]
    scores = {name: branch.score for name, branch in world.published[0].branches.items()}
    assert world.tally.timings['mdss_branch_score_ratio{branch="rgb"}'] == [scores["rgb"] / 4]  # the highest of a good validation part
    assert world.tally.timings['mdss_branch_score_ratio{branch="sdf"}'] == [scores["sdf"] / 8]


def test_a_threshold_of_zero_which_nothing_is_a_multiple_of_costs_no_part_its_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    world, nothing = World(), model()
    nothing.calibration = calibration(threshold=msgspec.structs.replace(nothing.calibration.threshold, value=0.0))
    monkeypatch.setattr(world, "model_of", lambda _: nothing)
    assert send(world.worker(), world, "a") == [Judged.of(world.published[0])]
    assert "mdss_score_to_threshold_ratio" not in world.tally.timings


def test_every_end_that_a_part_may_have_is_counted_from_zero_on() -> None:
    world = World()
    worker = world.worker()
    counted = {name: value for name, value in world.tally.counters.items() if name.startswith("mdss_verdicts_total")}
    assert len(counted) == 9
    assert (world.tally.counters["mdss_deadline_misses_total"], world.tally.counters["mdss_late_results_total"]) == (0.0, 0.0)
    assert set(counted.values()) == {0.0}
    for evaluation in ("OK", "NotOK", "NotDecidable"):
        world.evaluation = evaluation
        send(worker, world, evaluation)
    worker.step(accepted("late", deadline(world)))
    world.clock.advance(5)
    assert len(list(worker.tick())) == 1
    worker.step(accepted("lost", deadline(world)))
    worker.step(Fault(result_id="lost", code="LOST", reason="nobody sent it again"))
    after = {name: value for name, value in world.tally.counters.items() if name.startswith("mdss_verdicts_total")}
    assert after.keys() == counted.keys()
    assert (sum(after.values()), world.tally.counters["mdss_deadline_misses_total"]) == (5, 2)


def test_what_was_lost_with_a_process_is_asked_for_again_and_judged() -> None:
    world = World()
    worker = world.worker()
    first, prepared, rgb, sdf = joined_messages("a", deadline(world))
    for message in (first, prepared, rgb, Ended(process="sdf-0", reason="ended with code -9", result_id="a")):
        worker.step(message)
    assert list(worker.tick()) == []
    world.clock.advance(1)
    assert list(worker.tick()) == [Resend(result_id="a", attempt=2, wanted=("sdf",))]
    assert list(worker.step(sdf)) == [Judged.of(world.journaled[0])]
    assert world.journaled[0].attempt == 2


def test_a_part_that_fusion_itself_breaks_on_is_poison_and_the_next_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    worker = world.worker()
    monkeypatch.setattr(world, "model_of", lambda _: 1 / 0)
    (answer,) = send(worker, world, "a")
    assert (answer.code, answer.reason) == ("POISON", "fusion broke on this part: ZeroDivisionError: division by zero")
    monkeypatch.undo()
    assert [answer.code for answer in send(worker, world, "b")] == [None]


class BrokenOnlooker(Nobody):
    """Breaks on every part that it is shown."""

    def see(self, *_: object) -> None:
        raise ZeroDivisionError


def test_an_onlooker_that_breaks_costs_no_part_its_verdict_and_is_logged() -> None:
    world = World()
    worker = world.worker(BrokenOnlooker())
    with capture_logs() as logs:
        answers = [answer for name in ("a", "b") for answer in send(worker, world, name)]
    assert answers == [Judged.of(verdict) for verdict in world.published]
    assert [line["result_id"] for line in logs if line["event"] == "an onlooker broke on a part"] == ["a", "b"]


def test_a_clock_that_is_set_changes_no_deadline() -> None:
    world = World()
    worker = Fusion(
        PartJoin(),
        world,  # type: ignore[arg-type]
        VerdictOrigin("line", "boot", "configuration"),
        FusionServices(world, world, world, world.tally, NOBODY, lambda: 10**18, world.clock.ns),
    )
    first, *_ = joined_messages("a", deadline(world))
    worker.step(first)
    world.clock.advance(4.9)
    assert (list(worker.tick()), world.tally.counters["mdss_open_parts"]) == ([], 1)
    world.clock.advance(0.2)
    assert [answer.code for answer in worker.tick() if isinstance(answer, Judged)] == ["LATE"]
    assert world.tally.timings["mdss_verdict_latency_seconds"] == [pytest.approx(5.1)]


def test_a_verdict_names_the_configuration_that_judged_it_though_it_changes_between_two_parts() -> None:
    world, observer = World(), Rates()
    worker = world.worker(observer)
    send(worker, world, "before")
    settings = Settings(fusion=FusionSettings(guard_band_ratio=0.5), drift=DriftSettings(false_alarms_per_10000=5.0))
    worker.reconfigure(settings)
    send(worker, world, "after")
    assert [verdict.configuration_id for verdict in world.published] == ["configuration", configuration_id(settings)]
    assert (world.rules, observer.drift) == ([settings.fusion], settings.drift)
