"""What a retraining refuses to learn from, part by part, each time with a code and a sentence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from mdss.collection import XYZ
from mdss.method.recipe import PointCloudSettings
from tests.retraining import again, good_part
from tests.shelf import BUDGET, MAX_INVALID_RATIO, SETTINGS, Shelf, measures_of, only
from trainer.data_checks import SURELY_SAME, GoodPartRange, Refused, Signatures, fault_of, refusals_by_code, same_part_limit, score_fault
from trainer.examination import Examiner
from trainer.part_measures import COLOURS, MEASURES, Measures, box_of, nearest
from trainer.synthetic_scan import SyntheticScan


def test_good_parts_of_the_product_pass(shelf: Shelf, known: list[tuple[str, Measures]]) -> None:
    parts = [shelf.put(good_part(number)) for number in range(4)]
    done = shelf.examined(known)
    assert (done.accepted, done.refused) == (parts, [])


def darkened(scan: SyntheticScan) -> SyntheticScan:
    return replace(scan, rgb=(scan.rgb // 10).astype(np.uint8))


def with_holes(scan: SyntheticScan) -> SyntheticScan:
    is_missing = np.random.default_rng(0).random(scan.rgb.shape[:2]) < 0.55
    return replace(scan, xyz_mm=np.where(is_missing[..., None], np.float32(np.nan), scan.xyz_mm))


def without_a_part(scan: SyntheticScan) -> SyntheticScan:
    rows, columns = np.indices(scan.rgb.shape[:2], np.float32)
    return replace(scan, xyz_mm=np.dstack([columns, rows, np.full_like(rows, 480)]))


def without_a_point(scan: SyntheticScan) -> SyntheticScan:
    return replace(scan, xyz_mm=np.full_like(scan.xyz_mm, np.nan))


def of_another_colour(scan: SyntheticScan) -> SyntheticScan:
    return replace(scan, rgb=(scan.rgb * np.array([1.0, 0.6, 0.3])).astype(np.uint8))


def larger(scan: SyntheticScan) -> SyntheticScan:
    return replace(scan, xyz_mm=scan.xyz_mm * np.float32(1.4))


@pytest.mark.parametrize(
    ("spoilt", "code", "says"),
    [
        (darkened, "dark", "is the lamp on?"),
        (with_holes, "missing_points", "of the part's points are missing, expected at most 50%"),
        (without_a_part, "no_part", "no part in view"),
        (without_a_point, "no_part", "the cloud is empty: no pixel has a measured point"),
        (of_another_colour, "another_product", "good parts have"),
        (larger, "another_product", "mm: another product?"),
    ],
)
def test_what_cannot_be_learned_from_is_refused_with_its_reason(
    shelf: Shelf, known: list[tuple[str, Measures]], spoilt: Callable[[SyntheticScan], SyntheticScan], code: str, says: str
) -> None:
    shelf.put(spoilt(good_part(0)))
    kept = shelf.put(good_part(1))
    done = shelf.examined(known)
    assert (only(done).code, only(done).result_id) == (code, "r0")
    assert says in only(done).reason
    assert done.accepted == [kept]


def test_how_many_points_are_missing_is_never_said_to_be_what_is_allowed(known: list[tuple[str, Measures]]) -> None:
    fault = fault_of(replace(known[0][1], invalid_point_ratio=0.504), None, 0.5, is_marked_good=True)
    assert fault == ("missing_points", "50.4% of the part's points are missing, expected at most 50%")
    assert fault_of(replace(known[0][1], invalid_point_ratio=0.5), None, 0.5, is_marked_good=True) is None


def test_another_product_of_this_synthetic_line_is_told_apart(shelf: Shelf, known: list[tuple[str, Measures]]) -> None:
    for product in ("potato", "mat"):
        shelf.put(good_part(0, product))
    assert [each.code for each in shelf.examined(known).refused] == ["another_product"] * 2


def test_a_damaged_file_is_refused_and_the_next_is_looked_at(shelf: Shelf, known: list[tuple[str, Measures]]) -> None:
    cut = shelf.put(good_part(0)).folder / XYZ
    cut.write_bytes(cut.read_bytes()[:2000])
    shelf.put(good_part(1))
    done = shelf.examined(known)
    assert only(done).code == "unreadable" and str(cut) in only(done).reason
    assert len(done.accepted) == 1


def test_the_same_part_sent_again_is_learned_once(shelf: Shelf, known: list[tuple[str, Measures]]) -> None:
    rgb, xyz_mm = again(good_part(0))
    shelf.put(good_part(0))
    shelf.put(replace(good_part(0), rgb=rgb, xyz_mm=xyz_mm))
    shelf.put(good_part(1))
    done = shelf.examined(known)
    assert (only(done).code, only(done).result_id) == ("duplicate", "r1")
    assert "second scan of p0" in only(done).reason


def test_a_curated_part_that_was_collected_too_is_not_learned_twice(shelf: Shelf, known: list[tuple[str, Measures]]) -> None:
    shelf.put(good_part(100))
    done = shelf.examined(known)
    assert only(done).code == "duplicate" and "second scan of train/000" in only(done).reason


def test_a_curated_scan_that_is_still_in_the_collection_is_known_by_its_name_too(shelf: Shelf, known: list[tuple[str, Measures]]) -> None:
    parts = [shelf.put(good_part(number), label="good") for number in range(2)]
    done = Examiner(known, None, SETTINGS, curated=["r0", "000"]).examine(parts, BUDGET, MAX_INVALID_RATIO)
    assert (only(done).code, only(done).result_id, done.accepted) == ("duplicate", "r0", parts[1:])
    assert only(done).reason == "it is one of the curated scans, which are learned from already"


def test_a_person_who_marks_a_part_as_good_overrules_the_looks_but_not_the_darkness(
    shelf: Shelf, known: list[tuple[str, Measures]]
) -> None:
    shelf.put(larger(good_part(0)), label="good")
    shelf.put(darkened(good_part(1)), label="good")
    done = shelf.examined(known)
    assert [each.part.result_id for each in done.accepted] == ["r0"]
    assert only(done).code == "dark"


def test_no_more_parts_are_looked_at_than_the_budget_takes(shelf: Shelf, known: list[tuple[str, Measures]]) -> None:
    parts = [shelf.put(darkened(good_part(0))), *(shelf.put(good_part(number)) for number in range(1, 5))]
    done = shelf.examined(known, budget=2)
    assert done.accepted == parts[1:3]
    assert len(done.refused) == 1


def test_without_curated_parts_only_what_was_not_seen_and_what_comes_twice_is_refused(shelf: Shelf) -> None:
    shelf.put(larger(good_part(0)))
    shelf.put(larger(good_part(0)))
    shelf.put(replace(good_part(1), rgb=np.zeros_like(good_part(1).rgb)))
    done = shelf.examined([])
    assert [each.code for each in done.refused] == ["duplicate", "dark"]


def test_what_the_champion_would_not_accept_is_refused() -> None:
    assert score_fault(2.0, 2.0) is None
    code, reason = score_fault(2.5, 2.0) or ("", "")
    assert code == "not_normal" and "gives it 2.5, above its threshold of 2" in reason


def test_the_champion_is_asked_about_a_part_as_it_finds_it_itself_whatever_the_new_settings_are(shelf: Shelf) -> None:
    own = PointCloudSettings(size_px=64)
    champion = SimpleNamespace(
        folder=SimpleNamespace(version="0001", recipe=SimpleNamespace(point_cloud=own)),
        threshold=float(own.size_px),
        score=lambda seen: ({"fused": float(len(seen.mask))}, {}),  # larger than its threshold on any larger grid
    )
    part = shelf.put(good_part(0))
    assert shelf.examined([], champion=champion).accepted == [part]


@pytest.mark.parametrize(("version", "is_believed"), [("0001", True), ("0002", False), ("", False)])
def test_the_score_that_the_station_noted_is_believed_if_the_champion_itself_gave_it(shelf: Shelf, version: str, is_believed: bool) -> None:
    champion = SimpleNamespace(
        folder=SimpleNamespace(version="0001", recipe=SimpleNamespace(point_cloud=SETTINGS)),
        threshold=1.0,
        score=lambda _: ({"fused": 5.0}, {}),
    )
    shelf.put(good_part(0), model_version=version, score=0.5)
    assert [each.code for each in shelf.examined([], champion=champion).refused] == ([] if is_believed else ["not_normal"])


def test_a_few_stray_points_do_not_change_how_large_a_part_is() -> None:
    rows, columns = np.mgrid[:40, :40].astype(np.float32)
    plate = np.stack([columns, 2 * rows, np.full_like(rows, 300)], axis=-1)
    strayed = plate.copy()
    strayed[20, 18:22, 2] += 200
    assert box_of(strayed) == pytest.approx(box_of(plate), abs=0.5)


def test_two_scans_of_one_part_are_nearer_than_a_quarter_of_the_distance_of_two_parts() -> None:
    scan = good_part(0)
    rgb, xyz_mm = again(scan)
    one, other = measures_of(scan), measures_of(replace(scan, rgb=rgb, xyz_mm=xyz_mm))
    others = [measures_of(good_part(number)) for number in range(1, 9)]
    apart = nearest(one.signature, [each.signature for each in others])[1]
    assert nearest(one.signature, [other.signature])[1] * 4 < apart
    assert nearest(one.signature, [other.signature])[1] < same_part_limit([]) < apart  # where nothing is known of other parts, too


def test_an_ageing_lamp_is_learned_and_one_that_fails_is_not(known: list[tuple[str, Measures]]) -> None:
    usual, part = GoodPartRange.of([each for _, each in known]), measures_of(good_part(0))
    aged, failing = (replace(part, brightness=usual.brightness * share) for share in (0.6, 0.3))
    assert fault_of(aged, usual, 0.5, is_marked_good=False) is None
    assert (fault_of(failing, usual, 0.5, is_marked_good=False) or ("",))[0] == "dark"


def test_a_product_that_is_nearly_black_is_learned_in_its_light_and_not_without(known: list[tuple[str, Measures]]) -> None:
    usual, part = GoodPartRange.of([replace(each, brightness=5.0) for _, each in known]), measures_of(good_part(0))
    lit, unlit = (replace(part, brightness=brightness) for brightness in (4.0, 1.0))
    assert fault_of(lit, usual, 0.5, is_marked_good=False) is None
    assert (fault_of(unlit, usual, 0.5, is_marked_good=False) or ("",))[0] == "dark"


def test_reasons_are_counted_the_most_frequent_first() -> None:
    codes = ("duplicate", "dark", "dark")
    assert list(refusals_by_code([Refused("r", "p", code, "") for code in codes]).items()) == [("dark", 2), ("duplicate", 1)]  # type: ignore[arg-type]


@pytest.mark.parametrize("twins", [0, 2, 4])
def test_curated_scans_of_one_part_do_not_change_what_counts_as_the_same_part(twins: int) -> None:
    signatures = list(np.random.default_rng(0).normal(0, 10, (30, 4, 4, 3)).astype(np.float32))
    alone = same_part_limit(signatures)
    assert same_part_limit([*signatures, *(each + np.float32(0.01) for each in signatures[:twins])]) == pytest.approx(alone, rel=0.2)


def test_how_far_parts_of_a_product_lie_apart_is_asked_of_five_of_them_and_not_of_fewer() -> None:
    signatures = [np.full((2, 4, 4), tenths / 10, np.float32) for tenths in range(5)]  # each a tenth of the range, 10, from the next
    assert same_part_limit(signatures) == pytest.approx(2.5)
    assert same_part_limit(signatures[:4]) == SURELY_SAME
    nearby = signatures[0] + np.float32(0.01)
    for known, twin in ((signatures, "0"), (signatures[:4], None)):
        usual = SimpleNamespace(same_part=same_part_limit(known))
        seen = Signatures(usual)  # type: ignore[arg-type]
        for number, each in enumerate(known):
            seen.add(str(number), each)
        assert seen.twin_of(nearby) == twin


def test_parts_of_a_product_that_vary_widely_may_be_as_far_off_as_they_vary(known: list[tuple[str, Measures]]) -> None:
    name = next(iter(known[0][1].values))
    parts = [replace(part, values=part.values | {name: 100.0 + 10 * number}) for number, (_, part) in enumerate(known)]
    usual = GoodPartRange.of(parts)
    assert (usual.centre[name], usual.reach[name]) == pytest.approx((135, 8 * 1.4826 * 20))


@pytest.mark.parametrize(
    ("name", "centre", "reach", "said"),
    [
        (next(each for each in MEASURES if each not in COLOURS), 100.0, 30.0, "is 500 mm, good parts have 70 to 130 mm: another product?"),
        (next(iter(COLOURS)), 0.1, 0.3, "is 500, good parts have 0 to 0.4: another product?"),
    ],
)
def test_it_is_said_from_where_to_where_good_parts_reach(
    known: list[tuple[str, Measures]], name: str, centre: float, reach: float, said: str
) -> None:
    usual, (_, part) = GoodPartRange.of([each for _, each in known]), known[0]
    usual = replace(usual, centre=usual.centre | {name: centre}, reach=usual.reach | {name: reach})
    fault = fault_of(replace(part, values=part.values | {name: 500.0}), usual, 1.0, is_marked_good=False)
    assert fault is not None and fault[1].endswith(said)
