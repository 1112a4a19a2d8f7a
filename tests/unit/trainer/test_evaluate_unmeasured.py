"""What test scans lack, and which figures that costs, is said before minutes are spent on the others."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mdss.errors import ModelRefused
from trainer.dataset import Dataset
from trainer.evaluate import Request, evaluate, unmeasured_sentences


def said(root: Path) -> list[str]:
    """Return the sentences on a dataset's test scans."""
    return unmeasured_sentences(Dataset.open(root, "m", needs=("test",)))


def test_nothing_is_said_of_a_whole_test_set_even_without_masks_of_good_parts(root: Path) -> None:
    assert said(root) == []
    shutil.rmtree(root / "test/good/gt", ignore_errors=True)
    assert said(root) == []


@pytest.mark.parametrize("masks", [None, "ground_truth"])
def test_masks_that_are_missing_or_lie_in_a_folder_of_another_name_are_said_before_scoring(
    root: Path, masks: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in root.glob("test/*/gt"):
        shutil.rmtree(folder) if masks is None else folder.rename(folder.with_name(masks))
    with pytest.raises(ModelRefused):  # there is no model
        evaluate(Request(root, "flange", root / "models"))
    expected = f"evaluate: {root}/test/bump/gt: found no masks there or for another kind; without them pixel metrics are empty\n"
    assert capsys.readouterr().err == expected


def test_training_scans_are_missed_for_the_brightness_that_scores_are_matched_to(root: Path) -> None:
    shutil.rmtree(root / "train")
    (sentence,) = said(root)
    assert (
        sentence == f"{root}/train/good: found no scans, expected those to train on as well: without them no score is matched in brightness"
    )


def test_good_parts_under_another_name_are_missed(root: Path) -> None:
    (root / "test/good").rename(root / "test/ok")
    (sentence,) = said(root)
    assert (
        sentence
        == f"{root}/test: found bump, ok, stain, expected good as well: without good parts there is no image AUROC and no false-reject rate"
    )


def test_defective_parts_are_missed(root: Path) -> None:
    for kind in ("bump", "stain"):
        shutil.rmtree(root / "test" / kind)
    (sentence,) = said(root)
    assert sentence.startswith(f"{root}/test: found good alone, expected each kind of defect as well")
