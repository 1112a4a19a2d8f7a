"""The picture goes with its alert if it is there and whole; otherwise the alert goes without it, which is logged."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.alerts import PNG, verdict
from tests.delivery import Line


def test_the_picture_goes_with_its_alert(tmp_path: Path) -> None:
    path = tmp_path / "with space %20.png"
    path.write_bytes(PNG)
    line = Line(verdict("a", evidence=path))
    line.delivery.turn()
    assert line.store.alerts == {"a": PNG}


def test_a_missing_picture_costs_the_picture_and_is_logged(tmp_path: Path) -> None:
    line = Line(verdict("a", evidence=tmp_path / "gone.png"))
    with capture_logs() as logs:
        line.delivery.turn()
    assert line.store.alerts == {"a": None}
    assert [(each["event"], each["result_id"]) for each in logs] == [("alert without its picture", "a")]


@pytest.mark.parametrize("left", [b"", PNG[:9], PNG + PNG], ids=["nothing", "its beginning", "another"])
def test_a_picture_of_which_a_power_cut_left_something_else_is_not_delivered_as_if_it_were_whole(tmp_path: Path, left: bytes) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    line = Line(verdict("a", evidence=path))
    path.write_bytes(left)
    with capture_logs() as logs:
        line.delivery.turn()
    assert line.store.alerts == {"a": None}
    assert [(each["event"], str(path) in each["reason"]) for each in logs] == [("alert without its picture", True)]
