"""Generated textures for the leaves of procedural pictures: clouds, grain, brush marks, stripes, weave and spots."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE_PX = 192
TEXTURES = 6

Float = NDArray[np.float32]


def textures(random: np.random.Generator) -> Float:
    """Return textures (6, 192, 192), one of each kind, each of mean 0 and deviation 1."""
    kinds = (clouds, grain, brushed, stripes, weave, spots)
    drawn = np.stack([kind(random) for kind in kinds])
    drawn -= drawn.mean(axis=(1, 2), keepdims=True)
    return np.asarray(drawn / (drawn.std(axis=(1, 2), keepdims=True) + np.float32(1e-6)), np.float32)


def clouds(random: np.random.Generator) -> Float:
    """Noise of all sizes; the coarse is stronger than the fine by a random power."""
    power, total = random.uniform(0.3, 1.5), np.zeros((SIDE_PX, SIDE_PX), np.float32)
    for octave in range(6):
        cells = 3 * 2**octave
        fine = random.standard_normal((cells, cells), np.float32)
        total += np.float32(2 ** (-power * octave)) * cv2.resize(fine, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_CUBIC)
    return total


def grain(random: np.random.Generator) -> Float:
    """Fine noise of one size."""
    return _blurred(random, (random.uniform(0.4, 2.5),) * 2)


def brushed(random: np.random.Generator) -> Float:
    """Noise stretched along one direction."""
    long = _blurred(random, (random.uniform(4, 20), random.uniform(0.4, 1.2)))
    turn = cv2.getRotationMatrix2D((SIDE_PX / 2, SIDE_PX / 2), random.uniform(0, 180), 1.45)
    return np.asarray(cv2.warpAffine(long, turn, (SIDE_PX, SIDE_PX), borderMode=cv2.BORDER_REFLECT), np.float32)


def stripes(random: np.random.Generator) -> Float:
    """Waves in one direction, slightly bent, with soft or hard edges."""
    return np.asarray(np.tanh(random.uniform(0.5, 5) * np.sin(_phase(random, random.uniform(0, np.pi)))), np.float32)


def weave(random: np.random.Generator) -> Float:
    """Two waves that cross each other."""
    angle = random.uniform(0, np.pi)
    return np.asarray(np.sin(_phase(random, angle)) * np.sin(_phase(random, angle + np.pi / 2)), np.float32)


def spots(random: np.random.Generator) -> Float:
    """Islands of one size with a soft rim."""
    field = _blurred(random, (random.uniform(1.5, 6),) * 2)
    field /= field.std() + np.float32(1e-6)
    return np.asarray(np.tanh(4 * (field - np.float32(random.uniform(0, 1.5)))), np.float32)


def _blurred(random: np.random.Generator, sigmas: tuple[float, float]) -> Float:
    noise = random.standard_normal((SIDE_PX, SIDE_PX), np.float32)
    return np.asarray(cv2.GaussianBlur(noise, (0, 0), sigmaX=sigmas[0], sigmaY=sigmas[1]), np.float32)


def _phase(random: np.random.Generator, angle: float) -> Float:
    rows, columns = np.indices((SIDE_PX, SIDE_PX), np.float32)
    period = np.float32(2 * np.pi / random.uniform(3, 30))
    bend = clouds(random) * np.float32(random.uniform(0, 0.6))
    return np.asarray(period * (np.cos(angle) * columns + np.sin(angle) * rows) + bend, np.float32)
