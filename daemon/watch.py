"""Verb `mdss watch`: shows the verdict stream in a terminal, one line per part."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import msgspec
from rich.text import Text

from daemon.client_keys import keys_for
from daemon.verdict_words import COLOURS, latency_ms, score, strongest_region_text
from mdss.client import VerdictStream
from mdss.settings import load_settings
from mdss.terminal import plain_console
from mdss.verb_options import config_option
from mdss.wire.verdict import Verdict

SILENT_AFTER_S = 5.0
OTHER_JOURNAL = "the station's journal is a new one, or ends before the sequence that was known"
EXAMPLE = "Example: mdss watch --config station.yaml --count 10"


@click.command(epilog=EXAMPLE)
@config_option
@click.option("--count", type=click.IntRange(min=1), help="End after this many verdicts.")
@click.option("--since", type=click.IntRange(min=0), help="Begin after this sequence; if left out, with the next verdict.")
@click.option("--json", "as_json", is_flag=True, help="Print each verdict as a line of JSON.")
def watch(config: Path, count: int | None, since: int | None, as_json: bool) -> None:
    """Show each verdict of a running station as it comes, until Ctrl-C."""
    settings = load_settings(config)
    console = plain_console(soft_wrap=True)
    live, missed = settings.verdicts.endpoint, settings.verdicts.snapshot_endpoint
    with VerdictStream(live, missed, since=since, keys=keys_for(settings, live, missed)) as stream:
        for verdict in _shown_verdicts(stream, count):
            if as_json:
                click.echo(msgspec.json.encode(verdict).decode())
            else:
                console.print(line(verdict))


def _shown_verdicts(stream: VerdictStream, count: int | None) -> Iterator[Verdict]:
    shown, beat, is_silent = 0, stream.beats, False
    try:
        while count is None or shown < count:
            journals_before = stream.new_journals
            verdict = stream.receive(SILENT_AFTER_S)
            was_silent, is_silent = is_silent, verdict is None and stream.beats is beat
            beat = stream.beats
            if is_silent and not was_silent:
                click.echo(f"watch: no heartbeat for {SILENT_AFTER_S:g} s; expected one each second from a station that runs", err=True)
            if stream.new_journals > journals_before:
                click.echo(f"watch: {OTHER_JOURNAL}; all of its verdicts follow", err=True)
            if verdict is not None:
                shown += 1
                yield verdict
    except KeyboardInterrupt:
        return


def line(verdict: Verdict) -> Text:
    """Return one verdict as a coloured line: evaluation, part, score and threshold, branch, place, latency."""
    text = Text(f"{verdict.evaluation:<13}", style=COLOURS[verdict.evaluation])
    text.append(f"{verdict.part_id:<24} ", style="default")
    text.append(f"score {score(verdict):<18} {strongest_region_text(verdict):<42} {latency_ms(verdict):6.0f} ms", style="default")
    if verdict.evaluation != "OK" and verdict.reasons:
        text.append(f"  {verdict.code + ': ' if verdict.code else ''}{'; '.join(verdict.reasons)}", style="dim")
    return text
