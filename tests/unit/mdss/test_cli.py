"""One sentence and the right exit code for whatever a verb does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest

from mdss import cli
from mdss.errors import BadInput, MdssError
from mdss.interrupts import signals_handled_by
from trainer.progress import tracked


def verb(monkeypatch: pytest.MonkeyPatch, action: Callable[[], None]) -> None:
    """Let `mdss check` run an action."""
    command = click.command("check")(action)
    monkeypatch.setattr("mdss.cli.importlib.import_module", lambda name: SimpleNamespace(check=command))


def raising(error: Exception) -> Callable[[], None]:
    def action() -> None:
        raise error

    return action


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (MdssError("the store is gone"), 1, "mdss: the store is gone\n"),
        (OSError(28, "No space left on device", "models/0001"), 1, "mdss: models/0001: No space left on device\n"),
        (OSError(13, "Permission denied", "0001", None, "models/champion"), 1, "mdss: models/champion: Permission denied\n"),
        (MemoryError("Unable to allocate 8.88 PiB"), 1, "mdss: not enough memory: Unable to allocate 8.88 PiB\n"),
        (MemoryError(), 1, "mdss: not enough memory: no more could be had\n"),
        (TimeoutError("nobody answers"), 1, "mdss: nobody answers\n"),
        (
            BadInput("a.yaml:3: camera.credit: found 0, expected 1 or more"),
            2,
            "mdss: a.yaml:3: camera.credit: found 0, expected 1 or more\n",
        ),
    ],
)
def test_an_error_becomes_its_sentence_and_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception, code: int, sentence: str
) -> None:
    verb(monkeypatch, raising(error))
    assert cli.main(["check"]) == code
    assert capsys.readouterr().err == sentence


def test_an_error_is_the_last_line_below_that_of_the_progress_it_broke_off(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def read_all() -> None:
        items = tracked("abc", "reading")
        for item in items:
            raise BadInput(f"{item}: found nothing")

    verb(monkeypatch, read_all)
    assert cli.main(["check"]) == 2
    assert capsys.readouterr().err == "reading: 0/3, 0 s, 0 s left\nmdss: a: found nothing\n"


def test_a_folder_that_cannot_be_written_is_named_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["synthetic", "--product", "mat", "--out", "/proc/line", "--train", "1"]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == "mdss: /proc/line: No such file or directory"


def test_an_unknown_verb_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["judge"]) == 2
    assert "No such command 'judge'" in capsys.readouterr().err


def test_an_unknown_option_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    verb(monkeypatch, lambda: None)
    assert cli.main(["check", "--loud"]) == 2


def test_done_is_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    verb(monkeypatch, lambda: None)
    assert cli.main(["check"]) == 0


def press(number: signal.Signals = signal.SIGTERM) -> None:
    os.kill(os.getpid(), number)


@pytest.fixture
def terminal() -> Iterator[None]:
    """Hear SIGHUP, also where the tests are run by nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_sigterm_or_a_closed_terminal_ends_a_verb_as_ctrl_c_does_and_nothing_is_heard_of_it_afterwards(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], terminal: None, number: signal.Signals
) -> None:
    verb(monkeypatch, lambda: press(number))
    with signals_handled_by(lambda *_: pytest.fail("nobody listened"), (signal.SIGTERM, signal.SIGHUP)):
        before = signal.getsignal(number)
        assert cli.main(["check"]) == 130
        assert signal.getsignal(number) is before
    assert capsys.readouterr().err.splitlines()[-1] == "mdss: interrupted"


def test_the_station_hears_sigterm_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[int] = []
    monkeypatch.setattr("mdss.cli.importlib.import_module", lambda name: SimpleNamespace(command=click.command("run")(press)))
    with signals_handled_by(lambda number, _: heard.append(number)):
        assert cli.main(["run"]) == 0
    assert heard == [signal.SIGTERM]


def test_ctrl_c_while_python_reads_what_every_verb_needs_is_a_sentence_too(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text("raise KeyboardInterrupt")
    script = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from mdss.cli import main; main(['--help'])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "mdss: interrupted\n")


def unread(folder: Path, words: str, stream: str) -> tuple[int, bytes]:
    """Run `mdss` where nobody reads one of its two outputs; return its exit code, and what it says on the other."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as broken:
        outputs: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | {stream: broken}
        done = subprocess.run([sys.executable, "-m", "mdss.cli", *words.split()], cwd=folder, check=False, **outputs)
    return done.returncode, (done.stdout or b"") + (done.stderr or b"")


@pytest.mark.parametrize(
    ("words", "stream"),
    [("--help", "stdout"), ("check a.yaml", "stdout"), ("doctor --config a.yaml", "stdout"), ("check none.yaml", "stderr")],
)
def test_a_verb_whose_output_nobody_reads_any_more_ends_without_a_word_and_with_the_code_of_sigpipe(
    tmp_path: Path, words: str, stream: str
) -> None:
    (tmp_path / "a.yaml").write_text("station: {name: line-3}")
    assert unread(tmp_path, words, stream) == (141, b"")


def test_a_station_whose_log_nobody_reads_tells_systemd_all_the_same_that_its_settings_are_wrong(tmp_path: Path) -> None:
    assert unread(tmp_path, "run --config none.yaml", "stderr") == (2, b"")


def test_help_lists_every_verb_and_imports_none() -> None:
    script = (
        "import sys; from mdss import cli; code = cli.main(['--help']); sys.exit(code or ('zmq' in sys.modules or 'torch' in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in cli.VERBS)
    assert "Exit codes: 0 done, 1 failed, 2 something that was given is wrong" in done.stdout
