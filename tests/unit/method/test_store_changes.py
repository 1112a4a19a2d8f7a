"""Champion, previous and candidate of a recipe: who is first, who is told to wait, and what the audit says afterwards."""

from __future__ import annotations

import multiprocessing
import os
import resource
import shutil
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from mdss.audit import events
from mdss.errors import BadInput, MdssError, ModelRefused
from mdss.method import model_store, store_lock
from mdss.method.model_store import CANDIDATE, CHAMPION, PREVIOUS, Change, ModelFolder, linked_version
from mdss.method.store_lock import StoreBusy, file_lock
from tests.unit.method.test_model_store import store_one

SPAWN = multiprocessing.get_context("spawn")
ROUNDS = 15


def links(store: Path) -> tuple[str | None, ...]:
    """Return champion, previous and candidate."""
    return tuple(linked_version(store / "gland", link) for link in (CHAMPION, PREVIOUS, CANDIDATE))


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Three versions, none of them the champion."""
    for _ in range(3):
        store_one(tmp_path)
    return tmp_path


def test_a_candidate_judges_nothing_until_it_is_promoted_and_is_one_no_longer_then(store: Path) -> None:
    model_store.promote(store, "gland", "0001")
    assert model_store.nominate(store, "gland", "0002", "new batch").version == "0002"
    assert links(store) == ("0001", None, "0002")
    assert model_store.open_champion(store, "gland").version == "0001"
    model_store.promote(store, "gland", "0002")
    assert links(store) == ("0002", "0001", None)


def test_promoting_another_version_leaves_the_candidate(store: Path) -> None:
    model_store.nominate(store, "gland", "0002")
    model_store.promote(store, "gland", "0003")
    assert links(store) == ("0003", None, "0002")


def test_a_damaged_or_unknown_version_becomes_no_candidate(store: Path) -> None:
    (store / "gland" / "0002" / "rgb.safetensors").write_bytes(b"other")
    with pytest.raises(ModelRefused, match=r"rgb\.safetensors"):
        model_store.nominate(store, "gland", "0002")
    with pytest.raises(BadInput, match="no such version"):
        model_store.nominate(store, "gland", "0009")
    assert links(store) == (None, None, None)


def test_every_change_is_in_the_audit_with_its_reason_and_a_refused_one_is_not(store: Path) -> None:
    model_store.promote(store, "gland", "0001", Change("train"))
    model_store.nominate(store, "gland", "0002", "new batch")
    model_store.promote(store, "gland", "0002", Change(why="looks better"))
    model_store.rollback(store, "gland", "it does not")
    model_store.nominate(store, "gland", "0003")
    with pytest.raises(BadInput):
        model_store.promote(store, "gland", "0009")
    assert [(event.what, event.before, event.after, event.why) for event in events(store / "gland")] == [
        ("train", "", "0001", ""),
        ("candidate", "", "0002", "new batch"),
        ("promote", "0001", "0002", "looks better"),
        ("rollback", "0002", "0001", "it does not"),
        ("candidate", "", "0003", ""),
    ]


def test_a_change_that_began_under_another_champion_is_refused_and_changes_nothing(store: Path) -> None:
    model_store.promote(store, "gland", "0001")
    model_store.promote(store, "gland", "0002")
    with pytest.raises(
        MdssError, match="found 0002 as the champion, expected 0001 as when the calibrate of 0003 began; nothing was changed"
    ):
        model_store.promote(store, "gland", "0003", Change("calibrate", instead_of="0001"))
    assert links(store) == ("0002", "0001", None)


def test_a_rollback_that_another_change_overtakes_is_refused(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for version in ("0001", "0002"):
        model_store.promote(store, "gland", version)
    verify = model_store.open_stored

    def overtaken(*which: Any) -> ModelFolder:
        monkeypatch.undo()
        model_store.promote(store, "gland", "0003")
        return verify(*which)

    monkeypatch.setattr(model_store, "open_stored", overtaken)
    with pytest.raises(MdssError, match="found 0003 as the champion, expected 0002 as when the rollback of 0001 began"):
        model_store.rollback(store, "gland")
    assert links(store) == ("0003", "0002", None)


def test_where_a_promotion_ended_between_its_two_links_there_is_no_champion_before_to_roll_back_to(store: Path) -> None:
    model_store.promote(store, "gland", "0001")
    (store / "gland" / PREVIOUS).symlink_to("0001")  # as a power cut leaves it
    with pytest.raises(BadInput, match="found no previous champion"):
        model_store.rollback(store, "gland")
    assert [event.what for event in events(store / "gland")] == ["promote"]


def promote_and_die_between_the_links(store: Path, version: str) -> None:
    link = model_store._link

    def killed(folder: Path, name: str, version: str) -> None:
        if name == CHAMPION:
            os.kill(os.getpid(), signal.SIGKILL)
        link(folder, name, version)

    model_store._link = killed
    model_store.promote(store, "gland", version)


def test_after_a_promotion_that_was_killed_between_its_two_links_the_champion_before_is_still_rolled_back_to(store: Path) -> None:
    for version in ("0002", "0001"):
        model_store.promote(store, "gland", version)
    for version in ("0003", "0001"):  # which the audit notes as from 0003 to 0001, and the champion stays
        model_store.nominate(store, "gland", version)
    process = SPAWN.Process(target=promote_and_die_between_the_links, args=(store, "0003"))
    process.start()
    process.join()
    assert (process.exitcode, links(store)) == (-signal.SIGKILL, ("0001", "0001", "0001"))
    assert model_store.rollback(store, "gland").version == "0002"
    assert links(store) == ("0002", "0001", "0001")


def test_promoting_the_champion_again_leaves_previous_as_it_was(store: Path) -> None:
    for version in ("0001", "0002", "0002"):
        model_store.promote(store, "gland", version)
    assert links(store) == ("0002", "0001", None)


def test_a_champion_whose_folder_is_gone_does_not_become_the_one_to_go_back_to(store: Path) -> None:
    for version in ("0001", "0002", "0003"):
        model_store.promote(store, "gland", version)
    shutil.rmtree(store / "gland" / "0003")
    model_store.promote(store, "gland", "0001")
    assert links(store) == ("0001", "0002", None)
    assert model_store.rollback(store, "gland").version == "0002"


def test_a_number_that_was_given_once_is_not_given_again_when_its_folder_is_gone(store: Path) -> None:
    model_store.promote(store, "gland", "0003")
    model_store.promote(store, "gland", "0002")
    shutil.rmtree(store / "gland" / "0003")
    assert store_one(store).version == "0004"


def promote_in_turn(store: Path, version: str) -> None:
    for _ in range(ROUNDS):
        model_store.promote(store, "gland", version)


def test_promotions_at_once_happen_one_after_the_other_and_previous_is_always_the_champion_before(store: Path) -> None:
    with SPAWN.Pool(3) as pool:
        pool.starmap(promote_in_turn, [(store, f"{number:04d}") for number in (1, 2, 3)])
    noted = events(store / "gland")
    assert len(noted) == 3 * ROUNDS
    assert [event.before for event in noted] == ["", *(event.after for event in noted[:-1])]
    moved = [event for event in noted if event.before != event.after]
    assert links(store) == (moved[-1].after, moved[-1].before, None)


def hold(path: Path, said: Connection) -> None:
    with file_lock(path, "mdss train"):
        said.send("held")
        said.recv()


@pytest.fixture
def holder(tmp_path: Path) -> Callable[[], tuple[int, Connection]]:
    """Start another process that holds the lock of the recipe's trainings."""

    def start() -> tuple[int, Connection]:
        ours, theirs = SPAWN.Pipe()
        process = SPAWN.Process(target=hold, args=(tmp_path / ".training.lock", theirs), daemon=True)
        process.start()
        assert ours.recv() == "held"
        return int(process.pid or 0), ours

    return start


