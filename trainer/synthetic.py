"""Verb `mdss synthetic`: makes a line of synthetic parts in the layout of MVTec 3D-AD."""

from __future__ import annotations

from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
import tifffile

from mdss.errors import BadInput, MdssError
from mdss.settings_types import LARGEST_SIDE_PX, SMALLEST_SIDE_PX
from mdss.verb_options import FiniteRange
from mdss.whole_files import as_json, filled_folder, is_free, named_as
from trainer.dataset import GOOD, MM_PER_UNIT, Split, Unit
from trainer.progress import tracked
from trainer.synthetic_camera import View
from trainer.synthetic_defects import KINDS
from trainer.synthetic_products import PRODUCTS
from trainer.synthetic_scan import SyntheticScan, draw_scan

CARD = "line.json"
EXAMPLE = "Example: mdss synthetic --product flange --out data/flange --seed 1 --defective 40"


@dataclass(frozen=True)
class LineSize:
    """How many parts a line has; the defective ones are spread evenly over the kinds."""

    train: int = 60
    validation: int = 30
    good: int = 40
    defective: int = 20


@dataclass(frozen=True)
class Line:
    """What to make: parts of one product, as one camera sees them."""

    product: str
    seed: int
    size: LineSize = field(default_factory=LineSize)
    view: View = field(default_factory=View)
    kinds: tuple[str, ...] = tuple(KINDS)

    def counts(self) -> dict[tuple[Split, str], int]:
        """Return the number of scans in each folder."""
        size, kinds = self.size, self.kinds
        counts: dict[tuple[Split, str], int] = {
            ("train", GOOD): size.train,
            ("validation", GOOD): size.validation,
            ("test", GOOD): size.good,
        }
        for i, kind in enumerate(kinds):
            counts["test", kind] = size.defective // len(kinds) + (i < size.defective % len(kinds))
        return {folder: count for folder, count in counts.items() if count}

    def scan(self, split: Split, kind: str, index: int) -> SyntheticScan:
        """Draw one scan. It has its own seed, so that neither counts nor other kinds change it."""
        name = f"{self.product}/{split}/{kind}/{index}"
        return draw_scan(self.product, kind, self.view, [self.seed, *name.encode()])


def write_line(line: Line, out: Path) -> None:
    """Write the line into a new or empty folder, whole or not at all."""
    _check(line, out)
    scans = [(split, kind, index) for (split, kind), count in line.counts().items() for index in range(count)]
    card = {
        "product": line.product,
        "seed": line.seed,
        "view": line.view,
        "counts": {f"{split}/{kind}": count for (split, kind), count in line.counts().items()},
    }
    with filled_folder(out) as partial, named_as(out, partial):
        for split, kind, index in tracked(scans, f"synthetic {line.product}"):
            write_scan(partial / split / kind, f"{index:03d}", line.scan(split, kind, index), line.view.unit, has_truth=split == "test")
        (partial / CARD).write_bytes(as_json(card))


def _check(line: Line, out: Path) -> None:
    if line.product not in PRODUCTS:
        raise BadInput(f"product: found {line.product!r}, expected one of {', '.join(PRODUCTS)}")
    if unknown := [kind for kind in line.kinds if kind not in KINDS]:
        raise BadInput(f"kinds: found {unknown[0]!r}, expected some of {', '.join(KINDS)}")
    if twice := [kind for kind in line.kinds if line.kinds.count(kind) > 1]:
        raise BadInput(f"kinds: found {twice[0]!r} twice, expected each once")
    if not line.kinds:
        raise BadInput(f"kinds: found none, expected some of {', '.join(KINDS)}")
    if not line.counts():
        raise BadInput("train, validation, good, defective: found 0 parts in all, expected at least one")
    if not is_free(out):
        raise BadInput(f"{out}: found {'files in it' if out.is_dir() else 'a file'}, expected a new or empty folder")


def write_scan(folder: Path, name: str, scan: SyntheticScan, unit: Unit, *, has_truth: bool) -> None:
    """Write the files of one scan, with (0, 0, 0) for points that were not measured."""
    for part in ("rgb", "xyz", "gt") if has_truth else ("rgb", "xyz"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    _write_png(folder / "rgb" / f"{name}.png", scan.rgb[..., ::-1])
    stored = np.nan_to_num(scan.xyz_mm, nan=0.0) / np.float32(MM_PER_UNIT[unit])
    tiff = BytesIO()  # on a full disk, tifffile's own error would name neither file nor reason
    tifffile.imwrite(tiff, stored.astype(np.float32), photometric="rgb", metadata=None)
    (folder / "xyz" / f"{name}.tiff").write_bytes(tiff.getvalue())
    if has_truth:
        _write_png(folder / "gt" / f"{name}.png", scan.truth.astype(np.uint8) * 255)


def _write_png(path: Path, image: np.ndarray[Any, np.dtype[np.uint8]]) -> None:
    is_coded, png = cv2.imencode(".png", np.ascontiguousarray(image))  # cv2.imwrite fails in a folder whose name is not UTF-8
    if not is_coded:
        raise MdssError(f"{path}: found an image {image.shape} that is no PNG")
    path.write_bytes(png.tobytes())


@click.command(epilog=EXAMPLE)
@click.option("--product", type=click.Choice(list(PRODUCTS)), required=True, help="What the parts are.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="A new or empty folder.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="The same seed gives the same files.")
@click.option("--train", type=click.IntRange(0), default=60, show_default=True, help="Good parts to train on.")
@click.option("--validation", type=click.IntRange(0), default=30, show_default=True, help="Good parts to calibrate on.")
@click.option("--good", type=click.IntRange(0), default=40, show_default=True, help="Good parts to test with.")
@click.option("--defective", type=click.IntRange(0), default=20, show_default=True, help="Defective parts, spread over the kinds.")
@click.option("--kinds", default=",".join(KINDS), show_default=True, help="Kinds of defects, separated by commas.")
@click.option(
    "--height", type=click.IntRange(SMALLEST_SIDE_PX, LARGEST_SIDE_PX), default=300, show_default=True, help="Of a scan, in pixels."
)
@click.option(
    "--width", type=click.IntRange(SMALLEST_SIDE_PX, LARGEST_SIDE_PX), default=300, show_default=True, help="Of a scan, in pixels."
)
@click.option("--unit", type=click.Choice(["m", "mm"]), default="m", show_default=True, help="What the xyz tiffs hold.")
@click.option("--tilt-deg", type=FiniteRange(0, 15), default=1.0, show_default=True, help="How far the table is tilted.")
def command(**options: Any) -> None:
    """Make a line of synthetic parts: train/good, validation/good, test/good and test/KIND, with the truth of each test scan."""
    view = View(options["height"], options["width"], options["unit"], options["tilt_deg"])
    size = LineSize(*(options[name] for name in ("train", "validation", "good", "defective")))
    kinds = tuple(filter(None, (kind.strip() for kind in options["kinds"].split(","))))
    line = Line(options["product"], options["seed"], size, view, kinds)
    write_line(line, options["out"])
    click.echo(f"{options['out']}: {sum(line.counts().values())} scans of a {line.product}, {size.defective} of them defective")
