"""Compares two commits in one run: the stages of each are measured in turn, round after round, with the ratio of their times."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import msgspec

from bench.command_line import main_of
from mdss.errors import BadInput, MdssError
from trainer.progress import Meter

EXAMPLE = "Example: python -m bench.compare main~1 main --rounds 5"
ROOT = Path(__file__).resolve().parents[1]
Times = dict[str, list[float]]


@dataclass(frozen=True)
class Side:
    """One of the two commits: its name, its files, and a folder for what it makes."""

    name: str
    tree: Path
    work: Path

    def times(self, harness: Path, order: dict[str, Any]) -> Times:
        """Measure once, in a process that takes the measuring code from this checkout and everything else from the commit."""
        self.work.mkdir(exist_ok=True)
        command = [sys.executable, "-P", "-m", "measure.round", msgspec.json.encode({**order, "folder": str(self.work)}).decode()]
        environment = {**os.environ, "PYTHONPATH": f"{harness}{os.pathsep}{self.tree}"}
        done = subprocess.run(command, cwd=self.tree, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            last = [line for line in done.stderr.splitlines() if line.strip()][-1:]
            raise MdssError(f"{self.name}: its stages could not be measured: {''.join(last) or f'code {done.returncode}'}")
        return msgspec.json.decode(done.stdout, type=Times)


@dataclass(frozen=True)
class Row:
    """One stage of both commits: median times, the ratio second / first with its range over the rounds, and that of the fastest parts."""

    stage: str
    first_ms: float
    second_ms: float
    ratio: float
    lowest: float
    highest: float
    fastest: float


def compare(rounds: Sequence[tuple[Times, Times]]) -> list[Row]:
    """Return a row for each stage that both have: medians over the rounds of medians and ratios."""
    rows = []
    for stage in [name for name in rounds[0][0] if name in rounds[0][1]]:
        medians = [(statistics.median(first[stage]), statistics.median(second[stage])) for first, second in rounds]
        ratios = [second / first for first, second in medians]
        first_ms, second_ms = (statistics.median(side) for side in zip(*medians, strict=True))
        fastest = min(min(second[stage]) for _, second in rounds) / min(min(first[stage]) for first, _ in rounds)
        rows.append(Row(stage, first_ms, second_ms, statistics.median(ratios), min(ratios), max(ratios), fastest))
    return rows


def lines_of(rows: Sequence[Row], names: tuple[str, str]) -> Iterator[str]:
    """Yield the comparison as a table."""
    yield f"| stage | {names[0]}, p50 ms | {names[1]}, p50 ms | ratio | over the rounds | of the fastest |"
    yield "|---|---:|---:|---:|---|---:|"
    for row in rows:
        spread = f"{row.lowest:.3f} to {row.highest:.3f}"
        yield f"| {row.stage} | {row.first_ms:.2f} | {row.second_ms:.2f} | {row.ratio:.3f} | {spread} | {row.fastest:.3f} |"


@contextmanager
def worktree_of(revision: str, side: Side) -> Iterator[Side]:
    """Yield the side with the files of a revision; they are removed afterwards."""
    commit = git("rev-parse", "--verify", "--short", f"{revision}^{{commit}}")
    git("worktree", "add", "--detach", str(side.tree), commit)
    try:
        yield replace(side, name=f"{revision} ({commit})")
    finally:
        git("worktree", "remove", "--force", str(side.tree))


def git(*words: str) -> str:
    """Run git in this checkout and return its output. BadInput if it fails."""
    done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=False)  # noqa: S607 - the user's own git
    if done.returncode != 0:
        raise BadInput(f"git {words[0]}: {done.stderr.strip().splitlines()[-1]}; expected two commits of {ROOT}")
    return done.stdout.strip()


def measure_in_turn(sides: tuple[Side, Side], harness: Path, rounds: int, order: dict[str, Any]) -> list[tuple[Times, Times]]:
    """Measure both commits in turn; the first of a round alternates."""
    found = []
    with Meter("rounds", 2 * rounds) as meter:
        for number in range(rounds):
            times: dict[str, Times] = {}
            for side in sides if number % 2 == 0 else sides[::-1]:
                times[side.work.name] = side.times(harness, order)
                meter.step()
            found.append((times[sides[0].work.name], times[sides[1].work.name]))
    return found


@click.command(epilog=EXAMPLE)
@click.argument("first")
@click.argument("second")
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True, help="How often each is measured.")
@click.option("--parts", type=click.IntRange(3), default=20, show_default=True, help="In each round.")
@click.option("--size", default="400x400", show_default=True, metavar="HEIGHTxWIDTH", help="Of the scans.")
@click.option("--store", type=click.Path(exists=True, resolve_path=True), help="A model store that both can read; else each makes a line.")
@click.option("--recipe", help="The product in it.")
@click.option("--data", type=click.Path(exists=True, resolve_path=True), help="Scans of that product.")
@click.option("--unit", type=click.Choice(["m", "mm"]), default="m", show_default=True, help="What the xyz tiffs hold.")
@click.option("--preset", type=click.Choice(["edge", "paper"]), default="edge", show_default=True, help="Networks for the synthetic line.")
@click.option("--quick", "is_quick", is_flag=True, help="Small networks and scans: shows that it works.")
def command(first: str, second: str, rounds: int, **order: Any) -> None:
    """Measure every stage of two commits in turn and print the ratio of their times, SECOND over FIRST.

    Both are measured by the code of this checkout. What disturbs the machine disturbs both. A ratio whose range over the rounds includes
    1 says nothing. On a busy machine the ratio of the fastest parts says more.
    """
    given = [order["store"], order["recipe"], order["data"]]
    if any(given) and not all(given):
        raise BadInput("--store, --recipe, --data: found some of them, expected all three, or none for a synthetic line")
    with TemporaryDirectory(prefix="mdss-compare-") as name:
        folder = Path(name)
        shutil.copytree(ROOT / "measure", folder / "harness" / "measure", ignore=shutil.ignore_patterns("__pycache__"))
        places = [Side(revision, folder / f"tree-{n}", folder / f"work-{n}") for n, revision in enumerate((first, second), 1)]
        with worktree_of(first, places[0]) as one, worktree_of(second, places[1]) as two:
            found = measure_in_turn((one, two), folder / "harness", rounds, order)
    for line in lines_of(compare(found), (one.name, two.name)):
        click.echo(line)


main = main_of(command, "bench.compare")

if __name__ == "__main__":
    sys.exit(main())