def test_who_comes_second_is_told_who_is_at_it_and_is_first_when_that_ends(
    tmp_path: Path, holder: Callable[[], tuple[int, Connection]]
) -> None:
    pid, connection = holder()
    sentence = rf"\.training\.lock: held by process {pid} of \S+, mdss train, since 20.*; expected nobody at it"
    with pytest.raises(StoreBusy, match=sentence), file_lock(tmp_path / ".training.lock", "another", patience_s=0):
        pass
    connection.send("go")
    with file_lock(tmp_path / ".training.lock", "another"):
        pass


def test_a_disk_that_is_too_full_for_the_holders_name_is_named_before_anything_changes(store: Path) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, most))
    try:
        with pytest.raises(OSError, match="too large") as full:
            model_store.promote(store, "gland", "0002")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    assert full.value.filename == str(store / "gland" / ".lock")
    assert links(store) == (None, None, None)


def test_a_holder_that_is_killed_holds_nothing(tmp_path: Path, holder: Callable[[], tuple[int, Connection]]) -> None:
    pid, _ = holder()
    os.kill(pid, signal.SIGKILL)
    with file_lock(tmp_path / ".training.lock", "another"):
        assert (tmp_path / ".training.lock").read_text().startswith(f"process {os.getpid()} of ")
    assert (tmp_path / ".training.lock").read_text() == ""


def test_a_rollback_does_not_wait_for_a_training(store: Path) -> None:
    for version in ("0001", "0002"):
        model_store.promote(store, "gland", version)
    with file_lock(store / "gland" / store_lock.TRAINING_LOCK, "mdss train"):
        assert model_store.rollback(store, "gland").version == "0001"
