"""What tests of more than one folder share."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator

import pytest
import structlog
import torch
from hypothesis import HealthCheck, settings

from daemon.private_redis import PrivateRedis

# Busy cores may be slow; and with the same examples each time, a test fails for who has changed something.
settings.register_profile("no clock", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("no clock")


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Compute in one thread: two that wait for each other on busy cores take four times as long."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _heeds_ctrl_c() -> None:
    """Heed SIGINT: a suite that a script started in the background was told to ignore it, and so would be every process it starts."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateRedis]:
    """One real Redis for tests that only write keys of their own; a test that stops it or fills it starts another."""
    with PrivateRedis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    """Log as before a test that ran a command here, which sends the log where the command wants it."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.fixture(scope="module")
def quiet_log() -> Iterator[None]:
    """No log: thousands of histories, each with dozens of lines, would be kept for nobody."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**before)
