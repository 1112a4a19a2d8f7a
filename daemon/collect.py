"""Process `collect`: writes scans for retraining within a disk budget; a failure costs the scan, never a verdict."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import click
import structlog

from daemon.spawn import make_folder
from mdss.collection import FOLDER, CollectedPart, Collection
from mdss.errors import MdssError
from mdss.settings import CollectionSettings
from mdss.verb_options import config_option
from mdss.whole_files import write_durably
from mdss.wire.heartbeat import Tally
from mdss.wire.messages import JudgedScan, ProcessState
from mdss.wire.process import ProcessContext, main, open_process
from mdss.wire.sockets import Receiver

WAIT_MS = 100
LOOK_EVERY_S = 5.0  # how often the disk is checked while no scan comes
MB = 10**6
NICENESS = 5  # the line goes first, because nobody waits for a scan to be written (about 30 ms)
# share of the budget left free after pruning; pruning looks at all parts, so it should be rare
SPARE_RATIO = 0.05
PROBE, PROBE_BYTES = ".probe", 10**6  # the probe is about as large as a scan
COLLECTED, NOT_COLLECTED, PRUNED = "mdss_scans_collected_total", "mdss_scans_not_collected_total", "mdss_scans_pruned_total"
PARTS, BYTES = "mdss_collection_parts", "mdss_collection_bytes"
log = structlog.get_logger()


class Collector:
    """Keeps scans while there is room on the disk and in the budget."""

    def __init__(self, collection: Collection, settings: CollectionSettings, tally: Tally, alive: Callable[[], None]) -> None:
        self._collection, self._settings, self._tally, self._alive = collection, settings, tally, alive
        self._look_at_s, self._bytes = 0.0, 0
        self._disk, self._failure = "", ""  # the state of the disk, and the failure of the last attempt; empty if all is well
        tally.start(COLLECTED, NOT_COLLECTED, PRUNED)

    @property
    def state(self) -> tuple[ProcessState, str]:
        """The state of this process and the reason."""
        trouble = self._disk or self._failure
        return ("degraded", f"no scan is kept: {trouble}") if trouble else ("running", "")

    def begin(self) -> None:
        """Remove what an earlier life left unfinished, and measure how much is kept."""
        self.check_disk(0.0)
        self._try(self._collection.tidy)
        self._try(self._prune)

    def apply_settings(self, settings: CollectionSettings) -> None:
        """Apply another budget from now on."""
        self._settings = settings
        self._try(self._prune)

    def keep(self, scan: JudgedScan) -> None:
        """Write one scan; what no longer fits into the budget is removed first."""
        self._disk = self._disk_trouble()
        if self._disk or not self._try(lambda: self._add(scan)):
            self._tally.count(NOT_COLLECTED)
        self._alive()

    def check_disk(self, now_s: float) -> None:
        """Check now and then whether the disk accepts files, also while no scan comes."""
        if now_s >= self._look_at_s:
            self._look_at_s = now_s + LOOK_EVERY_S
            self._disk = self._disk_trouble()
            if self._failure and not self._disk:
                self._try(self._probe)

    def _disk_trouble(self) -> str:
        """Return what is wrong with the disk, empty if all is well."""
        root, least_mb = self._collection.root, self._settings.min_free_mb
        try:
            make_folder("collection", root)
            free_mb = shutil.disk_usage(root).free // MB
        except (MdssError, OSError) as error:
            return str(error)
        return f"{free_mb} MB are free at {root}, expected collection.min_free_mb ({least_mb} MB)" if free_mb < least_mb else ""

    def _probe(self) -> None:
        """Write a test file, so that a recovered disk is noticed before the next scan comes."""
        path = self._collection.root / PROBE
        try:
            write_durably(path, bytes(PROBE_BYTES))
        finally:
            path.unlink(missing_ok=True)

    def _add(self, scan: JudgedScan) -> None:
        if self._bytes > self._settings.max_mb * MB:
            self._prune()
        part = part_of(scan)
        if self._collection.add(part, scan.rgb, scan.xyz[:]):
            found = self._collection.find(part.result_id)
            self._bytes += 0 if found is None else found.nbytes
            self._tally.count(COLLECTED)
            self._tally.count(PARTS)
            self._tally.counters[BYTES] = float(self._bytes)

    def _prune(self) -> None:
        found = self._collection.prune(self._settings.max_mb * MB, self._alive, SPARE_RATIO)
        self._bytes = found.kept_bytes
        self._tally.count(PRUNED, float(found.removed))
        self._tally.counters.update({PARTS: float(found.kept), BYTES: float(found.kept_bytes)})
        if found.removed:
            log.info("scans removed to keep to collection.max_mb", removed=found.removed, kept=found.kept)

    def _try(self, step: Callable[[], object]) -> bool:
        """Run a step on the disk; return False and remember the failure if the disk refuses, until a step succeeds."""
        try:
            step()
        except (OSError, MdssError) as error:
            self._failure = str(error)
            return False
        self._failure = ""
        return True


def part_of(scan: JudgedScan) -> CollectedPart:
    """Return the record that is written beside a scan."""
    identity, judged = scan.identity, scan.judged
    return CollectedPart(
        result_id=judged.result_id,
        part_id=identity.part_id,
        source_id=identity.source_id,
        recipe_id=identity.recipe_id,
        captured_ns=identity.capture_time_ns,
        judged_ns=judged.judged_ns,
        evaluation=judged.evaluation,
        code=judged.code,
        score=judged.score,
        threshold=judged.threshold,
        model_version=judged.model_version,
        is_simulated=identity.is_simulated,
    )


def work(process: ProcessContext) -> None:
    """Keep scans until asked to stop, then those that still wait."""
    heartbeats, settings = process.heartbeats, process.settings
    inbox = Receiver(process.context, "collect", settings)
    process.closing.callback(inbox.close)

    def alive() -> None:
        heartbeats.steps += 1
        heartbeats.send_if_due(inbox.waiting)

    collector = Collector(Collection(Path(settings.station.state_directory) / FOLDER), settings.collection, heartbeats.tally, alive)
    heartbeats.report_state("running")
    collector.begin()
    while keep_next(inbox, collector) or not process.stop.asked:
        changed = process.changed_settings()
        if changed is not None:
            collector.apply_settings(changed.collection)
        collector.check_disk(time.monotonic())
        heartbeats.report_state(*collector.state, inbox.waiting)
    heartbeats.report_state("stopped")


def keep_next(inbox: Receiver, collector: Collector) -> bool:
    """Keep the next scan; return False if none came in time."""
    try:
        message = inbox.receive(WAIT_MS)
    except MdssError as error:
        log.error("message refused", reason=str(error))
        return True
    if isinstance(message, JudgedScan):
        collector.keep(message)
    return message is not None


@click.command("collect")
@config_option
def command(config: Path) -> None:
    """Run the process that keeps scans for retraining."""
    os.nice(NICENESS)
    with open_process("collect", config) as process:
        work(process)


if __name__ == "__main__":
    main(command)
