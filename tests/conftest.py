"""What tests of more than one folder share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from daemon.private_redis import PrivateRedis


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateRedis]:
    """One real Redis for tests that only write keys of their own; a test that stops it or fills it starts another."""
    with PrivateRedis(tmp_path_factory.mktemp("redis")) as server:
        yield server
