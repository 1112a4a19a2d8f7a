"""The gate's fresh process: loads one model and scores a few parts, as a branch of a station would."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click
import msgspec
import numpy as np
import torch

from mdss.errors import MdssError, ModelRefused
from mdss.method.golden import reproduce
from mdss.method.model_store import open_version
from mdss.settings import FusionSettings
from trainer.champion import Champion
from trainer.gate_scoring import judgement

FAILED = 1
RGB, XYZ = "rgb", "xyz"
KIB_PER_MIB = 1024


class ProbeOrder(msgspec.Struct, frozen=True):
    """Which model to load, on what, and the folder of the scans: N.rgb.npy and N.xyz.npy."""

    model: str
    device: str
    threads: int | None
    scans: str
    count: int


class ProbeAnswer(msgspec.Struct, frozen=True):
    """What the process found; a scan in which this model finds no part has the score None."""

    scores: tuple[float | None, ...]
    golden: int  # number of golden scans, all of which gave their stored scores
    fault: str  # the sentence about golden scans that did not, or ""
    load_s: float
    peak_mib: float


def probe(order: ProbeOrder) -> ProbeAnswer:
    """Verify and load the model, and score the scans. ModelRefused if the model cannot be used."""
    if order.threads is not None:
        torch.set_num_threads(order.threads)
    started_s = time.perf_counter()
    model = Champion.of(open_version(Path(order.model)), order.device)
    load_s = time.perf_counter() - started_s
    folder = Path(order.scans)
    scans = [(np.load(folder / f"{number}.{RGB}.npy"), np.load(folder / f"{number}.{XYZ}.npy")) for number in range(order.count)]
    scores = tuple(judgement(model, scan, FusionSettings()).scores.get("fused") for scan in scans)
    golden, fault = reproduced(model)
    return ProbeAnswer(scores, golden, fault, load_s, peak_mib())


def reproduced(model: Champion) -> tuple[int, str]:
    """Return how many golden scans gave their stored scores, and "", or 0 and the sentence on the first that did not."""
    try:
        return reproduce(model.folder, model.golden_scores), ""
    except ModelRefused as refused:
        return 0, str(refused)


def peak_mib() -> float:
    """Return the most memory that this process has held; getrusage would count its parent's, too."""
    lines = Path("/proc/self/status").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / KIB_PER_MIB


def main() -> int:
    """Read the order from standard input, print the answer, and return the exit code."""
    try:
        answer = probe(msgspec.json.decode(sys.stdin.buffer.read(), type=ProbeOrder))
    except MdssError as error:
        click.echo(str(error), err=True)
        return FAILED
    click.echo(msgspec.json.encode(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
