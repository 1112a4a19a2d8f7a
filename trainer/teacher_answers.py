"""The teacher's descriptions of the training parts on one grid, computed once: the teacher is frozen, and all windows lie on that grid."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mdss.method.description_network import STRIDE_PX
from mdss.method.student_teacher import StudentTeacher, Window
from mdss.method.torch_device import learning_precision

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]

MOST_BYTES = 1 << 30
BYTES_PER_NUMBER = 2  # float16: three digits, as many as a training in bfloat16 has at most


class TeacherOutputs:
    """The teacher's normalised descriptions at those cells of each part that are learned from; zeros elsewhere."""

    def __init__(self, values: list[Tensor], rows: list[Tensor]) -> None:
        self._values, self._rows = values, rows

    @classmethod
    def of(cls, networks: StudentTeacher, images: Sequence[Float], cells: Sequence[Bool]) -> TeacherOutputs:
        """Return the answers for padded images (3, 4 h + 29 or more, ...) at the marked cells (h, h)."""
        device, values, rows = networks.mean.device, [], []
        for image, asked in zip(images, cells, strict=True):
            window = Window.around(np.kron(asked, np.ones((STRIDE_PX, STRIDE_PX), np.bool_)), len(asked))
            crop = window.crop(torch.from_numpy(image)[None].to(device)).contiguous(memory_format=torch.channels_last)
            with learning_precision(device.type):
                output = networks.describe(crop)[0].permute(1, 2, 0).to("cpu", torch.float16)
            inside = asked[window.top : window.top + window.height, window.left : window.left + window.width]
            answers = output[torch.from_numpy(inside)]
            values.append(torch.cat([answers, torch.zeros_like(output[0, :1])]))  # the zeros at the end are found by row -1
            rows.append(torch.from_numpy(np.where(asked, np.cumsum(asked).reshape(asked.shape) - 1, -1)))
        return cls(values, rows)

    def crop(self, number: int, window: Window) -> Tensor:
        """Return the answers (h, w, C) in a window of one part's map."""
        rows = self._rows[number][window.top : window.top + window.height, window.left : window.left + window.width]
        return self._values[number][rows].float()


def fits_into_memory(cells: Sequence[Bool], channels: int) -> bool:
    """Return whether the answers for these cells take at most MOST_BYTES."""
    return sum(int(asked.sum()) for asked in cells) * channels * BYTES_PER_NUMBER <= MOST_BYTES
