"""The subscriber of a chaos run, in its own process: logs every verdict, and after a kill continues behind the last one logged."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import click

from bench.bench_log import LineLog
from bench.chaos_audit import SubscriberEvent
from mdss.client import VerdictStream

WAIT_S = 0.2


@click.command()
@click.option("--endpoint", required=True)
@click.option("--snapshot-endpoint", required=True)
@click.option("--log", "log_path", required=True, type=click.Path(path_type=Path))
def command(endpoint: str, snapshot_endpoint: str, log_path: Path) -> None:
    """Log verdicts until SIGTERM."""
    asked = list[int]()
    signal.signal(signal.SIGTERM, lambda number, _: asked.append(number))
    log = LineLog(log_path, SubscriberEvent)
    since = log.before[-1].sequence if log.before else 0
    with VerdictStream(endpoint, snapshot_endpoint, since=since) as stream:
        while not asked:
            verdict = stream.receive(WAIT_S)
            if verdict is not None:
                seen = SubscriberEvent(
                    sequence=verdict.sequence, result_id=verdict.result_id, evaluation=verdict.evaluation, at_ns=time.time_ns()
                )
                log.write(seen)


if __name__ == "__main__":
    command()
