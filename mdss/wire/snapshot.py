"""The question that a subscriber asks about missed verdicts, and the answer from the journal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Protocol

import msgspec
from msgspec import Meta

from mdss.errors import UNREADABLE, MdssError
from mdss.wire.headers import in_words, short
from mdss.wire.verdict import Verdict

MOST_VERDICTS = 500  # in one answer; the subscriber asks again from the last one


class SnapshotRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Subscriber -> station: at most `limit` verdicts after this sequence; a limit of 0 asks for the last sequence only."""

    since: Annotated[int, Meta(ge=0, le=2**63 - 1)]
    limit: Annotated[int, Meta(ge=0)] = MOST_VERDICTS


class SnapshotReply(msgspec.Struct, frozen=True, kw_only=True):
    """Station -> subscriber: verdicts in order; `error` is the sentence for a request that could not be read."""

    boot_id: str
    since: int
    last_sequence: int
    verdicts: tuple[Verdict, ...]
    error: str = ""
    # result id of the verdict with the sequence `since`, which shows whether the journal is a new one; empty if the station has none
    since_result_id: str = ""


class VerdictSource(Protocol):
    """What a snapshot reads from: the journal."""

    def since(self, sequence: int, limit: int) -> Sequence[Verdict]:
        """Return the verdicts after a sequence, in order."""

    def last_sequence(self) -> int:
        """Return the sequence of the last verdict, 0 before the first."""


def answer(request: bytes | memoryview, journal: VerdictSource, boot_id: str) -> bytes:
    """Return the answer to one request; a request that cannot be read is answered with the reason."""
    try:
        asked = msgspec.json.decode(request, type=SnapshotRequest)
    except UNREADABLE as error:
        sentence = short(f"snapshot request: {in_words(error, SnapshotRequest, request)}")
        refused = SnapshotReply(boot_id=boot_id, since=0, last_sequence=0, verdicts=(), error=sentence)
        return msgspec.json.encode(refused)
    limit = min(asked.limit, MOST_VERDICTS)
    found = journal.since(max(0, asked.since - 1), limit + 1)
    since_result_id = found[0].result_id if found and found[0].sequence == asked.since else ""
    reply = SnapshotReply(
        boot_id=boot_id,
        since=asked.since,
        last_sequence=journal.last_sequence(),
        verdicts=tuple(found[bool(since_result_id) :][:limit]),
        since_result_id=since_result_id,
    )
    return msgspec.json.encode(reply)


def read_reply(reply: bytes) -> SnapshotReply:
    """Return a station's answer; raise the station's own sentence if it refused the request."""
    try:
        decoded = msgspec.json.decode(reply, type=SnapshotReply)
    except UNREADABLE as error:
        raise MdssError(f"snapshot reply: {error}") from error
    if decoded.error:
        raise MdssError(decoded.error)
    return decoded
