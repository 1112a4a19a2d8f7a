"""The gate with real models: an equally good candidate passes, each kind of spoiled one is held back, and the page says why."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from mdss.cli import main
from mdss.method import model_store
from mdss.method.model_store import ModelFolder
from tests.small_models import NAME, NOT_TAUGHT, PAINTED, Learned, Workshop, evidence, write_dataset
from trainer.compare_verb import show
from trainer.gate import golden_parts, judge_candidate
from trainer.gate_terms import GateEvidence, GateLimits, GateOutcome

pytestmark = pytest.mark.timeout(1200)  # several models are trained, on busy cores with a small share of them
GOOD, DEFECTS = 12, 3
LIMITS = GateLimits(  # a dozen parts exclude no less; busy cores may be slow, time and memory have tests of their own
    fewest_good=GOOD, tolerated_rejects=0.6, slowest_ratio=4.0, largest_ratio=2.0
)


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """A store with a champion."""
    made = Workshop(tmp_path_factory.mktemp("gate") / "models")
    model_store.promote(made.store, NAME, made.model("champion", Learned()).version)
    return made


def judged(workshop: Workshop, candidate: ModelFolder, given: GateEvidence) -> GateOutcome:
    """Return the gate's answer."""
    return judge_candidate(workshop.store, NAME, candidate, given, "cpu")


@pytest.fixture(scope="module")
def unlabelled(workshop: Workshop) -> GateEvidence:
    """Good parts and the champion's golden ones: nobody has confirmed a defect."""
    champion = model_store.open_champion(workshop.store, NAME)
    return GateEvidence(good=evidence("good", GOOD), golden=golden_parts(champion), limits=LIMITS)


@pytest.fixture(scope="module")
def labelled(unlabelled: GateEvidence) -> GateEvidence:
    """The same, and confirmed defects."""
    return replace(unlabelled, defects=evidence(PAINTED, DEFECTS))


def failed(outcome: GateOutcome) -> set[str]:
    """Return the names of the checks that were not passed."""
    return {check.name for check in outcome.checks if not check.is_passed}


def test_an_equally_good_candidate_passes_and_the_answer_lies_beside_the_versions(workshop: Workshop, labelled: GateEvidence) -> None:
    candidate = workshop.model("another seed", Learned(), seed=1)
    outcome = judged(workshop, candidate, labelled)
    assert outcome.is_passed, outcome.reasons
    folder = workshop.store / NAME / "gates" / candidate.version
    assert sorted(path.name for path in folder.iterdir()) == ["gate.html", "gate.json"]
    found = json.loads((folder / "gate.json").read_text())
    assert (found["champion"], found["candidate"], found["is_passed"], found["reasons"]) == ("0001", candidate.version, True, [])
    assert found["parts"] == {"golden": 3, "defect": DEFECTS, "good": GOOD, "stain": GOOD, "dent": GOOD}
    assert model_store.open_version(candidate.path).digest == candidate.digest
    assert model_store.open_champion(workshop.store, NAME).version == "0001"


def test_a_candidate_that_learned_from_defective_parts_is_held_back_and_the_defects_are_named(
    workshop: Workshop, labelled: GateEvidence
) -> None:
    outcome = judged(workshop, workshop.model("poisoned", Learned(spoiled=("good", PAINTED)), shape_of="champion"), labelled)
    assert "confirmed defects caught" in failed(outcome)
    assert any("misses painted-0" in reason for reason in outcome.reasons)
    page = outcome.report_path.read_text()
    assert "held back" in page and "painted-0 (confirmed defect)" in page and page.count("data:image/png;base64,") >= 3


def test_an_under_trained_candidate_is_held_back_though_nobody_has_confirmed_a_defect(workshop: Workshop, unlabelled: GateEvidence) -> None:
    outcome = judged(workshop, workshop.model("hardly taught", Learned(settings=NOT_TAUGHT)), unlabelled)
    assert {"standard stain: caught", "standard stain: separation"} <= failed(outcome)


def test_a_candidate_that_learned_another_product_is_held_back(workshop: Workshop, unlabelled: GateEvidence) -> None:
    outcome = judged(workshop, workshop.model("another product", Learned(product="mat", settings=NOT_TAUGHT)), unlabelled)
    assert {"golden parts accepted", "promise of the threshold", "good parts rejected"} <= failed(outcome)


def test_a_candidate_whose_weights_were_damaged_is_held_back_by_the_fresh_process(workshop: Workshop, unlabelled: GateEvidence) -> None:
    """Whoever called the gate verified the files before; the fresh process looks again."""
    model = workshop.model("hardly taught", Learned(settings=NOT_TAUGHT))
    weights = model.path / "sdf.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-4] + b"\0\0\0\0")
    try:
        outcome = judged(workshop, model, replace(unlabelled, good=unlabelled.good[:2], golden=()))
    finally:
        weights.write_bytes(whole)
    check = next(check for check in outcome.checks if check.name == "loads in a fresh process")
    assert not check.is_passed and str(weights) in check.says


def test_the_verb_prints_the_table_and_its_exit_code_is_the_answer(
    workshop: Workshop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    candidate = workshop.model("hardly taught", Learned(settings=NOT_TAUGHT))
    data = write_dataset(tmp_path / "data", {"good": evidence("good", 3), PAINTED: evidence(PAINTED, 1)})
    store = shutil.copytree(workshop.store, tmp_path / "models", symlinks=True)
    options = ["--store", str(store), "--recipe", NAME, "--data", str(data), "--unit", "mm", "--device", "cpu"]
    assert main(["model", "compare", *options, "--version", candidate.version, "--json"]) == 1
    outcome = msgspec.json.decode(capsys.readouterr().out, type=GateOutcome)
    assert outcome.parts == {"golden": 3, "defect": 1, "good": 3, "stain": 3, "dent": 3}
    assert outcome.report_path == store / NAME / "gates" / candidate.version / "by-hand" / "gate.html" and outcome.report_path.is_file()
    memory = next(check for check in outcome.checks if check.name == "memory")
    assert memory.candidate is not None and memory.candidate > 50
    show(outcome)
    said = capsys.readouterr().out
    assert f"{NAME} {candidate.version} against 0001: held back" in said and "enough evidence" in said
    assert main(["model", "compare", *options, "--version", "0099"]) == 2
    assert "model flange 0099: no such version" in capsys.readouterr().err
    (store / NAME / candidate.version / "SHA256SUMS").unlink()
    assert main(["model", "compare", *options, "--version", candidate.version]) == 2  # 1 says that it was judged
