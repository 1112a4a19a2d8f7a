"""Pages tell the truth: commands exist and take what is given, links lead somewhere, the README's tree is the tree, its snippets run."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Callable, Collection
from pathlib import Path

import msgspec
import pytest

from daemon import metric_descriptions
from daemon.alert_store import entry_of, fields_of
from daemon.recipe_models import RecipeReport
from mdss.drift_record import DriftRecord
from mdss.method.presets import PRESETS
from tests.alerts import verdict
from tests.pages import PAGES, ROOT, chapter, commands_in, headings_of, links_in, options_of, place, verb_of
from tests.source import MODULES, PACKAGES, tree_of

SCRIPTS = [*sorted((ROOT / "deploy").glob("*.sh")), ROOT / "deploy" / "alert-rules.yaml"]
OWN_USERS_VERBS = (
    *("check", "doctor", "keygen", "retrain", "recipe preload", "collection label", "collection prune"),
    *("model promote", "model import", "model shadow"),
)
METRIC = re.compile(r"mdss_[a-z0-9_]+(?=$|\{)")
NAMED_TEST = r"`((?:integration|unit)/[\w/]+\.py)::(test_\w+)`"
README = (ROOT / "README.md").read_text("utf-8")


@pytest.mark.parametrize("page", [*PAGES, *SCRIPTS], ids=place)
def test_every_command_that_a_page_names_exists_and_takes_those_options(page: Path) -> None:
    for words in commands_in(page.read_text("utf-8")):
        command = verb_of(words)
        asked = {word for word in words if word.startswith("--")} - {"--help"}
        assert asked <= options_of(command), words
        if asked:  # a whole command, not a mention of its verb
            needed = {parameter.opts[0] for parameter in command.params if parameter.required}
            assert {option for option in needed if option.startswith("--")} <= asked, words


@pytest.mark.parametrize("page", PAGES, ids=place)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    for file, heading in links_in(page.read_text("utf-8")):
        target = page.parent / file if file else page
        assert target.exists(), file
        assert not heading or heading in headings_of(target), f"{file}#{heading}"


def named_files(text: str) -> set[str]:
    """Return the project's files that a text names."""
    folders = "|".join(("deploy", "docs", "examples", "tests", *PACKAGES))
    return set(re.findall(rf"(?<![\w/.-])(?:{folders})/[\w./-]*\w\.\w+", text))


@pytest.mark.parametrize("page", PAGES, ids=place)
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    assert sorted(name for name in named_files(page.read_text("utf-8")) if not (ROOT / name).exists()) == []


def test_what_writes_into_an_installed_station_is_run_as_its_own_user_with_its_path() -> None:
    lines = re.findall(r"^    (.*\bmdss .*/mdss\b.*)$", (ROOT / "docs" / "operations.md").read_text("utf-8"), re.MULTILINE)
    for verb in OWN_USERS_VERBS:
        found = [line for line in lines if re.search(rf"\bmdss {verb} ", line)]
        assert found, verb
        assert [line for line in found if not line.startswith(f"sudo -u mdss /opt/mdss/.venv/bin/mdss {verb} ")] == []


def metrics_in_the_code() -> set[str]:
    """Return the name of every metric that a process of the station counts, as Prometheus reads it."""
    found = set()
    for module in (name for name in MODULES if name.startswith(("daemon.", "workers.", "mdss.")) and name != metric_descriptions.__name__):
        constants = [node.value for node in ast.walk(tree_of(MODULES[module])) if isinstance(node, ast.Constant)]
        texts = [value for value in constants if isinstance(value, str)]
        found |= {match[0] for match in map(METRIC.match, texts) if match is not None}
    return found


def test_the_page_on_operations_has_one_row_for_each_metric_with_its_kind_and_the_words_that_prometheus_gets() -> None:
    page = chapter("Metrics")
    rows = re.findall(r"^\| `(mdss_\w+)(?:\{[\w,]+\})?` \| (counter|gauge|histogram) \| ([^|\n]{10,}) \|$", page, re.MULTILINE)
    assert len(rows) == page.count("\n| `") > 40
    assert sorted(name for name, _, _ in rows) == sorted(metrics_in_the_code())
    assert {name for name, kind, _ in rows if kind == "counter"} == {name for name, _, _ in rows if name.endswith("_total")}
    said = [(name, re.sub(r" \(\[[^]]*\]\([^)]*\)\)|`", "", words)) for name, _, words in rows]  # without the links to more
    assert said == list(metric_descriptions.DESCRIPTIONS.items())


def cells_of(text: str) -> list[list[str]]:
    """Return the cells of each row of the tables in a text."""
    rows = [row for row in text.splitlines() if row.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]


def failure_tables() -> tuple[list[list[str]], list[list[str]]]:
    """Return the rows of the tables of failures, all under one heading, and those of the table of the tests that show them."""
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    failures = page.partition("\n## When something happens\n")[2].partition("\n## ")[0]
    rows = [row for row in cells_of(failures) if len(row) > 2]  # the chapter begins with a table of its own contents
    return [*rows[:2], *(row for row in rows if row not in rows[:2])], cells_of(chapter("The tests that show it"))


def failure_table() -> list[list[str]]:
    """Return the cells of each row of the tables of failures, and behind them the tests of the row that has the same meaning."""
    failures, tests = failure_tables()
    shown_by = dict(tests)
    return [[*row, *([shown_by[row[1]]] if row[1] in shown_by else [])] for row in failures]


