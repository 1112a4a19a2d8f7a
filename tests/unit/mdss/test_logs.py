"""The log: one line per event, the same in every process, and never the reason that one ends."""

from __future__ import annotations

import io
import json
import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Literal, NoReturn

import pytest
import structlog

from mdss.logs import configure_logs
from mdss.settings import LogSettings, Settings

log = structlog.get_logger()


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Leave the log of the test run as it was."""
    handlers, level = logging.root.handlers, logging.root.level
    hooks = sys.excepthook, threading.excepthook
    yield
    sys.excepthook, threading.excepthook = hooks
    logging.captureWarnings(capture=False)
    logging.root.handlers, logging.root.level = handlers, level
    structlog.reset_defaults()


def configure(kind: Literal["text", "json"] = "json", level: Literal["debug", "info", "warning", "error"] = "info") -> None:
    configure_logs(Settings(logs=LogSettings(level=level, format=kind)), "ingest")


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    captured = capsys.readouterr()
    assert captured.out == ""
    return [json.loads(line) for line in captured.err.splitlines()]


class Unshowable:
    def __repr__(self) -> NoReturn:
        raise RuntimeError("no")


def test_a_line_names_its_process_level_and_time(capsys: pytest.CaptureFixture[str]) -> None:
    configure()
    log.warning("frame refused", code="CRC")
    (line,) = lines(capsys)
    assert (line["process"], line["level"], line["event"], line["code"]) == ("ingest", "warning", "frame refused", "CRC")
    assert str(line["timestamp"]).endswith("Z")


def test_in_text_no_terminal_obeys_what_somebody_is_called(capsys: pytest.CaptureFixture[str]) -> None:
    configure("text")
    log.info("labelled", by="\x1b[2J\x1b]0;mine\x07")
    said = capsys.readouterr().err
    assert "by=\\x1b[2J\\x1b]0;mine\\x07" in said and "\x1b" not in said


def test_a_line_may_name_another_process(capsys: pytest.CaptureFixture[str]) -> None:
    configure()
    log.info("killed", process="rgb-0")
    assert lines(capsys)[0]["process"] == "rgb-0"


def test_text_is_one_line_without_colours_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    configure("text")
    log.info("the station is ready", processes=6)
    (line,) = capsys.readouterr().err.splitlines()
    assert "the station is ready" in line and "process=ingest" in line and "processes=6" in line
    assert "\x1b" not in line


def test_below_the_level_nothing_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    configure(level="error")
    log.warning("quiet")
    log.error("loud")
    logging.getLogger("library").warning("quiet, too")
    assert [line["event"] for line in lines(capsys)] == ["loud"]


def test_what_libraries_say_and_warnings_become_the_same_lines(capsys: pytest.CaptureFixture[str]) -> None:
    configure()
    logging.getLogger("library").error("lost %d things", 3)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn("careful", stacklevel=1)
    first, second = lines(capsys)
    assert (first["event"], first["logger"], first["process"]) == ("lost 3 things", "library", "ingest")
    assert "careful" in str(second["event"]) and second["level"] == "warning"


@pytest.mark.parametrize(("number", "level"), [(25, "info"), (39, "warning"), (60, "critical")])
def test_what_a_library_says_at_a_level_of_its_own_is_a_line_of_the_next_lower_one(
    capsys: pytest.CaptureFixture[str], number: int, level: str
) -> None:
    configure()
    logging.getLogger("zmq").log(number, "tuned")
    assert [(line["level"], line["event"]) for line in lines(capsys)] == [(level, "tuned")]


@pytest.mark.parametrize("kind", ["text", "json"])
def test_an_exception_is_logged_with_its_traceback(capsys: pytest.CaptureFixture[str], kind: Literal["text", "json"]) -> None:
    configure(kind)
    try:
        int("as the test asked")
    except ValueError:
        log.exception("broke")
    said = capsys.readouterr().err
    assert "Traceback" in said and "as the test asked" in said


@pytest.mark.parametrize("kind", ["text", "json"])
def test_a_value_that_cannot_be_shown_costs_itself_only(capsys: pytest.CaptureFixture[str], kind: Literal["text", "json"]) -> None:
    configure(kind)
    log.info("a part came", part=Unshowable())
    logging.getLogger("library").error("%d", "no number")
    said = capsys.readouterr().err
    assert "a part came" in said and "ingest" in said
    assert "%d" in said


def test_a_line_whose_values_cannot_be_shown_is_still_json(capsys: pytest.CaptureFixture[str]) -> None:
    configure()
    log.warning("a part came", part=Unshowable())
    (line,) = lines(capsys)
    assert (line["event"], line["level"]) == ("a part came (its values cannot be shown: RuntimeError)", "warning")


def test_an_event_of_odd_values_is_still_json(capsys: pytest.CaptureFixture[str]) -> None:
    configure()
    log.info("odd", value=b"\xff", path=object, text="\udc80")
    assert lines(capsys)[0]["value"] == repr(b"\xff")


@pytest.mark.parametrize("gone", ["closed", "nothing", "broken"])
def test_without_a_place_to_write_the_process_goes_on(monkeypatch: pytest.MonkeyPatch, gone: str) -> None:
    class Broken(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    configure()
    stream = Broken() if gone == "broken" else io.StringIO()
    if gone == "closed":
        stream.close()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", None if gone == "nothing" else stream)
        log.error("nobody hears this")
        logging.getLogger("library").error("nor this")
