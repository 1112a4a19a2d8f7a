"""What a replay remembers of the frames that it has sent, be it without end."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from daemon.replay import Report
from daemon.replay_verdicts import VerdictTally
from mdss.wire.camera import Nack


def test_a_replay_without_end_counts_all_and_remembers_the_newest_and_what_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.replay.MOST_REMEMBERED", 5)
    refused, waits = (Nack(frame_id=name, code=code, reason="why") for name, code in (("3", "CRC"), ("4", "BUSY")))  # type: ignore[arg-type]
    sender: Any = SimpleNamespace(rejected={"3": refused}, rejected_count=1, put_off={"4": waits}, outstanding=1)
    report = Report(VerdictTally(lambda since: pytest.fail(f"asks for verdicts since {since}")))
    for number in range(100):
        report.note(str(number), f"good/{number}", sender)
        assert len(report.parts) <= 15
    said = report.summary(sender, 2.0)
    assert (said["sent"], said["done"], said["parts_per_s"]) == (100, 98, 49.0)
    assert said["rejected"] == [{"part_id": "good/3", "code": "CRC", "reason": "why"}]
    assert said["put_off"] == [{"part_id": "good/4", "code": "BUSY", "reason": "why"}]
    assert {"95", "96", "97", "98", "99"} <= report.parts.keys()
