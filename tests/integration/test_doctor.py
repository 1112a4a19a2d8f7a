"""The verb doctor on real Redis servers, on a folder in memory, and on a station that runs in a place with next to no shared memory."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
import pytest
from click.testing import CliRunner

from daemon.doctor import read_journal
from daemon.doctor_disk import disk_findings
from daemon.doctor_machine import SHARED_MEMORY
from daemon.doctor_redis import redis_findings
from daemon.finding import Case, Finding
from daemon.private_redis import PrivateRedis
from demo.station import wait_until_ready
from mdss.cli import main, mdss
from mdss.journal import Journal
from mdss.settings import Settings, StationSettings, load_settings
from tests.alert_line import client_of
from tests.alerts import settings
from tests.parts import accepted, verdict
from tests.station import GOOD, PAINTED, PATIENCE_S, Station, Trained, site, wait_until

pytestmark = pytest.mark.timeout(180)
Found = dict[str, Finding]


def told(server: PrivateRedis, **alerts: Any) -> Found:
    """Return what is said of a Redis, by subject."""
    findings = list(redis_findings(Case(settings(server.url, **alerts))))
    assert len({finding.subject for finding in findings}) == len(findings)
    return {finding.subject: finding for finding in findings}


def levels(found: Found) -> dict[str, str]:
    return {subject: finding.level for subject, finding in found.items()}


def test_a_redis_as_the_pages_ask_for_it_is_well(tmp_path: Path) -> None:
    options = ("--appendonly", "yes", "--maxmemory", "1gb", "--maxmemory-policy", "noeviction")
    with PrivateRedis(tmp_path, *options) as server:
        found = told(server)
        assert len(found) == 5 and set(levels(found).values()) == {"ok"}
        with client_of(server) as client:
            assert client.keys("*") == []


def test_a_redis_that_keeps_nothing_and_has_no_limit_is_weak(tmp_path: Path) -> None:
    with PrivateRedis(tmp_path, "--maxmemory-policy", "allkeys-lru") as server:
        found = told(server)
    weak = {"Redis persistence", "Redis maxmemory-policy", "Redis room"}
    assert levels(found) == {"Redis": "ok", "Redis version": "ok"} | dict.fromkeys(weak, "weak")
    assert "keeps nothing on its disk" in found["Redis persistence"].found
    assert "a restart of Redis loses every alert" in found["Redis persistence"].why
    assert found["Redis maxmemory-policy"].found == "allkeys-lru, expected noeviction"
    assert found["Redis room"].found.startswith("no maxmemory; ")


def test_a_redis_with_snapshots_only_is_weak(tmp_path: Path) -> None:
    with PrivateRedis(tmp_path, "--save", "3600", "1") as server:
        found = told(server)["Redis persistence"]
    assert (found.level, found.found) == ("weak", "appendonly no, snapshots only (save 3600 1)")


def test_a_redis_that_is_nearly_full_is_weak_and_a_full_one_is_bad(server: PrivateRedis) -> None:
    with client_of(server) as client:
        used = client.info("memory")["used_memory"]
        client.config_set("maxmemory", int(used * 1.15))
        assert told(server)["Redis room"].level == "weak"
        client.config_set("maxmemory", used // 2)
        assert told(server)["Redis room"].level == "bad"


@pytest.mark.parametrize(
    ("options", "words", "advice"),
    [
        (("--requirepass", "secret"), "refused the password", "correct the file of alerts.password_file"),
        (("--replicaof", "127.0.0.1", "1"), "is a replica that takes no alerts", "point alerts.redis_url at the primary"),
    ],
)
def test_a_redis_that_takes_no_alerts_is_bad(tmp_path: Path, options: tuple[str, ...], words: str, advice: str) -> None:
    with PrivateRedis(tmp_path, *options) as server:
        found = told(server)
    assert levels(found) == {"Redis": "bad"}
    assert words in found["Redis"].found and advice in found["Redis"].advice


def test_a_redis_that_is_away_is_bad(tmp_path: Path) -> None:
    found = told(PrivateRedis(tmp_path))["Redis"]
    assert found.level == "bad"
    assert "does not answer" in found.found and found.advice == "start it, or correct alerts.redis_url"


def test_a_redis_that_could_not_save_is_bad(tmp_path: Path) -> None:
    with (
        PrivateRedis(tmp_path / "redis", "--save", "3600", "1", "--stop-writes-on-bgsave-error", "no") as server,
        client_of(server) as client,
    ):
        (tmp_path / "gone").mkdir()
        client.config_set("dir", str(tmp_path / "gone"))
        (tmp_path / "gone").rmdir()
        client.bgsave()
        while client.info("persistence")["rdb_bgsave_in_progress"]:
            pass
        assert told(server)["Redis persistence"].level == "bad"
        client.config_set("save", "")  # else it would not end


def test_a_user_with_the_rights_of_the_station_alone_is_told_what_it_may_not_see(server: PrivateRedis, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("pw")
    with client_of(server) as client:
        client.execute_command("ACL", "SETUSER", "mdss", "on", ">pw", "~mdss:*", "+@read", "+@write", "+@scripting", "+@connection")
        own = PrivateRedis(server.socket_path.parent)
        case = Case(settings(own.url.replace("unix://", "unix://mdss@"), password_file=str(tmp_path / "password")))
        assert [(found.subject, found.level) for found in redis_findings(case)] == [("Redis", "ok"), ("Redis settings", "weak")]
        client.execute_command("ACL", "SETUSER", "mdss", "+info", "+config|get")
        assert len(list(redis_findings(case))) == 5


def test_a_journal_in_memory_is_bad() -> None:
    if not Path("/", SHARED_MEMORY).is_dir():
        pytest.skip("this machine has no /dev/shm, the one place of which it is known that it lies in memory")
    with TemporaryDirectory(dir=Path("/", SHARED_MEMORY)) as folder:
        found = list(disk_findings(Case(Settings(station=StationSettings(state_directory=f"{folder}/state")))))
    assert found[0].level == "bad" and found[0].found == f"{folder}/state lies in memory (tmpfs)"


def test_settings_that_are_wrong_end_with_code_two(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "station.yaml"
    path.write_text("camera:\n  credits: 4\n")
    assert main(["doctor", "--config", str(path)]) == 2
    assert f"mdss: {path}:2: camera.credits: found an unknown key" in capsys.readouterr().err


def test_keys_that_the_station_would_refuse_end_with_code_two(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "station.yaml"
    path.write_text("security:\n  server_key_file: none.key_secret\n  client_keys: .\n")
    assert main(["doctor", "--config", str(path)]) == 2
    assert f"mdss: {path}:2: security.server_key_file: {tmp_path}/none.key_secret: found no readable file" in capsys.readouterr().err


def test_a_station_that_never_ran_is_looked_at_and_nothing_is_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "station.yaml"
    path.write_text("station: {name: line-3}\nalerts: {redis_url: 'unix:///nowhere/redis.sock'}\nhttp: {port: 1}\n")
    assert main(["doctor", "--config", str(path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if "Redis at unix:///nowhere/redis.sock does not answer" in line] == ["bad"]
    assert "champion: no such model; expected one made by `mdss train" in "\n".join(lines)
    assert lines[-1].startswith("line-3: ") and lines[-1].endswith(" 2 bad")
    assert list(tmp_path.iterdir()) == [path]


def test_a_damaged_journal_is_bad_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "station.yaml"
    path.write_text("station: {state_directory: .}\n")
    (tmp_path / "journal.sqlite").write_bytes(b"no journal" * 100)
    result = CliRunner().invoke(mdss, ["doctor", "--config", str(path), "--json"])
    journal = json.loads(result.stdout)["findings"][0]
    assert (result.exit_code, journal["subject"], journal["level"]) == (1, "journal", "bad")
    assert (tmp_path / "journal.sqlite").read_bytes() == b"no journal" * 100


def journal_finding(config: Path) -> dict[str, str]:
    """Return what the verb says of the journal, from its JSON."""
    result = CliRunner().invoke(mdss, ["doctor", "--config", str(config), "--json"])
    assert result.exit_code == 1
    finding: dict[str, str] = json.loads(result.stdout)["findings"][0]
    return finding


@pytest.mark.parametrize("name", ["judged", "open"])
def test_a_damaged_page_of_the_journal_is_bad_with_what_it_costs_and_what_to_do(tmp_path: Path, name: str) -> None:
    (config := tmp_path / "station.yaml").write_text("station: {state_directory: .}\n")
    with closing(Journal(path := tmp_path / "journal.sqlite")) as journal:
        journal.judge(verdict(accepted("judged", 100)))
        for number in range(20):  # fill the page of the first
            journal.accept(accepted(f"later-{number}", 100))
        journal.accept(accepted("open", 100))
    content = path.read_bytes()
    page = content.index(b'"frame_id":"%s"' % name.encode()) // 4096 * 4096
    path.write_bytes(content[:page] + bytes(4096) + content[page + 4096 :])
    finding = journal_finding(config)
    assert (finding["level"], finding["found"]) == ("bad", f"journal {path}: database disk image is malformed")
    assert "can neither be shown nor delivered" in finding["why"]
    assert "put the last backup in its place" in finding["advice"] and "own user" not in finding["advice"]


def test_only_a_user_who_may_not_open_the_journal_is_sent_to_the_one_who_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(sqlite3.connect(path := tmp_path / "journal.sqlite")) as other:
        other.execute("CREATE TABLE foreign_table (number)")
    for may, advice in ((True, "see docs/operations.md"), (False, "run mdss doctor as the station's own user")):
        monkeypatch.setattr("os.access", lambda path, mode, may=may: may)
        finding, _ = read_journal(path)
        assert (finding.level, finding.advice) == ("bad", advice)


@contextmanager
def little_shared_memory(config: Path) -> Iterator[Settings]:
    """Run a station for which /dev/shm is full and read-only where the machine lets a test arrange that, and as it is elsewhere."""
    unshare = [shutil.which("unshare") or "unshare", "--mount", "--map-root-user", "sh", "-c"]
    arranged = [*unshare, f'mount -t tmpfs -o ro,size=4k none /{SHARED_MEMORY} && exec "$@"', "sh"]
    can = shutil.which("unshare") and not subprocess.run([*arranged, "true"], capture_output=True, check=False).returncode
    settings, log = load_settings(config), config.with_name("station.log")
    with log.open("wb") as output:
        command = [*(arranged if can else ()), sys.executable, "-m", "mdss.cli", "run", "--config", str(config)]
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        wait_until_ready(settings, process, log)
        yield settings
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture(scope="module")
def station(trained: Trained, redis_server: PrivateRedis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Station]:
    cpu = {"rgb": {"device": "cpu"}, "sdf": {"device": "cpu"}}
    with (
        site(trained, redis_server.url, tmp_path_factory.mktemp("small"), branches=cpu) as place,
        little_shared_memory(place.config) as own,
    ):
        running = Station(place.config, own, trained)
        with running.camera("cam") as camera:
            for part in GOOD + PAINTED:
                running.send(camera, part)
            assert camera.wait_until_done(PATIENCE_S)
        with closing(Journal(Path(own.station.state_directory) / "journal.sqlite")) as journal:
            wait_until(lambda: not journal.undelivered(1))
        yield running


def test_a_station_judges_without_any_shared_memory(station: Station) -> None:
    assert [verdict.evaluation for verdict in station.verdicts("cam")] == ["OK"] * len(GOOD) + ["NotOK"] * len(PAINTED)
    (supervisor,) = {psutil.Process(process.pid).ppid() for process in station.report.processes}
    for pid in (supervisor, *(station.pid(process.name) for process in station.report.processes)):
        mapped = Path(f"/proc/{pid}/maps").read_text()
        opened = list(open_files(pid))
        assert mapped and opened
        assert not [place for place in (*mapped.splitlines(), *opened) if f"/{SHARED_MEMORY}" in place]


def open_files(pid: int) -> Iterator[str]:
    """Yield what a process has open and does not close meanwhile."""
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            yield str(file.readlink())


def test_nothing_is_bad_about_a_station_that_runs_and_the_exit_code_says_so(station: Station) -> None:
    result = CliRunner().invoke(mdss, ["doctor", "--config", str(station.config), "--json"])
    told = json.loads(result.stdout)
    bad = [finding for finding in told["findings"] if finding["level"] == "bad"]
    assert (result.exit_code, told["station"], bad) == (0, "small0", [])
    by_subject = {finding["subject"]: finding for finding in told["findings"]}
    assert by_subject["station"]["found"].startswith("running for ")
    assert by_subject["journal"]["found"].endswith("5 verdicts so far, 0 parts under way, 0 alerts that wait for Redis")
    assert by_subject["model flange"]["level"] == by_subject["Redis"]["level"] == by_subject["deadline"]["level"] == "ok"
    assert by_subject["open files"]["found"].endswith("for the station's processes")


def test_a_person_reads_why_and_what_to_do_below_each_weak_point(station: Station) -> None:
    result = CliRunner(env={"COLUMNS": "80"}).invoke(mdss, ["doctor", "--config", str(station.config)])
    lines = result.stdout.splitlines()
    (at,) = [number for number, line in enumerate(lines) if line.startswith("weak  Redis persistence")]
    assert [line.split(":")[0].strip() for line in lines[at + 1 : at + 3]] == ["why", "do"]
    assert result.exit_code == 0
