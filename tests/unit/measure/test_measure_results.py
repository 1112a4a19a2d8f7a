"""Figures of single times: percentiles, time over floor, and what each kind of stage is held against."""

from __future__ import annotations

import io

import msgspec
import pytest

from mdss.terminal import plain_console
from measure.results import Machine, Operations, StageFigures, percentile, stage_figures
from measure.stages import Effort, StageRecords, megabytes
from measure.tables import machine_lines, stage_table, work
from tests.plates import plate

MACHINE = Machine(
    processor="a processor",
    cores=2,
    device="cpu",
    device_name="",
    torch="2",
    threads=2,
    precision="bfloat16",
    gflops={"float32": {"1": 100.0, "2": 200.0}, "bfloat16": {"1": 400.0, "2": 800.0}, "int8": {"1": 1000.0, "2": 2000.0}},
    copy_gb_s=10.0,
    sync_write_ms=0.5,
    load_before=0.1,
)


def test_percentiles_lie_between_two_values_linearly() -> None:
    assert percentile([1.0, 2.0, 4.0], 0.5) == 2.0
    assert percentile([1.0, 2.0], 0.99) == 1.99


def test_a_stage_is_as_many_times_over_its_floor_as_its_usual_time_is() -> None:
    figures = stage_figures([30.0, 10.0, 20.0], [8.0] * 3)
    assert (figures.p50_ms, figures.best_ms, figures.floor_ms, figures.over_floor, figures.parts) == (20.0, 10.0, 8.0, 2.5, 3)


def test_parts_of_two_sizes_are_each_held_against_their_own_floor() -> None:
    small, large = [10.0, 10.1, 13.0], [20.0, 20.2, 20.4]
    figures = stage_figures([*small, *large], [8.0] * 3 + [16.0] * 3)
    assert (figures.p50_ms, figures.floor_ms, figures.over_floor) == (16.5, 12.0, 1.26)


def test_operations_count_by_the_rate_of_one_thread_in_the_precision_that_is_scored_in() -> None:
    notes = StageRecords()
    with notes.timed("rgb", work=Operations(40.0)):
        pass
    figures = notes.figures(MACHINE)["rgb"]
    assert figures.floor_ms == pytest.approx(100.0) and figures.gflop == 40.0
    assert work(figures) == "40.0 GFLOP"


def test_operations_in_eight_bits_count_by_the_rate_of_eight_bits() -> None:
    notes = StageRecords()
    for int8 in (10.0, 20.0, 90.0):
        with notes.timed("rgb", work=Operations(0.0, int8, 1.0)):
            pass
    figures = notes.figures(MACHINE)["rgb"]
    assert figures.floor_ms == pytest.approx(10.0 + 20.0)
    assert work(figures) == "21.0 GFLOP, 20.0 in int8"


def test_a_table_of_stages_shows_every_figure_in_a_terminal_of_80_columns() -> None:
    figures = StageFigures(
        p50_ms=134.28, p99_ms=173.21, best_ms=106.71, floor_ms=34.81, over_floor=3.86, parts=60, gflop=21.3, gflop_int8=20.5
    )
    shown = io.StringIO()
    plain_console(file=shown, width=80).print(stage_table("stages", {"codec_frame": figures}))
    for figure in ("codec_frame", "134.28", "173.21", "106.71", "21.3 GFLOP,", "20.5 in int8", "34.8", "3.86"):
        assert figure in shown.getvalue()


def test_bytes_count_by_the_copy_rate_and_the_journal_by_two_durable_writes() -> None:
    notes = StageRecords()
    with notes.timed("ingest", megabytes=5.0):
        pass
    with notes.timed("journal"):
        pass
    figures = notes.figures(MACHINE)
    assert (figures["ingest"].floor_ms, figures["journal"].floor_ms) == (0.5, 1.0)
    assert [work(each) for each in figures.values()] == ["5.00 MB", "2 writes"]


def test_a_stretch_ends_after_its_parts_or_when_time_is_up_but_never_before_three() -> None:
    assert list(Effort(5, 1e9).numbers()) == [0, 1, 2, 3, 4]
    assert list(Effort(5, -1.0).numbers()) == [0, 1, 2]


def test_megabytes_are_those_of_all_arrays() -> None:
    assert megabytes(plate(), plate()) == 2 * plate().nbytes / 1e6


def test_the_machine_is_said_in_words() -> None:
    lines = machine_lines(MACHINE)
    assert lines[0] == "machine: a processor, 2 cores, cpu, torch 2, load 0.1 before"
    assert "bfloat16 400 GFLOP/s with 1 thread, bfloat16 800 GFLOP/s with 2 threads, int8 1000 GFLOP/s" in lines[1]
    assert lines[1].endswith("; models in float score in bfloat16, models in eight bits in int8 and float32")
    without = msgspec.structs.replace(MACHINE, gflops={kind: rates for kind, rates in MACHINE.gflops.items() if kind != "int8"})
    assert machine_lines(without)[1].endswith("; models in float score in bfloat16, models in eight bits in float32")
