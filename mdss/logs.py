"""Logging: the same lines in every process, as text or JSON to stderr; a log line never raises an error or ends its process."""

from __future__ import annotations

import logging
import sys
import threading
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import structlog
from structlog.types import EventDict, Processor, WrappedLogger

from mdss.errors import legible
from mdss.settings import Settings


class StandardError:
    """Writes lines to the current stderr; what cannot be written is dropped, because nobody could be told."""

    def msg(self, line: str) -> None:
        """Write one line."""
        try:
            sys.stderr.write(line + "\n")
            sys.stderr.flush()
        except (OSError, ValueError, AttributeError):  # a closed pipe, a closed file, no stderr at all
            return

    log = debug = info = warn = warning = msg
    fatal = failure = err = error = critical = exception = msg


class StructlogHandler(logging.Handler):
    """Passes log records of libraries, and Python's warnings, to the same log."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log one record of the standard library."""
        try:
            sentence = record.getMessage()
        except Exception as error:  # noqa: BLE001 - whatever a library formats wrongly must not end the process
            sentence = f"{record.msg} ({type(error).__name__}: {error})"
        level = min(record.levelno // 10 * 10, logging.CRITICAL)  # structlog knows only these levels; libraries may use levels in between
        structlog.get_logger().log(level, sentence, logger=record.name, exc_info=record.exc_info or None)


def configure_logs(settings: Settings, process_name: str) -> None:
    """Set up logging in this process as the settings say; every line names the process."""
    level = logging.getLevelNamesMapping()[settings.logs.level.upper()]
    structlog.configure(
        processors=[
            _naming(process_name),
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            SafeRenderer(_renderer(settings.logs.format), is_json=settings.logs.format == "json"),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: StandardError(),
        cache_logger_on_first_use=False,
    )
    logging.root.handlers = [StructlogHandler()]
    logging.root.setLevel(max(level, logging.INFO))  # debug messages of libraries are left out
    logging.captureWarnings(capture=True)
    if settings.logs.format == "json":
        sys.excepthook = _log_uncaught
        threading.excepthook = lambda broke: _log_uncaught(broke.exc_type, broke.exc_value, broke.exc_traceback)


def last_line(speaker: str, sentence: str) -> str:
    """Return what a process says last when an error ends it: a sentence, or where the log of this process is JSON, an event with it."""
    processors = structlog.get_config()["processors"]
    if not (isinstance(processors[-1], SafeRenderer) and processors[-1].is_json):
        return f"{speaker}: {sentence}"
    line: Any = {"event": "ended by an error", "reason": sentence}
    for process in processors:
        line = process(None, "error", line)
    return str(line)


def _log_uncaught(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    """Log an error that nobody handled, traceback and all, in place of the lines that Python writes."""
    if issubclass(kind, SystemExit):  # a thread that ends itself
        return
    structlog.get_logger().critical("ended by an error that nobody handled", reason=repr(error), exc_info=(kind, error, trace))


def _naming(process_name: str) -> Processor:
    def name(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event.setdefault("process", process_name)
        return event

    return name


def _renderer(kind: str) -> Processor:
    if kind == "text":
        is_terminal = sys.stderr is not None and sys.stderr.isatty()
        as_text = structlog.dev.ConsoleRenderer(colors=is_terminal, exception_formatter=structlog.dev.plain_traceback)
        return lambda logger, method, event: as_text(logger, method, _escaped(event))
    as_json = structlog.processors.JSONRenderer(default=repr)

    def render(logger: WrappedLogger, method: str, event: EventDict) -> Any:
        return as_json(logger, method, structlog.processors.format_exc_info(logger, method, event))

    return render


def _escaped(event: EventDict) -> EventDict:
    """Return the event with control characters escaped, so that no terminal obeys them; JSON escapes them by itself."""
    return {key: legible(value) if isinstance(value, str) else value for key, value in event.items()}


@dataclass(frozen=True)
class SafeRenderer:
    """Makes the line of an event; if a value cannot be shown, a line that at least reports the event."""

    render: Processor
    is_json: bool

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> str:
        """Return the line."""
        try:
            return str(self.render(logger, method, dict(event)))
        except Exception as error:  # noqa: BLE001 - a value whose repr fails must not end the process
            said = f"{event['event']} (its values cannot be shown: {type(error).__name__})"
            kept = {name: event[name] for name in ("process", "level", "timestamp")}
            return str(self.render(logger, method, {"event": said, **kept}))
