"""Modules can be read: each opens with a sentence and says by its name what is in it, and nothing grows too large."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.pages import place
from tests.source import MODULES, TESTS, tree_of

MOST_LINES, MOST_FUNCTION_LINES, MOST_ARGUMENTS = 300, 40, 5
MAY_BE_LARGER: dict[str, str] = {}  # "tests/test_x.py" or "daemon/x.py:function" -> the reason
DRAWERS = {"utils", "util", "common", "helper", "helpers", "manager", "managers", "misc", "base"}
Function = ast.FunctionDef | ast.AsyncFunctionDef


def test_every_module_opens_with_a_sentence() -> None:
    def sentence(path: Path) -> str:
        return (ast.get_docstring(tree_of(path)) or "").split("\n\n")[0].split("\n")[0]

    assert [module for module, path in MODULES.items() if not sentence(path).endswith(".")] == []


def test_no_module_is_a_drawer() -> None:
    assert [module for module in MODULES if set(module.split(".")[-1].split("_")) & DRAWERS] == []


def functions(path: Path) -> Iterator[Function]:
    return (node for node in ast.walk(tree_of(path)) if isinstance(node, Function))


def argument_count(function: Function) -> int:
    given = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    return len(given) - (bool(given) and given[0].arg in ("self", "cls"))


def is_large(function: Function) -> bool:
    length = (function.end_lineno or function.lineno) - function.lineno + 1
    return length > MOST_FUNCTION_LINES or argument_count(function) > MOST_ARGUMENTS


def too_large(files: Mapping[str, Path]) -> set[str]:
    """Return the files that are too long, and the functions that are too long or take too much."""
    long = {name for name, path in files.items() if len(path.read_text("utf-8").splitlines()) > MOST_LINES}
    return long | {f"{name}:{function.name}" for name, path in files.items() for function in functions(path) if is_large(function)}


def test_files_and_functions_stay_small_enough_to_be_read() -> None:
    assert too_large({place(path): path for path in (*MODULES.values(), *TESTS)}) == set(MAY_BE_LARGER)


def test_the_measure_sees_what_is_too_large(tmp_path: Path) -> None:
    large = tmp_path / "large.py"
    large.write_text("def greedy(a, b, c, d, e, f):\n" + 45 * "    a += 1\n" + "def fine(self, a, b, c, d, e):\n    pass\n" + 300 * "\n")
    assert too_large({"large.py": large}) == {"large.py", "large.py:greedy"}
