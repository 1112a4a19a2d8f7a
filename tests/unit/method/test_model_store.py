"""Models on disk: whole or not at all, never damaged ones, and one champion."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import shutil
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from mdss.errors import BadInput, ModelRefused
from mdss.method import model_store
from mdss.method.calibration import Calibration, Statistics, Threshold
from mdss.method.model_store import ModelCard, ModelFolder
from mdss.method.recipe import FusionSettings, Recipe
from mdss.method.store_lock import LOCK

LIMIT = Threshold(value=2.0, method="conformal", asked_false_reject_rate=0.05, stated_false_reject_rate=0.05, parts=30)
CALIBRATION = Calibration(
    rgb=Statistics(1.0, 2.0), sdf=Statistics(3.0, 4.0), threshold=LIMIT, map_level=5.0, fusion=FusionSettings(), calibrated_at="now",
    validation_scores=(1.0,),
)  # fmt: skip


EMPTY_REFERENCE = b'"reference": {"rgb": [], "sdf": [], "brightness": [], "valid_point_ratio": [], "distance_mm": []}'


def write_files(folder: Path) -> None:
    (folder / "rgb.safetensors").write_bytes(b"colour")
    (folder / "report").mkdir()
    (folder / "report" / "training.html").write_text("page")


def store_one(store: Path, name: str = "gland") -> ModelFolder:
    card = ModelCard(name=name, recipe=Recipe(seed=7), made_at="now", code_version="0")
    return model_store.save(store, card, CALIBRATION, write_files)


def test_a_stored_model_is_read_back_whole(tmp_path: Path) -> None:
    model = store_one(tmp_path)
    assert (model.name, model.version, model.recipe.seed) == ("gland", "0001", 7)
    assert model.calibration == CALIBRATION
    assert (model.path / "report" / "training.html").read_text() == "page"
    assert model_store.recipes(tmp_path) == ["gland"]


def test_versions_count_up_and_only_promotion_makes_a_champion(tmp_path: Path) -> None:
    assert [store_one(tmp_path).version for _ in range(3)] == ["0001", "0002", "0003"]
    with pytest.raises(ModelRefused, match="champion: no such model; expected one made by `mdss train"):
        model_store.open_champion(tmp_path, "gland")
    with pytest.raises(ModelRefused, match=f"no such model; .* holds the versions of one recipe, expected the store above it, {tmp_path}$"):
        model_store.open_champion(tmp_path / "gland", "gland")  # a training that was told to write there would hide in this recipe
    model_store.promote(tmp_path, "gland", "0002")
    assert model_store.open_champion(tmp_path, "gland").version == "0002"


def test_versions_count_on_beyond_four_digits(tmp_path: Path) -> None:
    for name in ("0002", "9999", "10000"):
        (tmp_path / "gland" / name).mkdir(parents=True)
    assert [path.name for path in model_store.versions(tmp_path / "gland")] == ["0002", "9999", "10000"]
    assert store_one(tmp_path).version == "10001"


def test_a_rollback_takes_the_champion_before(tmp_path: Path) -> None:
    for _ in range(2):
        model_store.promote(tmp_path, "gland", store_one(tmp_path).version)
    assert model_store.rollback(tmp_path, "gland").version == "0001"
    assert model_store.rollback(tmp_path, "gland").version == "0002"


def test_without_a_champion_before_there_is_nothing_to_roll_back_to(tmp_path: Path) -> None:
    model_store.promote(tmp_path, "gland", store_one(tmp_path).version)
    with pytest.raises(BadInput, match="no previous champion"):
        model_store.rollback(tmp_path, "gland")


@pytest.mark.parametrize("name", ["rgb.safetensors", "model.json", "calibration.json", "report/training.html"])
def test_a_changed_file_is_refused_by_name(tmp_path: Path, name: str) -> None:
    path = store_one(tmp_path).path / name
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(ModelRefused, match=f"{name}: found the checksum"):
        model_store.open_version(path.parents[len(Path(name).parts) - 1])


def test_a_missing_file_and_a_missing_list_of_checksums_are_refused_by_name(tmp_path: Path) -> None:
    path = store_one(tmp_path).path
    (path / "rgb.safetensors").unlink()
    with pytest.raises(ModelRefused, match=r"rgb\.safetensors: no such file"):
        model_store.open_version(path)
    (path / "SHA256SUMS").write_text("nonsense\n")
    with pytest.raises(ModelRefused, match="SHA256SUMS: expected lines"):
        model_store.open_version(path)
    (path / "SHA256SUMS").unlink()
    with pytest.raises(ModelRefused, match="SHA256SUMS: no such file"):
        model_store.open_version(path)


@pytest.mark.parametrize("name", ["rgb.safetensors", "SHA256SUMS"])
def test_a_file_that_the_disk_does_not_give_is_refused(tmp_path: Path, name: str) -> None:
    path = store_one(tmp_path).path
    model_store.promote(tmp_path, "gland", "0001")
    (path / name).unlink()
    (path / name).symlink_to("/proc/self/mem")  # a file whose first byte is an input/output error
    with pytest.raises(ModelRefused, match=r"gland/.*: cannot be read \(Input/output error\)"):
        model_store.open_champion(tmp_path, "gland")


def test_weights_that_the_list_of_checksums_does_not_name_are_refused(tmp_path: Path) -> None:
    path = store_one(tmp_path).path
    lines = (path / "SHA256SUMS").read_text().splitlines()
    (path / "SHA256SUMS").write_text("\n".join(line for line in lines if "rgb" not in line) + "\n")
    with pytest.raises(ModelRefused, match=r"rgb\.safetensors: found no checksum of it"):
        model_store.open_version(path)


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        (b'"mdss.model.v1"', b'"mdss.model.v0"', r"model\.json: found schema 'mdss\.model\.v0', expected 'mdss\.model\.v1'"),
        (
            b'"dilation_px"',
            b'"dilation"',
            r"model\.json: Object contains unknown field `dilation`.*; expected a model that this release can read",
        ),
        (b'"recipe": {', b'"recipe": [', r"model\.json: JSON is malformed: .*; expected a model that this release can read"),
        (b'"seed": 7', b'"seed": "7"', r"model\.json: Expected `int`, got `str`.*; expected a model that this release can read"),
    ],
)
def test_a_model_of_another_release_is_refused(tmp_path: Path, before: bytes, after: bytes, sentence: str) -> None:
    path = store_one(tmp_path).path
    rewrite(path / "model.json", before, after)
    with pytest.raises(ModelRefused, match=sentence):
        model_store.open_version(path)


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        (b'"std": 2.0', b'"std": 0.0', r"calibration\.json: Expected `float` > 0\.0 - at `\$\.rgb\.std`"),
        (b'"reference": null', EMPTY_REFERENCE, r"calibration\.json: Expected `array` of length >= 1 - at `\$\.reference\.rgb`"),
    ],
)
def test_a_calibration_that_no_part_can_be_judged_by_is_refused(tmp_path: Path, before: bytes, after: bytes, sentence: str) -> None:
    path = store_one(tmp_path).path
    rewrite(path / "calibration.json", before, after)
    with pytest.raises(ModelRefused, match=sentence):
        model_store.open_version(path)


def rewrite(card: Path, before: bytes, after: bytes) -> None:
    """Change what a file of a model says, and its checksum."""
    assert before in card.read_bytes()
    sums = card.with_name("SHA256SUMS")
    old = hashlib.sha256(card.read_bytes()).hexdigest()
    card.write_bytes(card.read_bytes().replace(before, after))
    sums.write_text(sums.read_text().replace(old, hashlib.sha256(card.read_bytes()).hexdigest()))


@pytest.mark.parametrize("name", ["gland", "cap"])
def test_another_model_in_a_versions_place_is_refused_though_it_is_whole(tmp_path: Path, name: str) -> None:
    model_store.promote(tmp_path, "gland", store_one(tmp_path).version)
    other = store_one(tmp_path, name).path
    shutil.rmtree(tmp_path / "gland" / "0001")
    other.rename(tmp_path / "gland" / "0001")
    with pytest.raises(ModelRefused, match=rf"0001/model\.json: found the card of {name} 000[12], expected that of gland 0001"):
        model_store.open_champion(tmp_path, "gland")


def test_a_champion_that_leads_out_of_the_recipes_folder_is_refused(tmp_path: Path) -> None:
    other = store_one(tmp_path, "cap").path
    (tmp_path / "gland").mkdir()
    (tmp_path / "gland" / "champion").symlink_to(other)
    with pytest.raises(ModelRefused, match=r"champion: found a link to .*cap/0001, expected one to a version beside it"):
        model_store.open_champion(tmp_path, "gland")


def test_a_champion_that_is_a_copy_and_no_link_is_refused_with_what_helps(tmp_path: Path) -> None:
    version = store_one(tmp_path).path
    copy = shutil.copytree(version, version.with_name("champion"))
    with pytest.raises(
        ModelRefused, match=r"gland/champion: found a folder, expected a link to .*; remove the folder, and promote a version"
    ):
        model_store.open_champion(tmp_path, "gland")
    shutil.rmtree(copy)
    assert model_store.promote(tmp_path, "gland", version.name) == model_store.open_champion(tmp_path, "gland")


def test_a_list_of_checksums_that_leads_outside_is_refused(tmp_path: Path) -> None:
    path = store_one(tmp_path).path
    with (path / "SHA256SUMS").open("a") as file:
        file.write(f"{hashlib.sha256(b'colour').hexdigest()}  ../0001/rgb.safetensors\n")
    with pytest.raises(ModelRefused, match=r"SHA256SUMS: found \.\./0001/rgb\.safetensors, expected only files of this folder"):
        model_store.open_version(path)


def test_a_damaged_version_never_becomes_champion(tmp_path: Path) -> None:
    model_store.promote(tmp_path, "gland", store_one(tmp_path).version)
    path = store_one(tmp_path).path
    (path / "rgb.safetensors").write_bytes(b"other")
    with pytest.raises(ModelRefused):
        model_store.promote(tmp_path, "gland", "0002")
    assert model_store.open_champion(tmp_path, "gland").version == "0001"


def test_a_writer_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "rgb.safetensors").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match=f"No space left on device: '{tmp_path}/gland'"):
        model_store.save(tmp_path, ModelCard(name="gland", recipe=Recipe(), made_at="now", code_version="0"), CALIBRATION, fail)
    assert [path.name for path in (tmp_path / "gland").iterdir()] == [LOCK]


def test_a_disk_that_is_full_while_weights_are_written_is_named_by_the_recipe_whoever_says_so(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        raise OSError(28, "No space left on device", str(folder / "rgb.safetensors"))

    with pytest.raises(OSError, match=f"No space left on device: '{tmp_path}/gland'"):
        model_store.save(tmp_path, ModelCard(name="gland", recipe=Recipe(), made_at="now", code_version="0"), CALIBRATION, fail)


def test_what_a_killed_writer_left_is_cleared_away_by_the_next(tmp_path: Path) -> None:
    half = tmp_path / "gland" / ".incoming-4000000"
    half.mkdir(parents=True)
    (half / "rgb.safetensors").write_bytes(b"half")
    assert store_one(tmp_path).version == "0001"
    assert not half.exists()


def store_slowly(store: Path, said: Connection) -> None:
    def write(folder: Path) -> None:
        write_files(folder)
        said.send("half")
        said.recv()

    model_store.save(store, ModelCard(name="gland", recipe=Recipe(), made_at="now", code_version="0"), CALIBRATION, write)


def test_a_writer_that_is_killed_leaves_no_version_and_holds_nobody_up(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=store_slowly, args=(tmp_path, theirs), daemon=True)
    process.start()
    assert ours.recv() == "half"
    process.kill()
    process.join()
    assert model_store.recipes(tmp_path) == []
    assert store_one(tmp_path).version == "0001"
    assert sorted(path.name for path in (tmp_path / "gland").iterdir()) == [LOCK, "0001"]


def test_all_of_a_version_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed, told = set[str](), list[set[str]]()
    fsync, rename = os.fsync, Path.rename

    def noted_fsync(number: int) -> None:
        flushed.add(Path(f"/proc/self/fd/{number}").readlink().name)
        fsync(number)

    def noted_rename(self: Path, target: Path) -> Path:
        told.append(set(flushed))
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "rename", noted_rename)
    store_one(tmp_path)
    files = {"rgb.safetensors", "report", "training.html", "model.json", "calibration.json", "SHA256SUMS"}
    assert told == [files | {f".incoming-{os.getpid()}"}]
    assert "gland" in flushed


def test_two_writers_at_once_get_a_version_each(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        found = pool.map(version_of_new_model, [tmp_path] * 6)
    assert sorted(found) == [f"{number:04d}" for number in range(1, 7)]


def version_of_new_model(store: Path) -> str:
    return store_one(store).version


def test_an_unknown_version_names_the_known_ones(tmp_path: Path) -> None:
    store_one(tmp_path)
    with pytest.raises(BadInput, match=r"no such version in .*expected one of 0001"):
        model_store.promote(tmp_path, "gland", "0009")


@pytest.mark.parametrize("name", ["../gland", "a/b", "", ".hidden", "x" * 65])
def test_a_name_that_is_no_name_never_reaches_the_disk(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInput, match="expected 1 to 64 of the characters"):
        store_one(tmp_path, name)
    assert list(tmp_path.iterdir()) == []
