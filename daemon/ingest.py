"""Process `ingest`, the station's front door: it takes frames from cameras, records them, and holds each part until its verdict."""

from __future__ import annotations

import resource
import time
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

import click
import structlog
import zmq

from daemon.collection_queue import CollectionQueue
from daemon.intake import Intake, IntakeServices, Reply
from daemon.outbox import Outbox
from daemon.quarantine import Quarantine
from mdss.collect_request import CollectRequests
from mdss.errors import MdssError
from mdss.journal import JOURNAL, Journal
from mdss.settings import Settings
from mdss.settings_types import LARGEST_SIDE_PX
from mdss.verb_options import config_option
from mdss.wire import camera
from mdss.wire.authentication import ClientAuthentication
from mdss.wire.messages import Judged, Resend
from mdss.wire.model_plan import PlanFile
from mdss.wire.process import ProcessContext, main, open_process
from mdss.wire.sockets import BoundedReceiver, Receiver, Sender, bind_socket

WAIT_MS = 50
WAIT_FOR_ROOM_MS = 5  # while frames wait for the next stage
JOURNAL_WAIT_S = 1.0  # waiting longer for another process's lock would delay the PONGs to cameras
LARGEST_PAYLOAD_BYTES = LARGEST_SIDE_PX**2 * 12  # a full cloud; zmq closes a connection that sends more, before it reserves memory
# answers that wait for one camera, far more than its credit can call for: a camera waits without end for a DONE that was dropped
MOST_ANSWERS = 1000
MOST_FRAMES = 1 + 3 + camera.MOST_PAYLOADS + 1  # sender, message, and one more frame that shows the message is too long
# held frames plus forty of the largest frames in transit; ZeroMQ itself does not limit a message of many frames
MEMORY_BYTES = 3 * 1024**3
LAST_VERDICTS_S = 4.0  # after the drain time-out, for the verdicts that fusion gives when it is stopped
LAST_SCANS_S = 5.0  # within the same time, for the scans that wait for collect then
log = structlog.get_logger()


class IngestSockets:
    """The sockets of ingest: one for all cameras, four for the other processes."""

    def __init__(self, process: ProcessContext) -> None:
        context, settings, closing = process.context, process.settings, process.closing
        self.authentication = ClientAuthentication(context, settings)
        closing.callback(self.authentication.close)
        has_keys = settings.security.server_key_file is not None  # with keys, nobody may take over a connection by its routing id
        options = {"maxmsgsize": LARGEST_PAYLOAD_BYTES, "router_handover": int(not has_keys), "sndhwm": MOST_ANSWERS}
        self.cameras = bind_socket(context, zmq.ROUTER, "frames", settings, **options)
        self._inlet = BoundedReceiver(self.cameras, MOST_FRAMES)
        closing.callback(self.cameras.close)
        self.judged = Receiver(context, "judged", settings)
        self.fusion, self.prepare, self.collect = (Sender(context, link, settings) for link in ("fusion", "prepare", "collect"))
        for link in (self.judged, self.fusion, self.prepare, self.collect):
            closing.callback(link.close)
        self._poller = zmq.Poller()
        self._poller.register(self.cameras, zmq.POLLIN)
        self._poller.register(self.judged.socket, zmq.POLLIN)

    def wait(self, timeout_ms: int) -> bool:
        """Wait until something arrives; return whether it is a camera's message."""
        self.authentication.check()
        return self.cameras in dict(self._poller.poll(timeout_ms))

    def receive(self) -> list[zmq.Frame]:
        """Return the next camera message, with the sender's id in front; empty if it was a further piece of a message that is too long."""
        return self._inlet.receive()

    def is_quiet(self) -> bool:
        """Return whether no camera message is waiting."""
        return not self.cameras.poll(0)

    def from_fusion(self) -> Iterator[Judged | Resend]:
        """Yield what fusion has judged, and what it wants sent again."""
        while True:
            try:
                message = self.judged.receive(0)
            except MdssError as error:
                log.error("message refused", reason=str(error))
                continue
            if not isinstance(message, Judged | Resend):
                return
            yield message

    def reply(self, replies: Iterable[Reply]) -> None:
        """Send replies to cameras; zmq drops those to a camera that has left or does not read, and its next HELLO makes up for them."""
        for reply in replies:
            self.cameras.send_multipart([reply.peer, *camera.compose(reply.message)])


