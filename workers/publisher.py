"""Publishes verdicts and heartbeats (XPUB), and answers subscribers that missed some (snapshot port)."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import structlog
import zmq

from mdss.journal import JournalFailed
from mdss.settings import Settings
from mdss.wire import snapshot
from mdss.wire.authentication import ClientAuthentication
from mdss.wire.heartbeat import BEAT_EVERY_S, Tally
from mdss.wire.snapshot import VerdictSource
from mdss.wire.sockets import BoundedReceiver, bind_socket
from mdss.wire.verdict import Beat, Verdict

LARGEST_QUESTION_BYTES = 64 * 1024  # a subscriber that sends more is disconnected
MOST_FRAMES = 3  # frames of a question: sender, possibly an empty frame (as REQ adds it), question
MOST_NOTICES = 100  # in one call, so that no subscriber delays a verdict
SUBSCRIPTIONS = "mdss_subscriptions"  # XPUB reports only the first subscription to each topic and the end of the last one
log = structlog.get_logger()


class Publisher:
    """Owns the two outward sockets of fusion; subscribers catch up from the journal."""

    def __init__(self, context: zmq.Context[Any], settings: Settings, journal: VerdictSource, boot_id: str, tally: Tally) -> None:
        self._with_maps, self._journal, self._boot_id, self._tally = settings.verdicts.publish_maps, journal, boot_id, tally
        self._authentication = ClientAuthentication(context, settings)
        self._verdicts = bind_socket(context, zmq.XPUB, "verdicts", settings, maxmsgsize=LARGEST_QUESTION_BYTES)
        self._snapshots = bind_socket(context, zmq.ROUTER, "snapshot", settings, maxmsgsize=LARGEST_QUESTION_BYTES)
        self._questions = BoundedReceiver(self._snapshots, MOST_FRAMES)
        self._beat_due_s, self._trouble = 0.0, ""
        tally.start(SUBSCRIPTIONS)

    def publish(self, verdict: Verdict, heat_png: Callable[[], bytes] | None) -> None:
        """Publish one verdict, and its map if the station publishes maps."""
        place = f"{verdict.station}/{verdict.source_id}"
        self._verdicts.send_multipart([f"verdict/{place}/{verdict.evaluation}".encode(), msgspec.json.encode(verdict)])
        if self._with_maps and heat_png is not None:
            self._verdicts.send_multipart([f"map/{place}".encode(), verdict.result_id.encode(), heat_png()])

    def serve(self, beat: Callable[[], Beat]) -> None:
        """Send the heartbeat if it is due, count subscriptions, and answer one subscriber that wants to catch up."""
        self._authentication.check()
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
        """Close both sockets; the last verdicts still leave."""
        self._verdicts.close()
        self._snapshots.close()
        self._authentication.close()

    def _reply(self, question: Sequence[bytes]) -> None:
        """Answer one question, if it is one, to its sender."""
        reply = self._answer(question[-1]) if question else None
        if reply is not None:
            self._snapshots.send_multipart([*question[:-1], reply], zmq.NOBLOCK)

    def _answer(self, request: bytes) -> bytes | None:
        """Return the answer to a question, None if the journal fails: a subscriber's question must cost no part its verdict."""
        try:
            reply = snapshot.answer(request, self._journal, self._boot_id)
        except JournalFailed as error:
            if str(error) != self._trouble:  # logged once: subscribers ask again
                log.error("a subscriber's question cannot be answered", reason=str(error))
            self._trouble = str(error)
            return None
        self._trouble = ""
        return reply

    def _note(self, notice: bytes) -> None:
        """Count a subscription (1) or its end (0); a subscriber may send anything else as well."""
        step = {b"\x01": 1.0, b"\x00": -1.0}.get(notice[:1])
        if step is not None:
            self._tally.count(SUBSCRIPTIONS, step)
