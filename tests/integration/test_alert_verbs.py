"""The verbs `mdss alerts list` and `mdss alerts show` on a real Redis."""

from __future__ import annotations

import itertools
import json
import re
import resource
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
import redis
import yaml
from click.testing import CliRunner, Result

from daemon.alert_store import Alert, AlertStore, open_store
from daemon.alert_verbs import alerts
from daemon.private_redis import PrivateRedis
from mdss import cli
from mdss.errors import MdssError
from mdss.settings import load_settings
from mdss.wire.verdict import Verdict
from tests.alerts import PATIENCE_S, PNG, undefined, verdict

pytestmark = pytest.mark.timeout(60)
NUMBERS = itertools.count()


@dataclass
class Station:
    """A station of a name of its own on the shared Redis, and its settings file."""

    config: Path
    url: str
    store: AlertStore

    def put(self, judged: Verdict, picture: bytes | None = None) -> None:
        """Store an alert."""
        assert self.store.put(judged, picture)

    def set_state(self, result_id: str, state: str) -> None:
        """Do what a later release's verbs do."""
        with redis.Redis.from_url(self.url) as client:
            client.hset(f"mdss:alert:{result_id}", "state", state)

    def run(self, *arguments: str) -> Result:
        """Run a verb."""
        return CliRunner().invoke(alerts, [arguments[0], "--config", str(self.config), *arguments[1:]])

    def listed(self, *arguments: str) -> list[str]:
        """Return the ids that `list --json` prints."""
        return [alert["result_id"] for alert in json.loads(self.run("list", "--json", *arguments).stdout)]


@pytest.fixture
def station(redis_server: PrivateRedis, tmp_path: Path) -> Iterator[Station]:
    config = tmp_path / "station.yaml"
    name = f"verbs-{next(NUMBERS)}"
    config.write_text(yaml.safe_dump({"station": {"name": name}, "alerts": {"redis_url": redis_server.url, "timeout_s": PATIENCE_S}}))
    store = open_store(load_settings(config))
    yield Station(config, redis_server.url, store)
    store.close()


def test_list_shows_the_newest_first_with_score_place_and_state(station: Station) -> None:
    station.put(undefined("v1-late"))
    station.put(verdict("v1-bent"))
    result = station.run("list")
    assert result.exit_code == 0, result.output
    header, bent, late = result.stdout.splitlines()
    assert header.split() == ["result", "time", "(UTC)", "part", "source", "evaluation", "score", "/", "threshold", "where", "state"]
    for word in ("v1-bent", "1970-01-01 00:00:00", "part of v1-bent", "camera-1", "NotOK", "7.5 / 3", "sdf at 1.0, -2.5, 300.0 mm", "new"):
        assert word in bent
    for word in ("v1-late", "Undefined LATE", "none"):
        assert word in late


def test_without_alerts_list_says_so(station: Station) -> None:
    assert station.run("list").stdout == "no alerts in state new\n"
    assert station.run("list", "--all").stdout == "no alerts\n"
    assert station.listed() == []


def test_list_shows_new_alerts_one_state_or_all(station: Station) -> None:
    for number in range(4):
        station.put(verdict(f"v2-{number}"))
    station.set_state("v2-1", "acknowledged")
    station.set_state("v2-2", "false_reject")
    assert station.listed() == ["v2-3", "v2-0"]
    assert station.listed("--state", "acknowledged") == ["v2-1"]
    assert station.listed("--all") == ["v2-3", "v2-2", "v2-1", "v2-0"]


def test_an_alert_that_another_console_spoiled_hides_no_other(station: Station) -> None:
    for name in ("spoiled-odd", "spoiled-late", "spoiled-deep", "spoiled"):
        station.put(verdict(name))
    station.set_state("spoiled-odd", "lost")
    with redis.Redis.from_url(station.url) as client:
        client.hset("mdss:alert:spoiled-late", "at_ns", "2026-11-28T01:00:00")
        client.hset("mdss:alert:spoiled-deep", "verdict", '{"more":' + "[" * 100_000)
        client.set("mdss:alert:no-hash", "of another program")
        client.xadd(f"mdss:alerts:{load_settings(station.config).station.name}", {"result_id": "no-hash"})
    result = station.run("list", "--json", "--all")
    assert [each["result_id"] for each in json.loads(result.stdout)] == ["spoiled", "spoiled-late"]
    for name in ("spoiled-odd", "spoiled-deep", "no-hash"):
        assert f"mdss: left out: Redis key mdss:alert:{name}: " in result.stderr
    assert "WRONGTYPE" in str(station.run("show", "no-hash").exception)


