"""Prints a bench's results: what the machine can do, then what the stages and the station do."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from mdss.errors import written_out
from measure.results import INT8, BothBranches, GrowthFigures, Machine, Results, StageFigures


def show(results: Results, console: Console) -> None:
    """Print all results, the machine first."""
    console.print(f"{results.product}, preset {results.preset}{'' if results.is_trained else ' after two steps of training'}")
    for line in machine_lines(results.machine):
        console.print(line, soft_wrap=True)
    first = next(iter(results.end_to_end))
    console.print(stage_table(f"stages by themselves, one thread, scans of {first}", results.stages))
    for size, figures in results.stages_at.items():
        console.print(stage_table(f"what depends on the size, scans of {size}", figures))
    if results.both_branches is not None:
        console.print(both_line(results.both_branches), soft_wrap=True)
    console.print(line_table(results))
    console.print(overhead_table(results))
    memory = ", ".join(f"{name} {megabytes:.0f}" for name, megabytes in results.memory_mb.items())
    console.print(f"memory in MB: {memory}; all {sum(results.memory_mb.values()):.0f}", soft_wrap=True)
    console.print(f"from start to ready: {results.start_to_ready_s:.1f} s")
    if results.growth:
        console.print(growth_table(results.growth, first))
    if results.speedup_over_reference is not None:
        console.print(f"both branches are {results.speedup_over_reference:g} times as fast as the reference")


def machine_lines(machine: Machine) -> list[str]:
    """Return lines about the machine."""
    rates = [
        f"{precision} {rate:g} GFLOP/s with {threads} thread{'s' if threads != '1' else ''}"
        for precision, by_threads in machine.gflops.items()
        for threads, rate in by_threads.items()
    ]
    eight = f"{INT8} and float32" if INT8 in machine.gflops else "float32"  # float32 does the same sums on a machine without int8
    return [
        f"machine: {machine.processor}, {machine.cores} cores, {machine.device} {machine.device_name}".rstrip()
        + f", torch {machine.torch}, load {machine.load_before:g} before",
        f"matrices: {', '.join(rates)}; models in float score in {machine.precision}, models in eight bits in {eight}",
        f"memory copies {machine.copy_gb_s:g} GB/s, a durable write takes {machine.sync_write_ms:g} ms",
    ]


def stage_table(title: str, stages: dict[str, StageFigures]) -> Table:
    """Return a table with one row for each stage."""
    table = number_table(title, "stage", "p50 ms", "p99 ms", "best ms", "work", "floor ms", "over floor", folds="work")
    for name, each in stages.items():
        times = f"{each.p50_ms:.2f}", f"{each.p99_ms:.2f}", f"{each.best_ms:.2f}"
        table.add_row(name, *times, work(each), written_out(each.floor_ms, 3), written_out(each.over_floor, 3))
    return table


def number_table(title: str, first: str, *others: str, folds: str = "") -> Table:
    """Return an empty table of numbers; the column `folds` may wrap in a narrow terminal."""
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column(first, no_wrap=True)
    for heading in others:
        table.add_column(heading, justify="right", no_wrap=heading != folds)
    return table


def work(figures: StageFigures) -> str:
    """Return the work that a stage's floor comes from."""
    if figures.gflop is not None:
        return f"{figures.gflop:.1f} GFLOP" + (f", {figures.gflop_int8:.1f} in int8" if figures.gflop_int8 else "")
    return "2 writes" if figures.megabytes is None else f"{figures.megabytes:.2f} MB"


def both_line(figures: BothBranches) -> str:
    """Return a line on what one branch costs the other."""
    alone = f"rgb alone {figures.rgb_ms:.1f} ms, sdf alone {figures.sdf_ms:.1f} ms"
    return f"both branches at once, a core each: {figures.both_ms:.1f} ms, {figures.over_slower:.2f} times the slower ({alone})"


def line_table(results: Results) -> Table:
    """Return a table with one row for each size of scan."""
    title = "the station: parts/s at full load; from the camera to a subscriber at half of it"
    table = number_table(title, "scans", "parts/s", "p50 ms", "p99 ms", "p99 / p50", "overhead p50", "p99 ms")
    for size, each in results.end_to_end.items():
        spread = f"{each.p99_ms / each.p50_ms:.2f}"
        overhead = f"{each.overhead_p50_ms:.1f}", f"{each.overhead_p99_ms:.1f}"
        table.add_row(size, f"{each.parts_per_s:.2f}", f"{each.p50_ms:.1f}", f"{each.p99_ms:.1f}", spread, *overhead)
    return table


def overhead_table(results: Results) -> Table:
    """Return a table of the overhead: a row for each size of scan, a column for each stage."""
    stages = next(iter(results.end_to_end.values())).overhead
    table = number_table("where the overhead is: p50 / p99, ms", "scans", *stages)
    for size, each in results.end_to_end.items():
        table.add_row(size, *(f"{spent.p50_ms:.1f} / {spent.p99_ms:.1f}" for spent in each.overhead.values()))
    return table


def growth_table(growth: Sequence[GrowthFigures], size: str) -> Table:
    """Return a table with one row for each combination of processes and cameras."""
    table = number_table(f"how the rate grows, scans of {size}", "processes for each branch", "cameras", "parts/s")
    for each in growth:
        table.add_row(str(each.processes), str(each.cameras), f"{each.parts_per_s:.2f}")
    return table
