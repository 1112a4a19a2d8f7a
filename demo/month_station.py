"""The station of the month: a running one, its camera and PLC, and `mdss` verbs as people and systemd run them."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.text import Text

from daemon.alert_store import Alert, AlertReview, open_store
from daemon.recipe_verbs import recipe_report
from demo.month_parts import Part
from mdss.client import FrameSender, VerdictStream
from mdss.collection import FOLDER, Collection, Label
from mdss.errors import MdssError
from mdss.journal import JOURNAL, Journal
from mdss.method import model_store
from mdss.settings import Settings
from mdss.terminal import plain_console
from mdss.wire.verdict import Verdict
from trainer.synthetic import Line

PATIENCE_S = 120.0
LOOK_EVERY_S = 0.2
JOURNAL_ROWS = 100_000
Word = Literal["confirmed", "false_reject"]
console = plain_console(soft_wrap=True)


@dataclass(frozen=True)
class MonthStation:
    """One line with its station."""

    config: Path
    settings: Settings
    line: Line
    camera: FrameSender
    plc: VerdictStream

    @property
    def recipe(self) -> str:
        """The product's name."""
        return self.line.product

    @property
    def serving(self) -> str:
        """The version that judges the next part."""
        return recipe_report(self.settings, self.recipe).version

    @property
    def candidate(self) -> str:
        """The version that the store names as candidate."""
        return model_store.linked_version(Path(self.settings.models.store) / self.recipe, model_store.CANDIDATE) or ""

    def verb(self, *words: str, allowed: Iterable[int] = (0,)) -> int:
        """Run one `mdss` verb on this station and return its exit code; MdssError if that is not allowed."""
        shown = " ".join(words).replace(str(self.config), self.config.name)
        console.print(Text(f"    $ mdss {shown}", style="dim"))
        done = subprocess.run([sys.executable, "-m", "mdss.cli", *words], capture_output=True, text=True, check=False)
        output = [line for line in (*done.stdout.splitlines(), *done.stderr.splitlines()) if line.strip()]
        if done.returncode not in allowed:
            raise MdssError(f"mdss {' '.join(words)}: ended with code {done.returncode}: {output[-1] if output else 'without a word'}")
        for line in output[-3:]:
            console.print(Text(f"      {line}"))
        return done.returncode

    def judge(self, parts: Sequence[Part]) -> list[Verdict]:
        """Send parts and return their verdicts as a subscriber receives them."""
        for part in parts:
            self.camera.send(part.rgb, part.xyz_mm, part_id=part.part_id, recipe_id=self.recipe, unit="mm", is_simulated=True)
        if not self.camera.wait_until_done(PATIENCE_S) or self.camera.rejected:
            raise MdssError(f"{self.camera.outstanding} parts without a verdict, {len(self.camera.rejected)} refused")
        heard = [self.plc.receive(PATIENCE_S) for _ in parts]
        return [verdict for verdict in heard if verdict is not None]

    def alerts(self) -> list[Alert]:
        """Return all alerts of the station, newest first."""
        with closing(open_store(self.settings)) as store:
            return store.newest(JOURNAL_ROWS)

    def record_review(self, result_id: str, word: Word, who: str) -> bool:
        """Record a review of an alert, as `mdss alerts` does; False if the alert is not in Redis yet."""
        with closing(open_store(self.settings)) as store:
            outcome, _ = store.review(AlertReview(result_id, word, who))
        return outcome != "missing"

    def label_of(self, result_id: str) -> Label | None:
        """Return the label of a part's kept scan; None if it has none."""
        found = self.collection().find(result_id)
        return None if found is None else found.label

    def journal(self) -> list[Verdict]:
        """Return all verdicts of the station, oldest first."""
        with closing(Journal(Path(self.settings.station.state_directory) / JOURNAL)) as journal:
            return journal.since(0, JOURNAL_ROWS)

    def collection(self) -> Collection:
        """Return the collection of kept scans."""
        return Collection(Path(self.settings.station.state_directory) / FOLDER)

    def wait(self, what: str, is_so: Callable[[], bool]) -> None:
        """Wait until a condition holds; MdssError names what never came."""
        end_s = time.monotonic() + PATIENCE_S
        while not is_so():
            if time.monotonic() > end_s:
                raise MdssError(f"{what}: not within {PATIENCE_S:g} s")
            time.sleep(LOOK_EVERY_S)
