"""Benches that need a station: short runs as a person starts them, and a station of which nothing runs yet."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

import msgspec

from bench.bench_line import Product
from bench.bench_station import BenchStation
from bench.station_process import StationProcess
from bench.station_watch import Watch
from daemon.private_redis import PrivateRedis
from demo.station import StationFolders
from mdss.settings import load_settings
from tests.station import NAME, Trained

Report = TypeVar("Report")


def run_bench(trained: Trained, folder: Path, kind: type[Report], *words: str) -> Report:
    """Run a bench and return its report; it must end well."""
    written = folder / "report.json"
    line = ["--data", str(trained.data), "--store", str(trained.store), "--recipe", NAME]
    command = [sys.executable, "-m", *words, *line, "--out", str(folder / "out"), "--json", str(written)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return msgspec.json.decode(written.read_bytes(), type=kind)


def idle_station(folder: Path, product: Product) -> BenchStation:
    """Return a bench's station of which nothing is started."""
    redis = PrivateRedis(folder / "redis")
    config = StationFolders(folder, folder, product.store).write_settings(product.recipe, redis.url)
    settings = load_settings(config)
    return BenchStation(settings, StationProcess(config, folder / "station.log"), Watch(settings.http), redis, product, ExitStack())
