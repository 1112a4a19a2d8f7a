"""Speaks to the subscribers: verdicts and a heartbeat on XPUB, and the snapshot port for those that missed some."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog
import zmq

from mdss.journal import JournalFailed
from mdss.settings import Settings
from mdss.wire import snapshot
from mdss.wire.gate import Gate
from mdss.wire.pulse import BEAT_EVERY_S, Tally
from mdss.wire.snapshot import VerdictSource
from mdss.wire.sockets import Inlet, bound
from mdss.wire.verdict import Beat, Verdict

LARGEST_QUESTION_BYTES = 64 * 1024  # of what a subscriber says; a larger one ends its connection
MOST_FRAMES = 3  # of a question: who asks, perhaps an empty one, as a REQ puts it before all, and the question
MOST_NOTICES = 100  # at once, so that no subscriber holds up a verdict
SUBSCRIPTIONS = "mdss_subscriptions"  # XPUB tells of the first subscription to each topic, and of the end of the last
log = structlog.get_logger()


@dataclass(frozen=True)
class History:
    """What subscribers catch up from, and the life of the station it belongs to."""

    journal: VerdictSource
    boot_id: str


class Publisher:
    """Owns the two sockets that face outwards."""

    def __init__(self, context: zmq.Context[Any], settings: Settings, history: History, tally: Tally) -> None:
        self._with_maps, self._history, self._tally = settings.verdicts.publish_maps, history, tally
        self._gate = Gate(context, settings)
        self._verdicts = bound(context, zmq.XPUB, "verdicts", settings, maxmsgsize=LARGEST_QUESTION_BYTES)
        self._snapshots = bound(context, zmq.ROUTER, "snapshot", settings, maxmsgsize=LARGEST_QUESTION_BYTES)
        self._questions = Inlet(self._snapshots, MOST_FRAMES)
        self._beat_due_s, self._trouble = 0.0, ""
        tally.start(SUBSCRIPTIONS)

    def publish(self, verdict: Verdict, heat_png: Callable[[], bytes] | None) -> None:
        """Send one verdict, and its map where the station publishes maps."""
        place = f"{verdict.station}/{verdict.source_id}"
        self._verdicts.send_multipart([f"verdict/{place}/{verdict.evaluation}".encode(), msgspec.json.encode(verdict)])
        if self._with_maps and heat_png is not None:
            self._verdicts.send_multipart([f"map/{place}".encode(), verdict.result_id.encode(), heat_png()])

    def serve(self, beat: Callable[[], Beat]) -> None:
        """Send the heartbeat when it is due, note who subscribed, and answer who wants to catch up."""
        self._gate.check()
        for _ in range(MOST_NOTICES):
            if not self._verdicts.poll(0):
                break
            self._note(self._verdicts.recv())
        if time.monotonic() >= self._beat_due_s:
            self._beat_due_s = time.monotonic() + BEAT_EVERY_S
            message = beat()
            self._verdicts.send_multipart([f"heartbeat/{message.station}".encode(), msgspec.json.encode(message)])
        if self._snapshots.poll(0):
            self._reply([frame.bytes for frame in self._questions.receive()])

    def close(self) -> None:
        """Close both sockets, letting the last verdicts leave."""
        self._verdicts.close()
        self._snapshots.close()
        self._gate.close()

    def _reply(self, question: Sequence[bytes]) -> None:
        """Answer one question, where it is one, to whom it comes from."""
        reply = self._answer(question[-1]) if question else None
        if reply is not None:
            self._snapshots.send_multipart([*question[:-1], reply], zmq.NOBLOCK)

    def _answer(self, request: bytes) -> bytes | None:
        """Return the answer to one question, None where the journal fails: what a subscriber asks must cost no part its verdict."""
        try:
            reply = snapshot.answer(request, self._history.journal, self._history.boot_id)
        except JournalFailed as error:
            if str(error) != self._trouble:  # subscribers ask again
                log.error("a subscriber's question cannot be answered", reason=str(error))
            self._trouble = str(error)
            return None
        self._trouble = ""
        return reply

    def _note(self, notice: bytes) -> None:
        """Count a subscription (1) or its end (0); a subscriber may say anything else, too."""
        step = {b"\x01": 1.0, b"\x00": -1.0}.get(notice[:1])
        if step is not None:
            self._tally.count(SUBSCRIPTIONS, step)
