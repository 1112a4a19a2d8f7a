"""A part is judged by one model: what another one said of it, before its frame was sent again, counts no more."""

from __future__ import annotations

import msgspec
import pytest

from mdss.wire.messages import Fault, Message
from tests import parts
from workers.part_join import JoinedPart, PartJoin

DEADLINE_NS = 5 * 10**9
OLD, NEW = "0001", "0002"


def play(join: PartJoin, *messages: Message) -> list[JoinedPart]:
    """Return the parts that came out of these messages."""
    return [part for part in (join.take(message, 1) for message in messages) if part is not None]


def said_by(version: str) -> list[Message]:
    """Return what the stages say of the part by one model."""
    return [parts.prepared("a", version=version), *(parts.score(branch, "a", version=version) for branch in ("rgb", "sdf"))]


def accepted(version: str) -> Message:
    return parts.accepted("a", DEADLINE_NS, version=version)


def versions(part: JoinedPart) -> set[str]:
    assert part.prepared is not None
    return {part.accepted.model_version, part.prepared.model_version, *(score.model_version for score in part.scores.values())}


@pytest.mark.parametrize("known", range(3))
def test_a_frame_that_was_sent_again_after_a_change_of_model_is_judged_by_the_new_one_alone(known: int) -> None:
    join = PartJoin()
    assert play(join, accepted(OLD), *said_by(OLD)[:known], accepted(NEW), *said_by(OLD)) == []
    (part,) = play(join, *said_by(NEW))
    assert versions(part) == {NEW}


@pytest.mark.parametrize("before", range(4))
def test_the_new_model_s_word_counts_also_where_it_comes_before_the_new_acceptance(before: int) -> None:
    join, words = PartJoin(), said_by(NEW)
    (part,) = [*play(join, accepted(OLD), *words[:before]), *play(join, accepted(NEW)), *play(join, *words[before:])]
    assert versions(part) == {NEW}


def test_a_fault_by_the_old_model_does_not_close_a_part_of_the_new_one() -> None:
    join = PartJoin()
    gone = Fault(result_id="a", code="LOST", reason="model cap/0001 is not loaded", model_version=OLD)
    assert play(join, accepted(NEW), gone) == []
    (part,) = play(join, *said_by(NEW))
    assert part.code is None


def test_a_fault_that_no_model_has_to_do_with_closes_it() -> None:
    join = PartJoin()
    (part,) = play(join, accepted(NEW), Fault(result_id="a", code="LOST", reason="nobody sent it again"))
    assert part.code == "LOST"


def test_a_part_that_an_earlier_release_accepted_takes_what_is_said_of_it() -> None:
    join = PartJoin()
    nameless = parts.accepted("a", DEADLINE_NS)
    (part,) = play(join, msgspec.structs.replace(nameless, model_version=""), *said_by(OLD))
    assert set(part.scores) == {"rgb", "sdf"}
