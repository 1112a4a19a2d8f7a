"""Who runs this process and whose a file is: a name wherever there is one, for a container may give a number that nobody is called by."""

from __future__ import annotations

import getpass
import os
import pwd
from pathlib import Path


def user() -> str:
    """Return the name of whoever runs this process; the number of one without a name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def other_owner(place: Path) -> str:
    """Return whose a file or folder is, or where it is not there the folder it would lie in; nothing where that is the user's own."""
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
