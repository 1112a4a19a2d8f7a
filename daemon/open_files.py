"""Notices that what the station's processes have open is not there any more, because somebody removed, moved or replaced it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from daemon.child import Process, Start
from daemon.process_table import JOURNAL_KEEPERS, ProcessSpec
from daemon.timed_questions import TimedQuestions
from mdss.errors import MdssError
from mdss.journal import JOURNAL
from mdss.settings import Settings

LOOK_EVERY_S: Final = 1.0
GONE: Final = (
    "removed, or moved away, or replaced, while the station runs: move it back, or stop the station, put the last backup there or nothing,"
    " and start it"
)
Identity = tuple[int, int] | None  # device and inode; None if there is no such file
log = structlog.get_logger()


class OpenFiles:
    """Remembers which file the journal is when the station has become ready, and looks once a second whether it is still there."""

    def __init__(self, settings: Settings, clock: Callable[[], float], questions: TimedQuestions | None = None) -> None:
        self._journal = Path(settings.station.state_directory) / JOURNAL
        self._clock, self._questions = clock, questions or TimedQuestions()
        self._opened: Identity = None
        self._due_s, self._seen, self._trouble = float("-inf"), "", ""

    def trouble(self) -> str:
        """Return what two looks in a row found gone, and what to do; empty if nothing is. The first call remembers what is open."""
        if self._clock() >= self._due_s:
            self._due_s = self._clock() + LOOK_EVERY_S
            self._look()
        return self._trouble

    def guarded(self, start: Start) -> Start:
        """Return `start`, but refusing with an OSError to start a process that would open another journal than the others have."""

        def start_unless_lost(spec: ProcessSpec) -> Process:
            if spec.name in JOURNAL_KEEPERS and (trouble := self._journal_trouble()):
                raise OSError(trouble)
            return start(spec)

        return start_unless_lost

    def _look(self) -> None:
        found, before = self._journal_trouble(), self._trouble
        self._trouble, self._seen = found if found == self._seen else "", found
        if self._trouble and not before:
            log.error("something that the station has open is gone", reason=self._trouble)
        elif before and not self._trouble:
            log.info("what was gone is there again")

    def _journal_trouble(self) -> str:
        try:
            there = self._questions.ask(lambda: identity_of(self._journal), self._journal)
        except (OSError, MdssError):  # the processes that use it say what is wrong with the disk
            return ""
        self._opened = self._opened or there
        return "" if there == self._opened else f"journal {self._journal} was {GONE}"


def identity_of(path: Path) -> Identity:
    """Return which file is there now."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino
