"""The steps of a retraining in their order: gather, refuse, plan, train, judge, and make the result the candidate."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import click
import msgspec

from mdss.errors import BadInput, CutOff, MdssError
from mdss.interrupts import signals_as_interrupt, signals_ignored
from mdss.method import model_store
from mdss.method.model_store import ModelFolder
from mdss.method.recipe import Recipe
from mdss.whole_files import write_json, write_whole
from trainer.data_checks import Refused, in_words, refusals_by_code
from trainer.gate_terms import GateOutcome
from trainer.gathering import DIGEST, FOLDER, LEARNED, LEFT_OUT, SHOWN, UNIT
from trainer.retrain_gate import recheck_labels, record_held_back, run_gate
from trainer.retrain_order import RetrainOrder
from trainer.retrain_outcome import EXIT_CODES, AttemptRecord, End, RetrainEnded, only_training
from trainer.retrain_plan import MADE_MODEL, PLAN, Plan, base_set, collected_set, discard, read_plan
from trainer.retrain_planning import check_order, defects_since, is_undecided, plan_of, recipe_of, require_enough
from trainer.train import TrainingOrder, check_usable, train_and_store

KEPT = "stopped; what was learned is kept, the next run goes on from there"
NOTHING_KEPT = "stopped before anything was learned; the next run begins anew"


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a retraining; `sentence` tells it to a person."""

    recipe: str
    outcome: End
    exit_code: int
    sentence: str
    version: str = ""
    report: str = ""
    parts_used: int = 0
    parts_new: int = 0
    parts_refused: dict[str, int] = {}
    refused: tuple[Refused, ...] = ()


def retrain(order: RetrainOrder) -> Result:
    """Retrain a recipe and return the result. MdssError if something is broken, BadInput if something given is wrong.

    What an interrupted run left is continued as long as champion and settings are the same. An order with an unknown recipe or setting is
    no attempt: it leaves neither record nor folder.
    """
    check_order(order)
    folder = model_store.recipe_folder(order.store, order.name)
    run = Run(order, AttemptRecord(order.folder, order.name))
    try:
        with only_training(folder, order.name), signals_as_interrupt(), run.once_done, run.record, interrupts_explained(order):
            return run.result("candidate", run.candidate())
    except RetrainEnded as ended:
        return run.result(ended.outcome, str(ended))


@contextmanager
def interrupts_explained(order: RetrainOrder) -> Iterator[None]:
    """Give an interrupt the sentence on what is kept: before there is a plan, nothing."""
    try:
        yield
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt(KEPT if (order.work / PLAN).exists() else NOTHING_KEPT) from stop


class Run:
    """One retraining under way, and what is known of it so far."""

    def __init__(self, order: RetrainOrder, record: AttemptRecord) -> None:
        self._order, self.record = order, record
        self._plan: Plan | None = None
        self._version = self._report = ""
        self.once_done = ExitStack()  # closes after the record: until then nothing stops what is done already

    def candidate(self) -> str:
        """Make the candidate and return the sentence about it. RetrainEnded says why there is none."""
        order = self._order
        champion = model_store.champion_of(order.store, order.name)
        recipe = recipe_of(order, champion)
        plan = self._plan = resumable_plan(order, recipe, champion) or plan_of(order, recipe, champion)
        self.record.note(parts_used=len(plan.learned), parts_refused=len(plan.refused))
        write_json(order.last_plan, plan)
        require_enough(order, plan)
        write_json(order.work / PLAN, plan)
        click.echo(f"{order.name}: {summary(plan)}", err=True)
        model = model_of(order, plan)
        self._version = model.version
        self.record.note(version=model.version)
        verdict = recheck_labels(order, plan, run_gate(order, plan, model))
        self._report = str(verdict.report_path)
        sentence = self._place(plan, model, verdict) if verdict.is_passed else record_held_back(order, verdict)
        self.once_done.enter_context(signals_ignored())
        discard(order.work)  # last, so that a run interrupted before this finds the finished model
        if not verdict.is_passed:
            raise RetrainEnded("held_back", sentence)
        return sentence

    def _place(self, plan: Plan, model: ModelFolder, verdict: GateOutcome) -> str:
        """Make a model that passed the candidate, or the champion instead of the one that the gate compared it with."""
        order, why = self._order, summary(plan)
        if order.promote:
            change = model_store.Change("retrain", why, instead_of=verdict.champion or "")
            model_store.promote(order.store, order.name, model.version, change)
            return f"{model.version} is the champion: {model.path}"
        model_store.nominate(order.store, order.name, model.version, why)
        return f"{model.version} is the candidate: {model.path}"

    def result(self, outcome: End, sentence: str) -> Result:
        """Return the result, with what is known at the end."""
        plan = self._plan
        return Result(
            recipe=self._order.name,
            outcome=outcome,
            exit_code=EXIT_CODES[outcome],
            sentence=sentence,
            version=self._version,
            report=self._report,
            parts_used=len(plan.learned) if plan else 0,
            parts_new=plan.new if plan else 0,
            parts_refused=refusals_by_code(plan.refused) if plan else {},
            refused=plan.refused if plan else (),
        )


