"""Process `fusion`: joins the results of all stages, decides, journals and publishes exactly one verdict per part."""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol, get_args

import click
import cv2
import msgspec
import structlog

from mdss.journal import JOURNAL, Journal
from mdss.method.fusion import outline_level
from mdss.method.model_store import ModelFolder
from mdss.settings import DriftSettings, Settings
from mdss.verb_options import config_option
from mdss.wire.heartbeat import Tally
from mdss.wire.messages import Accepted, Judged, Message, Resend
from mdss.wire.verdict import Beat, Branch, Evidence, UndefinedCode, Verdict
from workers import evidence
from workers.drift_watch import DriftWatch
from workers.held_models import ModelUse
from workers.judge import Judge, JudgedPart, Judgement, VerdictOrigin, in_view, verdict_of
from workers.part_join import JoinedPart, PartJoin
from workers.publisher import Publisher
from workers.start import ProcessContext, Role, Wiring, main, work

WIRING = Wiring("fusion", "fusion", {Judged: "judged", Resend: "judged"})
LATENCY = "mdss_verdict_latency_seconds"
EVIDENCE_FAILED, UNREADABLE_VERDICTS = "mdss_evidence_failed_total", "mdss_unreadable_verdicts_total"
MISSES, LATE_RESULTS = "mdss_deadline_misses_total", "mdss_late_results_total"
EVALUATIONS_AND_CODES = [("OK", ""), ("NotOK", ""), ("NotDecidable", ""), *(("Undefined", code) for code in get_args(UndefinedCode))]
log = structlog.get_logger()


class VerdictJournal(Protocol):
    """What fusion needs from the journal."""

    def judge(self, verdict: Verdict) -> Verdict:
        """Store a verdict and return it with its sequence."""

    def last_sequence(self) -> int:
        """Return the sequence of the last verdict."""


class VerdictPublisher(Protocol):
    """What fusion needs from the publisher."""

    def publish(self, verdict: Verdict, heat_png: Callable[[], bytes] | None) -> None:
        """Publish one verdict; its map is made into a picture and sent only if the station publishes maps."""

    def serve(self, beat: Callable[[], Beat]) -> None:
        """Send the heartbeat if it is due and answer subscribers who want to catch up."""


class PartObserver(Protocol):
    """Watches judged parts without any influence on verdicts."""

    def see(self, part: JoinedPart, model: ModelFolder | None, now_ns: int) -> None:
        """Take one part whose verdict is out."""

    def reconfigure(self, settings: DriftSettings) -> None:
        """Apply changed settings."""


class EvidenceStore(Protocol):
    """Where evidence pictures are stored."""

    def write(self, result_id: str, png: bytes) -> Evidence:
        """Store one picture."""


@dataclass(frozen=True)
class FusionServices:
    """Everything outside its own memory that fusion uses."""

    journal: VerdictJournal
    publisher: VerdictPublisher
    pictures: EvidenceStore
    tally: Tally
    observer: PartObserver
    clock_ns: Callable[[], int] = time.time_ns  # UTC, for the times in verdicts
    steady_ns: Callable[[], int] = time.monotonic_ns  # the monotonic clock of deadlines: nobody sets it


