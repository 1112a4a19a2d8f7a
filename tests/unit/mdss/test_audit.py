"""The audit of a recipe's models: every line stays, whatever happens to another."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mdss import audit
from mdss.user_name import user


def test_a_change_is_one_line_of_json_with_when_who_what_from_to_and_why(tmp_path: Path) -> None:
    audit.record(tmp_path, "promote", (None, "0001"), "the first")
    audit.record(tmp_path, "rollback", ("0002", "0001"))
    lines = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    assert [list(line) for line in lines] == [["when", "who", "what", "from", "to", "why"]] * 2
    assert (lines[0]["what"], lines[0]["from"], lines[0]["to"], lines[0]["why"]) == ("promote", "", "0001", "the first")
    assert lines[1]["who"] == user() != ""
    assert datetime.fromisoformat(lines[1]["when"]).tzinfo == UTC
    assert [event.after for event in audit.events(tmp_path)] == ["0001", "0001"]


def test_a_line_that_was_cut_short_is_shown_as_such_and_spoils_no_other(tmp_path: Path) -> None:
    audit.record(tmp_path, "promote", (None, "0001"))
    whole = (tmp_path / "audit.jsonl").read_bytes()
    (tmp_path / "audit.jsonl").write_bytes(whole + whole[:20])
    audit.record(tmp_path, "promote", ("0001", "0002"))
    found = audit.events(tmp_path)
    assert [event.what for event in found] == ["promote", "unreadable", "promote"]
    assert whole[:20].decode() in found[1].why


def test_a_disk_that_takes_no_line_is_named(tmp_path: Path) -> None:
    (tmp_path / "audit.jsonl").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left on device") as full:
        audit.record(tmp_path, "promote", (None, "0001"))
    assert full.value.filename == str(tmp_path / "audit.jsonl")


def test_where_nothing_was_changed_there_is_no_event(tmp_path: Path) -> None:
    assert audit.events(tmp_path) == []
