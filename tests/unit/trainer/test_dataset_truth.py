"""What is marked on test scans is looked at, or refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from mdss.errors import BadInput
from tests.lines import write_tiny_line
from trainer.dataset import Dataset


def test_marks_in_a_folder_in_capitals_are_not_passed_over(tmp_path: Path) -> None:
    write_tiny_line(tmp_path)
    marked = next(tmp_path.glob("test/*/gt"))
    marked.rename(marked.with_name("GT"))
    with pytest.raises(BadInput) as refused:
        Dataset.open(tmp_path, "m", needs=("test",))
    found = f"{marked.with_name('GT')}: found 'GT', expected 'gt' in small letters"
    assert str(refused.value) == f"{found}: what is marked on defects would not be looked at"
