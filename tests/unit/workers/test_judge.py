"""What is decided on a joined part, and what its verdict says."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest

from mdss.method import fusion
from mdss.method.calibration import Calibration, Statistics
from mdss.method.reference import Reference
from mdss.settings import FusionSettings
from mdss.wire.messages import Judged
from mdss.wire.verdict import Branch, ModelReference, ThresholdReference, UndefinedCode, Verdict
from tests.parts import accepted, calibration, model, prepared, score
from workers.judge import Judge, JudgedPart, Judgement, VerdictOrigin, verdict_of
from workers.part_join import JoinedPart


def part(
    branches: tuple[Branch, ...] = ("rgb", "sdf"),
    code: UndefinedCode | None = None,
    peak: float = 1.0,
    invalid: float = 0.1,
    version: str = "0001",
) -> JoinedPart:
    """Return a joined part whose branch maps all have this peak."""
    scores = {branch: score(branch, "r", peak, version) for branch in branches}
    return JoinedPart(accepted("r", 100), prepared("r", invalid), scores, code, "no result from sdf before the deadline" if code else "")


@pytest.fixture(autouse=True)
def _fused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the method's fusion answer with the product of the peaks and no regions."""

    def fuse(rgb: Any, sdf: Any, calibration: Any) -> Any:
        return SimpleNamespace(score=float(rgb.max() * sdf.max()), map=np.maximum(rgb, sdf))

    monkeypatch.setattr(fusion, "fuse", fuse)
    monkeypatch.setattr(fusion, "regions", lambda *_: ())


def judge(joined: JoinedPart, **changes: Any) -> Judgement:
    return Judge({"cap/0001": model()}, FusionSettings(**changes)).judge(joined)


@pytest.mark.parametrize(
    ("peak", "evaluation"), [(1.0, "OK"), (1.414, "OK"), (1.5, "NotOK"), (float("nan"), "NotDecidable"), (float("inf"), "NotDecidable")]
)
def test_only_a_score_above_the_threshold_is_not_ok_and_only_a_number_is_ok(peak: float, evaluation: str) -> None:
    assert judge(part(peak=peak)).evaluation == evaluation


def test_a_part_that_is_ok_has_no_reason_and_no_regions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fusion, "regions", lambda *_: 1 / 0)
    assert judge(part()).reasons == ()


def test_a_part_that_is_ok_has_its_map_as_well() -> None:
    joined = part()
    assert np.array_equal(judge(joined).heat, joined.scores["rgb"].map)  # type: ignore[arg-type]


def test_a_score_that_equals_the_threshold_is_ok_as_the_stated_rate_of_false_rejects_counts_on() -> None:
    held = model()
    held.calibration = calibration(threshold=msgspec.structs.replace(held.calibration.threshold, value=1.5**2))
    assert Judge({"cap/0001": held}, FusionSettings()).judge(part(peak=1.5)).evaluation == "OK"


@pytest.mark.parametrize(("peak", "evaluation"), [(1.0, "OK"), (1.4, "NotDecidable"), (1.45, "NotDecidable"), (1.5, "NotOK")])
def test_inside_the_guard_band_on_both_sides_of_the_threshold_nothing_is_decided(peak: float, evaluation: str) -> None:
    assert judge(part(peak=peak), guard_band_ratio=0.1).evaluation == evaluation


def test_more_missing_points_than_are_allowed_leave_it_undecided_and_say_how_many() -> None:
    assert judge(part(invalid=0.5)).evaluation == "OK"
    judgement = judge(part(invalid=0.75))
    assert judgement.evaluation == "NotDecidable"
    assert "75.0% of the part's points are missing; at most 50.0%" in judgement.reasons[0]


