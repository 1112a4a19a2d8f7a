"""What tests of several benches share: one tiny line and a champion that learned next to nothing."""

from __future__ import annotations

import pytest

from tests.station import NAME, Trained, small_recipe, write_line, write_teacher
from trainer.train import TrainingOrder, train


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A line and its champion after two steps; whoever changes them works on a copy."""
    folder = tmp_path_factory.mktemp("line")
    data = write_line(folder / "data")
    recipe = small_recipe(write_teacher(folder / "teacher.safetensors"), "rgb.steps=2", "sdf.steps=2")
    train(TrainingOrder(data, folder / "models", NAME, recipe, device="cpu"))
    return Trained(data, folder / "models")
