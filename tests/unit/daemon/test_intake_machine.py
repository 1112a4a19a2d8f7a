"""Ingest's intake with a real journal against any order of cameras' messages, verdicts, losses, restarts and troubles of the disk."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from daemon.inherited import GRACE_NS, PUT_OFF_NS
from daemon.intake import LOOK_EVERY_S, Reply
from daemon.journal_access import PAUSE_S
from mdss.journal import Entry, Journal, JournalFailed
from mdss.wire import camera
from mdss.wire.camera import Ack, Credit, Done, Eos, Hello, Nack, Ping
from mdss.wire.messages import Accepted, Fault, Frame, Judged, Resend
from mdss.wire.model_plan import ModelPlan
from mdss.wire.verdict import UndefinedCode
from tests import parts
from tests.fakes import FakeClock
from tests.front_door import RULES, Station, header, payloads, plan_of
from tests.machines import histories

pytestmark = pytest.mark.usefixtures("quiet_log")
MEMORY = Path("/dev", "shm")  # on a disk each frame would wait for it
NAMES, PEERS = ("cam", "other"), (b"peer-1", b"peer-2", b"peer-3")
SOURCE, PEER = st.sampled_from(NAMES), st.sampled_from((*PEERS, *PEERS[:1] * 3))
FRAME_ID, MANY = st.sampled_from(["f1", "f2", "f3", "f4"]), st.integers(0, 99)
MOST_CREDIT = 3
PAYLOADS = payloads()


class Ledger:
    """The real journal, which can be told to fail, and which notes what was accepted under which name."""

    def __init__(self, path: Path) -> None:
        self.file, self.trouble = Journal(path), ""  # "all", or the method that fails
        self.results: dict[tuple[str, str], str] = {}
        self.doubled: list[str] = []

    def accept(self, accepted: Accepted) -> None:
        """Store that a verdict will follow."""
        self._fail("accept")
        identity = accepted.identity
        known = self.file.find(identity.source_id, identity.frame_id)
        if known is not None and known.sequence is not None:
            self.doubled.append(identity.frame_id)
        self.file.accept(accepted)
        if self.results.setdefault((identity.source_id, identity.frame_id), accepted.result_id) != accepted.result_id:
            self.doubled.append(identity.frame_id)

    def find(self, source_id: str, frame_id: str) -> Entry | None:
        """Return what is known of a frame."""
        self._fail("find")
        return self.file.find(source_id, frame_id)

    def pending(self) -> list[Accepted]:
        """Return what has no verdict."""
        return self.file.pending()

    def _fail(self, method: str) -> None:
        if self.trouble in ("all", method):
            raise JournalFailed(self.trouble)


class IntakeMachine(RuleBasedStateMachine):
    """Cameras on one side, fusion on the other, and the door between them."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="intake-", dir=MEMORY if MEMORY.is_dir() else None))
        self.ledger, self.clock = Ledger(self.folder / "journal.sqlite"), FakeClock()
        self.words: list[Judged] = []  # of fusion, on their way
        self.promised: dict[tuple[str, str], str] = {}  # what was acknowledged, in any life
        self.open_door()

    def open_door(self) -> None:
        """Start ingest, and let the cameras find it."""
        self.inherited = {accepted.result_id for accepted in self.ledger.pending()}  # these have had their turn: no credit holds them up
        self.station, self.is_stopping = Station(self.ledger), False
        self.station.clock.now_s = self.clock.now_s
        self.clock = self.station.clock
        self.speaks: dict[bytes, str] = {}  # connection -> who said HELLO through it last
        self.credit = RULES.camera.credit
        self.has_pace, self.well_since_s = False, 0.0
        self.answered: set[str] = set()  # results that this life has heard the verdict of
        self.opened_s, self.put_off_s, self.is_served = self.clock(), dict[str, float](), True  # result -> when it was refused for now
        for name, peer in zip(NAMES, PEERS, strict=False):
            self.hello(name, peer)

    def say(self, peer: bytes, frames: list[bytes], source: str = "", frame_id: str = "") -> list[camera.Header]:
        """Send one message; check every answer."""
        replies = self.station.intake.take(peer, frames)
        self.station.outbox.flush(self.station.fusion, self.station.prepare)
        for reply in replies:
            assert reply.peer == peer
            self.check(reply.message, source, frame_id)
        return [reply.message for reply in replies]

    def check(self, message: camera.Header, source: str, frame_id: str) -> None:
        """Check one answer to a camera against the journal."""
        if isinstance(message, Ack):
            assert message.frame_id == frame_id
            entry = self.ledger.file.find(source, frame_id)
            assert entry is not None and entry.result_id == message.result_id, "acknowledged, but not in the journal"
            assert self.promised.setdefault((source, frame_id), message.result_id) == message.result_id, "accepted twice"
        if isinstance(message, Done):
            entry = self.ledger.file.find(source, message.frame_id)
            assert entry is not None and entry.sequence is not None, "DONE, but not judged"
            assert (entry.result_id, entry.sequence) == (message.result_id, message.sequence)

    def told(self, replies: list[Reply]) -> None:
        """Check what cameras are told of verdicts: through the connection that speaks for them now."""
        for reply in replies:
            assert isinstance(reply.message, Done | Credit)
            self.check(reply.message, self.speaks[reply.peer], "")

    @rule(source=SOURCE, peer=PEER)
    def hello(self, source: str, peer: bytes) -> None:
        (answer,) = self.say(peer, camera.compose(Hello(source_id=source)))
        self.speaks = {known: name for known, name in self.speaks.items() if name != source} | {peer: source}
        assert isinstance(answer, Credit) and answer.credit == (0 if self.is_stopping else self.credit)

    @rule(peer=PEER, is_farewell=st.booleans())
    def ping_or_farewell(self, peer: bytes, is_farewell: bool) -> None:
        name = self.speaks.get(peer, "cam")
        self.say(peer, camera.compose(Eos(source_id=name) if is_farewell else Ping(source_id=name)))

    @rule(peer=PEER, frame_id=FRAME_ID, deadline_ms=st.sampled_from([None, 1, 60_000]))
    def send(self, peer: bytes, frame_id: str, deadline_ms: int | None) -> None:
        source = self.speaks.get(peer, "cam")
        known = self.ledger.file.find(source, frame_id)
        has_room = not self.has_pace and (known is not None or self.has_room(source))
        is_well = not self.ledger.trouble and self.clock() - self.well_since_s >= PAUSE_S
        frames = camera.compose_frame(header(frame_id, source_id=source, deadline_ms=deadline_ms), PAYLOADS)
        first, *_ = self.say(peer, [bytes(frame) for frame in frames], source, frame_id)
        if peer not in self.speaks:
            assert isinstance(first, Nack) and first.code == "NOT_READY"
        elif self.is_stopping and known is None:
            assert isinstance(first, Nack) and first.code in ("DRAINING", "BUSY")
        elif not self.is_stopping and has_room and is_well and self.is_served:
            assert isinstance(first, Ack), f"a good frame was refused: {first}"
        if isinstance(first, Nack) and known is not None and peer in self.speaks:
            self.put_off_s[known.result_id] = self.clock()

    def has_room(self, source: str) -> bool:
        """Return whether a camera may send another frame while the station's pace is unknown."""
        intake = self.station.intake
        line = [asked.parts for _, asked in intake._admission._line.values()]  # one of them may have asked under another credit
        fewest = min([self.credit + intake._sources.speaking, *line])
        return intake._held.count(source) < self.credit and len(intake._held) + len(line) < fewest

    @rule(peer=PEER, frame_id=FRAME_ID, change=st.sampled_from(["payload", "recipe", "name", "part"]))
    def send_what_cannot_be_taken(self, peer: bytes, frame_id: str, change: str) -> None:
        source = self.speaks.get(peer, "cam")
        wrong = {"payload": {}, "recipe": {"recipe_id": "none"}, "name": {"source_id": "somebody"}, "part": {"part_id": "another"}}[change]
        frames = camera.compose_frame(header(frame_id, **({"source_id": source} | wrong)), PAYLOADS[: 1 if change == "payload" else 2])
        was_known = self.ledger.file.find(source, frame_id)
        if change == "part" and was_known is None:
            return
        (first, *_) = self.say(peer, [bytes(frame) for frame in frames], source, frame_id)
        assert isinstance(first, Nack) or (was_known is not None and change == "payload")
        assert self.ledger.file.find(source, frame_id) == was_known

    @rule(number=MANY, code=st.sampled_from([None, "LATE", "LATE", "POISON"]))
    def fusion_judges(self, number: int, code: UndefinedCode | None) -> None:
        pending = self.ledger.file.pending()
        if pending:
            accepted = pending[number % len(pending)]
            verdict = self.ledger.file.judge(parts.verdict(accepted))
            self.words.append(Judged(result_id=accepted.result_id, sequence=verdict.sequence, code=code))

    @rule(number=MANY, again=st.booleans(), is_lost=st.sampled_from([False, False, True]))
    def a_word_of_fusion(self, number: int, again: bool, is_lost: bool) -> None:
        if self.words:
            at = number % len(self.words)
            word = self.words[at] if again else self.words.pop(at)
            if not is_lost:
                self.has_pace = self.has_pace or word.code is None
                self.answered.add(word.result_id)
                self.told(self.station.intake.note_verdicts([word]))

    @rule(number=MANY, attempt=st.integers(2, 5), branch=st.sampled_from(["rgb", "sdf"]))
    def fusion_asks_again(self, number: int, attempt: int, branch: str) -> None:
        results = [*self.promised.values(), "nobody's"]
        wanted = ("rgb", "sdf") if attempt % 2 else (branch,)
        self.station.intake.resend(Resend(result_id=results[number % len(results)], attempt=attempt, wanted=wanted))  # type: ignore[arg-type]

    @rule(seconds=st.sampled_from([0.0, 0.1, 1.0, 2.5, 11.0, 75.0]))
    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        known = len(self.lost())
        self.told(self.station.intake.tick())
        held, lost = {accepted.result_id for accepted in self.station.intake._held}, self.lost()[known:]
        assert not held & set(lost), "lost, though its camera had sent it again"
        for name in lost if self.clock() - self.opened_s < PUT_OFF_NS / 1e9 else ():
            assert self.clock() - self.put_off_s.get(name, -1e9) >= GRACE_NS / 1e9, "lost, though its camera was told to send it once more"
        self.station.outbox.flush(self.station.fusion, self.station.prepare)

    def lost(self) -> list[str]:
        """Return the parts that fusion is told of as lost, whether it has taken that already or not."""
        told = [*self.station.fusion.sent, *self.station.outbox._to_fusion]
        return [message.result_id for message in told if isinstance(message, Fault)]

    @rule(trouble=st.sampled_from(["", "", "", "all", "accept"]))
    def the_disk(self, trouble: str) -> None:
        if self.ledger.trouble and not trouble:
            self.well_since_s = self.clock()
        self.ledger.trouble = trouble

    @rule(is_served=st.sampled_from([True, True, False]))
    def models_come_and_go(self, is_served: bool) -> None:
        self.is_served = is_served
        self.station.intake.follow(plan_of(*RULES.models.recipes) if is_served else ModelPlan())

    @rule(fusion=st.booleans(), prepare=st.booleans())
    def the_next_stages_take_what_they_take(self, fusion: bool, prepare: bool) -> None:
        self.station.fusion.room, self.station.prepare.room = fusion, prepare

    @rule(credit=st.integers(1, MOST_CREDIT))
    def take_over_settings(self, credit: int) -> None:
        self.credit = credit
        changed = msgspec.structs.replace(RULES, camera=msgspec.structs.replace(RULES.camera, credit=credit))
        self.told(self.station.intake.reconfigure(changed))

    @rule(what=st.sampled_from([*["nothing"] * 6, "restart", "restart", "stop"]))  # or little would last until anything else happens
    def leave(self, what: str) -> None:
        if what == "restart":
            self.words.clear()
            self.open_door()
        if what == "stop":
            self.is_stopping = True
            self.told(self.station.intake.stop())

    @rule(is_meant=st.sampled_from([False, False, True]), seconds=st.sampled_from([0.0, 75.0]))
    def what_was_promised_before_a_restart_is_promised_again(self, is_meant: bool, seconds: float) -> None:
        """Promise: cameras that send again what has no DONE are answered ACK with the same result, and nothing of it is LOST."""
        if not is_meant:
            return
        self.leave("restart")
        self.the_disk("")
        for peer, source in list(self.speaks.items()):
            for name, frame_id in [known for known in self.promised if known[0] == source]:
                frames = camera.compose_frame(header(frame_id, source_id=name), PAYLOADS)
                first, *_ = self.say(peer, [bytes(frame) for frame in frames], name, frame_id)
                assert isinstance(first, Ack), f"what was acknowledged is refused: {first}"
        self.pass_time(seconds)

    @invariant()
    def no_frame_is_accepted_under_two_names(self) -> None:
        assert self.ledger.doubled == []

    @invariant()
    def what_is_held_is_what_was_accepted_and_has_no_answer(self) -> None:
        held = self.station.intake._held
        for name in NAMES:
            own = [accepted for accepted in held if accepted.identity.source_id == name]
            assert held.count(name) == len(own)
            assert sum(accepted.result_id not in self.inherited for accepted in own) <= MOST_CREDIT
        assert sum(held.count(name) for name in NAMES) == len(held) == len(set(held))
        assert held.nbytes == len(held) * sum(map(len, PAYLOADS))
        assert self.station.intake.is_idle == (len(held) == 0)
        for accepted in held:
            identity = accepted.identity
            assert self.promised[identity.source_id, identity.frame_id] == accepted.result_id
            assert accepted.result_id not in self.answered, "held though its verdict was told"

    @invariant()
    def fusion_knows_of_a_part_before_anybody_sees_its_frame(self) -> None:
        announced = {message.result_id for message in self.station.fusion.sent if isinstance(message, Accepted)}
        seen = {message.result_id for message in self.station.prepare.sent if isinstance(message, Frame)}
        assert seen <= announced
        waiting = {frame.result_id for frame in self.station.outbox._frames}
        assert waiting <= {accepted.result_id for accepted in self.station.intake._held}, "a frame waits that nobody wants"

    def teardown(self) -> None:
        """Let fusion judge all that ingest holds, and lose its words; what earlier lives left is told to be lost."""
        try:
            self.the_disk("")
            self.the_next_stages_take_what_they_take(fusion=True, prepare=True)
            self.pass_time(PAUSE_S)
            held = {accepted.result_id for accepted in self.station.intake._held}
            left = [accepted.result_id for accepted in self.ledger.pending() if accepted.result_id not in held]
            self.pass_time(60 + GRACE_NS / 1e9 + LOOK_EVERY_S)
            assert set(left) <= set(self.lost()), "nobody was told of a part that is lost"
            for accepted in self.ledger.pending():
                self.ledger.file.judge(parts.verdict(accepted))
            self.pass_time(LOOK_EVERY_S)
            assert self.station.intake.is_idle, "a verdict in the journal was not found"
        finally:
            self.ledger.file.close()
            shutil.rmtree(self.folder)


IntakeMachine.TestCase.settings = histories(300)
TestIntake = IntakeMachine.TestCase
