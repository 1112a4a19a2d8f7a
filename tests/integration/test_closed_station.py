"""The whole station with every door locked: keys on tcp, a token on the pages, and nothing on disk for others."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from click.testing import CliRunner

from demo.station import free_port
from mdss.cli import main, mdss
from mdss.errors import MdssError
from tests.keys import KeyRing
from tests.station import GOOD, NAME, PAINTED, Station, Trained, site, wait_until

pytestmark = pytest.mark.timeout(180)
NO_REDIS = "redis://127.0.0.1:1/0"
SIXTEEN = "0123456789abcdef"


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> KeyRing:
    made = KeyRing.make(tmp_path_factory.mktemp("keys") / "ring", "camera-1", "replay", "plc")
    made.add("stranger", is_listed=False)
    return made


@pytest.fixture(scope="module")
def station(trained: Trained, ring: KeyRing, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Station]:
    frames, verdicts, snapshot = (f"tcp://0.0.0.0:{free_port()}" for _ in range(3))
    token = ring.folder / "token"
    token.touch(0o600)
    token.write_text(SIXTEEN)
    doors: dict[str, dict[str, object]] = {
        "camera": {"endpoint": frames},
        "verdicts": {"endpoint": verdicts, "snapshot_endpoint": snapshot},
        "security": {**ring.section, "client_key_file": str(ring.secrets / "replay.key_secret")},
        "http": {"token_file": str(token), "port": free_port()},
    }
    with site(trained, NO_REDIS, tmp_path_factory.mktemp("closed"), **doors) as place, place.running() as running:
        yield running


def run(*arguments: object) -> str:
    result = CliRunner().invoke(mdss, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_part_goes_from_a_camera_to_a_subscriber_that_both_have_keys(station: Station, ring: KeyRing) -> None:
    with station.stream_from_now(ring.of("plc")) as stream, station.camera("camera-1", ring.of("camera-1")) as camera:
        frame_ids = [station.send(camera, part_id) for part_id in (GOOD[0], PAINTED[0])]
        assert camera.wait_until_done(60)
        heard = [stream.receive(60) for _ in frame_ids]
    assert {verdict.frame_id: verdict.evaluation for verdict in heard if verdict} == dict(zip(frame_ids, ("OK", "NotOK"), strict=True))


def test_whose_key_is_not_on_the_list_hears_and_says_nothing(station: Station, ring: KeyRing) -> None:
    with station.stream(keys=ring.of("stranger")) as stream:
        assert stream.receive(1) is None
    with station.camera("camera-1", ring.of("stranger")) as camera:
        camera.send_timeout_s = 1
        with pytest.raises(MdssError, match="no station answered"):
            station.send(camera, GOOD[0])


def test_replay_and_watch_connect_by_the_key_of_the_settings(station: Station) -> None:
    summary = json.loads(run("replay", station.trained.data, "--config", station.config, "--recipe", NAME, "--json"))
    assert (summary["done"], summary["rejected"]) == (len(GOOD) + len(PAINTED), [])
    assert (summary["evaluations"], summary["unknown"]) == ({"OK": len(GOOD), "NotOK": len(PAINTED)}, 0)
    lines = run("watch", "--config", station.config, "--since", 0, "--count", summary["done"], "--json").splitlines()
    assert len(lines) == summary["done"]


def test_a_replay_of_scans_that_cannot_be_judged_fails_and_says_why(station: Station) -> None:
    words = ("replay", str(station.trained.data), "--config", str(station.config), "--recipe", NAME, "--unit", "mm", "--json")
    result = CliRunner().invoke(mdss, words)  # the clouds are in metres: in millimetres, the scene would be far too small
    assert result.exit_code == 1
    summary = json.loads(result.stdout)
    assert (summary["done"], summary["evaluations"]) == (len(GOOD + PAINTED), {"Undefined": len(GOOD + PAINTED)})
    assert {each["code"] for each in summary["undefined"]} == {"BAD_CLOUD"} and all(each["reason"] for each in summary["undefined"])
    assert sorted(each["part_id"] for each in summary["undefined"]) == sorted(GOOD + PAINTED)


def test_the_pages_want_the_token_and_status_sends_it(station: Station, capsys: pytest.CaptureFixture[str]) -> None:
    assert {station.page(page)[0] for page in ("/livez", "/readyz", "/status", "/metrics")} == {401}
    assert main(["status", "--config", str(station.config), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["station"] == station.settings.station.name


def test_what_the_station_makes_its_group_may_read_and_others_not_even_that(station: Station, ring: KeyRing) -> None:
    state, run = Path(station.settings.station.state_directory), Path(station.settings.station.runtime_directory)
    with station.camera("camera-1", ring.of("camera-1")) as camera:
        station.send(camera, PAINTED[1])
        camera.wait_until_done(60)
    wait_until(lambda: any((state / "evidence").rglob("*.png")))
    made = {path: mode for path, mode in modes_below(state, run) if path.name not in ("station.yaml", "station.log")}
    assert {"journal.sqlite", "judged.sock", "settings.yaml", "evidence"} <= {path.name for path in made}
    assert [f"{path} {mode:04o}" for path, mode in made.items() if mode & 0o027] == []


def modes_below(*folders: Path) -> Iterator[tuple[Path, int]]:
    """Yield what is in these folders, each with its rights; what the station renames or removes meanwhile may be missed."""
    for folder, *names in (found for top in folders for found in os.walk(top)):
        for path in (Path(folder, name) for each in names for name in each):
            with suppress(FileNotFoundError):
                yield path, path.stat().st_mode & 0o777