def test_an_alert_whose_time_another_console_spoiled_is_named_and_shown_by_no_traceback(station: Station) -> None:
    station.put(verdict("spoiled-time"))
    with redis.Redis.from_url(station.url) as client:
        client.hset("mdss:alert:spoiled-time", "stored_ns", "9" * 30)
    refusal = station.run("show", "spoiled-time").exception
    assert isinstance(refusal, MdssError) and str(refusal).startswith("Redis key mdss:alert:spoiled-time: ")


def test_pages_follow_one_another_without_gap_or_overlap(station: Station) -> None:
    names = [f"v3-{number:03}" for number in range(250)]
    for name in names:
        station.put(verdict(name))
    for name in names[::2]:
        station.set_state(name, "confirmed")
    seen = station.listed("--limit", "60")
    while page := station.listed("--limit", "60", "--before", seen[-1]):
        seen += page
    assert seen == names[1::2][::-1]
    assert station.run("list", "--before", seen[-1]).stdout == "no alerts in state new below this one\n"


@pytest.mark.parametrize("limit", [1, 100, 101, 250])
def test_a_list_is_as_long_as_was_asked_if_there_are_so_many(station: Station, limit: int) -> None:
    names = [f"v{limit}-of-{number:03}" for number in range(260)]
    for name in names:
        station.put(verdict(name))
    for name in names[-5:]:
        station.set_state(name, "confirmed")
    assert station.listed("--limit", str(limit)) == names[-6 : -6 - limit : -1]


def test_what_a_console_said_of_a_part_that_has_no_alert_yet_is_no_alert(station: Station) -> None:
    station.set_state("early", "confirmed")
    assert sentence_of(station.run("show", "early")).startswith("found no alert early; expected one of those")


def test_what_json_prints_is_read_back_as_it_was_stored(station: Station) -> None:
    station.put(verdict("v4"), PNG)
    (listed,) = msgspec.json.decode(station.run("list", "--json").stdout, type=list[Alert])
    shown = msgspec.json.decode(station.run("show", "v4", "--json").stdout, type=Alert)
    assert listed == shown
    assert (shown.verdict, shown.state, shown.has_picture) == (verdict("v4"), "new", True)


def test_show_says_everything_with_regions_in_mm(station: Station) -> None:
    station.put(verdict("v5"), PNG)
    result = station.run("show", "v5")
    assert result.exit_code == 0, result.output
    for word in (
        "part of v5", "NotOK", "score 7.5 is above the threshold 3", "7.5 / 3", "10.0%", "frame of v5",
        "sdf at 1.0, -2.5, 300.0 mm, 12.5 mm2 (90 px), box 9 x 10 px at 3, 4 px, peak 8", "picture         yes",
    ):  # fmt: skip
        assert word in result.stdout


def test_show_says_with_each_time_that_it_is_utc_because_no_title_does(station: Station) -> None:
    station.put(verdict("timed"))
    station.run("reject", "timed", "--by", "anna")
    shown = station.run("show", "timed").stdout
    for name in ("captured", "received", "judged", "in Redis since", "said by"):
        assert re.search(rf"^{name} .*\d\d:\d\d:\d\d UTC$", shown, re.MULTILINE), shown


def test_show_keeps_the_note_of_a_console_that_did_not_say_who_wrote_it(station: Station) -> None:
    station.put(verdict("unsigned"))
    with redis.Redis.from_url(station.url) as client:
        client.hset("mdss:alert:unsigned", mapping={"state": "confirmed", "note": "dent at the rim"})
    assert "said by         unknown: dent at the rim\n" in station.run("show", "unsigned").stdout


