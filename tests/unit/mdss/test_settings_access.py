"""What settings would let anybody in is refused with its place, and so are keys and tokens that are missing, damaged or too open."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from mdss.errors import BadInput
from mdss.settings import Settings, checked_settings
from tests.keys import KeyRing

SIXTEEN = "0123456789abcdef"
ANYWHERE = "0.0.0.0"  # noqa: S104 - only written into a file
LONG_HOST = "x" * 5000
DOORS = [("camera", "endpoint"), ("verdicts", "endpoint"), ("verdicts", "snapshot_endpoint")]


def load(folder: Path, **sections: Mapping[str, object]) -> Settings:
    path = folder / "s.yaml"
    path.write_text(yaml.safe_dump({name: dict(keys) for name, keys in sections.items()}))
    return checked_settings(path)


def refusal(folder: Path, **sections: Mapping[str, object]) -> str:
    with pytest.raises(BadInput) as caught:
        load(folder, **sections)
    return str(caught.value).removeprefix(f"{folder}/")


@pytest.fixture
def ring(tmp_path: Path) -> KeyRing:
    return KeyRing.make(tmp_path / "keys", "cam-1")


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("address", [ANYWHERE, "192.168.1.4", "127.0.0.1", "localhost", "[::1]"])
def test_no_door_is_on_tcp_without_keys(tmp_path: Path, door: tuple[str, str], address: str) -> None:
    section, key = door
    said = refusal(tmp_path, **{section: {key: f"tcp://{address}:5555"}})
    assert said.startswith(f"s.yaml:2: {section}.{key}: found tcp://{address}:5555 without keys, expected security.server_key_file and")
    assert "mdss keygen" in said


@pytest.mark.parametrize(("section", "key", "value"), [(*DOORS[0], f"tcp://{LONG_HOST}:5555"), ("http", "host", LONG_HOST)])
def test_of_an_address_without_end_only_the_beginning_is_repeated(tmp_path: Path, section: str, key: str, value: str) -> None:
    said = refusal(tmp_path, **{section: {key: value}})
    assert said.startswith(f"s.yaml:2: {section}.{key}: found {value[:80]} without ") and len(said) < 300


@pytest.mark.parametrize("door", DOORS)
def test_the_loopback_alone_may_be_plain_where_the_settings_say_so(tmp_path: Path, door: tuple[str, str]) -> None:
    section, key = door
    plain: dict[str, Mapping[str, object]] = {"security": {"plain_loopback": True}}
    load(tmp_path, **{section: {key: "tcp://127.0.0.1:5555"}} | plain)
    for address in (ANYWHERE, "192.168.1.4", "[::1]"):
        assert "without keys" in refusal(tmp_path, **{section: {key: f"tcp://{address}:5555"}} | plain)


@pytest.mark.parametrize("address", [ANYWHERE, "192.168.1.4", "127.0.0.1", "station.line-3", "[fe80::1]"])
def test_with_keys_a_door_may_be_anywhere(tmp_path: Path, ring: KeyRing, address: str) -> None:
    assert load(tmp_path, camera={"endpoint": f"tcp://{address}:5555"}, security=ring.section).camera.endpoint == f"tcp://{address}:5555"


def test_half_of_the_keys_and_two_answers_to_one_question_are_refused(tmp_path: Path, ring: KeyRing) -> None:
    for key, other in (("server_key_file", "client_keys"), ("client_keys", "server_key_file")):
        said = refusal(tmp_path, security={key: ring.section[key]})
        assert f"security.{other}: found null beside the other" in said
    assert "found true beside" in refusal(tmp_path, security=ring.section | {"plain_loopback": True})


def test_a_secret_key_that_others_may_read_is_refused(tmp_path: Path, ring: KeyRing) -> None:
    secret = Path(ring.section["server_key_file"])
    for mode in (0o640, 0o604):
        secret.chmod(mode)
        said = refusal(tmp_path, security=ring.section)
        assert f"security.server_key_file: {secret}: found mode {mode:04o}" in said


def test_a_key_that_is_none_is_named(tmp_path: Path, ring: KeyRing) -> None:
    secret = Path(ring.section["server_key_file"])
    for content, words in (
        ("", "found no key"),
        ('public-key = "short"\nsecret-key = "short"', "damaged key"),
        (re.sub('secret-key = ".', 'secret-key = "#', secret.read_text()), "damaged key"),  # five such characters are no four bytes
        ((ring.secrets / "station.key").read_text(), "without its secret half"),
    ):
        secret.write_text(content)
        assert words in refusal(tmp_path, security=ring.section)
    secret.unlink()
    assert f"{secret}: found no readable file" in refusal(tmp_path, security=ring.section)


def test_halves_of_two_certificates_are_refused(tmp_path: Path, ring: KeyRing) -> None:
    secret = Path(ring.section["server_key_file"])
    others = (ring.secrets / "cam-1.key").read_text().split("public-key", 1)[1].splitlines()[0]
    secret.write_text(secret.read_text().replace(secret.read_text().split("public-key", 1)[1].splitlines()[0], others))
    assert "do not belong together" in refusal(tmp_path, security=ring.section)


def test_the_list_of_clients_says_of_each_key_whose_it_is(tmp_path: Path, ring: KeyRing) -> None:
    public = (ring.clients / "cam-1.key").read_bytes()
    for name, content, words in (
        ("cam-2.key", public, "found the key of cam-1.key a second time"),
        ("cam 2.key", b"", "found no key"),
        ("cam-2.key", (ring.secrets / "cam-1.key_secret").read_bytes(), "found a secret key"),
    ):
        (ring.clients / name).write_bytes(content)
        assert f"{ring.clients / name}: {words}" in refusal(tmp_path, security=ring.section)
        (ring.clients / name).unlink()
    (ring.clients / "cam-1.key").rename(ring.clients / "cam 1.key")
    assert "a file name that no source can have" in refusal(tmp_path, security=ring.section)
    assert "found no readable folder" in refusal(tmp_path, security=ring.section | {"client_keys": "nowhere"})


def test_a_list_of_clients_that_anybody_may_add_himself_to_is_refused(tmp_path: Path, ring: KeyRing) -> None:
    key = ring.clients / "cam-1.key"
    for path, mode in ((ring.clients, 0o777), (key, 0o666)):
        before = path.stat().st_mode
        path.chmod(mode)
        assert f"{path}: found mode {mode:04o}, by which anybody" in refusal(tmp_path, security=ring.section)
        path.chmod(before)
    load(tmp_path, security=ring.section)


@pytest.mark.parametrize("host", [ANYWHERE, "192.168.1.4", "::", "station", "127.0.0.1.example"])
def test_pages_for_other_machines_want_a_token(tmp_path: Path, host: str) -> None:
    assert "without http.token_file" in refusal(tmp_path, http={"host": host})
    token = tmp_path / "token"
    token.write_text(f"{SIXTEEN}\n")
    token.chmod(0o640)
    assert load(tmp_path, http={"host": host, "token_file": "token"}).http.token_file == str(token)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.3.1", "localhost"])
def test_pages_on_the_loopback_do_without(tmp_path: Path, host: str) -> None:
    assert load(tmp_path, http={"host": host}).http.token_file is None


@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [
        (SIXTEEN, 0o644, "found mode 0644"),
        (SIXTEEN, 0o602, "found mode 0602"),
        ("short", 0o600, "found no token"),
        ("a b" * 20, 0o600, "found no token"),
    ],
)
def test_a_token_that_is_open_to_others_or_none_is_refused(tmp_path: Path, content: str, mode: int, words: str) -> None:
    token = tmp_path / "token"
    token.write_text(content)
    token.chmod(mode)
    assert f"http.token_file: {token}: {words}" in refusal(tmp_path, http={"token_file": "token"})


def test_key_paths_are_taken_from_the_folder_of_the_file(tmp_path: Path, ring: KeyRing) -> None:
    relative = {key: str(Path(path).relative_to(tmp_path)) for key, path in ring.section.items()}
    own = load(tmp_path, security=relative | {"client_key_file": "me.key_secret"}).security
    assert (own.server_key_file, own.client_keys) == (ring.section["server_key_file"], ring.section["client_keys"])
    assert own.client_key_file == str(tmp_path / "me.key_secret")
