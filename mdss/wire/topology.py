"""The table of links between the processes of a station, and the address of each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mdss.settings import Settings
from mdss.settings_types import IPC


@dataclass(frozen=True)
class Link:
    """One link: which end binds it, which process that is, and how many messages may wait at each end."""

    name: str
    pattern: Literal["push_pull", "xpub", "router_dealer"]
    bound_end: Literal["sender", "receiver"]
    binder: str
    high_water: int


_ROWS = (
    # Frames and tasks have megabytes, so few may wait; what waits at a process's end is lost if it dies.
    Link("prepare", "push_pull", "sender", "ingest", 4),
    Link("rgb", "push_pull", "sender", "prepare", 8),
    Link("sdf", "push_pull", "sender", "prepare", 8),
    Link("fusion", "push_pull", "receiver", "fusion", 256),
    Link("judged", "push_pull", "receiver", "ingest", 1000),
    Link("collect", "push_pull", "sender", "ingest", 2),
    Link("health", "push_pull", "receiver", "supervisor", 100),
    Link("frames", "router_dealer", "receiver", "ingest", 64),
    Link("verdicts", "xpub", "sender", "fusion", 1000),
    # answers have up to a megabyte, and a subscriber asks for the next one after reading one
    Link("snapshot", "router_dealer", "receiver", "fusion", 4),
)
LINKS: dict[str, Link] = {link.name: link for link in _ROWS}


def address(link: Link, settings: Settings) -> str:
    """Return the zmq endpoint of a link: the three public ones come from the settings, the others are sockets in the runtime directory."""
    match link.name:
        case "frames":
            return settings.camera.endpoint
        case "verdicts":
            return settings.verdicts.endpoint
        case "snapshot":
            return settings.verdicts.snapshot_endpoint
        case _:
            return f"{IPC}{Path(settings.station.runtime_directory).absolute()}/{link.name}.sock"
