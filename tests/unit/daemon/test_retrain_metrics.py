"""What the pages say of retrainings."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from daemon.status import Board, StationReport
from daemon.verbs import retrain_line
from mdss.retraining import RetrainRecord, read_records, write_record

HELD = RetrainRecord(
    recipe="cap", outcome="held_back", reason="0003 is held back: it misses a dent", started_ns=10**18, ended_ns=10**18 + 90 * 10**9,
    last_success_ns=5 * 10**17, parts_used=40, parts_refused=7, version="0003",
)  # fmt: skip


@pytest.fixture
def board(tmp_path: Path) -> Board:
    write_record(tmp_path, HELD)
    return Board("line-1", lambda: 0.0, retrainings=lambda: read_records(tmp_path))


def test_metrics_tell_attempt_success_outcome_duration_and_parts(board: Board) -> None:
    lines = board.answer("/metrics")[2].decode().splitlines()
    for line in (
        'mdss_retrain_last_attempt_timestamp_seconds{recipe="cap"} 1e+09',
        'mdss_retrain_last_success_timestamp_seconds{recipe="cap"} 5e+08',
        'mdss_retrain_outcome{outcome="held_back",recipe="cap"} 1.0',
        'mdss_retrain_outcome{outcome="candidate",recipe="cap"} 0.0',
        'mdss_retrain_duration_seconds{recipe="cap"} 90.0',
        'mdss_retrain_parts{recipe="cap",use="used"} 40.0',
        'mdss_retrain_parts{recipe="cap",use="refused"} 7.0',
    ):
        assert line in lines


def test_a_folder_that_may_not_be_looked_into_costs_no_page() -> None:
    nowhere = Path("n" * 300)  # of which a disk says more than that it is not there
    board = Board("line-1", lambda: 0.0, retrainings=lambda: read_records(nowhere))
    assert [board.answer(page)[0] for page in ("/status", "/metrics")] == [200, 200]


def test_a_retraining_that_comes_later_is_on_the_next_page(board: Board, tmp_path: Path) -> None:
    write_record(tmp_path, msgspec.structs.replace(HELD, outcome="candidate"))
    assert 'mdss_retrain_outcome{outcome="candidate",recipe="cap"} 1.0' in board.answer("/metrics")[2].decode()
    shown = msgspec.json.decode(board.answer("/status")[2], type=StationReport)
    assert [each.outcome for each in shown.retrainings] == ["candidate"]


def test_before_the_first_retraining_there_is_no_series(tmp_path: Path) -> None:
    page = Board("line-1", lambda: 0.0, retrainings=lambda: read_records(tmp_path)).answer("/metrics")[2].decode()
    assert "mdss_retrain_outcome{" not in page


def test_a_person_reads_it_in_a_line() -> None:
    line = (
        "retraining of cap at 2001-09-09 01:46:40+00:00: held back, 40 collected parts used, 7 refused: 0003 is held back: it misses a dent"
    )
    assert retrain_line(HELD) == line
    assert retrain_line(msgspec.structs.replace(HELD, reason="")).endswith("7 refused")
