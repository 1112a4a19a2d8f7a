"""Which scans ingest hands to `collect`: all that are not OK, and of the others a sample, or all while somebody asks; never waited for."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable

from daemon.held_parts import HeldPart, size
from daemon.outbox import Outlet
from mdss.settings import CollectionSettings
from mdss.wire.messages import Judged, JudgedScan
from mdss.wire.pulse import Tally

HANDED = "mdss_scans_handed_to_collect_total"
DROPPED = "mdss_scans_dropped_total"  # collect was away, or behind, for longer than the newest scans may wait
MOST_WAITING_BYTES = 64 * 1024**2  # two of 1600 x 1200, or one with confidences: bridges the moments in which collect connects, or writes


class Keeping:
    """Takes what may be kept when a part is let go of, and sends it as there is room; what waits too long is dropped, and counted."""

    def __init__(self, settings: CollectionSettings, tally: Tally, wants_all: Callable[[str], bool] = lambda _: False) -> None:
        self._settings, self._tally, self._wants_all = settings, tally, wants_all
        self._waiting = deque[JudgedScan]()
        tally.start(HANDED, DROPPED)

    def keep_to(self, settings: CollectionSettings) -> None:
        """Draw by other settings from the next part on; whether anything is collected at all only a restart changes."""
        self._settings = settings

    def offer(self, part: HeldPart, judged: Judged) -> None:
        """Take a part that has its verdict, if it is to be kept."""
        if self._settings.enabled and (judged.evaluation != "OK" or self._is_wanted(part, judged)):
            frame = part.frame
            self._waiting.append(JudgedScan(identity=part.accepted.identity, judged=judged, rgb=frame.rgb, xyz=frame.xyz))

    def _is_wanted(self, part: HeldPart, judged: Judged) -> bool:
        return is_drawn(judged.result_id, self._settings) or self._wants_all(part.accepted.identity.recipe_id)

    def flush(self, collect: Outlet) -> None:
        """Send what was taken, the oldest first; of what finds no room the newest waits for the next turn."""
        while self._waiting and collect.send(self._waiting[0]):
            self._waiting.popleft()
            self._tally.count(HANDED)
        while sum(map(size, self._waiting)) > MOST_WAITING_BYTES:
            self._waiting.popleft()
            self._tally.count(DROPPED)


def is_drawn(result_id: str, settings: CollectionSettings) -> bool:
    """Return whether an OK part is in the sample: told by its id and the seed alone, so that it is the same whoever asks and whenever."""
    digest = hashlib.blake2b(f"{settings.seed}:{result_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) < settings.ok_ratio * 2**64
