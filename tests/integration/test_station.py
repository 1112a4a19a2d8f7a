"""The whole station on a healthy day: real processes, real ZeroMQ, a real Redis, a trained model; no test breaks anything."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import zmq
from click.testing import CliRunner

from daemon.alert_store import Alert, open_store
from daemon.private_redis import PrivateRedis
from mdss.cli import mdss
from mdss.wire.verdict import Verdict
from tests.json_schema import faults
from tests.lines import SIDE_PX
from tests.station import GOOD, NAME, PAINTED, PATIENCE_S, Station, Trained, read_journal, scan_of, site, wait_until
from trainer.synthetic import Line
from trainer.synthetic_camera import FIELD_MM, View

pytestmark = pytest.mark.timeout(180)
DOCS = Path(__file__).parents[2] / "docs"
SCHEMA = json.loads((DOCS / "schemas" / "verdict.v1.json").read_text())
METRICS = set(re.findall(r"^\| `(mdss_\w+).*?` \| (\w+) \|", (DOCS / "operations.md").read_text(), re.MULTILINE))  # name, kind
SOURCE = "replayed"
PITCH_MM = FIELD_MM / SIDE_PX


@pytest.fixture(scope="module")
def station(trained: Trained, redis_server: PrivateRedis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Station]:
    with site(trained, redis_server.url, tmp_path_factory.mktemp("healthy")) as place, place.running() as running:
        yield running


def run(*arguments: object) -> str:
    """Run one verb and return what it prints."""
    result = CliRunner().invoke(mdss, [str(argument) for argument in arguments], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    return result.stdout


@dataclass(frozen=True)
class Replayed:
    """What came out of a replay: its summary, and what a bare subscriber in another language would have read."""

    summary: dict[str, Any]
    published: list[tuple[str, dict[str, Any]]]  # topic, verdict

    @property
    def verdicts(self) -> dict[str, dict[str, Any]]:
        """Return part_id -> verdict."""
        return {verdict["part_id"]: verdict for _, verdict in self.published}


@pytest.fixture(scope="module")
def replayed(station: Station) -> Replayed:
    with zmq.Context() as context, context.socket(zmq.SUB) as socket:
        socket.linger = 0
        socket.connect(station.settings.verdicts.endpoint)
        socket.subscribe(b"")
        assert socket.recv_multipart()[0].startswith(b"heartbeat/")  # the subscription has arrived
        summary = json.loads(run("replay", station.trained.data, "--config", station.config, "--source", SOURCE, "--json"))
        published = [(topic.decode(), json.loads(text)) for topic, text in _verdicts(socket, len(GOOD + PAINTED))]
    return Replayed(summary, published)


def _verdicts(socket: zmq.Socket[bytes], count: int) -> Iterator[tuple[bytes, bytes]]:
    while count:
        topic, *rest = socket.recv_multipart()
        if topic.startswith(f"verdict/healthy0/{SOURCE}/".encode()):
            count -= 1
            yield topic, rest[0]


def alerts_of(station: Station, source: str) -> list[Alert]:
    """Return the alerts in Redis of one camera's parts."""
    with closing(open_store(station.settings)) as store:
        return [alert for alert in store.newest(1000) if alert.verdict.source_id == source]


def rejected(verdicts: list[Verdict]) -> set[str]:
    """Return the result ids of parts that are not OK."""
    return {verdict.result_id for verdict in verdicts if verdict.evaluation != "OK"}


def test_every_documented_counter_and_gauge_of_a_station_is_there_before_it_counts_anything(station: Station) -> None:
    expected = {name for name, kind in METRICS if kind != "histogram" and not name.startswith(("mdss_drift", "mdss_retrain_"))}
    assert len(expected) > 40
    assert read_journal(station.settings) == [], "no part has come yet"
    wait_until(lambda: expected <= metrics_of(station), lambda: expected - metrics_of(station))  # each process reports once a second


def metrics_of(station: Station) -> set[str]:
    """Return the names of the metrics that have a value."""
    return set(re.findall(r"^(mdss_\w+)", station.page("/metrics")[1], re.MULTILINE))


