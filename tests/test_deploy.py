"""What deploy/ promises: units that systemd accepts, and rules that name only what exists."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import yaml

from daemon import supervisor
from daemon.metric_descriptions import DESCRIPTIONS
from daemon.process_table import process_table, processes
from mdss import cli
from mdss.settings import Settings, load_settings
from tests.pages import options_of, verb_of
from tests.units import DEPLOY, UNITS, start_line, unit
from trainer.retrain_outcome import EXIT_CODES

pytestmark = pytest.mark.timeout(120)
ROOT = Path(__file__).resolve().parents[1]
MDSS = "/opt/mdss/.venv/bin/mdss"
WORST_EXPOSURE = 2.0  # of 10; "OK" begins below 5


def seconds(text: str) -> float:
    """Return a unit's time span in seconds."""
    return float(text[:-1]) * 3600 if text.endswith("h") else float(text)


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_parses_and_says_what_it_is(name: str) -> None:
    sections = unit(name)
    assert sections["Unit"]["Description"].startswith("MDSS ")
    assert set(sections) <= {"Unit", "Service", "Timer", "Install"}


def test_the_units_start_verbs_that_exist_with_options_that_they_take() -> None:
    assert start_line("mdss.service")[0] == MDSS
    for name in ("mdss.service", "mdss-retrain@.service"):
        words = start_line(name)
        words = words[words.index(MDSS) + 1 :]
        command = verb_of(words)
        assert {word for word in words if word.startswith("--")} <= options_of(command)


def test_the_station_is_told_apart_from_a_dead_one_and_stopped_by_its_supervisor_alone() -> None:
    service = unit("mdss.service")["Service"]
    assert (service["Type"], service["NotifyAccess"], service["KillMode"]) == ("notify", "main", "mixed")
    assert service["RestartPreventExitStatus"] == str(cli.MISUSED)
    assert service["Restart"] == "on-failure"


def test_a_reload_checks_the_file_that_the_station_reads_and_then_tells_the_supervisor_alone() -> None:
    check, tell = (line.split() for line in unit("mdss.service")["Service"]["ExecReload"].splitlines())
    assert check == [MDSS, "check", start_line("mdss.service")[-1]]
    verb_of(check[1:])
    assert tell == ["/bin/kill", "-HUP", "$MAINPID"]


def test_systemd_waits_longer_than_the_station_takes_to_start_and_to_drain() -> None:
    limits, service = Settings().supervisor, unit("mdss.service")["Service"]
    count = len(processes(process_table(Settings()), Path("station.yaml")))
    drain_s = limits.drain_timeout_s + 2 * supervisor.STOP_GRACE_S * (count + 1)
    assert seconds(service["TimeoutStopSec"]) > drain_s
    assert seconds(service["TimeoutStartSec"]) > 2 * limits.ready_timeout_s
    assert seconds(service["WatchdogSec"]) > limits.stall_timeout_s


def test_the_example_settings_lie_where_the_unit_lets_the_station_write() -> None:
    settings, service = load_settings(ROOT / "config" / "station.example.yaml"), unit("mdss.service")["Service"]
    state, run = f"/var/lib/{service['StateDirectory']}", f"/run/{service['RuntimeDirectory']}"
    assert settings.station.state_directory == state
    assert settings.models.store.startswith(f"{state}/")
    assert settings.station.runtime_directory == run
    for endpoint in (settings.camera.endpoint, settings.verdicts.endpoint, settings.verdicts.snapshot_endpoint):
        assert endpoint.startswith(f"ipc://{run}/")
    assert settings.alerts.password_file is not None
    assert settings.alerts.password_file.startswith(f"/etc/{service['ConfigurationDirectory']}/")


def test_a_fresh_install_asks_for_no_device_that_its_unit_keeps_away() -> None:
    branches, service = load_settings(ROOT / "config" / "station.example.yaml").branches, unit("mdss.service")["Service"]
    assert service["PrivateDevices"] == "yes" and {branches.rgb.device, branches.sdf.device} == {"auto"}


def test_torch_and_zeromq_may_do_in_the_sandbox_what_they_cannot_do_without() -> None:
    service = unit("mdss.service")["Service"]
    assert "MemoryDenyWriteExecute" not in service  # torch writes kernels while it runs
    assert "ProcSubset" not in service  # torch reads /proc/cpuinfo
    assert set(service["RestrictAddressFamilies"].split()) == {"AF_UNIX", "AF_INET", "AF_INET6", "AF_NETLINK"}  # ZeroMQ asks for interfaces


def test_the_training_gives_way_to_the_station() -> None:
    station, training = unit("mdss.service")["Service"], unit("mdss-retrain@.service")["Service"]
    assert (training["CPUSchedulingPolicy"], training["IOSchedulingClass"], training["Nice"]) == ("idle", "idle", "19")
    assert int(training["OOMScoreAdjust"]) > int(station["OOMScoreAdjust"])


