"""deploy/'s scripts on an empty root: run twice, upgraded, refused and come back; what would need root or a network takes notes."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(120)
ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
SCRIPTS = ("install.sh", "upgrade.sh", "release.sh")
UNITS = ("mdss.service", "mdss@.service", "mdss-retrain@.service", "mdss-retrain@.timer")
TOOLS = "/usr/sbin:/usr/bin:/sbin:/bin"
SHELLCHECK = Path(sys.executable).parent / "shellcheck"
STUBS = {
    "id": 'case "$*" in -u) echo 0;; *) echo root;; esac',
    "systemd-sysusers": "true",
    "systemctl": 'echo "systemctl $* ($(readlink "$MDSS_ROOT/opt/mdss/.venv"))" >> "$LOG"',
    "runuser": 'shift 3; exec "$@"',
    # Only root may give a file to another user.
    "install": """
        arguments= skip=
        for word; do
            case $word in
            -o | -g) skip=yes ;;
            *) test -n "$skip" || arguments="$arguments $word"; skip= ;;
            esac
        done
        exec /usr/bin/install $arguments""",
    # Makes what the scripts need of a venv: a pip that notes what it is asked for, and a station that checks its settings.
    "python3": """
        test "$1" = -c && exit 0
        mkdir -p "$3/bin"
        printf '#!/bin/sh\\necho "pip $*" >> "$LOG"; test ! -e "$MDSS_ROOT/no-network"\\n' > "$3/bin/python"
        printf '#!/bin/sh\\ntest "$1" = check && grep -q station "$2"\\n' > "$3/bin/mdss"
        chmod +x "$3/bin/python" "$3/bin/mdss"
    """,
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_scripts_are_plain_sh(name: str) -> None:
    assert subprocess.run(["/bin/sh", "-n", str(DEPLOY / name)], capture_output=True, text=True, check=False).stderr == ""
    if name != "release.sh":
        assert "\nset -eu\n" in (DEPLOY / name).read_text()


def test_shellcheck_finds_nothing() -> None:
    done = subprocess.run([SHELLCHECK, "-x", *SCRIPTS], cwd=DEPLOY, capture_output=True, text=True, check=False)
    assert done.stdout + done.stderr == ""


class Machine:
    """An empty root on which the scripts run; what would need a real root or a network is a stub that takes notes."""

    def __init__(self, folder: Path) -> None:
        self.root, self.log, stubs = folder / "root", folder / "log", folder / "stubs"
        self.root.mkdir()
        stubs.mkdir()
        for name, script in STUBS.items():
            (stubs / name).write_text(f"#!/bin/sh\n{script}\n")
            (stubs / name).chmod(0o755)
        self.environment = {"PATH": f"{stubs}:{TOOLS}", "MDSS_ROOT": str(self.root), "LOG": str(self.log), "TMPDIR": str(folder)}

    def run(self, script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a script of deploy/."""
        self.log.write_text("")
        return subprocess.run(
            ["/bin/sh", str(DEPLOY / script), *arguments],
            env=self.environment | environment,
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def live(self) -> Path:
        """The release that runs."""
        return (self.root / "opt/mdss/.venv").readlink()

    @property
    def releases(self) -> set[Path]:
        """All releases; the names of two of the same second say nothing of their order."""
        return set((self.root / "opt/mdss/releases").iterdir())

    @property
    def settings(self) -> Path:
        """The station's settings."""
        return self.root / "etc/mdss/station.yaml"


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path)
    yield made
    left = [path.name for path in tmp_path.iterdir() if path.name not in ("root", "log", "stubs")]
    assert left == []  # no temporary copies stay behind


@pytest.fixture
def station(machine: Machine) -> Machine:
    """A machine with an installed station whose engineer has written something."""
    done = machine.run("install.sh")
    assert done.returncode == 0, done.stderr
    machine.settings.write_text("station: {name: mine}\n")
    (machine.root / "var/lib/mdss/journal.sqlite").write_text("precious")
    return machine


def test_install_puts_everything_in_its_place_and_starts_nothing(machine: Machine) -> None:
    done = machine.run("install.sh")
    assert done.returncode == 0, done.stderr
    assert machine.settings.read_text() == (ROOT / "config" / "station.example.yaml").read_text()
    for name in UNITS:
        assert (machine.root / "etc/systemd/system" / name).read_text() == (DEPLOY / name).read_text()
    assert (machine.live / "docs/operations.md").is_file()
    assert (machine.root / "var/lib/mdss/models").is_dir()
    notes = machine.log.read_text()
    assert "--constraint" in notes and "--only-binary :all: --no-build-isolation" in notes
    assert [line.split()[1] for line in notes.splitlines() if line.startswith("systemctl")] == ["daemon-reload"]


