"""The record of a retraining on disk."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from mdss.errors import BadInput
from mdss.retraining import RetrainRecord, read_record, read_records, write_record

RECORD = RetrainRecord(recipe="cap", outcome="held_back", reason="worse", started_ns=10**9, ended_ns=3 * 10**9, parts_used=5)


def test_a_record_is_read_as_it_was_written_and_nothing_else_is_left(tmp_path: Path) -> None:
    assert read_record(tmp_path / "retrain", "cap") is None
    for record in (RECORD, msgspec.structs.replace(RECORD, outcome="candidate")):
        write_record(tmp_path / "retrain", record)
        assert read_record(tmp_path / "retrain", "cap") == record
    assert [path.name for path in (tmp_path / "retrain").iterdir()] == ["cap.json"]


def test_it_tells_how_long_it_took_and_nothing_while_it_runs() -> None:
    assert RECORD.seconds == 2.0
    assert msgspec.structs.replace(RECORD, ended_ns=0).seconds == 0.0
    assert msgspec.structs.replace(RECORD, ended_ns=1).seconds == 0.0  # by a clock that was set back


def test_a_file_that_is_no_record_is_named_and_costs_no_other_record(tmp_path: Path) -> None:
    write_record(tmp_path, RECORD)
    (tmp_path / "nut.json").write_bytes(b'{"recipe": "nut"}')
    with pytest.raises(BadInput, match=r"nut\.json: .*expected the record of a retraining"):
        read_record(tmp_path, "nut")
    assert read_records(tmp_path) == (RECORD,)
    assert read_records(tmp_path / "nowhere") == ()
