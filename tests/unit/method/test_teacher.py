"""Teachers on disk: half precision with a card, and no other file is taken for one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from mdss.errors import BadInput
from mdss.method.description_network import PatchDescriptionNetwork
from mdss.method.teacher import TeacherCard, card_path, load_teacher, path_of, save_teacher, shipped_names

CARD = TeacherCard(kind="procedural", source="a test", licence="Apache-2.0", made_at="now", details={"steps": 3})


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    save_teacher(tmp_path / "t.safetensors", PatchDescriptionNetwork(), CARD)
    return tmp_path / "t.safetensors"


def test_a_teacher_comes_back_in_half_precision_with_its_card(stored: Path) -> None:
    torch.manual_seed(0)
    original = PatchDescriptionNetwork()
    network, card = load_teacher(str(stored))
    assert (card.kind, card.details, len(card.sha256)) == ("procedural", {"steps": 3}, 64)
    assert torch.equal(network.conv2.weight, original.conv2.weight.half().float())
    assert not any(value.requires_grad for value in network.parameters())


@pytest.mark.parametrize(("name", "kind"), [("default", "distilled"), ("procedural", "procedural")])
def test_two_teachers_ship_with_the_project_and_describe_patches(name: str, kind: str) -> None:
    assert name in shipped_names()
    network, card = load_teacher(name)
    assert card.kind == kind
    assert 4e6 < path_of(name).stat().st_size < 6e6
    described = network(torch.rand(2, 3, 64, 64))
    assert described.std() > 0.1
    assert torch.isfinite(described).all()


def test_a_power_cut_leaves_weights_and_card_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed = list[int]()
    monkeypatch.setattr(os, "fsync", lambda number: flushed.append(os.fstat(number).st_ino))
    save_teacher(tmp_path / "t.safetensors", PatchDescriptionNetwork(), CARD)
    assert flushed == [(tmp_path / name).stat().st_ino for name in ("t.safetensors", "t.json")]


def test_changed_weights_are_refused(stored: Path) -> None:
    stored.write_bytes(stored.read_bytes()[:-1] + b"x")
    with pytest.raises(BadInput, match="do not match the checksum"):
        load_teacher(str(stored))


def test_a_missing_file_and_a_missing_card_are_named(stored: Path) -> None:
    card_path(stored).unlink()
    with pytest.raises(BadInput, match=r"t\.json: no such file; expected the card of t\.safetensors"):
        load_teacher(str(stored))
    with pytest.raises(BadInput, match="teacher 'defult': no such file; expected default, procedural"):
        load_teacher("defult")
