"""The rows of the ablation: one for each point that the paper leaves open and that may matter."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from mdss.errors import BadInput


@dataclass(frozen=True)
class Row:
    """One change to the base recipe, and the question that it answers."""

    name: str
    asks: str
    assignments: tuple[str, ...] = ()


BASE = Row("base", "What the preset `edge` reaches as it is.")
ROWS = (
    BASE,
    Row("d-falling", "Does it matter that d rises, or may it fall?", ("rgb.factor_first=0.999", "rgb.factor_last=0.99")),
    Row("d-fixed", "Is a d that moves worth more than one that stands still?", ("rgb.factor_first=0.999", "rgb.factor_last=0.999")),
    Row("d-from-99", "Does a student learn as much that looks at one element in a hundred from the beginning?", ("rgb.factor_first=0.99",)),
    Row(
        "adam",
        "Does Adam, the optimiser of the cited code, learn as much in as many steps?",
        ("rgb.optimiser=adam", "rgb.learning_rate=0.001", "rgb.weight_decay=0"),
    ),
    Row("d-by-epoch", "Does it matter that d changes with every step?", ("rgb.factor_every=epoch",)),
    Row("quantile-by-image", "May each image have a quantile of its own, instead of the whole batch?", ("rgb.quantile_domain=image",)),
    Row("rate-constant", "What does it bring that the learning rate falls?", ("rgb.schedule=constant",)),
    Row("steps-1000", "What do two thirds of the steps of colour lose?", ("rgb.steps=1000",)),
    Row("steps-2200", "What do half as many steps of colour again bring?", ("rgb.steps=2200",)),
    Row("decay-0", "What does it bring that the student's weights decay?", ("rgb.weight_decay=0",)),
    Row(
        "rgb-averaged-20",
        "Does a student find more that ends with the mean of its weights over the last fifth of the steps?",
        ("rgb.averaged=0.2",),
    ),
    Row("rgb-averaged-40", "Or over the last two fifths, as shape does?", ("rgb.averaged=0.4",)),
    Row("rate-halved", "Is half the learning rate as good?", ("rgb.learning_rate=0.005",)),
    Row("windows-anywhere", "What do windows at any pixel bring, at half as much work again?", ("rgb.shift_every=null",)),
    Row("turned", "Does it help to show parts turned, too, ever less often?", ("rgb.turned=true",)),
    Row("turned-always", "Does it help to show them so to the end?", ("rgb.turned=true", "rgb.turned_last=1")),
    Row("light-as-recorded", "What does it bring to see every part in the same light?", ("rgb.levelling=0",)),
    Row("light-varied", "What does it bring to learn from crops whose brightness varies by a tenth?", ("rgb.light_variation=0.1",)),
    Row("median-kept", "What does it bring to take half of a map's own median off?", ("rgb.median_share=0",)),
    Row("surroundings-kept", "What does it bring to compare a place with what the map reaches around it?", ("rgb.by_surroundings=0",)),
    Row("contrast-ignored", "What does it bring to hold edges and highlights to what good parts reach there?", ("rgb.by_contrast=false",)),
    Row("rgb-scores-float", "What do eight bits lose in colour?", ("rgb.scores_in=float",)),
    Row("student-full", "What does the paper's full student bring, at three times the work?", ("rgb.student_width=1",)),
    Row("mask-off-training", "What is lost when the student learns the background, too?", ("rgb.mask_training=false",)),
    Row("mask-off-scoring", "What is lost when the background may score, too?", ("rgb.mask_scoring=false",)),
    Row("mask-area", "May a cell count by the share of the part in it?", ("rgb.mask_sampling=area",)),
    Row("mask-any", "May a cell count as soon as any of the part is in it?", ("rgb.mask_sampling=any",)),
    Row("border-zero", "What does it bring to judge the image's rim of 16 px, too?", ("rgb.border=zero",)),
    Row("distance-absolute", "May absolute differences be learned and scored instead of squares?", ("rgb.distance=absolute",)),
    Row("teacher-statistics-all", "May channels be normalised over whole images?", ("rgb.teacher_statistics=all",)),
    Row("rgb-blur-0", "What does the blur of the colour map bring?", ("rgb.blur_px=0",)),
    Row("rgb-blur-2", "Is half the blur of the colour map enough?", ("rgb.blur_px=2",)),
    Row("rgb-blur-8", "Is twice the blur of the colour map too much?", ("rgb.blur_px=8",)),
    Row("sdf-overlap-min", "May the patches' smallest distance count, as in Shape-Guided?", ("sdf.overlap=min",)),
    Row("sdf-overlap-mean-size", "Does it matter that patches' signs cancel out?", ("sdf.overlap=mean_size",)),
    Row("sdf-overlap-nearest", "May the patch with the nearest centre decide alone?", ("sdf.overlap=nearest_centre",)),
    Row("sdf-asked-in-1", "Is it enough to ask about a point in the nearest patch alone?", ("sdf.asked_in=1",)),
    Row("sdf-asked-in-3", "What does it bring to ask in the three nearest?", ("sdf.asked_in=3",)),
    Row("sdf-asked-in-all", "What does it bring to ask in every patch that holds a point?", ("sdf.asked_in=null",)),
    Row("sdf-asked-everywhere", "What does it bring to ask at every pixel?", ("sdf.asked_at=every_pixel",)),
    Row("sdf-rims-as-others", "What does it bring to hold rims to what good parts reach there?", ("sdf.by_rim=false",)),
    Row(
        "borders-as-others",
        "What does it bring to hold the image's border to what good parts reach there?",
        ("rgb.by_border=false", "sdf.by_border=false"),
    ),
    Row("sdf-density-1", "Is one patch for each point enough?", ("sdf.density=1", "sdf.asked_in=null")),
    Row("sdf-density-2", "Are two patches for each point enough?", ("sdf.density=2", "sdf.asked_in=null")),
    Row("sdf-density-4", "Are four patches for each point better, two of them asked?", ("sdf.density=4",)),
    Row("sdf-density-5", "What do five patches for each point bring?", ("sdf.density=5", "sdf.asked_in=null")),
    Row("sdf-density-10", "What do Shape-Guided's ten patches for each point bring?", ("sdf.density=10", "sdf.asked_in=null")),
    Row("sdf-blur-0", "What does the blur of the shape map bring?", ("sdf.blur_px=0",)),
    Row("sdf-blur-2", "Is half the blur of the shape map enough?", ("sdf.blur_px=2",)),
    Row("sdf-blur-8", "Is twice the blur of the shape map too much?", ("sdf.blur_px=8",)),
    Row("sdf-keep-peak", "May the score be taken before the blur?", ("sdf.keep_peak=true",)),
    Row("sdf-missing-ignore", "May pixels without a point take the mean of those around?", ("sdf.missing=ignore",)),
    Row("sdf-unit-scale", "May distances count in patch lengths?", ("sdf.score_unit=scale",)),
    Row("sdf-unit-mm", "May each patch's distances count in its own millimetres?", ("sdf.score_unit=mm",)),
    Row("sdf-void-weight-0", "What do missing points bring?", ("sdf.void_weight=0",)),
    Row("sdf-voids-as-others", "What does it bring to hold missing points to what good parts reach there?", ("sdf.voids_by_rim=false",)),
    Row("sdf-void-overlap-mean", "May patches agree on a missing point by their mean probability?", ("sdf.void_overlap=mean",)),
    Row("sdf-learns-in-auto", "Does shape lose by more digits where the processor is faster with them?", ("sdf.learns_in=auto",)),
    Row(
        "sdf-adam",
        "Does shape learn as much with Adam, the optimiser of the cited code, in as long?",
        ("sdf.optimiser=adam", "sdf.learning_rate=0.003", "sdf.weight_decay=0", "sdf.steps=5000"),
    ),
    Row("sdf-decay-0", "Does shape learn as much where weights do not die away?", ("sdf.weight_decay=0",)),
    Row("sdf-decay-10", "Should they die away ten times as fast?", ("sdf.weight_decay=1",)),
    Row("sdf-queries-64", "What do twice the questions to a patch of a step bring, at half as much work again?", ("sdf.queries=64",)),
    Row("sdf-averaged-0", "What does the mean of the last steps' weights bring?", ("sdf.averaged=0",)),
    Row(
        "sdf-blind-spot-0",
        "What does it bring that a code is not shown the middle of its patch?",
        ("sdf.blind_spot=0", "sdf.points_per_patch=200"),
    ),
    Row("sdf-blind-spot-100", "Is a wider blind spot better?", ("sdf.blind_spot=100", "sdf.points_per_patch=300")),
    Row("sdf-scale-fixed", "May every patch be divided by one length, of 10 mm, instead of its own?", ("sdf.scale=fixed",)),
    Row("sdf-noise-03", "Is it enough to ask as near the surface as the sensor's own noise reaches?", ("sdf.noise=0.03",)),
    Row("sdf-noise-30", "What does it bring to ask twice as far from the surface?", ("sdf.noise=0.3",)),
    Row("sdf-frame-camera", "What does turning patches level bring?", ("sdf.frame=camera",)),
    Row("sdf-octaves-0", "What do sines and cosines beside the coordinates bring?", ("sdf.octaves=0",)),
    Row("sdf-encoder-1024", "What does Shape-Guided's wide PointNet bring?", ("sdf.encoder=[64,128,1024]",)),
    Row("sdf-scans-20", "Are 20 training scans enough, as many as Shape-Guided takes?", ("sdf.training_scans=20",)),
    Row("sdf-damaged-copies-0", "What does learning from damaged copies bring?", ("sdf.damaged_copies=0",)),
    Row("sdf-loss-pull", "Is the cited pull loss as good? It can't teach missing points.", ("sdf.loss=pull", "sdf.void_weight=0")),
    Row("sdf-scores-float", "What do eight bits lose in shape?", ("sdf.scores_in=float",)),
    Row(
        "nothing-saved",
        "What does all that saves time lose together?",
        ("rgb.scores_in=float", "sdf.scores_in=float", "sdf.asked_in=null", "sdf.asked_at=every_pixel"),
    ),
    Row("sdf-patches-500", "Are patches of 500 points as good?", ("sdf.points_per_patch=500", "sdf.blind_spot=100")),
    Row("score-agreement-0", "What does it bring that shape counts where colour is high?", ("fusion.score_agreement=0",)),
    Row("score-agreement-1", "May shape count as much as colour there?", ("fusion.score_agreement=1",)),
    Row(
        "score-product",
        "Does the paper's plain product rank parts as well?",
        ("fusion.score=product", "fusion.score_floor=null", "fusion.score_agreement=0"),
    ),
    Row(
        "score-product-floor",
        "Does the product with a floor under shape?",
        ("fusion.score=product", "fusion.score_floor=3.5", "fusion.score_agreement=0"),
    ),
    Row("map-floor-none", "Does the paper's maximum of the aligned maps find places as well?", ("fusion.map_floor=null",)),
    Row("aligned-clipped", "May aligned colour be cut off at a shape of 0, as in Shape-Guided?", ("fusion.clip_aligned=true",)),
    Row("fused-blur-4", "Does it bring anything to blur the fused map, too, as Shape-Guided does?", ("fusion.blur_px=4",)),
    Row("statistics-all", "May maps be aligned over the background, too?", ("fusion.statistics=all",)),
)


def teacher_row(teacher: str) -> Row:
    """Return the row of a teacher, given by its path or shipped name."""
    return Row(f"teacher-{Path(teacher).stem}", f"How good is the teacher {teacher}?", (f"rgb.teacher={teacher}",))


def chosen_rows(names: Collection[str], teachers: Sequence[str]) -> tuple[Row, ...]:
    """Return the rows of these names, or all without names; the base always comes first, teachers last."""
    known = (*ROWS, *(teacher_row(teacher) for teacher in teachers))
    every = [row.name for row in known]
    if twice := [teacher for teacher in teachers if every.count(teacher_row(teacher).name) > 1]:
        raise BadInput(f"--teacher {' and '.join(twice)}: found {teacher_row(twice[0]).name} for each, expected files of different names")
    unknown = [name for name in names if name not in every]
    if unknown:
        raise BadInput(f"row {unknown[0]!r}: unknown, expected some of {', '.join(every)}")
    return tuple(row for row in known if not names or row is BASE or row.name in names or row not in ROWS)


def rows_text() -> str:
    """Return every row with its question and settings, as text."""
    width = max(len(row.name) for row in ROWS)
    return "\n".join(f"{row.name:<{width}}  {' '.join((row.asks, *row.assignments))}" for row in ROWS)
