"""What deploy/ promises of the station in a container: whose it is, what it mounts, and that it is asked whether it is ready."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from mdss.settings import Settings, load_settings
from tests.pages import ROOT, chapter, options_of, verb_of

DEPLOY = ROOT / "deploy"
TOOLS = "/usr/sbin:/usr/bin:/sbin:/bin"
needs_useradd = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("useradd", path=TOOLS), reason="only root can add users, by useradd"
)


@needs_useradd
def test_user_and_group_of_the_container_have_the_number_by_which_the_page_gives_them_files_and_sockets(tmp_path: Path) -> None:
    (given,) = set(re.findall(r"\b[1-9][0-9]{4}\b", chapter("In a container", DEPLOY / "README.md")))
    (tmp_path / "etc").mkdir()
    for name, root in (("passwd", "root:x:0:0:::"), ("group", "root:x:0:"), ("shadow", "root:*:1::::::"), ("gshadow", "root:*::")):
        (tmp_path / "etc" / name).write_text(f"{root}\n")
    adding = (DEPLOY / "Dockerfile").read_text().partition("\nRUN ")[2].partition("&& install")[0].replace("\\\n", " ")
    for tool, *arguments in map(shlex.split, adding.split("&&")):
        subprocess.run([tool, "--prefix", str(tmp_path), *arguments], env={"PATH": TOOLS}, capture_output=True, check=True)
    assert f"\nmdss:x:{given}:{given}:" in (tmp_path / "etc" / "passwd").read_text()


def test_the_container_runs_the_station_unprivileged_and_is_asked_whether_it_is_ready() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    assert text.splitlines()[1].startswith("FROM python:3.11-slim")
    user, entry, health = (text.index(word) for word in ("\nUSER mdss", "\nENTRYPOINT", "\nHEALTHCHECK"))
    assert user < entry < health
    assert f"127.0.0.1:{Settings().http.port}/readyz" in text
    for source in re.findall(r"source/(\S+) ", text):
        assert (ROOT / source).exists()


def test_the_recipe_for_containers_names_verbs_that_exist_and_mounts_every_file_that_the_example_settings_name() -> None:
    recipe = (DEPLOY / "README.md").read_text().partition("## In a container")[2].partition("## ")[0].replace("\\\n", " ")
    runs = [line.strip() for line in recipe.splitlines() if line.startswith("    docker run ")]
    verbs = [words.split() for words in re.findall(r" mdss +(model .*)$", "\n".join(runs), re.MULTILINE)]
    assert [words[1] for words in verbs] == ["import", "promote"]
    for words in verbs:
        assert {word for word in words if word.startswith("--")} <= options_of(verb_of(words))
    settings = load_settings(ROOT / "config" / "station.example.yaml")
    for inside in (
        "/etc/mdss/station.yaml",
        settings.alerts.password_file,
        settings.station.state_directory,
        settings.station.runtime_directory,
    ):
        assert re.search(rf"--volume \S+:{inside}(:ro)? ", runs[-1]), inside
