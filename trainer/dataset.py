"""A folder of scans in the layout of MVTec 3D-AD: lists them, and reads one or says in a sentence why it cannot.

train/good/{rgb,xyz}, validation/good/{rgb,xyz}, test/KIND/{rgb,xyz,gt}; the files of one scan share their stem.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mdss.errors import BadInput, some_of, written_out
from mdss.method.grid import is_measured
from mdss.method.point_cloud import PLAUSIBLE_MM, is_plausible, scene_extent
from mdss.scans import CLOUD_SUFFIXES, IMAGE_SUFFIXES, by_stem, check_name, read_scan, read_truth, size, without_partner
from mdss.settings_types import LARGEST_SIDE_PX, SMALLEST_SIDE_PX
from trainer.missing_marks import mark_in

Unit = Literal["m", "mm"]
Split = Literal["train", "validation", "test"]

GOOD = "good"
PARTNERS = {"rgb": IMAGE_SUFFIXES, "xyz": CLOUD_SUFFIXES}  # the folders that hold one file of each scan
TRUTH = "gt"
TRUTH_SUFFIXES = (".png", ".tif", ".tiff")
LAYOUT = "train/good, validation/good and test/KIND"
MOST_NAMED = 5  # names repeated in a sentence
MM_PER_UNIT = {"m": 1000.0, "mm": 1.0}


@dataclass(frozen=True)
class Scan:
    """The paths of one recorded scan; `truth_path` is None if nothing is marked."""

    split: Split
    kind: str
    name: str
    rgb_path: Path
    xyz_path: Path
    truth_path: Path | None = None

    @property
    def is_good(self) -> bool:
        """Return whether the part is of the kind that has no defect."""
        return self.kind == GOOD

    @property
    def part_id(self) -> str:
        """Return KIND/NAME, the part id of a replayed scan, too."""
        return f"{self.kind}/{self.name}"


@dataclass(frozen=True)
class LoadedScan:
    """One scan in memory."""

    scan: Scan
    rgb: NDArray[np.uint8]  # (H, W, 3)
    xyz_mm: NDArray[np.float32]  # (H, W, 3), NaN where nothing was measured
    truth: NDArray[np.bool_]  # (H, W), all False where nothing is marked


@dataclass(frozen=True)
class Dataset:
    """The scans of one product; files are read one scan at a time."""

    root: Path
    unit: Unit
    train: list[Scan]
    validation: list[Scan]
    test: list[Scan] = field(default_factory=list)

    @classmethod
    def open(cls, root: Path, unit: Unit, needs: Collection[str] = ("train", "validation")) -> Dataset:
        """List the scans under `root`. BadInput if a folder, or a file's partner, is missing in a split of `needs`.

        Of the other splits, only complete scans are listed: a training does not look at the test split, nor an evaluation at the
        validation split.
        """
        if not root.is_dir():
            raise BadInput(f"{root}: no such folder; expected {LAYOUT} in it")
        if not any((root / split).is_dir() for split in get_args(Split)):
            raise BadInput(f"{root}: found {_some_in(root)}, expected {LAYOUT}")
        if unit not in get_args(Unit):
            raise BadInput(f"unit: found {unit!r}, expected m or mm")
        return cls(root, unit, *(_scans(root, split, split in needs) for split in get_args(Split)))

    @property
    def has_truth(self) -> bool:
        """Return whether a defect in any test scan is marked."""
        return any(scan.truth_path is not None for scan in self.test if not scan.is_good)

    @property
    def digest(self) -> str:
        """Return a checksum over names and sizes of the files of train and validation; other scans give another one."""
        files = [path for scan in (*self.train, *self.validation) for path in (scan.rgb_path, scan.xyz_path)]
        sizes = [(str(path.relative_to(self.root)), path.stat().st_size) for path in files]
        return hashlib.sha256(repr(sizes).encode()).hexdigest()[:16]

    def unread_folder_sentences(self) -> list[str]:
        """Return a sentence on each split that has folders beside that of good parts, which nothing is learned from."""
        found = {split: [path.name for path in _folders(self.root / split) if path.name != GOOD] for split in ("train", "validation")}
        expected = f"expected {GOOD} alone: nothing else is learned from"
        return [f"{self.root / split}: found {some_of(names, MOST_NAMED)} as well, {expected}" for split, names in found.items() if names]

    def relative_names(self, scans: Sequence[Scan]) -> tuple[str, ...]:
        """Return the names of scans, relative to the root, as a training's plan lists them."""
        return tuple(str(scan.rgb_path.relative_to(self.root)) for scan in scans)

    def without(self, names: Collection[str]) -> Dataset:
        """Return the dataset without scans of these names in train and validation."""
        train, validation = ([scan for scan in side if scan.name not in names] for side in (self.train, self.validation))
        return replace(self, train=train, validation=validation)

    def load(self, scan: Scan) -> LoadedScan:
        """Read one scan into millimetres. BadInput names the file, what was found and what was expected."""
        return load_scan(scan, self.unit)


