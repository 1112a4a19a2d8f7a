"""The table: what runs, in which order, how many of each."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from daemon.process_table import process_table, processes


def settings(rgb: int = 1, sdf: int = 1, *, is_collecting: bool = True) -> Any:
    """Return what the table needs of the settings."""
    branches = SimpleNamespace(rgb=SimpleNamespace(count=rgb, threads=2), sdf=SimpleNamespace(count=sdf, threads=1))
    collection = SimpleNamespace(enabled=is_collecting)
    return SimpleNamespace(branches=branches, prepare=SimpleNamespace(threads=1), collection=collection)


def test_ingest_comes_last_so_that_no_credit_is_given_too_early() -> None:
    assert process_table(settings())[-1].name == "ingest"


def test_every_row_names_a_module_that_exists() -> None:
    assert all(importlib.util.find_spec(row.module) is not None for row in process_table(settings()))


def test_a_branch_runs_as_many_processes_as_asked() -> None:
    specs = processes(process_table(settings(rgb=2)), Path("/etc/mdss.yaml"))
    assert [spec.name for spec in specs] == ["alerts", "collect", "fusion", "rgb-0", "rgb-1", "sdf-0", "prepare", "ingest"]
    assert specs[4].arguments == ("-m", "workers.rgb", "--config", "/etc/mdss.yaml", "--index", "1")
    assert (specs[4].threads, specs[0].arguments) == (2, ("-m", "daemon.alerts", "--config", "/etc/mdss.yaml"))


def test_only_collect_is_not_vital_and_runs_only_where_scans_are_collected() -> None:
    assert [row.name for row in process_table(settings()) if not row.is_vital] == ["collect"]
    assert [spec.name for spec in processes(process_table(settings()), Path("s.yaml")) if not spec.is_vital] == ["collect"]
    assert "collect" not in [row.name for row in process_table(settings(is_collecting=False))]
