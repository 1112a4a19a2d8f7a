"""The model store as the daemon sees it: which version is a recipe's champion, and how large a version is; nothing is loaded."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from daemon.patience import Patience
from mdss.errors import MdssError
from mdss.settings import Settings

# What `mdss.method.model_store` keeps to, which no process of the daemon may load: it would bring OpenCV along.
CHAMPION: Final = "champion"
VERSION = re.compile(r"\d{4,}")


class StoredModels:
    """Answers from the disk, each time anew; the size of a version, which never changes, is asked for until it is known."""

    def __init__(self, settings: Settings, patience: Patience | None = None) -> None:
        branches = settings.branches
        self._store, self._counts = Path(settings.models.store), {"rgb": branches.rgb.count, "sdf": branches.sdf.count}
        self._patience, self._sizes = patience or Patience(), dict[Path, int]()

    def champion(self, recipe: str) -> str:
        """Return the version that is to judge a recipe's parts; MdssError says what is there instead of a link to one."""
        link = self._store / recipe / CHAMPION
        try:
            version, is_there = self._patience.ask(lambda: (str(link.readlink()), link.is_dir()), link)
        except FileNotFoundError as error:
            hint = f"expected one made by `mdss train --recipe {recipe} --out {self._store}`"
            raise MdssError(f"{link}: no such model; {hint}") from error
        except OSError as error:
            raise MdssError(f"{link}: cannot be read ({error.strerror}); expected a link to a version") from error
        if not VERSION.fullmatch(version) or not is_there:
            raise MdssError(f"{link}: found a link to {version}, expected one to a version beside it")
        return version

    def nbytes(self, recipe: str, version: str) -> int:
        """Return what a version takes in memory: its weights, once for each process that holds them; 0 where they cannot be read."""
        folder = self._store / recipe / version
        if folder not in self._sizes:
            try:
                self._sizes[folder] = self._patience.ask(lambda: self._size(folder), folder)
            except (OSError, MdssError):  # whoever loads it says why
                return 0
        return self._sizes[folder]

    def _size(self, folder: Path) -> int:
        return sum((folder / f"{branch}.safetensors").stat().st_size * count for branch, count in self._counts.items())
