"""The fusion worker by the clock, with a real journal and a real folder of pictures: which verdicts came too late, and when."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from mdss.journal import JOURNAL, Journal
from mdss.settings import FusionSettings
from mdss.wire.heartbeat import Tally
from mdss.wire.verdict import Verdict
from tests.fakes import FakeClock, Nobody
from tests.parts import calibration, joined_messages, model
from workers.evidence import EvidenceFolder
from workers.fusion import LATENCY, MISSES, Fusion, FusionServices
from workers.judge import Judge, VerdictOrigin
from workers.part_join import JoinedPart, PartJoin

RATIOS = "mdss_branch_score_ratio"


class Line(Nobody):
    """Fusion, a subscriber that keeps what is published, and an onlooker that notes when it was shown a part."""

    def __init__(self, journal: Journal, state: Path, held: Any) -> None:
        self.clock, self.tally = FakeClock(), Tally()
        self.published, self.seen_ns = list[Verdict](), list[int]()
        services = FusionServices(journal, self, EvidenceFolder(state), self.tally, self, self.clock.utc_ns, self.clock.ns)
        self.fusion = Fusion(PartJoin(), Judge({"cap/0001": held}, FusionSettings()), VerdictOrigin("line", "boot", "settings"), services)

    def publish(self, verdict: Verdict, heat_png: object) -> None:
        self.published.append(verdict)

    def serve(self, beat: object) -> None:
        """Nobody asks."""

    def see(self, part: JoinedPart, model: object, now_ns: int) -> None:  # type: ignore[override]  # with the names of its arguments
        self.seen_ns.append(now_ns)

    def judge(self, deadline_ns: int) -> Verdict:
        """Tell of a part, last of all that it was accepted, and return its verdict."""
        first, *rest = joined_messages("a", deadline_ns)
        for message in (*rest, first):
            list(self.fusion.step(message))
        return self.published[-1]


@pytest.fixture(params=[None])
def line(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Line]:
    with closing(Journal(tmp_path / JOURNAL)) as journal:
        yield Line(journal, tmp_path, request.param or model())


BROKEN = SimpleNamespace(name="cap", version="0001", digest="ab", calibration=None)


@pytest.mark.parametrize(("line", "code"), [(None, None), (BROKEN, "POISON")], indirect=["line"])
@pytest.mark.parametrize(("after_ns", "is_missed"), [(1, False), (0, True)])
def test_a_verdict_that_is_given_at_its_deadline_or_later_says_so_whatever_it_is(
    line: Line, code: str | None, after_ns: int, is_missed: bool
) -> None:
    verdict = line.judge(line.clock.ns() + after_ns)
    assert (verdict.code, verdict.deadline_missed, line.tally.counters[MISSES]) == (code, is_missed, float(is_missed))


def test_an_onlooker_is_told_when_the_verdict_went_out(line: Line) -> None:
    verdict = line.judge(line.clock.ns())
    assert line.seen_ns == [verdict.times.published] == [line.clock.utc_ns()]


def test_how_long_a_part_took_is_not_known_where_the_machine_was_started_since(line: Line) -> None:
    line.judge(line.clock.ns() + 10**18)
    assert LATENCY not in line.tally.timings


ZERO = model()
ZERO.calibration = calibration(reference=msgspec.structs.replace(ZERO.calibration.reference, rgb=(0.0,)))


@pytest.mark.parametrize("line", [ZERO], indirect=True)
def test_a_branch_whose_good_parts_scored_nothing_is_compared_with_none_and_costs_no_part_its_verdict(line: Line) -> None:
    assert line.judge(line.clock.ns()).code is None
    assert [name for name in line.tally.timings if name.startswith(RATIOS)] == [f'{RATIOS}{{branch="sdf"}}']
