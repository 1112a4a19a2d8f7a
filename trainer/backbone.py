"""A MobileNetV2 read from a weights file: the source of features that a teacher is distilled from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

FINE_LAYER, COARSE_LAYER = "021_CONV", "047_CONV"  # the last expanded layers at stride 8 and at stride 16
FINE_CHANNELS, COARSE_CHANNELS = 192, 576
BLOCKS = ((1, 1), (2, 2), (3, 2), (4, 2), (3, 1), (3, 2), (1, 1))  # (blocks, stride of the first) of each stage


class MobileNetV2Features(nn.Module):
    """The trunk of MobileNetV2 up to stride 16, batch norm folded, with TensorFlow's asymmetric SAME padding.

    Cell k of the stride-8 layer is centred on input pixel 8k + 7, cell m of the stride-16 layer on 16m + 15.
    """

    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__()
        for name, value in weights.items():
            self.register_buffer("p" + name, value)

    @classmethod
    def load(cls, path: Path) -> MobileNetV2Features:
        """Return the network of an .npz file with arrays NNN_CONV_w, NNN_CONV_b, NNN_DW_w, NNN_DW_b."""
        with np.load(path) as archive:
            missing = [n for n in (f"{FINE_LAYER}_w", f"{COARSE_LAYER}_w") if n not in archive.files]
            if missing:
                raise ValueError(f"{path}: not a MobileNetV2 backbone file, array {missing[0]!r} is missing")
            last = int(COARSE_LAYER[:3])
            return cls({n: torch.from_numpy(archive[n]).float() for n in archive.files if int(n[:3]) <= last})

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return (B, 192, H/8, W/8) and (B, 576, H/16, W/16) of an image (B, 3, H, W) in 0..1."""
        x = F.relu6(self._convolve(image * 2 - 1, "000_CONV", stride=2))
        number, fine = 1, x
        for stage, (blocks, stage_stride) in enumerate(BLOCKS):
            for block in range(blocks):
                stride, inner = (stage_stride if block == 0 else 1), x
                if stage > 0:
                    name = f"{number:03d}_CONV"
                    inner = F.relu6(self._convolve(x, name))
                    number += 1
                    if name == FINE_LAYER:
                        fine = inner
                    if name == COARSE_LAYER:
                        return fine, inner
                inner = F.relu6(self._convolve(inner, f"{number:03d}_DW", stride))
                inner = self._convolve(inner, f"{number + 1:03d}_CONV")
                number += 2
                if block > 0:
                    x, number = x + inner, number + 1  # the addition is a node of the graph and has a number
                else:
                    x = inner
        raise AssertionError("the stages end after the coarse layer")

    def _convolve(self, x: Tensor, name: str, stride: int = 1) -> Tensor:
        weight, bias = self.get_buffer(f"p{name}_w"), self.get_buffer(f"p{name}_b")
        if weight.shape[-1] == 3:
            x = F.pad(x, (0, 1, 0, 1) if stride == 2 else (1, 1, 1, 1))
        return F.conv2d(x, weight, bias, stride, groups=weight.shape[0] if "DW" in name else 1)
