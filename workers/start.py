"""Starts a worker process: opens its links, loads its models, runs the loop, and closes everything at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar, runtime_checkable

import click

from mdss.journal import JournalFailed
from mdss.settings import Settings
from mdss.wire.messages import Message
from mdss.wire.model_plan import PlanFile
from mdss.wire.part_in_hand import PartInHand
from mdss.wire.process import ProcessContext, main, open_process
from mdss.wire.sockets import Receiver, Sender
from workers.held_models import HeldModels, ModelUse
from workers.loop import Loop, Worker

__all__ = ["ProcessContext", "Role", "Wiring", "index_option", "main", "work"]
Loaded = TypeVar("Loaded")
index_option = click.option("--index", default=0, help="Which of the branch's processes this is.")


@runtime_checkable
class Reconfigurable(Protocol):
    """A worker that applies some settings while it runs."""

    def reconfigure(self, settings: Settings) -> None:
        """Apply changed settings from the next message on."""


class InHandRecorder:
    """Records which part the worker has in hand; after an error the record stays, because the process ends with that part."""

    def __init__(self, worker: Worker, hand: PartInHand) -> None:
        self._worker, self._hand = worker, hand
        self.tick, self.drain = worker.tick, worker.drain

    def step(self, message: Message) -> Iterable[Message]:
        """Return the messages that follow from one message."""
        self._hand.write(getattr(message, "result_id", ""))
        try:
            answers = list(self._worker.step(message))
        except JournalFailed:  # the journal is at fault, not the part
            self._hand.write("")
            raise
        self._hand.write("")
        return answers


@dataclass(frozen=True)
class Wiring:
    """A worker's place in the line: its name, the link it reads, and the link for each type of message it sends."""

    name: str
    inlet: str
    outlets: Mapping[type[Message], str]


@dataclass(frozen=True)
class Role(Generic[Loaded]):
    """How a worker uses models, and how the worker is made from its loaded models by key."""

    model_use: Callable[[ProcessContext], ModelUse[Loaded]]
    worker: Callable[[ProcessContext, Mapping[str, Loaded]], Worker]


def work(wiring: Wiring, config: Path, role: Role[Loaded]) -> None:
    """Open everything, load the models, and run the worker until it is asked to stop."""
    with open_process(wiring.name, config) as process:
        runtime = Path(process.settings.station.runtime_directory)
        models = HeldModels(role.model_use(process), Path(process.settings.models.store), PlanFile(runtime), process.heartbeats)
        process.closing.callback(models.close)
        models.begin()
        worker = role.worker(process, models.loaded)
        senders = {link: Sender(process.context, link, process.settings) for link in sorted(set(wiring.outlets.values()))}
        inbox = Receiver(process.context, wiring.inlet, process.settings)
        process.closing.callback(inbox.close)
        for sender in senders.values():
            process.closing.callback(sender.close)
        outlets = {kind: senders[link] for kind, link in wiring.outlets.items()}
        hand = PartInHand(runtime, wiring.name)
        process.closing.callback(hand.close)

        def between() -> None:
            apply_changed_settings(process, worker)
            models.look()

        Loop(InHandRecorder(worker, hand), inbox, outlets, process.heartbeats, process.stop).run(between)


def apply_changed_settings(process: ProcessContext, worker: Worker) -> None:
    """Pass changed settings to a worker that uses them; the log applies them in every process."""
    settings = process.changed_settings()
    if settings is not None and isinstance(worker, Reconfigurable):
        worker.reconfigure(settings)
