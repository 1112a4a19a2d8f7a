"""`mdss drift`: what the record says, as a table, as JSON and as a picture."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from daemon.drift_verb import bars, command
from mdss.drift_record import DriftRecord, write_record
from mdss.errors import BadInput
from tests.drifting import drifting

CONFIG = "station: {state_directory: state}\nmodels: {recipes: [cap, lid]}\n"
NO_BLOCK = msgspec.structs.replace(drifting(), parts=0, blocks=(), warnings={})


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "state").mkdir()
    path = tmp_path / "station.yaml"
    path.write_text(CONFIG)
    return path


def show(config: Path, *options: str) -> str:
    """Run the verb and return what it prints."""
    done = CliRunner().invoke(command, ["--config", str(config), *options], catch_exceptions=False, standalone_mode=False)
    if isinstance(done.exception, Exception):
        raise done.exception
    return done.output


def test_it_names_what_drifts_and_since_which_part(config: Path) -> None:
    write_record(config.parent / "state", drifting())
    (line,) = [line for line in show(config).splitlines() if "since" in line]
    assert line.startswith("drift: brightness") and "part-301" in line


def test_behind_a_recipe_without_a_block_each_quantity_of_the_next_is_shown_as_calibrated_as_now_and_as_a_trend(config: Path) -> None:
    onset = msgspec.structs.replace(drifting().warnings["brightness"], warned_ns=86_400 * 10**9)
    write_record(config.parent / "state", NO_BLOCK)
    write_record(config.parent / "state", msgspec.structs.replace(drifting(), recipe="lid", warnings={"brightness": onset}))
    _, heading, columns, *rows, warning = show(config).splitlines()
    assert heading == "lid: 400 parts compared with the 40 of model 0001, in blocks of 25"
    assert columns.split("  ")[-1] == "trend, newest last"
    assert [" ".join(row.split()) for row in rows] == [
        "score of branch rgb 100 (87.87 to 112.1) 97.23 ▅▄▄▄▅▄▄▅▄▄▄▄▅▅▅▄",
        "score of branch sdf 100 (87.87 to 112.1) 101.2 ▄▄▅▅▄▅▅▅▄▅▅▃▅▄▄▅",
        "brightness of the part 100 (87.87 to 112.1) 57.47 ▅▄▄▄▄▄▄▄▄▅▅▅▁▁▁▁",
        "share of valid points 100 (87.87 to 112.1) 103 ▄▅▄▅▄▄▄▄▅▅▄▄▅▅▄▅",
        "distance of the part (mm) 100 (87.87 to 112.1) 97.74 ▄▄▅▅▅▅▅▄▄▄▄▄▄▄▄▄",
    ]
    sentence = "now 57.47, at calibration 100 (87.87 to 112.1 of 8 in 10 good parts), since about part part-301"
    assert warning == f"drift: brightness of the part: {sentence}, warned of 1970-01-02 00:00:00+00:00"


def test_before_the_first_block_is_complete_it_says_how_many_parts_are_wanted_and_not_that_there_was_none(config: Path) -> None:
    write_record(config.parent / "state", NO_BLOCK)
    said = "cap: found no 25 parts in a row of model 0001 yet, expected one such block at least"
    assert show(config) == f"{said}: ask again after some more\n"


def test_a_bar_is_in_the_middle_as_calibrated_and_at_the_end_beyond_all_reference_parts() -> None:
    drawn = bars(drifting(), "brightness")
    assert (len(drawn), drawn[-4:]) == (16, "▁▁▁▁")
    assert set(drawn[:12]) <= set("▃▄▅▆")
    brighter = msgspec.structs.replace(drifting().blocks[-1], shifts={"brightness": 0.5})
    assert bars(msgspec.structs.replace(drifting(), blocks=(brighter,)), "brightness") == "█"


def test_the_trend_is_that_of_the_latest_blocks() -> None:
    long = msgspec.structs.replace(drifting(), blocks=drifting().blocks * 2)
    assert bars(long, "brightness") == (2 * bars(drifting(), "brightness"))[-24:]


def test_json_is_a_list_of_records_and_none_of_a_recipe_that_has_no_parts(config: Path) -> None:
    write_record(config.parent / "state", drifting())
    assert msgspec.json.decode(show(config, "--json"), type=list[DriftRecord]) == [drifting()]
    assert msgspec.json.decode(show(config, "--json", "--recipe", "lid")) == []
    assert "no part was compared yet" in show(config, "--recipe", "lid")


def test_the_trend_is_drawn_into_a_picture(config: Path, tmp_path: Path) -> None:
    write_record(config.parent / "state", drifting())
    show(config, "--plot", str(tmp_path / "trend.png"))
    assert (tmp_path / "trend.png").read_bytes().startswith(b"\x89PNG")


def test_a_picture_replaces_the_one_before_as_a_whole(config: Path, tmp_path: Path) -> None:
    write_record(config.parent / "state", drifting())
    (tmp_path / "trend.png").write_bytes(b"the one before")
    (tmp_path / "still open.png").hardlink_to(tmp_path / "trend.png")
    show(config, "--plot", str(tmp_path / "trend.png"))
    assert (tmp_path / "trend.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "still open.png").read_bytes() == b"the one before"


def test_where_the_picture_is_is_said_and_not_among_the_json(config: Path, tmp_path: Path) -> None:
    write_record(config.parent / "state", drifting())
    picture = str(tmp_path / "trend.png")
    assert show(config, "--plot", picture).endswith(f"\nplot: {picture}\n")
    told = CliRunner().invoke(command, ["--config", str(config), "--plot", picture, "--json"])
    assert msgspec.json.decode(told.stdout, type=list[DriftRecord]) == [drifting()]
    assert told.stderr == f"plot: {picture}\n"


def test_a_picture_is_of_one_recipe_and_of_one_that_has_a_block(config: Path, tmp_path: Path) -> None:
    write_record(config.parent / "state", drifting())
    write_record(config.parent / "state", msgspec.structs.replace(NO_BLOCK, recipe="lid"))
    with pytest.raises(BadInput, match="found the records of cap, lid, expected one recipe; say which with --recipe"):
        show(config, "--plot", str(tmp_path / "trend.png"))
    with pytest.raises(BadInput, match="found no block of parts yet"):
        show(config, "--recipe", "lid", "--plot", str(tmp_path / "trend.png"))


@pytest.mark.parametrize(
    ("options", "refusal"),
    [
        (("--recipe", "nut"), "expected one of cap, lid"),
        (("--recipe", "lid", "--plot", "trend.png"), "found no block of parts yet"),
        (("--recipe", "cap", "--plot", "trend.txt"), "expected a name that ends with"),
    ],
)
def test_what_it_cannot_show_is_refused_with_a_sentence(config: Path, options: tuple[str, ...], refusal: str) -> None:
    write_record(config.parent / "state", drifting())
    with pytest.raises(BadInput, match=refusal):
        show(config, *options)
