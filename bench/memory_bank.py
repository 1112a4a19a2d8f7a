"""A memory bank: descriptions of good parts, thinned to a coreset, and the distance of a new description from them.

Greedy k-centre takes time in proportion to candidates times entries. To bound it, at most 50 000 candidates are taken, equally many from
each part, at random with a fixed seed; the share that is asked for is a share of the candidates.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.progress import tracked

Float = NDArray[np.float32]

MOST_CANDIDATES = 50_000
PROJECTED = 128  # dimensions in which PatchCore's own code chooses its coreset
BLOCK = 2048  # queries at a time, so that their distances to a whole bank fit into memory
BYTES_PER_MB = 1e6
SEED = 0


@dataclass(frozen=True)
class MemoryBank:
    """The descriptions of good parts that are kept."""

    entries: Tensor  # (M, C)

    @classmethod
    def of(cls, descriptions: Iterable[Float], parts: int, share: float, device: str = "cpu") -> Self:
        """Build a bank from each part's descriptions (N, C); it keeps this share of the candidates."""
        candidates = torch.from_numpy(candidates_of(descriptions, parts)).to(device)
        return cls(candidates[coreset(candidates, share)].contiguous())

    @property
    def size_mb(self) -> float:
        """Return the size of the entries in MB."""
        return self.entries.nbytes / BYTES_PER_MB

    @torch.inference_mode()
    def distances(self, descriptions: Float) -> Float:
        """Return the Euclidean distance (N,) of each description (N, C) to the nearest of all entries."""
        centre = self.entries.mean(dim=0)  # the nearer to 0, the more digits a difference of squares keeps
        entries, queries = self.entries - centre, torch.from_numpy(descriptions).to(self.entries.device) - centre
        squares = entries.square().sum(dim=1)
        found = torch.empty(len(queries), device=queries.device)
        for start in range(0, len(queries), BLOCK):
            block = queries[start : start + BLOCK]
            nearest = torch.addmm(squares, block, entries.T, alpha=-2).argmin(dim=1)
            found[start : start + BLOCK] = (block - entries[nearest]).square().sum(dim=1).sqrt()
        return np.asarray(found.cpu().numpy(), np.float32)


def candidates_of(descriptions: Iterable[Float], parts: int, most: int = MOST_CANDIDATES) -> Float:
    """Return at most `most` descriptions, equally many from each part."""
    random = np.random.default_rng(SEED)
    of_each = math.ceil(most / parts)
    chosen = [each[random.permutation(len(each))[:of_each]] for each in descriptions]
    return np.concatenate(chosen)[:most]


@torch.inference_mode()
def coreset(candidates: Tensor, share: float) -> Tensor:
    """Return the indices of this share of the candidates, each the farthest from those before it (greedy k-centre).

    If the candidates (N, C) have more dimensions than PROJECTED, distances are measured on a random projection.
    """
    count = max(1, round(share * len(candidates)))
    if count == len(candidates):
        return torch.arange(count)
    points = projected(candidates)
    squares = points.square().sum(dim=1)
    nearest = torch.full_like(squares, torch.inf)
    chosen = [int((points - points.mean(dim=0)).square().sum(dim=1).argmax())]
    for _ in tracked(range(count - 1), "coreset"):
        last = chosen[-1]
        torch.minimum(nearest, torch.addmv(squares + squares[last], points, points[last], alpha=-2), out=nearest)
        chosen.append(int(nearest.argmax()))
    return torch.tensor(chosen)


def projected(points: Tensor) -> Tensor:
    """Return points (N, C) in at most 128 random directions, which nearly keep distances."""
    width = points.shape[1]
    if width <= PROJECTED:
        return points
    directions = torch.randn(width, PROJECTED, generator=torch.Generator().manual_seed(SEED)) / math.sqrt(PROJECTED)
    return points @ directions.to(points.device)
