"""Messages to systemd (sd_notify): one datagram of KEY=VALUE lines to the socket named in the environment."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping

import structlog

Send = Callable[[str], None]
log = structlog.get_logger()


def unix_datagrams(address: str) -> Send:
    """Return a function that sends text to a unix datagram socket without waiting; an address with `@` is in the abstract namespace."""
    target = "\0" + address[1:] if address.startswith("@") else address

    def send(text: str) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as link:
            link.setblocking(False)
            link.sendto(text.encode(), target)

    return send


class Notifier:
    """Tells systemd that the station is ready, alive or stopping, and its state in one line; does nothing without NOTIFY_SOCKET."""

    def __init__(self, send: Send | None, watchdog_s: float | None, clock: Callable[[], float]) -> None:
        self._send, self._clock = send, clock
        self._ping_every_s = None if watchdog_s is None else watchdog_s / 3
        self._pinged_s, self._status = float("-inf"), ""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], clock: Callable[[], float]) -> Notifier:
        """Read NOTIFY_SOCKET and WATCHDOG_USEC as systemd sets them."""
        address, limit_us = environment.get("NOTIFY_SOCKET"), environment.get("WATCHDOG_USEC")
        return cls(unix_datagrams(address) if address else None, int(limit_us) / 1e6 if limit_us else None, clock)

    def say(self, text: str) -> None:
        """Send one line, such as READY=1."""
        if self._send is None:
            return
        try:
            self._send(text)
        except OSError as error:  # then the watchdog hears nothing, and systemd decides
            log.error("systemd does not listen", said=text, reason=str(error))

    def status(self, text: str) -> None:
        """Send the state for `systemctl status` if it has changed."""
        if text != self._status:
            self._status = text
            self.say(f"STATUS={text}")

    def ping(self) -> None:
        """Tell the watchdog that the station works, three times per watchdog interval."""
        if self._ping_every_s is not None and self._clock() - self._pinged_s >= self._ping_every_s:
            self._pinged_s = self._clock()
            self.say("WATCHDOG=1")
