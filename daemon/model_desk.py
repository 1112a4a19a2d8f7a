"""Where the supervisor's plans of models go, and where wishes for a recipe come from: files in the station's two directories."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import structlog

from mdss.errors import UNREADABLE, MdssError
from mdss.settings import StationSettings
from mdss.wire.model_plan import PLAN, ModelPlan, PlanFile, Served, write_state

WISH = ".preload"  # RECIPE.preload in the runtime directory: somebody wants this recipe to be loaded
log = structlog.get_logger()


class Generations(msgspec.Struct, frozen=True):
    """What outlives a restart: the last generation, and under which each recipe was judged last."""

    last: int = 0
    served: dict[str, Served] = {}


class ModelDesk:
    """Writes plans for the processes, and generations for the next life."""

    def __init__(self, station: StationSettings) -> None:
        self._plan, self._runtime = PlanFile(Path(station.runtime_directory)), Path(station.runtime_directory)
        self._kept = Path(station.state_directory) / PLAN
        self._generations = self._written = read_generations(self._kept)

    def write(self, plan: ModelPlan) -> None:
        """Let every process know; what must outlive a restart is on the disk before."""
        if self._generations != self._written:
            write_state(self._kept, self._generations)
            self._written = self._generations
        self._plan.write(plan)

    def generation_of(self, recipe: str, version: str) -> int:
        """Return the generation that this recipe was judged under last where it was by this version, and a new one otherwise."""
        known = self._generations
        served = known.served.get(recipe)
        if served is not None and served.version == version:
            return served.generation
        last = known.last + 1
        self._generations = Generations(last, known.served | {recipe: Served(version, last)})
        return last

    def wishes(self) -> Iterator[str]:
        """Yield, once, the recipes that people asked for."""
        for wish in self._noted():
            try:
                wish.unlink()
            except OSError as error:
                log.error("a wish for a recipe cannot be taken", file=str(wish), reason=error.strerror)
                continue
            yield wish.name.removesuffix(WISH)

    def _noted(self) -> list[Path]:
        try:
            return sorted(self._runtime.glob(f"*{WISH}"))
        except OSError as error:  # no file left to open on this machine, say: wishes wait
            log.error("wishes for recipes cannot be looked for", folder=str(self._runtime), reason=error.strerror)
            return []


def read_generations(path: Path) -> Generations:
    """Return what an earlier life wrote; a file that cannot be read says nothing, which is said aloud."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Generations)
    except FileNotFoundError:
        return Generations()
    except (OSError, *UNREADABLE) as error:
        log.error("generations begin anew", file=str(path), reason=str(error))
        return Generations()


def wish_for(station: StationSettings, recipe: str) -> None:
    """Ask the running station to load a recipe."""
    path = Path(station.runtime_directory) / f"{recipe}{WISH}"
    try:
        path.touch()
    except OSError as error:
        own = f"`sudo -u mdss /opt/mdss/.venv/bin/mdss recipe preload {recipe} ...`"
        raise MdssError(
            f"{path}: cannot be written ({error.strerror}); expected a running station and its own user, where it is installed {own}"
        ) from error
