"""The presets, and what assignments on a command line make of one."""

from __future__ import annotations

from typing import Any

import msgspec

from mdss.errors import UNREADABLE, BadInput
from mdss.method.recipe import ColourSettings, FusionSettings, PointCloudSettings, Recipe, ShapeSettings, ThresholdSettings
from mdss.misfit import LONGEST_SHOWN, describe_misfit

EDGE = Recipe(
    point_cloud=PointCloudSettings(enlarged_by="interpolating", enclosed_gaps="part"),
    rgb=ColourSettings(
        optimiser="muon",
        steps=1500,
        shift_every=125,
        learning_rate=1e-2,
        weight_decay=1.2,
        levelling=0.5,
        median_share=0.5,
        by_contrast=True,
        by_border=True,
        by_surroundings=0.5,
        scores_in="int8",
    ),
    sdf=ShapeSettings(
        points_per_patch=250,
        blind_spot=50,
        asked_in=2,
        asked_at="checkerboard",
        by_rim=True,
        voids_by_rim=True,
        by_border=True,
        queries=32,
        optimiser="muon",
        steps=4000,
        learning_rate=1e-2,
        weight_decay=0.1,
        averaged=0.4,
        void_overlap="log_odds",
        scores_in="int8",
    ),
    fusion=FusionSettings(score="larger", score_floor=4.0, score_agreement=0.35),
)
PAPER = Recipe(
    preset="paper",
    point_cloud=PointCloudSettings(enlarged_by="interpolating", plane_removal_mm=5.0),
    rgb=ColourSettings(
        teacher_statistics="all",
        student_width=1.0,
        steps=70_000,
        batch=4,
        window_px=None,
        shift_every=None,
        learning_rate=1e-3,
        factor_first=0.999,
        factor_last=0.99,
        border="zero",
        blur_px=0.0,
    ),
    sdf=ShapeSettings(
        points_per_patch=500,
        asked_in=2,
        training_density=5.0,
        score_unit="scale",
        encoder=(64, 128, 1024),
        width=512,
        depth=8,
        damaged_copies=0,
        steps=2000,
        batch=32,
        learning_rate=1e-3,
        void_weight=0.0,
        scores_in="int8",
    ),
    fusion=FusionSettings(score_floor=None, map_floor=None),
)
DEMO = Recipe(
    preset="demo",
    point_cloud=PointCloudSettings(enlarged_by="interpolating"),
    rgb=ColourSettings(student_width=1.0, steps=300, batch=8, warmup_steps=30, learning_rate=5e-4, factor_first=0.99),
    sdf=ShapeSettings(steps=1000, batch=32, learns_in="auto", asked_in=2),
    threshold=ThresholdSettings(false_reject_rate=1e-6, method="lognormal"),
)
PRESETS = {"edge": EDGE, "paper": PAPER, "demo": DEMO}


def preset(name: str, seed: int = 0) -> Recipe:
    """Return the named preset; BadInput names the known ones."""
    if name not in PRESETS:
        raise BadInput(f"preset: found {name!r}, expected one of {', '.join(PRESETS)}")
    return msgspec.structs.replace(PRESETS[name], seed=seed)


def with_assignments(recipe: Recipe, assignments: tuple[str, ...]) -> Recipe:
    """Return the recipe with assignments 'section.field=value' applied. BadInput names what does not fit."""
    tree = msgspec.to_builtins(recipe)
    for assignment in assignments:
        _assign(tree, assignment)
    try:
        return msgspec.convert(tree, Recipe)
    except msgspec.ValidationError as error:
        if error.__cause__ is not None:  # raised by a section's own check of its settings
            raise BadInput(f"recipe setting {error.__cause__}") from error
        place, sentence = describe_misfit(error, Recipe, tree)
        raise BadInput(f"recipe setting {place}: {sentence}") from error


def _assign(tree: dict[str, Any], assignment: str) -> None:
    name, equals, value = (word.strip() for word in assignment.partition("="))
    *sections, field = name.split(".")
    branch: Any = tree
    for section in sections:
        branch = branch.get(section, {}) if isinstance(branch, dict) else {}
    if name == "preset":
        raise BadInput("recipe setting 'preset': names where the settings come from; expected --preset to begin with another")
    if not isinstance(branch, dict) or field not in branch:
        raise BadInput(f"recipe setting {name[:LONGEST_SHOWN]!r}: unknown, see docs/method.md for the names")
    if not equals:
        raise BadInput(f"recipe setting {name}: found no value, expected {name}=VALUE")
    try:
        found = msgspec.json.decode(value)
    except UnicodeEncodeError as error:  # bytes of a command line that no model.json could hold
        raise BadInput(f"recipe setting {name}: found {value!r}, expected text in UTF-8") from error
    except UNREADABLE:
        found = value
    if isinstance(found, dict) and isinstance(branch[field], dict):  # what it leaves out would get the defaults of old models
        raise BadInput(f"recipe setting {name}: found a section, expected its settings one by one: {name}.NAME=VALUE")
    branch[field] = found
