"""The files through which the supervisor publishes its plan of models, remembers generations, and receives requests for recipes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import structlog

from mdss.errors import UNREADABLE, MdssError
from mdss.settings import StationSettings
from mdss.wire.model_plan import PLAN, ModelPlan, PlanFile, Served, write_state

PRELOAD_REQUEST = ".preload"  # RECIPE.preload in the runtime directory: a request to load this recipe
log = structlog.get_logger()


class Generations(msgspec.Struct, frozen=True):
    """What survives a restart: the last generation, and for each recipe the model and generation that judged it last."""

    last: int = 0
    served: dict[str, Served] = {}


class ModelPlanStore:
    """Writes the plan for the processes, and the generations for the next start."""

    def __init__(self, station: StationSettings) -> None:
        self._plan, self._runtime = PlanFile(Path(station.runtime_directory)), Path(station.runtime_directory)
        self._kept = Path(station.state_directory) / PLAN
        self._generations = self._written = read_generations(self._kept)

    def write(self, plan: ModelPlan) -> None:
        """Write the plan for all processes; generations that must survive a restart are written first."""
        if self._generations != self._written:
            write_state(self._kept, self._generations)
            self._written = self._generations
        self._plan.write(plan)

    def generation_of(self, recipe: str, version: str) -> int:
        """Return the generation for this version: the old one if this version judged the recipe last, otherwise a new one."""
        known = self._generations
        served = known.served.get(recipe)
        if served is not None and served.version == version:
            return served.generation
        last = known.last + 1
        self._generations = Generations(last, known.served | {recipe: Served(version, last)})
        return last

    def preload_requests(self) -> Iterator[str]:
        """Yield each requested recipe once, and delete the request."""
        for request in self._request_files():
            try:
                request.unlink()
            except OSError as error:
                log.error("a request to load a recipe cannot be taken", file=str(request), reason=error.strerror)
                continue
            yield request.name.removesuffix(PRELOAD_REQUEST)

    def _request_files(self) -> list[Path]:
        try:
            return sorted(self._runtime.glob(f"*{PRELOAD_REQUEST}"))
        except OSError as error:  # for example, no file descriptor left: requests wait
            log.error("requests to load recipes cannot be looked for", folder=str(self._runtime), reason=error.strerror)
            return []


def read_generations(path: Path) -> Generations:
    """Return the generations of an earlier run; a file that cannot be read is logged and counts as empty."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Generations)
    except FileNotFoundError:
        return Generations()
    except (OSError, *UNREADABLE) as error:
        log.error("generations begin anew", file=str(path), reason=str(error))
        return Generations()


def request_preload(station: StationSettings, recipe: str) -> None:
    """Ask the running station to load a recipe."""
    path = Path(station.runtime_directory) / f"{recipe}{PRELOAD_REQUEST}"
    try:
        path.touch()
    except OSError as error:
        own = f"`sudo -u mdss /opt/mdss/.venv/bin/mdss recipe preload {recipe} ...`"
        raise MdssError(
            f"{path}: cannot be written ({error.strerror}); expected a running station and its own user, where it is installed {own}"
        ) from error
