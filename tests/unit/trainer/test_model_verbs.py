"""What lies in a store, as people and programs are told."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from mdss.cli import main
from mdss.errors import BadInput, ModelRefused
from mdss.method import model_store
from mdss.method.calibration import Calibration, Statistics, Threshold
from mdss.method.model_store import ModelCard
from mdss.method.recipe import FusionSettings, Recipe
from trainer.model_verbs import model

LIMIT = Threshold(value=2.0, method="conformal", asked_false_reject_rate=0.05, stated_false_reject_rate=0.05, parts=30)
CALIBRATION = Calibration(
    rgb=Statistics(1.0, 2.0), sdf=Statistics(3.0, 4.0), threshold=LIMIT, map_level=5.0, fusion=FusionSettings(), calibrated_at="now",
    validation_scores=(1.0,),
)  # fmt: skip


@pytest.mark.parametrize("verb", ["list", "verify"])
def test_a_store_that_is_not_there_is_no_store_without_faults(tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str) -> None:
    assert main(["model", verb, "--store", str(tmp_path / "modles")]) == 2
    assert capsys.readouterr().err == f"mdss: --store {tmp_path}/modles: no such folder; expected a model store\n"


def test_an_empty_store_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["model", "list", "--store", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{tmp_path}: no models\n"


def test_a_folder_that_is_a_dataset_and_no_store_is_told_by_what_lies_in_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("train", "validation", ".git"):
        (tmp_path / name).mkdir()
    code, said, _ = run(capsys, "list", "--store", tmp_path)
    expected = "expected RECIPE/VERSION, as `mdss train --out STORE` makes it"
    assert (code, said) == (0, f"{tmp_path}: no models; found train, validation, {expected}\n")


@pytest.mark.parametrize("verb", ["list", "verify"])
def test_the_lost_and_found_of_a_disk_of_its_own_is_no_recipe(store: Path, capsys: pytest.CaptureFixture[str], verb: str) -> None:
    before = run(capsys, verb, "--store", store)
    (store / "lost+found" / "0001").mkdir(parents=True)  # which, as a rule, root alone may look into
    assert run(capsys, verb, "--store", store) == before


def test_who_guards_a_store_is_told_that_no_model_is_there(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "verify", "--store", store)[0] == 0
    place = store / "gland" / "0001"
    assert run(capsys, "verify", "--store", place) == (1, "", f"mdss: --store {place}: found no model, expected a model store\n")


def test_a_model_that_cannot_be_read_is_not_said_to_be_damaged(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    card = store / "gland" / "0001" / "model.json"
    card.unlink()
    card.symlink_to("/proc/self/mem")  # a file whose first byte is an input/output error
    code, said, summary = run(capsys, "verify", "--store", store)
    why = f"{card}: cannot be read (Input/output error); expected a model whose files the disk gives"
    assert (code, said, summary) == (1, f"gland 0001: {why}\ngland 0002: whole\n", f"mdss: {store}: 1 of 2 models cannot be read\n")
    (store / "gland" / "0002" / "model.json").write_bytes(b"{}")
    assert run(capsys, "verify", "--store", store)[2] == f"mdss: {store}: 1 of 2 models are damaged, 1 of 2 models cannot be read\n"


@pytest.mark.parametrize("verb", ["list", "verify"])
def test_the_folder_of_one_recipe_is_no_store_with_a_damaged_model(store: Path, capsys: pytest.CaptureFixture[str], verb: str) -> None:
    place = store / "gland"
    (place / "gates" / "0002").mkdir(parents=True)  # the gate's report of a version
    said = f"mdss: --store {place}: found the versions of one recipe, expected the store above it, {store}\n"
    assert run(capsys, verb, "--store", place) == (2, "", said)


def test_a_recipe_may_be_named_by_a_number(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    card = ModelCard(name="2024", recipe=Recipe(), made_at="now", code_version="0")
    model_store.save(tmp_path, card, CALIBRATION, lambda folder: None)
    assert [row["recipe"] for row in rows(capsys, "list", "--store", tmp_path)] == ["2024"]


def test_a_list_that_goes_into_a_file_is_not_cut(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    card = ModelCard(name="gland", recipe=Recipe(), made_at="2026-11-25T02:35:11+00:00", code_version="0")
    model_store.save(tmp_path, card, CALIBRATION, lambda folder: None)
    model_store.promote(tmp_path, "gland", "0001")
    assert main(["model", "list", "--store", str(tmp_path)]) == 0
    listed = capsys.readouterr().out
    assert all(word in listed for word in ("gland", "0001", "champion", "2026-11-25T02:35:11+00:00"))


def test_what_an_imported_card_says_is_shown_in_letters_and_obeyed_by_no_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card = ModelCard(name="gland", recipe=Recipe(), made_at="\x1b[2J\x1b]0;mine\x07", code_version="0")
    model_store.save(tmp_path, card, CALIBRATION, lambda folder: None)
    assert main(["model", "list", "--store", str(tmp_path)]) == 0
    listed = capsys.readouterr().out
    assert "\\x1b[2J\\x1b]0;mine\\x07" in listed and "\x1b" not in listed


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Two versions; the first is the champion, the second the candidate, with the first one's weights."""
    for derived in ("", "0001"):
        card = ModelCard(name="gland", recipe=Recipe(), made_at="2026-11-25T02:35:11+00:00", code_version="0", derived_from=derived)
        model_store.save(tmp_path, card, CALIBRATION, lambda folder: None)
    model_store.promote(tmp_path, "gland", "0001")
    model_store.nominate(tmp_path, "gland", "0002")
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str, str]:
    """Run a verb of `mdss model`; return the exit code and what it said."""
    code = main(["model", *map(str, words)])
    return code, *capsys.readouterr()


