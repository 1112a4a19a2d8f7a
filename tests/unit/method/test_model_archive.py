"""Models that travel in a file: the same bytes arrive, once, and a file that holds anything else leaves nothing in the store."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from mdss.audit import events
from mdss.errors import ModelRefused
from mdss.method import model_archive, model_store
from mdss.method.model_archive import export_model, import_model
from mdss.method.model_store import ModelCard, open_version, versions
from mdss.method.recipe import Recipe
from mdss.method.store_files import read_sums
from tests.unit.method.test_model_store import CALIBRATION, store_one, write_files


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """The second version of gland, from a store of its own."""
    store_one(tmp_path / "first")
    export_model(store_one(tmp_path / "first"), tmp_path / "gland.tar")
    return tmp_path / "gland.tar"


def occupy(store: Path, count: int) -> None:
    """Store so many other models of the recipe."""
    for _ in range(count):
        card = ModelCard(name="gland", recipe=Recipe(), made_at="another day", code_version="0")
        model_store.save(store, card, CALIBRATION, write_files)


def test_a_model_arrives_in_an_empty_store_byte_for_byte_and_is_not_promoted(tmp_path: Path, archive: Path) -> None:
    found = import_model(tmp_path / "second", archive, "for the second line")
    sent = open_version(tmp_path / "first" / "gland" / "0002")
    assert found.is_new and (found.model.version, found.model.digest) == ("0002", sent.digest)
    for name in read_sums(sent.path):
        assert (found.model.path / name).read_bytes() == (sent.path / name).read_bytes()
    assert model_store.linked_version(tmp_path / "second" / "gland", "champion") is None
    assert [(each.what, each.after, each.why) for each in events(tmp_path / "second" / "gland")] == [
        ("import", "0002", "gland.tar: for the second line")
    ]


def test_the_same_model_gives_the_same_file(tmp_path: Path, archive: Path) -> None:
    export_model(open_version(tmp_path / "first" / "gland" / "0002"), tmp_path / "again.tar")
    assert (tmp_path / "again.tar").read_bytes() == archive.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.tar", "first", "gland.tar"]


def test_a_place_where_no_file_can_be_is_named_as_it_was_asked_for(tmp_path: Path, archive: Path) -> None:
    with pytest.raises(FileNotFoundError, match=f"'{tmp_path}/nowhere/gland.tar'$"):
        export_model(open_version(tmp_path / "first" / "gland" / "0002"), tmp_path / "nowhere" / "gland.tar")


def test_other_programs_can_read_it(archive: Path) -> None:
    with tarfile.open(archive) as file:
        assert "gland/0002/rgb.safetensors" in file.getnames()


def test_a_model_whose_version_is_taken_gets_the_next_and_its_card_says_which_it_was(tmp_path: Path, archive: Path) -> None:
    occupy(tmp_path / "second", 2)
    found = import_model(tmp_path / "second", archive)
    sent = open_version(tmp_path / "first" / "gland" / "0002")
    assert (found.model.version, found.model.card.version) == ("0003", "0003")
    assert found.model.card.imported_from == f"0002 {sent.digest}"
    here, there = read_sums(found.model.path), read_sums(sent.path)
    assert {name for name in here if here[name] != there[name]} == {"model.json"} and here.keys() == there.keys()


def test_a_model_that_travels_on_keeps_the_version_and_digest_that_it_was_made_with(tmp_path: Path, archive: Path) -> None:
    for store, taken in (("second", 2), ("third", 3)):
        occupy(tmp_path / store, taken)
        found = import_model(tmp_path / store, archive)
        export_model(found.model, archive)
    assert found.model.version == "0004"
    assert found.model.card.imported_from == f"0002 {open_version(tmp_path / 'first' / 'gland' / '0002').digest}"


@pytest.mark.parametrize("taken", [0, 2])
def test_a_model_that_is_here_already_is_not_stored_again_wherever_it_comes_from(tmp_path: Path, archive: Path, taken: int) -> None:
    occupy(tmp_path / "second", taken)
    first = import_model(tmp_path / "second", archive)
    again = import_model(tmp_path / "second", archive)
    assert not again.is_new and again.model == first.model
    assert len(versions(tmp_path / "second" / "gland")) == taken + 1
    export_model(first.model, tmp_path / "back.tar")
    back = import_model(tmp_path / "first", tmp_path / "back.tar")
    assert (back.is_new, back.model.version) == (False, "0002")


def test_a_damaged_version_does_not_keep_its_sound_twin_out(tmp_path: Path, archive: Path) -> None:
    (tmp_path / "first" / "gland" / "0002" / "rgb.safetensors").write_bytes(b"damaged")
    found = import_model(tmp_path / "first", archive)
    assert (found.is_new, found.model.version) == (True, "0003")


def rewritten(archive: Path, change: Callable[[dict[str, bytes]], dict[str, bytes]]) -> None:
    """Write the archive anew with other files in it."""
    with tarfile.open(archive) as file:
        files = {info.name: bytes(file.extractfile(info).read()) for info in file}  # type: ignore[union-attr]  # all are files
    with tarfile.open(archive, "w", format=tarfile.USTAR_FORMAT) as file:
        for name, content in change(files).items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))


def renamed(before: str, after: str) -> Callable[[dict[str, bytes]], dict[str, bytes]]:
    return lambda files: {name.replace(before, after): content for name, content in files.items()}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda files: {**files, "gland/0002/rgb.safetensors": b"other"}, "rgb.safetensors: found the checksum"),
        (lambda files: {**files, "gland/0002/more.bin": b"more"}, "more.bin: found no checksum of it in SHA256SUMS"),
        (lambda files: {**files, "gland/0003/model.json": b"more"}, "found files of gland 0003 and gland 0002, expected one model"),
        (lambda files: {name: files[name] for name in files if "rgb" not in name}, "rgb.safetensors: no such file"),
        (renamed("gland/", "cap/"), "model.json: found the card of gland 0002, expected that of cap 0002"),
        (renamed("0002/", "0007/"), "model.json: found the card of gland 0002, expected that of gland 0007"),
        (renamed("gland/0002/", "../gland/0002/"), "'../gland/0002/SHA256SUMS': found no name of a model's file"),
        (renamed("report/", "../../report/"), "training.html': found no name of a model's file"),
        (renamed("gland/0002/", "/gland/0002/"), "found no name of a model's file"),
        (renamed("0002/", "\uff10\uff10\uff10\uff12/"), "found no name of a model's file"),  # digits of another script
        (renamed("report/", ".hidden/"), "found no name of a model's file"),
        (renamed("report/", "a/b/c/d/"), "found no name of a model's file"),
        (lambda files: {}, "found no files"),
    ],
)  # fmt: skip
def test_a_file_of_anything_else_is_refused_and_leaves_no_version(
    tmp_path: Path, archive: Path, change: Callable[[dict[str, bytes]], dict[str, bytes]], sentence: str
) -> None:
    rewritten(archive, change)
    refused(tmp_path, archive, sentence)


def refused(tmp_path: Path, archive: Path, sentence: str) -> None:
    """Import into a new store and find nothing there."""
    with pytest.raises(ModelRefused) as said:
        import_model(tmp_path / "second", archive)
    assert str(said.value).startswith(f"{archive}: ") and sentence in str(said.value)
    assert model_store.recipes(tmp_path / "second") == []
    assert [path for path in (tmp_path / "second").rglob("*") if path.is_file() and path.name != ".lock"] == []


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.XHDTYPE, tarfile.GNUTYPE_SPARSE]
)
def test_links_devices_and_headers_that_change_others_are_refused(tmp_path: Path, archive: Path, kind: bytes) -> None:
    info = tarfile.TarInfo("gland/0002/rgb.safetensors")
    info.type, info.linkname = kind, "/etc/passwd"
    archive.write_bytes(info.tobuf(tarfile.USTAR_FORMAT) + archive.read_bytes())
    refused(tmp_path, archive, "'gland/0002/rgb.safetensors': found a link, a device or another kind of entry")


def test_a_file_that_is_in_it_twice_is_refused(tmp_path: Path, archive: Path) -> None:
    with tarfile.open(archive, "a", format=tarfile.USTAR_FORMAT) as file:
        file.addfile(tarfile.TarInfo("gland/0002/rgb.safetensors"))
    refused(tmp_path, archive, "rgb.safetensors: found it twice")


@pytest.mark.parametrize("kept", [100, 512 + 20, 3000])
def test_a_file_that_is_cut_short_is_refused(tmp_path: Path, archive: Path, kept: int) -> None:
    archive.write_bytes(archive.read_bytes()[:kept])
    refused(tmp_path, archive, "expected an archive as `mdss model export` writes it")


@pytest.mark.parametrize(("limit", "value"), [("MOST_FILES", 3), ("MOST_FILE_BYTES", 100), ("MOST_BYTES", 500)])
def test_more_files_or_larger_ones_than_a_model_has_are_refused(
    tmp_path: Path, archive: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    monkeypatch.setattr(model_archive, limit, value)
    refused(tmp_path, archive, "; expected at most ")


def test_a_size_that_is_said_and_not_there_takes_no_room(tmp_path: Path, archive: Path) -> None:
    info = tarfile.TarInfo("gland/0002/rgb.safetensors")
    info.size = model_archive.MOST_FILE_BYTES
    archive.write_bytes(info.tobuf(tarfile.USTAR_FORMAT) + b"few bytes")
    refused(tmp_path, archive, "rgb.safetensors: found an archive that ends 2147483639 bytes early")


def test_a_size_of_less_than_nothing_is_refused(tmp_path: Path, archive: Path) -> None:
    info = tarfile.TarInfo("gland/0002/rgb.safetensors")
    info.size = -513
    archive.write_bytes(info.tobuf(tarfile.GNU_FORMAT) + archive.read_bytes())
    refused(tmp_path, archive, "rgb.safetensors: found file 1 with -513 bytes, -513 in all; expected at most ")


@pytest.mark.parametrize("content", [b"", b"no tar at all" * 100])
def test_another_kind_of_file_is_refused(tmp_path: Path, archive: Path, content: bytes) -> None:
    archive.write_bytes(content)
    refused(tmp_path, archive, "found a damaged entry or another kind of file")