def test_the_trainings_of_several_recipes_wait_for_each_other_by_a_lock_that_ends_with_the_command(tmp_path: Path) -> None:
    words, service = start_line("mdss-retrain@.service"), unit("mdss-retrain@.service")["Service"]
    before = words[: words.index(MDSS)]
    assert before == ["/usr/bin/flock", "--no-fork", f"/var/lib/{service['StateDirectory']}/retrain.lock"]  # not %i: one for all
    told = subprocess.run([*before[:-1], tmp_path / "lock", "sh", "-c", "kill -INT $$"], check=False)
    assert told.returncode == -signal.SIGINT  # the signals of systemd reach the command, and its end is the unit's


def test_a_training_that_is_stopped_is_told_once_as_by_ctrl_c() -> None:
    service = unit("mdss-retrain@.service")["Service"]
    assert (service["KillSignal"], service["KillMode"]) == ("SIGINT", "mixed")


def test_the_training_works_for_the_station_that_runs_and_may_write_where_that_has_its_state_and_its_models() -> None:
    words, service = start_line("mdss-retrain@.service"), unit("mdss-retrain@.service")["Service"]
    settings = load_settings(ROOT / "config" / "station.example.yaml")
    assert words[words.index("--config") + 1] == start_line("mdss.service")[-1]
    assert words[words.index("--recipe") + 1] == "%i"
    assert "--promote" not in words
    state = f"/var/lib/{service['StateDirectory']}"
    assert settings.station.state_directory == state and settings.models.store.startswith(f"{state}/")


def test_nothing_new_is_no_failure_for_systemd_and_whatever_somebody_has_to_look_at_is_one() -> None:
    ends = unit("mdss-retrain@.service")["Service"]["SuccessExitStatus"].split()
    assert ends == [str(EXIT_CODES["nothing_new"]), str(cli.INTERRUPTED), "SIGINT"]


def test_the_training_takes_the_options_that_its_file_gives() -> None:
    asked = set(re.findall(r"\$(\w+)", start_line("mdss-retrain@.service")[-1]))
    given = dict(line.split("=", 1) for line in (DEPLOY / "retrain.env").read_text().splitlines() if not line.startswith("#"))
    assert asked == set(given)
    options = given["MDSS_RETRAIN_OPTIONS"].split()
    assert {word for word in options if word.startswith("--")} <= options_of(verb_of(["retrain"]))


def test_the_timer_starts_the_training() -> None:
    assert (DEPLOY / "mdss-retrain@.timer").with_suffix(".service").is_file()
    assert unit("mdss-retrain@.timer")["Timer"]["OnCalendar"] == "Sun 02:00"


def test_the_rules_watch_metrics_that_exist() -> None:
    rules = yaml.safe_load((DEPLOY / "alert-rules.yaml").read_text())["groups"][0]["rules"]
    names = {name for rule in rules for name in re.findall(r"mdss_[a-z_]+", rule["expr"])}
    assert len(names) >= 8
    assert names <= DESCRIPTIONS.keys()
    assert all({"summary", "action"} <= set(rule["annotations"]) for rule in rules)


def test_no_rule_takes_a_retraining_that_never_succeeded_for_one_of_1970() -> None:
    text = (DEPLOY / "alert-rules.yaml").read_text()
    behind = re.findall(r"mdss_retrain_last_success_timestamp_seconds(.{0,6})", text)
    assert behind and all(re.match(r" (> 0\)|== 0\))", each) for each in behind)


def test_a_retraining_that_its_unit_would_have_ended_by_then_was_killed() -> None:
    rules = yaml.safe_load((DEPLOY / "alert-rules.yaml").read_text())["groups"][0]["rules"]
    (expression,) = (rule["expr"] for rule in rules if rule["alert"] == KILLED)
    (days,), hours = re.findall(r"> (\d+) \* 86400", expression), unit("mdss-retrain@.service")["Service"]["TimeoutStartSec"]
    assert int(days) * 24 >= int(hours.removesuffix("h"))


NO_SUCCESS, KILLED = "MdssRetrainNoSuccess", "MdssRetrainKilled"
PROMTOOL = shutil.which("promtool") or ""
FIRST, DAYS = 30, 50  # the day of the first attempt, long after 1970 began; how many are looked at
SUCCESS, ATTEMPT = ("mdss_retrain_last_success_timestamp_seconds", "mdss_retrain_last_attempt_timestamp_seconds")
OUTCOME = "mdss_retrain_outcome"


