"""What `mdss doctor` says of the model store: has every recipe a champion, and does each of its files still have its checksum."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

import msgspec

from daemon.finding import Case, Finding, bad, ok, weak
from daemon.stored_models import CHAMPION
from mdss.errors import UNREADABLE, MdssError

# What `mdss.method.model_store` keeps to, which no process of the daemon may load: it would bring torch along.
SUMS, CARD, FORMAT = "SHA256SUMS", "model.json", "mdss.model.v1"
NEEDED = (CARD, "calibration.json")
WHY: Final = "no part of this recipe can be judged by a model that is missing or damaged, and the station does not start without any"


class Card(msgspec.Struct, frozen=True):
    """Whose model a folder holds."""

    schema: str
    name: str
    version: str


def model_findings(case: Case) -> Iterator[Finding]:
    """Look at the champion of every recipe that frames may name."""
    store = Path(case.settings.models.store)
    for recipe in case.settings.models.recipes:
        subject, folder = f"model {recipe}", store / recipe / CHAMPION
        try:
            count = check(folder)
        except MdssError as error:
            yield bad(subject, str(error), WHY, f"train it, or mdss model rollback --store {store} --recipe {recipe}")
        else:
            yield ok(subject, f"{folder.resolve()}: {count} files have their checksums")
    yield from not_taken(case)


def not_taken(case: Case) -> Iterator[Finding]:
    """Say which recipes the running station judges by another version than the champion, and why."""
    for report in case.report.models if case.report is not None else ():
        if report.reason:
            found = f"the station judges by {report.version or 'nothing'}: {report.reason}"
            why = "what was promoted has no say, or the next start would be without it"
            advice = f"mend what it names, promote another version, or roll back; after a repair: mdss recipe preload {report.recipe}"
            yield weak(f"champion {report.recipe}", found, why, advice)


def check(folder: Path) -> int:
    """Check every file of a champion against its checksum and its card against its place, and return how many files there are.

    MdssError names the first that is off.
    """
    try:
        if not folder.is_dir():
            raise MdssError(f"{folder}: found no model, expected the recipe's champion")
        sums = _sums(folder)
        unsigned = [path.name for path in sorted(folder.glob("*.safetensors")) if path.name not in sums]
        if unsigned:
            raise MdssError(f"{folder / unsigned[0]}: found no checksum of it in {SUMS}")
        for name, expected in sums.items():
            with (folder / name).open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != expected:
                    raise MdssError(f"{folder / name}: found another checksum than {SUMS} has; the file was damaged or replaced")
    except OSError as error:
        raise MdssError(f"{error.filename or folder}: cannot be read ({error.strerror})") from error
    _check_card(folder)
    return len(sums)


def _check_card(folder: Path) -> None:
    """Refuse a model of another release, and one that was put in another's place."""
    version = folder.readlink().name if folder.is_symlink() else folder.name
    expected, path = Card(FORMAT, folder.parent.name, version), folder.parent / version / CARD
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Card)
    except (OSError, *UNREADABLE) as error:
        raise MdssError(f"{path}: {error}; expected the card of {expected.name} {version}") from error
    if found != expected:
        said = f"{found.name} {found.version} ({found.schema})"
        raise MdssError(f"{path}: found the card of {said}, expected that of {expected.name} {version} ({FORMAT})")


def _sums(folder: Path) -> dict[str, str]:
    """Return file -> checksum as SHA256SUMS says, which must name the card and the calibration."""
    pairs = [line.split("  ", 1) for line in (folder / SUMS).read_text("utf-8", errors="replace").splitlines()]
    sums = {pair[-1]: pair[0] for pair in pairs if len(pair) == 2}
    is_inside = all(not name.startswith("/") and ".." not in PurePosixPath(name).parts for name in sums)
    if len(sums) < len(pairs) or not set(NEEDED) <= sums.keys() or not is_inside:
        raise MdssError(f"{folder / SUMS}: found no list of checksums of all files, expected one as `mdss train` writes it")
    return sums
