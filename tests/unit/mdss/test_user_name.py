"""Who says so is known also where the process runs as a number without a name, as `docker run --user 54321` has it."""

from __future__ import annotations

import getpass

import click
import pytest

from daemon.alert_verbs import ack, confirm, reject
from daemon.collection_verbs import label
from mdss.errors import BadInput
from mdss.user_name import user


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
    with pytest.raises(BadInput, match="--by: found '', expected the name of who says so"):
        verb.make_context("verb", ["3f2a9c", *said, "--config", "station.yaml", "--by", ""])
