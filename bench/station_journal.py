"""The journal of a bench's station, read while the station writes it or afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mdss.journal import JOURNAL, Journal
from mdss.settings import Settings
from mdss.wire.verdict import Verdict

PAGE = 1000


def open_journal(settings: Settings) -> Journal:
    """Return the station's journal."""
    return Journal(Path(settings.station.state_directory) / JOURNAL)


def verdicts_of(journal: Journal) -> Iterator[Verdict]:
    """Yield all verdicts of a journal in order."""
    last = 0
    while verdicts := journal.since(last, PAGE):
        yield from verdicts
        last = verdicts[-1].sequence
