"""The process `collect` without sockets: what it writes, what it says when it cannot, and how it keeps to its budget."""

from __future__ import annotations

import errno
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from daemon.collect import BYTES, COLLECTED, LOOK_EVERY_S, NOT_COLLECTED, PARTS, PRUNED, Collector, work
from mdss import collection
from mdss.collection import Collection
from mdss.settings import CollectionSettings, Settings, StationSettings
from mdss.wire.cloud import SensorCloud
from mdss.wire.heartbeat import BEAT_EVERY_S, HeartbeatSender, StopFlag, Tally
from mdss.wire.messages import FrameIdentity, Heartbeat, Judged, JudgedScan
from tests.fakes import FakeClock, FakeLink, refuses_with

SIDE = 200  # such a scan of noise takes almost 0.6 MB


def scan(name: str, judged_ns: int = 6, **judged: Any) -> JudgedScan:
    """Return a scan that cannot be made small."""
    drawn = np.random.default_rng(judged_ns)
    identity = FrameIdentity(
        source_id="cam", sequence=4, frame_id="f", part_id="p", job_id="j", recipe_id="cap", capture_time_ns=5, is_simulated=True
    )
    values: dict[str, Any] = {"evaluation": "NotOK", "score": 4.5, "threshold": 3.0, "model_version": "0002"}
    return JudgedScan(
        identity=identity,
        judged=Judged(result_id=name, sequence=1, judged_ns=judged_ns, **values | judged),
        rgb=drawn.integers(0, 256, (SIDE, SIDE, 3), np.uint8),
        xyz=SensorCloud(given=drawn.normal(size=(SIDE, SIDE, 3)).astype(np.float32), unit="m"),
    )


class Bench:
    """A collector, and its folder."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.collection, self.tally, self.lively = Collection(folder / "collected"), Tally(), 0
        self.rules = CollectionSettings(**{"min_free_mb": 0} | settings)
        self.collector = Collector(self.collection, self.rules, self.tally, self._alive)
        self.collector.begin()

    def _alive(self) -> None:
        self.lively += 1

    def names(self) -> list[str]:
        return [each.part.result_id for each in self.collection.parts()]

    def count(self, name: str) -> float:
        return self.tally.counters[name]


def test_a_scan_is_written_with_everything_that_is_known_of_its_part(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    sent = scan("a")
    bench.collector.keep(sent)
    (found,) = bench.collection.parts()
    part = found.part
    assert (part.part_id, part.source_id, part.recipe_id, part.captured_ns, part.judged_ns) == ("p", "cam", "cap", 5, 6)
    assert (part.evaluation, part.code, part.score, part.threshold, part.model_version) == ("NotOK", None, 4.5, 3.0, "0002")
    assert part.is_simulated
    rgb, xyz = found.read()
    assert (rgb.tobytes(), xyz.tobytes()) == (sent.rgb.tobytes(), sent.xyz[:].tobytes())
    assert (bench.count(COLLECTED), bench.count(PARTS), bench.count(BYTES)) == (1, 1, found.nbytes)
    assert bench.collector.state == ("running", "")


def test_beyond_the_budget_the_oldest_go_and_some_room_is_left(tmp_path: Path) -> None:
    bench = Bench(tmp_path, max_mb=4)  # seven scans, and six in what is kept of it at a pruning
    for number in range(8):
        bench.collector.keep(scan(f"p{number}", judged_ns=10 + number))
    assert (len(bench.names()), bench.count(PRUNED)) == (8, 0), "one scan may be over it, until the next comes"
    bench.collector.keep(scan("p8", judged_ns=18, evaluation="OK"))
    assert bench.names() == ["p2", "p3", "p4", "p5", "p6", "p7", "p8"], "room for one more than had to be"
    bench.collector.keep(scan("p9", judged_ns=19))
    assert bench.count(PRUNED) == 2
    bench.collector.keep(scan("pa", judged_ns=20))
    assert bench.names() == ["p3", "p4", "p5", "p6", "p7", "p9", "pa"], "an OK part goes before an older one that is not"
    assert (bench.count(PRUNED), bench.count(PARTS)) == (4, 7)
    assert bench.count(BYTES) == sum(each.nbytes for each in bench.collection.parts()) <= 4_000_000


def test_a_smaller_budget_is_kept_to_at_once(tmp_path: Path) -> None:
    bench = Bench(tmp_path, max_mb=100)
    for number in range(4):
        bench.collector.keep(scan(f"p{number}", judged_ns=10 + number))
    bench.collector.apply_settings(CollectionSettings(max_mb=1, min_free_mb=0))
    assert bench.names() == ["p3"]


def test_what_lies_there_already_counts_after_a_restart(tmp_path: Path) -> None:
    Bench(tmp_path).collector.keep(scan("a"))
    (tmp_path / "collected" / "cap" / ".half-1").mkdir()
    again = Bench(tmp_path)
    assert (again.count(PARTS), again.count(COLLECTED)) == (1, 0)
    assert again.count(BYTES) > 500_000
    assert not (tmp_path / "collected" / "cap" / ".half-1").exists()


def test_with_too_little_free_on_the_disk_nothing_is_written_and_that_is_said(tmp_path: Path) -> None:
    bench = Bench(tmp_path, min_free_mb=100_000_000)
    bench.collector.keep(scan("a"))
    state, reason = bench.collector.state
    assert state == "degraded"
    assert "MB are free at" in reason and "expected collection.min_free_mb (100000000 MB)" in reason
    assert (bench.names(), bench.count(NOT_COLLECTED)) == ([], 1)
    bench.collector.apply_settings(CollectionSettings(min_free_mb=0))
    bench.collector.check_disk(1e12)
    assert bench.collector.state == ("running", "")
    bench.collector.keep(scan("b"))
    assert bench.names() == ["b"]


def test_a_folder_that_cannot_be_written_is_said_before_the_first_scan_and_costs_only_scans(tmp_path: Path) -> None:
    (tmp_path / "collected").write_text("a file where the folder should be")
    bench = Bench(tmp_path)
    assert bench.collector.state[0] == "degraded" and "cannot be written" in bench.collector.state[1]
    bench.collector.keep(scan("a"))
    assert bench.count(NOT_COLLECTED) == 1
    (tmp_path / "collected").unlink()
    bench.collector.check_disk(LOOK_EVERY_S / 2)
    assert bench.collector.state[0] == "degraded", "the disk is looked at now and then, not all the time"
    bench.collector.check_disk(LOOK_EVERY_S)
    assert bench.collector.state == ("running", "")
    bench.collector.keep(scan("b"))
    assert bench.names() == ["b"]


def test_a_disk_that_is_full_in_the_middle_of_a_scan_leaves_no_half_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path)

    with monkeypatch.context() as broken:
        broken.setattr("mdss.collection.write_scan", refuses_with(errno.ENOSPC))
        bench.collector.keep(scan("a"))
    assert bench.collector.state == ("degraded", "no scan is kept: [Errno 28] No space left on device")
    assert (bench.names(), bench.count(NOT_COLLECTED)) == ([], 1)
    bench.collector.keep(scan("b"))
    assert (bench.names(), bench.collector.state) == (["b"], ("running", ""))


def test_a_disk_that_takes_files_again_is_noticed_before_the_next_scan_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path)

    with monkeypatch.context() as broken:
        broken.setattr("mdss.collection.write_scan", refuses_with(errno.ENOSPC))
        broken.setattr("daemon.collect.write_durably", refuses_with(errno.ENOSPC))
        bench.collector.keep(scan("a"))
        bench.collector.check_disk(1e6)
        assert bench.collector.state[0] == "degraded"
    bench.collector.check_disk(2e6)
    assert bench.collector.state == ("running", "")
    assert list(bench.collection.root.iterdir()) == [bench.collection.root / "cap"], "the probe is gone"


def test_a_disk_that_takes_no_file_at_all_costs_scans_and_not_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path)

    monkeypatch.setattr("daemon.spawn.TemporaryFile", refuses_with(errno.ENOSPC))
    bench.collector.keep(scan("a"))
    assert bench.count(NOT_COLLECTED) == 1
    state, reason = bench.collector.state
    assert state == "degraded" and "No space left on device" in reason


def test_a_disk_that_does_not_say_how_much_is_free_costs_scans_and_not_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path)

    def broken(_: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as gone:
        gone.setattr("daemon.collect.shutil.disk_usage", broken)
        bench.collector.keep(scan("a"))
        assert bench.collector.state == ("degraded", "no scan is kept: [Errno 5] Input/output error")
    bench.collector.keep(scan("b"))
    assert (bench.names(), bench.count(NOT_COLLECTED), bench.collector.state) == (["b"], 1, ("running", ""))


def test_the_same_part_handed_on_twice_is_there_once(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.collector.keep(scan("a"))
    bench.collector.keep(scan("a"))
    assert (bench.names(), bench.count(COLLECTED), bench.count(NOT_COLLECTED)) == (["a"], 1, 0)


def test_it_says_that_it_lives_while_it_looks_at_many_parts(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    for number in range(3):
        bench.collector.keep(scan(f"p{number}"))
    before = bench.lively
    bench.collector.apply_settings(bench.rules)
    assert bench.lively - before == 3
    bench.collector.apply_settings(CollectionSettings(max_mb=1, min_free_mb=0))
    assert (bench.lively - before, len(bench.names())) == (3 + 3 + 2, 1), "while it removes some of them, too"


class Process:
    """The process itself, with scans that wait in a list, and what its supervisor hears; it is asked to stop when none is left."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, scans: int) -> None:
        self.inbox, self.health, self.clock = Inbox(scan(f"p{n}", judged_ns=10 + n) for n in range(scans)), FakeLink(), FakeClock()
        self.heartbeats, self.stop, self.closing, self.context = (
            HeartbeatSender("collect", self.health, self.clock),
            StopFlag(),
            ExitStack(),
            None,
        )
        self.tally, self.settings = self.heartbeats.tally, self.with_room_for(100, folder)
        self.collection, self.reloaded = Collection(folder / "collected"), list[Settings]()
        self.inbox.on_empty = self.ask_to_stop
        monkeypatch.setattr("daemon.collect.Receiver", lambda *_: self.inbox)

    def ask_to_stop(self) -> None:
        self.stop.asked = True

    @staticmethod
    def with_room_for(megabytes: int, folder: Path) -> Settings:
        rules = CollectionSettings(min_free_mb=0, max_mb=megabytes)
        return Settings(station=StationSettings(state_directory=str(folder)), collection=rules)

    def changed_settings(self) -> Settings | None:
        return self.reloaded.pop() if self.reloaded else None

    def run(self) -> list[str]:
        """Run it to its end, and return what is kept then."""
        process: Any = self
        work(process)
        return [each.part.result_id for each in self.collection.parts()]


