"""Who says so is known also where the process runs as a number without a name, as `docker run --user 54321` has it."""

from __future__ import annotations

import getpass
import os
from pathlib import Path

import click
import pytest

from daemon.alert_verbs import ack, confirm, reject
from daemon.collection_verbs import label
from mdss.cli import main
from mdss.errors import BadInput
from mdss.user_name import other_owner, user


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 54321")

    monkeypatch.setattr(getpass, "getuser", nameless)


@pytest.mark.usefixtures("nobody")
def test_a_user_without_a_name_is_a_number() -> None:
    assert user().isdigit()


@pytest.mark.usefixtures("nobody")
@pytest.mark.parametrize(("verb", "said"), [(ack, []), (confirm, []), (reject, []), (label, ["good"])])
def test_the_verbs_that_ask_who_says_so_take_the_number(verb: click.Command, said: list[str]) -> None:
    assert verb.make_context("verb", ["3f2a9c", *said, "--config", "station.yaml"]).params["by"] == user()


@pytest.mark.parametrize(("verb", "said"), [(ack, []), (confirm, []), (reject, []), (label, ["good"])])
def test_the_verbs_that_ask_who_says_so_refuse_a_name_that_says_nothing(verb: click.Command, said: list[str]) -> None:
    with pytest.raises(BadInput, match="--by: found '', expected the name of the person who decided this"):
        verb.make_context("verb", ["3f2a9c", *said, "--config", "station.yaml", "--by", ""])


def test_what_another_user_owns_is_said_where_it_may_not_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(tmp_path / ".lock"))

    monkeypatch.setattr("mdss.cli.mdss.main", refused)
    assert main(["model", "promote"]) == 1
    assert capsys.readouterr().err == f"mdss: {tmp_path / '.lock'}: Permission denied\n"
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    assert main(["model", "promote"]) == 1
    assert capsys.readouterr().err.endswith(f"/.lock: Permission denied; it belongs to the user {other_owner(tmp_path)}\n")
    assert other_owner(tmp_path) and not other_owner(tmp_path / "nowhere" / "nothing")
