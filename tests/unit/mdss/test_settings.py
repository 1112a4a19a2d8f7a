"""Settings: what is refused, at which line, in which words; and what the files that ship say."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
import yaml

from daemon.redis_link import open_link
from mdss.errors import BadInput
from mdss.settings import Settings, load_settings, yaml_of
from mdss.wire.topology import LINKS

CONFIG = Path(__file__).parents[3] / "config"
LONG = "x" * 120
PRIVATE = [link.name for link in LINKS.values() if link.pattern == "push_pull"]
NO_NAME = "expected 1 to 64 of the characters A-Z a-z 0-9 . _ : -; in quotes it would be text"


def refusal(tmp_path: Path, content: str) -> str:
    """Return the sentence for a file, without the folder it lies in."""
    path = tmp_path / "s.yaml"
    path.write_text(content)
    with pytest.raises(BadInput) as refused:
        load_settings(path)
    return str(refused.value).removeprefix(f"{tmp_path}/")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("camera:\n  credit: 0", "s.yaml:2: camera.credit: found 0, expected a whole number from 1 to 64"),
        ("camera:\n  credit: 1.5", "s.yaml:2: camera.credit: found 1.5, expected a whole number from 1 to 64"),
        ("camera:\n  credit: yes", "s.yaml:2: camera.credit: found true, expected a whole number from 1 to 64"),
        ("# why\n\ncamera:\n  silence_s: .nan", "s.yaml:4: camera.silence_s: found nan, expected a number from 0.1 to 3600"),
        ("camera:\n  silence_s: .inf", "s.yaml:2: camera.silence_s: found inf, expected a number from 0.1 to 3600"),
        ("branches:\n  rgb:\n    count: many", "s.yaml:3: branches.rgb.count: found 'many', expected a whole number from 1 to 16"),
        ("branches:\n  rgb: {device: gpu}", "s.yaml:2: branches.rgb.device: found 'gpu', expected auto, cpu or cuda:N"),
        ("fusion:\n  degraded_policy: maybe", "s.yaml:2: fusion.degraded_policy: found 'maybe', expected one of reject, single_branch"),
        ("verdicts:\n  publish_maps: 1", "s.yaml:2: verdicts.publish_maps: found 1, expected true or false"),
        ("station:\n  name: line/3", "s.yaml:2: station.name: found 'line/3', expected 1 to 64 of the characters A-Z a-z 0-9 . _ : -"),
        ('station:\n  name: "line\\n"', "s.yaml:2: station.name: found 'line\\n', expected 1 to 64 of the characters"),
        ("models:\n  recipes: [a, b c]", "s.yaml:2: models.recipes[1]: found 'b c', expected 1 to 64 of the characters"),
        ("models:\n  preload: [a, b c]", "s.yaml:2: models.preload[1]: found 'b c', expected 1 to 64 of the characters"),
        (
            "models:\n  preload: part",
            "s.yaml:2: models.preload: found 'part', expected a list, each 1 to 64 of the characters A-Z a-z 0-9 . _ : -, or null",
        ),
        ("models:\n  recipes: [cap, 4711]", f"s.yaml:2: models.recipes[1]: found 4711, {NO_NAME}"),
        ("models:\n  preload: [2026-05-01]", f"s.yaml:2: models.preload[0]: found 2026-05-01, {NO_NAME}"),
        ("station:\n  name: no", f"s.yaml:2: station.name: found false, {NO_NAME}"),
        ("models:\n  recipes: []", "s.yaml:2: models.recipes: found an empty list, expected a list of at least 1"),
        ("models:\n  recipes: [a, a]", "s.yaml:2: models.recipes: found a, a, expected each name once"),
        ("models:\n  recipes: [a]\n  preload: [a, a]", "s.yaml:3: models.preload: found a, a, expected each name once"),
        ("models:\n  recipes: [a]\n  preload: [b]", "s.yaml:3: models.preload: found b, expected names that are in models.recipes"),
        ("alerts:\n  password_file: 3", "s.yaml:2: alerts.password_file: found 3, expected a path, or null"),
        ("alerts:\n  redis_url: redis://h:99999/0", "s.yaml:2: alerts.redis_url: found 'redis://h:99999/0', expected redis://HOST:PORT/DB"),
        ("alerts:\n  redis_url: redis://h/alerts", "s.yaml:2: alerts.redis_url: found 'redis://h/alerts', expected redis://HOST:PORT/DB"),
        ("alerts:\n  redis_url: redis://h/0?retries=3", "s.yaml:2: alerts.redis_url: found 'redis://h/0?retries=3', expected"),
        (
            "alerts:\n  redis_url: unix:///a b",
            "s.yaml:2: alerts.redis_url: found 'unix:///a b', expected redis://HOST:PORT/DB, rediss:// or unix:///PATH (a space as %20), ",
        ),
        ("camera:", "s.yaml:1: camera: found nothing, expected a section with keys out of endpoint, credit"),
        ("camera: 3", "s.yaml:1: camera: found 3, expected a section with keys out of endpoint, credit"),
        ("camera: [1]", "s.yaml:1: camera: found a list, expected a section"),
    ],
)
def test_a_wrong_value_is_named_with_its_line(tmp_path: Path, content: str, sentence: str) -> None:
    assert refusal(tmp_path, content).startswith(sentence)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("stations: {}", "s.yaml:1: stations: found an unknown key, expected one of station, camera, verdicts, models"),
        ("http:\n  port: 80\n  ports: 80", "s.yaml:3: http.ports: found an unknown key, expected one of host, port"),
        (
            "branches:\n  sdf:\n    cpu: 1",
            "s.yaml:3: branches.sdf.cpu: found an unknown key, expected one of device, precision, count, threads",
        ),
        ("http: {port: 80}\nlogs: {}\nhttp: {port: 81}", "s.yaml:3: http: found the key a second time (first in line 1)"),
        ("http:\n  port: 80\n  port: 81", "s.yaml:3: http.port: found the key a second time (first in line 2)"),
        ('models: {}\n"x` - at `$.models.recipes[0": 1', "s.yaml:1: models.recipes[0.x: found an unknown key"),
        ('models: {recipes: [a]}\n"x` - at `$.models.recipes[7": 1', "s.yaml:1: models.recipes[7.x: found an unknown key"),
        ('models: {recipes: [a]}\n"x` - at `$.models.recipes[y": 1', "s.yaml:1: models.recipes[y.x: found an unknown key"),
        ("1: 2", "s.yaml:1: file: found a key that is no plain word"),
        ("? [a]\n: 2", "s.yaml:1: file: found a key that is no plain word"),
    ],
)
def test_a_key_that_is_unknown_or_twice_there_is_named_with_its_line(tmp_path: Path, content: str, sentence: str) -> None:
    assert refusal(tmp_path, content).startswith(sentence)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "s.yaml:1: found an empty file"),
        ("# only words\n", "s.yaml:1: found an empty file"),
        ("hello", "s.yaml:1: found no sections"),
        ("[1, 2]", "s.yaml:1: found no sections"),
        ("camera:\n\tcredit: 1", "s.yaml:2: found no valid YAML (found character '\\t'"),
        ("camera: {credit: 1", "s.yaml:1: found no valid YAML"),
        ("a: 1\n---\nb: 2", "s.yaml:2: found no valid YAML (but found another document)"),
        ("camera: !!python/object/apply:os.system [ls]", "s.yaml:1: camera: found a value of kind 'tag:yaml.org,2002:python/object/apply"),
        ("camera: *nowhere", "s.yaml:1: found no valid YAML (found undefined alias"),
        (f"camera: {'[' * 10_000}", "s.yaml: found brackets within brackets without end"),
        (f"camera: {'[' * 21}", "s.yaml: found brackets within brackets without end"),
        (f"{'a: 1 # why' * 4000}", "s.yaml: found more than 32768 bytes"),
        ("camera: &own {credit: *own}", "s.yaml:1: camera.credit: found a reference to another section"),
        ("models:\n  recipes: &own [*own]", "s.yaml:2: models.recipes: found a reference to another section or list"),
        ("models:\n  recipes: [{<<: {a: 1}}]", "s.yaml:2: models.recipes: found a key that is no plain word"),
        ("!!seq {}", "s.yaml:1: found no sections"),
        ('"\\ud800": 1', "s.yaml:1: file: found a key that is no plain word"),
    ],
)
def test_what_is_no_yaml_of_sections_is_refused(tmp_path: Path, content: str, sentence: str) -> None:
    assert refusal(tmp_path, content).startswith(sentence)


@pytest.mark.parametrize("kind", ["[{}]", "{{z: [{}]}}", "{{<<: [{}]}}"])
def test_a_short_line_that_would_become_more_than_any_memory_holds_is_refused(tmp_path: Path, kind: str) -> None:
    levels = ["&l0 [x, x]", *(f"&l{level} " + kind.format(", ".join([f"*l{level - 1}"] * 10)) for level in range(1, 30))]
    sentence = refusal(tmp_path, f"station:\n  name: {{a: [{', '.join(levels)}]}}")
    assert sentence.startswith("s.yaml:2: station.name.a") and ("a reference to another" in sentence or "no plain word" in sentence)


@pytest.mark.parametrize(
    "value",
    [
        "!!int x", "!!int ''", "!!float x", "!!bool maybe", "!!timestamp x", "!!timestamp 2026-13-01", "!!seq {}", "!!map []",
        "!!binary aGk=", "!!set {a}", "2026-02-30", "2026-01-01t23:59:59+99:99", "0x_", "0b_", "9" * 5000, "0x" + "f" * 9000,
        "0" + "7" * 4500, '"\\ud800"', '"\\U00110000"', "x" * 30_000, "=", "<<",
    ],
)  # fmt: skip
def test_whatever_yaml_makes_of_a_value_or_cannot_is_refused_in_one_short_sentence(tmp_path: Path, value: str) -> None:
    for place in ("  state_directory", "camera:\n  credit", "models:\n  recipes"):
        sentence = refusal(tmp_path, f"station:\n  name: a/b\n{place}: {value}")
        assert sentence.startswith("s.yaml:") and len(sentence) < 400


@pytest.mark.parametrize(("written", "read"), [("0500", 320), ("-0_500", -320), ("1:30", 90), ("1:30.5", 90.5)])
def test_a_number_that_yaml_takes_for_another_than_people_do_is_refused_with_both(tmp_path: Path, written: str, read: float) -> None:
    for place in ("camera:\n  deadline_ms: ", "station:\n  name: "):
        said = f"found '{written}', which YAML reads as {read}, expected a plain number, or text in quotes"
        assert said in refusal(tmp_path, place + written)
    (tmp_path / "plain.yaml").write_text("station:\n  name: '0500'\ncamera:\n  deadline_ms: 5_00\n  silence_s: 05")
    assert load_settings(tmp_path / "plain.yaml").camera.deadline_ms == 500


def test_a_key_or_a_name_without_end_is_not_repeated_whole(tmp_path: Path) -> None:
    for content in (f"{'k' * 20_000}: 1", f"station:\n  {'k' * 20_000}: 1", f"camera: {{endpoint: 'ipc://{'p' * 20_000}'}}"):
        assert len(refusal(tmp_path, content)) < 400
    names = ", ".join(f"r{number}" for number in range(2000))
    assert "found r7, r7, expected each name once" in refusal(tmp_path, f"models:\n  recipes: [{names}, r7]")


def test_a_missing_file_a_folder_and_bytes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    for name, word in (("nowhere.yaml", "No such file"), (".", "directory"), ("bytes", "no text")):
        with pytest.raises(BadInput, match=word):
            load_settings(tmp_path / name)


@pytest.mark.parametrize(
    ("endpoint", "words"),
    [
        ("tcp://127.0.0.1:70000", "expected ipc://PATH or tcp://ADDRESS:PORT"),
        ("tcp://127.0.0.1:99999", "for all of them; a port from 1 to 65535)"),
        ("tcp://127.0.0.1:*", "expected ipc://PATH or tcp://ADDRESS:PORT"),
        ("tcp://*:5555", "expected ipc://PATH or tcp://ADDRESS:PORT"),
        ("udp://127.0.0.1:5555", "expected ipc://PATH or tcp://ADDRESS:PORT"),
        (f"ipc://{LONG}", "expected at most 107"),
        ("ipc://station/run/verdicts.sock", "which is camera.endpoint already"),
        *((f"ipc://station/run/{name}.sock", "which is a socket between the station's processes already") for name in PRIVATE),
    ],
)
def test_an_endpoint_that_would_not_work_is_refused(tmp_path: Path, endpoint: str, words: str) -> None:
    sentence = refusal(tmp_path, f"camera:\n  endpoint: {endpoint}")
    assert words in sentence
    assert sentence.startswith(("s.yaml:2: camera.endpoint: ", "s.yaml:1: verdicts.endpoint: "))


@pytest.mark.parametrize(("found", "in_words"), [("[a]", "a list"), ("{a: 1}", "a section"), ("null", "nothing")])
def test_what_quotes_would_not_make_text_is_not_said_to_need_them(tmp_path: Path, found: str, in_words: str) -> None:
    expected = NO_NAME.removesuffix("; in quotes it would be text")
    assert refusal(tmp_path, f"station:\n  name: {found}") == f"s.yaml:2: station.name: found {in_words}, {expected}"


def test_a_socket_path_may_be_as_long_as_the_system_takes_it(tmp_path: Path) -> None:
    longest, path = f"ipc:///{'x' * 106}", tmp_path / "s.yaml"
    path.write_text(f"camera:\n  endpoint: {longest}")
    assert load_settings(path).camera.endpoint == longest
    assert "found a socket path of 108 bytes" in refusal(tmp_path, f"camera:\n  endpoint: {longest}x")


def test_a_stations_folder_may_have_a_space_in_its_name_and_its_processes_read_the_settings_that_were_checked() -> None:
    with TemporaryDirectory(prefix="Straße 1 #%20") as folder:  # short enough for a socket
        (file := Path(folder) / "s.yaml").write_text("camera:\n  endpoint: ipc://the run/frames.sock", "utf-8")
        settings = load_settings(file)
        assert settings.camera.endpoint == f"ipc://{folder}/the run/frames.sock"
        file.write_bytes(yaml_of(settings))
        assert load_settings(file) == settings


def test_a_folder_whose_name_is_not_in_utf_8_is_refused_because_no_settings_in_force_could_name_it(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode("Straße".encode("latin-1"))
    folder.mkdir()
    (folder / "s.yaml").write_text("station:\n  name: line-1")
    with pytest.raises(BadInput, match=r"s\.yaml:1: found the folder .*/Stra\\udcdfe, expected one whose name is in UTF-8"):
        load_settings(folder / "s.yaml")


def test_a_runtime_directory_too_deep_for_sockets_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path, f"station:\n  runtime_directory: {LONG}").startswith(
        "s.yaml:2: station.runtime_directory: found a socket path"
    )


@pytest.mark.parametrize("password", ["hunter2", "c2/hunter2+x="])
def test_a_password_in_the_url_is_refused_and_not_repeated(tmp_path: Path, password: str) -> None:
    sentence = refusal(tmp_path, f"alerts:\n  redis_url: redis://:{password}@localhost:6379/0")
    assert "alerts.password_file" in sentence
    assert "hunter2" not in sentence


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost", "redis://mdss@10.0.0.7:6379/3", "redis://[::1]:6379/0", "rediss://h:1/0?ssl_ca_certs=/etc/ca.pem&ssl_check_hostname=yes",
        "unix:///run/redis/redis.sock", "unix:///my%20run/redis.sock", "unix://mdss@/run/redis.sock?db=2",
    ],
)  # fmt: skip
def test_every_address_that_a_redis_may_have_is_taken(tmp_path: Path, url: str) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(f"alerts:\n  redis_url: {url}")
    settings = load_settings(path)
    assert settings.alerts.redis_url == url
    open_link(settings.alerts).close()


@pytest.mark.parametrize(
    "url", ["rediss://h:1/0?ssl_bogus=1", "redis://h:1/0?ssl_ca_certs=/etc/ca.pem", "rediss://h:1/0?ssl_password=hunter2"]
)
def test_an_option_that_no_connection_takes_or_that_holds_a_password_is_refused(tmp_path: Path, url: str) -> None:
    sentence = refusal(tmp_path, f"alerts:\n  redis_url: {url}")
    assert sentence.startswith("s.yaml:2: alerts.redis_url: found ") and "ssl_ca_certs" in sentence
    assert "hunter2" not in sentence


def test_paths_are_taken_from_the_folder_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    (tmp_path / "s.yaml").write_text("station: {state_directory: here, runtime_directory: /run/mdss}\nalerts: {password_file: secret}")
    settings = load_settings(tmp_path / "s.yaml")
    assert settings.station.state_directory == f"{tmp_path}/here"
    assert settings.station.runtime_directory == "/run/mdss"
    assert settings.camera.endpoint == f"ipc://{tmp_path}/station/run/frames.sock"
    assert (settings.models.store, settings.alerts.password_file) == (f"{tmp_path}/station/models", f"{tmp_path}/secret")


@pytest.mark.parametrize(
    ("place", "value"),
    [("station.state_directory", "~/state"), ("security.client_keys", "~mdss/keys"), ("camera.endpoint", "ipc://~/run/frames.sock")],
)
def test_a_path_in_the_home_folder_of_a_shell_is_refused_and_no_folder_of_that_name_made(tmp_path: Path, place: str, value: str) -> None:
    section, key = place.split(".")
    expected = "expected a path without ~, which stands for no home folder here"
    assert refusal(tmp_path, f"{section}:\n  {key}: {value}") == f"s.yaml:2: {place}: found {value}, {expected}"


def test_a_file_named_from_its_own_folder_gives_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("s.yaml").write_text("station: {name: line-3}")
    assert load_settings(Path("s.yaml")).station.state_directory == f"{tmp_path}/station/state"


def test_the_default_file_has_every_key_with_its_default_and_says_what_it_is_for() -> None:
    text = (CONFIG / "default.yaml").read_text()
    assert yaml.safe_load(text) == msgspec.json.decode(msgspec.json.encode(Settings()))
    silent = [line for line in text.splitlines() if line.strip() and not line.endswith(":") and "#" not in line]
    assert silent == []


@pytest.mark.parametrize("name", ["default.yaml", "station.example.yaml", "demo.yaml"])
def test_every_file_that_ships_is_valid(name: str) -> None:
    load_settings(CONFIG / name)


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Settings().camera.credit = 5  # type: ignore[misc]
