"""Process `fusion`: joins what the stages say of each part, decides, journals, publishes; one verdict per part."""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, get_args

import click
import cv2
import msgspec
import structlog

from mdss.journal import Journal
from mdss.method import model_store
from mdss.method.model_store import ModelFolder
from mdss.settings import Settings
from mdss.wire.messages import Beat, Ended, Evidence, Judged, Message, UndefinedCode, Verdict
from mdss.wire.pulse import Tally
from workers import evidence
from workers.judge import Judge, Judgement, Origin, Settled, verdict_of
from workers.part_join import JoinedPart, PartJoin
from workers.publisher import History, Publisher
from workers.start import Opened, Place, config_option, main, work

PLACE = Place("fusion", "fusion", {Judged: "judged"})
EVIDENCE_FAILED = "mdss_evidence_failed_total"
ENDS = [("OK", ""), ("NotOK", ""), ("NotDecidable", ""), *(("Undefined", code) for code in get_args(UndefinedCode))]
log = structlog.get_logger()


class Record(Protocol):
    """What fusion needs of the journal."""

    def judge(self, verdict: Verdict) -> Verdict:
        """Store a verdict and return it with its sequence."""

    def last_sequence(self) -> int:
        """Return the sequence of the last verdict."""


class Voice(Protocol):
    """What fusion needs of the publisher."""

    def publish(self, verdict: Verdict, heat_png: bytes | None) -> None:
        """Send one verdict to whoever subscribed."""

    def serve(self, beat: Callable[[], Beat]) -> None:
        """Send the heartbeat when it is due and answer who wants to catch up."""


class Pictures(Protocol):
    """Where evidence is kept."""

    def write(self, result_id: str, png: bytes) -> Evidence:
        """Store one picture."""


@dataclass(frozen=True)
class Outside:
    """Everything that fusion touches outside its own memory."""

    journal: Record
    voice: Voice
    pictures: Pictures
    tally: Tally
    clock_ns: Callable[[], int] = time.time_ns


class Fusion:
    """The worker: messages of one part in, `Judged` out; the verdict goes to the journal and to the subscribers."""

    def __init__(self, join: PartJoin, judge: Judge, origin: Origin, outside: Outside) -> None:
        self._join, self._judge, self._origin, self._out = join, judge, origin, outside
        # From 0 on, or Prometheus would not see the first of each as an increase.
        outside.tally.counters.update({counted(*end): 0.0 for end in ENDS} | {EVIDENCE_FAILED: 0.0})

    def step(self, message: Message) -> Iterable[Message]:
        """Return `Judged` when this message completes its part."""
        if isinstance(message, Ended):  # what the process had is late at its deadline
            return []
        part = self._join.take(message, self._out.clock_ns())
        return [] if part is None else [self._settle(part)]

    def tick(self) -> Iterable[Message]:
        """Judge what is due, and speak to the subscribers."""
        answers = [self._settle(part) for part in self._join.tick(self._out.clock_ns())]
        self._out.tally.counters["mdss_open_parts"] = float(len(self._join))
        self._out.voice.serve(self._beat)
        return answers

    def drain(self) -> Iterable[Message]:
        """Give every part that is still open its verdict."""
        return [self._settle(part) for part in self._join.drain()]

    def reconfigure(self, settings: Settings) -> None:
        """Judge by other rules from the next part on, under the name of the configuration that holds them."""
        self._judge = self._judge.ruled_by(settings.fusion)
        self._origin = replace(self._origin, configuration_id=configuration_id(settings))

    def _settle(self, part: JoinedPart) -> Judged:
        judgement, model, out = self._judge.judge(part), self._judge.model_of(part), self._out
        picture = None if judgement.evaluation == "OK" else self._picture(part, judgement, model)
        now_ns = out.clock_ns()
        verdict = out.journal.judge(verdict_of(Settled(part, judgement, model, picture), self._origin, now_ns))
        level = 0.0 if model is None else model.calibration.map_level
        out.voice.publish(verdict, None if judgement.heat is None else evidence.heat_png(judgement.heat, level))
        self._count(verdict)
        return Judged(result_id=verdict.result_id, sequence=verdict.sequence)

    def _picture(self, part: JoinedPart, judgement: Judgement, model: ModelFolder | None) -> Evidence | None:
        """Store the evidence; a full disk costs the picture, never the verdict."""
        if model is None or part.prepared is None or judgement.heat is None:
            return None
        png = evidence.draw(part.prepared.rgb, judgement.heat, model.calibration.map_level, caption(part, judgement))
        try:
            return self._out.pictures.write(part.accepted.result_id, png)
        except OSError as error:
            log.error("evidence not written", reason=str(error))
            self._out.tally.count(EVIDENCE_FAILED)
            return None

    def _count(self, verdict: Verdict) -> None:
        tally = self._out.tally
        tally.count(counted(verdict.evaluation, verdict.code or ""))
        tally.count("mdss_deadline_misses_total", float(verdict.deadline_missed))
        tally.counters["mdss_late_results_total"] = float(self._join.late_results)
        tally.observe("mdss_verdict_latency_seconds", (verdict.times.published - verdict.times.received) / 1e9)
        if verdict.score is not None and verdict.threshold is not None:
            tally.observe("mdss_score_to_threshold_ratio", verdict.score / verdict.threshold.value)
        if verdict.invalid_point_ratio is not None:
            tally.observe("mdss_invalid_point_ratio", verdict.invalid_point_ratio)

    def _beat(self) -> Beat:
        sequence = self._out.journal.last_sequence()
        return Beat(station=self._origin.station, boot_id=self._origin.boot_id, sequence=sequence, time_ns=self._out.clock_ns())


def counted(evaluation: str, code: str) -> str:
    """Return the counter of one way in which a part can end."""
    return f'mdss_verdicts_total{{evaluation="{evaluation}",code="{code}"}}'


def caption(part: JoinedPart, judgement: Judgement) -> str:
    """Return the line below the picture."""
    return f"{part.accepted.identity.part_id}  {judgement.evaluation}: {'; '.join(judgement.reasons)}"


def make(opened: Opened) -> Fusion:
    """Open the journal, take over what a restart left open, and load the champions' calibrations."""
    settings, tally = opened.settings, opened.tally
    cv2.setNumThreads(1)
    state = Path(settings.station.state_directory)
    journal = Journal(state / "journal.sqlite")
    models = champions(settings)
    for model in models.values():
        tally.counters[f'mdss_model_info{{recipe="{model.name}",version="{model.version}"}}'] = 1.0
    join = PartJoin()
    join.recover(journal.pending(), time.time_ns())
    origin = Origin(settings.station.name, uuid.uuid4().hex, configuration_id(settings))
    voice = Publisher(opened.context, settings, History(journal, origin.boot_id), tally)
    opened.closing.callback(voice.close)
    outside = Outside(journal, voice, evidence.EvidenceFolder(state), tally)
    return Fusion(join, Judge(models, settings.fusion), origin, outside)


def champions(settings: Settings) -> Mapping[str, ModelFolder]:
    """Return the model of each recipe; what a recipe's threshold is comes with it."""
    return {name: model_store.open_champion(Path(settings.models.store), name) for name in settings.models.recipes}


def configuration_id(settings: Settings) -> str:
    """Return a short digest: equal for equal settings."""
    return hashlib.sha256(msgspec.json.encode(settings)).hexdigest()[:12]


@click.command("fusion")
@config_option
def command(config: Path) -> None:
    """Run the process that judges."""
    work(PLACE, config, make)


if __name__ == "__main__":
    main(command)
