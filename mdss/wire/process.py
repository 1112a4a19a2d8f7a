"""What every process of the station does first and last: settings, log, name, signals, heartbeat, and the exit code for refusals."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
import setproctitle
import structlog
import zmq

from mdss.errors import AddressTaken, BadInput, MdssError, ModelRefused
from mdss.logs import configure_logs, last_line
from mdss.settings import Settings, load_settings
from mdss.wire.heartbeat import HeartbeatSender, ReloadFlag, StopFlag, Tally
from mdss.wire.sockets import LINGER_MS, Sender

# Exit codes; after REFUSED another start would end the same way: settings or models are wrong. Only a process whose last word is "stopped"
# met something that may pass, such as a port that another program has. After HINDERED it does not matter how often it ended: the cause lies
# outside, such as a full disk.
FAILED, REFUSED, HINDERED = 1, 2, 3
REFUSALS = (BadInput, ModelRefused)
log = structlog.get_logger()


@dataclass(frozen=True)
class ProcessContext:
    """What a process has before its own work begins; what it opens itself it registers with `closing`."""

    settings: Settings
    heartbeats: HeartbeatSender
    stop: StopFlag
    reload: ReloadFlag
    config: Path
    context: zmq.Context[zmq.Socket[bytes]]
    closing: ExitStack

    @property
    def tally(self) -> Tally:
        """The counters and timings that heartbeats report."""
        return self.heartbeats.tally

    def changed_settings(self) -> Settings | None:
        """Return the settings again after a SIGHUP, None otherwise; the log applies them at once."""
        if not self.reload.take():
            return None
        try:
            settings = load_settings(self.config)
        except BadInput as error:  # the supervisor wrote only checked settings, so somebody else has changed the file
            log.error("settings not taken over", reason=str(error))
            return None
        configure_logs(settings, self.heartbeats.process)
        return settings


@contextmanager
def open_process(name: str, config: Path) -> Iterator[ProcessContext]:
    """Open what every process needs, and close everything at the end."""
    reload = ReloadFlag().listen()
    settings = load_settings(config)
    configure_logs(settings, name)
    setproctitle.setproctitle(f"mdss: {name}")
    stop = StopFlag().listen()
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    with ExitStack() as closing:
        closing.callback(reload.end)
        closing.callback(context.destroy, LINGER_MS)  # also sockets that an error left open: the context would wait for them forever
        health = Sender(context, "health", settings)
        closing.callback(health.close)
        heartbeats = HeartbeatSender(name, health)
        try:
            yield ProcessContext(settings, heartbeats, stop, reload, config, context, closing)
        except MdssError as error:
            is_final = isinstance(error, REFUSALS) and not isinstance(error, AddressTaken)
            heartbeats.report_state("error" if is_final else "stopped", str(error))  # so that the supervisor can say why
            raise


def main(command: click.Command) -> None:
    """Run a process's command; a refusal becomes one line, and bad settings or models an exit code that means: do not restart."""
    try:
        command.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(REFUSED)
    except MdssError as error:
        _say_last(last_line(str(command.name), str(error)))
        sys.exit(REFUSED if isinstance(error, REFUSALS) else HINDERED if error.may_pass else FAILED)


def _say_last(line: str) -> None:
    """Write to stderr, or drop it if there is no room: Python would then end the process with a code of its own, also for earlier lines."""
    try:
        click.echo(line, err=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
