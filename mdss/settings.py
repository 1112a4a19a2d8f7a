"""The station's settings: every key with its type, range and default; config/default.yaml says what each is for.

A path that is not absolute, also one after `ipc://`, is taken from the folder of the settings file: so every process and
every verb finds the same files and sockets, wherever it was started.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from mdss.settings_file import LONGEST_SHOWN, SettingsFile

LONGEST_SOCKET_PATH = 107  # bytes; the limit of a Unix socket's address on Linux
IPC = "ipc://"
HOST = r"(\[[0-9a-fA-F:.]+\]|[^\s@:/?#\[\]]+)"
TLS_OPTIONS = r"(\?ssl_\w+=[^\s@&]+(&ssl_\w+=[^\s@&]+)*)?"
PORT = "(6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3})"

Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._:-]{1,64}\Z", description="1 to 64 of the characters A-Z a-z 0-9 . _ : -")]
Location = Annotated[str, Meta(pattern=r"^[^\x00-\x1f]+\Z", description="a path")]
Endpoint = Annotated[
    str,
    Meta(
        pattern=rf"^(ipc://[^\x00-\x20]+|tcp://127\.0\.0\.1:{PORT})\Z",
        description="ipc://PATH or tcp://127.0.0.1:PORT (tcp to other machines only with CURVE, which this release does not have)",
    ),
]
Device = Annotated[str, Meta(pattern=r"^(auto|cpu|cuda:[0-9]{1,2})\Z", description="auto, cpu or cuda:N")]
RedisUrl = Annotated[
    str,
    Meta(
        pattern=rf"^(rediss?://([^\s@:/?]+@)?{HOST}(:{PORT})?(/[0-9]{{1,5}})?{TLS_OPTIONS}|unix://([^\s@:/?]+@)?/[^\s@?]+(\?db=[0-9]{{1,5}})?)\Z",
        description="redis://HOST:PORT/DB, rediss:// or unix:///PATH, without a password (alerts.password_file names its file)",
    ),
]
Ratio = Annotated[float, Meta(ge=0, le=1)]
Seconds = Annotated[float, Meta(ge=0.1, le=3600)]
SidePx = Annotated[int, Meta(ge=64, le=2000)]
Threads = Annotated[int, Meta(ge=1, le=64)]


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every section: nothing in it changes, and an unknown key is refused."""


class StationSettings(Section, frozen=True):
    """Who this station is and where it keeps what it must not lose."""

    name: Name = "station-1"
    state_directory: Location = "station/state"
    runtime_directory: Location = "station/run"


class CameraSettings(Section, frozen=True):
    """Where frames come in, and how many and how large."""

    endpoint: Endpoint = "ipc://station/run/frames.sock"
    credit: Annotated[int, Meta(ge=1, le=64)] = 4
    deadline_ms: Annotated[int, Meta(ge=1, le=600_000)] = 5000
    max_height_px: SidePx = 2000
    max_width_px: SidePx = 2000
    silence_s: Seconds = 10.0


class VerdictSettings(Section, frozen=True):
    """Where verdicts go out."""

    endpoint: Endpoint = "ipc://station/run/verdicts.sock"
    snapshot_endpoint: Endpoint = "ipc://station/run/snapshot.sock"
    publish_maps: bool = False


class ModelSettings(Section, frozen=True):
    """By which models parts are judged."""

    store: Location = "station/models"
    recipes: Annotated[tuple[Name, ...], Meta(min_length=1)] = ("part",)


class BranchSettings(Section, frozen=True):
    """Where one branch computes, in how many processes."""

    device: Device = "auto"
    count: Annotated[int, Meta(ge=1, le=16)] = 1
    threads: Threads = 1


class BranchesSettings(Section, frozen=True):
    """The two branches."""

    rgb: BranchSettings = BranchSettings()
    sdf: BranchSettings = BranchSettings()


class PrepareSettings(Section, frozen=True):
    """The process that finds the part in the scan."""

    threads: Threads = 1


class FusionSettings(Section, frozen=True):
    """When a part is decided, and when it is not."""

    degraded_policy: Literal["reject", "single_branch"] = "reject"
    max_invalid_point_ratio: Ratio = 0.5
    guard_band_ratio: Ratio = 0.0


