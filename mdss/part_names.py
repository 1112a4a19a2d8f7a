"""What a part is called among others, so that scans of one part are told from scans of another."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol


class Named(Protocol):
    """A scan of a part, whoever speaks of it."""

    @property
    def result_id(self) -> str:
        """The id of its verdict."""

    @property
    def part_id(self) -> str:
        """The id that its camera gave, which other scans of the part have as well; may be empty."""


def name_among(scans: Iterable[Named]) -> Callable[[Named], str]:
    """Return what names the part of a scan: its part id, or where it has none the id of its result.

    Where a camera gives all of these one id, that id names no part, and each scan is one.
    """
    are_told_apart = len({each.part_id for each in scans}) > 1
    return lambda scan: (are_told_apart and scan.part_id) or scan.result_id
