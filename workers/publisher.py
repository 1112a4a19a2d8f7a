"""Speaks to the subscribers: verdicts and a heartbeat on XPUB, and the snapshot port for those that missed some."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgspec
import zmq

from mdss.errors import BadInput
from mdss.journal import Journal
from mdss.settings import Settings
from mdss.wire.messages import Beat, Verdict
from workers.loop import BEAT_EVERY_S, Tally

HIGH_WATER = 1000  # messages that wait for one slow subscriber; what is beyond is dropped for that one alone, and it sees the gap
LINGER_MS = 1000


class Publisher:
    """Owns the two sockets that face outwards."""

    def __init__(self, context: zmq.Context[Any], settings: Settings, journal: Journal, tally: Tally) -> None:
        self._with_maps, self._journal, self._tally = settings.verdicts.publish_maps, journal, tally
        self._verdicts = bound(context, zmq.XPUB, settings.verdicts.endpoint, "verdicts.endpoint")
        self._beat_due_s = 0.0

    def publish(self, verdict: Verdict, heat_png: bytes | None) -> None:
        """Send one verdict, and its map where the station publishes maps."""
        place = f"{verdict.station}/{verdict.source_id}"
        self._verdicts.send_multipart([f"verdict/{place}/{verdict.evaluation}".encode(), msgspec.json.encode(verdict)])
        if self._with_maps and heat_png is not None:
            self._verdicts.send_multipart([f"map/{place}".encode(), verdict.result_id.encode(), heat_png])

    def serve(self, beat: Callable[[], Beat]) -> None:
        """Send the heartbeat when it is due, note who subscribed, and answer who wants to catch up."""
        while self._verdicts.poll(0):
            self._note(self._verdicts.recv())
        if time.monotonic() >= self._beat_due_s:
            self._beat_due_s = time.monotonic() + BEAT_EVERY_S
            message = beat()
            self._verdicts.send_multipart([f"heartbeat/{message.station}".encode(), msgspec.json.encode(message)])

    def _note(self, notice: bytes) -> None:
        """Count a subscription (1) or its end (0)."""
        self._tally.count("mdss_subscriptions", 1.0 if notice[:1] == b"\x01" else -1.0)


def bound(context: zmq.Context[Any], kind: int, endpoint: str, key: str) -> zmq.Socket[bytes]:
    """Return a socket bound to an endpoint of the settings; BadInput names the key where that fails."""
    link: zmq.Socket[bytes] = context.socket(kind)
    link.set_hwm(HIGH_WATER)
    link.linger = LINGER_MS
    try:
        link.bind(endpoint)
    except zmq.ZMQError as error:
        link.close()
        raise BadInput(f"{key} {endpoint}: cannot be opened ({error.strerror}); expected a free address of this machine") from error
    return link
