"""What ingest hands to `collect`: everything that is not OK, the same sample of the rest each time, and never by waiting."""

from __future__ import annotations

import time
from pathlib import Path
from typing import get_args

import msgspec
import numpy as np
import pytest

from daemon import collection_queue
from daemon.collection_queue import DROPPED, HANDED, CollectionQueue, is_sampled
from daemon.held_parts import HeldPart
from mdss.collect_request import CollectRequests, request_all
from mdss.settings import CollectionSettings, Settings
from mdss.wire.camera import Ack
from mdss.wire.cloud import SensorCloud
from mdss.wire.heartbeat import Tally
from mdss.wire.messages import Frame, JudgedScan
from mdss.wire.verdict import Evaluation
from tests.fakes import FakeLink
from tests.front_door import RULES, Station, word
from tests.parts import accepted

NONE_OK, ALL_OK = CollectionSettings(ok_ratio=0.0), CollectionSettings(ok_ratio=1.0)


def station(collection: CollectionSettings) -> Station:
    """Return a station that keeps scans by these rules, with a camera."""
    made = Station(settings=Settings(camera=RULES.camera, models=RULES.models, collection=collection))
    made.introduce()
    return made


def held(name: str, rows: int, columns: int) -> HeldPart:
    """Return a part of cap, whose frame is named as the part."""
    rgb, points = np.zeros((rows, columns, 3), np.uint8), np.zeros((rows, columns, 3), np.float32)
    frame = Frame(result_id=name, recipe_id="cap", model_version="0001", rgb=rgb, xyz=SensorCloud(given=points, unit="mm"))
    return HeldPart(accepted(name, 10), frame)


def judge(made: Station, evaluation: Evaluation, frame_id: str = "f1") -> None:
    """Send a part, have it judged so, and let ingest go on."""
    (ack,) = made.send(frame_id)
    assert isinstance(ack, Ack)
    judged = word(made.journal.judge(frame_id, 1), 1, None, evaluation)
    assert len(made.intake.note_verdicts([judged])) == 1
    made.collection_queue.flush(made.collect)


def handed(made: Station) -> list[str]:
    """Return which frames went to collect."""
    return [scan.identity.frame_id for scan in made.collect.sent if isinstance(scan, JudgedScan)]


@pytest.mark.parametrize("evaluation", [each for each in get_args(Evaluation) if each != "OK"])
def test_every_part_that_is_not_ok_is_handed_on_with_its_scan_and_its_verdict(evaluation: Evaluation) -> None:
    made = station(NONE_OK)
    judge(made, evaluation)
    (scan,) = made.collect.sent
    assert isinstance(scan, JudgedScan)
    assert (scan.judged.evaluation, scan.identity.part_id, scan.rgb.shape, scan.xyz.shape) == (evaluation, "p", (64, 64, 3), (64, 64, 3))


def test_of_the_ok_parts_only_those_that_are_drawn_go_on() -> None:
    none, all_of_them = station(NONE_OK), station(ALL_OK)
    judge(none, "OK")
    judge(all_of_them, "OK")
    assert (handed(none), handed(all_of_them)) == ([], ["f1"])


def test_where_nothing_is_collected_nothing_goes_on() -> None:
    made = station(CollectionSettings(enabled=False, ok_ratio=1.0))
    judge(made, "NotOK")
    assert handed(made) == []
    assert made.tally.counters[HANDED] == made.tally.counters[DROPPED] == 0, "both are there from the start"


def test_of_a_recipe_of_which_every_scan_is_requested_the_ok_parts_go_on_as_well_and_of_no_other(tmp_path: Path) -> None:
    request_all(tmp_path, "cap", time.time_ns() + 60 * 10**9)
    queue, collect = CollectionQueue(NONE_OK, Tally(), CollectRequests(tmp_path).is_requested), FakeLink()
    for name, recipe in (("r1", "cap"), ("r2", "lid")):
        part = held(name, 8, 8)
        identity = msgspec.structs.replace(part.accepted.identity, recipe_id=recipe)
        queue.offer(part._replace(accepted=msgspec.structs.replace(part.accepted, identity=identity)), word(name, 1, None))
    queue.flush(collect)
    assert [scan.identity.recipe_id for scan in collect.sent if isinstance(scan, JudgedScan)] == ["cap"]


def test_a_reload_changes_what_is_drawn() -> None:
    made = station(ALL_OK)
    made.intake.reconfigure(Settings(camera=RULES.camera, models=RULES.models, collection=NONE_OK))
    judge(made, "OK")
    assert handed(made) == []


def test_what_collect_has_no_room_for_yet_waits_in_its_order() -> None:
    made = station(ALL_OK)
    made.collect.room = False
    judge(made, "NotOK")
    assert (handed(made), made.count(HANDED), made.count(DROPPED)) == ([], 0, 0)
    made.collect.room = True
    judge(made, "NotOK", "f2")
    assert (handed(made), made.count(HANDED), made.count(DROPPED)) == (["f1", "f2"], 2, 0)


def test_the_newest_scans_wait_within_a_budget_and_the_others_are_let_go_of_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    made = station(ALL_OK)
    monkeypatch.setattr(collection_queue, "MOST_WAITING_BYTES", 2 * 64 * 64 * (3 + 12))
    made.collect.room = False
    for frame_id in ("f1", "f2", "f3"):
        judge(made, "NotOK", frame_id)
    made.collect.room = True
    judge(made, "NotOK", "f4")
    assert (handed(made), made.count(HANDED), made.count(DROPPED)) == (["f2", "f3", "f4"], 3, 1)


def test_the_two_newest_scans_of_two_megapixels_wait_for_collect() -> None:
    queue, collect = CollectionQueue(ALL_OK, Tally()), FakeLink(room=False)
    for name in ("r1", "r2", "r3", "r4"):
        queue.offer(held(name, 1200, 1600), word(name, 1, None))
    queue.flush(collect)
    collect.room = True
    queue.flush(collect)
    assert [scan.identity.frame_id for scan in collect.sent if isinstance(scan, JudgedScan)] == ["r3", "r4"]


def test_the_sample_has_the_size_that_is_asked_for_and_is_the_same_each_time() -> None:
    names = [f"{number:032x}" for number in range(4000)]
    settings = CollectionSettings(ok_ratio=0.1, seed=3)
    drawn = [name for name in names if is_sampled(name, settings)]
    assert 320 <= len(drawn) <= 480, "0.1 of 4000, give or take four deviations"
    assert drawn == [name for name in names if is_sampled(name, CollectionSettings(ok_ratio=0.1, seed=3))]
    assert drawn != [name for name in names if is_sampled(name, CollectionSettings(ok_ratio=0.1, seed=4))]
    assert set(drawn) <= {name for name in names if is_sampled(name, CollectionSettings(ok_ratio=0.2, seed=3))}


def test_the_sample_is_the_one_that_it_has_always_been() -> None:
    drawn = [number for number in range(40) if is_sampled(f"part-{number}", CollectionSettings(ok_ratio=0.1, seed=0))]
    assert drawn == [4, 18]
