"""`mdss doctor` on the station itself: whether it runs, whether its verdicts come in time, and whether settings invite trouble."""

from __future__ import annotations

import shlex
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from daemon.child import FIRST_PAUSE_S, LONGEST_PAUSE_S
from daemon.finding import Case, Finding, bad, is_folder, ok, weak
from daemon.open_files import RESTART, missing_sockets
from daemon.verbs import GIVE_EACH_ITS_PORT
from daemon.verdict_words import latency_ms
from mdss.errors import BadInput
from mdss.key_files import OTHERS, SUFFIX, read_password
from mdss.settings import SupervisorSettings, public_endpoints
from mdss.settings_access import LOOPBACK_HOST
from mdss.settings_types import TCP

LATE_SHARE: Final = 0.01
FEWEST_DEATHS: Final = 3
USUAL_PART_RATIO: Final = 0.85  # good parts of four products cover 0.88 or more; parts that lack a third cover 0.69 to 0.88
OPTIONAL_PROCESSES: Final = ("alerts", "collect")  # processes that no verdict waits for
SHARED: Final = "who can read it can write into the station's alerts"


def station_findings(case: Case) -> Iterator[Finding]:
    """Examine the station's report, the time its parts took, and settings that invite trouble."""
    yield from _state(case)
    yield from _sockets(case)
    yield from _timing(case)
    yield _restarts(case.settings.supervisor)
    yield _size_of_parts(case.settings.fusion.min_part_ratio)
    yield from _doors(case)
    yield from _password(case.settings.alerts.password_file)


def _state(case: Case) -> Iterator[Finding]:
    report = case.report
    if case.other:
        why = "a station whose port is taken does not start, and nothing can be asked of it"
        yield bad("station", case.other, why, GIVE_EACH_ITS_PORT)
        return
    if report is None:
        yield weak("station", f"it does not run: {case.silence}", "no part is judged", "start it: systemctl start mdss")
        return
    if report.state in ("degraded", "error"):
        is_beside = report.state == "degraded" and report.reason.partition(":")[0] in OPTIONAL_PROCESSES
        why = "parts are judged as always; what this process does waits" if is_beside else "parts are judged late, in part, or not at all"
        level = bad if report.state == "error" else weak
        yield level("station", f"{report.state}: {report.reason}", why, "see 'What each state means' in docs/operations.md")
    else:
        yield ok("station", f"{report.state} for {report.uptime_s:.0f} s")
    if report.reload is not None and not report.reload.is_applied:
        why = "the station goes on with the settings before; its next start reads the file as it is"
        yield weak("last reload", f"refused: {report.reload.reason}", why, "mend what it names and reload, or restart the station")
    restarted = {process.name: process.restarts for process in report.processes if process.restarts}
    if restarted:
        ends = ", ".join(f"{name} {count} times" for name, count in restarted.items())
        why = "what a process had in its hands is judged again or comes late"
        yield weak("restarts", f"since the start: {ends}", why, "read why in the log: journalctl -u mdss")


def _sockets(case: Case) -> Iterator[Finding]:
    if case.report is None:
        return
    with suppress(OSError):  # this user may not look
        missing = missing_sockets(case.settings, [process.name for process in case.report.processes if process.is_ready])
        why = "what is connected goes on; cameras, subscribers and processes that come later wait for ever"
        if missing and missing in case.report.reason:
            yield bad("sockets", missing, why, f"{RESTART}; what cleans that folder must leave the sockets alone")
        elif missing:  # the station itself does not say so: it may have opened others
            yield weak("sockets", f"{missing}, or the settings were changed since the start", why, RESTART)
        else:
            yield ok("sockets", "all are there")