def test_install_names_the_check_as_the_stations_user_since_root_can_read_what_the_station_cannot(machine: Machine) -> None:
    said = machine.run("install.sh").stdout
    assert f"sudo -u mdss {machine.root}/opt/mdss/.venv/bin/mdss check {machine.settings} && " in said


def test_install_a_second_time_changes_nothing_that_was_written(station: Machine) -> None:
    before = station.live
    assert station.run("install.sh").returncode == 0
    assert (station.live, station.releases) == (before, {before})
    assert station.settings.read_text() == "station: {name: mine}\n"
    assert "pip" not in station.log.read_text()


def test_install_gives_nobody_the_folder_that_the_stations_user_links_to(station: Machine) -> None:
    models, secret = station.root / "var/lib/mdss/models", station.root / "root"
    secret.mkdir(0o700)
    models.rmdir()
    models.symlink_to(secret)
    assert station.run("install.sh").returncode == 0
    assert (models.readlink(), secret.stat().st_mode & 0o777) == (secret, 0o700)


def test_an_upgrade_switches_restarts_and_keeps_state_settings_and_the_release_before(station: Machine) -> None:
    first = station.live
    for _ in range(2):
        before = station.live
        done = station.run("upgrade.sh")
        assert done.returncode == 0, done.stderr
        assert station.live != before
        assert station.releases == {before, station.live}
        assert f"systemctl restart mdss ({station.live})" in station.log.read_text()
    assert not first.exists()
    assert station.settings.read_text() == "station: {name: mine}\n"
    assert (station.root / "var/lib/mdss/journal.sqlite").read_text() == "precious"


@pytest.fixture
def stations(station: Machine) -> Machine:
    """A machine with a second station."""
    station.settings.with_name("line-2.yaml").write_text("station: {name: line-2}\n")
    return station


def restarted(machine: Machine) -> list[str]:
    """Return which stations were started again, each followed by the release that was live then."""
    return re.findall(r"^systemctl restart (\S+ \(.*\))$", machine.log.read_text(), re.MULTILINE)


def test_an_upgrade_restarts_every_station_of_the_machine(stations: Machine) -> None:
    assert stations.run("upgrade.sh").returncode == 0
    assert restarted(stations) == [f"mdss@line-2 ({stations.live})", f"mdss ({stations.live})"]


def test_an_upgrade_that_refuses_the_settings_of_any_station_that_is_wanted_changes_nothing(stations: Machine) -> None:
    before, settings = stations.live, stations.settings.with_name("line-2.yaml")
    settings.write_text("of another age\n")
    done = stations.run("upgrade.sh")
    assert done.returncode == 1
    assert f"refuses {settings} (above); {before} stays" in done.stderr
    assert (stations.live, stations.releases, restarted(stations)) == (before, {before}, [])


def test_a_release_with_which_one_of_several_stations_does_not_come_up_makes_way_for_the_one_before(stations: Machine) -> None:
    before = stations.live
    spoil(stations, "restart", 'test "$2" != mdss')
    upgrade_in_vain(stations)
    assert restarted(stations)[2:] == [f"mdss@line-2 ({before})", f"mdss ({before})"]


def test_an_upgrade_of_a_station_that_neither_runs_nor_is_enabled_starts_nothing_and_says_so(station: Machine) -> None:
    (Path(station.environment["PATH"].partition(":")[0]) / "systemctl").write_text(
        '#!/bin/sh\ncase "$*" in *is-*) exit 1;; esac\necho "systemctl $*" >> "$LOG"\n'
    )
    done = station.run("upgrade.sh")
    assert done.returncode == 0 and "is in place; the station is neither enabled nor running" in done.stderr + done.stdout
    assert "restart" not in station.log.read_text()


def test_an_upgrade_that_refuses_the_settings_changes_nothing(station: Machine) -> None:
    before = station.live
    station.settings.write_text("of another age\n")
    done = station.run("upgrade.sh")
    assert done.returncode == 1
    assert f"refuses {station.settings} (above); {before} stays" in done.stderr
    assert (station.live, station.releases) == (before, {before})
    assert "systemctl" not in station.log.read_text()


