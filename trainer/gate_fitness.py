"""Can a station serve a candidate? The gate loads it in a fresh process, and compares its time and memory with the champion's."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import numpy as np

from mdss.errors import UNREADABLE, MdssError
from mdss.method.model_store import ModelFolder
from trainer.branch_inputs import BRANCHES, Branch
from trainer.gate_probe import RGB, XYZ, ProbeAnswer, ProbeOrder
from trainer.gate_quality import NAMED
from trainer.gate_scoring import Pair, Pairs
from trainer.gate_statistics import median_interval
from trainer.gate_terms import Figures, GateCheck, GateEvidence

PROBE = (sys.executable, "-m", "trainer.gate_probe")
PROBED = 3  # scans that the fresh process scores
TITLES: dict[Branch, str] = {"rgb": "colour", "sdf": "shape"}
check = partial(GateCheck.of, "fitness")


@dataclass(frozen=True)
class Fitness:
    """The checks of fitness, and what they look at."""

    champion: ModelFolder | None
    candidate: ModelFolder
    pairs: Pairs
    evidence: GateEvidence
    device: str

    def checks(self) -> Iterator[GateCheck]:
        """Yield every check."""
        probed = self.pairs.of("good")[:PROBED]
        found = self.probed(self.candidate, probed)
        if isinstance(found, str):
            yield check("loads in a fresh process", is_passed=False, says=found)
        else:
            yield check("loads in a fresh process", is_passed=True, says=f"checksums verified, loaded in {found.load_s:.1f} s")
            yield self.same_scores(found, probed)
            yield self.golden(found)
            yield self.memory(found)
        yield self.finite()
        for branch in BRANCHES:
            yield self.latency(branch)

    def probed(self, model: ModelFolder, pairs: Sequence[Pair]) -> ProbeAnswer | str:
        """Return the answer of a fresh process that loads a model, or a sentence on why there is none."""
        with TemporaryDirectory(prefix="mdss-gate-") as folder:
            for number, pair in enumerate(pairs):
                rgb, xyz_mm = pair.part.read()
                np.save(Path(folder) / f"{number}.{RGB}.npy", rgb, allow_pickle=False)
                np.save(Path(folder) / f"{number}.{XYZ}.npy", xyz_mm, allow_pickle=False)
            order = ProbeOrder(str(model.path), self.device, self.evidence.serving.threads, folder, len(pairs))
            return answer_of(order, self.evidence.limits.timeout_s)

    def same_scores(self, found: ProbeAnswer, pairs: Sequence[Pair]) -> GateCheck:
        """Require the same scores in a fresh process as in this one."""
        here = [pair.candidate.scores.get("fused") for pair in pairs]
        within = self.evidence.limits.score_tolerance
        far = [pair.part.part_id for pair, mine, theirs in zip(pairs, here, found.scores, strict=True) if not is_near(mine, theirs, within)]
        says = f"{len(pairs)} parts, within {100 * within:g}%" + (f"; {', '.join(far)} scored differently" if far else "")
        return check("same scores in a fresh process", is_passed=not far, says=says)

    def golden(self, found: ProbeAnswer) -> GateCheck:
        """Require that the candidate's golden scans give the scores that were stored with them."""
        says = found.fault or (f"{found.golden} golden scans give their stored scores" if found.golden else "it has no golden scans")
        return check("golden scans reproduced", is_passed=not found.fault, says=says)

    def memory(self, found: ProbeAnswer) -> GateCheck:
        """Require that the candidate takes at most `largest_ratio` times the champion's memory."""
        beside = self.probed(self.champion, self.pairs.of("good")[:PROBED]) if self.champion else None
        if not isinstance(beside, ProbeAnswer):
            says = f"peak; {beside}" if beside else "peak; there is no champion to compare with"
            return check("memory", is_passed=True, found=Figures(None, found.peak_mib, "MiB"), says=says)
        limit = self.evidence.limits.largest_ratio
        says = f"peak; {found.peak_mib / beside.peak_mib:.2f} of the champion's, up to {limit:g} is allowed"
        is_passed = found.peak_mib <= limit * beside.peak_mib
        return check("memory", is_passed=is_passed, found=Figures(beside.peak_mib, found.peak_mib, "MiB"), says=says)

    def finite(self) -> GateCheck:
        """Require that every value of the candidate's maps is a finite number."""
        broken = [pair.part.part_id for pair in self.pairs.all if not pair.candidate.is_finite]
        says = f"{len(self.pairs.all)} scans" + (f"; not finite on {', '.join(broken[:NAMED])}" if broken else "")
        return check("maps are numbers", is_passed=not broken, says=says)

    def latency(self, branch: Branch) -> GateCheck:
        """Require that a part takes at most `slowest_ratio` times as long as with the champion; both were timed in turns."""
        name, limits = f"time for a part: {TITLES[branch]}", self.evidence.limits
        mine = [pair.candidate.spent_ms[branch] for pair in self.pairs.all if branch in pair.candidate.spent_ms]
        both = [
            (pair.champion.spent_ms[branch], pair.candidate.spent_ms[branch])
            for pair in self.pairs.all
            if pair.champion is not None and branch in pair.champion.spent_ms and branch in pair.candidate.spent_ms
        ]
        if not both:
            middle = float(np.median(mine)) if mine else None
            return check(
                name, is_passed=bool(mine) and self.champion is None, found=Figures(None, middle, "ms"), says="nothing to compare with"
            )
        before, after = np.array(both).T
        low, high = median_interval(after / before, limits.confidence)
        says = f"median of {len(both)} scans; the interval is a share of the champion's time, up to {limits.slowest_ratio:g} is allowed"
        figures = Figures(float(np.median(before)), float(np.median(after)), "ms", (low, high))
        return check(name, is_passed=low <= limits.slowest_ratio, found=figures, says=says)


def answer_of(order: ProbeOrder, timeout_s: float) -> ProbeAnswer | str:
    """Run the fresh process and return its answer, or a sentence on why there is none."""
    try:
        done = subprocess.run(PROBE, input=msgspec.json.encode(order), capture_output=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired:
        return f"no answer within {timeout_s:g} s"
    if done.returncode != 0:
        messages = done.stderr.decode("utf-8", "replace").strip().splitlines()
        return f"exit code {done.returncode}: {messages[-1] if messages else 'it said nothing'}"
    try:
        return msgspec.json.decode(done.stdout, type=ProbeAnswer)
    except UNREADABLE as error:
        raise MdssError(f"gate probe: found an answer that is none ({error}), expected a {ProbeAnswer.__name__}") from error


def is_near(mine: float | None, theirs: float | None, within: float) -> bool:
    """Return whether two scores of one part agree within a share; two missing scores do."""
    if mine is None or theirs is None:
        return mine is theirs
    return abs(mine - theirs) <= within * abs(mine)
