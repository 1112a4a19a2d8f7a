"""Notices that what the station's processes have open is not there any more, because somebody removed, moved or replaced it."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

import structlog

from daemon.child import Process, Start, StartHindered
from daemon.process_table import JOURNAL_KEEPERS, ProcessSpec
from daemon.timed_questions import TimedQuestions
from mdss.errors import MdssError, some_of
from mdss.journal import BESIDE, JOURNAL
from mdss.settings import Settings
from mdss.settings_types import IPC
from mdss.wire.topology import LINKS, address

LOOK_EVERY_S: Final = 1.0
LOST: Final = "was removed, or moved away, or replaced, while the station runs"
PUT_BACK: Final = "move it back, or stop the station, put the last backup there or nothing, and start it"
RESTART: Final = "restart the station"
BESIDE_BACK: Final = f"move it back, or {RESTART}"
SUPERVISOR: Final = "supervisor"  # always ready: it is the one that looks
BINDERS: Final = frozenset(link.binder for link in LINKS.values())
MOST_NAMED: Final = 3
Identity = tuple[int, int] | None  # device and inode; None if there is no such file
Answer = TypeVar("Answer")
log = structlog.get_logger()


class OpenFiles:
    """Remembers which files the journal is made of once the station is ready, and looks each second whether they and the sockets are there.

    Those beside the journal are forgotten once no process has had them open throughout: who closes the journal last removes them.
    A disk that does not answer changes nothing of what is known: the processes that use it say what is wrong with it.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float], questions: TimedQuestions | None = None) -> None:
        self._settings, self._journal = settings, Path(settings.station.state_directory) / JOURNAL
        self._clock, self._questions = clock, questions or TimedQuestions()
        self._opened: dict[str, Identity] = {}  # what the processes have open, by the end of the file's name
        self._holders: frozenset[str] = frozenset()  # processes that have been ready since these were found there last
        self._lost = ""  # what is wrong with the journal, as far as the disk last told
        self._due_s, self._seen, self._trouble = float("-inf"), "", ""
        self._asked: frozenset[str] = frozenset()  # whose sockets the look asked for that found `_trouble`

    def trouble(self, ready: Collection[str]) -> str:
        """Return what two looks in a row found gone, and what to do; empty if nothing is.

        The first call remembers the journal. Sockets are looked for if the process that opens them is among these, which are `ready`.
        """
        self._holders &= frozenset(ready)
        if not self._holders and not (self._lost and self._trouble == self._lost):
            self._opened = {end: known for end, known in self._opened.items() if end not in BESIDE}
        if self._clock() >= self._due_s:
            with suppress(OSError, MdssError):
                there, missing = self._ask(lambda: (self._identities(), missing_sockets(self._settings, ready)))
                self._remember(there, frozenset(JOURNAL_KEEPERS).intersection(ready))
                self._note(self._lost or (f"{missing}; {RESTART}" if missing else ""), BINDERS.intersection(ready))
            self._due_s = self._clock() + LOOK_EVERY_S  # after the answer, which may have taken long
        return self._trouble

    def guarded(self, start: Start) -> Start:
        """Return `start`, but refusing with StartHindered to start a process that would open another journal than the others have."""

        def start_unless_lost(spec: ProcessSpec) -> Process:
            if self._opened and spec.name in JOURNAL_KEEPERS:
                with suppress(OSError, MdssError):
                    self._compare(self._ask(self._identities))
                if self._lost:
                    raise StartHindered(self._lost)
            return start(spec)

        return start_unless_lost

    def _note(self, found: str, asked: frozenset[str]) -> None:
        """Take note of what a look found that asked for the sockets of some processes."""
        # that nothing is gone is sure only from a look for the same sockets: those of a process that is being restarted are not looked for
        is_sure = found == self._seen if found else asked >= self._asked
        self._seen = found
        if not is_sure or found == self._trouble:
            return
        self._trouble, self._asked = found, asked if found else frozenset()
        if found:
            log.error("something that the station has open is gone", reason=found)
        else:
            log.info("what was gone is there again")

    def _ask(self, question: Callable[[], Answer]) -> Answer:
        return self._questions.ask(question, self._journal)

    def _identities(self) -> dict[str, Identity]:
        return {end: identity_of(file) for end, file in journal_files(self._journal).items()}

    def _remember(self, there: dict[str, Identity], holders: frozenset[str]) -> None:
        """Find out what is wrong with the journal; where nothing is, these processes have open what is there."""
        self._compare(there)
        if not self._lost:
            self._opened = {end: found for end, found in there.items() if found is not None and (holders or end not in BESIDE)}
            self._holders = holders

    def _compare(self, there: dict[str, Identity]) -> None:
        gone = next((end for end, opened in self._opened.items() if there[end] != opened), None)
        self._lost = "" if gone is None else f"journal {self._journal}{gone} {LOST}; {BESIDE_BACK if gone else PUT_BACK}"


def missing_sockets(settings: Settings, ready: Collection[str]) -> str:
    """Return which sockets are gone of the supervisor and of the processes that are ready, and what that means; empty if none is."""
    endpoints = [address(link, settings) for link in LINKS.values() if link.binder in (*ready, SUPERVISOR)]
    paths = [endpoint.removeprefix(IPC) for endpoint in endpoints if endpoint.startswith(IPC)]
    missing = [path for path in paths if identity_of(Path(path)) is None]
    many = len(missing) > 1
    words = f"socket{'s' * many} {some_of(missing, MOST_NAMED)} {'are' if many else 'is'} gone: nobody can connect there any more"
    return words if missing else ""


def journal_files(journal: Path) -> dict[str, Path]:
    """Return where the journal and the files beside it lie, by the end of the file's name."""
    real = os.path.realpath(journal)  # SQLite keeps its files beside that
    return {end: Path(f"{real}{end}") for end in ("", *BESIDE)}


def identity_of(path: Path) -> Identity:
    """Return which file is there now."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino
