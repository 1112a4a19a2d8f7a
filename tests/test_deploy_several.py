"""What deploy/ promises of several stations on one machine: each has its own of everything, and each is retrained."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from string import Template

import pytest

from mdss.settings import load_settings
from tests.units import DEPLOY, start_line, unit

NAME, RECIPE = "line-2", "cable_gland"
ONLY = DEPLOY.parent / "config" / "station.example.yaml"


@pytest.fixture(scope="module")
def recipe() -> str:
    """The chapter on several stations."""
    return (DEPLOY / "README.md").read_text().partition("## Several stations on one machine\n")[2].partition("\n## ")[0]


def of_its_own(line: str) -> str:
    """Return a line of the unit of the only station on a machine as that of one of several has it."""
    for directory in ("StateDirectory=", "RuntimeDirectory=", "SyslogIdentifier="):
        if line.startswith(directory):
            return f"{line}-%i"
    own = line.replace("/etc/mdss/station.yaml", "/etc/mdss/%i.yaml").replace("/run/mdss", "/run/mdss-NAME")
    own = own.replace("`systemctl edit mdss`", "`systemctl edit mdss@NAME`")
    return f"{own} %i" if line.startswith("Description=") else own


def without_title(name: str) -> list[str]:
    return (DEPLOY / name).read_text().splitlines()[1:]


def test_the_unit_of_one_of_several_stations_is_that_of_the_only_one_but_for_what_each_has_of_its_own() -> None:
    assert [of_its_own(line) for line in without_title("mdss.service")] == without_title("mdss@.service")


def commands(recipe: str, first: str) -> Iterator[str]:
    return (line.strip() for line in recipe.splitlines() if line.startswith(f"    {first}"))


def test_the_settings_that_the_recipe_makes_name_what_the_unit_lets_this_station_alone_write(recipe: str, tmp_path: Path) -> None:
    (script,) = re.findall(r"sed -e '(.*)' ", recipe)
    text = ONLY.read_text()
    for expression in script.split("; "):
        found, put = re.fullmatch(r"s\|(.*)\|(.*)\|", expression).groups()  # type: ignore[union-attr]  # a rule that is none fails here
        text = re.sub(found, put.replace("&", r"\g<0>"), text)
    (tmp_path / f"{NAME}.yaml").write_text(text)
    own, only = load_settings(tmp_path / f"{NAME}.yaml"), load_settings(ONLY)
    service = {key: value.replace("%i", NAME) for key, value in unit("mdss@.service")["Service"].items()}
    assert own.station.name == NAME != only.station.name
    state, run = f"/var/lib/{service['StateDirectory']}", f"/run/{service['RuntimeDirectory']}"
    assert (own.station.state_directory, own.models.store) == (state, f"{state}/models")
    assert own.station.runtime_directory == run
    shared = {place for place, value in own.places() if (place, value) in set(only.places())}
    assert shared == {"alerts.redis_url", "alerts.password_file", "http.host", "http.port"}
    assert "http: {port: 8421}" in recipe


def test_a_retraining_of_one_of_several_stations_has_its_settings_and_writes_where_it_has_its_state(recipe: str) -> None:
    drop_in = dict(line.strip().split("=", 1) for line in recipe.splitlines() if line.startswith("    ") and re.match(r" +[A-Z]\w+=", line))
    given = dict(pair.split("=", 1) for pair in drop_in["Environment"].split())
    asked = re.findall(r"\$\{(\w+)\}", unit("mdss-retrain@.service")["Service"]["ExecStart"])
    words = Template(unit("mdss-retrain@.service")["Service"]["ExecStart"]).safe_substitute(given).split()
    assert sorted(asked) == sorted(given)
    assert words[words.index("--config") + 1] == start_line("mdss@.service")[-1].replace("%i", NAME)
    assert words[words.index("--recipe") + 1] == RECIPE
    assert drop_in["StateDirectory"] == unit("mdss@.service")["Service"]["StateDirectory"].replace("%i", NAME)
