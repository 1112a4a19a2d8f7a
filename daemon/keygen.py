"""Verb `mdss keygen`: CURVE certificates for a station and its clients."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import msgspec
from zmq.auth import create_certificates

from mdss.errors import BadInput
from mdss.key_files import CLIENT_NAME, GROUP_AND_OTHERS, SECRET_SUFFIX, SUFFIX
from mdss.whole_files import named_as

EXAMPLE = "Example: mdss keygen --out keys station camera-1 plc"
READABLE_BY_ALL = 0o644
ADVICE = (
    f"NAME{SECRET_SUFFIX} stays on the machine of its owner, who alone may read it; the station's is security.server_key_file.",
    f"NAME{SUFFIX} is public: a client's belongs into the station's folder security.client_keys, the station's to every client.",
    "A client may speak only for the source that its file is named after.",
)


class NewKeyPair(msgspec.Struct, frozen=True, kw_only=True):
    """One certificate."""

    name: str
    secret_file: str
    public_file: str


@click.command(epilog=EXAMPLE)
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option(
    "--out", "folder", required=True, type=click.Path(path_type=Path, file_okay=False), help="Folder to write to; created if missing."
)
@click.option("--json", "as_json", is_flag=True, help="Print the files as JSON.")
def command(folder: Path, names: tuple[str, ...], as_json: bool) -> None:
    """Make a pair of CURVE keys for each NAME: one for the station itself, one for each camera and subscriber that connects over tcp."""
    _check(names)
    before = os.umask(GROUP_AND_OTHERS)  # a secret must not be readable by others even for a moment
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone_in(folder):
            _check_free(folder, names)
            made = _make(folder, names)
    finally:
        os.umask(before)
    if as_json:
        click.echo(msgspec.json.encode(made).decode())
        return
    for each in made:
        click.echo(f"keygen: {each.secret_file} and {each.public_file}")
    for sentence in ADVICE:
        click.echo(f"keygen: {sentence}")


def _check(names: tuple[str, ...]) -> None:
    """Check all names before anything is written."""
    for name in names:
        if CLIENT_NAME.fullmatch(name) is None:
            raise BadInput(f"NAME: found {name!r}, expected 1 to 64 of the characters A-Z a-z 0-9 . _ : -")
        if names.count(name) > 1:
            raise BadInput(f"NAME: found {name} more than once, expected each name once")


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Lock a folder against other runs of keygen: they could overwrite keys that did not exist when they checked."""
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise BadInput(f"{folder}: another `mdss keygen` is writing here, expected one at a time") from error
    finally:
        os.close(lock)


def _check_free(folder: Path, names: tuple[str, ...]) -> None:
    """Refuse all names if one of their files exists already."""
    for name in names:
        for path in (folder / f"{name}{SUFFIX}", folder / f"{name}{SECRET_SUFFIX}"):
            if path.exists():
                raise BadInput(f"{path}: found a key already, expected none; a key is never overwritten")


def _make(folder: Path, names: tuple[str, ...]) -> list[NewKeyPair]:
    """Make all pairs in a hidden folder and then name them: half a key on a full disk would refuse the next run."""
    with TemporaryDirectory(prefix=".mdss.", dir=folder) as hidden, named_as(folder, Path(hidden)):
        for name in names:
            public_file, _ = create_certificates(hidden, name)
            Path(public_file).chmod(READABLE_BY_ALL)
        for file in sorted(Path(hidden).iterdir()):
            file.rename(folder / file.name)
    return [NewKeyPair(name=name, secret_file=f"{folder / name}{SECRET_SUFFIX}", public_file=f"{folder / name}{SUFFIX}") for name in names]
