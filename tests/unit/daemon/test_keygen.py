"""`mdss keygen`: files that only their owner may read, and none that is overwritten."""

from __future__ import annotations

import json
import resource
from pathlib import Path

import pytest
from zmq.auth import create_certificates

from daemon.keygen import command
from mdss.errors import BadInput
from mdss.key_files import read_clients, read_pair, read_public


def keygen(*arguments: str) -> None:
    command.main(arguments, standalone_mode=False)


def test_a_certificate_is_two_files_and_the_secret_one_is_its_owners_alone(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "keys"
    keygen("--out", str(folder), "station", "cam-1")
    assert sorted(path.name for path in folder.iterdir()) == ["cam-1.key", "cam-1.key_secret", "station.key", "station.key_secret"]
    assert {path.stat().st_mode & 0o777 for path in folder.glob("*.key_secret")} == {0o600}
    assert folder.stat().st_mode & 0o777 == 0o700
    assert read_pair(folder / "cam-1.key_secret").public == read_public(folder / "cam-1.key")
    assert set(read_clients(folder).values()) == {"station", "cam-1"}


def test_on_a_full_disk_the_file_is_named_and_no_half_key_is_in_the_way_of_the_next_run(tmp_path: Path) -> None:
    largest = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, largest[1]))  # less than either file has
    try:
        with pytest.raises(OSError, match=f"File too large: '{tmp_path}'"):
            keygen("--out", str(tmp_path), "station", "cam-1")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, largest)
    assert list(tmp_path.iterdir()) == []
    keygen("--out", str(tmp_path), "station", "cam-1")


def test_it_says_what_to_put_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keygen("--out", str(tmp_path), "cam-1")
    said = capsys.readouterr().out
    for word in (str(tmp_path / "cam-1.key_secret"), "security.server_key_file", "security.client_keys"):
        assert word in said
    assert read_pair(tmp_path / "cam-1.key_secret").secret.decode() not in said


def test_the_files_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keygen("--out", str(tmp_path), "cam-1", "--json")
    secret, public = str(tmp_path / "cam-1.key_secret"), str(tmp_path / "cam-1.key")
    assert json.loads(capsys.readouterr().out) == [{"name": "cam-1", "secret_file": secret, "public_file": public}]


@pytest.mark.parametrize("suffix", [".key", ".key_secret"])
def test_nothing_is_overwritten_and_nothing_written_beside_it(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"b{suffix}").write_text("mine")
    with pytest.raises(BadInput, match="never overwritten"):
        keygen("--out", str(tmp_path), "a", "b")
    assert [path.name for path in tmp_path.iterdir()] == [f"b{suffix}"]


def test_of_two_at_once_in_one_folder_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def meanwhile(folder: Path, name: str) -> tuple[str, str]:
        with pytest.raises(BadInput, match=f"^{tmp_path}: another `mdss keygen` is writing here, expected one at a time$"):
            keygen("--out", str(tmp_path), name)
        return create_certificates(folder, name)

    monkeypatch.setattr("daemon.keygen.create_certificates", meanwhile)
    keygen("--out", str(tmp_path), "a")
    assert read_pair(tmp_path / "a.key_secret").public == read_public(tmp_path / "a.key")


@pytest.mark.parametrize("names", [("../a",), ("a b",), ("",), ("x" * 65,), ("a", "a")])
def test_a_name_that_no_source_can_have_is_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    with pytest.raises(BadInput, match="NAME: found"):
        keygen("--out", str(tmp_path), *names)
    assert list(tmp_path.iterdir()) == []
