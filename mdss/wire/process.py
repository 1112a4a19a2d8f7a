"""What every process of the station does first and last: settings, log, name, signals, heartbeat; one exit code for what it refuses."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
import setproctitle
import structlog
import zmq

from mdss.errors import BadInput, MdssError, ModelRefused
from mdss.logs import configure_logs
from mdss.settings import Settings, load_settings
from mdss.wire.pulse import Pulse, ReloadFlag, StopFlag, Tally
from mdss.wire.sockets import LINGER_MS, Sender

FAILED, REFUSED = 1, 2  # exit codes; after the second another try would end the same: settings or models are wrong
REFUSALS = (BadInput, ModelRefused)
log = structlog.get_logger()


@dataclass(frozen=True)
class Opened:
    """What a process has before it does anything of its own; what it opens itself it hands to `closing`."""

    settings: Settings
    pulse: Pulse
    stop: StopFlag
    reload: ReloadFlag
    config: Path
    context: zmq.Context[zmq.Socket[bytes]]
    closing: ExitStack

    @property
    def tally(self) -> Tally:
        """What the heartbeat reports."""
        return self.pulse.tally

    def changed_settings(self) -> Settings | None:
        """Return the settings anew after a SIGHUP, and None at any other time; the log keeps to them at once."""
        if not self.reload.take():
            return None
        try:
            settings = load_settings(self.config)
        except BadInput as error:  # the supervisor wrote what it had checked, so somebody has laid hands on the file
            log.error("settings not taken over", reason=str(error))
            return None
        configure_logs(settings, self.pulse.process)
        return settings


@contextmanager
def opened(name: str, config: Path) -> Iterator[Opened]:
    """Open what every process needs, and close everything in the end."""
    reload = ReloadFlag().listen()
    settings = load_settings(config)
    configure_logs(settings, name)
    setproctitle.setproctitle(f"mdss: {name}")
    stop = StopFlag().listen()
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    with ExitStack() as closing:
        closing.callback(reload.end)
        closing.callback(context.destroy, LINGER_MS)  # also what an error left open, or it would wait for ever
        health = Sender(context, "health", settings)
        closing.callback(health.close)
        pulse = Pulse(name, health)
        try:
            yield Opened(settings, pulse, stop, reload, config, context, closing)
        except MdssError as error:
            pulse.say("error" if isinstance(error, REFUSALS) else "stopped", str(error))  # so that the supervisor can say why
            raise


def main(command: click.Command) -> None:
    """Run a process's command; what it refuses becomes one sentence, and bad settings or models the code that means: do not try again."""
    try:
        command.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(REFUSED)
    except MdssError as error:
        click.echo(f"{command.name}: {error}", err=True)
        sys.exit(REFUSED if isinstance(error, REFUSALS) else FAILED)
