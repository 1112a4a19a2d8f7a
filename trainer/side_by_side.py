"""Trains both branches side by side, each in a process of its own: two processes with half the threads do more than one with all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Self

import msgspec
import torch

from mdss.errors import BadInput, CutOff, MdssError
from mdss.interrupts import HeldInterrupt
from mdss.method.recipe import Recipe
from trainer import distributed
from trainer.branch_inputs import BRANCHES, Branch, Part, write_branch_inputs
from trainer.branch_process import BranchOrder, Failure
from trainer.branch_training import TITLES, is_trained, train_branch
from trainer.low_priority import POOLS
from trainer.progress import Meter, Report

LOOK_EVERY_S = 0.5
# Keeps freed memory in the process: each step needs it again, and the kernel would clear it page by page in between.
KEEPS_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(8 << 30)}


def train_both(parts: Sequence[Part], recipe: Recipe, device: str, work: Path) -> None:
    """Train the branches that are not trained yet, and leave their weights in `work`; with one thread only, one after the other.

    Ctrl-C, SIGTERM or SIGHUP leaves a checkpoint of each branch. If one branch fails, the other is stopped, keeps its checkpoint, and the
    error is raised.
    """
    missing = [branch for branch in BRANCHES if not is_trained(branch, work)]
    if distributed.is_shared():
        for branch in distributed.wanted_by_first(BRANCHES, missing):
            train_branch(branch, parts, recipe, device, work)
        return
    threads = torch.get_num_threads() // len(BRANCHES)  # the same if one branch is done already, so that a resumed training learns the same
    if threads == 0:
        for branch in missing:
            train_branch(branch, parts, recipe, device, work)
        return
    with Children() as children:
        for branch in missing:
            write_branch_inputs(branch, parts, work)
            children.start(BranchOrder(branch, recipe, device, threads, str(work)))
        children.wait_for_all()


@dataclass
class Child:
    """The process of one branch, and the stage that it reports."""

    branch: Branch
    process: subprocess.Popen[bytes]
    failure: Failure | None = None
    meter: Meter | None = None
    shown: ExitStack = field(default_factory=ExitStack)

    def on_message(self, message: Report | Failure) -> None:
        """Show a report, or keep a failure."""
        if isinstance(message, Failure):
            self.failure = message
            return
        if self.meter is None or self.meter.title != message.title:
            self.shown.close()
            self.meter = self.shown.enter_context(Meter(message.title, message.total, message.done))
        self.meter.reach(message.done, message.note)

    def end(self) -> MdssError | None:
        """End the display; return the error that ended the process, or None if it is done."""
        self.shown.close()
        code = self.process.returncode
        if self.failure:
            return (BadInput if self.failure.is_input else MdssError)(self.failure.sentence)
        if code == 0:
            return None
        process = f"{TITLES[self.branch]}: its process"
        if code > 0:
            return MdssError(f"{process} ended with exit code {code}; its messages above say why")
        return CutOff(f"{process} was ended by signal {-code}; what it had learned is kept: train --resume or the next retrain goes on")


class Children:
    """The processes of both branches; leaving the block kills those that still run.

    They hold the training's lock as this process does. If it is killed, they leave a checkpoint, and nobody begins another training in
    the same folder meanwhile.
    """

    def __init__(self) -> None:
        self._running: list[Child] = []
        self._heard: SimpleQueue[tuple[Child, Report | Failure | None]] = SimpleQueue()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for child in self._running:
            child.process.kill()
        for child in self._running:
            child.process.wait()
            child.shown.close()

    def start(self, order: BranchOrder) -> None:
        """Start one process. It has its own process group, so that Ctrl-C in the terminal reaches it only once, through this process."""
        threads = {name: str(order.threads) for name in POOLS}
        process = subprocess.Popen(
            [sys.executable, "-m", "trainer.branch_process", msgspec.json.encode(order)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            env=os.environ | threads | KEEPS_MEMORY,
            process_group=0,
            close_fds=False,  # the training's lock is handed on; what Python opens otherwise is not
        )
        child = Child(order.branch, process)
        self._running.append(child)
        threading.Thread(target=self._read, args=(child,), daemon=True).start()

    def wait_for_all(self) -> None:
        """Show their reports until all are done. If one fails, or this process is asked to stop, stop the others."""
        error: MdssError | None = None
        with HeldInterrupt() as interrupt:
            is_told = False
            while self._running:
                if (interrupt.is_asked or error) and not is_told:
                    self._stop()
                    is_told = True
                ended = self._next()
                if ended:
                    self._running.remove(ended)
                    found = ended.end()
                    error = error or (None if is_told else found)
        if error:
            raise error

    def _next(self) -> Child | None:
        """Wait a moment for a message; return the child if it has ended."""
        try:
            child, message = self._heard.get(timeout=LOOK_EVERY_S)
        except Empty:
            return None
        if message is None:
            return child
        child.on_message(message)
        return None

    def _stop(self) -> None:
        for child in self._running:
            child.process.send_signal(signal.SIGTERM)

    def _read(self, child: Child) -> None:
        try:
            with child.process:
                for line in child.process.stdout or ():
                    self._heard.put((child, msgspec.json.decode(line, type=Report | Failure)))
        finally:
            self._heard.put((child, None))
