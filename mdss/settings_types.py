"""The types of settings values, and the base class of all sections."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import msgspec
from msgspec import Meta

IPC, TCP = "ipc://", "tcp://"
SMALLEST_SIDE_PX, LARGEST_SIDE_PX = 64, 2000  # of a scan, wherever it is read: by a camera, a station, a training
HOST = r"(\[[0-9a-fA-F:.]+\]|[^\s@:/?#\[\]]+)"
ADDRESS = r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+)"
TLS_NAMES = (
    "ssl_ca_certs",
    "ssl_ca_path",
    "ssl_certfile",
    "ssl_keyfile",
    "ssl_cert_reqs",
    "ssl_check_hostname",
    "ssl_ciphers",
    "ssl_min_version",
)
TLS_OPTION = rf"({'|'.join(TLS_NAMES)})=[^\s@&]+"  # an option that the Redis client does not know would make every connection fail
PORT = "(6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3})"
SERVER = rf"://([^\s@:/?]+@)?{HOST}(:{PORT})?(/[0-9]{{1,5}})?"

Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._:-]{1,64}\Z", description="1 to 64 of the characters A-Z a-z 0-9 . _ : -")]
Location = Annotated[str, Meta(pattern=r"^[^\x00-\x1f]+\Z", description="a path")]
Endpoint = Annotated[
    str,
    Meta(
        pattern=rf"^(ipc://[^\x00-\x20][^\x00-\x1f]*|tcp://{ADDRESS}:{PORT})\Z",
        description="ipc://PATH or tcp://ADDRESS:PORT (an address of this machine, or 0.0.0.0 for all of them; a port from 1 to 65535)",
    ),
]
HttpHost = Annotated[str, Meta(pattern=r"^[A-Za-z0-9.:-]+\Z", description="an address of this machine")]
HttpPort = Annotated[int, Meta(ge=1, le=65_535)]
Device = Annotated[str, Meta(pattern=r"^(auto|cpu|cuda:[0-9]{1,2})\Z", description="auto, cpu or cuda:N")]
RedisUrl = Annotated[
    str,
    Meta(
        pattern=rf"^(redis{SERVER}|rediss{SERVER}(\?{TLS_OPTION}(&{TLS_OPTION})*)?|unix://([^\s@:/?]+@)?/[^\s@?]+(\?db=[0-9]{{1,5}})?)\Z",
        description="redis://HOST:PORT/DB, rediss:// or unix:///PATH (a space as %20), with a port from 1 to 65535, without a password "
        f"(alerts.password_file names its file); with rediss:// options out of {', '.join(TLS_NAMES)}",
    ),
]
PLACES = (Location, Location | None, Endpoint, RedisUrl, HttpHost, HttpPort)
Ratio = Annotated[float, Meta(ge=0, le=1)]
Seconds = Annotated[float, Meta(ge=0.1, le=3600)]
SidePx = Annotated[int, Meta(ge=SMALLEST_SIDE_PX, le=LARGEST_SIDE_PX)]
Threads = Annotated[int, Meta(ge=1, le=64)]


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base class of all sections: immutable, and unknown keys are refused."""

    def places(self, above: str = "") -> Iterator[tuple[str, str]]:
        """Yield each folder, file, address and port that is named here, after its key as in `camera.endpoint`; not those that are null."""
        for field in msgspec.structs.fields(self):
            value, place = getattr(self, field.name), f"{above}{field.name}"
            if isinstance(value, Section):
                yield from value.places(f"{place}.")
            elif field.type in PLACES and value is not None:
                yield place, str(value)