def test_an_upgrade_that_cannot_be_built_changes_nothing(station: Machine) -> None:
    before = station.live
    (station.root / "no-network").touch()
    assert station.run("upgrade.sh").returncode != 0
    assert (station.live, station.releases) == (before, {before})


def spoil(machine: Machine, word: str, what: str) -> None:
    """Let something happen in place of one of systemd's answers to any release but the one that is live."""
    stub = Path(machine.environment["PATH"].partition(":")[0]) / "systemctl"
    is_before = f'test "$(readlink "$MDSS_ROOT/opt/mdss/.venv")" = {machine.live}'
    stub.write_text(f'{stub.read_text()}test "$1" != {word} || {is_before} || {what}\n')


def upgrade_in_vain(machine: Machine, why: str = "the new release did not start", last: str = "restart mdss") -> None:
    """Upgrade to a release that does not come to run: the one before is back, and nothing happens to it after the last words."""
    before = machine.live
    done = machine.run("upgrade.sh")
    assert done.returncode == 1
    assert f"{why}; {before} is back" in done.stderr
    assert (machine.live, machine.releases) == (before, {before})
    assert machine.log.read_text().splitlines()[-1] == f"systemctl {last} ({before})"


def test_a_release_that_does_not_come_up_makes_way_for_the_one_before(station: Machine) -> None:
    spoil(station, "restart", "false")
    upgrade_in_vain(station)


@pytest.mark.parametrize(("word", "signal", "last"), [("restart", "INT", "restart mdss"), ("daemon-reload", "TERM", "daemon-reload")])
def test_an_upgrade_that_is_interrupted_before_the_new_release_runs_brings_back_the_one_before(
    station: Machine, word: str, signal: str, last: str
) -> None:
    spoil(station, word, f"kill -{signal} $PPID")
    upgrade_in_vain(station, "the upgrade was interrupted", last)
    for name in UNITS:
        assert (station.root / "etc/systemd/system" / name).read_text() == (station.live / "deploy" / name).read_text()


@pytest.fixture
def station_before(station: Machine) -> Machine:
    """A station of a release that had one training for one recipe."""
    for folder in (station.live / "deploy", station.root / "etc/systemd/system"):
        for ending in ("service", "timer"):
            (folder / f"mdss-retrain@.{ending}").rename(folder / f"mdss-retrain.{ending}")
    return station


def units(machine: Machine) -> set[str]:
    return {path.name for path in (machine.root / "etc/systemd/system").iterdir()}


def test_an_upgrade_that_comes_up_takes_the_units_of_earlier_releases_away(station_before: Machine) -> None:
    done = station_before.run("upgrade.sh")
    assert done.returncode == 0, done.stderr
    assert units(station_before) == set(UNITS)
    notes = station_before.log.read_text()
    assert notes.index("systemctl restart mdss") < notes.index("systemctl disable --now mdss-retrain.timer") < notes.rindex("daemon-reload")


def test_a_release_with_other_units_comes_back_with_them_still_enabled(station_before: Machine) -> None:
    spoil(station_before, "restart", "false")
    upgrade_in_vain(station_before)
    assert {"mdss-retrain.service", "mdss-retrain.timer"} <= units(station_before)
    assert "systemctl disable" not in station_before.log.read_text()


def test_an_upgrade_of_nothing_says_to_install_first(machine: Machine) -> None:
    done = machine.run("upgrade.sh")
    assert done.returncode == 1
    assert "expected an installed station; run deploy/install.sh" in done.stderr


@pytest.mark.parametrize("script", ["install.sh", "upgrade.sh"])
def test_a_script_that_is_asked_for_help_does_nothing_but_say_where_it_is(machine: Machine, script: str) -> None:
    done = machine.run(script, "--help")
    assert (done.returncode, list(machine.root.iterdir())) == (1, [])
    assert "found the argument --help, expected none" in done.stderr and "deploy/README.md" in done.stderr


def test_the_scripts_want_root_and_a_python_that_is_new_enough(machine: Machine) -> None:
    assert "is no Python >= 3.11" in machine.run("install.sh", PYTHON="/bin/false").stderr
    stub = Path(machine.environment["PATH"].partition(":")[0]) / "id"
    stub.write_text("#!/bin/sh\necho 1000\n")
    assert "expected root" in machine.run("install.sh").stderr