def test_a_replayed_folder_gives_one_verdict_per_scan(station: Station, replayed: Replayed) -> None:
    count = len(GOOD + PAINTED)
    assert {name: replayed.summary[name] for name in ("sent", "done", "rejected", "unanswered", "unreadable")} == {
        "sent": count, "done": count, "rejected": [], "unanswered": 0, "unreadable": [],
    }  # fmt: skip
    assert sorted(verdict["part_id"] for _, verdict in replayed.published) == sorted(GOOD + PAINTED)
    assert sorted(verdict.part_id for verdict in station.verdicts(SOURCE)) == sorted(GOOD + PAINTED)


def test_good_parts_are_ok_and_painted_ones_are_not(replayed: Replayed) -> None:
    assert {part: replayed.verdicts[part]["evaluation"] for part in GOOD + PAINTED} == dict.fromkeys(GOOD, "OK") | dict.fromkeys(
        PAINTED, "NotOK"
    )


def test_scores_are_those_of_evaluate_on_the_same_scans(station: Station, replayed: Replayed, tmp_path: Path) -> None:
    trained = station.trained
    run("evaluate", "--data", trained.data, "--recipe", NAME, "--store", trained.store, "--json", tmp_path / "e.json", "--device", "cpu")
    scans = json.loads((tmp_path / "e.json").read_text())["scans"]
    assert sorted(scans) == sorted(GOOD + PAINTED)
    for part, expected in scans.items():
        verdict = replayed.verdicts[part]
        found = {"fused": verdict["score"]} | {name: branch["score"] for name, branch in verdict["branches"].items()}
        assert found == pytest.approx({name: expected[name] for name in ("fused", "rgb", "sdf")}, rel=1e-4)
        assert verdict["evaluation"] == expected["evaluation"]


def test_each_published_verdict_fits_its_schema_and_its_topic(replayed: Replayed) -> None:
    for topic, verdict in replayed.published:
        assert faults(verdict, SCHEMA, SCHEMA) == []
        assert verdict.keys() == SCHEMA["$defs"]["Verdict"]["properties"].keys()
        assert topic == f"verdict/{verdict['station']}/{verdict['source_id']}/{verdict['evaluation']}"


def test_every_field_of_a_judged_part_is_filled(replayed: Replayed) -> None:
    verdict = replayed.verdicts[PAINTED[0]]
    empty = {name for name, value in verdict.items() if value is None or value in ("", [], {})}
    assert empty == {"code"}
    assert verdict["model"]["version"] == verdict["branches"]["rgb"]["model_version"] == verdict["branches"]["sdf"]["model_version"]
    times = verdict["times"]
    assert times["captured"] <= times["received"] <= min(times["rgb"], times["sdf"]) <= times["fusion"] <= times["published"]
    assert 0 < verdict["invalid_point_ratio"] < 1


def test_the_region_lies_on_the_painted_square(replayed: Replayed) -> None:
    for part in PAINTED:
        region = replayed.verdicts[part]["regions"][0]
        x, y = region["centroid_px"]
        assert 20 <= x <= 44 and 36 <= y <= 60
        assert region["branch"] == "rgb"
        assert region["area_mm2"] / region["area_px"] == pytest.approx(PITCH_MM**2, rel=0.1)


@pytest.mark.usefixtures("replayed")
def test_every_part_that_is_not_ok_is_one_alert_with_its_picture(station: Station) -> None:
    expected = rejected(station.verdicts(SOURCE))
    wait_until(lambda: len(alerts_of(station, SOURCE)) >= len(expected))
    alerts = alerts_of(station, SOURCE)
    assert sorted(alert.result_id for alert in alerts) == sorted(expected)
    with closing(open_store(station.settings)) as store:
        for alert in alerts:
            picture, evidence = store.picture(alert.result_id), alert.verdict.evidence
            assert picture is not None and evidence is not None
            assert hashlib.sha256(picture).hexdigest() == evidence.sha256
            assert cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR) is not None


