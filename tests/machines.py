"""How state machines are run: the same histories each time, as many as some seconds allow."""

from __future__ import annotations

from hypothesis import settings


def histories(number: int) -> settings:
    """Return the settings of a machine that plays so many histories."""
    return settings(derandomize=True, max_examples=number, stateful_step_count=40)
