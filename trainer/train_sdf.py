"""Trains the shape branch: patches of good parts, places near their surfaces, and what is there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from mdss.method.distance_network import Said, SignedDistanceNetwork
from mdss.method.point_cloud import Prepared
from mdss.method.recipe import Recipe, ShapeSettings
from mdss.method.signed_distance import ShapeBranch
from mdss.method.torch_device import learning_precision
from trainer.progress import tracked
from trainer.shape_batch import Batch, draw
from trainer.training import Schedule, Training
from trainer.training_cloud import TrainingCloud

Float = NDArray[np.float32]

TINY = 1e-8
DISTANCE_WEIGHT, PRESENCE_WEIGHT, USUAL_WEIGHT = 10.0, 0.3, 0.1  # so that each has about the same say
PARTS_TO_MEASURE = 24
LEAST_EVIDENCE = 0.02  # of good parts' voids, so that none at all does not make the weight of one endless


def train_shape(parts: Sequence[Prepared], recipe: Recipe, device: str, checkpoint: Path) -> tuple[SignedDistanceNetwork, Training]:
    """Return the trained network and its training; continues from the checkpoint where it exists."""
    torch.manual_seed(recipe.seed)
    settings = recipe.sdf
    network = SignedDistanceNetwork(settings).to(device)
    training = Training(
        network, Schedule("shape branch", settings.steps, settings.learning_rate, settings.warmup_steps, settings.schedule), checkpoint
    )
    chosen = parts[: settings.training_scans]
    clouds = [
        TrainingCloud.of(part.xyz, settings, np.random.default_rng((recipe.seed, number)))
        for number, part in enumerate(tracked(chosen, "patches", len(chosen)))
    ]
    loss = pull_loss if settings.loss == "pull" else regression_loss
    training.run(lambda step: loss(network, draw(clouds, recipe, step), settings, device))
    if settings.void_weight or settings.tolerance:
        measure_good_parts(network, parts, settings, device)
    return network.eval(), training


def regression_loss(network: SignedDistanceNetwork, batch: Batch, settings: ShapeSettings, device: str) -> Tensor:
    """Return the mean absolute error of the distances, and what the other two heads have to learn where the recipe asks for them.

    The surface is seen from one side, so the sign of the distances is known.
    """
    queries = torch.cat([batch.queries, batch.places, batch.own], dim=1).to(device)
    with learning_precision(device):
        said: Said = network(batch.patches.to(device), queries)
    asked, placed = batch.queries.shape[1], batch.places.shape[1]
    error = (said.distance[:, :asked] - batch.distances.to(device)).abs().mean()
    loss = DISTANCE_WEIGHT * error
    if settings.void_weight:
        presence = said.presence[:, asked : asked + placed]
        loss = loss + PRESENCE_WEIGHT * F.binary_cross_entropy_with_logits(presence, batch.is_point.to(device), batch.weights.to(device))
    if settings.tolerance:
        off = said.distance[:, asked + placed :].detach().abs()
        usual = said.usual[:, asked + placed :]
        likelihood = (off / usual.exp() + usual) * batch.is_good.to(device)[:, None]  # Laplace, but for a constant
        loss = loss + USUAL_WEIGHT * likelihood.mean()
    return loss


def pull_loss(network: SignedDistanceNetwork, batch: Batch, _: ShapeSettings, device: str) -> Tensor:
    """Return how far queries land from the surface when pulled along the gradient by their distance (Neural-Pull)."""
    queries = batch.queries.to(device).requires_grad_()
    distances: Tensor = network(batch.patches.to(device), queries).distance
    (gradient,) = torch.autograd.grad(distances.sum(), queries, create_graph=True)
    steps = distances[..., None] * gradient / (gradient.square().sum(dim=2, keepdim=True) + TINY).sqrt()
    missed: Tensor = queries - steps - batch.nearest.to(device)
    return missed.square().sum(dim=2).add(TINY).sqrt().mean()


def measure_good_parts(network: SignedDistanceNetwork, parts: Sequence[Prepared], settings: ShapeSettings, device: str) -> None:
    """Set what the tolerance takes off good parts in the mean, and what a missing point counts.

    On good parts, the highest value of the missing points comes to so much of that of the distances as the recipe says.
    """
    chosen = parts[:: max(1, len(parts) // PARTS_TO_MEASURE)]
    branch = ShapeBranch(network, settings, device)
    readings = [branch.read(part.xyz) for part in tracked(chosen, "good parts", len(chosen))]
    size = parts[0].xyz.shape[0]
    distance, evidence = np.mean([[float(each.max()) for each in branch.maps(reading, size)] for reading in readings], axis=0)
    network.void_unit.fill_(settings.void_weight * distance / max(float(evidence), LEAST_EVIDENCE))
    network.usual_level.fill_(settings.tolerance * np.mean([reading.usual.mean() for reading in readings]))
