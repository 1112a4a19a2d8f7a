"""The supervisor's plan of models, in a file: what the processes hold and what judges each recipe's next part; and the reports on it."""

from __future__ import annotations

from pathlib import Path

import msgspec

from mdss.errors import UNREADABLE, MdssError
from mdss.whole_files import write_whole

PLAN = "models.json"  # in the runtime directory


def model_key(recipe: str, version: str) -> str:
    """Return the key of one version of one recipe, such as cap/0007."""
    return f"{recipe}/{version}"


class Served(msgspec.Struct, frozen=True):
    """The model that judges a recipe's next part; each change has a new generation, and generations only grow."""

    version: str
    generation: int


class ModelPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What the supervisor wants; each plan replaces the one before."""

    revision: int = 0  # grows with each plan
    serving: dict[str, Served] = {}  # by recipe; a recipe that is missing here is not judged now
    held: tuple[str, ...] = ()  # keys of the models that prepare, rgb, sdf and fusion hold
    since: dict[str, int] = {}  # by key: the plan that asked for the model last; a refusal from before that is no answer
    reasons: dict[str, str] = {}  # by recipe: why it is not judged now

    @property
    def is_first(self) -> bool:
        """Whether this is the plan that a station starts with, or none yet. It serves no recipe; a later plan may serve none either."""
        return self.revision <= 1

    def asked_in(self, key: str) -> int:
        """Return the revision of the plan that asked for a model last; 0 if that is not known."""
        return self.since.get(key, 0)


class ModelReport(msgspec.Struct, frozen=True, kw_only=True):
    """One process's report on models: the plan it follows, what it holds or needs, and what was asked of it in vain."""

    revision: int = 0  # of the plan that it has read and follows
    # key -> empty, or why this process cannot use the model; from ingest: the models that judge its parts under way
    held: dict[str, str] = {}
    wanted: tuple[str, ...] = ()  # recipes that frames named while nothing judged them
    asked: dict[str, int] = {}  # recipe -> how many frames have named it


class PlanFile:
    """The plan on disk: written whole or not at all, read again when it has changed."""

    def __init__(self, runtime_directory: Path) -> None:
        self.path = runtime_directory / PLAN
        self._seen: tuple[int, int, int] | None = None
        self._trouble = ""

    def write(self, plan: ModelPlan) -> None:
        """Replace the plan; MdssError if the disk refuses."""
        write_state(self.path, plan)

    def changed(self) -> ModelPlan | None:
        """Return the plan if it has changed since the last call; None if it has not, or if there is no plan.

        MdssError if it cannot be read, but only once for the same reason, because this is called before every message.
        """
        try:
            status = self.path.stat()
            seen = (status.st_ino, status.st_mtime_ns, status.st_size)
            if seen == self._seen:
                self._trouble = ""
                return None
            plan = msgspec.json.decode(self.path.read_bytes(), type=ModelPlan)
        except FileNotFoundError:
            return None
        except (OSError, *UNREADABLE) as error:
            if str(error) == self._trouble:
                return None
            self._trouble = str(error)
            raise MdssError(f"{self.path}: cannot be read ({error}); expected the plan that the supervisor writes") from error
        self._seen, self._trouble = seen, ""
        return plan


def write_state(path: Path, value: msgspec.Struct) -> None:
    """Write a value so that nobody ever reads half of it; MdssError if that fails."""
    try:
        write_whole(path, msgspec.json.encode(value) + b"\n")
    except OSError as error:
        raise MdssError(f"{path}: cannot be written ({error.strerror}); expected free space in a folder of the station's own") from error
