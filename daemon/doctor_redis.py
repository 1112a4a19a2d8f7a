"""`mdss doctor` on the Redis that holds the alerts: whether it accepts them, keeps them, and has room for more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any, Final

from daemon.finding import Case, Finding, bad, ok, size, weak
from daemon.redis_link import RedisLink, StoreAway, open_link

OLDEST: Final = (6, 2)
FULL_AT: Final = 0.8  # share of maxmemory
PROBE: Final = "return redis.call('DEL', KEYS[1])"  # a script that stores nothing, but needs every right that storing an alert needs
PROBE_KEY: Final = "mdss:doctor"
LOST: Final = "a restart of Redis loses every alert that it holds, and they are not delivered again"


def redis_findings(case: Case) -> Iterator[Finding]:
    """Examine Redis with the station's own address, user and password."""
    with closing(open_link(case.settings.alerts)) as link:
        try:
            with link.asking() as client:
                client.eval(PROBE, 1, PROBE_KEY)
        except StoreAway as away:
            found, _, advice = str(away).rpartition("; ")
            yield bad("Redis", found, "alerts wait in the journal; verdicts go on without Redis", advice)
            return
        yield ok("Redis", f"Redis at {link.place} answers and takes alerts")
        yield from _inner(link)


def _inner(link: RedisLink) -> Iterator[Finding]:
    try:
        with link.asking() as client:
            info: Any = client.info()
    except StoreAway:
        yield weak(
            "Redis settings",
            "the station's user may not ask Redis for INFO",
            "whether Redis keeps its data, and has room, is not seen from here",
            "ask as another user, or allow this one +info and +config|get",
        )
        return
    yield _version(str(info["redis_version"]))
    yield _persistence(info, _save_setting(link))
    yield _eviction(info)
    yield _room(info)


def _save_setting(link: RedisLink) -> str | None:
    """Return when Redis takes snapshots, as its setting `save` says; None if this user may not read it."""
    try:
        with link.asking() as client:
            found: Any = client.config_get("save")
    except StoreAway:
        return None
    return str(found.get("save", ""))


def _version(version: str) -> Finding:
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers >= OLDEST:
        return ok("Redis version", f"version {version}")
    advice = "install Redis 6.2 or later"
    return bad("Redis version", f"version {version}, expected 6.2 or later", "the script that stores an alert is not made for it", advice)


def _persistence(info: Any, save: str | None) -> Finding:
    subject = "Redis persistence"
    if info.get("rdb_last_bgsave_status") == "err" or info.get("aof_last_write_status") == "err":
        why = "it takes no alerts as long as it cannot save them, and loses what it holds when it ends"
        return bad(subject, "Redis could not write its own disk when it last tried", why, "free space where Redis keeps its data")
    if info.get("aof_enabled"):
        return ok(subject, "appendonly yes: alerts survive a restart of Redis")
    advice = "set appendonly yes and appendfsync everysec in redis.conf"
    if save is None:
        return weak(subject, "appendonly no, and this user may not ask for save", f"without save, {LOST}", advice)
    if save:
        why = "a power cut loses the alerts since the last snapshot, and they are not delivered again"
        return weak(subject, f"appendonly no, snapshots only (save {save})", why, advice)
    return weak(subject, 'appendonly no and save "": Redis keeps nothing on its disk', LOST, advice)


def _eviction(info: Any) -> Finding:
    subject, policy = "Redis maxmemory-policy", str(info.get("maxmemory_policy"))
    if policy == "noeviction":
        return ok(subject, "noeviction: a full Redis refuses alerts, which then wait in the journal")
    why = "a full Redis throws alerts away, and nobody is told"
    return weak(subject, f"{policy}, expected noeviction", why, "set maxmemory-policy noeviction in redis.conf")


def _room(info: Any) -> Finding:
    subject, used, limit = "Redis room", int(info["used_memory"]), int(info["maxmemory"])
    if not limit:
        why = "alerts and pictures may take all memory of that machine, and the kernel then ends whatever it chooses"
        return weak(subject, f"no maxmemory; {size(used)} in use", why, "set maxmemory 1gb in redis.conf, or what the machine can spare")
    found = f"{size(used)} of {size(limit)} in use"
    advice = "raise maxmemory, or make alerts.evidence_ttl_s or alerts.stream_max_length smaller"
    if used >= limit:
        return bad(subject, found, "a full Redis takes no alerts; they wait in the journal", advice)
    if used >= FULL_AT * limit:
        return weak(subject, found, "a full Redis takes no alerts; they would wait in the journal", advice)
    return ok(subject, found)
