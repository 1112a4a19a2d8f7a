"""What lies about in the collection's folders: what is no part is left alone, and a part is found under its own name alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from mdss.collection import PART, REVIEW, Collection, PartFilter, remove
from tests.unit.mdss.test_collection import names, part, review, scan


@pytest.fixture
def kept(tmp_path: Path) -> Collection:
    """A collection that holds one part."""
    made = Collection(tmp_path / "collected")
    made.add(part("a"), *scan())
    return made


def test_no_name_leads_to_a_part_by_another_way_than_its_own(kept: Collection) -> None:
    (kept.root / "lid").mkdir()
    assert kept.find("../cap/a") is None and not kept.label("../cap/a", review())


def test_a_part_that_somebody_copied_to_another_recipe_is_none_of_that(kept: Collection) -> None:
    shutil.copytree(kept.root / "cap", kept.root / "lid")
    assert [each.folder.parent.name for each in kept.parts()] == ["cap"]


def test_what_is_no_part_beside_the_parts_is_neither_read_nor_removed(kept: Collection) -> None:
    note, hidden, empty = (kept.root / "cap" / name for name in ("README", ".b-1.partial", "c"))
    note.write_text("not for you")
    shutil.copytree(kept.root / "cap" / "a", hidden)  # as it is while another process writes it
    (kept.root / "file").write_text("no recipe")
    with capture_logs() as logs:
        assert (names(kept.parts()), kept.parts(PartFilter(recipe="file")), logs) == (["a"], [], [])
        empty.mkdir()  # as a part is of which the last file was removed this moment
        assert (names(kept.parts()), logs) == (["a"], [])
    assert kept.prune(0).removed == 2
    assert note.read_text() == "not for you"
    assert sorted(path.name for path in hidden.iterdir()) == ["part.json", "rgb.png", "xyz.tiff"]


def test_a_file_that_the_disk_does_not_give_costs_its_part_or_its_label_alone(kept: Collection) -> None:
    for name in ("b", "c"):
        kept.add(part(name), *scan())
        kept.label(name, review())
    for name, file in (("a", PART), ("b", REVIEW)):
        (kept.root / "cap" / name / file).unlink()
        (kept.root / "cap" / name / file).mkdir()  # what is no file cannot be read
    found = kept.parts(PartFilter(with_lost=True))
    assert [(each.part.result_id, each.label, each.is_review_lost) for each in found] == [("b", None, True), ("c", "good", False)]


def test_a_part_that_somebody_else_removed_first_is_gone_without_a_word(kept: Collection) -> None:
    remove(kept.root / "cap" / "b")
    assert names(kept.parts()) == ["a"]