class AlertSettings(Section, frozen=True):
    """The Redis server that holds the alerts."""

    redis_url: RedisUrl = "redis://127.0.0.1:6379/0"
    password_file: Location | None = None
    timeout_s: Seconds = 2.0
    stream_max_length: Annotated[int, Meta(ge=1, le=10_000_000)] = 10_000
    evidence_ttl_s: Annotated[int, Meta(ge=1, le=315_360_000)] = 604_800


class JournalSettings(Section, frozen=True):
    """How long parts are remembered."""

    keep_days: Annotated[int, Meta(ge=1, le=3650)] = 30


class SupervisorSettings(Section, frozen=True):
    """How long a process may take, and how often it may die."""

    ready_timeout_s: Seconds = 120.0
    stall_timeout_s: Seconds = 15.0
    drain_timeout_s: Seconds = 10.0
    restart_limit: Annotated[int, Meta(ge=1, le=1000)] = 5
    restart_window_s: Seconds = 60.0


class HttpSettings(Section, frozen=True):
    """Where the station says how it is."""

    host: Annotated[str, Meta(pattern=r"^[A-Za-z0-9.:-]+\Z", description="an address of this machine")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=1, le=65_535)] = 8420


class LogSettings(Section, frozen=True):
    """What is logged, and how."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


class Settings(Section, frozen=True):
    """Everything that one station can be told."""

    station: StationSettings = StationSettings()
    camera: CameraSettings = CameraSettings()
    verdicts: VerdictSettings = VerdictSettings()
    models: ModelSettings = ModelSettings()
    branches: BranchesSettings = BranchesSettings()
    prepare: PrepareSettings = PrepareSettings()
    fusion: FusionSettings = FusionSettings()
    alerts: AlertSettings = AlertSettings()
    journal: JournalSettings = JournalSettings()
    supervisor: SupervisorSettings = SupervisorSettings()
    http: HttpSettings = HttpSettings()
    logs: LogSettings = LogSettings()


def load_settings(path: Path) -> Settings:
    """Read the settings of a YAML file; BadInput says at which line what was found and what was expected."""
    file = SettingsFile.read(path)
    settings = file.convert(Settings)
    for name, found in Counter(settings.models.recipes).items():
        if found > 1:
            raise file.refusal("models.recipes", f"found {', '.join([name] * 2)}, expected each name once")
    placed = _placed(settings, path.absolute().parent)
    _check_endpoints(placed, file)
    return placed


def _placed(settings: Settings, folder: Path) -> Settings:
    """Return the settings with every path made absolute."""
    replace, station, alerts, verdicts = msgspec.structs.replace, settings.station, settings.alerts, settings.verdicts
    return replace(
        settings,
        station=replace(
            station,
            state_directory=str(folder / station.state_directory),
            runtime_directory=str(folder / station.runtime_directory),
        ),
        camera=replace(settings.camera, endpoint=_placed_endpoint(settings.camera.endpoint, folder)),
        verdicts=replace(
            verdicts,
            endpoint=_placed_endpoint(verdicts.endpoint, folder),
            snapshot_endpoint=_placed_endpoint(verdicts.snapshot_endpoint, folder),
        ),
        models=replace(settings.models, store=str(folder / settings.models.store)),
        alerts=replace(alerts, password_file=alerts.password_file and str(folder / alerts.password_file)),
    )


def _placed_endpoint(endpoint: str, folder: Path) -> str:
    return f"{IPC}{folder / endpoint.removeprefix(IPC)}" if endpoint.startswith(IPC) else endpoint


def _check_endpoints(settings: Settings, file: SettingsFile) -> None:
    """Refuse sockets that no process could open, or that two would have to share."""
    taken: dict[str, str] = {}
    for place, endpoint in (
        ("station.runtime_directory", f"{IPC}{settings.station.runtime_directory}/prepare.sock"),  # the longest of the private ones
        ("camera.endpoint", settings.camera.endpoint),
        ("verdicts.endpoint", settings.verdicts.endpoint),
        ("verdicts.snapshot_endpoint", settings.verdicts.snapshot_endpoint),
    ):
        length = len(endpoint.removeprefix(IPC).encode())
        if endpoint.startswith(IPC) and length > LONGEST_SOCKET_PATH:
            raise file.refusal(
                place, f"found a socket path of {length} bytes ({endpoint[:LONGEST_SHOWN]}), expected at most {LONGEST_SOCKET_PATH}"
            )
        if endpoint in taken:
            raise file.refusal(place, f"found {endpoint[:LONGEST_SHOWN]}, which is {taken[endpoint]} already, expected another")
        taken[endpoint] = place
