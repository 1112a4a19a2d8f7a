"""Trains the shape branch: patches of good parts, queries near their surfaces, and the distance and presence to learn there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from mdss.method.border import near_border
from mdss.method.distance_network import Prediction, SignedDistanceNetwork
from mdss.method.eight_bits import highest_inputs
from mdss.method.recipe import Recipe, ShapeSettings
from mdss.method.signed_distance import ShapeBranch, measured_around
from mdss.method.torch_device import learning_precision
from mdss.method.usual import Usual
from trainer.branch_inputs import Part, sample_parts
from trainer.cuda_graph import CudaGraphLoss
from trainer.distributed import max_over_processes
from trainer.prefetch import prefetched
from trainer.progress import tracked, tracked_stream
from trainer.shape_batch import Batch, draw
from trainer.training import Schedule, Training
from trainer.training_cloud import TrainingCloud

TINY = 1e-8
BATCHES_TO_MEASURE = 24
DISTANCE_WEIGHT, PRESENCE_WEIGHT = 10.0, 0.3  # so that both losses have about the same influence
MOST_USUAL = 3.0  # a crack is as thin as a speck that the sensor lost: it must not pass for one wherever lost specks are usual
LEAST_EVIDENCE = 0.02  # of good parts' voids: if they have none at all, the unit of evidence stays finite


def train_shape(parts: Sequence[Part], recipe: Recipe, device: str, checkpoint: Path) -> tuple[SignedDistanceNetwork, Training]:
    """Return the trained network and its training; continues from the checkpoint if it exists."""
    torch.manual_seed(recipe.seed)
    settings = recipe.sdf
    network = SignedDistanceNetwork(settings).to(device)
    torch.backends.cuda.matmul.allow_tf32 = settings.loss == "pull"  # its second derivatives are what a GPU spends its time on
    training = Training(network, Schedule.of("shape branch", settings), checkpoint)
    clouds = clouds_of(parts[: settings.training_scans], recipe, device)
    batches = prefetched(lambda step: draw(clouds, recipe, step), range(training.step, settings.steps), device)
    loss_of = loss_on(network, settings, device)
    training.run(lambda _: loss_of(next(batches)), has_gradients=device.startswith("cuda"))
    if settings.scores_in == "int8":
        measure_peaks(network, clouds, recipe, device)
    network.patch_mm.fill_(float(np.median(np.concatenate([cloud.lengths_mm for cloud in clouds]))))
    measure_usual(network, parts, settings, device)
    if settings.void_weight:
        weigh_voids(network, parts, settings, device)
    return network.eval(), training


def clouds_of(parts: Sequence[Part], recipe: Recipe, device: str) -> list[TrainingCloud]:
    """Return the clouds to learn from, one for each part."""

    def cloud(number: int) -> TrainingCloud:
        return TrainingCloud.of(parts[number].xyz, recipe.sdf, np.random.default_rng((recipe.seed, number)))

    return list(tracked_stream(prefetched(cloud, range(len(parts)), device), "patches", len(parts)))


def loss_on(network: SignedDistanceNetwork, settings: ShapeSettings, device: str) -> Callable[[Batch], Tensor]:
    """Return the function that gives a batch's loss; on a GPU it computes the gradients, too, in one launch."""
    of = pull_loss if settings.loss == "pull" else regression_loss
    if not device.startswith("cuda"):
        return lambda batch: of(network, batch, settings, device)
    captured = CudaGraphLoss(network, lambda inputs: of(network, Batch(*inputs), settings, device), device)
    return lambda batch: captured([getattr(batch, field.name) for field in fields(batch)])


def regression_loss(network: SignedDistanceNetwork, batch: Batch, settings: ShapeSettings, device: str) -> Tensor:
    """Return the mean absolute error of the distances plus, if missing points count, the cross-entropy of the presence.

    The surface is seen from one side, so the sign of each distance is known.
    """
    queries = torch.cat([batch.queries, batch.places], dim=1) if settings.void_weight else batch.queries
    with learning_precision(device, settings.learns_in):
        predicted: Prediction = network(batch.patches.to(device), queries.to(device))
    asked = batch.queries.shape[1]
    loss = DISTANCE_WEIGHT * (predicted.distance[:, :asked] - batch.distances.to(device)).abs().mean()
    if settings.void_weight:
        presence, is_point, weights = predicted.presence[:, asked:], batch.is_point.to(device), batch.weights.to(device)
        loss = loss + PRESENCE_WEIGHT * F.binary_cross_entropy_with_logits(presence, is_point, weights)
    return loss


