"""A disk that does not take a whole line: what is said of it, and that nothing stays."""

from __future__ import annotations

import resource
import signal
from pathlib import Path

import pytest

from trainer.synthetic import Line, LineSize, write_line
from trainer.synthetic_camera import View

MOST_BYTES = 1 << 17  # more than the image has, less than the cloud


def test_a_disk_that_does_not_take_a_cloud_is_named_with_the_folder_and_nothing_of_the_line_stays(tmp_path: Path) -> None:
    largest = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MOST_BYTES, largest[1]))
    try:
        with pytest.raises(OSError, match=r"File too large: .*/line"):
            write_line(Line("mat", 0, LineSize(1, 0, 0, 0), View(160, 160)), tmp_path / "line")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, largest)
        signal.signal(signal.SIGXFSZ, before)
    assert list(tmp_path.iterdir()) == []
