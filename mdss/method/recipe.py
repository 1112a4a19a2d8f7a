"""Every setting of the method, one field for each point that the paper leaves open (docs/method.md gives the reasons)."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
BelowOne = Annotated[float, msgspec.Meta(ge=0.0, lt=1.0)]
Count = Annotated[int, msgspec.Meta(ge=1, le=10_000_000)]  # this limit and the next three refuse a slip before memory runs out
Size = Annotated[int, msgspec.Meta(ge=1, le=10_000)]
Density = Annotated[float, msgspec.Meta(gt=0.0, le=1000.0)]
Blur = Annotated[float, msgspec.Meta(ge=0.0, le=100.0)]
Seed = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]  # the range that both numpy and torch take
Positive = Annotated[float, msgspec.Meta(gt=0.0)]
NotNegative = Annotated[float, msgspec.Meta(ge=0.0)]
Warmup = Annotated[int, msgspec.Meta(ge=0, le=10_000_000)]
Optimiser = Literal["adam", "muon"]
Schedule = Literal["cosine", "constant"]
AskedAt = Literal["every_pixel", "checkerboard"]
Learning = Literal["auto", "bfloat16"]
Scores = Literal["float", "int8"]


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the recipe's sections."""


GENERATED = "generated"  # in the place of a folder of photographs: pictures that the training draws itself


class PointCloudSettings(Settings, frozen=True):
    """How the part is found in a scan."""

    size_px: Annotated[int, msgspec.Meta(ge=64, le=1024, multiple_of=4)] = 256
    enlarged_by: Literal["repeating", "interpolating"] = "repeating"  # as in models made before this setting existed
    table: Literal["auto", "none"] = "auto"
    border_px: Size = 10
    hypotheses: Count = 300
    plane_inlier_mm: Positive = 4.0
    plane_removal_mm: Positive | None = None
    min_component_px: Count = 24
    dilation_px: Size = 8
    enclosed_gaps: Literal["background", "part"] = "background"  # as in models made before this setting existed
    blacken_background: bool = False
    seed: Seed = 0


class ColourSettings(Settings, frozen=True):
    """The student-teacher branch."""

    teacher: str = "default"
    teacher_statistics: Literal["foreground", "all"] = "foreground"
    student_width: Annotated[float, msgspec.Meta(ge=0.05, le=4.0)] = 0.5
    optimiser: Optimiser = "adam"  # as in models made before this setting existed
    steps: Count = 4000
    batch: Size = 8
    window_px: Annotated[int, msgspec.Meta(ge=48, le=1024, multiple_of=4)] | None = 96
    shift_every: Count | None = 500
    learning_rate: Positive = 1e-3
    weight_decay: NotNegative = 0.0
    warmup_steps: Warmup = 100
    schedule: Schedule = "cosine"
    averaged: BelowOne = 0.0
    light_variation: Share = 0.0
    turned: bool = False
    turned_deg: Annotated[float, msgspec.Meta(gt=0.0, le=180.0)] = 90.0
    turned_last: Share = 0.0
    penalty_photographs: str | None = None
    factor_first: BelowOne = 0.5
    factor_last: BelowOne = 0.999
    factor_every: Literal["step", "epoch"] = "step"
    quantile_domain: Literal["batch", "image"] = "batch"
    mask_training: bool = True
    mask_scoring: bool = True
    mask_sampling: Literal["nearest", "area", "any"] = "nearest"
    border: Literal["reflect", "zero"] = "reflect"
    distance: Literal["squared", "absolute"] = "squared"
    # The next six defaults are those of models made before these settings existed.
    levelling: NotNegative = 0.0
    median_share: Share = 0.0
    by_contrast: bool = False
    by_border: bool = False
    by_surroundings: Share = 0.0
    scores_in: Scores = "float"
    blur_px: Blur = 4.0


