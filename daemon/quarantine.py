"""Keeps the scan of a part that workers do not survive (POISON), in a folder that `mdss replay` can read."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import msgspec
import structlog

from daemon.held_parts import HeldPart
from mdss.scan_files import write_scan

MOST_SCANS = 100  # so that a station on which every part fails does not fill its disk
log = structlog.get_logger()


class Quarantine:
    """A folder of scans as recorded, in millimetres: rgb/NAME.png, xyz/NAME.tiff, and NAME.json with what happened."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keep(self, part: HeldPart, reason: str) -> None:
        """Write one scan; if the disk refuses, the scan is lost and the loss logged, but the verdict is unaffected."""
        name = part.accepted.result_id
        rgb_path, xyz_path, json_path = (self.folder / each for each in (f"rgb/{name}.png", f"xyz/{name}.tiff", f"{name}.json"))
        try:
            if len(list(self.folder.glob("*.json"))) >= MOST_SCANS:
                log.error("not kept: the quarantine is full", result_id=name, folder=str(self.folder), scans=MOST_SCANS)
                return
            for kind in ("rgb", "xyz"):
                (self.folder / kind).mkdir(parents=True, exist_ok=True)
            write_scan(rgb_path, part.frame.rgb, xyz_path, part.frame.xyz[:])
            text = msgspec.json.encode({"reason": reason, "unit": "mm", "accepted": part.accepted})
            json_path.write_bytes(msgspec.json.format(text, indent=2))
        except OSError as error:
            for path in (rgb_path, xyz_path, json_path):  # a part of a scan would take room and not count among those that are kept
                with suppress(OSError):
                    path.unlink()
            log.error("the scan of a part that no worker survives is not kept", result_id=name, reason=str(error))
        else:
            log.error("a part that no worker survives is kept for inspection", result_id=name, folder=str(self.folder), reason=reason)
