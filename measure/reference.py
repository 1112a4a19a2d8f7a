"""The method as the code runs it that the paper builds on: the whole image, ten patches per point, one at a time, all in float32."""

from __future__ import annotations

import time

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from mdss.method import point_cloud
from mdss.method.distance_network import SignedDistanceNetwork
from mdss.method.patch_frame import PatchFrames
from mdss.method.patches import cut_patches
from mdss.method.point_cloud import Prepared
from mdss.method.presets import PAPER
from mdss.method.signed_distance import PartPoints, merged_distances
from mdss.method.student_teacher import StudentTeacher
from mdss.method.torch_device import device_of
from mdss.method.viewing import viewing_direction
from measure.stages import StageBench
from measure.subject import Size
from trainer.progress import tracked

SCANS = 2
PATCHES_OF_A_POINT = 10
SHAPE = msgspec.structs.replace(PAPER.sdf, frame="camera", octaves=0, overlap="min", scores_in="float")
Float = NDArray[np.float32]


class ReferenceNetworks:
    """Untrained networks of the published size: training does not change their speed."""

    def __init__(self) -> None:
        self._device = device_of("auto")
        self._pair = StudentTeacher(PAPER.rgb).eval().to(self._device)
        self._shape = SignedDistanceNetwork(SHAPE).eval().to(self._device)

    @torch.inference_mode()
    def colour_map(self, part: Prepared) -> Float:
        """Return the colour map (S, S) of the whole image."""
        image = torch.from_numpy(part.rgb).to(self._device).permute(2, 0, 1)[None].float() / 255
        cells = self._pair(image, "squared").mean(dim=1, keepdim=True)
        found = torch.nn.functional.interpolate(cells, size=part.rgb.shape[:2], mode="bilinear")
        return np.asarray(found[0, 0].cpu().numpy(), np.float32)

    @torch.inference_mode()
    def shape_distances(self, part: Prepared) -> Float:
        """Return the distance (N,) of every point, the smallest among its patches."""
        settings, cloud, view_direction = SHAPE, PartPoints.of(part.xyz), viewing_direction(part.xyz)
        patches = cut_patches(cloud.points, settings.points_per_patch, PATCHES_OF_A_POINT)
        distances = []
        for members in patches:
            patch = torch.from_numpy(cloud.points[members])[None]
            points = PatchFrames.of(patch, view_direction, settings).to_patch(patch).to(self._device)
            distances.append(self._shape(points, points).distance[0].cpu())
        return np.asarray(merged_distances(torch.cat(distances), torch.from_numpy(patches).flatten(), len(cloud.points), settings).numpy())


def speedup(bench: StageBench, size: Size) -> float:
    """Return how many times longer both branches of the reference take than ours, on the same scans and in one thread."""
    reference, ours_s, theirs_s = ReferenceNetworks(), 0.0, 0.0
    scans = bench.subject.scans_at(size)[:SCANS]
    for number, scan in enumerate(tracked([scans[0], *scans], "reference")):
        part = point_cloud.prepare(*bench.subject.received(scan), bench.model.recipe.point_cloud)
        started = time.perf_counter()
        reference.colour_map(part)
        reference.shape_distances(part)
        between = time.perf_counter()
        bench.colour.map_of(part)
        bench.shape.map_of(part)
        if number == 0:  # the first scan also chooses kernels and compiles
            continue
        theirs_s, ours_s = theirs_s + between - started, ours_s + time.perf_counter() - between
    return round(theirs_s / ours_s, 1)
