"""The patch description network (PDN-S) that teacher and student share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mdss.method.eight_bits import EightBitConvolution, apply_rectified
from mdss.method.torch_device import to_layer_precision

CHANNELS = 384
FIELD_PX = 33
STRIDE_PX = 4
WIDE_LAYERS = "conv2", "conv3", "conv4"  # all but the first, whose weights must not be rounded
CENTRE_PX = 16  # output t looks at input pixels 4t .. 4t + 32, centred on 4t + 16

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class PatchDescriptionNetwork(nn.Module):
    """PDN-S of EfficientAD without padding: (B, 3, H, W) in 0..1 -> (B, 384, h, w), stride 4, field of view 33 px.

    A 256 x 256 image gives 56 x 56 positions. The ImageNet colour normalisation is inside, as buffers, so that no caller can forget it or
    do it twice. `width` scales the hidden layers (1.0: the published network).
    """

    mean: Tensor
    std: Tensor

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        first, second = int(128 * width), int(256 * width)
        self.conv1 = nn.Conv2d(3, first, 4)
        self.conv2 = nn.Conv2d(first, second, 4)
        self.conv3 = nn.Conv2d(second, second, 3)
        self.conv4 = nn.Conv2d(second, CHANNELS, 4)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """Return one feature vector for each position of the image, (B, 384, h, w)."""
        x = apply_rectified(self.conv1, (image - self.mean) / self.std)
        x = F.avg_pool2d(to_layer_precision(x, self.conv2), 2)
        x = F.avg_pool2d(apply_rectified(self.conv2, x), 2)
        return self.conv4(apply_rectified(self.conv3, x))  # type: ignore[no-any-return]  # nn.Module.__call__ is untyped

    def wide_layers(self) -> Sequence[nn.Conv2d]:
        """Return the layers that do most of the multiplying."""
        return [getattr(self, name) for name in WIDE_LAYERS]

    @property
    def is_rounded(self) -> bool:
        """Whether the wide layers compute in eight bits."""
        return isinstance(self.conv2, EightBitConvolution)

    def to_eight_bits(self, peaks: Sequence[float]) -> None:
        """Switch the wide layers to eight bits, for good, with these highest inputs; the network can no longer learn."""
        for name, peak in zip(WIDE_LAYERS, peaks, strict=True):
            setattr(self, name, EightBitConvolution(getattr(self, name), peak, is_rectified=name != WIDE_LAYERS[-1]))


def positions(size_px: int) -> int:
    """Return how many output positions an input side of `size_px` gives (256 -> 56)."""
    return ((size_px - 3) // 2 - 3) // 2 - 5