class Ingest:
    """Passes messages between the sockets and the intake until it is asked to stop and every part has its verdict."""

    def __init__(self, sockets: IngestSockets, intake: Intake, services: IntakeServices, process: ProcessContext) -> None:
        self._sockets, self._intake, self._process, self._heartbeats = sockets, intake, process, process.heartbeats
        self._outbox, self._collection_queue = services.outbox, services.collection_queue
        self._drain_timeout_s = process.settings.supervisor.drain_timeout_s
        self._plan = PlanFile(Path(process.settings.station.runtime_directory))

    def run(self) -> None:
        """Serve until asked to stop, then drain."""
        while not self._process.stop.asked:
            self._apply_changed_settings(self._process.changed_settings())
            self._turn()
        self._drain()
        self._heartbeats.report_state("stopped")

    def _drain(self) -> None:
        """Wait for the verdicts of all parts, and then, though not as long, for `collect` to take their scans."""
        self._sockets.reply(self._intake.stop())
        end_s = time.monotonic() + self._drain_timeout_s + LAST_VERDICTS_S
        while not self._intake.is_idle and time.monotonic() < end_s:
            self._turn()
        end_s = min(end_s, time.monotonic() + LAST_SCANS_S)
        while self._collection_queue and time.monotonic() < end_s:
            self._turn()
        if self._collection_queue:
            log.warning("scans dropped: collect did not take them before the stop", scans=len(self._collection_queue))
            self._collection_queue.drop_down_to(0)

    def _apply_changed_settings(self, settings: Settings | None) -> None:
        """Apply changed settings, if there are any."""
        if settings is not None:
            self._drain_timeout_s = settings.supervisor.drain_timeout_s
            self._sockets.reply(self._intake.reconfigure(settings))

    def _follow_plan(self) -> None:
        """Read the supervisor's plan of models, if it has changed."""
        try:
            plan = self._plan.changed()
        except MdssError as error:
            log.error("the plan cannot be read: frames are judged by the models of before", reason=str(error))
            return
        if plan is not None:
            self._intake.follow(plan)

    def _turn(self) -> None:
        """Handle one camera message and everything from fusion; nothing in here waits for another process."""
        sockets, intake = self._sockets, self._intake
        has_message = sockets.wait(WAIT_FOR_ROOM_MS if self._outbox else WAIT_MS)
        self._follow_plan()  # a plan written in the meantime already counts for this frame: /status reports it
        for message in sockets.from_fusion():
            self._heartbeats.steps += 1
            if isinstance(message, Resend):
                intake.resend(message)
            else:
                sockets.reply(intake.note_verdicts([message]))
        frames = sockets.receive() if has_message else []
        if frames:
            self._heartbeats.steps += 1
            sockets.reply(intake.take(frames[0].bytes, frames[1:]))
        sockets.reply(intake.tick(is_quiet=sockets.is_quiet()))
        self._outbox.flush(sockets.fusion, sockets.prepare)
        self._collection_queue.flush(sockets.collect)  # last, after the answers that somebody waits for
        self._heartbeats.report_models(intake.models)
        self._heartbeats.report_state(*intake.state, len(self._outbox))


def open_services(process: ProcessContext) -> IntakeServices:
    """Open the journal and create what the intake works with."""
    state = Path(process.settings.station.state_directory)
    journal = Journal(state / JOURNAL, JOURNAL_WAIT_S)
    journal.repair()
    process.closing.callback(journal.close)
    collection_queue = CollectionQueue(process.settings.collection, process.tally, CollectRequests(state).is_requested)
    return IntakeServices(
        journal, Outbox(time.monotonic), process.tally, uuid.uuid4().hex, Quarantine(state / "quarantine"), collection_queue
    )


def bound_memory(limit_bytes: int) -> None:
    """Limit this process's memory, so that an endless message ends this process alone, which is replaced, and does not fill the machine."""
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (limit_bytes if hard == resource.RLIM_INFINITY else min(limit_bytes, hard), hard))


@click.command("ingest")
@config_option
def command(config: Path) -> None:
    """Run the process that takes frames from cameras."""
    bound_memory(MEMORY_BYTES)
    with open_process("ingest", config) as process:
        services = open_services(process)
        sockets = IngestSockets(process)
        Ingest(sockets, Intake(process.settings, services), services, process).run()


if __name__ == "__main__":
    main(command)
