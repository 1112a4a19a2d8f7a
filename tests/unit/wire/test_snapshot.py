"""The snapshot port answers whatever it is asked, and a subscriber reads whatever it is answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import pytest

from mdss.errors import MdssError
from mdss.wire.snapshot import MOST_VERDICTS, SnapshotReply, answer, read_reply
from mdss.wire.verdict import Verdict
from tests.parts import accepted, verdict


class Blank:
    """A journal without verdicts."""

    def since(self, sequence: int, limit: int) -> Sequence[Verdict]:
        return ()

    def last_sequence(self) -> int:
        return 7


@dataclass(frozen=True)
class Book:
    """A journal with verdicts 1 to `last`."""

    last: int = 5

    def since(self, sequence: int, limit: int) -> Sequence[Verdict]:
        judged = [verdict(accepted(f"r{number}", 100)) for number in range(1, self.last + 1)]
        numbered = [msgspec.structs.replace(each, sequence=number) for number, each in enumerate(judged, start=1)]
        return numbered[sequence : sequence + limit]

    def last_sequence(self) -> int:
        return self.last


QUESTIONS_NOBODY_CAN_READ = (
    b"",
    b"\xff",
    b"{}",
    b'{"since":-1}',
    b"[" * 100_000,
    b'{"since":0,"' + b"x" * 100_000 + b'":1}',
    b'{"since":0,"' + b"\\u001b" * 1000 + b'":1}',  # in letters a character becomes four
)


@pytest.mark.parametrize("question", QUESTIONS_NOBODY_CAN_READ)
def test_a_question_that_cannot_be_read_is_answered_in_one_short_sentence(question: bytes) -> None:
    reply = msgspec.json.decode(answer(question, Blank(), "boot"), type=SnapshotReply)
    assert reply.error.startswith("snapshot request: ") and len(reply.error) <= 500
    with pytest.raises(MdssError, match="snapshot request"):
        read_reply(msgspec.json.encode(reply))


def test_a_question_with_a_wrong_number_is_told_which_and_what_was_expected() -> None:
    reply = msgspec.json.decode(answer(b'{"since":-1}', Blank(), "boot"), type=SnapshotReply)
    assert reply.error == f"snapshot request: since: found -1, expected a whole number from 0 to {2**63 - 1}"
    reply = msgspec.json.decode(answer(b'{"since":1,"limit":-1}', Blank(), "boot"), type=SnapshotReply)
    assert reply.error == "snapshot request: limit: found -1, expected a whole number of at least 0"


@pytest.mark.parametrize("reply", [b"", b"\xff", b"{}", b'{"more":' + b"[" * 100_000])
def test_an_answer_that_cannot_be_read_is_an_error_with_a_sentence(reply: bytes) -> None:
    with pytest.raises(MdssError, match="snapshot reply"):
        read_reply(reply)


def test_a_megabyte_of_slashes_is_refused_as_fast_as_any_other() -> None:
    """Each pair may begin an address with a password: looked for from every one of them, that would take hours, and no part be judged."""
    reply = msgspec.json.decode(answer(b'{"since":"' + b"/" * 1_000_000 + b'"}', Blank(), "boot"), type=SnapshotReply)
    assert "(1000000 characters), expected a whole number" in reply.error


def test_what_a_terminal_would_obey_comes_back_in_letters() -> None:
    reply = msgspec.json.decode(answer(b'{"since":0,"\\u001b[2J\\u202e":1}', Blank(), "boot"), type=SnapshotReply)
    assert reply.error == "snapshot request: \\x1b[2J\\u202e: found an unknown key, expected one of since, limit"


def test_a_limit_of_0_asks_for_the_last_sequence() -> None:
    assert read_reply(answer(b'{"since":3,"limit":0}', Blank(), "boot")) == SnapshotReply(
        boot_id="boot", since=3, last_sequence=7, verdicts=()
    )


def test_an_answer_names_the_verdict_that_the_subscriber_knows_already_and_does_not_repeat_it() -> None:
    reply = read_reply(answer(b'{"since":2,"limit":2}', Book(), "boot"))
    assert (reply.since_result_id, [each.sequence for each in reply.verdicts]) == ("r2", [3, 4])
    for since, following in ((0, [1]), (9, [])):
        reply = read_reply(answer(b'{"since":%d,"limit":1}' % since, Book(), "boot"))
        assert (reply.since_result_id, [each.sequence for each in reply.verdicts]) == ("", following)


def test_an_answer_has_a_length_that_a_station_can_afford_whatever_was_asked_for() -> None:
    reply = read_reply(answer(b'{"since":2,"limit":1000000}', Book(last=MOST_VERDICTS + 9), "boot"))
    assert [each.sequence for each in reply.verdicts] == list(range(3, MOST_VERDICTS + 3))