def pull_loss(network: SignedDistanceNetwork, batch: Batch, _: ShapeSettings, device: str) -> Tensor:
    """Return how far queries miss the surface when they are moved along the gradient by their distance (Neural-Pull)."""
    queries = batch.queries.to(device).detach().requires_grad_()
    distances: Tensor = network(batch.patches.to(device), queries).distance
    (gradient,) = torch.autograd.grad(distances.sum(), queries, create_graph=True)
    steps = distances[..., None] * gradient / (gradient.square().sum(dim=2, keepdim=True) + TINY).sqrt()
    missed: Tensor = queries - steps - batch.nearest.to(device)
    return missed.square().sum(dim=2).add(TINY).sqrt().mean()


def measure_peaks(network: SignedDistanceNetwork, clouds: Sequence[TrainingCloud], recipe: Recipe, device: str) -> None:
    """Set the highest input of each wide layer on batches like those of the training, measured in float32."""

    def ask() -> None:
        for step in tracked(range(BATCHES_TO_MEASURE), "peaks"):
            batch = draw(clouds, recipe, step)
            network(batch.patches.to(device), torch.cat([batch.queries, batch.places], dim=1).to(device))

    network.peaks.copy_(max_over_processes(highest_inputs(network.wide_layers(), ask)))


def measure_usual(network: SignedDistanceNetwork, parts: Sequence[Part], settings: ShapeSettings, device: str) -> None:
    """Set what distances of good parts, and the evidence of their missing points, reach at places of each kind, if the recipe asks for it.

    The kinds are told apart by how much around was measured; for distances, after that, by the nearness to the image's border, too.
    """
    if not (settings.by_rim or settings.by_border or settings.voids_by_rim):
        return
    for name in ("usual", "border_usual", "void_usual"):
        if hasattr(network, name):
            getattr(network, name).fill_(1)
    branch, chosen = ShapeBranch(network, settings, device), sample_parts(parts)
    readings = [branch.examine(part.xyz, part.grid) for part in tracked(chosen, "usual places")]
    distances, around = [each.distances for each in readings], [measured_around(part.xyz) for part in chosen]
    if settings.by_rim:
        cues = [measured[each.pixels] for measured, each in zip(around, readings, strict=True)]
        usual = Usual.of(cues, distances)
        network.usual.copy_(torch.from_numpy(usual.stored()))
        distances = [found / usual.at(cue) for found, cue in zip(distances, cues, strict=True)]
    if settings.by_border:
        cues = [near_border(part.grid).ravel()[each.pixels] for part, each in zip(chosen, readings, strict=True)]
        network.border_usual.copy_(torch.from_numpy(Usual.of(cues, distances).stored()))
    if settings.voids_by_rim:
        cues = [measured[each.void_pixels] for measured, each in zip(around, readings, strict=True)]
        network.void_usual.copy_(torch.from_numpy(Usual.of(cues, [each.surprise for each in readings], MOST_USUAL).stored()))


def weigh_voids(network: SignedDistanceNetwork, parts: Sequence[Part], settings: ShapeSettings, device: str) -> None:
    """Set the unit of evidence, so that on good parts its highest value is on average `void_weight` times that of the distances."""
    chosen = sample_parts(parts)
    branch = ShapeBranch(network, settings, device)
    halves = [branch.maps(branch.examine(part.xyz, part.grid), len(part.xyz)) for part in tracked(chosen, "missing points")]
    distance, evidence = np.mean([[float(each.max()) for each in pair] for pair in halves], axis=0)
    network.void_unit.fill_(settings.void_weight * distance / max(float(evidence), LEAST_EVIDENCE))
