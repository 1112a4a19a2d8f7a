"""What maps of good parts reach at places of one kind: dividing by it lets a place stand out only among its like."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Float = NDArray[np.float32]

SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)  # quantiles of good parts' cues that separate the classes
CLASSES = len(SHARES) + 1
LEAST = 0.7  # of what `at` returns: where good parts hardly err, noise must not stand out


@dataclass(frozen=True)
class Usual:
    """What good parts' maps reach, as a function of a cue; the mean over the whole part is 1.

    A cue is one number that tells kinds of places apart, such as the contrast around a pixel.
    """

    cues: Float  # (CLASSES,), rising: the mean cue of each class of places
    values: Float  # (CLASSES,): the mean of the map there

    @classmethod
    def of(cls, cues: Sequence[Float], values: Sequence[Float], most: float = math.inf) -> Usual:
        """Measure it on good parts: for each part the cues of its places, and the map's values there, not negative.

        No class gets more than `most` times the mean of all places. Without any place all values are 1.
        """
        found, reached = np.concatenate(cues), np.concatenate(values)
        if not len(found):
            return cls(*np.ones((2, CLASSES), np.float32))
        numbers = np.digitize(found, np.unique(np.quantile(found, SHARES)))  # places with the same cue belong to one class
        whole = float(reached.mean(dtype=np.float64)) or 1.0
        members = [numbers == each for each in np.unique(numbers)]
        means = [(found[inside].mean(), reached[inside].mean(dtype=np.float64) / whole) for inside in members]
        classes = np.array([*means, *[means[-1]] * (CLASSES - len(means))], np.float32)
        return cls(classes[:, 0], classes[:, 1].clip(max=most))

    @classmethod
    def read(cls, stored: Tensor) -> Usual:
        """Return what was stored beside a network's weights as a tensor (2, CLASSES)."""
        return cls(*stored.cpu().numpy())

    @classmethod
    def read_unless_flat(cls, stored: Tensor) -> Usual | None:
        """Return the same, or None if all values are 1: good parts had places of one class only, so dividing would change nothing."""
        read = cls.read(stored)
        return None if (read.values == 1).all() else read

    def stored(self) -> Float:
        """Return the array (2, CLASSES) that is stored beside a network's weights."""
        return np.stack([self.cues, self.values])

    def at(self, cues: Float) -> Float:
        """Return what good parts reach at places with these cues, linear between two classes, and at least LEAST."""
        return np.maximum(np.interp(cues, self.cues, self.values), LEAST).astype(np.float32)
