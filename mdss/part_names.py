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

    @property
    def source_id(self) -> str:
        """The camera's name; may be empty."""


def name_among(scans: Iterable[Named]) -> Callable[[Named], str]:
    """Return what names the part of a scan: its part id, or where it has none the id of its result.

    Where a camera gives all of its scans one id, that id names no part, and each scan is one, whatever other cameras give.
    """
    given: dict[str, list[str]] = {}
    for each in scans:
        given.setdefault(each.source_id, []).append(each.part_id)
    alike = {source for source, ids in given.items() if len(ids) > 1 and len(set(ids)) == 1}
    are_told_apart = len({each for ids in given.values() for each in ids}) > 1
    return lambda scan: (are_told_apart and scan.source_id not in alike and scan.part_id) or scan.result_id
