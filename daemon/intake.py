"""What ingest does with each message, without sockets: it introduces cameras, accepts or refuses frames, and answers DONE."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, get_args

import msgspec
import zmq

from daemon.admission import Admission, Load
from daemon.collection_queue import CollectionQueue
from daemon.held_parts import HeldParts
from daemon.inherited import InheritedParts
from daemon.journal_access import Journal, JournalAccess
from daemon.outbox import Outbox
from daemon.quarantine import Quarantine
from daemon.refusal_log import RefusalLog
from daemon.served_models import ServedModels
from daemon.sources import Source, Sources
from mdss.journal import Entry
from mdss.settings import Settings
from mdss.wire import camera
from mdss.wire.authentication import client_of
from mdss.wire.camera import Ack, Credit, Done, Eos, FrameMessage, Header, Hello, Nack, Ping, Pong, WireRefusal
from mdss.wire.headers import FrameHeader, NackCode
from mdss.wire.heartbeat import Tally
from mdss.wire.messages import Accepted, Frame, FrameIdentity, Judged, ProcessState, Resend
from mdss.wire.model_plan import ModelPlan, ModelReport, Served
from mdss.wire.scan import FrameLimits, to_scan

PIXEL_BYTES, CONFIDENCE_BYTES = 15, 4  # 3 bytes of colour and 12 of the point; 4 more if points come with confidences
LOOK_EVERY_S = 1.0  # how often the journal is searched for verdicts whose Judged message was lost
RESENT = "mdss_parts_resent_total"
REJECTED = {code: f'mdss_frames_rejected_total{{code="{code}"}}' for code in get_args(NackCode)}
COUNTERS = (RESENT, "mdss_frames_received_total", "mdss_frames_accepted_total", "mdss_frames_repeated_total", *REJECTED.values())
DURATION = 'mdss_stage_duration_seconds{stage="ingest"}'


class Reply(NamedTuple):
    """One message to one connection."""

    peer: bytes
    message: Header


@dataclass(frozen=True)
class IntakeServices:
    """Everything outside its own memory that the intake uses."""

    journal: Journal
    outbox: Outbox
    tally: Tally
    boot_id: str
    quarantine: Quarantine
    collection_queue: CollectionQueue
    clock: Callable[[], float] = time.monotonic  # the monotonic clock of deadlines: nobody sets it
    clock_ns: Callable[[], int] = time.time_ns  # UTC

    def steady_ns(self) -> int:
        """Return the time of `clock` in ns."""
        return int(self.clock() * 1e9)


class Intake:
    """Handles one message at a time: methods return the replies to send, and accepted frames go into the outbox."""

    def __init__(self, settings: Settings, services: IntakeServices) -> None:
        self._settings, self._services = settings, services
        services.tally.start(*COUNTERS)
        self._sources, self._held = Sources(settings.camera.silence_s, services.clock), HeldParts()
        self._refusals = RefusalLog(services.clock)
        self._journal = JournalAccess(services.journal, services.tally, services.clock)
        self._inherited = InheritedParts(services.journal.pending(), services.steady_ns())
        self._admission, self._models = Admission(services.clock), ServedModels()
        self._is_stopping = False
        self._look_at_s = float("-inf")

    @property
    def is_idle(self) -> bool:
        """Whether no part is waiting for its verdict."""
        return not self._held

    @property
    def state(self) -> tuple[ProcessState, str]:
        """The state of this process and the reason."""
        trouble = self._journal.trouble or self._services.outbox.trouble
        if self._is_stopping:
            return "draining", f"{len(self._held)} parts wait for their verdicts"
        return ("degraded", trouble) if trouble else ("running", "")

    @property
    def models(self) -> ModelReport:
        """What this process reports to the supervisor about models."""
        return self._models.report(self._held.models | self._inherited.models)

    def follow(self, plan: ModelPlan) -> None:
        """Use another plan of models from the next frame on."""
        self._models.follow(plan)

    def take(self, peer: bytes, frames: Sequence[zmq.Frame | bytes]) -> list[Reply]:
        """Answer one message of a connection; a message that cannot be accepted is answered with NACK and the reason."""
        self._sources.hear(peer)
        try:
            message = self._sources.checked(peer, camera.parse(frames), client_of(frames))
            return [Reply(peer, answer) for answer in self._answer(peer, message)]
        except WireRefusal as refusal:
            self._services.tally.count(REJECTED[refusal.code])
            source = self._sources.of(peer)
            self._refusals.tell(None if source is None else source.name, refusal)
            if source is not None:
                self._inherited.note_refusal(source.name, refusal, self._services.steady_ns())
            return [Reply(peer, Nack(frame_id=refusal.frame_id, code=refusal.code, reason=str(refusal)))]

    def note_verdicts(self, judgements: Iterable[Judged]) -> list[Reply]:
        """Answer DONE for parts whose verdict is in the journal."""
        replies = []
        for judged in judgements:
            part = self._held.remove(judged.result_id)
            if part is None:
                continue  # accepted before a restart of this process: the camera will send the frame again and get its verdict
            self._services.outbox.drop(judged.result_id)
            self._services.collection_queue.offer(part, judged)
            self._admission.note_verdict(len(self._held), "LATE" if judged.is_late else judged.code)
            if judged.code == "POISON":
                self._services.quarantine.keep(part, judged.reason)
            identity = part.accepted.identity
            peer = self._sources.peer_of(identity.source_id)
            if peer is not None:
                done = Done(frame_id=identity.frame_id, result_id=judged.result_id, sequence=judged.sequence)
                replies.append(Reply(peer, done))
        return replies

    def resend(self, asked: Resend) -> None:
        """Send a held frame to the workers again; a frame that is not held will be sent again by its camera."""
        part = self._held.find(asked.result_id)
        if part is not None:
            accepted = msgspec.structs.replace(part.accepted, attempt=asked.attempt)
            self._services.tally.count(RESENT)
            self._services.outbox.put(accepted, msgspec.structs.replace(part.frame, wanted=asked.wanted))

    def tick(self, *, is_quiet: bool = True) -> list[Reply]:
        """Do what is due by time alone; with unread camera messages (`is_quiet` False), as after a freeze, no camera is reported silent."""
        if is_quiet:
            self._sources.tick()
        self._gauges()
        now_s = self._services.clock()
        if now_s < self._look_at_s:
            return []
        self._look_at_s = now_s + LOOK_EVERY_S
        now_ns = self._services.steady_ns()
        lost = self._inherited.overdue(now_ns, self._journal.split_by_verdict)
        self._services.outbox.remind([message for pair in lost for message in pair])
        found, owed = self._journal.split_by_verdict(accepted for accepted in self._held if accepted.deadline_ns <= now_ns)
        self._services.outbox.remind(owed)
        return self.note_verdicts(found)

    def reconfigure(self, settings: Settings) -> list[Reply]:
        """Apply other settings from the next frame on; if the credit changed, every camera is told."""
        has_other_credit = settings.camera.credit != self._settings.camera.credit
        self._settings, self._sources.silence_s = settings, settings.camera.silence_s
        self._services.collection_queue.apply_settings(settings.collection)
        return [Reply(source.peer, self._credit()) for source in self._sources] if has_other_credit else []

    def stop(self) -> list[Reply]:
        """Accept nothing more; every camera gets credit 0."""
        self._is_stopping = True
        return [Reply(source.peer, self._credit()) for source in self._sources]

    def _answer(self, peer: bytes, message: camera.CameraMessage) -> list[Header]:
        match message:
            case Hello():
                self._sources.introduce(message.source_id, peer)
                return [self._credit()]
            case Ping():
                return [Pong(boot_id=self._services.boot_id, is_known=self._sources.of(peer) is not None)]
            case Eos():
                self._sources.end(peer)
            case FrameMessage():
                return self._take_frame(self._introduced(peer, message.header), message)
            case _:  # kinds that only a station sends: answering them could start an endless exchange
                self._services.tally.count(REJECTED["SCHEMA"])
        return []

    def _credit(self) -> Credit:
        return Credit(credit=0 if self._is_stopping else self._settings.camera.credit, boot_id=self._services.boot_id)

    def _introduced(self, peer: bytes, header: FrameHeader) -> Source:
        source = self._sources.of(peer)
        if source is None:
            sentence = "FRAME: this connection has not said HELLO, or another has taken its place; expected HELLO first"
            raise WireRefusal("NOT_READY", sentence, header.frame_id)
        if source.name != header.source_id:
            sentence = f"FRAME source_id: found {header.source_id}, expected {source.name} as in HELLO"
            raise WireRefusal("SCHEMA", sentence, header.frame_id)
        return source

    def _take_frame(self, source: Source, message: FrameMessage) -> list[Header]:
        header = message.header
        self._services.tally.count("mdss_frames_received_total")
        held = self._held.of_frame(source.name, header.frame_id)
        if held is not None:
            _check_same(header, held.identity)
            return [self._acknowledge_again(header, held.result_id)]
        entry = self._journal.find(source.name, header.frame_id)
        if entry is not None and entry.identity is not None:
            _check_same(header, entry.identity)
        if entry is not None and entry.sequence is not None:
            done = Done(frame_id=header.frame_id, result_id=entry.result_id, sequence=entry.sequence)
            return [self._acknowledge_again(header, entry.result_id), done]
        self._check_open_to(header)
        served = self._models.stamp(header.recipe_id, header.frame_id)
        if entry is None:  # a part acknowledged before a restart has already had its turn
            self._check_room(header)
        return [self._accept(message, entry, served)]

    def _acknowledge_again(self, header: FrameHeader, result_id: str) -> Ack:
        self._services.tally.count("mdss_frames_repeated_total")
        return Ack(frame_id=header.frame_id, result_id=result_id)

    def _check_open_to(self, header: FrameHeader) -> None:
        """Refuse any frame while the station stops, and frames of an unknown recipe."""
        recipes = self._settings.models.recipes
        if self._is_stopping:
            raise WireRefusal("DRAINING", "FRAME: the station is stopping; expected to be sent again after it has started", header.frame_id)
        if header.recipe_id not in recipes:
            sentence = f"FRAME recipe_id: found {header.recipe_id}, expected one of {', '.join(recipes)}"
            raise WireRefusal("UNKNOWN_RECIPE", sentence, header.frame_id)

    def _check_room(self, header: FrameHeader) -> None:
        credit, outstanding = self._settings.camera.credit, self._held.count(header.source_id)
        if outstanding >= credit:
            raise WireRefusal("BUSY", f"FRAME: {outstanding} frames are outstanding, expected at most {credit} by credit", header.frame_id)
        if waits := self._admission.refusal(header.source_id, self._requested_load(header), Load(len(self._held), self._held.nbytes)):
            raise WireRefusal("BUSY", f"FRAME: {waits}; expected to be sent again later", header.frame_id)

    def _requested_load(self, header: FrameHeader) -> Load:
        """Return how many parts may be under way for this frame to be in time, and how many bytes it has."""
        own = self._settings.camera
        rows, columns = min(header.rgb.height, own.max_height_px), min(header.rgb.width, own.max_width_px)
        window = self._admission.window(self._deadline_ms(header) / 1000, own.credit + self._sources.speaking)
        pixel_bytes = PIXEL_BYTES + (CONFIDENCE_BYTES if header.xyz.invalid.kind == "confidence" else 0)
        return Load(window, rows * columns * pixel_bytes)

    def _deadline_ms(self, header: FrameHeader) -> int:
        return header.deadline_ms or self._settings.camera.deadline_ms

    def _accept(self, message: FrameMessage, entry: Entry | None, served: Served) -> Ack:
        header, out, deadline_ms = message.header, self._services, self._deadline_ms(message.header)
        received_ns, arrived_ns = out.clock_ns(), out.steady_ns()
        limits = FrameLimits(self._settings.camera.max_height_px, self._settings.camera.max_width_px)
        rgb, xyz = to_scan(header, message.payloads, limits)
        accepted = Accepted(
            result_id=uuid.uuid4().hex if entry is None else entry.result_id,
            identity=header.identity(),
            received_ns=received_ns,
            deadline_ns=arrived_ns + deadline_ms * 10**6,
            deadline_ms=deadline_ms,
            attempt=1 if entry is None else entry.attempt + 1,
            model_version=served.version,
            generation=served.generation,
        )
        self._journal.accept(accepted)
        if entry is None:  # what was accepted before a restart may be old
            self._sources.note_capture_time(header, received_ns)
        frame = Frame(
            result_id=accepted.result_id,
            recipe_id=header.recipe_id,
            model_version=served.version,
            rgb=rgb,
            xyz=xyz,
            deadline_ns=accepted.deadline_ns,
            received_ns=received_ns,
        )
        self._held.add(accepted, frame)
        self._admission.note_accepted()
        self._inherited.remove(accepted.result_id)
        out.outbox.put(accepted, frame)
        out.tally.count("mdss_frames_accepted_total")
        out.tally.observe(DURATION, (out.steady_ns() - arrived_ns) / 1e9)
        return Ack(frame_id=header.frame_id, result_id=accepted.result_id)

    def _gauges(self) -> None:
        counters = self._services.tally.counters
        counters["mdss_outstanding_parts"] = float(len(self._held))
        counters["mdss_held_bytes"] = float(self._held.nbytes)
        counters["mdss_frames_waiting"] = float(len(self._services.outbox))
        counters.update(self._sources.gauges())


def _check_same(header: FrameHeader, known: FrameIdentity) -> None:
    """Refuse a known frame id with another part or recipe: it would pass for a repeat of the first, and its part would never be judged."""
    for name, before, found in (("part_id", known.part_id, header.part_id), ("recipe_id", known.recipe_id, header.recipe_id)):
        if before not in ("", found):
            known_as = f"FRAME frame_id: {header.frame_id} was accepted with {name} {before}, found {found}"
            raise WireRefusal("SCHEMA", f"{known_as}, expected an id of its own for each frame", header.frame_id)
