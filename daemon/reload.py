"""Applies a changed settings file while the station runs: all of it or nothing; reports which."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import structlog

from daemon.redis_link import open_link
from daemon.status import ReloadReport
from mdss.errors import BadInput, MdssError
from mdss.settings import SETTINGS_FILE, Settings, checked_settings, yaml_of

AppliedBy = Literal["restart", "ingest", "fusion", "alerts", "collect", "supervisor", "supervisor, ingest", "all"]
APPLIED_BY: Final[dict[str, AppliedBy]] = {  # which process applies a changed key at a reload; `restart`: only a restart does
    "station.name": "restart",
    "station.state_directory": "restart",
    "station.runtime_directory": "restart",
    "camera.endpoint": "restart",
    "camera.credit": "ingest",
    "camera.deadline_ms": "ingest",
    "camera.max_height_px": "ingest",
    "camera.max_width_px": "ingest",
    "camera.silence_s": "ingest",
    "verdicts.endpoint": "restart",
    "verdicts.snapshot_endpoint": "restart",
    "verdicts.publish_maps": "restart",
    "models.store": "restart",
    "models.recipes": "supervisor, ingest",
    "models.preload": "supervisor",
    "models.memory_mb": "supervisor",
    "branches.rgb.device": "restart",
    "branches.rgb.precision": "restart",
    "branches.rgb.count": "restart",
    "branches.rgb.threads": "restart",
    "branches.sdf.device": "restart",
    "branches.sdf.precision": "restart",
    "branches.sdf.count": "restart",
    "branches.sdf.threads": "restart",
    "prepare.threads": "restart",
    "fusion.degraded_policy": "fusion",
    "fusion.max_invalid_point_ratio": "fusion",
    "fusion.min_part_ratio": "fusion",
    "fusion.whole_in_image": "fusion",
    "fusion.guard_band_ratio": "fusion",
    "drift.false_alarms_per_10000": "fusion",
    "alerts.redis_url": "alerts",
    "alerts.password_file": "alerts",
    "alerts.timeout_s": "alerts",
    "alerts.stream_max_length": "alerts",
    "alerts.evidence_ttl_s": "alerts",
    "journal.keep_days": "alerts",
    "collection.enabled": "restart",
    "collection.ok_ratio": "ingest",
    "collection.seed": "ingest",
    "collection.max_mb": "collect",
    "collection.min_free_mb": "collect",
    "supervisor.ready_timeout_s": "supervisor",
    "supervisor.stall_timeout_s": "supervisor",
    "supervisor.drain_timeout_s": "supervisor, ingest",
    "supervisor.restart_limit": "supervisor",
    "supervisor.restart_window_s": "supervisor",
    "security.server_key_file": "restart",
    "security.client_keys": "restart",
    "security.client_key_file": "restart",
    "security.plain_loopback": "restart",
    "http.host": "restart",
    "http.port": "restart",
    "http.token_file": "restart",
    "logs.level": "all",
    "logs.format": "restart",
}
log = structlog.get_logger()


class SettingsReloader:
    """Holds the settings in force, in memory and in a file of its own that the station's processes read."""

    def __init__(self, config: Path, settings: Settings, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self.settings, self.file = settings, Path(settings.station.runtime_directory) / SETTINGS_FILE
        self._config, self._clock_ns = config.absolute(), clock_ns
        write_settings(settings, self.file)

    def reload(self) -> ReloadReport:
        """Read the station's file again; if not everything can be applied, nothing changes."""
        keys: list[str] = []
        try:
            settings = checked_settings(self._config)
            keys = changed_keys(self.settings, settings)
            check(settings, keys)
            write_settings(settings, self.file)
        except MdssError as error:
            log.error("reload refused: the settings stay as they were", reason=str(error))
            return ReloadReport(at_ns=self._clock_ns(), is_applied=False, reason=str(error), keys=tuple(keys))
        self.settings = settings
        log.info("settings reloaded", keys=", ".join(keys) or "none has changed")
        return ReloadReport(at_ns=self._clock_ns(), is_applied=True, reason="", keys=tuple(keys))


def check(settings: Settings, keys: list[str]) -> None:
    """Refuse changes that the running processes cannot apply."""
    bound = [key for key in keys if APPLIED_BY.get(key, "restart") == "restart"]
    if bound:
        raise BadInput(f"needs a restart: {', '.join(bound)}")
    open_link(settings.alerts).close()  # refuses an address that the Redis library does not understand


def changed_keys(old: Settings, new: Settings) -> list[str]:
    """Return the keys whose values differ, as written in the file."""
    before, after = dict(values_of(old)), dict(values_of(new))
    return sorted(key for key in before if before[key] != after[key])


def values_of(section: msgspec.Struct, above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every key with its value."""
    for field in msgspec.structs.fields(type(section)):
        value = getattr(section, field.name)
        if isinstance(value, msgspec.Struct):
            yield from values_of(value, f"{above}{field.name}.")
        else:
            yield f"{above}{field.name}", value


def write_settings(settings: Settings, path: Path) -> None:
    """Write settings so that they read back unchanged; no reader sees half a file."""
    unfinished = path.with_suffix(".unfinished")
    try:
        unfinished.unlink(missing_ok=True)
        with os.fdopen(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o640), "wb") as file:
            file.write(yaml_of(settings))
        unfinished.replace(path)
    except OSError as error:
        raise MdssError(  # the settings are not at fault, so whoever started the station may try again
            f"station.runtime_directory: {path} cannot be written ({error.strerror}); expected free space in a folder of the station's own"
        ) from error
