"""Decides which scans show the same part."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol


class Named(Protocol):
    """A scan of a part, from whatever source."""

    @property
    def result_id(self) -> str:
        """The id of its verdict."""

    @property
    def part_id(self) -> str:
        """The camera's id for the part, shared by other scans of it; may be empty."""

    @property
    def source_id(self) -> str:
        """The camera's name; may be empty."""


def name_among(scans: Iterable[Named]) -> Callable[[Named], str]:
    """Return a function that names the part of a scan: its part id, or without one the id of its result.

    If a camera gives all its scans the same part id, that id names no part: each of its scans counts as a part of its own.
    """
    given: dict[str, list[str]] = {}
    for each in scans:
        given.setdefault(each.source_id, []).append(each.part_id)
    alike = {source for source, ids in given.items() if len(ids) > 1 and len(set(ids)) == 1}
    are_told_apart = len({each for ids in given.values() for each in ids}) > 1
    return lambda scan: (are_told_apart and scan.source_id not in alike and scan.part_id) or scan.result_id
