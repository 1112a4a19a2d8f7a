"""Verbs `mdss teacher distil|procedural|import|show`: make, import or show a teacher."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mdss.errors import BadInput
from mdss.whole_files import as_json

if TYPE_CHECKING:
    from mdss.method.description_network import PatchDescriptionNetwork

    Made = tuple[PatchDescriptionNetwork, dict[str, Any]]

SUFFIX = ".safetensors"
OUT = click.Path(path_type=Path, dir_okay=False)
DISTIL_EXAMPLE = "Example: mdss teacher distil --photographs photographs --backbone mobilenet_v2.npz --out my_teacher.safetensors"
LICENCE_UNKNOWN = "as its source says"


@dataclass(frozen=True)
class TeacherOrder:
    """Where to write a teacher, and what may be overwritten."""

    out: Path
    force: bool = False
    resume: bool | None = False  # None for a verb that trains nothing

    @property
    def checkpoint(self) -> Path:
        """Return the path of an unfinished training's checkpoint."""
        return self.out.with_suffix(".checkpoint")

    def check(self) -> None:
        """Refuse options that do not fit together, and what would overwrite something, before any work is done."""
        if self.out.suffix != SUFFIX:
            raise BadInput(f"--out: found {self.out.name}, expected a name ending in {SUFFIX}")
        if self.out.exists() and not self.force:
            raise BadInput(f"{self.out}: exists already; expected a new name, or --force to overwrite it")
        if self.checkpoint.exists() and not self.resume and not self.force:
            ways = "another --out, or --force to give it up" if self.resume is None else "--resume to go on, or --force to begin anew"
            raise BadInput(f"{self.checkpoint}: found an unfinished training; expected {ways}")
        if self.resume and not self.checkpoint.exists():
            raise BadInput(f"{self.checkpoint}: no such file; expected the checkpoint of a training that was stopped")
        self.out.parent.mkdir(parents=True, exist_ok=True)


@dataclass(frozen=True)
class Origin:
    """What the card says about a teacher's origin."""

    kind: str
    source: str
    licence: str


def training_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that both trainings share."""
    options = (
        click.option("--out", required=True, type=OUT, help="The teacher to write; its card lies beside it as .json."),
        click.option("--steps", type=click.IntRange(min=1), help="Training steps instead of the usual number."),
        click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Start of all random numbers."),
        click.option("--resume", is_flag=True, help="Go on from the checkpoint that a stopped run left beside --out."),
        click.option("--force", is_flag=True, help="Overwrite --out, and begin anew where a checkpoint lies."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.group(epilog="Example: mdss teacher show default")
def teacher() -> None:
    """Make, import or show the network that the colour branch learns from."""


@teacher.command(epilog=DISTIL_EXAMPLE, short_help="Distil one from a backbone and photographs.")
@click.option("--photographs", required=True, type=click.Path(path_type=Path), help="A folder of photographs of anything.")
@click.option("--backbone", required=True, type=click.Path(path_type=Path), help="MobileNetV2 weights (.npz), as docs/teachers.md says.")
@click.option("--start", help="Begin with this teacher's weights, a name or a file, instead of random ones.")
@click.option("--licence", default=LICENCE_UNKNOWN, show_default=True, help="What the card says of backbone and photographs.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda:N.")
@training_options
def distil(photographs: Path, backbone: Path, start: str | None, licence: str, **options: Any) -> None:
    """Distil a teacher from a backbone and any folder of photographs.

    Ctrl-C stops after the running step and leaves a checkpoint beside --out.
    """
    order, asked = _order(options)
    from trainer.distil_teacher import Distillation
    from trainer.distil_teacher import distil as make

    settings = Distillation(photographs, backbone, start, device=options["device"], **asked)
    source = f"{backbone.name} on the photographs of {photographs.absolute().name}"
    _deliver(order, Origin("distilled", source, licence), lambda: make(settings, order.checkpoint, anew=not order.resume))


@teacher.command(
    epilog="Example: mdss teacher procedural --out my_teacher.safetensors --seed 1", short_help="Make one from generated pictures alone."
)
@training_options
def procedural(**options: Any) -> None:
    """Make a teacher from generated pictures alone: no photograph, no other network.

    Ctrl-C stops after the running step and leaves a checkpoint beside --out.
    """
    order, asked = _order(options)
    from trainer.procedural_teacher import Procedure, make_procedural

    settings = Procedure(**asked)
    origin = Origin("procedural", "generated pictures", "Apache-2.0")
    _deliver(order, origin, lambda: make_procedural(settings, order.checkpoint, anew=not order.resume))


@teacher.command(
    "import", epilog="Example: mdss teacher import teacher_small.pth --out my_teacher.safetensors", short_help="Import a published one."
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=OUT, help="The teacher to write; its card lies beside it as .json.")
@click.option("--licence", default=LICENCE_UNKNOWN, show_default=True, help="What the card says of the weights.")
@click.option("--force", is_flag=True, help="Overwrite --out, and give up the training whose checkpoint lies beside it.")
def import_file(file: Path, out: Path, licence: str, force: bool) -> None:
    """Import a published PDN-S teacher: EfficientAD's teacher_small.pth or anomalib's file (.pth, .pt, .safetensors)."""
    order = TeacherOrder(out, force, resume=None)
    order.check()
    from trainer.import_teacher import import_teacher

    _deliver(order, Origin("imported", file.name, licence), lambda: import_teacher(file))


@teacher.command(epilog="Example: mdss teacher show default", short_help="Show how one was made.")
@click.argument("name_or_file")
def show(name_or_file: str) -> None:
    """Show a teacher's card: how it was made, on what, how long; its weights are checked against it."""
    from mdss.method.teacher import load_teacher

    _, card = load_teacher(name_or_file)
    click.echo(as_json(card), nl=False)


def _order(options: dict[str, Any]) -> tuple[TeacherOrder, dict[str, Any]]:
    """Return the order, checked so that nothing is lost, and the settings that were given."""
    order = TeacherOrder(options["out"], options["force"], options["resume"])
    order.check()
    return order, {name: options[name] for name in ("steps", "seed") if options[name] is not None}


def _deliver(order: TeacherOrder, origin: Origin, make: Callable[[], Made]) -> None:
    """Make the teacher, write it with its card, and remove the checkpoint."""
    from mdss.method.calibration import now
    from mdss.method.teacher import TeacherCard, save_teacher

    try:
        network, details = make()
    except KeyboardInterrupt:
        if order.checkpoint.exists():
            click.echo(f"{order.checkpoint}: what was learned so far; go on with --resume", err=True)
        raise
    card = TeacherCard(kind=origin.kind, source=origin.source, licence=origin.licence, made_at=now(), details=details)
    save_teacher(order.out, network, card)
    order.checkpoint.unlink(missing_ok=True)
    click.echo(f"{order.out}: {origin.kind} teacher from {origin.source}; use it with --set rgb.teacher={order.out}")
