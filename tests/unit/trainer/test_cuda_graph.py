"""What a GPU computes in one launch and in fewer digits: the same as step by step on a CPU, within what the digits allow."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mdss.method.distance_network import SignedDistanceNetwork
from mdss.method.presets import preset, with_assignments
from mdss.method.recipe import ColourSettings, Scores, ShapeSettings
from mdss.method.signed_distance import ShapeBranch
from mdss.method.student_teacher import ColourBranch, StudentTeacher
from mdss.method.torch_device import Precision
from tests.plates import SIZE_PX, plate
from trainer.shape_batch import draw
from trainer.train_sdf import loss_on
from trainer.training_cloud import TrainingCloud

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU")
GPU = "cuda:0"
Float = NDArray[np.float32]
SMALL = ("sdf.encoder=[8,16]", "sdf.code=8", "sdf.width=16", "sdf.depth=2", "sdf.points_per_patch=64", "sdf.queries=20", "sdf.batch=4")


def gradients(network: SignedDistanceNetwork) -> torch.Tensor:
    return torch.cat([value.grad.flatten().cpu() for value in network.parameters() if value.grad is not None])


@pytest.mark.parametrize(("name", "assignments"), [("edge", ()), ("paper", ()), ("paper", ("sdf.loss=pull",))])
def test_a_captured_step_has_the_loss_and_the_gradients_of_its_own_batch(name: str, assignments: tuple[str, ...]) -> None:
    recipe = with_assignments(preset(name), (*SMALL, *assignments))
    clouds = [TrainingCloud.of(plate(tilt), recipe.sdf, np.random.default_rng(0)) for tilt in (-0.3, 0.2)]
    torch.manual_seed(0)
    plain = SignedDistanceNetwork(recipe.sdf)
    captured = SignedDistanceNetwork(recipe.sdf).to(GPU)
    captured.load_state_dict(plain.state_dict())
    on_cpu, on_gpu = loss_on(plain, recipe.sdf, "cpu"), loss_on(captured, recipe.sdf, GPU)
    for step in range(4):
        plain.zero_grad()
        loss = on_cpu(draw(clouds, recipe, step))
        loss.backward()  # type: ignore[no-untyped-call]
        found = on_gpu(draw(clouds, recipe, step))
        assert not found.requires_grad
        assert found.item() == pytest.approx(loss.item(), rel=0.02)
        missed = gradients(captured) - gradients(plain)
        assert missed.norm() < 0.05 * gradients(plain).norm()


def test_a_captured_step_follows_the_weights() -> None:
    recipe = with_assignments(preset("edge"), SMALL)
    batch = draw([TrainingCloud.of(plate(), recipe.sdf, np.random.default_rng(0))], recipe, 0)
    network = SignedDistanceNetwork(recipe.sdf).to(GPU)
    loss_of, optimiser = loss_on(network, recipe.sdf, GPU), torch.optim.Adam(network.parameters(), 1e-2, fused=True)
    losses = []
    for _ in range(60):
        losses.append(loss_of(batch).item())
        optimiser.step()
    assert losses[-1] < 0.7 * losses[0]


KINDS: list[tuple[Precision, Scores, float]] = [("float32", "float", 1e-4), ("auto", "float", 0.02), ("auto", "int8", 0.02)]


@pytest.mark.parametrize("shape_settings", [ShapeSettings(), preset("edge").sdf, preset("paper").sdf], ids=["plain", "edge", "paper"])
@pytest.mark.parametrize(("precision", "scores_in", "tolerance"), KINDS)
def test_maps_of_a_gpu_are_those_of_a_cpu(precision: Precision, scores_in: Scores, tolerance: float, shape_settings: ShapeSettings) -> None:
    torch.manual_seed(0)
    rgb, sdf = ColourSettings(student_width=1.0, scores_in=scores_in), msgspec.structs.replace(shape_settings, scores_in=scores_in)
    colour, shape = StudentTeacher(rgb), SignedDistanceNetwork(sdf)
    for network in (colour, shape):
        if scores_in == "int8":
            network.peaks.fill_(4.0)
    torch.nn.init.normal_(shape.distance.weight, std=0.3)
    random = np.random.default_rng(0)
    image, mask = random.integers(0, 255, (128, 128, 3), np.uint8), np.ones((128, 128), np.bool_)
    cloud = plate() + random.normal(0, 0.01, (SIZE_PX, SIZE_PX, 3)).astype(np.float32)  # no two equally near

    def maps(device: str, kind: Precision) -> tuple[Float, Float]:
        branches = ColourBranch(colour, rgb, device, kind), ShapeBranch(shape, sdf, device, kind)
        return branches[0].score_map(image, mask), branches[1].score_map(cloud)

    for here, there in zip(maps("cpu", "float32"), maps(GPU, precision), strict=True):
        assert np.abs(there - here).max() < tolerance * here.max()
