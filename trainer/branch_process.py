"""Trains one branch in a process of its own: `python -m trainer.branch_process ORDER`; reports progress on stdout."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import cv2
import msgspec
import torch

from mdss.errors import BadInput, MdssError
from mdss.method.recipe import Recipe
from trainer.branch_inputs import Branch, read_branch_inputs
from trainer.branch_training import train_branch
from trainer.progress import Meter, Report

INTERRUPTED, FAILED = 130, 1


class BranchOrder(msgspec.Struct, frozen=True):
    """What to train, on which device, and with how many threads."""

    branch: Branch
    recipe: Recipe
    device: str
    threads: int
    work: str


class Failure(msgspec.Struct, frozen=True, tag=True):
    """Why the training cannot go on."""

    sentence: str
    is_input: bool  # the fault lies in what was given (BadInput), not in something that happened


def tell(message: Report | Failure) -> None:
    """Write a line to the parent. If the parent is gone, this process sends itself SIGTERM, once, and so keeps a checkpoint."""
    try:
        os.write(sys.stdout.fileno(), msgspec.json.encode(message) + b"\n")
    except BrokenPipeError:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        os.kill(os.getpid(), signal.SIGTERM)


def main() -> int:
    """Train one branch and return the exit code; the parent prints the sentence about a failure."""
    order = msgspec.json.decode(sys.argv[1], type=BranchOrder)
    torch.set_num_threads(order.threads)
    cv2.setNumThreads(order.threads)
    Meter.listener = tell
    work = Path(order.work)
    try:
        train_branch(order.branch, read_branch_inputs(order.branch, work), order.recipe, order.device, work)
    except KeyboardInterrupt:
        return INTERRUPTED
    except MdssError as error:
        tell(Failure(str(error), is_input=isinstance(error, BadInput)))
        return FAILED
    except OSError as error:
        tell(Failure(f"{error.filename}: {error.strerror}" if error.filename else str(error), is_input=False))
        return FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main())
