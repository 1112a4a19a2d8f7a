"""Measures each stage by itself: in this process, in one thread, over some parts, beside the machine's floor."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from mdss.journal import Journal
from mdss.method import fusion, model_store, point_cloud
from mdss.method.point_cloud import Prepared
from mdss.method.signed_distance import ShapeBranch
from mdss.method.student_teacher import ColourBranch
from mdss.method.torch_device import device_of
from mdss.settings import FusionSettings
from mdss.wire import codec
from mdss.wire.cloud import SensorCloud
from mdss.wire.messages import Accepted, BranchScore, Frame, PreparedPart
from mdss.wire.model_plan import model_key
from mdss.wire.scan import FrameLimits, to_scan
from mdss.wire.verdict import Branch
from measure.operations import operations_of
from measure.results import Machine, Operations, StageFigures, stage_figures
from measure.subject import Scan, Size, Subject
from trainer.progress import Meter
from workers import evidence
from workers.judge import Judge, JudgedPart, VerdictOrigin, verdict_of
from workers.part_join import JoinedPart

LEAST_PARTS = 3
ORIGIN = VerdictOrigin("bench", "bench", "bench")
Float = NDArray[np.float32]


@dataclass
class StageRecord:
    """The times of one stage, part by part, and the work that its floor comes from."""

    spent_ms: list[float] = field(default_factory=list)
    work: list[Operations] = field(default_factory=list)
    megabytes: list[float] = field(default_factory=list)


@dataclass
class StageRecords:
    """The records of all stages, in the order in which a part passes them."""

    records: dict[str, StageRecord] = field(default_factory=dict)

    @contextmanager
    def timed(self, stage: str, *, megabytes: float | None = None, work: Operations | None = None) -> Iterator[None]:
        """Time the block as one part in this stage."""
        record = self.records.setdefault(stage, StageRecord())
        started = time.perf_counter()
        yield
        record.spent_ms.append((time.perf_counter() - started) * 1000)
        if megabytes is not None:
            record.megabytes.append(megabytes)
        if work is not None:
            record.work.append(work)

    def figures(self, machine: Machine) -> dict[str, StageFigures]:
        """Return each stage's figures; the floor is operations at the matrix rate, bytes at the copying rate, or durable writes."""
        return {name: _figures(record, machine) for name, record in self.records.items()}


def _figures(record: StageRecord, machine: Machine) -> StageFigures:
    if record.work:
        floors_ms = [machine.least_ms(each) for each in record.work]
        return stage_figures(record.spent_ms, floors_ms, work=Operations(*np.median(record.work, axis=0).tolist()))
    if record.megabytes:
        floors_ms = [each / machine.copy_gb_s for each in record.megabytes]
        return stage_figures(record.spent_ms, floors_ms, megabytes=float(np.median(record.megabytes)))
    written_ms = 2 * machine.sync_write_ms  # accepted and judged: each is durable before it is answered
    return stage_figures(record.spent_ms, [written_ms] * len(record.spent_ms))


