"""Who runs this process: a name wherever there is one, for a container may give a process a number that nobody is called by."""

from __future__ import annotations

import getpass
import os


def user() -> str:
    """Return the name of whoever runs this process; the number of one without a name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
