"""Names the user who runs a process or owns a file; in a container a number may have no name."""

from __future__ import annotations

import getpass
import os
import pwd
from pathlib import Path


def user() -> str:
    """Return the name of the user who runs this process, or the number if there is no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def other_owner(place: Path) -> str:
    """Return who owns a file or folder (or, if it does not exist, the folder around it); empty if this user does."""
    try:
        number = (place if place.exists() else place.parent).stat().st_uid
    except OSError:
        return ""
    if number == os.geteuid():
        return ""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)
