"""Very many values lie on the disk, and are the same ones."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from mdss.errors import MdssError
from mdss.method import many_values, metrics

MEASURE = """
import resource, sys
import numpy as np
from mdss.method import many_values, metrics

many_values.MOST_BYTES = int(sys.argv[1])
heat = np.random.default_rng(0).random((1000, 1000), np.float32)
truth = np.zeros(heat.shape, np.bool_)
truth[100:200, 300:500] = True
heat[truth] += 0.1
data = next(int(line.split()[1]) << 10 for line in open("/proc/self/status") if line.startswith("VmData"))
resource.setrlimit(resource.RLIMIT_DATA, (data + int(sys.argv[2]), resource.RLIM_INFINITY))
print(metrics.measure([0, 1], [False, True], (heat for _ in range(40)), (truth for _ in range(40))))
"""


def measured(most_bytes: int, memory: int) -> subprocess.CompletedProcess[str]:
    """Measure 160 MB of pixels in a process that may take so much memory of its own; pages of a file do not count."""
    return subprocess.run([sys.executable, "-c", MEASURE, str(most_bytes), str(memory)], capture_output=True, text=True, check=False)


def test_maps_that_do_not_fit_into_memory_are_measured_to_the_same_figures() -> None:
    inside, lacking, outside = (measured(*limits) for limits in ((1 << 30, 1 << 30), (1 << 30, 128 << 20), (16 << 20, 128 << 20)))
    assert inside.returncode == 0, inside.stderr
    assert "MemoryError" in lacking.stderr
    assert (outside.returncode, outside.stdout) == (0, inside.stdout), outside.stderr


@pytest.mark.parametrize("most", [0, 1000, 1 << 30])
def test_the_figures_are_the_same_wherever_the_pixels_lie(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    random = np.random.default_rng(1)
    maps = [np.round(random.random((30 + number, 40)) * 50).astype(np.float32) for number in range(6)]
    truths = [random.random(heat.shape) < 0.1 for heat in maps]
    pixels = metrics.Pixels.of(maps, truths)
    monkeypatch.setattr(many_values, "MOST_BYTES", most)
    found = metrics.Pixels.of(maps, truths)
    assert np.array_equal(found.unmarked, pixels.unmarked) and found.unmarked.dtype == pixels.unmarked.dtype
    for thresholds in (None, 100):
        assert metrics.au_pro(found, thresholds=thresholds) == metrics.au_pro(pixels, thresholds=thresholds)
    assert metrics.pixel_auroc(maps, truths) == pytest.approx(metrics.measure([], [], maps, truths).p_auroc, abs=0)


CROWDED = """
import resource
import numpy as np
from mdss.errors import MdssError
from mdss.method import many_values

many_values.MOST_BYTES = 0
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))
values = many_values.ManyValues()
values.add(np.zeros(1000, np.float32))
try:
    values.add(np.zeros(1 << 20, np.float32))
except MdssError as error:
    print(error)
"""


def test_a_folder_without_room_is_named_and_no_file_stays_there(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CROWDED], env=os.environ | {"TMPDIR": str(tmp_path)}, capture_output=True, text=True, check=True
    )
    sentence = "4 MiB of pixels cannot be kept there (File too large); expected a folder with room, such as one that TMPDIR names\n"
    assert (done.stdout, done.stderr) == (f"{tmp_path}: {sentence}", "")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_for_temporary_files_that_is_gone_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(many_values, "MOST_BYTES", 0)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(MdssError, match=f"^{tmp_path}/gone: 0 MiB of pixels cannot be kept there .No such file or directory.; expected"):
        many_values.ManyValues().add(np.zeros(1, np.float32))
