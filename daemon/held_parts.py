"""The parts that ingest has accepted and not yet answered with DONE, each with its frame, indexed by result and frame."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from mdss.wire.messages import Accepted, Frame, JudgedScan
from mdss.wire.model_plan import model_key


class HeldPart(NamedTuple):
    """What was promised to the camera, with the frame, so that it can be sent to the workers again until the verdict is in the journal."""

    accepted: Accepted
    frame: Frame


class HeldParts:
    """Holds each part until its verdict is known."""

    def __init__(self) -> None:
        self._parts: dict[str, HeldPart] = {}
        self._by_frame: dict[tuple[str, str], str] = {}
        self.nbytes = 0  # of all held frames

    def __len__(self) -> int:
        return len(self._parts)

    def __iter__(self) -> Iterator[Accepted]:
        return iter([part.accepted for part in self._parts.values()])

    def add(self, accepted: Accepted, frame: Frame) -> None:
        """Hold one part."""
        identity = accepted.identity
        self._parts[accepted.result_id] = HeldPart(accepted, frame)
        self._by_frame[identity.source_id, identity.frame_id] = accepted.result_id
        self.nbytes += size(frame)

    def find(self, result_id: str) -> HeldPart | None:
        """Return one part, or None when it is not held."""
        return self._parts.get(result_id)

    def of_frame(self, source_id: str, frame_id: str) -> Accepted | None:
        """Return what was promised for a frame, None if it is not held."""
        name = self._by_frame.get((source_id, frame_id))
        return None if name is None else self._parts[name].accepted

    def count(self, source_id: str) -> int:
        """Return how many parts of a camera are held."""
        return sum(accepted.identity.source_id == source_id for accepted in self)

    @property
    def models(self) -> frozenset[str]:
        """The keys of the models that judge the held parts."""
        return frozenset(model_key(accepted.identity.recipe_id, accepted.model_version) for accepted in self)

    def remove(self, result_id: str) -> HeldPart | None:
        """Let go of one part and return it; None if it is not held."""
        part = self._parts.pop(result_id, None)
        if part is not None:
            identity = part.accepted.identity
            del self._by_frame[identity.source_id, identity.frame_id]
            self.nbytes -= size(part.frame)
        return part


def size(scan: Frame | JudgedScan) -> int:
    """Return the bytes of a scan's arrays."""
    return scan.rgb.nbytes + scan.xyz.nbytes
