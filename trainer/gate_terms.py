"""What the gate takes and what it answers: evidence, limits, checks, outcome."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from mdss.settings import FusionSettings, Settings
from trainer.dataset import Dataset, Scan

FORMAT = "mdss.gate.v1"
COLUMNS = ("check", "champion", "candidate", "interval", "passed", "what it says")  # of the table of checks
EXACT_DECIMALS = 12  # what is left beyond them is a rounding error, as of means over drawn parts
WITHOUT_POINT = 100  # from here on numbers have no decimals; three digits alone would print 3.12e+03
RecordedArrays = tuple[NDArray[np.uint8], NDArray[np.float32]]  # image (H, W, 3); cloud (H, W, 3) mm, NaN where nothing was measured
CheckSide = Literal["quality", "fitness"]
Unit = Literal["", "share", "AUROC", "ms", "MiB", "parts"]


class Figures(NamedTuple):
    """The answers of both models to a check's question."""

    champion: float | None = None
    candidate: float | None = None
    unit: Unit = ""
    interval: tuple[float, float] | None = None  # of how much worse the candidate is


NOTHING = Figures()


@dataclass(frozen=True)
class EvidencePart:
    """One recorded part. Its scan is read when it is scored, so that hundreds of parts need no memory."""

    part_id: str
    read: Callable[[], RecordedArrays]

    @classmethod
    def of(cls, part_id: str, rgb: NDArray[np.uint8], xyz_mm: NDArray[np.float32]) -> Self:
        """Return a part whose scan is in memory."""
        return cls(part_id, lambda: (rgb, xyz_mm))

    @classmethod
    def in_dataset(cls, part_id: str, dataset: Dataset, scan: Scan) -> Self:
        """Return a part whose scan lies in a dataset."""

        def read() -> RecordedArrays:
            loaded = dataset.load(scan)
            return loaded.rgb, loaded.xyz_mm

        return cls(part_id, read)


class GateLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How much worse a candidate may be, and how much evidence that takes (decision record on the gate)."""

    confidence: float = 0.95  # of every interval, two-sided
    fewest_good: int = 20  # recent good parts
    fewest_defects: int = 10  # with fewer confirmed defects, their separation is not measured
    allowed_rejects: float = 0.02  # additional share of good parts that may be rejected
    tolerated_rejects: float = 0.30  # additional share that the interval must exclude; otherwise the evidence is too little
    allowed_misses: float = 0.05  # additional share of standard damage that may be missed
    allowed_auroc: float = 0.02  # loss of separation
    allowed_shift: float = 1.0  # how much nearer good parts may come to the threshold, in each model's own deviations
    broken_promise: float = 0.01  # below this chance, that many rejects are no accident
    slowest_ratio: float = 1.25  # of the champion's time for a part, for each branch
    largest_ratio: float = 1.25  # of the champion's memory
    score_tolerance: float = 0.02  # between two processes, as for golden scans
    timeout_s: float = 300.0  # for the fresh process
    seed: int = 0


class Serving(msgspec.Struct, frozen=True, kw_only=True):
    """How the station computes, and by which rules a part may be OK; a fresh process gets the threads before it loads a model."""

    threads: int | None = None  # None: torch's own choice
    rules: FusionSettings = FusionSettings()

    @classmethod
    def at(cls, station: Settings) -> Self:
        """Return how a station with these settings serves a model."""
        return cls(threads=station.branches.rgb.threads, rules=station.fusion)


@dataclass(frozen=True)
class GateEvidence:
    """The parts on which champion and candidate are judged; the candidate must not have learned from any but golden ones."""

    good: Sequence[EvidencePart]  # recent and known to be good; newest first
    defects: Sequence[EvidencePart] = ()  # confirmed by a person
    golden: Sequence[EvidencePart] = ()  # those of the champion
    limits: GateLimits = field(default_factory=GateLimits)
    serving: Serving = field(default_factory=Serving)


class GateCheck(msgspec.Struct, frozen=True, kw_only=True):
    """One question, both models' answers, and whether the check passes."""

    name: str
    side: CheckSide
    is_passed: bool
    champion: float | None = None
    candidate: float | None = None
    interval: tuple[float, float] | None = None  # of what the candidate is worse by: shares, deviations, lost AUROC; or a ratio of times
    unit: Unit = ""  # of the figures; a share is shown in percent
    says: str

    @classmethod
    def of(cls, side: CheckSide, name: str, says: str, *, is_passed: bool, found: Figures = NOTHING) -> Self:
        """Return a check with what was found."""
        return cls(name=name, side=side, is_passed=is_passed, says=says, **found._asdict())

    @property
    def row(self) -> tuple[str, ...]:
        """Return the check as cells of a table, with a dash for a missing figure."""
        ends = [] if self.interval is None else [figure_text(each, "share" if self.unit == "share" else "") for each in self.interval]
        figures = figure_text(self.champion, self.unit), figure_text(self.candidate, self.unit), " to ".join(ends) or "-"
        return self.name, *figures, "yes" if self.is_passed else "NO", self.says


class GateOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a candidate may become champion, and the reasons if not."""

    schema: str = FORMAT
    recipe: str
    champion: str | None  # version
    candidate: str  # version
    is_passed: bool
    reasons: tuple[str, ...]  # one sentence for each failed check
    checks: tuple[GateCheck, ...]
    parts: dict[str, int]  # number of parts of each kind
    judged_at: str  # UTC, ISO 8601
    folder: str  # where gate.json and gate.html lie

    @property
    def report_path(self) -> Path:
        """Return the path of the page."""
        return Path(self.folder) / "gate.html"


def figure_text(value: float | None, unit: Unit) -> str:
    """Return a number as text, a dash for None."""
    if value is None:
        return "-"
    value = round(value, EXACT_DECIMALS) + 0.0  # which makes 0 of -0
    if unit == "share":
        return f"{100 * value:.1f} %"
    return f"{value:.0f} {unit}".rstrip() if abs(value) >= WITHOUT_POINT else f"{value:.3g} {unit}".rstrip()
