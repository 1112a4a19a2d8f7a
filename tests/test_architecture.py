"""Who may import whom, and what stays out of which process."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache

import pytest

from tests.source import FILES, MODULES, PACKAGES, tree_of

# What runs a station, with its cameras and its subscriber; what is judged and drawn from what they noted stays with "bench".
CHAOS_PARTS = ("camera", "faults", "records", "subscriber")
STAGED = (
    *("overload", "outage", "recovery", "retrain_beside", "swaps", "swaps_report"),
    *("bench_station", "bench_line", "bench_camera", "station_process", "station_watch", "station_journal", "load_process"),
)
CHAOS = ("bench.chaos", *(f"bench.chaos_{part}" for part in CHAOS_PARTS), *(f"bench.{name}" for name in STAGED))
CHAOS_MAY = (
    "bench",
    *("mdss.client", "mdss.wire", "mdss.journal"),
    *("mdss.settings", "mdss.settings_access", "mdss.method", "mdss.whole_files", "mdss.errors"),
    "daemon",
    "demo",
    "trainer",
)
# Who may import whom; of several keys that fit a module the longest counts. Modules of one group may import each other.
ALONE = (
    *("errors", "folder_names", "image_header", "interrupts", "misfit", "part_names", "settings_types"),
    *("system_calls", "user_name", "whole_files"),
)
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    **{f"mdss.{name}": () for name in ALONE},
    "mdss.scans": ("mdss.image_header", "mdss.settings_types", "mdss.errors"),
    "mdss.terminal": ("mdss.errors",),
    "mdss.verb_options": ("mdss.errors",),
    "mdss.scan_files": ("mdss.whole_files",),
    "mdss.collection": ("mdss.scans", "mdss.scan_files", "mdss.whole_files", "mdss.folder_names", "mdss.errors"),
    "mdss.retraining": ("mdss.whole_files", "mdss.errors"),
    "mdss.settings_file": ("mdss.misfit", "mdss.errors"),
    "mdss.key_files": ("mdss.errors",),
    "mdss.settings_access": ("mdss.settings_types", "mdss.settings_file", "mdss.key_files", "mdss.misfit", "mdss.errors"),
    "mdss.settings": ("mdss.settings_file", "mdss.settings_access", "mdss.settings_types", "mdss.misfit", "mdss.errors"),
    "mdss.logs": ("mdss.settings", "mdss.errors"),
    "mdss.wire": (
        *("mdss.settings", "mdss.settings_types", "mdss.key_files", "mdss.whole_files"),
        *("mdss.misfit", "mdss.logs", "mdss.errors"),
    ),
    "mdss.audit": ("mdss.user_name", "mdss.whole_files", "mdss.errors"),
    "mdss.method": (
        *("mdss.audit", "mdss.folder_names", "mdss.user_name", "mdss.whole_files"),
        *("mdss.misfit", "mdss.settings", "mdss.settings_types", "mdss.logs", "mdss.errors"),
    ),
    "mdss.method.golden": ("mdss.method", "mdss.scans", "mdss.whole_files", "mdss.errors"),
    "mdss.journal_file": ("mdss.errors",),
    "mdss.journal_ageing": ("mdss.journal_file", "mdss.errors"),
    "mdss.journal": ("mdss.journal_ageing", "mdss.journal_file", "mdss.settings", "mdss.logs", "mdss.errors"),
    "mdss.client": ("mdss.wire", "mdss.errors"),
    "mdss.good_parts": ("mdss.collection", "mdss.part_names"),
    "mdss.collect_request": ("mdss.whole_files", "mdss.errors"),
    "mdss.drift_record": ("mdss.whole_files", "mdss.errors"),
    "mdss.drift": ("mdss.drift_record",),
    "mdss.cli": ("mdss.interrupts", "mdss.user_name", "mdss.logs", "mdss.errors"),
    "daemon": (
        *("mdss.wire", "mdss.journal", "mdss.client", "mdss.scans", "mdss.settings", "mdss.settings_access", "mdss.settings_types"),
        *("mdss.collection", "mdss.collect_request", "mdss.scan_files", "mdss.whole_files", "mdss.drift_record", "mdss.retraining"),
        *("mdss.good_parts", "mdss.part_names", "mdss.key_files", "mdss.system_calls", "mdss.terminal", "mdss.user_name"),
        *("mdss.verb_options", "mdss.logs", "mdss.errors"),
    ),
    "workers": (
        *("mdss.wire", "mdss.journal", "mdss.method", "mdss.drift", "mdss.drift_record"),
        *("mdss.scan_files", "mdss.whole_files", "mdss.settings", "mdss.system_calls", "mdss.verb_options", "mdss.logs", "mdss.errors"),
    ),
    "trainer": (
        *("mdss.audit", "mdss.method", "mdss.scans", "mdss.collection", "mdss.collect_request", "mdss.retraining"),
        *("mdss.good_parts", "mdss.image_header", "mdss.part_names", "mdss.whole_files", "mdss.settings", "mdss.settings_types"),
        *("mdss.interrupts", "mdss.system_calls", "mdss.terminal", "mdss.verb_options", "mdss.logs", "mdss.errors"),
    ),
    "demo": ("mdss", "daemon", "trainer"),
    "measure": ("mdss", "daemon", "workers", "trainer", "demo.station"),
    "bench": (
        *("mdss.method", "mdss.drift", "mdss.drift_record", "mdss.settings_types", "mdss.whole_files", "mdss.interrupts", "mdss.errors"),
        "trainer",
    ),
    "bench.compare": ("bench.command_line", "mdss.errors", "trainer.progress"),
    "bench.fuzz": ("bench.fuzzing", "bench.command_line", "mdss.errors", "trainer.progress"),
    "bench.fuzzing": ("mdss.wire", "mdss.journal", "mdss.settings", "mdss.errors", "daemon"),
    **dict.fromkeys(CHAOS, CHAOS_MAY),
    "config": (),
}
EXCEPTIONS = {
    ("mdss.journal", "mdss.wire.messages"): "what it stores are messages (docs/decisions/0003)",
    ("mdss.journal", "mdss.wire.verdict"): "and verdicts (docs/decisions/0003)",
    ("daemon.doctor_models", "mdss.method.model_store"): "a model is whole for the doctor as it is for the workers",
    ("mdss.collection", "mdss.wire.verdict"): "what it keeps of a verdict has the verdict's words",
}
NEVER_LOADS = {
    "mdss.wire": ("torch", "cv2", "scipy"),
    "mdss.collection": ("torch", "zmq", "redis", "cv2"),
    "mdss.good_parts": ("torch", "zmq", "redis", "cv2"),
    "mdss.collect_request": ("torch", "zmq", "redis", "cv2"),
    "mdss.method": ("zmq", "redis"),
    "mdss.drift": ("torch", "zmq", "redis", "scipy"),
    "mdss.drift_record": ("torch", "zmq", "redis", "scipy"),
    "mdss": ("torch",),
    "daemon": ("torch",),
    "workers": ("redis",),
    "trainer": ("zmq", "redis"),
    "bench": ("zmq", "redis"),
    **dict.fromkeys(CHAOS, ("torch",)),
}
IMPORTS_BY_NAME = {"mdss.cli": "a verb is imported when it runs, and no other"}
WITHOUT_TORCH = ("workers.prepare", "workers.fusion")  # torch in one of them would cost the station 200 MiB


def rule_of(module: str, table: Mapping[str, tuple[str, ...]]) -> str:
    """Return the longest key of the table that is the module or one of its packages."""
    fitting = [key for key in table if f"{module}.".startswith(f"{key}.")]
    return max(fitting, key=len, default="")


def imported(tree: ast.Module) -> Iterator[str]:
    """Yield what a module imports, also inside functions; `from a import b` is a.b where that is a module of ours."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import"
            origin = str(node.module)
            names = [f"{origin}.{alias.name}" for alias in node.names]
            yield from (name if name in MODULES else origin for name in names)


