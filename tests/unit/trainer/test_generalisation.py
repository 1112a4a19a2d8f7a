"""How much more the student errs on good parts that it has not seen, and what is said of it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from mdss.method.grid import Grid
from mdss.method.point_cloud import Prepared
from mdss.method.recipe import ColourSettings, Recipe
from mdss.method.student_teacher import ColourBranch
from tests.small_models import Learned, Workshop
from trainer import generalisation
from trainer.generalisation import gap_sentences, generalisation_gap
from trainer.train_rgb import train_colour

SIZE_PX = 96
LEARNS = ColourSettings(batch=4, window_px=48, student_width=0.25, steps=60, warmup_steps=5, shift_every=20, scores_in="float")


def striped(angle_deg: float, brightness: int) -> Prepared:
    """Return a part with stripes at this angle."""
    rows, columns = np.mgrid[:SIZE_PX, :SIZE_PX]
    angle = np.deg2rad(angle_deg)
    wave = np.sin((rows * np.cos(angle) + columns * np.sin(angle)) * 0.9)
    image = np.repeat((brightness + 60 * wave).astype(np.uint8)[..., None], 3, axis=2)
    mask = np.zeros((SIZE_PX, SIZE_PX), np.bool_)
    mask[20:76, 20:76] = True
    return Prepared(image, np.full((SIZE_PX, SIZE_PX, 3), np.nan, np.float32), mask, Grid.filled(SIZE_PX), 0.0, has_table=True)


@pytest.fixture(scope="module")
def branch(tmp_path_factory: pytest.TempPathFactory) -> ColourBranch:
    """Return a branch that has learned stripes from left to right."""
    learned = [striped(0, brightness) for brightness in (90, 110, 130, 150)]
    return ColourBranch(train_colour(learned, Recipe(rgb=LEARNS), "cpu", tmp_path_factory.mktemp("gap") / "c")[0], LEARNS, "cpu")


def test_parts_of_a_pose_that_no_training_part_had_are_erred_on_more_and_others_as_much(branch: ColourBranch) -> None:
    learned = [striped(0, brightness) for brightness in (90, 110, 130, 150)]
    assert generalisation_gap(branch, learned, learned) == 1
    assert generalisation_gap(branch, learned, [striped(0, brightness) for brightness in (100, 120, 140)]) == pytest.approx(1, abs=0.2)
    assert generalisation_gap(branch, learned, [striped(90, brightness) for brightness in (100, 120, 140)]) > generalisation.WIDE_GAP


def test_one_odd_part_among_those_that_were_not_seen_makes_no_gap(branch: ColourBranch) -> None:
    usual = [striped(0, brightness) for brightness in (100, 120, 140)]
    assert generalisation_gap(branch, usual, [*usual, striped(90, 120)]) == pytest.approx(1, abs=0.2)


def test_a_wide_gap_is_said_with_what_helps_and_a_usual_one_is_not() -> None:
    turned = msgspec.structs.replace(LEARNS, turned=True)
    assert gap_sentences(1.49, LEARNS) == []
    (said,), (other,) = gap_sentences(1.56, LEARNS), gap_sentences(2.4, turned)
    assert "errs 1.6 times as much on validation parts" in said and "rgb.turned=true" in said
    assert "2.4 times" in other and "more of them help" in other and "rgb.turned" not in other


def test_a_training_says_and_keeps_how_wide_its_gap_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(generalisation, "WIDE_GAP", 0.0)  # so that any gap is wide
    model = Workshop(tmp_path).model("any", Learned(training=4, validation=6, settings=("rgb.steps=4", "sdf.steps=8")))
    gap = model.card.training["rgb"]["generalisation_gap"]
    (said,) = gap_sentences(gap, model.card.recipe.rgb)
    assert f"{model.name}: {said}\n" in capsys.readouterr().err
    assert said in (model.path / "report" / "training.html").read_text()
