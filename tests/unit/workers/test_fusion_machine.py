"""Fusion with a real journal against any order of arrivals, repeats, losses, deaths, restarts and deadlines: one verdict per part."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from mdss.journal import Journal, JournalFailed
from mdss.wire.heartbeat import Tally
from mdss.wire.messages import Accepted, BranchScore, Ended, Fault, Judged, Message, PreparedPart, Resend
from mdss.wire.verdict import Beat, Verdict
from tests import parts
from tests.fakes import NOBODY, FakeClock
from tests.machines import histories
from workers.fusion import Fusion, FusionServices
from workers.judge import Judgement, VerdictOrigin
from workers.part_join import GRACE_NS, SETTLED_NS, PartJoin

pytestmark = pytest.mark.usefixtures("quiet_log")
SECOND_NS = 10**9
DEADLINE_MS = 4000
LIVES_ON_S = (GRACE_NS + DEADLINE_MS * 10**6 + SETTLED_NS) / SECOND_NS + 1  # by then everything that was ever accepted is over
NAMES = tuple(f"p{number}" for number in range(5))
MEMORY = Path("/dev", "shm")  # on a disk each verdict would wait for it
PROCESSES = ("prepare", "rgb-0", "rgb-1", "sdf-0")
PART, MANY = st.sampled_from(NAMES), st.integers(0, 999)


class Died(Exception):
    """Fusion is killed at this place."""


class Life:
    """Fusion from one start to its end, what it is told and what it says."""

    def __init__(self, journal: Journal, clock: FakeClock) -> None:
        self.journal, self.clock = journal, clock
        self.known: dict[str, Accepted] = {}  # what this life was told
        self.judged: list[Judged] = []
        self.published: list[Verdict] = []
        self.resends: list[Resend] = []
        self.dies_at = ""  # "journal" before the verdict is stored, "publisher" after it
        join = PartJoin()
        join.recover(journal.pending(), clock.ns())
        outside = FusionServices(self, self, self, Tally(), NOBODY, clock.ns, clock.ns)  # type: ignore[arg-type]
        self.fusion = Fusion(join, self, VerdictOrigin("line", "boot", "configuration"), outside)  # type: ignore[arg-type]

    def judge(self, what: Any) -> Any:
        """Decide on a part, or journal a verdict: judge and journal have one method name."""
        if not isinstance(what, Verdict):
            return Judgement("OK", score=1.0) if what.code is None else Judgement("Undefined", (what.reason,), what.code)
        if self.dies_at == "journal":
            raise JournalFailed("the disk is full")
        return self.journal.judge(what)

    def model_of(self, _: object) -> Any:
        return parts.model()

    def last_sequence(self) -> int:
        return self.journal.last_sequence()

    def publish(self, verdict: Verdict, heat_png: Callable[[], bytes] | None) -> None:
        if self.dies_at == "publisher":
            raise Died
        self.published.append(verdict)

    def serve(self, beat: Callable[[], Beat]) -> None:
        beat()

    def take(self, message: Message) -> None:
        """Receive one message."""
        if isinstance(message, Accepted):
            self.known[message.result_id] = message
        self.say(self.fusion.step(message))

    def say(self, answers: Iterable[Message]) -> None:
        """Keep what it said."""
        for answer in answers:
            if isinstance(answer, Judged):
                self.judged.append(answer)
            elif isinstance(answer, Resend):
                self.resends.append(answer)


class FusionMachine(RuleBasedStateMachine):
    """The line around fusion: an ingest that holds frames, stages whose results are on their way, and everything that can go wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="fusion-", dir=MEMORY if MEMORY.is_dir() else None))
        self.journal, self.clock = Journal(self.folder / "journal.sqlite"), FakeClock()
        self.accepted: dict[str, Accepted] = {}  # the newest attempt of each, as ingest knows it
        self.held: set[str] = set()  # parts whose frames ingest still has
        self.flying: list[Message] = []
        self.deaths: Counter[str] = Counter()
        self.is_troubled: set[str] = set()  # parts of which something was lost, late or broken
        self.is_short: set[str] = set()  # parts of which something is gone that nobody was told of: they wait for their deadline
        self.verdicts: dict[str, Verdict] = {}
        self.life = Life(self.journal, self.clock)

    @contextmanager
    def mortal(self) -> Iterator[None]:
        """Let fusion act; where it dies the supervisor starts it again."""
        try:
            yield
        except (Died, JournalFailed):
            self.start_again()

    def start_again(self) -> None:
        """Start fusion anew; what lay in its inbox is lost with it."""
        self.is_troubled.update(self.accepted)
        self.flying = [message for message in self.flying if not isinstance(message, Accepted)]
        self.life = Life(self.journal, self.clock)

    def send(self, name: str, attempt: int, wanted: tuple[str, ...] = ("rgb", "sdf"), *, deadline_ns: int | None = None) -> None:
        """Say that a part is accepted, and let the stages answer for it: all of that is on its way from now on."""
        due_ns = self.clock.ns() + DEADLINE_MS * 10**6 if deadline_ns is None else deadline_ns
        accepted = msgspec.structs.replace(parts.accepted(name, due_ns, attempt), deadline_ms=DEADLINE_MS)
        self.accepted[name] = accepted
        self.held.add(name)
        self.flying += [accepted, parts.prepared(name), *(parts.score(branch, name) for branch in wanted)]  # type: ignore[arg-type]

    @rule(name=PART)
    def accept(self, name: str) -> None:
        if name not in self.accepted:
            self.send(name, attempt=1)
            self.journal.accept(self.accepted[name])

    @rule(name=PART)
    def camera_sends_again(self, name: str) -> None:
        """Do as an ingest that was started again, and knows the part from the journal alone."""
        entry = self.journal.find("cam", name)
        if entry is not None and entry.sequence is None:
            self.is_troubled.add(name)
            self.is_short.discard(name)
            self.send(name, entry.attempt + 1)
            self.journal.accept(self.accepted[name])

    @rule(number=MANY, again=st.booleans())
    def arrive(self, number: int, again: bool) -> None:
        if self.flying:
            at = number % len(self.flying)
            message = self.flying[at] if again else self.flying.pop(at)
            with self.mortal():
                self.life.take(message)

    @rule()
    def arrive_all(self) -> None:
        while self.flying:
            self.arrive(0, again=False)

    @rule(number=MANY)
    def lose(self, number: int) -> None:
        """Lose a result; what ingest says gets lost only with fusion itself."""
        results = [message for message in self.flying if isinstance(message, PreparedPart | BranchScore)]
        if results:
            message = results[number % len(results)]
            self.flying = [each for each in self.flying if each is not message]
            self.is_troubled.add(message.result_id)
            self.is_short.add(message.result_id)

    @rule(process=st.sampled_from(PROCESSES), name=st.sampled_from(("", *NAMES)), is_last=st.sampled_from([False, False, False, True]))
    def a_process_ends(self, process: str, name: str, is_last: bool) -> None:
        self.is_troubled.update(self.accepted)
        self.deaths[name] += 1
        told = tuple(f"{process} ended" for _ in range(self.deaths[name])) if name else ()
        with self.mortal():
            self.life.take(Ended(process=process, reason="ended", result_id=name, deaths=told, is_last=is_last))

    @rule(process=st.sampled_from(PROCESSES), mask=st.sampled_from([31, 31, 1, 2, 5]), in_hand=st.sampled_from(("", *NAMES)))
    def what_dies_with_a_worker_is_judged_all_the_same(self, process: str, mask: int, in_hand: str) -> None:
        """Promise: what a worker had of some parts is asked for again, and each part that has time left gets its verdict."""
        stage, names = process.partition("-")[0], {name for at, name in enumerate(NAMES) if mask >> at & 1}
        self.flying = [
            message
            for message in self.flying
            if not (isinstance(message, PreparedPart | BranchScore) and message.result_id in names)
            or (stage != "prepare" and getattr(message, "branch", "") != stage)
        ]
        self.a_process_ends(process, in_hand, is_last=False)
        self.arrive_all()
        self.pass_time(SETTLED_NS / SECOND_NS + 0.05)
        self.ingest_sends_again_what_it_was_asked_for(is_heard=True)
        self.arrive_all()
        for name, accepted in self.accepted.items():
            if name not in self.is_short and accepted.deadline_ns > self.clock.ns():
                assert self.journal.find("cam", name).sequence is not None, f"{name} waits for nothing"  # type: ignore[union-attr]

    @rule(name=PART)
    def cannot_be_judged(self, name: str) -> None:
        self.is_troubled.add(name)
        self.flying.append(Fault(result_id=name, code="BAD_CLOUD", reason="empty"))

    @rule()
    def ingest_reminds(self) -> None:
        self.flying += [accepted for accepted in self.accepted.values() if accepted.deadline_ns <= self.clock.ns()]

    @rule(is_heard=st.booleans())
    def ingest_sends_again_what_it_was_asked_for(self, is_heard: bool) -> None:
        asked, self.life.resends = self.life.resends, []
        for resend in asked:
            name = resend.result_id
            if is_heard and name in self.held:
                self.send(name, resend.attempt, resend.wanted, deadline_ns=self.accepted[name].deadline_ns)
            else:
                self.is_short.add(name)

    @rule(seconds=st.sampled_from([0.0, 0.1, 0.25, 1.0, 3.9, 4.0, 11.0, 121.0]))
    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        with self.mortal():
            self.life.say(self.life.fusion.tick())
        if seconds:
            self.is_troubled.update(name for name, part in self.accepted.items() if part.deadline_ns <= self.clock.ns())

    @rule(place=st.sampled_from(["", "", "journal", "publisher"]), seconds=st.sampled_from([0.0, 4.0]))
    def die_while_judging(self, place: str, seconds: float) -> None:
        self.life.dies_at = place
        self.pass_time(seconds)
        self.arrive_all()
        self.life.dies_at = ""

    @rule(what=st.sampled_from(["nothing", "nothing", "nothing", "fusion", "machine"]))  # or little would last until anything else happens
    def start_anew(self, what: str) -> None:
        """Start fusion again, or the machine: its clock of deadlines begins anew, and what was on its way is gone."""
        if what == "machine":
            self.flying.clear()
            self.held.clear()
            self.clock.now_s = 5.0
        if what != "nothing":
            self.start_again()

    @invariant()
    def the_books_agree(self) -> None:
        self.sequences_have_no_gap_and_no_verdict_changes()
        self.one_life_answers_once_for_each_part()
        for name, verdict in self.verdicts.items():
            assert verdict.code != "POISON" or self.deaths[name] >= 2
            assert verdict.code is None or name in self.is_troubled, f"{verdict.code} though nothing was lost, late or broken"
        for resend in self.life.resends:
            assert resend.wanted and resend.attempt > 1 and resend.result_id in self.accepted

    def sequences_have_no_gap_and_no_verdict_changes(self) -> None:
        """Check the journal, and what was published, against all that was there before."""
        stored = self.journal.since(0, 1000)
        assert [verdict.sequence for verdict in stored] == [*range(1, len(stored) + 1)]
        assert len({verdict.result_id for verdict in stored}) == len(stored)
        assert {verdict.result_id for verdict in stored} <= set(self.accepted), "a part that nobody accepted has a verdict"
        for verdict in stored:
            assert self.verdicts.setdefault(verdict.result_id, verdict) == verdict
        assert all(self.verdicts.get(verdict.result_id) == verdict for verdict in self.life.published)

    def one_life_answers_once_for_each_part(self) -> None:
        """Check what ingest is told: nothing twice in one life, and nothing but what the journal holds."""
        answered = Counter(judged.result_id for judged in self.life.judged)
        assert not [name for name, times in answered.items() if times > 1]
        for judged in self.life.judged:
            verdict = self.verdicts[judged.result_id]
            assert (judged.sequence, judged.code) == (verdict.sequence, verdict.code)

    @rule()
    def nothing_is_late_unseen(self) -> None:
        """Promise: after a turn of fusion, whatever it was told of and is over has its verdict."""
        self.pass_time(0.0)
        now_ns = self.clock.ns()
        for name, accepted in self.life.known.items():
            entry = self.journal.find("cam", name)
            assert entry is not None
            assert entry.sequence is not None or accepted.deadline_ns > now_ns, f"{name} is over and has no verdict"

    def teardown(self) -> None:
        """Let the station work on by itself: every part that was ever accepted gets its verdict."""
        try:
            self.flying = [message for message in self.flying if isinstance(message, Accepted)]
            self.arrive_all()
            self.pass_time(LIVES_ON_S)
            self.sequences_have_no_gap_and_no_verdict_changes()
            assert self.journal.pending() == []
            assert set(self.verdicts) == set(self.accepted)
        finally:
            self.journal.close()
            shutil.rmtree(self.folder)


FusionMachine.TestCase.settings = histories(250)
TestFusion = FusionMachine.TestCase
