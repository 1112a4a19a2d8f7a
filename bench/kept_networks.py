"""Trained networks in a folder, each under a digest of what it learned from; rows that differ only in scoring share one."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from torch import nn

from mdss.method.distance_network import SignedDistanceNetwork
from mdss.method.point_cloud import Prepared
from mdss.method.recipe import Recipe
from mdss.method.signed_distance import ShapeBranch
from mdss.method.student_teacher import ColourBranch, StudentTeacher
from mdss.method.teacher import path_of, read_card
from mdss.method.weights import read_weights, write_weights
from trainer import train_rgb, train_sdf
from trainer.branch_inputs import Branch
from trainer.branch_training import TRAIN

DIGITS = 16

# Settings that a branch reads only when it scores. sdf.void_weight is not among them: with 0, nothing is learned of missing points. Nor is
# rgb.scores_in: the student learns what the teacher says in that precision.
SCORES_ONLY: dict[Branch, frozenset[str]] = {
    "rgb": frozenset({"blur_px", "levelling", "median_share", "by_contrast", "by_border", "by_surroundings"}),
    "sdf": frozenset(
        {
            *("scores_in", "density", "asked_in", "asked_at", "by_rim", "voids_by_rim", "by_border"),
            *("sign", "overlap", "void_overlap", "missing", "blur_px", "keep_peak", "score_unit"),
        }
    ),
}


def digest_of(*facts: Any) -> str:
    """Return a short name for facts that msgspec can write."""
    return hashlib.sha256(msgspec.json.encode(facts, order="sorted")).hexdigest()[:DIGITS]


def map_facts(recipe: Recipe, half: Branch) -> dict[str, Any]:
    """Return everything that a branch's maps depend on, except the scans."""
    settings = msgspec.to_builtins(recipe)
    teacher = read_card(path_of(recipe.rgb.teacher)).sha256 if half == "rgb" else ""  # another teacher may have the same name
    return {"seed": recipe.seed, "point_cloud": settings["point_cloud"], half: settings[half], "teacher": teacher}


def training_facts(recipe: Recipe, half: Branch) -> dict[str, Any]:
    """Return everything that a branch's training depends on, except the scans."""
    facts = map_facts(recipe, half)
    return facts | {half: {name: value for name, value in facts[half].items() if name not in SCORES_ONLY[half]}}


def ready_to_score(recipe: Recipe) -> Recipe:
    """Return the recipe of networks that can score in any way: it has a place for whatever a way of scoring needs."""
    rgb = msgspec.structs.replace(recipe.rgb, levelling=1.0, by_contrast=True, by_border=True, by_surroundings=1.0)
    sdf = msgspec.structs.replace(recipe.sdf, scores_in="int8", by_rim=True, voids_by_rim=True, by_border=True)
    return msgspec.structs.replace(recipe, rgb=rgb, sdf=sdf)


@dataclass(frozen=True)
class KeptNetworks:
    """A folder of networks that were trained on the training scans of one dataset, which `scans` names."""

    folder: Path
    scans: Any
    device: str

    def colour(self, parts: Sequence[Prepared], recipe: Recipe) -> ColourBranch:
        """Return the colour branch, trained if it is not kept; its `Usual` is measured as this recipe scores."""
        network = StudentTeacher(ready_to_score(recipe).rgb)
        self._fill(network, "rgb", parts, recipe)
        train_rgb.measure_usual(network, parts, recipe.rgb, self.device)
        return ColourBranch(network, recipe.rgb, self.device)

    def shape(self, parts: Sequence[Prepared], recipe: Recipe) -> ShapeBranch:
        """Return the shape branch, trained if it is not kept; its `Usual` is measured as this recipe scores."""
        network = SignedDistanceNetwork(ready_to_score(recipe).sdf)
        self._fill(network, "sdf", parts, recipe)
        train_sdf.measure_usual(network, parts, recipe.sdf, self.device)
        if recipe.sdf.void_weight:
            train_sdf.weigh_voids(network, parts, recipe.sdf, self.device)
        return ShapeBranch(network, recipe.sdf, self.device)

    def _fill(self, network: nn.Module, half: Branch, parts: Sequence[Prepared], recipe: Recipe) -> None:
        path = self.folder / f"{half}-{digest_of(self.scans, training_facts(recipe, half))}.safetensors"
        if not path.is_file():
            checkpoint, partial = path.with_suffix(".checkpoint"), path.with_suffix(".partial")
            self.folder.mkdir(parents=True, exist_ok=True)
            write_weights(TRAIN[half](parts, ready_to_score(recipe), self.device, checkpoint)[0], partial)
            partial.replace(path)
            checkpoint.unlink(missing_ok=True)
        read_weights(network, path)
        network.eval().to(self.device)
