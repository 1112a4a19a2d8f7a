"""A folder that cannot be written ends a start for good where the settings are wrong, and only for now where the disk is."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from daemon.spawn import lock_folder, make_folder
from mdss.errors import BadInput, MdssError
from tests.fakes import refuses_with


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ENFILE])
def test_a_disk_that_takes_nothing_now_is_no_fault_of_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    monkeypatch.setattr("daemon.spawn.TemporaryFile", refuses_with(code))
    with pytest.raises(MdssError, match=r"station\.state_directory .*: cannot be written") as caught:
        make_folder("station.state_directory", tmp_path)
    assert not isinstance(caught.value, BadInput), "systemd does not try again after exit code 2"


def test_a_lock_that_a_full_disk_does_not_take_is_no_fault_of_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.spawn.make_folder", lambda *_: None)
    monkeypatch.setattr("daemon.spawn.os.open", refuses_with(errno.ENOSPC))
    with pytest.raises(MdssError, match=r"supervisor\.lock cannot be opened") as caught:
        lock_folder("station.runtime_directory", tmp_path, "supervisor.lock")
    assert not isinstance(caught.value, BadInput)


@pytest.mark.parametrize(("code", "is_final"), [(errno.ENOLCK, False), (errno.EOPNOTSUPP, True)])
def test_a_disk_without_locks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, is_final: bool) -> None:
    monkeypatch.setattr("daemon.spawn.fcntl.flock", refuses_with(code))
    with pytest.raises(MdssError, match=r"station\.state_directory: .*/station\.lock cannot be locked") as caught:
        lock_folder("station.state_directory", tmp_path, "station.lock")
    assert isinstance(caught.value, BadInput) == is_final


@pytest.mark.parametrize("path", ["a file", "a file/below", "x" * 300, "loop"])
def test_a_place_that_can_never_be_a_folder_is_the_settings_fault(tmp_path: Path, path: str) -> None:
    (tmp_path / "a file").touch()
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(BadInput, match=r"station\.state_directory .*: cannot be written"):
        make_folder("station.state_directory", tmp_path / path)


@pytest.mark.parametrize("code", [errno.EACCES, errno.EPERM, errno.EROFS])
def test_missing_rights_are_the_settings_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    monkeypatch.setattr("daemon.spawn.TemporaryFile", refuses_with(code))
    with pytest.raises(BadInput, match=os.strerror(code)):
        make_folder("station.state_directory", tmp_path)
