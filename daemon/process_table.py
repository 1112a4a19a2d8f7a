"""The one list of the station's processes: which modules run, how many of each, and in which order they start."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mdss.settings import Settings

JOURNAL_KEEPERS = ("alerts", "fusion", "ingest")  # processes that have the journal open as long as they are ready


@dataclass(frozen=True)
class Row:
    """One line of the table; `count` is None if there can be only one process; parts are judged without a process that is not vital."""

    name: str
    module: str
    threads: int = 1
    count: int | None = None
    is_vital: bool = True
    keeps_memory: bool = False


@dataclass(frozen=True)
class ProcessSpec:
    """One process to run: its name, its command after the interpreter, its threads, and whether it keeps freed memory."""

    name: str
    arguments: tuple[str, ...]
    threads: int
    is_vital: bool = True
    keeps_memory: bool = False  # whether memory that a part needed is kept for the next one


def process_table(settings: Settings) -> tuple[Row, ...]:
    """Return the rows in starting order; ingest is last, so that no camera gets credit before all others are ready."""
    branches = settings.branches
    return (
        Row("alerts", "daemon.alerts"),
        *((Row("collect", "daemon.collect", is_vital=False),) if settings.collection.enabled else ()),
        Row("fusion", "workers.fusion", keeps_memory=True),
        Row("rgb", "workers.rgb", branches.rgb.threads, branches.rgb.count, keeps_memory=True),
        Row("sdf", "workers.sdf", branches.sdf.threads, branches.sdf.count, keeps_memory=True),
        Row("prepare", "workers.prepare", settings.prepare.threads),
        Row("ingest", "daemon.ingest"),
    )


def processes(rows: tuple[Row, ...], config: Path) -> tuple[ProcessSpec, ...]:
    """Return one entry per process; processes of a row with a count are numbered from 0."""
    return tuple(_spec(row, index, config) for row in rows for index in range(1 if row.count is None else row.count))


def _spec(row: Row, index: int, config: Path) -> ProcessSpec:
    name, number = (row.name, ()) if row.count is None else (f"{row.name}-{index}", ("--index", str(index)))
    return ProcessSpec(name, ("-m", row.module, "--config", str(config), *number), row.threads, row.is_vital, row.keeps_memory)
