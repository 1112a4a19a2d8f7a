"""A worker that has a part in hand says so in a file that outlives it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from mdss.journal import JournalFailed
from mdss.wire.messages import Fault, Message
from mdss.wire.part_in_hand import PartInHand, take_part_in_hand
from workers.start import InHandRecorder

FAULT = Fault(result_id="r1", code="LOST", reason="")
KILLED = """
import os, signal, sys
from pathlib import Path
from mdss.wire.part_in_hand import PartInHand
hand = PartInHand(Path(sys.argv[1]), "rgb-0")
hand.write("r7")
os.kill(os.getpid(), signal.SIGKILL)
"""
FULL = """
import resource, sys
from pathlib import Path
from mdss.wire.part_in_hand import PartInHand
hand = PartInHand(Path(sys.argv[1]), "rgb-0")
hand.write("r7")
_, most = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (0, most))
hand.write("r8")
if sys.argv[2:]:
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    hand.write("r9")
"""


class Curious:
    """A worker that looks at its own hand, and may break."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.seen = folder, ""
        self.breaks_with: Exception | None = None

    def step(self, message: Message) -> Iterable[Message]:
        self.seen = "".join(path.read_text().strip() for path in self.folder.glob("*.hand"))
        if self.breaks_with is not None:
            raise self.breaks_with
        yield message

    def tick(self) -> Iterable[Message]:
        return ()

    def drain(self) -> Iterable[Message]:
        return ()


def test_a_part_is_in_hand_while_it_is_worked_on_and_not_longer(tmp_path: Path) -> None:
    hand, curious = PartInHand(tmp_path, "rgb-0"), Curious(tmp_path)
    assert list(InHandRecorder(curious, hand).step(FAULT)) == [FAULT]
    assert curious.seen == "r1"
    assert take_part_in_hand(tmp_path, "rgb-0") == ""
    hand.close()


def test_a_part_stays_in_the_hand_of_a_worker_that_breaks_on_it(tmp_path: Path) -> None:
    hand, curious = PartInHand(tmp_path, "rgb-0"), Curious(tmp_path)
    curious.breaks_with = RuntimeError("CUDA error")
    with pytest.raises(RuntimeError):
        InHandRecorder(curious, hand).step(FAULT)
    hand.close()
    assert take_part_in_hand(tmp_path, "rgb-0") == "r1"
    assert take_part_in_hand(tmp_path, "rgb-0") == "", "it is read once: the next life has not had it"


def test_a_journal_that_fails_is_blamed_on_no_part(tmp_path: Path) -> None:
    hand, curious = PartInHand(tmp_path, "fusion"), Curious(tmp_path)
    curious.breaks_with = JournalFailed("journal j.sqlite: database or disk is full")
    with pytest.raises(JournalFailed):
        InHandRecorder(curious, hand).step(FAULT)
    hand.close()
    assert take_part_in_hand(tmp_path, "fusion") == ""


def test_what_was_in_hand_is_known_however_suddenly_the_process_ended(tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", KILLED, tmp_path], check=False, env=os.environ)
    assert ended.returncode == -signal.SIGKILL
    assert take_part_in_hand(tmp_path, "rgb-0") == "r7"


def test_a_process_that_never_had_anything_had_nothing(tmp_path: Path) -> None:
    assert take_part_in_hand(tmp_path, "rgb-0") == ""


@pytest.mark.parametrize(("freed", "in_hand"), [((), ""), (("freed",), "r9")])
def test_a_full_disk_ends_no_worker_and_blames_no_part_that_was_in_hand_before(
    tmp_path: Path, freed: tuple[str, ...], in_hand: str
) -> None:
    ended = subprocess.run([sys.executable, "-c", FULL, tmp_path, *freed], check=False, env=os.environ)
    assert ended.returncode == 0
    assert take_part_in_hand(tmp_path, "rgb-0") == in_hand
