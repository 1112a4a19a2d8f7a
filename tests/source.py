"""The project's own Python files, and what they are made of."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

from tests.pages import ROOT

PACKAGES = ("mdss", "daemon", "workers", "trainer", "demo", "measure", "bench", "config")
FILES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
MODULES = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in FILES if path.name != "__init__.py"}
TESTS = sorted((ROOT / "tests").rglob("*.py"))


@cache
def tree_of(path: Path) -> ast.Module:
    """Return what a file says, as Python reads it."""
    return ast.parse(path.read_text("utf-8"), str(path))
