"""What maps of good parts reach at places of one kind, so that a place can be held to its like: where they err anyway, more is usual."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Float = NDArray[np.float32]

SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)  # of good parts' places, which part the classes
CLASSES = len(SHARES) + 1
LEAST = 0.7  # where good parts hardly err, noise must not stand out


@dataclass(frozen=True)
class Usual:
    """What good parts reach at places with a cue, for 1 on the whole part; a cue is one number that tells kinds of places apart."""

    cues: Float  # (CLASSES,), rising: the mean of each class of places
    values: Float  # (CLASSES,)

    @classmethod
    def of(cls, cues: Sequence[Float], values: Sequence[Float], most: float = math.inf) -> Usual:
        """Return what places of good parts say, part by part: their cues, and what was found there, not negative.

        No class has more than `most` times the mean of all places; without any place everything is usual.
        """
        found, reached = np.concatenate(cues), np.concatenate(values)
        if not len(found):
            return cls(*np.ones((2, CLASSES), np.float32))
        numbers = np.digitize(found, np.unique(np.quantile(found, SHARES)))  # places with the same cue are of one class
        whole = float(reached.mean(dtype=np.float64)) or 1.0
        members = [numbers == each for each in np.unique(numbers)]
        means = [(found[inside].mean(), reached[inside].mean(dtype=np.float64) / whole) for inside in members]
        classes = np.array([*means, *[means[-1]] * (CLASSES - len(means))], np.float32)
        return cls(classes[:, 0], classes[:, 1].clip(max=most))

    @classmethod
    def read(cls, stored: Tensor) -> Usual:
        """Return what was stored beside a network's weights, (2, CLASSES)."""
        return cls(*stored.cpu().numpy())

    @classmethod
    def read_unless_flat(cls, stored: Tensor) -> Usual | None:
        """Return the same; None where no good part had places of more than one class, so that everything is usual."""
        read = cls.read(stored)
        return None if (read.values == 1).all() else read

    def stored(self) -> Float:
        """Return what is stored beside a network's weights, (2, CLASSES)."""
        return np.stack([self.cues, self.values])

    def at(self, cues: Float) -> Float:
        """Return what is usual at places with these cues; between two classes in proportion."""
        return np.maximum(np.interp(cues, self.cues, self.values), LEAST).astype(np.float32)