def violations(module: str, tree: ast.Module) -> list[str]:
    """Return what a module imports though neither the table nor an exception lets it."""
    group = rule_of(module, MAY_IMPORT)
    allowed = (group, *MAY_IMPORT[group])
    found = sorted({name for name in imported(tree) if name.split(".")[0] in PACKAGES})
    return [
        f"{module} -> {name}"
        for name in found
        if not any(f"{name}.".startswith(f"{key}.") for key in allowed) and (module, name) not in EXCEPTIONS
    ]


def test_every_module_imports_only_what_the_table_lets_it() -> None:
    assert [each for module, path in MODULES.items() for each in violations(module, tree_of(path))] == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("daemon.ingest", "from mdss.method.presets import preset"),
        ("daemon.ingest", "def later():\n    from mdss.method import fusion"),
        ("daemon.ingest", "import workers.loop"),
        ("trainer.train", "from mdss.wire.verdict import Verdict"),
        ("trainer.train", "from mdss import journal"),
        ("mdss.method.fusion", "from mdss.wire.verdict import Region"),
        ("mdss.wire.codec", "from mdss.method import fusion"),
        ("mdss.journal", "from mdss.wire.sockets import Sender"),
        ("mdss.settings", "from mdss.logs import configure_logs"),
        ("mdss.client", "from mdss.settings import Settings"),
        ("trainer.train", "from bench.fusion_rules import RULES"),
        ("workers.loop", "if TYPE_CHECKING:\n    from daemon.child import Child"),
    ],
)
def test_the_rule_sees_what_it_forbids(module: str, source: str) -> None:
    assert len(violations(module, ast.parse(source))) == 1


