"""Chooses which scans ingest hands to `collect`, without ever waiting for it: all that are not OK, and of the OK ones a sample or all."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable

from daemon.held_parts import HeldPart, size
from mdss.settings import CollectionSettings
from mdss.wire.heartbeat import Tally
from mdss.wire.messages import Judged, JudgedScan
from mdss.wire.sockets import Outlet

HANDED = "mdss_scans_handed_to_collect_total"
DROPPED = "mdss_scans_dropped_total"  # scans dropped because collect was away or behind for too long
# two scans of 1600 x 1200, or one with confidences: enough for the moments in which collect connects or writes
MOST_WAITING_BYTES = 64 * 1024**2


class CollectionQueue:
    """Queues scans of finished parts that are to be kept and sends them when there is room; beyond a limit it drops the oldest."""

    def __init__(self, settings: CollectionSettings, tally: Tally, wants_all: Callable[[str], bool] = lambda _: False) -> None:
        self._settings, self._tally, self._wants_all = settings, tally, wants_all
        self._waiting = deque[JudgedScan]()
        tally.start(HANDED, DROPPED)

    def __len__(self) -> int:
        """Return how many scans are waiting."""
        return len(self._waiting)

    def apply_settings(self, settings: CollectionSettings) -> None:
        """Apply other sampling settings from the next part on; only a restart turns the collection itself on or off."""
        self._settings = settings

    def offer(self, part: HeldPart, judged: Judged) -> None:
        """Queue a judged part's scan if it is to be kept."""
        if self._settings.enabled and (judged.evaluation != "OK" or self._is_wanted(part, judged)):
            frame = part.frame
            self._waiting.append(JudgedScan(identity=part.accepted.identity, judged=judged, rgb=frame.rgb, xyz=frame.xyz))

    def _is_wanted(self, part: HeldPart, judged: Judged) -> bool:
        return is_sampled(judged.result_id, self._settings) or self._wants_all(part.accepted.identity.recipe_id)

    def flush(self, collect: Outlet) -> None:
        """Send queued scans, oldest first; of those that find no room, the newest stay queued up to the limit."""
        while self._waiting and collect.send(self._waiting[0]):
            self._waiting.popleft()
            self._tally.count(HANDED)
        self.drop_down_to(MOST_WAITING_BYTES)

    def drop_down_to(self, nbytes: int) -> None:
        """Drop the oldest scans, and count them, until no more than so many bytes wait."""
        while sum(map(size, self._waiting)) > nbytes:
            self._waiting.popleft()
            self._tally.count(DROPPED)


def is_sampled(result_id: str, settings: CollectionSettings) -> bool:
    """Return whether an OK part is in the sample; only its id and the seed decide, so the answer is the same for everybody at any time."""
    digest = hashlib.blake2b(f"{settings.seed}:{result_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) < settings.ok_ratio * 2**64
