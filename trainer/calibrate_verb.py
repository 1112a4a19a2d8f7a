"""Verb `mdss calibrate`: gives a champion a new threshold, from good parts or for another false-reject rate, without training."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import msgspec
import numpy as np

from mdss import whole_files
from mdss.errors import BadInput, written_out
from mdss.method import model_store
from mdss.method.calibration import MIN_PARTS, OUTLIER_RATIO, SMALLEST_SCORE, Calibration, percent
from mdss.method.model_store import Change, ModelFolder
from mdss.method.point_cloud import Prepared
from mdss.method.recipe import Recipe
from mdss.verb_options import FiniteRange, reason_option
from trainer.champion import Champion
from trainer.confirmed_parts import MOST_PARTS, NS_PER_DAY, CollectedSource, ConfirmedParts, read_confirmed_parts
from trainer.dataset import Dataset, Unit
from trainer.examination import measure_golden
from trainer.gathering import CALIBRATED, collection_at, gather
from trainer.ignored_content import ignored_content_sentences
from trainer.parts_found import sentences_on
from trainer.train import prepare_all, summary

EXAMPLE = "Example: mdss calibrate --recipe cable_gland --store models --false-reject-rate 0.02 --reason 'too many stops'"
FOLDER = click.Path(path_type=Path)
MOST_DAYS = 36_500  # a hundred years: a start date has to exist
COUNTS = "calibrated_on"  # key of a model card's data
BY_CHANCE = 0.01  # share of calibrations from like scans that are asked all the same; fresh lines of six products came to 0.02 at least
LIMIT_KNOWN = 16  # parts before; of limits from 12 good ones 1.3 % were below a third of that from 30, from 16 0.1 %


@click.command("calibrate", epilog=EXAMPLE)
@click.option("--recipe", required=True, help="Whose champion to calibrate.")
@click.option("--store", required=True, type=FOLDER, help="The model store.")
@click.option("--data", type=FOLDER, help="Dataset with validation/good/{rgb,xyz}.")
@click.option("--unit", type=click.Choice(["m", "mm"]), default="m", show_default=True, help="What the xyz tiffs of --data hold.")
@click.option("--collected", type=FOLDER, help="A station's collected parts: those marked good, and accepted ones that nobody reviewed.")
@click.option("--days", type=FiniteRange(0, MOST_DAYS, min_open=True), help="Only collected parts that were judged in the last DAYS days.")
@click.option("--most", type=click.IntRange(1), help=f"No more collected parts than that, the newest; {MOST_PARTS} when left out.")
@click.option("--with-simulated", is_flag=True, help="Collected parts of simulated frames, too.")
@click.option("--false-reject-rate", "rate", type=FiniteRange(0, 0.5, min_open=True, max_open=True), help="Asked share of good parts.")
@click.option("--method", type=click.Choice(["conformal", "lognormal"]), help="How the limit is found; the recipe's own when left out.")
@click.option("--margin", type=FiniteRange(1, 100), help="How many times the limit that good parts set; 1 is that limit itself.")
@reason_option
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda:N.")
@click.option("--json", "as_json", is_flag=True, help="Print the new champion and its threshold as an object.")
def command(*, as_json: bool, **options: Any) -> None:
    """Score good parts that no training saw, and store the champion with the threshold that follows as a new version.

    Without --data and --collected nothing is scored: the new rate, method or margin is applied to the scores that the champion was
    calibrated on. The new version becomes the champion; `mdss model rollback` takes it back. Both are in `mdss model history`.
    """
    folder, *choices = (options.pop(name) for name in ("collected", "days", "most", "with_simulated"))
    before, model = calibrate(Request(**options, collected=collected_source(folder, *choices)))
    if as_json:
        click.echo(as_json_text(model), nl=False)
    else:
        click.echo(f"{summary(model)}\n{change_sentence(before, model)}")


def collected_source(folder: Path | None, days: float | None, most: int | None, with_simulated: bool) -> CollectedSource | None:
    """Return which collected parts to take; None for none. BadInput for a choice among collected parts where there are none."""
    if folder is None:
        chosen = {"--days": days, "--most": most, "--with-simulated": with_simulated}
        if given := [name for name, value in chosen.items() if value]:
            raise BadInput(f"{', '.join(given)}: found without --collected, expected it beside a folder of collected parts")
        return None
    since_ns = time.time_ns() - round(days * NS_PER_DAY) if days else 0
    return CollectedSource(folder, since_ns, most or MOST_PARTS, with_simulated)


@dataclass(frozen=True)
class Request:
    """Which champion to calibrate, on which parts; None keeps the recipe's setting."""

    recipe: str
    store: Path
    data: Path | None = None
    unit: Unit = "m"
    collected: CollectedSource | None = None
    rate: float | None = None
    method: str | None = None
    margin: float | None = None
    reason: str = ""
    device: str = "auto"

    @property
    def has_parts(self) -> bool:
        """Return whether there are parts to score."""
        return self.data is not None or self.collected is not None

    @property
    def changes(self) -> dict[str, Any]:
        """Return the recipe's threshold settings that change."""
        asked = {"false_reject_rate": self.rate, "method": self.method, "margin": self.margin}
        return {name: value for name, value in asked.items() if value is not None}