def _timing(case: Case) -> Iterator[Finding]:
    judged = [verdict for verdict in case.recent if verdict.evaluation != "Undefined"]
    late = sum(verdict.code == "LATE" for verdict in case.recent)
    advice = "give the branches more cores or a GPU, or raise camera.deadline_ms where the line can wait (docs/operations.md)"
    if late > LATE_SHARE * len(case.recent):
        why = "a part without a verdict in time is not accepted, good or not"
        yield weak("late parts", f"{late} of the last {len(case.recent)} were late", why, advice)
    if not judged:
        return
    took_ms = sorted(map(latency_ms, judged))
    usual_ms, slow_ms, deadline_ms = took_ms[len(took_ms) // 2], took_ms[int(0.99 * (len(took_ms) - 1))], case.settings.camera.deadline_ms
    found = (
        f"half of the last {len(judged)} parts took {usual_ms:.0f} ms, 99 in 100 at most {slow_ms:.0f} ms; the deadline is {deadline_ms} ms"
    )
    why = "what is not judged by its deadline is Undefined/LATE"
    if deadline_ms < slow_ms:
        yield (bad if deadline_ms < usual_ms else weak)("deadline", found, why, advice)
    else:
        yield ok("deadline", found)


def _restarts(own: SupervisorSettings) -> Finding:
    subject, found = "restarts allowed", f"{own.restart_limit} ends in {own.restart_window_s:g} s"
    if own.restart_limit < FEWEST_DEATHS:
        why = "a process that dies twice by chance stays away, and the whole station is started again"
        return weak(subject, found, why, f"set supervisor.restart_limit to {FEWEST_DEATHS} or more")
    if own.restart_limit > most_ends(own.restart_window_s):
        why = "the pauses between restarts allow no process to end that often in that time: one that always fails is restarted for ever"
        return weak(subject, found, why, "lower supervisor.restart_limit, or raise supervisor.restart_window_s")
    return ok(subject, found)


def _size_of_parts(least: float) -> Finding:
    subject = "size of parts"
    if not least:
        found, why = "fusion.min_part_ratio is 0: it is not checked", "half of a part may be missing and the verdict OK: no score shows it"
        return weak(subject, found, why, f"set it, to {USUAL_PART_RATIO:g} for most products (docs/operations.md)")
    return ok(subject, f"what covers less than {least:.0%} of the smallest good part is never OK")


def most_ends(window_s: float) -> int:
    """Return how often a process that dies at once can end within `window_s` seconds, given the growing pauses between restarts."""
    ends, passed_s = 1, 0.0
    while (passed_s := passed_s + min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(ends - 1, 16))) <= window_s:
        ends += 1
    return ends


def _doors(case: Case) -> Iterator[Finding]:
    """Report endpoints that anybody can use without keys, folders open to everybody, and a client list that lets nobody in."""
    settings, security = case.settings, case.settings.security
    for name, endpoint in public_endpoints(settings).items():
        if endpoint.startswith(TCP) and security.server_key_file is None:
            why = "every program of this machine may send frames, or read verdicts, whoever runs it"
            yield weak(name, f"{endpoint}, without keys", why, "use ipc://, where the folder's rights say who may connect, or mdss keygen")
    keys = None if security.client_keys is None else Path(security.client_keys)
    if keys is not None and not (is_folder(keys) and any(keys.glob(f"*{SUFFIX}"))):
        why = "over tcp nobody is let in, no camera and no subscriber"
        yield weak("security.client_keys", f"no key in {keys}", why, "put the NAME.key of each client there (mdss keygen)")
    if LOOPBACK_HOST.fullmatch(settings.http.host) is None:
        why = "the pages are not encrypted: who listens on that network learns the token"
        yield weak("http.host", f"{settings.http.host}, for other machines", why, "keep it on 127.0.0.1, or behind a proxy with TLS")
    folders = {"station.state_directory": settings.station.state_directory, "station.runtime_directory": settings.station.runtime_directory}
    for name, folder in folders.items():
        mode = stat.S_IMODE(Path(folder).stat().st_mode) if is_folder(Path(folder)) else 0
        if mode & OTHERS:
            why = "every user of this machine may look at its parts, or speak through its sockets"
            yield weak(name, f"{folder} is open to everybody (mode {mode:o})", why, f"chmod 750 {shlex.quote(str(folder))}")


def _password(name: str | None) -> Iterator[Finding]:
    if name is None:
        return
    subject, path = "alerts.password_file", Path(name)
    try:
        read_password(path)
        mode = stat.S_IMODE(path.stat().st_mode)
    except BadInput as error:
        why = "alerts wait in the journal until it can be read"
        yield bad(
            subject,
            str(error).removeprefix(f"{subject} "),
            why,
            "write the password, alone, into that file, for the station's user to read",
        )
        return
    if mode & OTHERS:
        yield weak(subject, f"{path} may be read by everybody (mode {mode:o})", SHARED, f"chmod 640 {shlex.quote(str(path))}")
    else:
        yield ok(subject, f"{path} may be read by its owner and group alone")
