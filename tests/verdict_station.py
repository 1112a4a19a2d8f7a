"""A small station's outer end for subscribers in a thread: a real XPUB and a real snapshot port over a journal in memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import zmq

from mdss.client import VerdictStream
from mdss.wire import snapshot
from mdss.wire.verdict import Beat, Evaluation, Times, Verdict


def verdict(sequence: int, evaluation: Evaluation = "OK", boot_id: str = "b", journal: str = "") -> Verdict:
    return Verdict(
        result_id=f"{journal}r{sequence}", boot_id=boot_id, sequence=sequence, station="s", source_id="c", frame_sequence=sequence,
        frame_id=f"f{sequence}", part_id=f"p{sequence}", job_id="none", recipe_id="r", configuration_id="k", model=None,
        evaluation=evaluation, code=None, reasons=(), is_partial=False, is_simulated=True, score=None, threshold=None, branches={},
        regions=(), invalid_point_ratio=None, deadline_missed=False, attempt=1,
        times=Times(captured=0, received=0, rgb=None, sdf=None, fusion=0, published=0), evidence=None,
    )  # fmt: skip


def until_ctrl_c(turns: int) -> Callable[[VerdictStream, float], Verdict | None]:
    """Return a `VerdictStream.receive` that answers so often; then somebody presses Ctrl-C."""
    receive, left = VerdictStream.receive, iter(range(turns))

    def answer(stream: VerdictStream, timeout_s: float) -> Verdict | None:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return receive(stream, timeout_s)

    return answer


class Station:
    """Publishes what a test says, and answers snapshots from its journal in a thread."""

    def __init__(self, folder: Path) -> None:
        self.endpoint, self.snapshots = f"ipc://{folder}/v.sock", f"ipc://{folder}/s.sock"
        self.journal: list[Verdict] = []
        self.boot_id, self.name = "b", ""  # of this life, and of its journal
        self.asked = 0  # questions so far
        self.unanswered = 0  # of the next questions, as while the journal fails
        self.forgotten = 0  # last sequence, if that is later than all in the journal: their verdicts were too old to be kept
        self.byte_takes_s = 0.0  # of an answer, as over a slow link
        self.context: zmq.Context[Any] = zmq.Context()
        self.publisher: zmq.Socket[bytes] = self.context.socket(zmq.XPUB)
        self.publisher.xpub_verbose = True  # tell of a topic that somebody subscribed to already, too
        self.publisher.bind(self.endpoint)
        self._stop, self._was_asked = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def since(self, sequence: int, limit: int) -> list[Verdict]:
        return [one for one in self.journal if one.sequence > sequence][:limit]

    def last_sequence(self) -> int:
        return max(self.forgotten, self.journal[-1].sequence if self.journal else 0)

    def wait_for_subscriber(self) -> None:
        topics = {self.publisher.recv() for _ in range(2)}
        assert topics == {b"\x01verdict/", b"\x01heartbeat/"}

    def subscribed_anew(self, within_ms: int = 100) -> int:
        """Return how often verdicts were subscribed to since somebody asked, and until nobody does for so long."""
        count = 0
        while self.publisher.poll(within_ms):
            count += self.publisher.recv() == b"\x01verdict/"
        return count

    def wait_for_question(self) -> None:
        assert self._was_asked.wait(10)

    def judge(self, sequence: int, evaluation: Evaluation = "OK", is_published: bool = True) -> None:
        self.journal.append(verdict(sequence, evaluation, self.boot_id, self.name))
        if is_published:
            self.publisher.send_multipart([f"verdict/s/c/{evaluation}".encode(), msgspec.json.encode(self.journal[-1])])

    def install_anew(self, verdicts: int) -> None:
        """Begin another journal, which has so many verdicts by now that nobody was told of."""
        self.boot_id, self.name, self.journal = "after installing", "new-", []
        for sequence in range(1, verdicts + 1):
            self.judge(sequence, is_published=False)

    def beat(self, sequence: int | None = None) -> None:
        said = self.last_sequence() if sequence is None else sequence
        beat = Beat(station="s", boot_id=self.boot_id, sequence=said, time_ns=0)
        self.publisher.send_multipart([b"heartbeat/s", msgspec.json.encode(beat)])

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self.publisher.close(0)
        self.context.term()

    def _serve(self) -> None:
        with self.context.socket(zmq.ROUTER) as router:
            router.linger = 0
            router.bind(self.snapshots)
            while not self._stop.is_set():
                if router.poll(10):
                    *route, request = router.recv_multipart()
                    self.asked += 1
                    if self.unanswered:
                        self.unanswered -= 1
                        continue
                    answer = snapshot.answer(request, self, self.boot_id)
                    time.sleep(self.byte_takes_s * len(answer))
                    router.send_multipart([*route, answer])
                    self._was_asked.set()
