"""The recipe: presets, changes by name, and a page that explains every setting."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from mdss.errors import BadInput
from mdss.method.presets import PRESETS, preset, with_assignments
from mdss.method.recipe import Recipe

PAGE = Path(__file__).parents[3] / "docs" / "method.md"


def names() -> list[str]:
    tree = msgspec.to_builtins(Recipe())
    return [f"{section}.{name}" for section, values in tree.items() if isinstance(values, dict) for name in values]


def test_every_setting_has_its_line_in_the_documentation() -> None:
    text = PAGE.read_text()
    assert [name for name in names() if f"`{name}`" not in text] == []


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_survives_the_way_through_a_file(name: str) -> None:
    recipe = preset(name, seed=3)
    assert msgspec.json.decode(msgspec.json.encode(recipe), type=Recipe) == recipe
    assert recipe.seed == 3


def test_settings_are_changed_by_name() -> None:
    recipe = with_assignments(Recipe(), ("rgb.steps=7", "sdf.encoder=[8, 16]", "rgb.window_px=null", "rgb.teacher=my.safetensors"))
    assert (recipe.rgb.steps, recipe.sdf.encoder, recipe.rgb.window_px, recipe.rgb.teacher) == (7, (8, 16), None, "my.safetensors")


@pytest.mark.parametrize(
    ("assignment", "sentence"),
    [
        ("rgb.stepps=7", "'rgb.stepps': unknown"),
        ("steps=7", "'steps': unknown"),
        ("preset=edge", "'preset': names where the settings come from; expected --preset"),
        ("rgb.factor_first=1", "rgb.factor_first: found 1, expected a number of at least 0.0 and below 1.0"),
        ("rgb.steps=0", "recipe setting rgb.steps: found 0, expected a whole number from 1 to 10000000$"),
        ("rgb.steps=many", "rgb.steps: found 'many', expected a whole number from 1 to 10000000"),
        ("seed=-1", "recipe setting seed: found -1, expected a whole number from 0 to 9223372036854775807"),
        (f"seed={2**63}", "found 9223372036854775808, expected a whole number from 0 to 9223372036854775807"),
        ("point_cloud.size_px=50", "point_cloud.size_px: found 50, expected a whole number from 64 to 1024, a multiple of 4"),
        ("rgb.window_px=4", "found 4, expected a whole number from 48 to 1024, a multiple of 4, or null"),
        (f"rgb.{'x' * 5000}=1", r"^recipe setting 'rgb\.x{76}': unknown, see docs/method\.md for the names$"),
        ("rgb.teacher", r"recipe setting rgb\.teacher: found no value, expected rgb\.teacher=VALUE$"),
        ('rgb={"steps": 7}', r"recipe setting rgb: found a section, expected its settings one by one: rgb\.NAME=VALUE$"),
        ("rgb={}", "recipe setting rgb: found a section, expected its settings one by one"),
        ("rgb=5", "recipe setting rgb: found 5, expected a section with keys out of teacher, "),
        ("sdf.encoder=[]", "sdf.encoder: found an empty list, expected a list of at least 1, each a whole number from 1 to 10000"),
        ("rgb.student_width=0.001", "found 0.001, expected a number from 0.05 to 4.0"),
        ("threshold.false_reject_rate=0", "found 0, expected a number above 0.0 and below 0.5"),
        ("sdf.points_per_patch=1", "found 1, expected a whole number from 16 to 10000"),
        ("sdf.blind_spot=500", "recipe setting sdf.blind_spot: found 500 points, expected fewer than the 500 of a patch$"),
        ("sdf.overlap=median", "sdf.overlap: found 'median', expected one of "),
        ("rgb.teacher=teacher\udcff", r"recipe setting rgb\.teacher: found 'teacher\\udcff', expected text in UTF-8$"),
        (f"rgb.steps={'[' * 100_000}", r"rgb\.steps: found '\[+[.]{3}' .*, expected a whole number from 1 to 10000000$"),
        (f"rgb.steps={'9' * 400}", "rgb.steps: found 9{80}, expected a whole number from 1 to 10000000$"),
        ("rgb.batch=10001", "rgb.batch: found 10001, expected a whole number from 1 to 10000$"),
        ("sdf.encoder=[8, 10001]", r"sdf.encoder\[1\]: found 10001, expected a whole number from 1 to 10000$"),
        ("sdf.density=1001", "sdf.density: found 1001, expected a number above 0.0 and of at most 1000.0$"),
        ("rgb.blur_px=101", "rgb.blur_px: found 101, expected a number from 0.0 to 100.0$"),
        ("fusion.score=larger", "fusion.score: found 'larger' and no fusion.score_floor, expected a floor"),
        ("fusion.score_agreement=0.5", "fusion.score_agreement: found 0.5 with a product, expected 0 or fusion.score=larger"),
    ],
)
def test_what_does_not_fit_is_refused(assignment: str, sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        with_assignments(preset("paper"), (assignment,))


def test_evidence_that_the_pull_does_not_teach_is_refused() -> None:
    sentence = "sdf.void_weight: found 0.6 with sdf.loss=pull, which teaches nothing of missing points, expected 0"
    with pytest.raises(BadInput, match=sentence):
        with_assignments(preset("edge"), ("sdf.loss=pull",))


def test_an_unknown_preset_names_the_known_ones() -> None:
    with pytest.raises(BadInput, match="found 'large', expected one of edge, paper, demo"):
        preset("large")
