"""The station's settings: every key with its type, range and default; config/default.yaml explains each key.

A relative path, also one after `ipc://`, starts from the folder of the settings file, so that every process and every verb finds the same
files and sockets wherever it was started.
"""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
import yaml
from msgspec import Meta

from mdss.errors import BadInput
from mdss.misfit import LONGEST_SHOWN
from mdss.settings_access import HttpSettings, SecuritySettings, check_access, check_files
from mdss.settings_file import LARGEST_BYTES, SettingsFile, text_read_again
from mdss.settings_types import IPC, LARGEST_SIDE_PX, Device, Endpoint, Location, Name, Ratio, RedisUrl, Seconds, Section, SidePx, Threads

Kind = TypeVar("Kind", bound=Section)
SETTINGS_FILE = "settings.yaml"  # in the runtime directory: the settings in force, whatever becomes of the file they were read from
# Finds the folder also in a file that is no YAML any more.
RUNTIME_DIRECTORY = re.compile(r"""^[^#\n]*\bruntime_directory:[ \t]*["']?([^"'#,}\n]+)""", re.MULTILINE)
LONGEST_SOCKET_PATH = 107  # bytes; the limit of a Unix socket's address on Linux
# Sockets between the station's processes, in the runtime directory; the longest first.
PRIVATE_SOCKETS = "prepare", "collect", "fusion", "judged", "health", "rgb", "sdf"


class StationSettings(Section, frozen=True):
    """The station's name, and the folders it works in."""

    name: Name = "station-1"
    state_directory: Location = "station/state"
    runtime_directory: Location = "station/run"


class CameraSettings(Section, frozen=True):
    """Where frames arrive, how many and how large they may be."""

    endpoint: Endpoint = "ipc://station/run/frames.sock"
    credit: Annotated[int, Meta(ge=1, le=64)] = 4
    deadline_ms: Annotated[int, Meta(ge=1, le=600_000)] = 5000
    max_height_px: SidePx = LARGEST_SIDE_PX
    max_width_px: SidePx = LARGEST_SIDE_PX
    silence_s: Seconds = 10.0


class VerdictSettings(Section, frozen=True):
    """Where verdicts are published."""

    endpoint: Endpoint = "ipc://station/run/verdicts.sock"
    snapshot_endpoint: Endpoint = "ipc://station/run/snapshot.sock"
    publish_maps: bool = False


class ModelSettings(Section, frozen=True):
    """Which models judge parts."""

    store: Location = "station/models"
    recipes: Annotated[tuple[Name, ...], Meta(min_length=1)] = ("part",)
    preload: tuple[Name, ...] | None = None
    memory_mb: Annotated[int, Meta(ge=1, le=1_000_000)] = 4000


class BranchSettings(Section, frozen=True):
    """Where one branch computes, at which precision, and in how many processes."""

    device: Device = "auto"
    precision: Literal["auto", "float32"] = "auto"
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
    """The rules by which a part is decided, or not."""

    degraded_policy: Literal["reject", "single_branch"] = "reject"
    max_invalid_point_ratio: Ratio = 0.5
    min_part_ratio: Ratio = 0.0
    whole_in_image: bool = True
    guard_band_ratio: Ratio = 0.0


class DriftSettings(Section, frozen=True):
    """When parts that differ from those of calibration cause a warning."""

    false_alarms_per_10000: Annotated[float, Meta(ge=0.01, le=100.0)] = 1.0


class AlertSettings(Section, frozen=True):
    """The Redis server that holds the alerts."""

    redis_url: RedisUrl = "redis://127.0.0.1:6379/0"
    password_file: Location | None = None
    timeout_s: Seconds = 2.0
    stream_max_length: Annotated[int, Meta(ge=1, le=10_000_000)] = 10_000
    evidence_ttl_s: Annotated[int, Meta(ge=1, le=315_360_000)] = 604_800


class JournalSettings(Section, frozen=True):
    """How long judged parts are kept."""

    keep_days: Annotated[int, Meta(ge=1, le=3650)] = 30


class CollectionSettings(Section, frozen=True):
    """Which scans are kept for retraining, and how much space they may take."""

    enabled: bool = True
    ok_ratio: Ratio = 0.05
    seed: Annotated[int, Meta(ge=0, le=2**31)] = 0
    max_mb: Annotated[int, Meta(ge=1, le=100_000_000)] = 5000
    min_free_mb: Annotated[int, Meta(ge=0, le=100_000_000)] = 1000


class SupervisorSettings(Section, frozen=True):
    """How long a process may take to start, stall or drain, and how often it may end."""

    ready_timeout_s: Seconds = 120.0
    stall_timeout_s: Seconds = 15.0
    drain_timeout_s: Seconds = 10.0
    restart_limit: Annotated[int, Meta(ge=1, le=1000)] = 5
    restart_window_s: Seconds = 60.0


