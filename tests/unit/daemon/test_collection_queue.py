"""What ingest hands to `collect`: everything that is not OK, the same sample of the rest each time, and never by waiting."""

from __future__ import annotations

from typing import get_args

import pytest

from daemon import collection_queue
from daemon.collection_queue import DROPPED, HANDED, is_sampled
from mdss.settings import CollectionSettings, Settings
from mdss.wire.camera import Ack
from mdss.wire.messages import JudgedScan
from mdss.wire.verdict import Evaluation
from tests.front_door import RULES, Station, word

NONE_OK, ALL_OK = CollectionSettings(ok_ratio=0.0), CollectionSettings(ok_ratio=1.0)


def station(collection: CollectionSettings) -> Station:
    """Return a station that keeps scans by these rules, with a camera."""
    made = Station(settings=Settings(camera=RULES.camera, models=RULES.models, collection=collection))
    made.introduce()
    return made


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
    assert handed(made) == [] and made.count(DROPPED) == 0


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
