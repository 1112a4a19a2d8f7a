"""Tracks which camera speaks through which connection, which have fallen silent, and whose capture times cannot be right."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from daemon.refusal_log import LineCount
from mdss.wire.camera import CameraMessage, FrameHeader, FrameMessage, Hello, WireRefusal

MOST_SOURCES = 64
LIVE_WITHIN_S = 3.0  # three heartbeats
# How far from the station's clock a capture time may be: a frame may have waited at its camera, but none comes from the future.
AHEAD_NS, BEHIND_NS = 60 * 10**9, 3600 * 10**9
MISDATED_AGAIN_S = 3600.0  # where right and wrong capture times take turns, a camera is named no more often
log = structlog.get_logger()


@dataclass
class Source:
    """One camera that has said HELLO."""

    name: str
    peer: bytes  # the connection's id in the ROUTER socket
    heard_s: float
    is_silent: bool = False
    has_ended: bool = False  # it sent EOS: silence is no fault, and its outstanding answers are still sent
    is_misdated: bool = False  # the capture time of its last frame cannot be right


class Sources:
    """The cameras that have said HELLO; each name belongs to one connection, the newest."""

    def __init__(self, silence_s: float, clock: Callable[[], float]) -> None:
        self.silence_s, self._clock = silence_s, clock
        self._by_name: dict[str, Source] = {}
        self._by_peer: dict[bytes, Source] = {}
        self.takeovers, self._told, self._told_dates = 0, LineCount(clock), LineCount(clock, MISDATED_AGAIN_S)

    def __iter__(self) -> Iterator[Source]:
        return iter(self._by_name.values())

    @property
    def speaking(self) -> int:
        """How many cameras have not said EOS."""
        return sum(not source.has_ended for source in self)

    @property
    def silent(self) -> int:
        """How many cameras have been silent for too long."""
        return sum(source.is_silent for source in self)

    def gauges(self) -> dict[str, float]:
        """Return what is counted of the cameras, by metric."""
        return {
            "mdss_sources": float(self.speaking),
            "mdss_sources_silent": float(self.silent),
            "mdss_sources_misdated": float(sum(source.is_misdated and not source.has_ended for source in self)),
            "mdss_source_takeovers_total": float(self.takeovers),
        }

    def of(self, peer: bytes) -> Source | None:
        """Return the camera of a connection; None if it said no HELLO or another connection took over its name."""
        return self._by_peer.get(peer)

    def peer_of(self, name: str) -> bytes | None:
        """Return a camera's connection, None if it is not known."""
        source = self._by_name.get(name)
        return None if source is None else source.peer

    def checked(self, peer: bytes, message: CameraMessage, speaker: str | None) -> CameraMessage:
        """Return the message, or refuse it if it speaks for another camera than its key's; `speaker` is None where no keys are used."""
        if speaker is None:
            return message
        known = self.of(peer)
        claimed = message.source_id if isinstance(message, Hello) else known and known.name
        if claimed is not None and claimed != speaker:
            what = "HELLO source_id" if isinstance(message, Hello) else "connection"
            frame_id = message.header.frame_id if isinstance(message, FrameMessage) else ""
            raise WireRefusal("SCHEMA", f"{what}: found {claimed}, expected {speaker} as the name of the key's file", frame_id)
        return message

    def introduce(self, name: str, peer: bytes) -> None:
        """Register a HELLO; a new connection takes over the name at once, because the old one may be dead without a sign."""
        known = self._by_name.get(name)
        if known is None and len(self._by_name) >= MOST_SOURCES and not self._make_room():
            raise WireRefusal("NOT_READY", f"HELLO: {MOST_SOURCES} cameras are connected already, expected one of them to end first")
        if known is not None and known.peer != peer and self._speaks(known):
            self.takeovers += 1
            if self._told.another(name) == 1:
                log.warning("another connection took over the name of a camera that still spoke", source=name)
        self._forget(peer)
        if known is not None:
            self._by_peer.pop(known.peer, None)
        is_misdated = known is not None and known.is_misdated
        self._by_name[name] = self._by_peer[peer] = Source(name, peer, self._clock(), is_misdated=is_misdated)

    def hear(self, peer: bytes) -> None:
        """Note that something arrived through a connection."""
        source = self.of(peer)
        if source is None:
            return
        source.heard_s, source.has_ended = self._clock(), False
        if source.is_silent:
            source.is_silent = False
            log.info("the camera speaks again", source=source.name)

    def end(self, peer: bytes) -> None:
        """Note that a camera said EOS."""
        source = self.of(peer)
        if source is not None:
            source.has_ended = True

    def note_capture_time(self, header: FrameHeader, now_ns: int) -> None:
        """Warn of a camera whose capture times are far from the station's clock (UTC ns), once for as long as they are."""
        source, wrong = self._by_name[header.source_id], misdated(header.capture_time, now_ns)
        if wrong and not source.is_misdated and self._told_dates.another(source.name) == 1:
            log.warning("capture times are far from the station's clock", source=source.name, frame=header.frame_id, reason=wrong)
        source.is_misdated = bool(wrong)

    def tick(self) -> None:
        """Log each camera once when it falls silent."""
        for source in self:
            if not (source.is_silent or source.has_ended) and self._clock() - source.heard_s > self.silence_s:
                source.is_silent = True
                log.warning("the camera is silent", source=source.name, silent_for_s=round(self.silence_s, 1))

    def _speaks(self, source: Source) -> bool:
        return not source.has_ended and self._clock() - source.heard_s < LIVE_WITHIN_S

    def _make_room(self) -> bool:
        """Forget a camera that has said EOS or is silent, the longest unheard first; False if all of them speak."""
        gone = min((source for source in self if source.has_ended or source.is_silent), key=lambda source: source.heard_s, default=None)
        if gone is not None:
            self._forget(gone.peer)
        return gone is not None

    def _forget(self, peer: bytes) -> None:
        source = self._by_peer.pop(peer, None)
        if source is not None:
            del self._by_name[source.name]


def misdated(captured_ns: int, now_ns: int) -> str:
    """Return what is wrong with a capture time if it cannot be right by the station's clock (both UTC ns); empty otherwise.

    The unit is not guessed: a camera without a battery for its clock may well say 1970 in nanoseconds.
    """
    if -BEHIND_NS <= captured_ns - now_ns <= AHEAD_NS:
        return ""
    found, expected = (datetime.fromtimestamp(time_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S UTC") for time_ns in (captured_ns, now_ns))
    return f"FRAME capture_time: found {captured_ns}, which is {found}, expected nanoseconds since 1970 in UTC, near {expected}"
