"""The fuzzer: a short campaign finds nothing in the real code, and whatever may be wrong with code is found in code that has it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import fuzz
from bench.fuzz import main
from bench.fuzzing.promises import Feed, Input, Target, check
from bench.fuzzing.targets import TARGETS


def test_a_short_campaign_finds_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["--inputs", "4000", "--seed", "7", "--findings", str(tmp_path), "--json"])
    report = json.loads(capsys.readouterr().out)
    assert (code, report["findings"]) == (0, [])
    for name, count in report["targets"].items():
        assert count["taken"] > 0 and count["refused"] > count["taken"] / 100, name
        assert count["taken"] + count["refused"] == count["inputs"], name
    assert sum(count["inputs"] for count in report["targets"].values()) == 4000
    assert list(report["targets"]) == list(TARGETS)


@pytest.mark.parametrize("name", TARGETS)
def test_the_same_seed_makes_the_same_inputs_and_another_seed_makes_others(name: str) -> None:
    first, again, other = (fuzz.Fuzzer(seed).make(name, 5) for seed in (1, 1, 2))
    assert first == again != other


def raises(messages: Input) -> bool:
    return messages[0][0].decode("ascii") == ""


def breaks_a_promise(messages: Input) -> bool:
    check(is_kept=False, promise="it is kept")
    return True


def reserves_without_bounds(messages: Input) -> bool:
    return len(bytearray(2**33)) > 0


def never_ends(messages: Input) -> bool:
    while True:
        pass


@pytest.mark.parametrize(
    ("feed", "words"),
    [
        (raises, ["UnicodeDecodeError in test_fuzz.py:raises"]),
        (breaks_a_promise, ["broken promise: it is kept"]),
        (reserves_without_bounds, ["MemoryError in test_fuzz.py:reserves_without_bounds"]),
        (never_ends, ["Hung in fuzz.py:_break_off"]),
    ],
)
def test_what_is_wrong_is_found_once_and_can_be_fed_again(
    feed: Feed, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(TARGETS, "codec", Target(lambda random: [[b"\xff"]], feed, share=1.0))
    monkeypatch.setattr(fuzz, "HUNG_S", 0.1)
    monkeypatch.setattr(fuzz, "SLOW_S", 0.05)
    assert main(["--inputs", "3", "--target", "codec", "--findings", str(tmp_path), "--json"]) == 1
    assert [found["what"] for found in json.loads(capsys.readouterr().out)["findings"]] == words
    written = sorted(tmp_path.iterdir())
    assert [path.name for path in written] == ["codec-0-0.json"]
    assert main(["--replay", str(written[0])]) == 1
    assert words[0] in capsys.readouterr().out


def test_an_input_that_takes_long_twice_is_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fuzz, "SLOW_S", 0.0)
    assert main(["--inputs", "2", "--target", "snapshot", "--findings", str(tmp_path)]) == 1
    assert "snapshot 0: took more than 0 s" in capsys.readouterr().out


def test_memory_that_grows_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes_mb = iter(range(100, 10_000, 30))
    monkeypatch.setattr(fuzz, "largest_mb", lambda: float(next(sizes_mb)))
    assert main(["--inputs", "8", "--target", "codec", "--findings", str(tmp_path)]) == 1
    assert "codec 6: memory grew beyond 64 MiB" in capsys.readouterr().out


def test_a_file_that_holds_no_finding_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.json").write_text('{"target": "nothing"}')
    assert main(["--replay", str(tmp_path / "x.json")]) == 2
    assert "found no finding of this command" in capsys.readouterr().err
