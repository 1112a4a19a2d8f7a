"""What is installed is what the checkout holds: packages, data files, pinned versions, verbs, one wheel with all of it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from mdss import cli
from tests.pages import ROOT, options_of, place, verb_of, words_below

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PACKAGES: list[str] = PROJECT["tool"]["setuptools"]["packages"]
TOP_LEVEL = sorted({package.split(".")[0] for package in PACKAGES})
NO_PACKAGES = {"tests", "out", "build", "dist"}
DATA = sorted(
    place(path)
    for package in TOP_LEVEL
    for path in (ROOT / package).rglob("*")
    if path.is_file() and path.suffix not in (".py", ".pyc", ".partial")
)


def test_the_listed_packages_are_those_of_the_checkout() -> None:
    inits = [path.parent.relative_to(ROOT) for path in ROOT.glob("[a-z]*/**/__init__.py")]
    assert sorted(PACKAGES) == sorted(".".join(path.parts) for path in inits if path.parts[0] not in NO_PACKAGES)


def test_no_other_distribution_has_a_package_of_our_names() -> None:
    owners = metadata.packages_distributions()
    assert {name: sorted(set(owners[name])) for name in TOP_LEVEL} == {name: ["mdss"] for name in TOP_LEVEL}


def test_the_readme_installs_all_that_a_camera_machine_needs() -> None:
    (named,) = re.findall(
        r"pip install --constraint constraints\.txt ([\w -]+)\n *\S+ -m pip install --no-deps \.\n", (ROOT / "README.md").read_text()
    )
    files = "{name.partition('.')[0] for name, module in sys.modules.items() if getattr(module, '__file__', None)}"
    shown = f"import sys, mdss.client; print(*{files})"
    loaded = subprocess.run([sys.executable, "-c", shown], capture_output=True, text=True, check=True, cwd=ROOT).stdout.split()
    owners = metadata.packages_distributions()
    needed = {canonicalize_name(each) for name in loaded for each in owners.get(name, [])} - {"mdss", "setuptools"}
    # msgspec looks for typing_extensions and does without.
    assert needed - {"typing-extensions"} == set(named.split())


def test_the_project_is_never_uploaded_by_mistake() -> None:
    assert PROJECT["project"]["classifiers"] == ["Private :: Do Not Upload"]


def test_the_data_files_that_the_code_needs_are_in_the_packages() -> None:
    needed = {
        "config/default.yaml",
        "config/demo.yaml",
        "daemon/alert.lua",
        "demo/page.html",
        "mdss/method/default_teacher.json",
        "mdss/method/default_teacher.safetensors",
        "mdss/method/procedural_teacher.json",
        "mdss/method/procedural_teacher.safetensors",
        "mdss/py.typed",  # without it, type checkers take nothing from mdss.client
    }
    assert needed <= set(DATA)


def test_data_files_are_found_from_anywhere(tmp_path: Path) -> None:
    program = """
import json, sys
from importlib.resources import files
lost = []
for name in sys.argv[1:]:
    folder, _, file = name.rpartition("/")
    if not (files(folder.replace("/", ".")) / file).is_file():
        lost.append(name)
print(json.dumps(lost))
"""
    done = subprocess.run([sys.executable, "-I", "-c", program, *DATA], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text("utf-8").split()
    return {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines)}


def requirements(distribution: str, extra: str, **python: str) -> list[Requirement]:
    """Return what an installed distribution requires on this machine, by another Python where one is given."""
    found = [Requirement(line) for line in metadata.requires(distribution) or ()]
    return [each for each in found if each.marker is None or each.marker.evaluate({"extra": extra} | python)]


def installed() -> Iterator[str]:
    """Yield every distribution that ours and its extra for developers bring in; what one of them pins itself is its own affair."""
    waiting, seen = [("mdss", "dev")], {"mdss"}
    while waiting:
        distribution, extra = waiting.pop()
        for each in requirements(distribution, extra):
            name = canonicalize_name(each.name)
            is_pinned_by_it = any(part.operator == "==" for part in each.specifier) and name not in pins()
            if name not in seen and not is_pinned_by_it:
                seen.add(name)
                waiting += [(name, extra) for extra in ("", *each.extras)]
                yield name


def test_everything_that_is_installed_with_us_is_pinned_at_its_version() -> None:
    found = {name: metadata.version(name).partition("+")[0] for name in installed()}
    assert len(found) > 40
    assert {name: version for name, version in found.items() if pins().get(name) != version} == {}


def test_what_the_oldest_python_needs_beside_it_is_pinned_as_well() -> None:
    oldest = {"python_full_version": "3.11.0", "python_version": "3.11"}
    asked = {canonicalize_name(each.name) for name in ("mdss", *installed()) for each in requirements(name, "", **oldest)}
    here = {canonicalize_name(each.name) for name in ("mdss", *installed()) for each in requirements(name, "")}
    assert asked - here - pins().keys() == set()


def test_every_dependency_is_pinned_on_every_python() -> None:
    project = PROJECT["project"]
    lines = [*project["dependencies"], *project["optional-dependencies"]["dev"], *PROJECT["build-system"]["requires"]]
    for requirement in map(Requirement, lines):
        assert requirement.specifier.contains(pins()[canonicalize_name(requirement.name)]), requirement


def test_every_pin_is_one_version() -> None:
    assert [
        line for line in (ROOT / "constraints.txt").read_text().split("\n") if line and not re.fullmatch(r"[\w.-]+==[\w.]+", line)
    ] == []


VERBS = [words for verb in cli.VERBS for words in words_below([verb])]


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_the_help_of_every_verb_ends_with_an_example_that_it_would_take(words: list[str]) -> None:
    command = verb_of(words)
    text = CliRunner().invoke(command, ["--help"], terminal_width=200).output
    example = text.rstrip().rpartition("\n\n")[2].split()
    assert example[: len(words) + 2] == ["Example:", "mdss", *words]
    target = verb_of(example[2:])
    assert not isinstance(target, click.Group)
    given = {word for word in example if word.startswith("--")}
    needed = {parameter.opts[0] for parameter in target.params if parameter.required and parameter.opts[0].startswith("--")}
    assert needed <= given <= options_of(target)


@pytest.mark.timeout(120)
def test_a_wheel_holds_every_module_and_data_file_and_nothing_else(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for package in TOP_LEVEL:
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__", "*.partial"))
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    done = subprocess.run([*pip, "--wheel-dir", str(tmp_path), str(source)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("mdss-*.whl")
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert held == {*DATA, *(place(path) for package in TOP_LEVEL for path in (ROOT / package).rglob("*.py"))}
