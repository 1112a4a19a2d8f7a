"""What a retraining is asked for, and where it finds and leaves files."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from mdss.collection import FOLDER, Collection
from mdss.retraining import retrain_folder
from mdss.settings import Settings
from trainer.dataset import Unit
from trainer.gate_terms import GateLimits
from trainer.gathering import Shares

WORK, PLANS = "work", "plans"  # folders beside the records


@dataclass(frozen=True)
class RetrainAmounts:
    """How much of the collection a retraining is to learn from."""

    budget: int = 400
    least_new: int = 10
    shares: Shares = field(default_factory=Shares)
    with_simulated: bool = False


@dataclass(frozen=True)
class RetrainOrder:
    """What to train again, and for which station; None keeps the champion's."""

    settings: Settings
    name: str
    data: Path | None = None
    unit: Unit | None = None
    preset: str | None = None
    assignments: tuple[str, ...] = ()
    amounts: RetrainAmounts = RetrainAmounts()
    device: str = "cpu"
    promote: bool = False
    limits: GateLimits = field(default_factory=GateLimits)

    @property
    def store(self) -> Path:
        """The station's model store."""
        return Path(self.settings.models.store)

    @property
    def collection(self) -> Collection:
        """The station's collected parts."""
        return Collection(Path(self.settings.station.state_directory) / FOLDER)

    @property
    def max_invalid_ratio(self) -> float:
        """The share of its points that a part may lack at the station, and to be learned from."""
        return self.settings.fusion.max_invalid_point_ratio

    @property
    def folder(self) -> Path:
        """The folder of the station's retraining records."""
        return retrain_folder(self.settings.station.state_directory)

    @property
    def work(self) -> Path:
        """The folder for plan, scans and checkpoints of an unfinished training."""
        return self.folder / WORK / self.name

    @property
    def last_plan(self) -> Path:
        """The file with the plan of the last training, and every part that it refused."""
        return self.folder / PLANS / f"{self.name}.json"
