"""What several tests of real processes share: one tiny line and the model that was trained on it."""

from __future__ import annotations

import pytest
import torch

from tests.station import NAME, Trained, small_recipe, write_line, write_teacher
from trainer.train import Order, train


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Compute in one thread: two that wait for each other on busy cores take four times as long."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A line and its champion, trained as `mdss train` does; whoever changes the store works on a copy."""
    folder = tmp_path_factory.mktemp("line")
    data = write_line(folder / "data")
    train(Order(data, folder / "models", NAME, small_recipe(write_teacher(folder / "teacher.safetensors")), device="cpu"))
    return Trained(data, folder / "models")
