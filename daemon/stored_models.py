"""The daemon's view of the model store: which version is a recipe's champion and how large a version is; nothing is loaded."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from daemon.timed_questions import TimedQuestions
from mdss.errors import MdssError, champion_expected
from mdss.settings import Settings

# The rules of `mdss.method.model_store`, repeated here because no process of the daemon may import it: it would load OpenCV.
CHAMPION: Final = "champion"
VERSION = re.compile(r"[0-9]{4,}")


class StoredModels:
    """Reads the disk each time; only the size of a version, which never changes, is remembered once known."""

    def __init__(self, settings: Settings, questions: TimedQuestions | None = None) -> None:
        branches = settings.branches
        self._store, self._counts = Path(settings.models.store), {"rgb": branches.rgb.count, "sdf": branches.sdf.count}
        self._questions, self._sizes = questions or TimedQuestions(), dict[Path, int]()

    def champion(self, recipe: str) -> str:
        """Return the version that the champion link names; MdssError says what is there instead of a link to a version."""
        link = self._store / recipe / CHAMPION
        try:
            version, is_there = self._questions.ask(lambda: (str(link.readlink()), link.is_dir()), link)
        except FileNotFoundError as error:
            raise MdssError(f"{link}: no such model; {champion_expected(self._store, recipe)}") from error
        except OSError as error:
            raise MdssError(f"{link}: cannot be read ({error.strerror}); expected a link to a version") from error
        if not VERSION.fullmatch(version) or not is_there:
            raise MdssError(f"{link}: found a link to {version}, expected one to a version beside it")
        return version

    def nbytes(self, recipe: str, version: str) -> int:
        """Return how many bytes a version takes in memory: its weights, once per process that holds them; 0 if they cannot be read."""
        folder = self._store / recipe / version
        if folder not in self._sizes:
            try:
                self._sizes[folder] = self._questions.ask(lambda: self._size(folder), folder)
            except (OSError, MdssError):  # the process that loads it will report why
                return 0
        return self._sizes[folder]

    def _size(self, folder: Path) -> int:
        return sum((folder / f"{branch}.safetensors").stat().st_size * count for branch, count in self._counts.items())