def resumable_plan(order: RetrainOrder, recipe: Recipe, champion: ModelFolder | None) -> Plan | None:
    """Return the plan of an interrupted run; None if there is none that can be continued."""
    try:
        plan = read_plan(order.work)
        if plan is None:
            return None
        base_set(plan)  # raises BadInput if the curated scans have changed
    except BadInput as bad:
        click.echo(f"retrain: the unfinished training is given up: {bad}", err=True)
        return None
    if why := out_of_date(order, plan, recipe, champion):
        click.echo(f"retrain: the unfinished training is given up: {why}", err=True)
        return None
    click.echo(f"retrain: going on with the training that was planned at {plan.made_at}", err=True)
    return plan


def out_of_date(order: RetrainOrder, plan: Plan, recipe: Recipe, champion: ModelFolder | None) -> str:
    """Return why a plan is not what would be planned now; "" if it can be continued."""
    is_as_before = (plan.recipe, plan.champion) == (recipe, champion.version if champion else "")
    if not is_as_before and not awaits_gate(order, plan):
        return "the champion or the settings have changed since"
    base = str(order.data.resolve()) if order.data else plan.base
    unit = order.unit or ("m" if order.data else plan.base_unit)
    if base and (plan.base, plan.base_unit) != (base, unit):
        return f"its curated scans are those of {plan.base or 'no folder'} in {plan.base_unit}"
    if not plan.is_base_new and plan.new < order.amounts.least_new:
        return f"it learns from {plan.new} new good parts, and by now at least {order.amounts.least_new} are asked for (--least-new)"
    if plan.with_simulated and not order.amounts.with_simulated:
        return "it learns from simulated parts as well, which only --with-simulated asks for"
    spoilt = defects_since(order, plan)
    return f"{', '.join(spoilt)}, which it learns from, has been called a defect since" if spoilt else ""


def awaits_gate(order: RetrainOrder, plan: Plan) -> bool:
    """Return whether the model is made, with what this order makes of the champion that it was planned for, and nobody has decided on it.

    Whichever champion there is by now, the gate can hold that model against it, and nothing has to be trained for that.
    """
    model = already_stored(order)
    if model is None or not is_undecided(model):
        return False
    with suppress(MdssError):  # that champion may be damaged or gone by now
        champion = model_store.open_stored(order.store, order.name, plan.champion) if plan.champion else None
        return recipe_of(order, champion) == plan.recipe
    return False


def model_of(order: RetrainOrder, plan: Plan) -> ModelFolder:
    """Train the plan's model and store it; a model that an interrupted run has stored already is returned as it is.

    What was learned stays for the next run, unless the same error would end that, too; a teacher that is away may be back by then.
    """
    if stored := already_stored(order):
        return stored
    check_usable(plan.recipe, order.device)
    try:
        model = train_plan(order, plan)
    except CutOff:
        raise
    except MdssError:
        discard(order.work)
        raise
    write_whole(order.work / MADE_MODEL, model.version.encode("ascii"))
    return model


def already_stored(order: RetrainOrder) -> ModelFolder | None:
    """Return the model that an interrupted run stored; None if it stored none, or if that cannot be used any more."""
    made = order.work / MADE_MODEL
    if not made.exists():
        return None
    try:
        return model_store.open_stored(order.store, order.name, made.read_text("ascii", errors="replace"))
    except MdssError as error:
        click.echo(f"retrain: the model that was made cannot be used any more: {error}", err=True)
        return None


def train_plan(order: RetrainOrder, plan: Plan) -> ModelFolder:
    """Train, calibrate and store. The card lists the collected parts that were learned from, for the next run."""
    base, collected = base_set(plan), collected_set(order.work, plan)
    data = {
        FOLDER: plan.base or "",
        UNIT: plan.base_unit,
        DIGEST: base.digest if base else "",
        LEFT_OUT: list(plan.base_left_out),
        LEARNED: [part.result_id for part in plan.learned],
        SHOWN: [part.result_id for part in plan.of("gate")],
        "refused_parts": refusals_by_code(plan.refused),
    }
    training = TrainingOrder(Path(plan.base or order.work), order.store, order.name, plan.recipe, plan.base_unit, order.device)
    return train_and_store(training, [collected] if base is None else [base, collected], order.work, data)


def summary(plan: Plan) -> str:
    """Return a line on what is learned from, and what is not."""
    why = in_words(plan.refused)
    refused = f"{len(plan.refused)} refused{f' ({why})' if why else ''}"
    counts = f"{len(plan.base_train)} curated and {len(plan.of('train'))} collected parts to train on"
    limits = f"{len(plan.base_validation)} and {len(plan.of('validation'))} for the threshold"
    limits += f", {len(plan.of('gate'))} to judge by"
    return f"{counts}, {limits}; {plan.new} are new, {refused}, {plan.unreviewed} unreviewed, {len(plan.of('defect'))} confirmed defects"
