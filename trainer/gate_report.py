"""The gate's page: the answer, every check, both models side by side, and the parts on which they differ."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mdss.errors import written_out
from mdss.method.calibration import percent
from mdss.method.model_store import ModelFolder
from trainer import gate_figures
from trainer.gate_scoring import ModelComparison, Pair, Pairs, ScanJudgement
from trainer.gate_terms import COLUMNS, GateCheck, GateOutcome
from trainer.report_page import note, table, write_page

SHOWN = 12
DIFFERS = 0.05  # in the logarithm of the score in thresholds: with less, two models agree on a part
STYLE = """
.passed { color: #2f7d32 } .held { color: #b3261e } td.says, .checks th:last-child { text-align: left; max-width: 46ch }
tr.failed td { background: #fdecea } figcaption { margin-top: 1rem }
"""
KINDS = {
    "good": "recent good part",
    "golden": "golden part",
    "defect": "confirmed defect",
    "stain": "good part with a standard stain",
    "dent": "good part with a standard dent",
}
NOTES = {
    "checks": "Both models judged the same parts. The interval says, with 95 % confidence, by how much the candidate is worse (for times: "
    "its share of the champion's). A check fails only if the whole interval lies beyond what is allowed, or if too little is known.",
    "scores": "A score of 1 is each model's own threshold: above it a part is not accepted. On the line both models give the same score.",
    "differ": "The parts on which the two models differ most, different verdicts first. Maps are in deviations of good parts: 0 is black, "
    "10 and more is white. The numbers beside the verdicts are scores in thresholds.",
}


def write_gate_report(folder: Path, outcome: GateOutcome, comparison: ModelComparison, pairs: Pairs) -> None:
    """Write gate.html into the folder; its pictures are inside the file."""
    heading = f"{outcome.recipe} {outcome.candidate}: {'passed' if outcome.is_passed else 'held back'}"
    write_page(folder / "gate.html", heading, sections(outcome, comparison, pairs), STYLE)


def sections(outcome: GateOutcome, comparison: ModelComparison, pairs: Pairs) -> Iterator[str]:
    """Yield the page from top to bottom."""
    yield from answer(outcome)
    yield "<h2>Checks</h2>" + note(NOTES["checks"])
    for side in ("quality", "fitness"):
        yield f"<h3>{side.capitalize()}</h3>" + checks_table([check for check in outcome.checks if check.side == side])
    yield "<h2>Scores</h2>" + note(NOTES["scores"]) + gate_figures.scores(pairs)
    yield "<h2>The models</h2>"
    champion = comparison.champion.folder if comparison.champion else None
    yield table(["", "champion", "candidate"], card_rows(champion, comparison.candidate.folder))
    yield "<h2>Parts on which they differ</h2>"
    yield from differing_sections(comparison, pairs)


def answer(outcome: GateOutcome) -> Iterator[str]:
    """Yield the answer, and the reasons if the candidate is held back."""
    against = f"against champion {outcome.champion}" if outcome.champion else "without a champion to compare with"
    word, look = ("passed", "passed") if outcome.is_passed else ("held back", "held")
    yield f'<h1>{html.escape(outcome.recipe)} {outcome.candidate}: <span class="{look}">{word}</span></h1>'
    counted = ", ".join(
        f"{count} {KINDS[kind]}{'' if count == 1 else 's'}" for kind, count in outcome.parts.items() if "standard" not in KINDS[kind]
    )
    yield note(f"Candidate {outcome.candidate} {against}, {outcome.judged_at}. Parts judged: {counted or 'none'}.")
    if outcome.reasons:
        yield "<ul>" + "".join(f"<li>{html.escape(reason)}</li>" for reason in outcome.reasons) + "</ul>"


def checks_table(checks: Sequence[GateCheck]) -> str:
    """Return the table of checks; failed ones are marked."""
    titles = "".join(f"<th>{title}</th>" for title in COLUMNS)
    return f'<table class="checks"><tr>{titles}</tr>{"".join(check_row(check) for check in checks)}</table>'


def check_row(check: GateCheck) -> str:
    """Return one row."""
    *texts, says = check.row
    cells = "".join(f"<td>{html.escape(text)}</td>" for text in texts) + f'<td class="says">{html.escape(says)}</td>'
    return f"<tr>{cells}</tr>" if check.is_passed else f'<tr class="failed">{cells}</tr>'


def card_rows(champion: ModelFolder | None, candidate: ModelFolder) -> list[list[object]]:
    """Return a row for each entry of the two cards; those that differ are marked."""
    before, after = (card_of(model) if model else {} for model in (champion, candidate))
    both = {name: (before.get(name), after.get(name)) for name in after | before}
    return [[f"{name} *" if champion and first != second else name, first, second] for name, (first, second) in both.items()]


def card_of(model: ModelFolder) -> dict[str, Any]:
    """Return what a person wants to compare of two models."""
    card, limit = model.card, model.calibration.threshold
    found: dict[str, Any] = {
        "version": model.version,
        "made at": card.made_at,
        "code version": card.code_version,
        "preset": card.recipe.preset,
        "seed": str(card.recipe.seed),
        "threshold": f"{limit.value:.4g}",
        "threshold's method": limit.method,
        "good parts behind it": str(limit.parts),
        "false-reject rate stated": percent(limit.stated_false_reject_rate),
        "false-reject rate asked": percent(limit.asked_false_reject_rate),
    }
    for section, values in (("data", card.data), ("training", card.training)):
        found |= {f"{section}: {name.replace('_', ' ')}": short(value) for name, value in values.items()}
    return found


def short(value: object) -> str:
    """Return a card's value on one line."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {short(each)}" for name, each in value.items())
    if isinstance(value, list | tuple):
        return f"{len(value)} entries"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def differing_sections(comparison: ModelComparison, pairs: Pairs) -> Iterator[str]:
    """Yield a picture of each part on which the models differ."""
    if comparison.champion is None:
        yield note("There is no champion to compare with. These are the parts that the candidate judges wrongly:")
    else:
        yield note(NOTES["differ"])
    chosen = differing(pairs)
    for pair in chosen:
        caption = f"{pair.part.part_id} ({KINDS[pair.kind]})"
        yield f"<figcaption><b>{html.escape(caption)}</b>: {html.escape(verdicts(pair))}</figcaption>"
        yield gate_figures.part(comparison, comparison.scan_of(pair), caption)
    if not chosen:
        yield note("None: on every part both say the same." if comparison.champion else "None: it says what it should of every part.")


def differing(pairs: Pairs) -> list[Pair]:
    """Return the parts to show: different verdicts first, then different scores, the largest difference first."""

    def difference(pair: Pair) -> tuple[bool, float]:
        is_split = pair.champion is not None and pair.champion.is_ok is not pair.candidate.is_ok
        return is_split, abs(pair.change)

    def is_shown(pair: Pair) -> bool:
        if pair.champion is None:
            return pair.candidate.is_ok is not (pair.kind in ("good", "golden"))
        return difference(pair) > (False, DIFFERS)

    return sorted(filter(is_shown, pairs.all), key=difference, reverse=True)[:SHOWN]


def verdicts(pair: Pair) -> str:
    """Return both models' verdicts on a part."""
    parts = [f"candidate {verdict(pair.candidate)}"]
    return ", ".join([f"champion {verdict(pair.champion)}", *parts] if pair.champion else parts)


def verdict(judged: ScanJudgement) -> str:
    """Return one model's verdict in a few words."""
    if judged.ratio is None:
        return f"not judged: {judged.reason}"
    if judged.undecided:
        return f"undecided: {judged.undecided} ({written_out(judged.ratio, 3)})"
    return f"{'OK' if judged.is_ok else 'NotOK'} ({written_out(judged.ratio, 3)})"
