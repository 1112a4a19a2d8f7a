"""What tests of the trainer share: a small dataset, curated parts, and a shelf for collected ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lines import write_tiny_line
from tests.retraining import good_part
from tests.shelf import Shelf, measures_of
from trainer.part_measures import Measures


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A sound dataset of two training scans, one validation scan and three test scans, with all masks of the defects."""
    write_tiny_line(tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture(scope="session")
def known() -> list[tuple[str, Measures]]:
    """Curated good parts."""
    return [(f"train/{number:03d}", measures_of(good_part(100 + number))) for number in range(8)]


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)
