"""How the journal forgets parts beyond their age, and gives their true times to those that a wrong clock has dated."""

from __future__ import annotations

from mdss.journal_file import JournalFile

AT_ONCE = 1000  # parts; a longer transaction would make the line wait
# Both are answered from indices alone, however many alerts wait that are older.
OLD_PARTS = (
    "SELECT rowid FROM part WHERE sequence IS NOT NULL AND judged_ns < ?"
    " AND rowid NOT IN (SELECT rowid FROM part WHERE evaluation <> 'OK' AND delivered = 0) LIMIT ? OFFSET ?"
)
DATED_PARTS = "SELECT judged_ns + ?, rowid FROM part WHERE sequence IS NOT NULL AND judged_ns BETWEEN ? AND ?"
FORGET = "DELETE FROM part WHERE rowid = ? AND (evaluation = 'OK' OR delivered = 1) RETURNING rowid"
REDATE = "UPDATE part SET judged_ns = ? WHERE rowid = ? RETURNING rowid"


def prune(file: JournalFile, older_than_ns: int) -> int:
    """Delete up to a thousand parts judged before this time (UTC ns) and return how many; undelivered alerts are kept.

    Damaged parts are kept, and those that cannot be deleted without touching the damage. Nobody waits while parts are looked for.
    """
    file.rows("PRAGMA temp_store = MEMORY")  # what is looked for needs no room on a full disk
    passed = 0
    while old := file.rows(OLD_PARTS, older_than_ns, AT_ONCE, passed):
        if forgotten := file.change_each(FORGET, old):
            return forgotten
        passed += len(old)  # all of them damaged
    return 0


def redate(file: JournalFile, first_ns: int, last_ns: int, by_ns: int) -> int:
    """Move the times by which `prune` goes, where they are from `first_ns` to `last_ns` (UTC), and return of how many parts."""
    parts = file.rows(DATED_PARTS, by_ns, first_ns, last_ns)
    return sum(file.change_each(REDATE, parts[at : at + AT_ONCE]) for at in range(0, len(parts), AT_ONCE))