@pytest.mark.parametrize(("peak", "told"), [(1.0, 0), (1.42, 1), (1.5, 1)])  # OK, in the guard band, NotOK
def test_whoever_reads_why_a_part_is_not_ok_learns_that_it_lacks_many_more_points_than_good_ones(peak: float, told: int) -> None:
    held = model()
    held.calibration = seen_whole()
    judge = Judge({"cap/0001": held}, FusionSettings(guard_band_ratio=0.1))
    joined = part(peak=peak, invalid=0.45)
    verdict = verdict_of(JudgedPart(joined, judge.judge(joined), held), VerdictOrigin("line 1", "boot", "configuration"), now_ns=50)
    assert verdict.reasons[1:] == ("45.0% of the part's points are missing; good ones of the validation lack at most 4.0%",) * told
    assert judge.judge(part(peak=peak, invalid=0.05)).reasons == verdict.reasons[:1]


def test_one_branch_alone_tells_it_too() -> None:
    held = model()
    held.calibration = seen_whole()
    judgement = Judge({"cap/0001": held}, FusionSettings(degraded_policy="single_branch")).judge(
        part(("sdf",), "LATE", peak=9.0, invalid=0.45)
    )
    assert judgement.evaluation == "NotOK" and "45.0% of the part's points are missing" in judgement.reasons[1]


def seen_whole() -> Calibration:
    """Return a calibration from good parts that lack 3 and 4 % of their points."""
    seen = Reference(rgb=(1.0, 1.0), sdf=(1.0, 1.0), brightness=(), valid_point_ratio=(0.97, 0.96), distance_mm=())
    return calibration(reference=seen)


@pytest.mark.parametrize(("peak", "evaluation"), [(1.0, "NotDecidable"), (1.5, "NotOK")])
def test_a_part_that_is_half_gone_is_never_ok_where_the_station_asks_for_more_and_a_defect_stays_one(peak: float, evaluation: str) -> None:
    half = half_gone(part(peak=peak))
    found = judge(half, min_part_ratio=0.7)
    assert found.evaluation == evaluation and found.score == pytest.approx(peak**2)
    assert judge(half, min_part_ratio=0.5).evaluation == judge(half).evaluation == judge(part(peak=peak)).evaluation
    if evaluation == "NotDecidable":
        said = "the part covers 50.0% of what the smallest good one of the validation does; at least 70.0% are expected"
        assert found.reasons == (said,)


def test_one_branch_alone_does_not_let_a_part_pass_that_is_half_gone() -> None:
    half = half_gone(part(("sdf",), "LATE"))
    found = judge(half, degraded_policy="single_branch", min_part_ratio=0.7)
    assert (found.evaluation, found.is_partial) == ("NotDecidable", True) and "covers 50.0%" in found.reasons[1]
    defective = half_gone(part(("sdf",), "LATE", peak=4.0))
    assert judge(defective, degraded_policy="single_branch", min_part_ratio=0.7).evaluation == "NotOK", "a defect stays one"