def test_the_page_on_operations_has_one_row_for_each_field_of_an_alert_and_where_it_is() -> None:
    rows = re.findall(r"^\| (`.*?) \| (stream, hash|hash) \|", chapter("Alerts"), re.MULTILINE)
    said = {name: place for names, place in rows for name in re.findall(r"`(\w+)`", names)}
    of_stream, of_hash = entry_of(verdict("a")), fields_of(verdict("a"), 0)
    assert said == {name: "stream, hash" if name in of_stream else "hash" for name in [*of_hash, "entry"]}


@pytest.mark.parametrize(("subject", "record"), [("recipes", RecipeReport), ("drift", DriftRecord)])
def test_the_page_on_operations_names_each_field_that_programs_are_given(subject: str, record: type[msgspec.Struct]) -> None:
    rows = re.findall(r"^\| (`.*?) \|", chapter(f"For programs: {subject}"), re.MULTILINE)
    named = [name for names in rows for name in re.findall(r"`(\w+)`", names)]
    assert sorted(named) == sorted(record.__struct_fields__)


def test_every_row_of_the_failure_table_names_a_test_that_shows_it() -> None:
    heading, _, *rows = failure_table()
    assert heading[-1] == "shown by" and len(rows) > 20
    assert [row for row in rows if len(row) != len(heading) or not re.fullmatch(rf"{NAMED_TEST}(, {NAMED_TEST})*", row[-1])] == []


def test_the_table_of_tests_has_one_row_for_each_row_of_the_failure_tables_in_their_order() -> None:
    failures, tests = failure_tables()
    assert [row[1] for row in failures] == [row[0] for row in tests]


def named_tests(text: str) -> list[tuple[str, str]]:
    """Return file and name of each test that a text names."""
    return re.findall(NAMED_TEST, text)


@pytest.mark.parametrize("page", PAGES, ids=place)
def test_every_test_that_a_page_names_exists(page: Path) -> None:
    for file, name in named_tests(page.read_text("utf-8")):
        path = ROOT / "tests" / file
        assert path.is_file(), file
        assert re.search(rf"^def {name}\(", path.read_text("utf-8"), re.MULTILINE), f"{file}::{name}"


@pytest.mark.parametrize(("found_in", "at_least"), [(commands_in, 200), (links_in, 300), (named_files, 100), (named_tests, 60)])
def test_what_pages_name_is_found(found_in: Callable[[str], Collection[object]], at_least: int) -> None:
    assert sum(len(found_in(page.read_text("utf-8"))) for page in PAGES) > at_least


def tree_files() -> list[str]:
    """Return what the README's tree names: one file or folder a line, two more spaces for each folder it lies in."""
    found, folders = [], list[str]()
    for line in README.partition("<!-- tree -->\n```\n")[2].partition("```\n<!-- end of tree -->")[0].splitlines():
        indent, name = re.match(r"( *)(\S+)  +\S", line + "  -").groups()  # type: ignore[union-attr]  # every line has a name
        folders = folders[: len(indent) // 2]
        found.append("".join([*folders, name]))
        if name.endswith("/"):
            folders.append(name)
    return found


def test_the_readme_names_every_python_file_of_the_packages_once() -> None:
    named = [name for name in tree_files() if name.endswith(".py") and name.split("/")[0] in PACKAGES]
    assert sorted(named) == sorted(place(path) for path in MODULES.values())


def test_the_readme_names_every_page_example_and_setting_file() -> None:
    expected = {place(path) for folder in ("docs", "examples", "config") for path in (ROOT / folder).glob("*.*") if path.suffix != ".png"}
    assert expected - {"config/__init__.py"} <= set(tree_files())


def test_the_readme_names_no_file_that_does_not_exist() -> None:
    assert len(tree_files()) > 100
    assert [name for name in tree_files() if not (ROOT / name).exists()] == []


def snippets() -> list[tuple[str, str]]:
    """Return the README's Python paragraphs, each with the example that the line above its block names."""
    blocks = re.findall(r"\(`?(examples/\w+\.py)[^\n]*\n\n?```python\n(.*?)```", README, re.DOTALL)
    return [(path, paragraph.strip("\n")) for path, block in blocks for paragraph in re.split(r"\n\s*\n", block)]


def test_the_readme_quotes_its_examples_word_for_word() -> None:
    assert {path for path, _ in snippets()} == {"examples/camera.py", "examples/subscriber.py"}
    assert README.count("```python") == 2
    for path, paragraph in snippets():
        source = (ROOT / path).read_text("utf-8")
        indents = {len(line) - len(line.lstrip()) for line in source.splitlines()}
        assert any(textwrap.indent(paragraph, " " * indent) in source for indent in indents), paragraph


def said(value: object) -> str:
    """Return a setting's value as the page on the method writes it."""
    match value:
        case None | bool():
            return str(value).lower()
        case list() | tuple():
            return ", ".join(str(each) for each in value)
        case float():
            return f"{value:.10f}".rstrip("0").rstrip(".")
        case _:
            return str(value)


def test_the_page_on_the_method_has_one_row_for_each_setting_with_the_values_of_both_presets() -> None:
    page = (ROOT / "docs" / "method.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+\.\w+)` \| ([^|]+) \| ([^|]+) \| [^|\n]{10,} \|$", page, re.MULTILINE)
    edge, paper = (msgspec.to_builtins(PRESETS[name]) for name in ("edge", "paper"))
    names = [(section, field) for section, fields in edge.items() if isinstance(fields, dict) for field in fields]
    assert rows == [(f"{section}.{field}", said(edge[section][field]), said(paper[section][field])) for section, field in names]