class Inbox(FakeLink):
    def close(self) -> None:
        """Nothing is open."""


def test_what_waits_when_it_is_asked_to_stop_is_kept_before_it_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process = Process(tmp_path, monkeypatch, scans=3)
    process.stop.asked = True
    assert process.run() == ["p0", "p1", "p2"]


def test_another_budget_is_kept_to_at_a_reload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process = Process(tmp_path, monkeypatch, scans=3)
    happens = iter([lambda: process.reloaded.append(process.with_room_for(1, tmp_path)), process.ask_to_stop])

    def nothing_comes() -> None:
        next(happens)()

    process.inbox.on_empty = nothing_comes
    assert process.run() == ["p2"]


def test_it_is_heard_by_its_supervisor_while_it_looks_at_many_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench, process = Bench(tmp_path), Process(tmp_path, monkeypatch, scans=0)
    for number in range(3):
        bench.collector.keep(scan(f"p{number}"))
    weigh = collection._removal_rank

    def slowly(folder: Path) -> collection.RemovalRank:
        process.clock.advance(BEAT_EVERY_S)
        return weigh(folder)

    monkeypatch.setattr(collection, "_removal_rank", slowly)
    process.run()
    beats = [beat for beat in process.health.sent if isinstance(beat, Heartbeat)]
    assert [beat.steps for beat in beats if PARTS not in beat.counters] == [0, 1, 2, 3], "it had not counted them yet"
