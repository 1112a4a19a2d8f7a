"""Decides which names of recipes and parts may become folder names."""

from __future__ import annotations

import re
from typing import Final

PATTERN = re.compile(r"[A-Za-z0-9_:-][A-Za-z0-9._:-]{0,63}")
RULE: Final = "1 to 64 of the characters A-Z a-z 0-9 . _ : -, not beginning with a dot"


def is_folder_name(name: str) -> bool:
    """Return whether a name follows the rule, so that it can neither lead to another folder nor be hidden."""
    return PATTERN.fullmatch(name) is not None
