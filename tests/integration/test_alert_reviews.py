"""The verbs `mdss alerts ack`, `confirm` and `reject` on a real Redis: which state follows which, and who said so."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
import yaml
from click.testing import CliRunner, Result

from daemon.alert_store import AlertReview, AlertStore, open_store
from daemon.alert_verbs import alerts
from daemon.private_redis import PrivateRedis
from daemon.reviews import Reviews
from mdss.collection import CollectedPart, Collection
from mdss.errors import MdssError
from mdss.settings import load_settings
from mdss.wire.heartbeat import Tally
from tests.alerts import PATIENCE_S, verdict
from tests.fakes import FakeClock

pytestmark = pytest.mark.timeout(60)
NUMBERS = itertools.count()


class Desk:
    """A station of a name of its own with one new alert, and whoever reviews it."""

    def __init__(self, folder: Path, server: PrivateRedis) -> None:
        self.config, self.name, self.url = folder / "station.yaml", f"reviewed-{next(NUMBERS)}", server.url
        limits = {"redis_url": server.url, "timeout_s": PATIENCE_S, "stream_max_length": 100}
        self.config.write_text(yaml.safe_dump({"station": {"name": self.name}, "alerts": limits}))
        self.store: AlertStore = open_store(load_settings(self.config))
        self.alert = f"{self.name}-alert"
        self.store.put(verdict(self.alert), None)

    def run(self, verb: str, *arguments: str) -> Result:
        return CliRunner().invoke(alerts, [verb, self.alert, "--config", str(self.config), "--by", "anna", *arguments])

    def state(self) -> str:
        found = self.store.find(self.alert)
        assert found is not None
        return found.state

    def stream(self) -> list[dict[str, str]]:
        """Return what is in the stream of reviews, as any program reads it."""
        with redis.Redis.from_url(self.url, decode_responses=True) as client:
            rows: Any = client.xrange(f"mdss:reviews:{self.name}")
        return [fields for _, fields in rows]


@pytest.fixture
def desk(redis_server: PrivateRedis, tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path, redis_server)
    yield made
    made.store.close()


def test_an_alert_is_acknowledged_then_confirmed_and_the_stream_says_who_when_and_from_what(desk: Desk) -> None:
    assert desk.run("ack").stdout == f"{desk.alert} is acknowledged (was new)\n"
    assert desk.run("confirm", "--note", "dent").stdout == f"{desk.alert} is confirmed (was acknowledged)\n"
    first, second = desk.stream()
    assert int(first.pop("at_ns")) < int(second.pop("at_ns"))
    assert first == {"result_id": desk.alert, "state": "acknowledged", "from": "new", "by": "anna", "note": ""}
    assert second == {"result_id": desk.alert, "state": "confirmed", "from": "acknowledged", "by": "anna", "note": "dent"}
    found = desk.store.find(desk.alert)
    assert found is not None and (found.state, found.by, found.note) == ("confirmed", "anna", "dent") and found.at_ns > 0
    shown = CliRunner().invoke(alerts, ["show", desk.alert, "--config", str(desk.config)]).stdout
    assert "said by         anna at 20" in shown and ": dent" in shown


@pytest.mark.parametrize(("verb", "state"), [("confirm", "confirmed"), ("reject", "false_reject")])
def test_a_new_alert_may_be_decided_at_once(desk: Desk, verb: str, state: str) -> None:
    assert desk.run(verb).exit_code == 0
    assert desk.state() == state


def test_a_decision_can_be_corrected_either_way_and_both_are_on_record(desk: Desk) -> None:
    for verb in ("confirm", "reject", "confirm"):
        assert desk.run(verb).exit_code == 0
    assert desk.state() == "confirmed"
    assert [(each["from"], each["state"]) for each in desk.stream()] == [
        ("new", "confirmed"),
        ("confirmed", "false_reject"),
        ("false_reject", "confirmed"),
    ]


@pytest.mark.parametrize("verb", ["ack", "confirm", "reject"])
def test_saying_the_same_again_changes_nothing(desk: Desk, verb: str) -> None:
    desk.run(verb)
    again = desk.run(verb, "--note", "once more")
    assert again.exit_code == 0 and "nothing has changed" in again.stdout
    assert len(desk.stream()) == 1


@pytest.mark.parametrize(("verb", "words"), [("confirm", "confirmed"), ("reject", "a false reject")])
def test_what_is_decided_cannot_be_merely_acknowledged(desk: Desk, verb: str, words: str) -> None:
    desk.run(verb)
    result = desk.run("ack")
    assert isinstance(result.exception, MdssError)
    said = f"alert {desk.alert} is {words} already, expected a new one: `mdss alerts confirm` and `reject` change what was said of it"
    assert str(result.exception) == said
    assert len(desk.stream()) == 1


def test_an_alert_that_is_not_there_is_named(desk: Desk) -> None:
    desk.alert = "nobody"
    result = desk.run("reject")
    assert "found no alert nobody" in str(result.exception)
    assert desk.stream() == []


def test_a_state_of_another_release_is_refused_and_stays(desk: Desk) -> None:
    with redis.Redis.from_url(desk.url) as client:
        client.hset(f"mdss:alert:{desk.alert}", "state", "eaten")
    result = desk.run("reject")
    assert str(result.exception) == f"alert {desk.alert} is in state 'eaten', expected one of new, acknowledged, confirmed, false_reject"


def test_the_stream_of_reviews_is_trimmed(desk: Desk) -> None:
    for number in range(400):
        desk.store.review(AlertReview(desk.alert, "confirmed" if number % 2 else "false_reject", "anna"))
    assert 100 <= len(desk.stream()) < 300, "Redis removes whole nodes of a hundred entries or so"


def test_an_entry_with_bytes_that_are_no_text_is_read_and_so_is_the_one_after_it(desk: Desk) -> None:
    with redis.Redis.from_url(desk.url) as client:
        client.xadd(f"mdss:reviews:{desk.name}", {b"caf\xe9": b"\xff", "result_id": desk.alert, "state": "confirmed"})
    assert desk.run("reject").exit_code == 0
    (_, foreign), (_, ours) = desk.store.reviews_from("0-0", 10)
    assert foreign == {"caf\ufffd": "\ufffd", "result_id": desk.alert, "state": "confirmed"}
    assert ours["state"] == "false_reject"


def test_reviews_are_read_so_many_at_a_time_the_oldest_first_and_from_an_entry_on(desk: Desk) -> None:
    for verb in ("ack", "confirm", "reject"):
        desk.run(verb)
    names = [name for name, _ in desk.store.reviews_from("0-0", 10)]
    assert [name for name, _ in desk.store.reviews_from("0-0", 2)] == names[:2]
    assert [name for name, _ in desk.store.reviews_from(names[1], 10)] == names[1:]


def test_reviews_are_read_after_redis_lost_its_data_and_its_clock_went_back(desk: Desk, tmp_path: Path) -> None:
    collection, clock, ahead_ms = Collection(tmp_path / "collected"), FakeClock(), round(time.time() * 1000) + 3_600_000
    for name in ("before", desk.alert):
        part = CollectedPart(result_id=name, part_id="p", source_id="c", recipe_id="r", captured_ns=1, judged_ns=2, evaluation="NotOK")
        collection.add(part, np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64, 3), np.float32))
    reviews = Reviews(desk.store, collection, tmp_path / "reviews.json", Tally(), clock)
    with redis.Redis.from_url(desk.url) as client:
        client.xadd(f"mdss:reviews:{desk.name}", {"result_id": "before", "state": "confirmed"}, id=f"{ahead_ms}-0")
        reviews.turn()
        client.delete(f"mdss:reviews:{desk.name}")
    assert desk.run("reject").exit_code == 0
    for _ in range(2):
        clock.advance(1)
        reviews.turn()
    labels = [each.label for name in ("before", desk.alert) if (each := collection.find(name))]
    assert labels == ["defect", "good"]


def test_what_another_console_said_without_a_time_is_shown_without_one(desk: Desk) -> None:
    with redis.Redis.from_url(desk.url) as client:
        client.hset(f"mdss:alert:{desk.alert}", mapping={"state": "confirmed", "by": "mes"})
    assert "said by         mes\n" in CliRunner().invoke(alerts, ["show", desk.alert, "--config", str(desk.config)]).stdout
