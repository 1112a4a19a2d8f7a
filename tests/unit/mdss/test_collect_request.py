"""A request for every scan: it holds until its end, for its recipe alone, and nobody has to take it back."""

from __future__ import annotations

from pathlib import Path

from mdss.collect_request import FOLDER, LOOK_EVERY_S, CollectRequests, request_all, withdraw_request
from tests.fakes import FakeClock


class Ingest:
    """Who hands scans on, and its clock."""

    def __init__(self, state: Path) -> None:
        self.clock = FakeClock()
        self.requests = CollectRequests(state, self.clock.ns, self.clock)

    def wants(self, recipe: str, after_s: float = LOOK_EVERY_S) -> bool:
        self.clock.advance(after_s)
        return self.requests.is_requested(recipe)


def test_a_request_holds_for_its_recipe_until_its_end(tmp_path: Path) -> None:
    ingest = Ingest(tmp_path)
    assert not ingest.wants("cap")
    request_all(tmp_path, "cap", ingest.clock.ns() + 10 * 10**9)
    assert (ingest.wants("cap"), ingest.wants("lid")) == (True, False)
    assert ingest.wants("cap", after_s=5)
    assert not ingest.wants("cap", after_s=5)


def test_a_request_is_moved_by_another_and_taken_back(tmp_path: Path) -> None:
    ingest = Ingest(tmp_path)
    request_all(tmp_path, "cap", ingest.clock.ns() + 2 * 10**9)
    request_all(tmp_path, "cap", ingest.clock.ns() + 60 * 10**9)
    assert ingest.wants("cap", after_s=30)
    withdraw_request(tmp_path, "cap")
    assert not ingest.wants("cap")
    withdraw_request(tmp_path, "cap")


def test_a_clock_that_is_set_back_makes_no_request_last_for_days(tmp_path: Path) -> None:
    ingest = Ingest(tmp_path)
    request_all(tmp_path, "cap", ingest.clock.ns() + 3 * 86_400 * 10**9)  # a minute ahead, by the clock before
    assert not ingest.wants("cap")


def test_the_file_is_looked_at_once_a_second_however_many_parts_pass(tmp_path: Path) -> None:
    ingest = Ingest(tmp_path)
    assert not ingest.wants("cap")
    request_all(tmp_path, "cap", ingest.clock.ns() + 60 * 10**9)
    assert not ingest.wants("cap", after_s=0.1)
    assert ingest.wants("cap", after_s=0.9)


def test_a_request_that_cannot_be_read_asks_for_nothing(tmp_path: Path) -> None:
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "cap.json").write_text('{"until_ns": "late"}')
    assert not Ingest(tmp_path).wants("cap")
