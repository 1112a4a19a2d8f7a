"""What `mdss doctor` says of the disk under the journal, and of how long it lasts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from daemon import doctor_disk
from daemon.finding import Case, Level, size
from mdss.settings import Settings
from mdss.user_name import user
from tests.cases import DAY_S, judged, laid_out, of, settings


@pytest.mark.parametrize(
    ("line", "level", "words"),
    [
        ("nas:/mdss {place} nfs4 rw,relatime 0 0", "bad", "lies on a network (nfs4)"),
        ("sshfs {place} fuse.sshfs rw 0 0", "bad", "lies on a network (sshfs)"),
        ("tmpfs {place} tmpfs rw,size=4g 0 0", "bad", "lies in memory (tmpfs)"),
        ("overlay {place} overlay rw 0 0", "weak", "lies in a container's own layer"),
        ("/dev/sda1 {place} ext4 rw 0 0", "ok", "lies on a local disk (ext4)"),
    ],
)
def test_the_file_system_of_the_journal_is_named(tmp_path: Path, line: str, level: Level, words: str) -> None:
    state = tmp_path / "a disk" / "state"
    state.mkdir(parents=True)
    mounts = "/dev/sda1 / ext4 rw 0 0\n" + line.format(place=str(tmp_path / "a disk").replace(" ", "\\040")) + "\n"
    case = Case(settings(station={"state_directory": str(state)}), root=laid_out(tmp_path / "root", proc__self__mounts=mounts))
    found = of(doctor_disk.disk_findings(case), "state directory: file system")
    assert (found.level, words in found.found) == (level, True), found


def test_a_disk_that_is_mounted_read_only_is_bad(tmp_path: Path) -> None:
    root = laid_out(tmp_path / "root", proc__self__mounts=f"/dev/sda1 {tmp_path} ext4 ro,relatime 0 0\n")
    case = Case(settings(station={"state_directory": str(tmp_path / "not" / "there" / "yet")}), root=root)
    found = of(doctor_disk.disk_findings(case), "state directory: rights")
    assert (found.level, found.found) == ("bad", f"{tmp_path} is mounted read-only")


def test_what_a_copy_left_to_another_user_is_bad_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("evidence", "drift", "lost+found"):
        (tmp_path / folder).mkdir()
    for file in ("journal.sqlite", "models.json", "journal.backup"):
        (tmp_path / file).touch()
    refused = {tmp_path / "evidence": os.W_OK, tmp_path / "journal.sqlite": os.W_OK, tmp_path / "models.json": os.W_OK}
    refused |= {tmp_path / "lost+found": os.R_OK, tmp_path / "journal.backup": os.R_OK}  # none of the station's
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & refused.get(Path(path), 0))  # whoever runs this may be root
    case = Case(settings(station={"state_directory": str(tmp_path)}), root=laid_out(tmp_path / "root", proc__self__mounts=""))
    found = of(doctor_disk.disk_findings(case), "state directory: rights")
    assert (found.level, found.found) == ("bad", f"this user may not use {tmp_path / 'journal.sqlite'}, {tmp_path / 'evidence'}")
    assert f"chown -R {user()}: {tmp_path}" in found.advice


def test_how_long_the_disk_lasts_is_told_from_the_rate_of_the_newest_verdicts(tmp_path: Path) -> None:
    (tmp_path / "evidence").mkdir()
    picture = tmp_path / "evidence" / "a.png"
    picture.write_bytes(bytes(500_000))
    recent = judged(200, every_s=1.0, evidence=picture)
    daily = doctor_disk.daily_bytes(recent)
    assert daily is not None and 500_000 * DAY_S < daily < 510_000 * DAY_S
    case = Case(settings(station={"state_directory": str(tmp_path)}, journal={"keep_days": 10}), recent)
    for free, level in ((daily * 11, "ok"), (daily * 9, "weak"), (daily / 2, "bad")):
        found = doctor_disk._room(case, tmp_path, int(free))
        assert found.level == level, found
        assert f"{free / daily:.3g} days at the rate of the last 200 parts" in found.found


def test_a_large_disk_of_a_small_station_is_told_in_words_and_not_in_powers_of_ten() -> None:
    recent = judged(200, every_s=10.0)
    daily = doctor_disk.daily_bytes(recent)
    assert daily is not None
    lasts = [doctor_disk._room(Case(Settings(), recent), Path("/"), int(daily * days)).found for days in (998.6, 1000, 5000)]
    assert ["999 days" in lasts[0], *("more than 999 days" in each for each in lasts[1:])] == [True] * 3, lasts
    assert [size(count) for count in (999, 999.6, 999_400_000_000, 999_700_000_000)] == ["999 B", "1 kB", "999 GB", "1 TB"]


def test_few_verdicts_tell_of_no_rate_and_little_space_is_named_all_the_same(tmp_path: Path) -> None:
    assert doctor_disk.daily_bytes(judged(99, every_s=10)) is None
    assert doctor_disk.daily_bytes(judged(200, every_s=0.1)) is None
    case = Case(settings(station={"state_directory": str(tmp_path)}))
    assert [doctor_disk._room(case, tmp_path, free).level for free in (10**8, 5 * 10**8, 10**10)] == ["bad", "weak", "ok"]


def test_inodes_run_out_before_the_space_does(tmp_path: Path) -> None:
    assert [doctor_disk._inodes(tmp_path, free).level for free in (999, 19_999, 20_000)] == ["bad", "weak", "ok"]


def test_a_budget_for_scans_that_the_disk_has_no_room_for_is_a_weak_point(tmp_path: Path) -> None:
    kept = tmp_path / "collected" / "cap" / "a" / "xyz.tiff"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(bytes(3_000_000))
    case = Case(settings(station={"state_directory": str(tmp_path)}, collection={"max_mb": 5000, "min_free_mb": 1000}))
    for free, level in ((6 * 10**9, "ok"), (5_998_000_000, "ok"), (5_990_000_000, "weak")):
        found = doctor_disk._collection(case, free)
        assert (found.level, "3 MB kept, collection.max_mb allows 5 GB" in found.found) == (level, True), found
    off = Case(settings(station={"state_directory": str(tmp_path)}, collection={"enabled": False}))
    assert "scans for retraining" not in [found.subject for found in doctor_disk.disk_findings(off)]
    assert of(doctor_disk.disk_findings(case), "scans for retraining").level in ("ok", "weak")


def test_a_scan_that_is_removed_while_its_folder_is_read_counts_for_nothing(tmp_path: Path) -> None:
    gone = tmp_path / "collected" / "cap" / "a" / "xyz.tiff"
    gone.parent.mkdir(parents=True)
    gone.symlink_to("nowhere")  # listed, and not there to be looked at
    case = Case(settings(station={"state_directory": str(tmp_path)}))
    assert doctor_disk._collection(case, 10**10).found.startswith("0 B kept")
