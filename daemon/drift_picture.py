"""The plot of `mdss drift --plot`: the median of each quantity, block by block, against the range of the reference parts."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mdss import whole_files
from mdss.drift_record import NAMES, QUANTITIES, DriftRecord, Quantity
from mdss.errors import BadInput

SUFFIXES = (".png", ".svg", ".pdf")
LIVE, USUAL, WARNED = "#1d2530", "#5a8f5a", "#b8403a"


def save_trend(record: DriftRecord, path: Path) -> None:
    """Write the trend of one recipe; BadInput if the file's suffix names no picture format."""
    if path.suffix.lower() not in SUFFIXES:
        raise BadInput(f"--plot {path}: expected a name that ends with {', '.join(SUFFIXES)}")
    figure = Figure(figsize=(9, 2 * len(QUANTITIES)), layout="constrained")
    rows = figure.subplots(len(QUANTITIES), 1, sharex=True)
    for axes, name in zip(rows, QUANTITIES, strict=True):
        _draw(axes, record, name)
    rows[-1].set_xlabel(f"part, up to the last that ended a block; each point is the middle of {record.block_parts}")
    figure.suptitle(f"{record.recipe}, model {record.model_version}: live parts beside the {record.reference_parts} of calibration")
    drawn = BytesIO()
    figure.savefig(drawn, format=path.suffix.lower().removeprefix("."))
    whole_files.write_whole(path, drawn.getvalue())


def _draw(axes: Axes, record: DriftRecord, name: Quantity) -> None:
    usual, last = record.reference[name], record.parts - record.parts % record.block_parts
    ends = [last - record.block_parts * behind for behind in reversed(range(len(record.blocks)))]
    axes.axhspan(usual.low, usual.high, color=USUAL, alpha=0.25, label="8 in 10 reference parts")
    axes.axhline(usual.median, color=USUAL)
    axes.plot(ends, [block.medians[name] for block in record.blocks], color=LIVE, marker=".", label="live parts")
    onset = record.warnings.get(name)
    for end, block in zip(ends, record.blocks, strict=True):
        if onset is not None and block.first_result_id == onset.result_id:
            axes.axvline(end - record.block_parts, color=WARNED, label="drift since")
    axes.set_title(NAMES[name], fontsize=10, loc="left")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="upper left")