def daily(metric: str, recipe: str, seconds: list[int], more: str = "") -> dict[str, str]:
    """Return what a metric says on each day from the first attempt on, as promtool takes it; its first day is that of 1970."""
    return {"series": f'{metric}{{recipe="{recipe}"{more}}}', "values": " ".join(["_"] * FIRST + [str(each) for each in seconds])}


def promtool_agrees(folder: Path, alert: str, series: list[dict[str, str]], told: Mapping[int, Sequence[str]]) -> None:
    """Have promtool hold one rule against these series: on which day it tells of which recipes."""
    rules = yaml.safe_load((DEPLOY / "alert-rules.yaml").read_text())
    rules["groups"][0]["rules"] = [
        {"alert": rule["alert"], "expr": rule["expr"]} for rule in rules["groups"][0]["rules"] if rule["alert"] == alert
    ]
    checks = [
        {"eval_time": f"{FIRST + day}d", "alertname": alert, "exp_alerts": [{"exp_labels": {"recipe": each}} for each in recipes]}
        for day, recipes in told.items()
    ]
    (folder / "rules.yaml").write_text(yaml.safe_dump(rules))
    test = {"interval": "1d", "input_series": series, "alert_rule_test": checks}
    (folder / "test.yaml").write_text(yaml.safe_dump({"rule_files": ["rules.yaml"], "evaluation_interval": "1d", "tests": [test]}))
    done = subprocess.run([PROMTOOL, "test", "rules", str(folder / "test.yaml")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(not PROMTOOL, reason="promtool is not on this machine")
def test_three_weeks_without_a_good_retraining_are_told_whether_or_not_there_was_one_before(tmp_path: Path) -> None:
    weekly = [(FIRST + day // 7 * 7) * 86400 for day in range(DAYS)]
    series = [daily(ATTEMPT, recipe, weekly) for recipe in ("never", "once", "weekly")]
    series += [daily(SUCCESS, "never", [0] * DAYS), daily(SUCCESS, "once", [weekly[0]] * DAYS), daily(SUCCESS, "weekly", weekly)]
    told = dict.fromkeys((0, 1, 21), ()) | dict.fromkeys((22, 27, 28, 34, 49), ("never", "once"))
    promtool_agrees(tmp_path, NO_SUCCESS, series, told)


@pytest.mark.skipif(not PROMTOOL, reason="promtool is not on this machine")
def test_a_retraining_that_was_killed_is_told_after_three_days_until_the_next_begins(tmp_path: Path) -> None:
    weekly = [(FIRST + day // 7 * 7) * 86400 for day in range(DAYS)]
    series = [daily(ATTEMPT, recipe, weekly) for recipe in ("killed", "well")]
    series += [daily(OUTCOME, recipe, [running] * DAYS, ',outcome="running"') for recipe, running in (("killed", 1), ("well", 0))]
    promtool_agrees(tmp_path, KILLED, series, {0: (), 3: (), 4: ("killed",), 6: ("killed",), 7: (), 11: ("killed",)})


def test_by_hand_the_user_is_made_also_where_its_folder_is_not_there_yet() -> None:
    by_hand = (DEPLOY / "README.md").read_text().partition("### The same by hand")[2].partition("## ")[0]
    assert "sudo install -D -m 0644 deploy/mdss.sysusers.conf /etc/sysusers.d/mdss.conf && " in by_hand  # Debian has no such folder


ANALYZE = shutil.which("systemd-analyze", path="/usr/sbin:/usr/bin:/sbin:/bin") or ""
needs_systemd = pytest.mark.skipif(not ANALYZE, reason="systemd-analyze is not on this machine")


@pytest.fixture
def installed_units(tmp_path: Path) -> Path:
    """The units with their program replaced by one that is on every machine, because systemd-analyze looks for it."""
    for name in UNITS:
        (tmp_path / name).write_text((DEPLOY / name).read_text().replace(MDSS, "/bin/true"))
    return tmp_path


@needs_systemd
def test_systemd_finds_no_fault_in_the_units(installed_units: Path) -> None:
    paths = [str(installed_units / name) for name in UNITS]
    done = subprocess.run([ANALYZE, "verify", "--man=no", *paths], capture_output=True, text=True, check=False)
    ours = [line for line in done.stderr.splitlines() if "mdss" in line and "User= " not in line]
    assert ours == []


@needs_systemd
@pytest.mark.parametrize("name", ["mdss.service", "mdss@.service", "mdss-retrain@.service"])
def test_systemd_finds_the_sandbox_tight(installed_units: Path, name: str) -> None:
    command = [ANALYZE, "security", "--offline=true", f"--threshold={WORST_EXPOSURE * 10:.0f}", str(installed_units / name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "Unknown option" in done.stderr or "unrecognized option" in done.stderr:
        pytest.skip("systemd-analyze of this machine cannot judge a unit that is not installed")
    assert done.returncode == 0, done.stdout[-400:] + done.stderr
