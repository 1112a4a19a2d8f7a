"""Verb `mdss replay`: sends a folder of recorded scans as a camera would."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import click
import msgspec
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from daemon.client_keys import keys_for
from daemon.recording import NOT_MEASURED, RecordedPair, find_pairs, read_pair
from daemon.replay_verdicts import ASK_EVERY, VerdictTally
from mdss.client import MOST_REMEMBERED, FrameLabels, FrameSender, VerdictStream
from mdss.errors import BadInput, legible
from mdss.settings import load_settings
from mdss.terminal import plain_console
from mdss.verb_options import FiniteRange, config_option
from mdss.wire.camera import Nack
from mdss.wire.verdict import Evaluation

SILENT_AFTER_S, LOOK_EVERY_S = 5.0, 0.01
EXAMPLE = "Example: mdss replay data/cable_gland --config station.yaml --rate 2"


@dataclass(frozen=True)
class Plan:
    """What to send, under which recipe, and how fast."""

    pairs: list[RecordedPair]
    recipe: str
    unit: Literal["m", "mm"]
    rate: float | None  # parts per second; None: as fast as credit allows
    is_endless: bool
    is_simulated: bool
    timeout_s: float


@dataclass
class Report:
    """Counts what became of the scans."""

    tally: VerdictTally
    sent: int = 0
    # frame_id -> part_id, of the newest frames and of those that were refused
    parts: dict[str, str] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)
    started_s: float = field(default_factory=time.monotonic)

    def note(self, frame_id: str, part_id: str, sender: FrameSender) -> None:
        """Count a frame that was sent; an endless replay keeps only the names that may still be reported."""
        self.sent += 1
        self.parts[frame_id] = part_id
        if len(self.parts) > 3 * MOST_REMEMBERED:
            newest = dict(itertools.islice(self.parts.items(), len(self.parts) - MOST_REMEMBERED, None))
            told_of = sender.rejected.keys() | sender.put_off.keys()
            self.parts = {name: part for name, part in self.parts.items() if name in told_of} | newest

    @property
    def seconds(self) -> float:
        """How long it has taken up to now."""
        return time.monotonic() - self.started_s

    def summary(self, sender: FrameSender, seconds: float) -> dict[str, Any]:
        """Return the figures that --json prints, of a replay that took so long."""
        refused = self._of(sender.rejected)
        judged = self.sent - sender.rejected_count - sender.outstanding
        return {
            "sent": self.sent,
            "done": judged,
            "rejected": refused,
            "unanswered": sender.outstanding,
            "put_off": self._of(sender.put_off),
            "unreadable": self.unreadable,
            "evaluations": {name: self.tally.evaluations[name] for name in get_args(Evaluation) if self.tally.evaluations[name]},
            "undefined": list(self.tally.undefined),
            "unknown": self.tally.unknown,
            "seconds": round(seconds, 3),
            "parts_per_s": round(judged / seconds, 3) if seconds else 0.0,
        }

    def _of(self, nacks: Mapping[str, Nack]) -> list[dict[str, str]]:
        return [
            {"part_id": self.parts[name], "code": nack.code, "reason": nack.reason} for name, nack in nacks.items() if name in self.parts
        ]


@click.command(epilog=EXAMPLE)
@click.argument("directory", type=click.Path(path_type=Path, exists=True, file_okay=False))
@config_option
@click.option("--source", "--source-id", default="replay", show_default=True, help="The camera's name.")
@click.option("--rate", type=FiniteRange(0, min_open=True), help="Parts per second; if left out, as fast as credit allows.")
@click.option("--unit", type=click.Choice(["m", "mm"]), default="m", show_default=True, help="The unit of the clouds in the TIFF files.")
@click.option("--recipe", help="The recipe to judge by; may be left out if the station has only one.")
@click.option("--split", default="test", show_default=True, help="Which split of the dataset to send.")
@click.option("--loop", "is_endless", is_flag=True, help="Begin again at the end, until Ctrl-C.")
@click.option("--as-live", is_flag=True, help="Send them as real parts: retraining may learn from those that are kept.")
@click.option("--timeout-s", type=FiniteRange(0), default=60.0, show_default=True, help="How long to wait for credit and the last verdict.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def command(directory: Path, config: Path, source: str, as_json: bool, **choices: Any) -> None:
    """Send the scans recorded under DIRECTORY to a running station, as a camera would.

    The scans count as simulated, so that no training learns from them, unless --as-live is given. `mdss watch` shows the verdicts. The exit
    code is 1 if a scan got no verdict or one that is Undefined, or if no verdict is OK or NotOK.
    """
    settings = load_settings(config)
    plan = _plan(directory, settings.models.recipes, choices)
    live, missed = settings.verdicts.endpoint, settings.verdicts.snapshot_endpoint
    keys = keys_for(settings, settings.camera.endpoint, live, missed)
    report = Report(VerdictTally(lambda since: VerdictStream(live, missed, since=since, keys=keys)))
    with FrameSender(settings.camera.endpoint, source, send_timeout_s=plan.timeout_s, keys=keys) as sender:
        try:
            _look_for_station(sender, min(SILENT_AFTER_S, plan.timeout_s))
            _send_all(plan, sender, report)
        except KeyboardInterrupt:
            click.echo("replay: stopped, waiting for the last verdicts", err=True)
        sender.wait_until_done(plan.timeout_s)
        seconds = report.seconds  # without the asking
        report.tally.ask(sender.done)
        summary = report.summary(sender, seconds)
    click.echo(msgspec.json.encode(summary).decode() if as_json else _line(summary))
    is_good = report.tally.is_good and not (summary["unreadable"] or summary["rejected"] or summary["unanswered"])
    raise click.exceptions.Exit(0 if is_good else 1)


def _plan(directory: Path, recipes: tuple[str, ...], choices: dict[str, Any]) -> Plan:
    recipe = choices["recipe"] or (recipes[0] if len(recipes) == 1 else None)
    if recipe is None:
        raise BadInput(f"--recipe: found none, expected one of {', '.join(recipes)}")
    return Plan(
        pairs=find_pairs(directory, choices["split"]),
        recipe=recipe,
        unit=choices["unit"],
        rate=choices["rate"],
        is_endless=choices["is_endless"],
        is_simulated=not choices["as_live"],
        timeout_s=choices["timeout_s"],
    )


def _look_for_station(sender: FrameSender, patience_s: float) -> None:
    """Say so if no station answers; sending waits for it all the same, because it may be starting."""
    end_s = time.monotonic() + patience_s
    while not sender.is_answered and time.monotonic() < end_s:
        sender.attend(LOOK_EVERY_S)
    if not sender.is_answered:
        click.echo(f"replay: no station answers at {sender.endpoint}; it is waited for", err=True)


def _send_all(plan: Plan, sender: FrameSender, report: Report) -> None:
    console = plain_console(stderr=True)
    columns = (TextColumn("replay"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("replay", total=None if plan.is_endless else len(plan.pairs))
        for number, pair in enumerate(_order(plan)):
            if number == len(plan.pairs) and not report.sent:
                raise BadInput(f"replay: found no scan among {number} that can be read or sent, expected some to repeat")
            if plan.rate is not None:
                sender.attend(max(0.0, report.started_s + number / plan.rate - time.monotonic()))
            _send_one(plan, pair, sender, report)
            progress.advance(task)


def _order(plan: Plan) -> Iterator[RecordedPair]:
    return itertools.cycle(plan.pairs) if plan.is_endless else iter(plan.pairs)


def _send_one(plan: Plan, pair: RecordedPair, sender: FrameSender, report: Report) -> None:
    try:
        rgb, xyz = read_pair(pair)
        labels = FrameLabels(
            part_id=pair.part_id, recipe_id=plan.recipe, unit=plan.unit, invalid=NOT_MEASURED, is_simulated=plan.is_simulated
        )
        frame_id = sender.send(rgb, xyz, **labels)
    except BadInput as error:
        click.echo(f"replay: skipped: {legible(pair.part_id)}: {error}", err=True)
        sentence = f"{pair.part_id}: {error}"
        if sentence not in report.unreadable:  # an endless replay meets it again
            report.unreadable.append(sentence)
        return
    report.note(frame_id, pair.part_id, sender)
    if report.sent % ASK_EVERY == 0:
        report.tally.ask(sender.done)


def _line(summary: dict[str, Any]) -> str:
    refused, put_off, unreadable, undefined = (summary[name] for name in ("rejected", "put_off", "unreadable", "undefined"))
    lines = [f"replay: {refusal['part_id']} refused: {refusal['code']}: {refusal['reason']}" for refusal in refused]
    lines += [f"replay: {nack['part_id']} not taken yet: {nack['code']}: {nack['reason']}" for nack in put_off]
    lines += [f"replay: {verdict['part_id']} Undefined: {verdict['code']}: {verdict['reason']}" for verdict in undefined]
    counts = f"{summary['sent']} sent, {summary['done']} judged, {len(refused)} refused, {len(unreadable)} unreadable"
    lines.append(f"replay: {counts}, {summary['unanswered']} unanswered, in {summary['seconds']} s ({summary['parts_per_s']} parts/s)")
    said = [f"{count} {evaluation}" for evaluation, count in summary["evaluations"].items()]
    said += [f"{summary['unknown']} that the station does not tell"] if summary["unknown"] else []
    lines += [f"replay: verdicts: {', '.join(said)}"] if said else []
    return "\n".join(map(legible, lines))
