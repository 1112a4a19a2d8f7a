"""The audit of a chaos run: four records that agree are clean, and no single line can be missing, doubled or changed unseen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from bench.chaos_audit import AlertEntry, CameraEvent, Entry, Records, SubscriberEvent, audit

EVALUATIONS = ("OK", "NotOK", "Undefined", "OK")


def camera_lines() -> list[CameraEvent]:
    """Four frames of two cameras that were judged, and one that was refused."""
    lines = list[CameraEvent]()
    for number in range(len(EVALUATIONS)):
        frame = (f"cam-{number % 2}", f"frame-{number}", number)
        lines.append(CameraEvent("sent", *frame))
        lines.append(CameraEvent("ack", *frame, result_id=f"result-{number}"))
        lines.append(CameraEvent("done", *frame, result_id=f"result-{number}", sequence=number + 1))
    return [*lines, CameraEvent("sent", "cam-0", "frame-bad", 9), CameraEvent("refused", "cam-0", "frame-bad", 9, code="SCHEMA")]


def agreeing() -> Records:
    """Return what four honest records say of the same parts."""
    entries = [
        Entry(source_id=f"cam-{i % 2}", frame_id=f"frame-{i}", result_id=f"result-{i}", sequence=i + 1, evaluation=evaluation)
        for i, evaluation in enumerate(EVALUATIONS)
    ]
    bad = [entry for entry in entries if entry.evaluation != "OK"]
    return Records(
        cameras=camera_lines(),
        journal=entries,
        subscriber=[SubscriberEvent(sequence=e.sequence or 0, result_id=e.result_id, evaluation=e.evaluation, at_ns=0) for e in entries],
        redis=[
            AlertEntry(where=where, entry=f"7-{entry.sequence}", result_id=entry.result_id, evaluation=entry.evaluation)
            for where in ("stream", "hash")
            for entry in bad
        ],
    )


RECORDS = ("cameras", "journal", "subscriber", "redis")
EVERY_LINE = [(record, number) for record in RECORDS for number in range(len(getattr(agreeing(), record)))]


def kinds(records: Records) -> set[str]:
    """Return the kinds of what the audit finds."""
    return {finding.kind for finding in audit(records)}


def with_lines(record: str, lines: list[Any]) -> Records:
    """Return the agreeing records with other lines in one of them."""
    return replace(agreeing(), **{record: lines})


def test_records_that_agree_are_clean() -> None:
    assert audit(agreeing()) == []


def test_a_run_without_parts_is_clean() -> None:
    assert audit(Records([], [], [], [])) == []


@pytest.mark.parametrize(("record", "number"), EVERY_LINE)
def test_no_line_of_any_record_can_be_missing(record: str, number: int) -> None:
    lines = list(getattr(agreeing(), record))
    del lines[number]
    assert audit(with_lines(record, lines))


@pytest.mark.parametrize(("record", "number"), EVERY_LINE)
def test_no_line_of_any_record_can_be_there_twice(record: str, number: int) -> None:
    lines = list(getattr(agreeing(), record))
    assert "doubled" in kinds(with_lines(record, [*lines, lines[number]]))


@pytest.mark.parametrize("number", range(len(EVALUATIONS)))
def test_a_verdict_that_is_missing_in_the_journal_is_lost(number: int) -> None:
    entries = list(agreeing().journal)
    entries[number] = msgspec.structs.replace(entries[number], sequence=None, evaluation="")
    assert "lost" in kinds(with_lines("journal", entries))


@pytest.mark.parametrize(
    ("record", "number", "change"),
    [
        ("cameras", 1, {"result_id": "another"}),
        ("cameras", 2, {"result_id": "another"}),
        ("cameras", 2, {"sequence": 9}),
        ("journal", 0, {"result_id": "another"}),
        ("journal", 3, {"sequence": 9}),
        ("journal", 0, {"evaluation": "NotOK"}),
        ("journal", 1, {"evaluation": "OK"}),
        ("journal", 1, {"frame_id": "frame-0", "source_id": "cam-0"}),
        ("subscriber", 1, {"result_id": "another"}),
        ("subscriber", 1, {"evaluation": "OK"}),
        ("subscriber", 1, {"sequence": 9}),
        ("redis", 0, {"result_id": "another"}),
        ("redis", 0, {"evaluation": "OK"}),
        ("redis", 2, {"evaluation": "OK"}),
        ("redis", 2, {"entry": "8-0"}),
    ],
)
def test_records_that_say_different_things_of_a_part_are_found_out(record: str, number: int, change: dict[str, Any]) -> None:
    lines = list(getattr(agreeing(), record))
    lines[number] = msgspec.structs.replace(lines[number], **change)
    assert audit(with_lines(record, lines))


def test_a_second_result_for_a_frame_is_doubled_wherever_it_shows() -> None:
    again = msgspec.structs.replace(camera_lines()[1], result_id="result-9")
    assert "doubled" in kinds(with_lines("cameras", [*camera_lines(), again]))
    entry = msgspec.structs.replace(agreeing().journal[0], result_id="result-9", sequence=5)
    assert "doubled" in kinds(with_lines("journal", [*agreeing().journal, entry]))


def test_a_part_without_a_verdict_is_lost_once_and_no_alert_is_expected_of_it() -> None:
    waiting = CameraEvent("sent", "cam-0", "frame-9", 9), CameraEvent("ack", "cam-0", "frame-9", 9, result_id="result-9")
    unjudged = Entry(source_id="cam-0", frame_id="frame-9", result_id="result-9", sequence=None)
    found = audit(replace(agreeing(), cameras=[*camera_lines(), *waiting], journal=[*agreeing().journal, unjudged]))
    assert [finding.sentence for finding in found] == [
        "frame cam-0/frame-9 was sent and has no DONE",
        "frame cam-0/frame-9 was accepted and has no verdict",
    ]


def test_a_part_that_was_acknowledged_and_is_in_no_record_is_lost() -> None:
    answered = [CameraEvent(event, "cam-0", "frame-9", 9, result_id="result-9", sequence=5) for event in ("sent", "ack", "done")]
    found = audit(with_lines("cameras", [*camera_lines(), *answered]))
    assert [(finding.kind, finding.sentence) for finding in found] == [
        ("lost", "frame cam-0/frame-9 has an ACK and does not stand in the journal")
    ]


def test_a_subscriber_that_saw_verdicts_in_another_order_is_found_out() -> None:
    first, second, *rest = agreeing().subscriber
    assert kinds(with_lines("subscriber", [second, first, *rest])) == {"disagrees"}


def test_a_frame_that_was_refused_and_judged_all_the_same_is_found_out() -> None:
    assert audit(with_lines("cameras", [*camera_lines(), CameraEvent("refused", "cam-0", "frame-0", 9, code="SCHEMA")]))


def test_a_part_that_no_camera_sent_is_found_out() -> None:
    assert audit(with_lines("cameras", [line for line in camera_lines() if line.frame_id != "frame-2"]))
