"""`mdss doctor` on the disk that holds journal and pictures: its kind, permissions, free space, and how long the space lasts."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from daemon.collect import MB
from daemon.finding import Case, Finding, bad, is_folder, ok, size, weak
from mdss.collection import FOLDER
from mdss.journal import JOURNAL
from mdss.user_name import user
from mdss.wire.verdict import Verdict

NETWORKED: Final = {
    *("9p", "afs", "beegfs", "ceph", "cifs", "glusterfs", "gpfs", "lustre"),
    *("nfs", "nfs4", "ocfs2", "smb3", "smbfs", "sshfs", "s3fs"),
}
IN_MEMORY: Final = {"ramfs", "tmpfs"}
LEAST_BYTES, LITTLE_BYTES = 200_000_000, 1_000_000_000
LEAST_INODES, LITTLE_INODES = 1000, 20_000
RATED_FROM = 100  # verdicts; fewer say nothing about the rate
RATED_OVER_NS = 60 * 10**9
MOST_DAYS = 999  # that the space may last; more are not counted
DAY_NS = 86_400 * 10**9
ENTRY_BYTES = 1000  # bytes in the journal per part besides its verdict: the accepted record and the indexes
SUBJECT: Final = "state directory"
OWN: Final = (f"{JOURNAL}*", "*.json", "evidence", "collected", "collect_all", "drift", "quarantine", "retrain")


def disk_findings(case: Case) -> Iterator[Finding]:
    """Examine the folder that holds what the station must not lose."""
    state = Path(case.settings.station.state_directory)
    folder = next(path for path in (state, *state.parents) if is_folder(path))  # before the first start the folder itself does not exist
    own = [path for name in OWN for path in sorted(state.glob(name))] if folder == state else []
    kind, options = mount_of(case, folder)
    yield _kind(state, kind)
    yield _writable(folder, options, [path for path in own if not may_use(path)])
    folders = {path.stat().st_dev: path for path in (state / "evidence", folder) if is_folder(path)}
    for place in folders.values():
        disk = os.statvfs(place)
        yield _room(case, place, disk.f_bavail * disk.f_frsize)
        if disk.f_files:  # 0 where a file system creates inodes as needed
            yield _inodes(place, disk.f_favail)
    if case.settings.collection.enabled:
        yield _collection(case, shutil.disk_usage(folder).free)


def mount_of(case: Case, folder: Path) -> tuple[str, set[str]]:
    """Return the type of the file system that a folder is on, and its mount options."""
    found, path = ("", "", ""), folder.resolve()
    for line in case.system("proc/self/mounts").splitlines():
        _, place, kind, options = line.split(" ")[:4]
        place = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), place)  # \040 stands for a space
        if path.is_relative_to(place) and len(place) >= len(found[0]):
            found = (place, kind, options)
    return found[1].removeprefix("fuse."), set(found[2].split(","))


def _kind(state: Path, kind: str) -> Finding:
    subject, advice = f"{SUBJECT}: file system", "point station.state_directory at a local disk"
    if kind in NETWORKED:
        why = "the journal (SQLite with WAL) needs memory that its processes share, which a network file system does not promise"
        return bad(subject, f"{state} lies on a network ({kind})", why, advice)
    if kind in IN_MEMORY:
        why = "a restart of the machine forgets every part that was acknowledged, and the sequence begins again"
        return bad(subject, f"{state} lies in memory ({kind})", why, advice)
    if kind == "overlay":
        return weak(subject, f"{state} lies in a container's own layer", "it goes with the container", "mount a volume there")
    return ok(subject, f"{state} lies on a local disk ({kind or 'of unknown kind'})")


def _writable(folder: Path, options: set[str], foreign: list[Path]) -> Finding:
    subject, chown = f"{SUBJECT}: rights", f"chown -R {user()}: {shlex.quote(str(folder))}"
    if "ro" in options:
        return bad(subject, f"{folder} is mounted read-only", "no part can be recorded, so none is accepted", "mount it for writing")
    if not os.access(folder, os.W_OK | os.X_OK):
        why = "a station of this user could record nothing"
        advice = f"run mdss doctor as the station's own user; if this is that user: {chown}"
        return weak(subject, f"this user may not write to {folder}", why, advice)
    if foreign:
        found = f"this user may not use {', '.join(map(str, foreign))}"
        why = "without its journal a station judges nothing; without the others pictures, scans or records are lost"
        advice = f"if this is the station's own user, give it what another user's copy or command left: {chown}"
        return bad(subject, found, why, advice)
    return ok(subject, f"{folder} can be written")


def may_use(path: Path) -> bool:
    """Return whether this user can use a file or folder as the station does; JSON records are replaced whole, so reading is enough."""
    own_folder = os.X_OK if is_folder(path) else 0
    return os.access(path, os.R_OK if path.suffix == ".json" else os.R_OK | os.W_OK | own_folder)


def _room(case: Case, folder: Path, free: int) -> Finding:
    subject, keep_days = "free space", case.settings.journal.keep_days
    daily = daily_bytes(case.recent)
    found = f"{size(free)} free at {folder}"
    advice = "free space, or make journal.keep_days smaller"
    why = "with a full disk no part can be recorded, so cameras get BUSY"
    if daily is None:
        level = bad if free < LEAST_BYTES else weak
        return level(subject, found, why, advice) if free < LITTLE_BYTES else ok(subject, f"{found}; too few verdicts to tell for how long")
    days = f"{free / daily:.3g}" if free <= MOST_DAYS * daily else f"more than {MOST_DAYS}"
    found = f"{found}: {days} days at the rate of the last {len(case.recent)} parts ({size(daily)} a day)"
    if free < max(LEAST_BYTES, daily):
        return bad(subject, found, why, advice)
    if free + kept_bytes(case) < daily * keep_days:
        return weak(subject, f"{found}, and journal.keep_days is {keep_days}", why, advice)
    return ok(subject, found)


def _inodes(folder: Path, free: int) -> Finding:
    subject, found = "free inodes", f"{free} free at {folder}"
    why, advice = (
        "each picture is a file; without inodes no file can be made",
        "remove small files there, or make journal.keep_days smaller",
    )
    if free < LITTLE_INODES:
        return (bad if free < LEAST_INODES else weak)(subject, found, why, advice)
    return ok(subject, found)


def _collection(case: Case, free: int) -> Finding:
    subject, own = "scans for retraining", case.settings.collection
    folders = os.walk(Path(case.settings.station.state_directory) / FOLDER)  # skips what the running station removes meanwhile
    kept = sum(file_bytes(Path(folder, name)) for folder, _, names in folders for name in names)
    found = f"{size(kept)} kept, collection.max_mb allows {size(own.max_mb * MB)}, {size(free)} free"
    if kept + free - own.min_free_mb * MB < own.max_mb * MB:
        why = "too little is free before the limit is reached: then no new scan is kept, and retraining learns from old parts only"
        return weak(subject, found, why, "make collection.max_mb smaller, or free space")
    return ok(subject, found)


def daily_bytes(recent: tuple[Verdict, ...]) -> float | None:
    """Return by how many bytes journal and pictures grow per day at the rate of the newest verdicts; None if these are too few."""
    if len(recent) < RATED_FROM:
        return None
    took_ns = recent[-1].times.published - recent[0].times.published
    if took_ns < RATED_OVER_NS:
        return None
    written = sum(ENTRY_BYTES + len(msgspec.json.encode(verdict)) + picture_bytes(verdict) for verdict in recent)
    return written * DAY_NS / took_ns


def picture_bytes(verdict: Verdict) -> int:
    """Return the size of a part's picture in bytes, 0 if it has none or it was removed."""
    return 0 if verdict.evidence is None else file_bytes(verdict.evidence.path)


def file_bytes(path: Path) -> int:
    """Return the size of a file in bytes, 0 if it is gone: a running station removes old files."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def kept_bytes(case: Case) -> int:
    """Return how many bytes journal and pictures take now."""
    state = Path(case.settings.station.state_directory)
    return sum(map(file_bytes, (*state.glob(f"{JOURNAL}*"), *state.glob("evidence/*.png"))))
