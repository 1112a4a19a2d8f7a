"""System calls that Python does not offer; kept small, because every process that imports it does so before its first step."""

from __future__ import annotations

import ctypes
import os
import signal

LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG = 1


def end_with_parent(by: signal.Signals = signal.SIGKILL, parent: int | None = None) -> None:
    """Have the kernel send this process a signal when its parent dies, for whatever reason; two system calls, safe in `preexec_fn`.

    If the given `parent` has died already, the signal is sent at once, because the kernel would not report it any more.
    """
    LIBC.prctl(PR_SET_PDEATHSIG, by)
    if parent is not None and os.getppid() != parent:
        os.kill(os.getpid(), by)
