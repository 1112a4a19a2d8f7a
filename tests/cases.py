"""Stations and machines for `mdss doctor` to look at."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from daemon.finding import Finding
from mdss.settings import Settings
from mdss.wire.verdict import Times, Verdict
from tests.alerts import verdict

MS, S, DAY_S = 10**6, 10**9, 86_400


def settings(**sections: dict[str, Any]) -> Settings:
    """Return settings as a file would give them."""
    return msgspec.convert(sections, Settings)


def judged(count: int, took_ms: float = 100, every_s: float = 1.0, **fields: Any) -> tuple[Verdict, ...]:
    """Return verdicts that came one after the other, the last of them now."""
    now_ns = time.time_ns()
    published = [now_ns - int((count - 1 - number) * every_s * S) for number in range(count)]
    return tuple(
        verdict(f"r{at}", times=Times(captured=0, received=at - int(took_ms * MS), rgb=None, sdf=None, fusion=at, published=at), **fields)
        for at in published
    )


def laid_out(root: Path, **files: str) -> Path:
    """Write files of a machine; a name's double underscores are its slashes."""
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def of(findings: Iterator[Finding], subject: str) -> Finding:
    """Return what is said of one subject; a second word on it would be one too many."""
    (found,) = [finding for finding in findings if finding.subject == subject]
    return found