class ShapeSettings(Settings, frozen=True):
    """The signed distance branch."""

    points_per_patch: Annotated[int, msgspec.Meta(ge=16, le=10_000)] = 200
    density: Density = 3.0
    # The next six defaults are those of models made before these settings existed.
    blind_spot: Annotated[int, msgspec.Meta(ge=0)] = 0
    asked_in: Count | None = None
    asked_at: AskedAt = "every_pixel"
    by_rim: bool = False
    voids_by_rim: bool = False
    by_border: bool = False
    training_density: Density = 3.0
    training_scans: Count | None = None
    turned: bool = False
    frame: Literal["camera", "upright"] = "upright"
    scale: Literal["extent", "fixed"] = "extent"
    fixed_scale_mm: Positive = 10.0
    score_unit: Literal["scale", "mm", "usual_mm"] = "usual_mm"
    encoder: Annotated[tuple[Size, ...], msgspec.Meta(min_length=1)] = (64, 128, 128)
    octaves: Annotated[int, msgspec.Meta(ge=0, le=8)] = 4
    code: Size = 128
    width: Size = 256
    depth: Annotated[int, msgspec.Meta(ge=1, le=100)] = 4
    loss: Literal["regression", "pull"] = "regression"
    learns_in: Learning = "bfloat16"
    queries: Size = 64
    noise: Positive = 0.15
    damaged_copies: Annotated[int, msgspec.Meta(ge=0, le=20)] = 2
    optimiser: Optimiser = "adam"
    steps: Count = 5000
    batch: Size = 64
    learning_rate: Positive = 3e-3
    weight_decay: NotNegative = 0.0
    warmup_steps: Warmup = 50
    schedule: Schedule = "cosine"
    averaged: BelowOne = 0.0
    sign: Literal["both", "positive", "negative"] = "both"
    overlap: Literal["min", "mean", "mean_size", "nearest_centre"] = "mean"
    void_overlap: Literal["mean", "log_odds"] = "mean"  # as in models made before this setting existed
    void_weight: NotNegative = 0.6
    missing: Literal["zero", "ignore"] = "zero"
    blur_px: Blur = 4.0
    keep_peak: bool = False
    scores_in: Scores = "float"

    def __post_init__(self) -> None:
        """Refuse a blind spot that hides the whole patch, and evidence of missing points with a loss that does not teach it."""
        if self.blind_spot >= self.points_per_patch:
            raise ValueError(f"sdf.blind_spot: found {self.blind_spot} points, expected fewer than the {self.points_per_patch} of a patch")
        if self.loss == "pull" and self.void_weight:
            raise ValueError(
                f"sdf.void_weight: found {self.void_weight:g} with sdf.loss=pull, which teaches nothing of missing points, expected 0"
            )


class FusionSettings(Settings, frozen=True):
    """How the two maps become one score, one map and regions."""

    statistics: Literal["foreground", "all"] = "foreground"
    score: Literal["product", "larger"] = "product"
    score_floor: NotNegative | None = 3.0
    score_agreement: NotNegative = 0.0
    map_floor: NotNegative | None = 1.0
    clip_aligned: bool = False
    blur_px: Blur = 0.0
    min_region_px: Count = 4

    def __post_init__(self) -> None:
        """Refuse `larger` without a floor, and an agreement for a product, which counts shape already."""
        if self.score == "larger" and self.score_floor is None:
            raise ValueError("fusion.score: found 'larger' and no fusion.score_floor, expected a floor, which scores are multiples of")
        if self.score == "product" and self.score_agreement:
            raise ValueError(f"fusion.score_agreement: found {self.score_agreement:g} with a product, expected 0 or fusion.score=larger")


class ThresholdSettings(Settings, frozen=True):
    """The share of good parts that may be rejected, how its limit is found from good validation parts, and the margin above it."""

    false_reject_rate: Annotated[float, msgspec.Meta(gt=0.0, lt=0.5)] = 0.05
    method: Literal["conformal", "lognormal"] = "conformal"
    margin: Annotated[float, msgspec.Meta(ge=1.0, le=100.0)] = 1.0


class Recipe(Settings, frozen=True):
    """All settings that a model is trained and run with; stored in its model.json."""

    preset: str = "edge"
    seed: Seed = 0
    point_cloud: PointCloudSettings = PointCloudSettings()
    rgb: ColourSettings = ColourSettings()
    sdf: ShapeSettings = ShapeSettings()
    fusion: FusionSettings = FusionSettings()
    threshold: ThresholdSettings = ThresholdSettings()