def calibrate(request: Request) -> tuple[ModelFolder, ModelFolder]:
    """Return the champion before, and the recalibrated one, promoted. BadInput if the request names nothing to do."""
    from trainer.model_maker import store_recalibrated  # imported here, so that `--help` does not wait for torch

    if not request.has_parts and not request.changes:
        raise BadInput("calibrate: found nothing to go by, expected --data, --collected, --false-reject-rate, --method or --margin")
    model = model_store.open_champion(request.store, request.recipe)
    threshold = msgspec.structs.replace(model.recipe.threshold, **request.changes)
    settings = msgspec.structs.replace(model.recipe, threshold=threshold)
    calibration, facts = from_scored_parts(request, model, settings) if request.has_parts else from_known_scores(model, settings)
    card = msgspec.structs.replace(model.card, recipe=settings, data=model.card.data | facts)
    finished = store_recalibrated(model, card, calibration, request.store)
    change = Change("calibrate", history_entry(model, finished, request.reason), instead_of=model.version)
    return model, model_store.promote(request.store, request.recipe, finished.version, change)


def as_json_text(model: ModelFolder) -> str:
    """Return the new champion and its threshold as JSON."""
    found = model.calibration
    content = {"recipe": model.name, "version": model.version, "threshold": found.threshold, "map_level": found.map_level}
    return whole_files.as_json(content).decode()


def from_known_scores(model: ModelFolder, settings: Recipe) -> tuple[Calibration, dict[str, Any]]:
    """Return the calibration from the scores that the model brings along, and the entry for its card."""
    from trainer.calibrate import with_threshold

    counts = model.card.data.get(COUNTS, {"validation": len(model.calibration.validation_scores)})
    known = ConfirmedParts(reviewed=counts.get("marked_good", 0), accepted=counts.get("accepted", 0))
    return with_collection_note(with_threshold(model.calibration, settings.threshold), known), {COUNTS: counts}


def from_scored_parts(request: Request, model: ModelFolder, settings: Recipe) -> tuple[Calibration, dict[str, Any]]:
    """Return the calibration from scoring parts, and the entries for the card: how many of each kind, and which ones."""
    from trainer.calibrate import calibration_of, maps_of

    champion = Champion.of(model, request.device)
    parts, names = [], []
    if request.data is not None:
        dataset = without_defects(Dataset.open(request.data, request.unit, needs=("validation",)), request)
        parts += prepare_all(dataset, dataset.validation, settings)
        names += [scan.name for scan in dataset.validation]
        print_findings(parts, dataset, model)
    collected = read_confirmed_parts(request.collected, model, settings, frozenset(names)) if request.collected else ConfirmedParts()
    counts = {"validation": len(parts), "marked_good": collected.reviewed, "accepted": collected.accepted}
    parts, names = parts + collected.parts, names + collected.names
    if len(parts) < MIN_PARTS:
        places = " and ".join(f"{each}" for each in (request.data, request.collected and request.collected.folder) if each)
        raise BadInput(f"{places}: found {len(parts)} good parts to calibrate on, expected at least {MIN_PARTS}")
    found = calibration_of(maps_of(parts, champion.colour_map, champion.shape_map), settings, parts, names)
    question = rise_sentence(found, model.calibration) or unlike_sentence(found, model, counts["validation"])
    noted = msgspec.structs.replace(found, threshold=found.threshold.with_note(question))
    return with_collection_note(noted, collected), {COUNTS: counts, CALIBRATED: names}


def without_defects(dataset: Dataset, request: Request) -> Dataset:
    """Return the dataset without scans that a person has called defects since `mdss collection export` wrote them as good."""
    if request.collected is None:
        return dataset
    left = dataset.without(gather(collection_at(request.collected.folder), request.recipe).bad)
    if gone := len(dataset.validation) - len(left.validation):
        why = "somebody has called them, or another scan of the part, defects"
        click.echo(f"calibrate: {gone} scans of {dataset.root / 'validation'} are left out: {why}", err=True)
    return left


def print_findings(parts: Sequence[Prepared], dataset: Dataset, model: ModelFolder) -> None:
    """Tell a person what the validation scans show, and whether it looks like the model's product."""
    sources = [(dataset, scan) for scan in dataset.validation]
    found = sentences_on(parts, [scan.xyz_path for _, scan in sources], measure_golden(model))
    for sentence in (*found, *ignored_content_sentences(sources, model.recipe.point_cloud)):
        click.echo(f"{model.name}: {sentence}", err=True)


def rise_sentence(after: Calibration, before: Calibration) -> str:
    """Return a sentence about a branch's limit that rose by more than chance explains, which the threshold does not show; else ""."""
    return score_rise_sentence(after, before) or limit_rise_sentence(after, before)


