"""How often good parts exceed a threshold, and how often it says that they will: parts in numbers alone, of which few stand far out."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import click
import msgspec
import numpy as np

from bench.command_line import main_of
from mdss.method.calibration import MIN_PARTS, Calibration, Statistics, find_threshold, now, percent, score_limit
from mdss.method.fusion import fused_score
from mdss.method.presets import EDGE
from trainer.calibrate import NO_THRESHOLD
from trainer.progress import tracked

EXAMPLE = "Example: python -m bench.promise --parts 10,19,30 --rounds 20000"
UNLIMITED = Calibration(
    rgb=Statistics(mean=0.0, std=1.0),
    sdf=Statistics(mean=0.0, std=1.0),
    threshold=NO_THRESHOLD,
    map_level=0.0,
    fusion=EDGE.fusion,
    calibrated_at=now(),
    validation_scores=(),
)


@dataclass(frozen=True)
class Line:
    """Good parts whose scores are lognormal, and of which one in n + 1 lies `factor` times as far out in shape."""

    name: str
    colour_spread: float  # deviation of the logarithms
    shape_spread: float
    factor: float

    def parts(self, count: int, random: np.random.Generator) -> tuple[list[float], list[float]]:
        """Return the scores of both branches, `count` of each."""
        colour, shape = (np.exp(spread * random.standard_normal(count)) for spread in (self.colour_spread, self.shape_spread))
        stands_out = random.random(count) < 1 / count
        return colour.tolist(), np.where(stands_out, self.factor * shape, shape).tolist()


LINES = (
    Line("none stands out", 0.1, 0.1, 1.0),
    Line("3 times as far", 0.1, 0.1, 3.0),
    Line("10 times", 0.1, 0.1, 10.0),
    Line("10 times, shape spread by a third", 0.1, 0.3, 10.0),
)


@click.command(epilog=EXAMPLE)
@click.option("--parts", default="10,19,30,60", show_default=True, metavar="N,...", help="Numbers of validation parts.")
@click.option("--rounds", type=click.IntRange(min=1), default=20_000, show_default=True, help="Thresholds for each figure.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the parts.")
def command(parts: str, rounds: int, seed: int) -> None:
    """Set thresholds as `edge` does, by n good parts, and count how many of as many fresh parts exceed theirs."""
    counts = numbers_of(parts)
    click.echo("\n".join(table(counts, rounds, seed)))


def numbers_of(words: str) -> list[int]:
    """Return the numbers of validation parts that the option names; UsageError if they are none, or too small for a threshold."""
    counts = [int(word) if word.isdecimal() else 0 for word in words.split(",")]
    if min(counts) < MIN_PARTS:
        raise click.UsageError(f"--parts: found {words!r}, expected numbers from {MIN_PARTS} on, such as 10,19,30")
    return counts


def table(counts: Sequence[int], rounds: int, seed: int) -> list[str]:
    """Return the lines of the table: stated rates, and those of each kind of line."""
    lines = [f"| validation parts | stated | {' | '.join(line.name for line in LINES)} |", "|---:" * (2 + len(LINES)) + "|"]
    for count in tracked(counts, "validation parts"):
        found = [rates(line, count, rounds, np.random.default_rng(seed)) for line in LINES]
        kept = " | ".join(percent(exceeded) for _, exceeded in found)
        lines.append(f"| {count} | {percent(found[0][0])} | {kept} |")
    return lines


def rates(line: Line, count: int, rounds: int, random: np.random.Generator) -> tuple[float, float]:
    """Return the rate that thresholds by `count` validation parts state, and the share of rounds in which one more part exceeds its own."""
    exceeded, stated = 0, 0.0
    for _ in range(rounds):
        colour, shape = line.parts(count + 1, random)
        limits = [score_limit(scores[:count], EDGE.fusion.score_floor) for scores in (colour, shape)]
        calibration = msgspec.structs.replace(UNLIMITED, colour_limit=limits[0], score_floor=limits[1])
        scores = [fused_score(*pair, calibration) for pair in zip(colour, shape, strict=True)]
        threshold = find_threshold(scores[:count], EDGE.threshold)
        exceeded, stated = exceeded + (scores[count] > threshold.value), threshold.stated_false_reject_rate
    return stated, exceeded / rounds


main = main_of(command, "bench.promise")

if __name__ == "__main__":
    sys.exit(main())
