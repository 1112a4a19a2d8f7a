"""The parts of the month: drawn as by `mdss synthetic`, under an ageing lamp and with batches of other material."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from demo.month_story import Week
from trainer.dataset import GOOD
from trainer.synthetic import Line


@dataclass(frozen=True)
class Part:
    """One part before the camera, with its defect, which only the demo knows."""

    part_id: str
    kind: str
    rgb: NDArray[np.uint8]  # (H, W, 3)
    xyz_mm: NDArray[np.float32]  # (H, W, 3), NaN where no point was measured


@dataclass(frozen=True)
class WeekSize:
    """How many parts a week has."""

    good: int
    defective: int
    worn: int  # defective parts in a week with a worn tool, in place of `defective`


def parts_of(line: Line, number: int, week: Week, week_size: WeekSize) -> Iterator[Part]:
    """Yield the parts of week `number`, good and defective ones mixed; no two weeks share a part."""
    defective = week_size.worn if week.has_worn_tool else week_size.defective
    kinds = [GOOD] * week_size.good + [line.kinds[i % len(line.kinds)] for i in range(defective)]
    order = np.random.default_rng((line.seed, number)).permutation(len(kinds))
    lamp = np.linspace(*week.lamp, len(kinds), dtype=np.float32)
    for place, index in enumerate(order):
        scan = line.scan("test", kinds[index], 1000 * number + int(index))
        yield Part(
            f"week{number}-{place:03d}", kinds[index], under_light(scan.rgb, lamp[place] * np.asarray(week.tint, np.float32)), scan.xyz_mm
        )


def under_light(rgb: NDArray[np.uint8], light: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return the image under other light, given as a factor for each channel."""
    return np.asarray(np.clip(np.rint(rgb * light), 0, 255), np.uint8)