def test_every_exception_is_needed() -> None:
    edges = {(module, name) for module, path in MODULES.items() for name in imported(tree_of(path))}
    assert set(EXCEPTIONS) <= edges


def test_every_module_has_a_row_in_the_table() -> None:
    assert [module for module in MODULES if not rule_of(module, MAY_IMPORT)] == []


def test_heavy_libraries_stay_where_they_belong() -> None:
    found = []
    for module, path in MODULES.items():
        if group := rule_of(module, NEVER_LOADS):
            libraries = {name.split(".")[0] for name in imported(tree_of(path))}
            found += [f"{module} -> {library}" for library in NEVER_LOADS[group] if library in libraries]
    assert found == []


def test_nothing_is_unpickled_but_the_teachers_of_others() -> None:
    loaders = {
        module for module, path in MODULES.items() if re.search(r"import pickle|torch\.(load|save)\(|allow_pickle=True", path.read_text())
    }
    assert loaders == {"trainer.import_teacher"}
    assert "weights_only=True" in MODULES["trainer.import_teacher"].read_text()


def test_only_verbs_are_imported_by_name() -> None:
    by_name = {module for module, path in MODULES.items() if "import_module" in path.read_text() or "__import__" in path.read_text()}
    assert by_name == set(IMPORTS_BY_NAME)


@cache
def loaded_after(*modules: str) -> dict[str, list[str]]:
    """Import modules one after the other in a fresh interpreter; return which of the watched libraries each brought in."""
    program = """
import importlib, json, sys
watched, found = ("torch", "cv2", "yaml", "zmq", "redis", "scipy.stats", "mdss.settings"), {}
for name in sys.argv[1:]:
    before = set(sys.modules)
    importlib.import_module(name)
    found[name] = [each for each in watched if each in sys.modules and each not in before]
print(json.dumps(found))
"""
    done = subprocess.run([sys.executable, "-c", program, *modules], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


def that_load(library: str, *modules: str) -> list[str]:
    """Return which of some modules, imported in this order, brings a library in."""
    assert modules
    return [module for module, libraries in loaded_after(*modules).items() if library in libraries]


def modules_of(package: str) -> list[str]:
    return [module for module in MODULES if module.startswith(f"{package}.")]


def test_no_process_of_the_daemon_loads_torch() -> None:
    assert that_load("torch", *modules_of("daemon")) == []


def test_prepare_and_fusion_do_without_torch() -> None:
    assert that_load("torch", *WITHOUT_TORCH) == []


def test_no_worker_pays_for_scipy_stats_whenever_it_starts_again() -> None:
    assert that_load("scipy.stats", *modules_of("workers")) == []


def test_a_camera_and_a_subscriber_load_zmq_and_nothing_heavy() -> None:
    assert loaded_after("mdss.client") == {"mdss.client": ["zmq"]}


def test_the_probe_sees_torch() -> None:
    assert that_load("torch", *modules_of("workers")) == ["workers.rgb"]  # and `workers.sdf` finds it there


def test_init_files_are_empty() -> None:
    inits = [path for path in FILES if path.name == "__init__.py"]
    assert len(inits) == len({path.parent for path in FILES})
    assert [path for path in inits if path.read_text()] == []
