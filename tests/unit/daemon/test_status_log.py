"""What the pages say in the log."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
import structlog

from daemon.status import Board, serve
from daemon.verbs import request_report
from mdss.errors import MdssError
from mdss.retraining import RetrainRecord
from mdss.settings_access import HttpSettings
from tests.fakes import FakeClock
from tests.station import wait_until


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """The log, in memory."""
    stream = io.StringIO()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(stream))
    yield stream
    structlog.reset_defaults()


def test_a_page_that_breaks_on_a_disk_says_so_in_the_log(written: io.StringIO) -> None:
    def records() -> tuple[RetrainRecord, ...]:
        raise PermissionError("of another user")

    server = serve(Board("line 1", FakeClock(), retrainings=records), "127.0.0.1", 0)
    try:
        with pytest.raises(MdssError, match="found no answer"):
            request_report(HttpSettings(port=server.server_address[1]))
        wait_until(lambda: "PermissionError: of another user" in written.getvalue())
    finally:
        server.shutdown()
        server.server_close()
    assert "a page could not be answered" in written.getvalue()
