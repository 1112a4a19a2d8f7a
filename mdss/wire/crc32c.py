"""CRC-32C (Castagnoli) over several buffers as if they were one."""

from __future__ import annotations

from collections.abc import Iterable

import google_crc32c

AT_ONCE = 1 << 20  # bytes; the library takes no views, and copies of this size stay in a core's cache


def crc32c(buffers: Iterable[bytes | memoryview]) -> int:
    """Return the checksum of all buffers as if they were one."""
    total = 0
    for buffer in buffers:
        view = memoryview(buffer).cast("B")
        for start in range(0, len(view), AT_ONCE):
            total = google_crc32c.extend(total, bytes(view[start : start + AT_ONCE]))
    return total
