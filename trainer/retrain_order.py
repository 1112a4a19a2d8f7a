"""What a retraining is asked for, and where it finds and leaves things."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from mdss.collection import FOLDER, Collection
from mdss.retraining import retrain_folder
from mdss.settings import Settings
from trainer.dataset import Unit
from trainer.gate_terms import GateLimits
from trainer.gathering import Shares

WORK, PLANS = "work", "plans"  # beside the records


@dataclass(frozen=True)
class Wishes:
    """How much of what was collected a training is to learn from."""

    budget: int = 400
    least_new: int = 10
    shares: Shares = field(default_factory=Shares)
    with_simulated: bool = False


@dataclass(frozen=True)
class RetrainOrder:
    """What to learn anew, for which station; None keeps what the champion has."""

    settings: Settings
    name: str
    data: Path | None = None
    unit: Unit | None = None
    preset: str | None = None
    assignments: tuple[str, ...] = ()
    wishes: Wishes = Wishes()
    device: str = "cpu"
    promote: bool = False
    limits: GateLimits = field(default_factory=GateLimits)

    @property
    def store(self) -> Path:
        """The station's model store."""
        return Path(self.settings.models.store)

    @property
    def collection(self) -> Collection:
        """What the station collected."""
        return Collection(Path(self.settings.station.state_directory) / FOLDER)

    @property
    def folder(self) -> Path:
        """Where the station's trainings keep their records."""
        return retrain_folder(self.settings.station.state_directory)

    @property
    def work(self) -> Path:
        """Where plan, scans and checkpoints of a training lie that is not finished."""
        return self.folder / WORK / self.name

    @property
    def last_plan(self) -> Path:
        """Where the plan of the last training stays, with every part that was refused."""
        return self.folder / PLANS / f"{self.name}.json"
