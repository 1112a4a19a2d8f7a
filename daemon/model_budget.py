"""What models take of `models.memory_mb`, and why one has no room in it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from daemon.recipe_models import RecipeModels

MB = 10**6


class Sizes(Protocol):
    """Says how large versions are."""

    def nbytes(self, recipe: str, version: str) -> int:
        """Return how many bytes a version takes in memory."""


@dataclass(frozen=True)
class ModelBudget:
    """How many MB models may take, and how many bytes they do."""

    sizes: Sizes
    allowed_mb: int

    def needed(self, recipe: RecipeModels) -> int:
        """Return the bytes of a recipe's champion."""
        return self.sizes.nbytes(recipe.name, recipe.champion)

    def taken(self, recipe: RecipeModels) -> int:
        """Return the bytes of a recipe's versions as the budget counts them: the second one during a change is not counted."""
        return max((self.sizes.nbytes(recipe.name, version) for version in recipe.held), default=0)

    def free(self, recipes: Iterable[RecipeModels]) -> int:
        """Return the bytes that these recipes leave; negative where they take more than is allowed."""
        return self.allowed_mb * MB - sum(map(self.taken, recipes))

    def too_large(self, recipe: RecipeModels) -> str:
        """Return why a recipe's champion has no room even alone; "" if it has."""
        needed = self.needed(recipe)
        return f"it takes {needed / MB:.0f} MB, models.memory_mb allows {self.allowed_mb}" if needed > self.allowed_mb * MB else ""

    def crowded(self, recipe: RecipeModels, others: Sequence[RecipeModels]) -> str:
        """Return which recipes leave no room for this one; rounded so that the need never reads as equal to what is free."""
        needed_mb, free_mb = math.ceil(self.needed(recipe) / MB), max(self.free(others), 0) // MB
        names = ", ".join(each.name for each in others)
        return f"no room beside {names}: {needed_mb} MB needed, {free_mb} of {self.allowed_mb} free (models.memory_mb)"