def limit_rise_sentence(after: Calibration, before: Calibration) -> str:
    """Return the question about parts of which some lift a branch's limit far above that of the calibration before; "" if none do.

    Defective parts whose scores rise in small steps hide each other, so no single one stands out; but they lift the limit. From 5 to 12
    good parts of a line, the limit was at most 2.9 times that from 30 of them.
    """
    pairs = ("colour", after.colour_limit, before.colour_limit), ("shape", after.score_floor, before.score_floor)
    times = {branch: new / old for branch, new, old in pairs if old}
    branch = most_risen_branch(times)
    if not branch or len(before.validation_scores) < LIMIT_KNOWN:
        return ""
    return f"the limit of {branch} is {times[branch]:.0f} times that of the calibration before: are all these parts good?"


def score_rise_sentence(after: Calibration, before: Calibration) -> str:
    """Return in which branch these parts score far above those of the calibration before, whose limit rose as much; "" if in none.

    The threshold does not show it, because scores are measured in that limit.
    """
    if after.reference is None or before.reference is None:
        return ""
    pairs = ("colour", after.reference.rgb, before.reference.rgb), ("shape", after.reference.sdf, before.reference.sdf)
    times = {branch: float(np.median(new) / max(np.median(old), SMALLEST_SCORE)) for branch, new, old in pairs}
    branch = most_risen_branch(times)
    if not branch:
        return ""
    found = f"in {branch} these parts score {times[branch]:.0f} times as high as the good ones of the calibration before"
    return f"{found}, and so much more has to be wrong with a defect: where they are good, train on such parts"


def most_risen_branch(times: Mapping[str, float]) -> str:
    """Return the branch that rose most; "" if none rose by more than chance explains."""
    branch = max(times, key=lambda each: times[each], default="")
    return branch if branch and times[branch] > OUTLIER_RATIO else ""


def unlike_sentence(after: Calibration, model: ModelFolder, scans: int) -> str:
    """Return the question about these parts' scans of --data, the first ones, if so many score above all parts of before; "" if not.

    Collected parts are not asked about, nor compared with: the station kept those that it accepted, and people marked some of the others.
    """
    before = model.calibration.reference
    if after.reference is None or before is None or model.card.data.get(COUNTS, {}).get("accepted"):
        return ""
    pairs = ("colour", after.reference.rgb, before.rgb), ("shape", after.reference.sdf, before.sdf)
    for branch, new, old in pairs:
        above = sum(score > max(old) for score in new[:scans])
        if chance_above_all(above, scans, len(old)) < BY_CHANCE / len(pairs):
            found = f"in {branch} {above} of {scans} scans score above every good part of the calibration before"
            return f"{found}, by chance less than once in {1 / BY_CHANCE:.0f} times: are all of this product, and in the same light?"
    return ""


def chance_above_all(above: int, count: int, before: int) -> float:
    """Return how likely at least `above` of `count` parts score above all of the parts `before`, if these are like them.

    All orders of their scores are equally likely then, however the scores are distributed. So nothing is assumed of them.
    """
    return math.comb(before + count - above, before) / math.comb(before + count, before)


def with_collection_note(calibration: Calibration, collected: ConfirmedParts) -> Calibration:
    """Return the calibration with a note on what its collected parts leave unknown."""
    return msgspec.structs.replace(calibration, threshold=calibration.threshold.with_note(collected.note))


def change_sentence(before: ModelFolder, after: ModelFolder) -> str:
    """Return the line that tells a person what the threshold was before, and how far it moved."""
    old, new = before.calibration.threshold.value, after.calibration.threshold.value
    return f"threshold before {old:.4g} ({before.version}): {how_far_it_moved(old, new)}"


def how_far_it_moved(old: float, new: float) -> str:
    """Return in words how the new threshold compares with the old one; to the digits that are shown, they may be the same."""
    if f"{new:.4g}" == f"{old:.4g}":
        return "the new one is the same"
    lower, higher = sorted((old, new))
    if higher < 2 * lower:
        return f"the new one is {percent(abs(new - old) / old)} {'higher' if new > old else 'lower'}"
    times = written_out(higher / max(lower, SMALLEST_SCORE), 3)
    return f"the new one is {times} times that" if new > old else f"{times} times the new one"


def history_entry(before: ModelFolder, after: ModelFolder, why: str) -> str:
    """Return the entry for the history: how threshold, rate and margin changed, and why."""
    old, new = before.calibration.threshold, after.calibration.threshold
    rates = f"asked false-reject rate {old.asked_false_reject_rate:g} -> {new.asked_false_reject_rate:g}"
    margins = [model.recipe.threshold.margin for model in (before, after)]
    margin = "" if len(set(margins)) == 1 else ", margin {:g} -> {:g}".format(*margins)
    says = f"threshold {old.value:.4g} -> {new.value:.4g}, {rates}{margin}, {new.parts} parts"
    return f"{says}: {why}" if why else says
