"""The parts that were accepted and have no DONE yet: found by result, by frame, and counted by camera."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from mdss.wire.messages import Accepted


class HeldParts:
    """Holds each part until its verdict is known; the scan itself is not kept."""

    def __init__(self) -> None:
        self._parts: dict[str, Accepted] = {}
        self._by_frame: dict[tuple[str, str], str] = {}
        self._of_source: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._parts)

    def __iter__(self) -> Iterator[Accepted]:
        return iter(list(self._parts.values()))

    def add(self, accepted: Accepted) -> None:
        """Hold one part."""
        identity = accepted.identity
        self._parts[accepted.result_id] = accepted
        self._by_frame[identity.source_id, identity.frame_id] = accepted.result_id
        self._of_source[identity.source_id] += 1

    def result_of(self, source_id: str, frame_id: str) -> str | None:
        """Return the result id of a frame that is held."""
        return self._by_frame.get((source_id, frame_id))

    def count(self, source_id: str) -> int:
        """Return how many parts of a camera are held."""
        return self._of_source[source_id]

    def remove(self, result_id: str) -> Accepted | None:
        """Let go of one part; None when it is not held."""
        accepted = self._parts.pop(result_id, None)
        if accepted is not None:
            identity = accepted.identity
            del self._by_frame[identity.source_id, identity.frame_id]
            self._of_source[identity.source_id] -= 1
            self._of_source += Counter()  # drops the cameras that have none
        return accepted
