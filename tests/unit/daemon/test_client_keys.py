"""Who may connect to a station's endpoints, as its verbs see it before they try."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from daemon.client_keys import keys_for
from mdss.errors import MdssError
from mdss.settings import Settings
from tests.fakes import refuses_with


def test_who_may_not_write_to_a_socket_is_told_and_does_not_wait_for_an_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = f"ipc://{tmp_path}/frames.sock"
    assert keys_for(Settings(), endpoint) is None  # nobody listens there yet
    (tmp_path / "frames.sock").touch()
    assert keys_for(Settings(), endpoint) is None
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(MdssError, match=r"frames\.sock: this user may not connect"):
        keys_for(Settings(), endpoint)
    assert keys_for(Settings(), "tcp://127.0.0.1:5555") is None


def test_nor_does_who_may_not_look_into_its_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "stat", refuses_with(errno.EACCES))
    with pytest.raises(MdssError, match="may not connect"):
        keys_for(Settings(), "ipc:///run/mdss/frames.sock")