def test_what_another_console_wrote_is_shown_in_letters_and_obeyed_by_no_terminal(station: Station) -> None:
    loud = verdict("loud")
    station.put(msgspec.structs.replace(loud, times=msgspec.structs.replace(loud.times, captured=10**25)))
    with redis.Redis.from_url(station.url) as client:
        client.hset("mdss:alert:loud", mapping={"by": "x\nstate   new", "note": "\x1b]0;mine\x07\x1b[2J"})
        client.xadd(f"mdss:alerts:{load_settings(station.config).station.name}", {"result_id": "\x1b[31mred"})
        client.copy("mdss:alert:loud", "mdss:alert:\x1b[31mred")
    shown = station.run("show", "loud").stdout
    assert "said by         x\\nstate   new: \\x1b]0;mine\\x07\\x1b[2J\n" in shown
    assert f"captured        {10**25} ns\n" in shown
    listed = station.run("list")
    assert (listed.exit_code, "\\x1b[31mred " in listed.stdout, "\x1b" in listed.stdout) == (0, True, False)


def test_show_of_a_part_that_was_not_judged_has_no_score_and_no_regions(station: Station) -> None:
    station.put(undefined("v6"))
    text = station.run("show", "v6").stdout
    assert "Undefined LATE" in text
    assert "region" not in text
    assert "picture         none" in text


def test_the_picture_is_written_as_it_was_stored(station: Station, tmp_path: Path) -> None:
    station.put(verdict("v7"), PNG)
    result = station.run("show", "v7", "--picture", str(tmp_path / "part.png"))
    assert result.exit_code == 0, result.output
    assert (tmp_path / "part.png").read_bytes() == PNG


def test_a_disk_that_does_not_take_the_picture_keeps_the_one_of_before(station: Station, tmp_path: Path) -> None:
    station.put(verdict("full"), PNG)
    picture = tmp_path / "pictures" / "part.png"
    picture.parent.mkdir()
    picture.write_bytes(b"before")
    largest = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(PNG) - 1, largest[1]))
    try:
        said = sentence_of(station.run("show", "full", "--picture", str(picture)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, largest)
    assert said == f"{picture}: the picture cannot be written (File too large)"
    assert list(picture.parent.iterdir()) == [picture] and picture.read_bytes() == b"before"


def sentence_of(result: Result) -> str:
    """Return the sentence that a verb refused with."""
    assert isinstance(result.exception, MdssError)
    return str(result.exception)


def test_each_refusal_is_one_sentence(station: Station, tmp_path: Path) -> None:
    station.put(verdict("v8"))
    station.put(verdict("v9"), PNG)
    assert "found no alert nobody; expected one of those" in sentence_of(station.run("show", "nobody"))
    assert "found no alert nobody" in sentence_of(station.run("list", "--before", "nobody"))
    assert "--state, --all: found both, expected one of them" in sentence_of(station.run("list", "--state", "confirmed", "--all"))
    assert "alert v8 has no picture" in sentence_of(station.run("show", "v8", "--picture", str(tmp_path / "x.png")))
    assert "cannot be written (No such file" in sentence_of(station.run("show", "v9", "--picture", str(tmp_path / "no" / "x.png")))
    station.set_state("v8", "eaten")
    assert "Redis key mdss:alert:v8: " in sentence_of(station.run("show", "v8"))


def test_an_alert_whose_hash_redis_has_evicted_is_left_out(station: Station) -> None:
    station.put(verdict("v10"))
    station.put(verdict("v11"))
    with redis.Redis.from_url(station.url) as client:
        client.delete("mdss:alert:v10")
    assert station.listed("--all") == ["v11"]


def test_while_redis_is_away_the_verb_fails_with_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(cli.VERBS, "alerts", ("daemon.alert_verbs:alerts", ""))
    config = tmp_path / "station.yaml"
    config.write_text(yaml.safe_dump({"alerts": {"redis_url": f"unix://{tmp_path}/nobody.sock", "timeout_s": 1}}))
    assert cli.main(["alerts", "list", "--config", str(config)]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"mdss: Redis at unix://{tmp_path}/nobody.sock does not answer (")
    assert printed.err.count("\n") == 1


@pytest.mark.parametrize("verb", ["show", "ack", "confirm", "reject"])
def test_an_example_does_not_look_as_if_the_beginning_of_an_id_would_do(verb: str) -> None:
    assert f"Example: mdss alerts {verb} RESULT_ID " in CliRunner().invoke(alerts, [verb, "--help"]).stdout
