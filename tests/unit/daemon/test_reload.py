"""A reload: all of a changed file or nothing of it, said in words; and the file of the settings in force."""

from __future__ import annotations

import re
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

from daemon.reload import APPLIED_BY, SettingsReloader, values_of, write_settings
from mdss.errors import BadInput, MdssError
from mdss.settings import FusionSettings, Settings, StationSettings, load_settings
from tests.fakes import FakeClock
from workers.fusion import configuration_id

ROOT = Path(__file__).parents[3]
OPERATIONS, DEFAULTS = ROOT / "docs" / "operations.md", ROOT / "config" / "default.yaml"
FILE = "station:\n  state_directory: state\n  runtime_directory: run\n"


class Place:
    """A station's file, and the reloading of a station that runs with it."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "station.yaml"
        self.config.write_text(FILE)
        (folder / "run").mkdir()
        self.clock = FakeClock()
        self.reloading = SettingsReloader(self.config, load_settings(self.config), self.clock.ns)

    def in_force(self) -> Settings:
        """Return what a process reads that is started now."""
        return load_settings(self.reloading.file)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_every_key_of_the_settings_has_a_row_that_says_what_a_change_of_it_needs() -> None:
    assert [key for key, _ in values_of(Settings())] == list(APPLIED_BY)


def test_the_page_on_operations_names_the_keys_that_a_reload_takes_over_and_who_does() -> None:
    section = OPERATIONS.read_text("utf-8").partition("\n## Reload\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([a-z0-9_.]+)` \| ([^|]+?) \|", section, re.MULTILINE)
    assert rows == [(key, taker) for key, taker in APPLIED_BY.items() if taker != "restart"]


def keys_meant(sections: str, rule: str) -> set[str]:
    """Return which keys the head of default.yaml means by one of its rules, such as `all but enabled`."""
    but = rule.removeprefix("all but ") if rule.startswith("all but ") else ""
    names = ["*"] if rule.startswith("all") else rule.split(", ")
    known = [key for key in APPLIED_BY if key.split(".")[0] in sections.split(", ")]
    return {key for key in known for name in names if fnmatch(key, f"*.{name}") and not (but and key.endswith(f".{but}"))}


def test_the_default_settings_say_in_their_head_what_a_reload_takes_over() -> None:
    rules = re.findall(
        r"(?:^#|  ) {2,}(\w+(?:, \w+)*): (.+?)(?=   |$)", DEFAULTS.read_text("utf-8").partition("\nstation:")[0], re.MULTILINE
    )
    assert len(rules) == 5
    assert set().union(*(keys_meant(*each) for each in rules)) == {key for key, taker in APPLIED_BY.items() if taker != "restart"}


@pytest.mark.parametrize("name", ["line-3", "yes", "null", "1:30", "1e3", "0x1F", "007", "."])
def test_settings_are_read_back_as_they_were_written(tmp_path: Path, name: str) -> None:
    place = StationSettings(name=name, state_directory="/var/\x85ä😀 #1: {x}\\", runtime_directory=str(tmp_path))
    (tmp_path / "s.yaml").write_text(yaml.safe_dump({"station": {"name": name, "state_directory": place.state_directory}}))
    settings = load_settings(tmp_path / "s.yaml")
    write_settings(settings, tmp_path / "written.yaml")
    read = load_settings(tmp_path / "written.yaml")
    assert read == settings
    assert configuration_id(read) == configuration_id(settings)


@pytest.mark.parametrize("ratio", [0.0, 1e-7, 5e-324, 0.1, 1 / 3, 1.0])
def test_numbers_are_read_back_to_the_last_bit(tmp_path: Path, ratio: float) -> None:
    write_settings(Settings(fusion=FusionSettings(guard_band_ratio=ratio)), tmp_path / "written.yaml")
    assert load_settings(tmp_path / "written.yaml").fusion.guard_band_ratio == ratio


def test_the_file_in_force_is_readable_for_the_station_s_group_alone_and_nothing_lies_beside_it(place: Place) -> None:
    assert place.in_force() == place.reloading.settings
    assert place.reloading.file.stat().st_mode & 0o137 == 0
    assert place.reloading.file.stat().st_mode & 0o400
    assert list(place.reloading.file.parent.iterdir()) == [place.reloading.file]


def test_an_unfinished_file_of_a_life_that_was_killed_is_no_obstacle(place: Place) -> None:
    place.reloading.file.with_suffix(".unfinished").write_text("station: {na")
    assert place.reloading.reload().is_applied


def test_keys_that_can_be_taken_over_are(place: Place) -> None:
    place.config.write_text(f"{FILE}camera: {{credit: 2}}\nfusion:\n  guard_band_ratio: 0.25\n")
    report = place.reloading.reload()
    assert (report.is_applied, report.reason, report.keys) == (True, "", ("camera.credit", "fusion.guard_band_ratio"))
    assert report.at_ns == place.clock.ns()
    assert place.reloading.settings == place.in_force() == load_settings(place.config)
    assert place.in_force().camera.credit == 2


def test_a_file_that_says_the_same_is_taken_over_and_changes_no_key(place: Place) -> None:
    place.config.write_text(f"# as before\n{FILE}")
    assert (place.reloading.reload().is_applied, place.reloading.reload().keys) == (True, ())


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (f"{FILE}camera:\n  credit: 0\n", "station.yaml:5: camera.credit: found 0, expected a whole number from 1 to 64"),
        (f"{FILE}camera: [\n", "station.yaml:5: found no valid YAML"),
        ("", "station.yaml:1: found an empty file"),
        (f"{FILE}alerts: {{redis_url: 'redis://[:::]/0'}}\n", "alerts.redis_url redis://[:::]/0"),
    ],
)
def test_a_broken_file_changes_nothing_and_is_named_with_its_place(place: Place, content: str, sentence: str) -> None:
    before = place.reloading.settings
    place.config.write_text(content)
    report = place.reloading.reload()
    assert not report.is_applied
    assert sentence in report.reason
    assert place.reloading.settings == place.in_force() == before


def test_a_file_that_is_gone_changes_nothing(place: Place) -> None:
    place.config.unlink()
    report = place.reloading.reload()
    assert (report.is_applied, place.in_force()) == (False, place.reloading.settings)
    assert "found no readable file" in report.reason


def test_one_key_that_needs_a_restart_holds_all_back_and_exactly_such_keys_are_named(place: Place) -> None:
    before = place.reloading.settings
    place.config.write_text(f"{FILE}camera: {{credit: 2}}\nmodels: {{store: elsewhere}}\nhttp: {{port: 9000}}\n")
    report = place.reloading.reload()
    assert (report.is_applied, report.reason) == (False, "needs a restart: http.port, models.store")
    assert report.keys == ("camera.credit", "http.port", "models.store")
    assert place.reloading.settings == place.in_force() == before


def test_what_a_check_lets_pass_is_read_by_the_processes_however_long_the_file_is(place: Place) -> None:
    names = [f"recipe-{number:07}" for number in range(2_047)]
    place.config.write_text(f"{FILE}models: {{recipes: [{','.join(names[:1_700])}]}}\n")
    assert place.reloading.reload().is_applied
    assert place.in_force() == place.reloading.settings
    place.config.write_text(f"{FILE}models: {{recipes: [{','.join(names)}]}}\n")
    report = place.reloading.reload()
    assert re.search(r"station\.yaml:1: found settings of \d+ bytes once every key is written out, expected at most 32768", report.reason)
    assert len(place.in_force().models.recipes) == 1_700


def test_settings_that_cannot_be_written_for_the_processes_are_not_taken_over(place: Place) -> None:
    before = place.reloading.settings
    place.config.write_text(f"{FILE}camera: {{credit: 2}}\n")
    place.reloading.file.with_suffix(".unfinished").mkdir()
    report = place.reloading.reload()
    assert not report.is_applied
    assert "settings.yaml cannot be written" in report.reason
    assert place.reloading.settings == place.in_force() == before


def test_a_start_without_room_for_the_settings_is_no_fault_of_the_settings(place: Place) -> None:
    place.reloading.file.with_suffix(".unfinished").mkdir()
    with pytest.raises(MdssError, match=r"settings\.yaml cannot be written") as refused:
        SettingsReloader(place.config, place.reloading.settings)
    assert not isinstance(refused.value, BadInput)  # whose exit code says: do not start it again


def test_a_mended_file_is_taken_over_after_a_broken_one(place: Place) -> None:
    place.config.write_text("camera: {credit: many}\n")
    assert not place.reloading.reload().is_applied
    place.config.write_text(f"{FILE}camera: {{credit: 3}}\n")
    assert place.reloading.reload().keys == ("camera.credit",)
    assert place.in_force().camera.credit == 3