class Fusion:
    """The worker: takes the messages about parts, writes each verdict to the journal, publishes it, and returns `Judged`."""

    def __init__(self, join: PartJoin, judge: Judge, origin: VerdictOrigin, services: FusionServices) -> None:
        self._join, self._judge, self._origin, self._services = join, judge, origin, services
        services.tally.start(
            *(counter_of(*end) for end in EVALUATIONS_AND_CODES), EVIDENCE_FAILED, UNREADABLE_VERDICTS, MISSES, LATE_RESULTS
        )

    def step(self, message: Message) -> Iterable[Message]:
        """Return `Judged` if this message completes its part."""
        part = self._join.take(message, self._services.steady_ns())
        return [] if part is None else [self._settle(part)]

    def tick(self) -> Iterable[Message]:
        """Judge what is due, ask again for what was lost, and serve the subscribers."""
        answers: list[Message] = [self._settle(part) for part in self._join.tick(self._services.steady_ns())]
        for resend in self._join.resends():
            log.warning("the part is sent to the workers again", result_id=resend.result_id, attempt=resend.attempt, wanted=resend.wanted)
            answers.append(resend)
        self._services.tally.counters["mdss_open_parts"] = float(len(self._join))
        self._services.publisher.serve(self._beat)
        return answers

    def drain(self) -> Iterable[Message]:
        """Give every open part its verdict, because the station stops."""
        return [self._settle(part) for part in self._join.drain()]

    def reconfigure(self, settings: Settings) -> None:
        """Apply changed rules from the next part on, with the id of the configuration that contains them."""
        self._judge = self._judge.with_rules(settings.fusion)
        self._origin = replace(self._origin, configuration_id=configuration_id(settings))
        self._services.observer.reconfigure(settings.drift)

    def _settle(self, part: JoinedPart) -> Judged:
        out = self._services
        settled = self._judged(part)
        verdict = out.journal.judge(verdict_of(settled, self._origin, out.clock_ns()))
        heat, model = settled.judgement.heat, settled.model
        level = 0.0 if model is None else model.calibration.map_level
        out.publisher.publish(verdict, None if heat is None else partial(evidence.heat_png, heat, level))
        self._count(verdict, model)
        self._time(part.accepted)
        self._show_to_observer(part, model, verdict)
        return Judged.of(verdict)

    def _show_to_observer(self, part: JoinedPart, model: ModelFolder | None, verdict: Verdict) -> None:
        try:
            self._services.observer.see(part, model, verdict.times.published)
        except Exception:  # whatever it is: the verdict is out, and an onlooker's error must not cost other parts theirs
            log.exception("an onlooker broke on a part", result_id=verdict.result_id)

    def _judged(self, part: JoinedPart) -> JudgedPart:
        """Decide on one part; a part that raises an error here is POISON at once, because it would do the same to the next process."""
        is_late = self._services.steady_ns() >= part.accepted.deadline_ns
        try:
            judgement, model = self._judge.judge(part), self._judge.model_of(part)
            picture = None if judgement.evaluation == "OK" else self._picture(part, judgement, model)
        except Exception as error:  # whatever it is: it must not cost other parts their verdicts
            log.exception("fusion broke on a part", result_id=part.accepted.result_id)
            reason = f"fusion broke on this part: {type(error).__name__}: {error}"
            return JudgedPart(part, Judgement("Undefined", (reason,), "POISON"), None, is_late=is_late)
        return JudgedPart(part, judgement, model, picture, is_late)

    def _picture(self, part: JoinedPart, judgement: Judgement, model: ModelFolder | None) -> Evidence | None:
        """Store the evidence picture and return it; a full disk costs the picture, never the verdict."""
        if model is None or part.prepared is None or judgement.heat is None:
            return None
        heat, level = judgement.heat, model.calibration.map_level
        seen = evidence.within_frame(part.prepared.rgb, in_view(part.prepared).grid.in_frame)
        outlined = outline_level(heat, level) if judgement.regions else level  # so that the outlines match the regions in the verdict
        png = evidence.draw(seen, heat, level, caption(part, judgement), outlined)
        try:
            return self._services.pictures.write(part.accepted.result_id, png)
        except OSError as error:
            log.error("evidence not written", reason=str(error))
            self._services.tally.count(EVIDENCE_FAILED)
            return None

    def _count(self, verdict: Verdict, model: ModelFolder | None) -> None:
        tally = self._services.tally
        tally.count(counter_of(verdict.evaluation, verdict.code or ""))
        tally.count(MISSES, float(verdict.deadline_missed))
        tally.counters[LATE_RESULTS] = float(self._join.late_results)
        if verdict.score is not None and verdict.threshold is not None and verdict.threshold.value > 0:
            tally.observe("mdss_score_to_threshold_ratio", verdict.score / verdict.threshold.value)
        if verdict.invalid_point_ratio is not None:
            tally.observe("mdss_invalid_point_ratio", verdict.invalid_point_ratio)
        for branch, ratio in score_ratios(verdict, model):
            tally.observe(f'mdss_branch_score_ratio{{branch="{branch}"}}', ratio)

    def _time(self, accepted: Accepted) -> None:
        """Record how long a part took, unless it was accepted before the machine was started: then this is not known."""
        seconds = (self._services.steady_ns() - accepted.deadline_ns) / 1e9 + accepted.deadline_ms / 1e3
        if seconds >= 0:
            self._services.tally.observe(LATENCY, seconds)

    def _beat(self) -> Beat:
        sequence = self._services.journal.last_sequence()
        return Beat(station=self._origin.station, boot_id=self._origin.boot_id, sequence=sequence, time_ns=self._services.clock_ns())


def counter_of(evaluation: str, code: str) -> str:
    """Return the counter for one evaluation and code."""
    return f'mdss_verdicts_total{{evaluation="{evaluation}",code="{code}"}}'


def score_ratios(verdict: Verdict, model: ModelFolder | None) -> Iterable[tuple[Branch, float]]:
    """Yield each branch's score as a multiple of the highest score of a good validation part; nothing if the model has no reference."""
    reference = model.calibration.reference if model else None
    if reference is None:
        return
    for branch, highest in (("rgb", max(reference.rgb)), ("sdf", max(reference.sdf))):
        if branch in verdict.branches and highest > 0:
            yield branch, verdict.branches[branch].score / highest


def caption(part: JoinedPart, judgement: Judgement) -> str:
    """Return the line below the picture."""
    return f"{part.accepted.identity.part_id}  {judgement.evaluation}: {'; '.join(judgement.reasons)}"


def model_use(_: ProcessContext) -> ModelUse[ModelFolder]:
    """Return how this process uses a model: only its calibration, which contains the threshold."""
    return ModelUse(lambda folder: folder)


def worker(process: ProcessContext, models: Mapping[str, ModelFolder]) -> Fusion:
    """Return fusion with an open journal, after taking over the parts that a restart left open."""
    settings, tally = process.settings, process.tally
    cv2.setNumThreads(1)
    state = Path(settings.station.state_directory)
    journal = Journal(state / JOURNAL, on_unreadable=partial(tally.count, UNREADABLE_VERDICTS))
    journal.repair()
    join = PartJoin()
    join.recover(journal.pending(), time.monotonic_ns())
    origin = VerdictOrigin(settings.station.name, uuid.uuid4().hex, configuration_id(settings))
    publisher = Publisher(process.context, settings, journal, origin.boot_id, tally)
    process.closing.callback(publisher.close)
    services = FusionServices(journal, publisher, evidence.EvidenceFolder(state), tally, DriftWatch(state, settings.drift, tally))
    return Fusion(join, Judge(models, settings.fusion), origin, services)


def configuration_id(settings: Settings) -> str:
    """Return a short digest of the settings; equal settings have equal digests."""
    return hashlib.sha256(msgspec.json.encode(settings)).hexdigest()[:12]


@click.command("fusion")
@config_option
def command(config: Path) -> None:
    """Run the process that judges."""
    work(WIRING, config, Role(model_use, worker))


if __name__ == "__main__":
    main(command)