def half_gone(joined: JoinedPart) -> JoinedPart:
    assert joined.prepared is not None
    mask = joined.prepared.mask.copy()
    mask[: len(mask) // 2] = False
    return replace(joined, prepared=msgspec.structs.replace(joined.prepared, mask=mask))


def test_one_branch_alone_decides_nothing_by_default() -> None:
    judgement = judge(part(("rgb",), "LATE"))
    assert (judgement.evaluation, judgement.code, judgement.is_partial) == ("NotDecidable", None, True)
    assert "only rgb has judged" in judgement.reasons[0]


@pytest.mark.parametrize(("branch", "evaluation"), [("rgb", "OK"), ("sdf", "NotOK")])
def test_one_branch_alone_is_held_against_its_own_good_parts(branch: Branch, evaluation: str) -> None:
    held = model()
    held.calibration = calibration(rgb=Statistics(1.0, 2.0))  # a peak of 4 is 1.5 deviations for rgb, and 4 for sdf
    judgement = Judge({"cap/0001": held}, FusionSettings(degraded_policy="single_branch")).judge(part((branch,), "LATE", peak=4.0))
    assert judgement.evaluation == evaluation


@pytest.mark.parametrize(("peak", "evaluation"), [(3.0, "OK"), (3.1, "NotOK")])
def test_one_branch_alone_decides_where_the_station_allows_it(peak: float, evaluation: str) -> None:
    judgement = judge(part(("sdf",), "LATE", peak=peak), degraded_policy="single_branch")
    assert (judgement.evaluation, judgement.is_partial, judgement.score) == (evaluation, True, None), "a score is that of both"
    assert judgement.reasons[0].endswith(f"its peak of {peak:g} deviations is {'not ' if evaluation == 'OK' else ''}above 3")


def test_one_branch_alone_does_not_decide_on_a_part_of_which_too_little_was_seen() -> None:
    judgement = judge(part(("sdf",), "LATE", invalid=0.75), degraded_policy="single_branch")
    assert judgement.evaluation == "NotDecidable"
    assert "75.0% of the part's points are missing" in judgement.reasons[1]


@pytest.mark.parametrize("code", ["LATE", "WORKER_LOST", "BAD_CLOUD", "DRAINED", "LOST"])
@pytest.mark.parametrize("branches", [(), ("rgb",), ("rgb", "sdf")])
def test_a_part_that_could_not_be_judged_is_undefined_with_its_code(code: UndefinedCode, branches: tuple[Branch, ...]) -> None:
    joined = replace(part(branches, code), prepared=None)
    judgement = judge(joined)
    assert (judgement.evaluation, judgement.code, judgement.is_partial) == ("Undefined", code, len(branches) == 1)


def test_one_branch_alone_says_nothing_of_a_part_that_has_another_fault() -> None:
    for code in ("POISON", "BAD_CLOUD", "DRAINED", "LOST"):
        judgement = judge(part(("rgb",), code), degraded_policy="single_branch")
        assert (judgement.evaluation, judgement.code, judgement.is_partial) == ("Undefined", code, True)
    assert judge(part((), "LATE"), degraded_policy="single_branch").code == "LATE"


def test_a_part_whose_model_is_not_held_is_lost_and_its_verdict_names_no_model() -> None:
    joined = part()
    judgement = Judge({}, FusionSettings()).judge(joined)
    assert (judgement.evaluation, judgement.code, judgement.reasons) == ("Undefined", "LOST", ("model cap/0001 is not loaded",))
    verdict = verdict_of(JudgedPart(joined, judgement, None), VerdictOrigin("line 1", "boot", "configuration"), now_ns=50)
    assert (verdict.model, verdict.threshold) == (None, None)
    assert Judge({}, FusionSettings()).judge(part(("rgb",), "LATE")).code == "LATE", "that was so before a model was asked for"


def test_no_part_is_judged_by_two_models() -> None:
    judgement = judge(part(version="0002"))
    assert judgement.evaluation == "NotDecidable"
    assert "model 0002" in judgement.reasons[0]
    assert not judgement.is_partial
    cut_by_another = replace(part(), prepared=prepared("r", version="0002"))
    assert judge(cut_by_another).reasons == judgement.reasons


def test_a_verdict_on_a_part_of_which_a_branch_was_late_says_that_the_deadline_was_missed() -> None:
    joined = part(("rgb",), "LATE")
    assert verdict_of(
        JudgedPart(joined, judge(joined), model()), VerdictOrigin("line 1", "boot", "configuration"), now_ns=50
    ).deadline_missed


def test_the_regions_that_the_method_finds_leave_in_a_verdict_that_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # the method's own fusion and regions
    joined = part(peak=3.0)
    assert joined.prepared is not None
    plate = np.moveaxis(np.indices((*joined.prepared.mask.shape, 1), np.float32)[..., 0], 0, -1)  # one point per mm
    joined = replace(joined, prepared=msgspec.structs.replace(joined.prepared, xyz=plate))
    verdict = verdict_of(JudgedPart(joined, judge(joined), model()), VerdictOrigin("line 1", "boot", "configuration"), now_ns=50)
    assert [region.area_mm2 is None for region in verdict.regions] == [False]
    assert msgspec.json.decode(msgspec.json.encode(verdict), type=Verdict) == verdict


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize(("branches", "code"), [(("rgb", "sdf"), None), (("rgb",), "LATE")])
def test_a_map_that_holds_no_numbers_decides_nothing_and_leaves_a_verdict_that_can_be_read(
    monkeypatch: pytest.MonkeyPatch, value: float, branches: tuple[Branch, ...], code: UndefinedCode | None
) -> None:
    monkeypatch.undo()  # the method's own fusion and regions
    joined = part(branches, code, peak=value)
    judgement = judge(joined, degraded_policy="single_branch")
    verdict = verdict_of(JudgedPart(joined, judgement, model()), VerdictOrigin("line 1", "boot", "configuration"), now_ns=50)
    assert (verdict.evaluation, verdict.is_partial) == ("NotDecidable", len(branches) == 1)
    assert msgspec.json.decode(msgspec.json.encode(verdict), type=Verdict) == verdict


def test_a_verdict_round_trips_as_json_and_says_where_it_comes_from() -> None:
    joined = part(peak=float("nan"))
    verdict = verdict_of(
        JudgedPart(joined, judge(joined), model(), is_late=True), VerdictOrigin("line 1", "boot", "configuration"), now_ns=101
    )
    assert msgspec.json.decode(msgspec.json.encode(verdict), type=Verdict).evaluation == "NotDecidable"
    assert (verdict.station, verdict.frame_sequence, verdict.model and verdict.model.version) == ("line 1", 4, "0001")
    assert (verdict.score, verdict.deadline_missed) == (None, True)
    assert (verdict.times.captured, verdict.times.rgb_started, verdict.times.rgb, verdict.times.published) == (5, 6, 7, 101)
    assert joined.prepared is not None and verdict.times.prepared == joined.prepared.finished_ns


def test_a_verdict_repeats_what_it_was_told_of_its_part_and_of_its_model() -> None:
    told = accepted("r", deadline_ns=10**12)
    told = msgspec.structs.replace(
        told, received_ns=10, generation=7, attempt=3, identity=msgspec.structs.replace(told.identity, is_simulated=True)
    )
    joined, held = part(), model()
    scores = {
        "rgb": msgspec.structs.replace(joined.scores["rgb"], started_ns=21, finished_ns=22),
        "sdf": msgspec.structs.replace(joined.scores["sdf"], started_ns=31, finished_ns=32),
    }
    joined = replace(joined, accepted=told, scores=scores)  # type: ignore[arg-type]
    verdict = verdict_of(JudgedPart(joined, judge(joined), held), VerdictOrigin("line 1", "boot", "configuration"), now_ns=50)
    assert (verdict.is_simulated, verdict.attempt) == (True, 3)
    assert verdict.model == ModelReference(name=held.name, version=held.version, digest=held.digest, generation=7)
    assert verdict.threshold == ThresholdReference(value=2.0, method="conformal", calibrated_at=held.calibration.calibrated_at)
    times = verdict.times
    assert (times.captured, times.received, times.prepared, times.fusion, times.published) == (5, 10, 1, 50, 50)
    assert (times.rgb_started, times.rgb, times.sdf_started, times.sdf) == (21, 22, 31, 32)


@pytest.mark.parametrize(
    ("joined", "policy", "is_late"),
    [
        (part(("rgb",), "LATE"), "reject", True),
        (part(("rgb",), "LATE"), "single_branch", False),
        (part(("rgb",), "LATE", invalid=0.9), "single_branch", True),
        (part(("rgb",), "WORKER_LOST"), "reject", False),
        (part(peak=3.0), "reject", False),
    ],
)
def test_ingest_hears_which_parts_one_branch_alone_saw_by_their_deadline_without_deciding(
    joined: JoinedPart, policy: str, is_late: bool
) -> None:
    settled = JudgedPart(joined, judge(joined, degraded_policy=policy), model(), is_late=joined.code != "WORKER_LOST")
    word = Judged.of(verdict_of(settled, VerdictOrigin("line 1", "boot", "configuration"), now_ns=101))
    assert (word.code, word.is_late) == (None, is_late)


def test_other_rules_judge_by_the_same_models() -> None:
    judge = Judge({"cap/0001": model()}, FusionSettings())
    assert judge.judge(part(peak=1.4)).evaluation == "OK"
    assert judge.with_rules(FusionSettings(guard_band_ratio=0.1)).judge(part(peak=1.4)).evaluation == "NotDecidable"