def test_the_same_frames_again_are_judged_and_alerted_once(station: Station) -> None:
    done = []
    for _ in range(2):
        with station.camera("twice") as camera:
            for part in PAINTED:
                station.send(camera, part, frame_id=f"frame of {part}")
            assert camera.wait_until_done(PATIENCE_S)
            done.append({name: (each.result_id, each.sequence) for name, each in camera.done.items()})
        wait_until(lambda: len(alerts_of(station, "twice")) >= len(PAINTED))
    assert done[0] == done[1]
    assert [verdict.part_id for verdict in station.verdicts("twice")] == list(PAINTED)
    wait_until(lambda: "mdss_alert_backlog 0.0" in station.page("/metrics")[1])
    assert len(alerts_of(station, "twice")) == len(PAINTED)


def test_watch_ends_after_count_and_programs_read_it(station: Station, replayed: Replayed) -> None:
    lines = run("watch", "--config", station.config, "--since", 0, "--count", len(replayed.published), "--json").splitlines()
    assert [json.loads(line)["sequence"] for line in lines] == list(range(1, len(replayed.published) + 1))


def test_alerts_are_listed_and_shown(station: Station, replayed: Replayed, tmp_path: Path) -> None:
    result_id = replayed.verdicts[PAINTED[0]]["result_id"]
    wait_until(lambda: result_id in {alert.result_id for alert in alerts_of(station, SOURCE)})
    listed = json.loads(run("alerts", "list", "--config", station.config, "--json"))
    assert result_id in {alert["result_id"] for alert in listed}
    shown = run("alerts", "show", result_id, "--config", station.config, "--picture", tmp_path / "part.png")
    assert PAINTED[0] in shown and "above the threshold" in shown
    assert cv2.imread(str(tmp_path / "part.png")) is not None


def test_status_shows_every_process_ready(station: Station) -> None:
    report = json.loads(run("status", "--config", station.config, "--json"))
    assert (report["station"], report["state"], report["is_ready"]) == ("healthy0", "running", True)
    assert [process["name"] for process in report["processes"]] == ["alerts", "collect", "fusion", "rgb-0", "sdf-0", "prepare", "ingest"]
    assert all(process["is_ready"] and process["restarts"] == 0 for process in report["processes"])


@pytest.mark.usefixtures("replayed")
def test_probes_and_metrics_answer(station: Station) -> None:
    assert (station.page("/livez"), station.page("/readyz")) == ((200, "live\n"), (200, "ready\n"))
    assert json.loads(station.page("/status")[1])["state"] == "running"
    plain = ("mdss_frames_received_total", "mdss_verdict_latency_seconds_bucket", "mdss_store_up 1.0", "mdss_station_ready 1.0")
    stages = [f'mdss_stage_duration_seconds_count{{stage="{stage}"}}' for stage in ("ingest", "prepare", "rgb", "sdf")]
    expected = [*plain, 'mdss_verdicts_total{code="",evaluation="NotOK"}', *stages]
    wait_until(lambda: all(series in station.page("/metrics")[1] for series in expected))  # each process reports once a second


@pytest.mark.usefixtures("replayed")
def test_every_metric_that_is_documented_is_of_the_kind_that_is_documented(station: Station) -> None:
    def wrong() -> set[tuple[str, str]]:
        return METRICS - set(re.findall(r"^# TYPE (\w+) (\w+)$", station.page("/metrics")[1], re.MULTILINE))

    wait_until(lambda: not wrong(), wrong)


@pytest.mark.usefixtures("replayed")
def test_the_example_camera_and_the_example_subscriber_meet_the_station_as_they_are(station: Station) -> None:
    verdicts, endpoint = station.settings.verdicts, station.settings.camera.endpoint
    camera = subprocess.run(example("camera.py", endpoint, NAME), capture_output=True, text=True, timeout=100, check=False)
    assert (camera.returncode, camera.stdout) == (0, "10 judged, 0 refused\n"), camera.stderr
    assert len(station.verdicts("example-camera")) == 10
    arguments = example("subscriber.py", verdicts.endpoint, verdicts.snapshot_endpoint)
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as subscriber:
        assert subscriber.stdout is not None
        line = subscriber.stdout.readline()
        subscriber.kill()
    first = next(verdict for verdict in read_journal(station.settings) if verdict.evaluation != "OK")
    assert line.split()[:3] == [str(first.sequence), first.part_id, first.evaluation]


