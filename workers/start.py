"""What every worker process does first and last: settings, log, name, links, model; one exit code for what it refuses."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import click
import setproctitle
import zmq

from mdss.errors import MdssError
from mdss.logs import configure_logs
from mdss.settings import Settings, load_settings
from mdss.wire.messages import Message
from mdss.wire.sockets import Receiver, Sender
from workers.loop import Loop, Pulse, StopFlag, Tally, Worker

REFUSED = 2  # the supervisor does not start a process again that ended with this code

config_option = click.option("--config", required=True, type=click.Path(path_type=Path, dir_okay=False), help="The station's settings.")
index_option = click.option("--index", default=0, help="Which of the branch's processes this is.")


@dataclass(frozen=True)
class Place:
    """Where a worker sits in the line: its name, the link it reads, and the link by which each kind of message leaves."""

    name: str
    inlet: str
    outlets: Mapping[type[Message], str]


@dataclass(frozen=True)
class Opened:
    """What a worker is made from; what it opens itself it hands to `closing`."""

    settings: Settings
    tally: Tally
    context: zmq.Context[zmq.Socket[bytes]]
    closing: ExitStack


def work(place: Place, config: Path, make: Callable[[Opened], Worker]) -> None:
    """Open everything, make the worker, and run it until it is asked to stop."""
    settings = load_settings(config)
    configure_logs(settings, place.name)
    setproctitle.setproctitle(f"mdss: {place.name}")
    stop = StopFlag().listen()
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    with ExitStack() as closing:
        closing.callback(context.term)
        health = Sender(context, "health", settings)
        closing.callback(health.close)
        pulse = Pulse(place.name, health)
        worker = make(Opened(settings, pulse.tally, context, closing))
        senders = {link: Sender(context, link, settings) for link in sorted(set(place.outlets.values()))}
        inbox = Receiver(context, place.inlet, settings)
        closing.callback(inbox.close)
        for sender in senders.values():
            closing.callback(sender.close)
        Loop(worker, inbox, {kind: senders[link] for kind, link in place.outlets.items()}, pulse, stop).run()


def main(command: click.Command) -> None:
    """Run a worker's command; what it refuses becomes one sentence and the code that means: do not try again."""
    try:
        command.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(REFUSED)
    except MdssError as error:
        click.echo(f"{command.name}: {error}", err=True)
        sys.exit(REFUSED)
