"""The supervisor's plan, in a file: which models the processes hold and which judges each recipe's next part; and what they say to it."""

from __future__ import annotations

from pathlib import Path

import msgspec

from mdss.errors import UNREADABLE, MdssError
from mdss.whole_files import write_whole

PLAN = "models.json"  # in the runtime directory


def model_key(recipe: str, version: str) -> str:
    """Return the name of one version of one recipe: cap/0007."""
    return f"{recipe}/{version}"


class Served(msgspec.Struct, frozen=True):
    """The model that judges a recipe's next part; its generation is another for each change, and only grows."""

    version: str
    generation: int


class ModelPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What the supervisor wants: each plan replaces the one before it."""

    revision: int = 0  # grows with each plan
    serving: dict[str, Served] = {}  # by recipe; a recipe that is not here is not judged now
    held: tuple[str, ...] = ()  # keys of the models that prepare, rgb, sdf and fusion hold
    reasons: dict[str, str] = {}  # by recipe: why it is not judged now


class ModelWord(msgspec.Struct, frozen=True, kw_only=True):
    """What one process says of models: to which plan, what it holds or needs, and what is asked of it in vain."""

    revision: int = 0  # of the plan that it has read and keeps to
    held: dict[str, str] = {}  # key -> empty, or why this process cannot use it; of ingest: what its parts under way are judged by
    wanted: tuple[str, ...] = ()  # recipes that frames asked for while they were not served
    asked: dict[str, int] = {}  # recipe -> how many frames have named it


class PlanFile:
    """The plan on disk: written whole or not at all, read again when it has changed."""

    def __init__(self, runtime_directory: Path) -> None:
        self.path = runtime_directory / PLAN
        self._seen: tuple[int, int, int] | None = None
        self._trouble = ""

    def write(self, plan: ModelPlan) -> None:
        """Replace the plan; MdssError where the disk does not take it."""
        write_state(self.path, plan)

    def changed(self) -> ModelPlan | None:
        """Return the plan where it is another than at the last call, and None where it is not, or there is none.

        MdssError where it cannot be read, and None the next time for the same reason: it is asked for before every message.
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
    """Write a value so that nobody ever reads half of it; MdssError where that is not possible."""
    try:
        write_whole(path, msgspec.json.encode(value) + b"\n")
    except OSError as error:
        raise MdssError(f"{path}: cannot be written ({error.strerror}); expected room of the station's own") from error