def example(name: str, *arguments: str) -> list[str]:
    """Return the command of one of the examples."""
    return [sys.executable, str(Path(__file__).parents[2] / "examples" / name), *arguments]


def test_an_unknown_recipe_is_refused_with_a_sentence_and_the_line_goes_on(station: Station) -> None:
    with station.camera("stranger") as camera:
        refused = station.send(camera, GOOD[0], recipe_id="foam")
        judged = station.send(camera, GOOD[0])
        assert camera.wait_until_done(PATIENCE_S)
    assert camera.rejected[refused].code == "UNKNOWN_RECIPE"
    assert camera.rejected[refused].reason == f"FRAME recipe_id: found foam, expected one of {NAME}"
    assert list(camera.done) == [judged]


def test_clouds_that_cannot_be_judged_are_undefined_with_a_sentence_and_the_next_part_is_judged(station: Station) -> None:
    rgb, recorded = scan_of(station.trained.data, GOOD[0])
    rows, columns = np.indices(rgb.shape[:2], np.float32)
    table = np.stack([columns, rows, np.full_like(rows, 480)], axis=-1)
    with station.camera("empty") as camera:
        camera.send(rgb, table, part_id="table", recipe_id=NAME, unit="mm")
        camera.send(rgb, np.full_like(table, np.nan), part_id="nothing", recipe_id=NAME, unit="mm")
        camera.send(rgb, recorded, part_id="zeros", recipe_id=NAME, unit="m")  # not said to be missing points
        camera.send(rgb, np.where(recorded == 0, np.nan, recorded).astype(np.float32), part_id="metres", recipe_id=NAME, unit="mm")
        station.send(camera, GOOD[0])
        assert camera.wait_until_done(PATIENCE_S)
    verdicts = {verdict.part_id: verdict for verdict in station.verdicts("empty")}
    assert {name: (verdict.evaluation, verdict.code) for name, verdict in verdicts.items()} == {
        **dict.fromkeys(("table", "nothing", "zeros", "metres"), ("Undefined", "BAD_CLOUD")), GOOD[0]: ("OK", None),
    }  # fmt: skip
    assert verdicts["table"].reasons[0].startswith("no part in view")
    assert verdicts["nothing"].reasons == ("the cloud is empty: no pixel has a measured point",)
    assert "pixels hold the same point (0, 0, 0)" in verdicts["zeros"].reasons[0]
    assert "the scene measures 0.0" in verdicts["metres"].reasons[0]
    wait_until(lambda: len(alerts_of(station, "empty")) == 4)


@pytest.mark.parametrize(("view", "source"), [(View(120, 160, "m"), "wide"), (View(160, 120, "mm", tilt_deg=8.0), "tall")])
def test_any_size_unit_and_tilt_is_judged_where_it_was_measured(station: Station, view: View, source: str) -> None:
    scan = Line(NAME, 1, view=view).scan("test", "good", 0)
    rgb, xyz = scan.rgb.copy(), scan.xyz_mm / np.float32(1000 if view.unit == "m" else 1)
    rgb[70:94, 50:74] = (255, 0, 255)
    with station.camera(source) as camera:
        camera.send(rgb, xyz, part_id="p", recipe_id=NAME, unit=view.unit)
        assert camera.wait_until_done(PATIENCE_S)
    (verdict,) = station.verdicts(source)
    assert (verdict.evaluation, verdict.code) == ("NotOK", None)
    x, y = verdict.regions[0].centroid_px
    assert 50 <= x <= 74 and 70 <= y <= 94
    position = verdict.regions[0].centroid_mm
    assert position is not None
    around = scan.xyz_mm[round(y) - 4 : round(y) + 5, round(x) - 4 : round(x) + 5, :2]  # not down: the flange has a hole there
    assert np.abs(np.asarray(position[:2]) - np.nanmean(around, axis=(0, 1))).max() < 5