def rows(capsys: pytest.CaptureFixture[str], *words: str | Path) -> list[dict[str, Any]]:
    """Return what a verb tells a program."""
    code, out, _ = run(capsys, *words, "--json")
    assert code == 0
    return list(json.loads(out))


def test_a_list_shows_the_candidate_and_whose_weights_a_version_has(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = [(row["version"], row["role"], row["derived_from"]) for row in rows(capsys, "list", "--store", store)]
    assert found == [("0001", "champion", ""), ("0002", "candidate", "0001")]


def test_a_program_is_told_the_limit_as_a_number_and_of_a_damaged_version_none(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (store / "gland" / "0002" / "model.json").write_bytes(b"{}")
    whole, damaged = rows(capsys, "list", "--store", store)
    assert whole["threshold"] == model_store.open_version(store / "gland" / "0001").calibration.threshold.value and not whole["fault"]
    assert damaged["threshold"] is None and "model.json: found the checksum" in damaged["fault"]


def test_the_history_says_what_was_done_by_whom_and_why(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = ("--store", store, "--recipe", "gland")
    run(capsys, "promote", *place, "--version", "0002", "--reason", "holds on batch 17")
    run(capsys, "rollback", *place, "--reason", "rejects good parts")
    found = rows(capsys, "history", *place)
    assert [(row["what"], row["from"], row["to"], row["why"]) for row in found[2:]] == [
        ("promote", "0001", "0002", "holds on batch 17"),
        ("rollback", "0002", "0001", "rejects good parts"),
    ]
    assert all(row["when"] and row["who"] for row in found)
    code, shown, _ = run(capsys, "history", *place)
    assert code == 0 and "holds on batch 17" in shown and "rollback" in shown


def test_who_rolls_back_is_told_that_a_second_rollback_goes_no_further_back_but_forward_again(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = ("--store", store, "--recipe", "gland")
    run(capsys, "promote", *place, "--version", "0002")
    for champion, previous in (("0001", "0002"), ("0002", "0001")):
        _, said, _ = run(capsys, "rollback", *place)
        assert said.startswith(f"gland {champion} is the champion: ")
        assert f"\n{previous} is now `previous`: another rollback returns to it" in said


def test_the_history_of_an_unknown_recipe_is_no_empty_history(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, said = run(capsys, "history", "--store", store, "--recipe", "glnd")
    assert (code, said) == (2, f"mdss: {store}/glnd: no such folder; expected the models of glnd\n")


@pytest.mark.parametrize(
    ("recipe", "version", "expected"),
    [("gland", "7", "one of 0001, 0002"), ("gland", "0007", "one of 0001, 0002"), ("glnd", "0001", "a recipe with models: gland")],
)
def test_a_version_that_is_not_there_names_those_that_are_and_a_recipe_without_any_those_with_some(
    store: Path, capsys: pytest.CaptureFixture[str], recipe: str, version: str, expected: str
) -> None:
    code, _, said = run(capsys, "promote", "--store", store, "--recipe", recipe, "--version", version)
    assert (code, said) == (2, f"mdss: model {recipe} {version}: no such version in {store}/{recipe}; expected {expected}\n")
    nowhere = run(capsys, "promote", "--store", store / "nowhere", "--recipe", recipe, "--version", version)[2]
    assert nowhere.endswith("expected a recipe with models: there is none\n")


def test_a_model_goes_into_a_file_and_into_another_store(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, other = tmp_path / "gland.tar", tmp_path / "other"
    code, said, _ = run(capsys, "export", "--store", store, "--recipe", "gland", "--version", "0002", "--to", file)
    assert code == 0 and said.startswith(f"gland 0002 is in {file}: ")
    code, said, _ = run(capsys, "import", file, "--store", other, "--reason", "line 2")
    assert code == 0 and said.startswith(f"gland 0002 is stored: {other}/gland/0002\n")
    code, said, _ = run(capsys, "import", file, "--store", other)
    assert code == 0 and said.startswith(f"gland 0002 is here already: {other}/gland/0002\n")
    assert [(row["version"], row["role"]) for row in rows(capsys, "list", "--store", other)] == [("0002", "")]
    assert [row["why"] for row in rows(capsys, "history", "--store", other, "--recipe", "gland")] == ["gland.tar: line 2"]


def test_the_commands_that_are_told_work_where_the_store_has_a_space_in_its_name(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, other = tmp_path / "gland.tar", tmp_path / "line 2"
    run(capsys, "export", "--store", store, "--recipe", "gland", "--version", "0002", "--to", file)
    _, promotion = run(capsys, "import", file, "--store", other)[1].split("to let it judge: mdss model ")
    with pytest.raises(ModelRefused) as refused:
        model_store.open_champion(other, "gland")
    assert shlex.split(str(refused.value).split("`")[1]) == ["mdss", "train", "--recipe", "gland", "--out", str(other)]
    assert str(refused.value).endswith(", or a stored version made champion by `mdss model promote`")  # as after this import
    assert run(capsys, *shlex.split(promotion))[0] == 0
    assert model_store.open_champion(other, "gland").version == "0002"


def test_a_folder_that_is_not_there_is_named_by_an_export(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "usb" / "gland.tar"
    code, _, said = run(capsys, "export", "--store", store, "--recipe", "gland", "--version", "0002", "--to", file)
    assert (code, said) == (2, f"mdss: --to {file}: found no folder {file.parent}, expected one that exists\n")


def test_a_version_that_cannot_be_verified_is_neither_promoted_nor_exported(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (store / "gland" / "0002" / "calibration.json").write_bytes(b"{}")
    place = ("--store", store, "--recipe", "gland", "--version", "0002")
    for words in (("promote", *place), ("export", *place, "--to", store / "gland.tar")):
        code, _, said = run(capsys, *words)
        assert code == 1 and said.startswith(f"mdss: {store}/gland/0002/calibration.json: found the checksum")
    assert not (store / "gland.tar").exists()
    assert [row["role"] for row in rows(capsys, "list", "--store", store)] == ["champion", "candidate"]


def test_a_file_that_is_no_model_is_refused_by_name(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"picture")
    code, _, said = run(capsys, "import", tmp_path / "holiday.jpg", "--store", store)
    assert code == 1 and said.startswith(f"mdss: {tmp_path}/holiday.jpg: found a damaged entry or another kind of file")
    code, _, said = run(capsys, "import", tmp_path / "nowhere.tar", "--store", store)
    assert code == 2 and "nowhere.tar" in said


@pytest.mark.parametrize("verb", ["promote", "rollback", "import"])
def test_a_reason_in_another_encoding_is_refused_and_changes_nothing(tmp_path: Path, verb: str) -> None:
    file = tmp_path / "model.tar"
    file.write_bytes(b"")
    words = {"promote": ["--recipe", "a", "--version", "0001"], "rollback": ["--recipe", "a"], "import": [str(file)]}[verb]
    error = CliRunner().invoke(model, [verb, "--store", str(tmp_path), *words, "--reason", os.fsdecode(b"caf\xe9")]).exception
    assert isinstance(error, BadInput) and str(error) == "--reason: found 'caf\\udce9', expected text in UTF-8: set the terminal to it"
    assert list(tmp_path.iterdir()) == [file]