def load_scan(scan: Scan, unit: Unit) -> LoadedScan:
    """Read a scan whose cloud has this unit into millimetres. BadInput names the file, what was found and what was expected."""
    rgb, stored = read_scan(scan.rgb_path, scan.xyz_path)
    if min(rgb.shape[:2]) < SMALLEST_SIDE_PX:  # larger ones are refused before they are decoded
        raise BadInput(f"{scan.rgb_path}: found {size(rgb)} px, expected {SMALLEST_SIDE_PX} to {LARGEST_SIDE_PX} on each side")
    return LoadedScan(scan, rgb, to_millimetres(stored, unit, scan.xyz_path), _truth(scan, rgb.shape[:2]))


def _some_in(folder: Path, nothing: str = "nothing in it") -> str:
    """Return a few names from a folder, so that a person sees that it is another one than the right one, or holds other files."""
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    return some_of(names, MOST_NAMED) or nothing


def to_millimetres(stored: NDArray[np.floating], unit: Unit, path: Path) -> NDArray[np.float32]:
    """Return the cloud in mm, NaN where nothing was measured: at (0, 0, 0), at NaN, and at points farther off than anything can be.

    Whether any point, or a part, is among them is checked later (`prepare`).
    """
    with np.errstate(over="ignore"):
        xyz_mm = stored.astype(np.float32) * np.float32(MM_PER_UNIT[unit])  # the camera wire rounds in the same way
    there = np.isfinite(xyz_mm).all(axis=2) & (stored != 0).any(axis=2)
    measured = there & is_measured(xyz_mm)
    _check_extent(stored[measured if measured.any() else there].astype(np.float64), unit, path)  # if all are too far off, the unit is wrong
    xyz_mm[~measured] = np.nan
    return xyz_mm


def _check_extent(points: NDArray[np.float64], unit: Unit, path: Path) -> None:
    extent = scene_extent(points) if len(points) else 0.0
    other: Unit = "mm" if unit == "m" else "m"
    if extent and not is_plausible(extent * MM_PER_UNIT[unit]):
        found = f"found a scene of {written_out(extent)} {unit}, expected {PLAUSIBLE_MM[0]:g} mm to {PLAUSIBLE_MM[1] / 1000:g} m"
        hint = f"unit {other} would fit" if is_plausible(extent * MM_PER_UNIT[other]) else "neither m nor mm fits"
        raise BadInput(f"{path}: {found}; {mark_in(points, np.ones(len(points), np.bool_)) or hint}")