class LogSettings(Section, frozen=True):
    """What is logged, and in which format."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


class Settings(Section, frozen=True):
    """All settings of one station."""

    station: StationSettings = StationSettings()
    camera: CameraSettings = CameraSettings()
    verdicts: VerdictSettings = VerdictSettings()
    models: ModelSettings = ModelSettings()
    branches: BranchesSettings = BranchesSettings()
    prepare: PrepareSettings = PrepareSettings()
    fusion: FusionSettings = FusionSettings()
    drift: DriftSettings = DriftSettings()
    alerts: AlertSettings = AlertSettings()
    journal: JournalSettings = JournalSettings()
    collection: CollectionSettings = CollectionSettings()
    supervisor: SupervisorSettings = SupervisorSettings()
    security: SecuritySettings = SecuritySettings()
    http: HttpSettings = HttpSettings()
    logs: LogSettings = LogSettings()


def load_settings(path: Path) -> Settings:
    """Read settings from a YAML file; BadInput says in which line, what was found and what was expected, as `pointing_to_copy` has it."""
    with pointing_to_copy(path):
        return _load(path)[0]


@contextmanager
def pointing_to_copy(path: Path) -> Iterator[None]:
    """Let a refusal of this settings file also name the copy that its station goes on with, if there is one: who asks may ask with that."""
    try:
        yield
    except BadInput as error:
        if copy := _copy_in_force(path):
            raise BadInput(f"{error}; a station that runs goes on with {copy}: ask it with --config {shlex.quote(str(copy))}") from error
        raise


def checked_settings(path: Path) -> Settings:
    """Read settings and also check the keys and the token that they name, as a station does once before it starts."""
    settings, file = _load(path)
    check_files(settings.security, settings.http, file)
    length = len(yaml_of(settings))
    if length > LARGEST_BYTES:
        sentence = f"found settings of {length} bytes once every key is written out, expected at most {LARGEST_BYTES}: fewer models.recipes"
        raise file.refusal("", sentence)
    return settings


def yaml_of(settings: Settings) -> bytes:
    """Return YAML that reads back as these settings, with every key written out and each list on one line."""
    written: bytes = yaml.safe_dump(msgspec.to_builtins(settings), sort_keys=False, default_flow_style=None, encoding="utf-8")
    return written


def _copy_in_force(path: Path) -> str:
    """Return the file in which a station keeps what it last took over from this one, which is broken now; empty if there is none."""
    named = RUNTIME_DIRECTORY.search(text_read_again(path))
    folder = named[1].strip() if named else StationSettings().runtime_directory
    with suppress(OSError):  # this user may not look there
        copy = path.absolute().parent / folder / SETTINGS_FILE
        if copy.is_file() and copy.resolve() != path.resolve():
            return str(copy)
    return ""


def _load(path: Path) -> tuple[Settings, SettingsFile]:
    file = SettingsFile.read(path)
    _check_folder(path.absolute().parent, file)
    settings = file.convert(Settings)
    for key, names in (("recipes", settings.models.recipes), ("preload", settings.models.preload or ())):
        for name, found in Counter(names).items():
            if found > 1:
                raise file.refusal(f"models.{key}", f"found {', '.join([name] * 2)}, expected each name once")
    for name in settings.models.preload or ():
        if name not in settings.models.recipes:
            raise file.refusal("models.preload", f"found {name}, expected names that are in models.recipes")
    _check_no_home(settings, file)
    placed = _placed(settings, path.absolute().parent)
    _check_endpoints(placed, file)
    check_access(placed.security, placed.http, public_endpoints(placed), file)
    return placed, file


def _check_folder(folder: Path, file: SettingsFile) -> None:
    """Refuse a folder whose name is not in UTF-8: the settings in force, which name it, could not be written."""
    try:
        str(folder).encode()
    except UnicodeEncodeError as error:
        raise file.refusal("", f"found the folder {folder}, expected one whose name is in UTF-8") from error


def _check_no_home(settings: Settings, file: SettingsFile) -> None:
    """Refuse a path that begins with ~: only a shell knows whose home that is, and a folder of this name would be made."""
    for place, value in settings.places():
        if value.removeprefix(IPC).startswith("~"):
            raise file.refusal(place, f"found {value[:LONGEST_SHOWN]}, expected a path without ~, which stands for no home folder here")


def _placed(section: Kind, folder: Path) -> Kind:
    """Return a section with all paths absolute, also those after `ipc://`."""
    changed: dict[str, Any] = {}
    for field in msgspec.structs.fields(section):
        value = getattr(section, field.name)
        if isinstance(value, Section):
            changed[field.name] = _placed(value, folder)
        elif field.type == Endpoint and value.startswith(IPC):
            changed[field.name] = f"{IPC}{folder / value.removeprefix(IPC)}"
        elif field.type in (Location, Location | None) and value is not None:
            changed[field.name] = str(folder / value)
    return msgspec.structs.replace(section, **changed)


def _check_endpoints(settings: Settings, file: SettingsFile) -> None:
    """Refuse socket addresses that no process could open, or that two would have to share."""
    private = [f"{IPC}{settings.station.runtime_directory}/{name}.sock" for name in PRIVATE_SOCKETS]
    _check_length("station.runtime_directory", private[0], file)
    taken = dict.fromkeys(private, "a socket between the station's processes")
    for place, endpoint in public_endpoints(settings).items():
        _check_length(place, endpoint, file)
        if endpoint in taken:
            raise file.refusal(place, f"found {endpoint[:LONGEST_SHOWN]}, which is {taken[endpoint]} already, expected another")
        taken[endpoint] = place


def _check_length(place: str, endpoint: str, file: SettingsFile) -> None:
    length = len(endpoint.removeprefix(IPC).encode())
    if endpoint.startswith(IPC) and length > LONGEST_SOCKET_PATH:
        found = f"found a socket path of {length} bytes ({endpoint[:LONGEST_SHOWN]})"
        raise file.refusal(place, f"{found}, expected at most {LONGEST_SOCKET_PATH}")


def public_endpoints(settings: Settings) -> dict[str, str]:
    """Return the endpoints that others connect to, by their place in the settings file."""
    return {
        "camera.endpoint": settings.camera.endpoint,
        "verdicts.endpoint": settings.verdicts.endpoint,
        "verdicts.snapshot_endpoint": settings.verdicts.snapshot_endpoint,
    }
