"""docs/operations.md explains what a person may meet: lines of the log, alerts of Prometheus, codes of verdicts, checks of the gate."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection
from typing import get_args

import yaml

from mdss.wire.verdict import UndefinedCode
from tests.pages import ROOT, chapter
from tests.source import MODULES, tree_of

ALOUD = ("warning", "error", "critical", "exception")  # of a log
PASSED_ON = ("_log_once", "tell")  # functions that log the event that they are given, as a warning or worse
STATION = ("daemon.", "workers.", "mdss.")  # packages whose processes write the station's log


def texts_given(module: str, functions: Collection[str], place: int = 0) -> set[str]:
    """Return the text that is given to these functions in this place, in each of a module's calls; of a text with values its beginning."""
    found = set()
    for call in (node for node in ast.walk(tree_of(MODULES[module])) if isinstance(node, ast.Call) and len(node.args) > place):
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        given = call.args[place]
        begin = given.values[0] if isinstance(given, ast.JoinedStr) else given
        if name in functions and isinstance(begin, ast.Constant) and isinstance(begin.value, str):
            found.add(begin.value)
    return found


def first_cells(heading: str) -> list[str]:
    """Return what stands first in each row of a chapter's table, below its heading."""
    return re.findall(r"^\| `?(.+?)`? \| ", chapter(heading), re.MULTILINE)[1:]


def test_every_line_that_the_station_logs_as_a_warning_or_worse_has_its_row_in_alphabetical_order() -> None:
    said = set().union(*(texts_given(module, (*ALOUD, *PASSED_ON)) for module in MODULES if module.startswith(STATION)))
    assert len(said) > 50
    assert first_cells("Lines of the log") == sorted(said, key=str.casefold)


def test_every_alert_rule_has_its_row_with_its_severity_in_the_order_of_the_rules() -> None:
    rules = yaml.safe_load((ROOT / "deploy" / "alert-rules.yaml").read_text("utf-8"))["groups"][0]["rules"]
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| .*\[", chapter("Alert rules"), re.MULTILINE)
    assert rows == [(rule["alert"], rule["labels"]["severity"]) for rule in rules]


def test_every_code_of_a_part_that_could_not_be_judged_has_its_row() -> None:
    assert first_cells("What each code means") == list(get_args(UndefinedCode))


def test_every_check_of_the_gate_is_named_in_the_table_that_says_how_to_read_its_page() -> None:
    checks = texts_given("trainer.gate_quality", ("separation",), 1)
    checks |= texts_given("trainer.gate_quality", ("check",)) | texts_given("trainer.gate_fitness", ("check",))
    rows = "\n".join(row for row in chapter("The gate").splitlines() if row.startswith("| `"))
    named = re.findall(r"`([a-z :]+)`", rows)
    assert len(checks) > 10
    assert sorted(name for name in checks if not any(name.startswith(each) or each.startswith(name) for each in named)) == []