def _truth(scan: Scan, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    if scan.truth_path is None:
        return np.zeros(shape, np.bool_)
    truth = read_truth(scan.truth_path)
    if truth.shape != shape:
        raise BadInput(f"{scan.truth_path}: found {size(truth)} px, expected {shape[0]} x {shape[1]} px as {scan.rgb_path}")
    if scan.is_good and truth.any():
        raise BadInput(f"{scan.truth_path}: found {np.count_nonzero(truth)} marked pixels, expected none on a good part")
    return truth


@dataclass(frozen=True)
class KindFolder:
    """The files of one folder of parts, by stem; only the test split has masks."""

    folder: Path
    images: dict[str, Path]
    clouds: dict[str, Path]
    truths: dict[str, Path]

    @classmethod
    def of(cls, folder: Path, split: Split) -> KindFolder:
        """List the folder's files."""
        images, clouds = (by_stem(folder / name, suffixes) for name, suffixes in PARTNERS.items())
        return cls(folder, images, clouds, by_stem(folder / TRUTH, TRUTH_SUFFIXES) if split == "test" else {})

    def scans(self, split: Split) -> list[Scan]:
        """Return the scans that have both an image and a cloud."""
        for path in (*self.images.values(), *self.clouds.values()):
            check_name(path)
        whole = sorted(self.images.keys() & self.clouds.keys())
        return [Scan(split, self.folder.name, stem, self.images[stem], self.clouds[stem], self.truths.get(stem)) for stem in whole]

    def check(self, is_marked: bool) -> None:
        """Refuse a folder without scans, a file without its partner, and a defect without a mask if `is_marked` says that some have one."""
        images, truths = self.images, self.truths
        for (name, suffixes), found in zip(PARTNERS.items(), (images, self.clouds), strict=True):
            _check_files(self.folder / name, found, suffixes)
        _check_letters(sorted(self.folder.iterdir()), TRUTH, "what is marked on defects would not be looked at")
        for stem in sorted(images.keys() ^ self.clouds.keys()):
            lone, missing = (images[stem], "xyz") if stem in images else (self.clouds[stem], "rgb")
            raise without_partner(lone, self.folder / missing, PARTNERS[missing])
        for stem in sorted(truths.keys() - images.keys()):
            raise without_partner(truths[stem], self.folder / "rgb", IMAGE_SUFFIXES)
        _check_links((*images.values(), *self.clouds.values(), *truths.values()))
        unmarked = sorted(images.keys() - truths.keys())
        if is_marked and self.folder.name != GOOD and unmarked:
            raise BadInput(f"{self.folder / TRUTH / unmarked[0]}.png: no such file; expected the ground truth of {images[unmarked[0]]}")


def _scans(root: Path, split: Split, is_needed: bool) -> list[Scan]:
    folder = root / split
    if not folder.is_dir():
        if is_needed:
            raise BadInput(f"{folder}: no such folder; expected {'KIND/{rgb,xyz,gt}' if split == 'test' else 'good/{rgb,xyz}'} in it")
        return []
    found = _folders(folder)
    kinds = [KindFolder.of(each, split) for each in (found if split == "test" else [folder / GOOD])]
    if is_needed:
        _check(folder, kinds)
    return [scan for kind in kinds for scan in kind.scans(split)]


def _folders(folder: Path) -> list[Path]:
    found = _folders_in(folder)
    _check_letters(found, GOOD, "any other name is that of a kind of defect")
    return found


def _folders_in(folder: Path) -> list[Path]:
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted(path for path in found if path.is_dir() and not path.name.startswith("."))


def _check_letters(found: Sequence[Path], name: str, why: str) -> None:
    """Refuse a folder whose name differs from this one only in capital letters: it would be passed over."""
    for path in found:
        if path.name != name and path.name.casefold() == name:
            raise BadInput(f"{path}: found {path.name!r}, expected {name!r} in small letters: {why}")


def _check(folder: Path, kinds: Sequence[KindFolder]) -> None:
    if not kinds:
        raise BadInput(f"{folder}: found no folders, expected one for each kind of part")
    is_marked = any((kind.folder / TRUTH).is_dir() for kind in kinds if kind.folder.name != GOOD)
    for kind in kinds:
        kind.check(is_marked)


def _check_links(paths: Sequence[Path]) -> None:
    for path in paths:
        if path.is_symlink() and not path.exists():
            raise BadInput(f"{path}: found a link to {path.readlink()}, which is not there; expected a file")


def _check_files(folder: Path, found: dict[str, Path], suffixes: tuple[str, ...]) -> None:
    if not folder.is_dir():
        _check_letters(_folders_in(folder.parent), folder.name, "what lies in it would not be found")
        raise BadInput(f"{folder}: no such folder; expected {', '.join(suffixes)} files in it")
    if not found:
        raise BadInput(f"{folder}: found {_some_in(folder, 'no files')}, expected {', '.join(suffixes)}")