class StageBench:
    """One model and one journal, and the stages that a part passes."""

    def __init__(self, subject: Subject, folder: Path) -> None:
        torch.set_num_threads(1)
        cv2.setNumThreads(1)
        self.subject, device = subject, device_of("auto")
        self.model = model_store.open_champion(subject.store, subject.recipe)
        self.colour = ColourBranch.load(self.model.path, self.model.recipe, device)
        self.shape = ShapeBranch.load(self.model.path, self.model.recipe, device)
        self.judge = Judge({model_key(self.model.name, self.model.version): self.model}, FusionSettings())
        self.journal = Journal(folder / "stages.sqlite")

    def close(self) -> None:
        """Close the journal."""
        self.journal.close()

    def before_branches(self, scan: Scan, stage_records: StageRecords) -> tuple[Frame, Prepared]:
        """Take one part through the stages before the branches, which depend on the size of the scan."""
        name, payloads = uuid.uuid4().hex, [scan.rgb.tobytes(), scan.xyz.tobytes()]
        header = self.subject.header(scan, name)
        with stage_records.timed("ingest", megabytes=megabytes(scan.rgb, scan.xyz)):
            rgb, xyz = to_scan(header, payloads, FrameLimits())
        frame = Frame(result_id=name, recipe_id=self.subject.recipe, model_version=self.model.version, rgb=rgb, xyz=xyz)
        with stage_records.timed("codec_frame", megabytes=megabytes(rgb, xyz)):
            received = codec.decode(cast(list[bytes], codec.encode(frame)))
        assert isinstance(received, Frame)
        with stage_records.timed("prepare", megabytes=megabytes(rgb, xyz)):
            prepared = point_cloud.prepare(received.rgb, received.xyz, self.model.recipe.point_cloud)
        return frame, prepared

    def after_preparing(self, frame: Frame, prepared: Prepared, stage_records: StageRecords, work: tuple[Operations, Operations]) -> None:
        """Take the part on to its verdict in the journal."""
        with stage_records.timed("rgb", work=work[0]):
            colour = self.colour.map_of(prepared)
        with stage_records.timed("sdf", work=work[1]):
            shape = self.shape.map_of(prepared)
        scores: dict[Branch, BranchScore] = {"rgb": self._score(frame, "rgb", colour), "sdf": self._score(frame, "sdf", shape)}
        with stage_records.timed("codec_score", megabytes=megabytes(colour)):
            codec.decode(cast(list[bytes], codec.encode(scores["rgb"])))
        part = JoinedPart(self._accepted(frame), prepared_part(frame, prepared), scores, None)
        with stage_records.timed("fusion", megabytes=megabytes(colour, shape, prepared.xyz, prepared.rgb)):
            self._draw(prepared, colour, shape)
        verdict = verdict_of(JudgedPart(part, self.judge.judge(part), self.model), ORIGIN, time.time_ns())
        with stage_records.timed("journal"):
            self.journal.accept(part.accepted)
            self.journal.judge(verdict)

    def operations(self, prepared: Prepared) -> tuple[Operations, Operations]:
        """Return the operations that both branches need for a part."""
        recipe = self.model.recipe
        colour = operations_of(lambda: self.colour.map_of(prepared), recipe.rgb.scores_in)
        return colour, operations_of(lambda: self.shape.map_of(prepared), recipe.sdf.scores_in)

    def _draw(self, prepared: Prepared, colour: Float, shape: Float) -> None:
        """Do what fusion does for a part that is not OK, whatever this one is."""
        calibration = self.model.calibration
        fused = fusion.fuse(colour, shape, calibration)
        fusion.regions(fused, prepared.xyz, prepared.grid, calibration)
        evidence.draw(prepared.rgb, fused.map, calibration.map_level, "a part")

    def _accepted(self, frame: Frame) -> Accepted:
        identity = self.subject.header(self.subject.scans[0], frame.result_id).identity()
        return Accepted(
            result_id=frame.result_id,
            identity=identity,
            received_ns=0,
            deadline_ns=frame.deadline_ns,
            model_version=self.model.version,
        )

    def _score(self, frame: Frame, branch: Branch, heat: Float) -> BranchScore:
        return BranchScore(
            result_id=frame.result_id,
            branch=branch,
            model_version=self.model.version,
            score=float(heat.max()),
            map=heat,
            started_ns=0,
            finished_ns=0,
        )


def prepared_part(frame: Frame, prepared: Prepared) -> PreparedPart:
    """Return the message that `prepare` sends to fusion."""
    return PreparedPart(
        result_id=frame.result_id,
        model_version=frame.model_version,
        rgb=prepared.rgb,
        xyz=prepared.xyz,
        mask=prepared.mask,
        height=frame.xyz.shape[0],
        width=frame.xyz.shape[1],
        invalid_point_ratio=prepared.invalid_point_ratio,
        finished_ns=0,
    )


def megabytes(*arrays: NDArray[np.generic] | SensorCloud) -> float:
    """Return the size of all arrays together."""
    return sum(array.nbytes for array in arrays) / 1e6


@dataclass(frozen=True)
class Effort:
    """How many parts a stretch has, and how long it may take."""

    parts: int
    longest_s: float

    def numbers(self) -> Iterator[int]:
        """Yield the numbers of parts until the count or the time is reached; at least LEAST_PARTS."""
        end_s = time.monotonic() + self.longest_s
        for number in range(self.parts):
            if number >= LEAST_PARTS and time.monotonic() > end_s:
                return
            yield number


def measure_stages(bench: StageBench, size: Size, effort: Effort, *, is_whole: bool) -> StageRecords:
    """Send parts of one size through all stages, or only those before the branches; each scan goes once before, uncounted."""
    scans, stage_records, warming = bench.subject.scans_at(size), StageRecords(), StageRecords()
    parts = [bench.before_branches(scan, warming) for scan in scans]
    operations = [bench.operations(prepared) for _, prepared in parts] if is_whole else []
    for (frame, prepared), work in zip(parts, operations, strict=False):  # no operations if the stages end before the branches
        bench.after_preparing(frame, prepared, warming, work)
    with Meter(f"stages {size}", effort.parts) as meter:
        for number in effort.numbers():
            which = number % len(scans)
            frame, prepared = bench.before_branches(scans[which], stage_records)
            if is_whole:
                bench.after_preparing(frame, prepared, stage_records, operations[which])
            meter.step()
    return stage_records
