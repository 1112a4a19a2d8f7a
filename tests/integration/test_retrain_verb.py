"""`mdss retrain` as a process of its own: what it is asked for, what it says where, and how it gives way."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import yaml

from mdss.method.model_store import open_champion
from tests.retraining import NEW, Plant, good_part, order_of, record_of, work_of
from tests.station import NAME
from trainer.low_priority import NICEST, POOLS
from trainer.retrain_outcome import RetrainEnded
from trainer.retrain_planning import plan_of

pytestmark = pytest.mark.timeout(300)  # they wait for nothing but the processor
# It gives way at its end: behind everything else on the machine it would hardly come to its turn where the tests have all cores busy.
LOOKS_AT_ITSELF = f"""
import json, os, sys
from mdss.cli import main
from trainer import retrain
give_way, asked = retrain.lower_priority, []
retrain.lower_priority = lambda: asked.append(give_way)
print(main(sys.argv[1:]))
import cv2, torch
threads = [os.environ[pool] for pool in {POOLS}], torch.get_num_threads(), cv2.getNumThreads()
for each in asked:
    each()
print(json.dumps([*threads, os.getpriority(os.PRIO_PROCESS, 0), os.umask(0) & 0o027]), flush=True)
os._exit(0)
"""


def run(own: Plant, *options: str, start: tuple[str, ...] = ("-m", "mdss.cli")) -> subprocess.CompletedProcess[str]:
    """Run the verb with these options to its end."""
    command = [sys.executable, *start, "retrain", "--config", str(own.config), "--recipe", NAME, *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_where_nothing_is_new_it_says_so_and_as_json_to_programs(own: Plant) -> None:
    own.collect(0)
    own.collect(1, is_simulated=True)
    said = "found 1 new good parts, expected at least 10 (--least-new); 1 simulated ones are left out (--with-simulated)"
    done = run(own, "--full-speed")
    assert (done.returncode, done.stdout, done.stderr) == (3, "", f"{NAME}: {said}\n")
    done = run(own, "--full-speed", "--json")
    found = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (3, "")
    assert (found["recipe"], found["outcome"], found["exit_code"], found["sentence"]) == (NAME, "nothing_new", 3, said)


def test_it_takes_no_more_than_the_budget_and_simulated_parts_where_it_is_told(own: Plant) -> None:
    for number in range(NEW):
        own.collect(number, is_simulated=True)
    for budget, found in ((3, 3), (400, NEW)):
        done = run(own, "--full-speed", "--with-simulated", "--budget", str(budget), "--least-new", str(NEW + 1))
        assert done.stderr == f"{NAME}: found {found} new good parts, expected at least {NEW + 1} (--least-new)\n"


def test_the_sides_of_parts_have_the_shares_that_are_asked_for(own: Plant) -> None:
    for number in range(NEW):
        own.collect(number, scan=good_part(number, "flange" if number else "potato"))
    for shares, uses in ((("0", "0.9"), {"gate", "train"}), (("0.9", "0"), {"validation", "train"})):
        order_of(own).last_plan.unlink(missing_ok=True)  # else the refused part would be no new one
        done = run(own, "--full-speed", "--least-new", str(NEW), "--validation-share", shares[0], "--gate-share", shares[1], "--json")
        found, plan = json.loads(done.stdout), json.loads(order_of(own).last_plan.read_text())
        assert (done.returncode, found["parts_new"], [each["result_id"] for each in found["refused"]]) == (4, NEW - 1, ["result-0"])
        assert {part["use"] for part in plan["parts"]} - {"train"} == uses - {"train"}
        assert found["parts_used"] == sum(part["use"] in ("train", "validation") for part in plan["parts"])


def collect_with_missing_points(own: Plant) -> None:
    for number in range(NEW):
        scan = good_part(number)
        seen = np.flatnonzero(np.isfinite(scan.xyz_mm[..., 2]).any(axis=1))
        scan.xyz_mm[seen[:: 4 if number else 1000]] = np.nan  # a quarter of the rows, or one
        own.collect(number, scan=scan)


def put_up_with(own: Plant, max_invalid_point_ratio: float) -> None:
    tree = yaml.safe_load(own.config.read_text()) | {"fusion": {"max_invalid_point_ratio": max_invalid_point_ratio}}
    own.config.write_text(yaml.safe_dump(tree))


def test_parts_that_lack_more_points_than_the_station_puts_up_with_are_refused(own: Plant) -> None:
    collect_with_missing_points(own)
    champion = open_champion(own.store, NAME)
    assert plan_of(order_of(own), champion.recipe, champion).refused == ()
    put_up_with(own, 0.2)
    done = run(own, "--full-speed", "--least-new", str(NEW))
    assert done.returncode == 4 and f"found 1 new good parts, expected at least {NEW}" in done.stderr
    assert f"Refused: {NEW - 1} missing_points; {order_of(own).last_plan} has the reason for each" in done.stderr


def test_parts_that_lacked_too_many_points_are_new_once_the_station_puts_up_with_more_and_not_before(own: Plant) -> None:
    collect_with_missing_points(own)
    champion = open_champion(own.store, NAME)
    put_up_with(own, 0.2)
    assert run(own, "--full-speed", "--least-new", str(NEW)).returncode == 4
    for ratio in (0.2, 0.1):
        put_up_with(own, ratio)
        with pytest.raises(RetrainEnded, match="found 1 new good parts"):
            plan_of(order_of(own), champion.recipe, champion)
    put_up_with(own, 0.5)
    assert plan_of(order_of(own), champion.recipe, champion).new == NEW


@pytest.mark.parametrize(
    ("options", "threads", "nice"), [((), 1, NICEST), (("--threads", "3", "--full-speed"), 3, os.getpriority(os.PRIO_PROCESS, 0))]
)
def test_it_gives_way_unless_it_is_told_not_to_and_computes_in_as_many_threads_as_asked(
    own: Plant, options: tuple[str, ...], threads: int, nice: int
) -> None:
    code, state = run(own, *options, start=("-c", LOOKS_AT_ITSELF)).stdout.splitlines()
    assert code == "3"
    assert json.loads(state) == [[str(threads)] * len(POOLS), 2 * threads, 1, nice, 0o027]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--set", "rgb.teacher=gone.safetensors"), "teacher 'gone.safetensors': no such file; expected default, procedural or"),
        (("--set", "rgb.penalty_photographs=gone"), "gone: no such folder; expected photographs in it"),
    ],
)
def test_a_teacher_or_photographs_that_are_gone_are_named_before_a_part_is_looked_at(
    own: Plant, options: tuple[str, ...], sentence: str
) -> None:
    for number in range(NEW):
        own.collect(number)
    done = run(own, "--full-speed", "--least-new", str(NEW), *options)
    assert done.returncode == 2 and sentence in done.stderr and done.stderr.count("\n") == 1
    assert record_of(own).outcome == "failed"
    assert not (order_of(own).last_plan.exists() or work_of(own).exists())
