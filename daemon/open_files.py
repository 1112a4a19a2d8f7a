"""Notices that what the station's processes have open is not there any more, because somebody removed, moved or replaced it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

from daemon.child import Process, Start
from daemon.process_table import JOURNAL_KEEPERS, ProcessSpec
from daemon.timed_questions import TimedQuestions
from mdss.errors import MdssError, some_of
from mdss.journal import JOURNAL
from mdss.settings import Settings
from mdss.settings_types import IPC
from mdss.wire.topology import LINKS, address

LOOK_EVERY_S: Final = 1.0
LOST: Final = "was removed, or moved away, or replaced, while the station runs"
PUT_BACK: Final = "move it back, or stop the station, put the last backup there or nothing, and start it"
RESTART: Final = "restart the station"
SUPERVISOR: Final = "supervisor"  # always ready: it is the one that looks
BINDERS: Final = frozenset(link.binder for link in LINKS.values())
MOST_NAMED: Final = 3
Identity = tuple[int, int] | None  # device and inode; None if there is no such file
log = structlog.get_logger()


class OpenFiles:
    """Remembers which file the journal is once the station is ready, and looks each second whether it and the sockets are there.

    A disk that does not answer changes nothing of what is known: the processes that use it say what is wrong with it.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float], questions: TimedQuestions | None = None) -> None:
        self._settings, self._journal = settings, Path(settings.station.state_directory) / JOURNAL
        self._clock, self._questions = clock, questions or TimedQuestions()
        self._opened: Identity = None
        self._lost = ""  # what is wrong with the journal, as far as the disk last told
        self._due_s, self._seen, self._trouble = float("-inf"), "", ""
        self._asked: frozenset[str] = frozenset()  # whose sockets the look asked for that found `_trouble`

    def trouble(self, ready: Collection[str]) -> str:
        """Return what two looks in a row found gone, and what to do; empty if nothing is.

        The first call remembers the journal. Sockets are looked for if the process that opens them is among these, which are `ready`.
        """
        if self._clock() >= self._due_s:
            with suppress(OSError, MdssError):
                self._note(self._journal_trouble() or self._socket_trouble(ready), BINDERS.intersection(ready))
            self._due_s = self._clock() + LOOK_EVERY_S  # after the answer, which may have taken long
        return self._trouble

    def guarded(self, start: Start) -> Start:
        """Return `start`, but refusing with an OSError to start a process that would open another journal than the others have."""

        def start_unless_lost(spec: ProcessSpec) -> Process:
            if self._opened is not None and spec.name in JOURNAL_KEEPERS:
                with suppress(OSError, MdssError):
                    self._journal_trouble()
                if self._lost:
                    raise OSError(self._lost)
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

    def _journal_trouble(self) -> str:
        """Return what is wrong with the journal; OSError or MdssError if the disk does not tell."""
        there = self._questions.ask(lambda: identity_of(self._journal), self._journal)
        self._opened = self._opened or there
        self._lost = "" if there == self._opened else f"journal {self._journal} {LOST}; {PUT_BACK}"
        return self._lost

    def _socket_trouble(self, ready: Collection[str]) -> str:
        """Return which sockets are gone; OSError or MdssError if the disk does not tell."""
        missing = self._questions.ask(lambda: missing_sockets(self._settings, ready), self._settings.station.runtime_directory)
        return f"{missing}; {RESTART}" if missing else ""


def missing_sockets(settings: Settings, ready: Collection[str]) -> str:
    """Return which sockets are gone of the supervisor and of the processes that are ready, and what that means; empty if none is."""
    endpoints = [address(link, settings) for link in LINKS.values() if link.binder in (*ready, SUPERVISOR)]
    paths = [endpoint.removeprefix(IPC) for endpoint in endpoints if endpoint.startswith(IPC)]
    missing = [path for path in paths if identity_of(Path(path)) is None]
    many = len(missing) > 1
    words = f"socket{'s' * many} {some_of(missing, MOST_NAMED)} {'are' if many else 'is'} gone: nobody can connect there any more"
    return words if missing else ""


def identity_of(path: Path) -> Identity:
    """Return which file is there now."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino
