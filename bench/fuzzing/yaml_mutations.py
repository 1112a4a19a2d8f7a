"""Settings as nobody should write them: valid sections with a few places changed, and the tricks that YAML is known for."""

from __future__ import annotations

from random import Random
from typing import Any

from bench.fuzzing.mutations import mutated

MOST_SECTIONS = 3  # of one file, because YAML is slow to read
DEEP = 18
TAGS = (
    "!!python/object:os.system", "!!python/object/apply:os.system [id]", "!!python/name:os.system", "!!python/tuple [1, 2]", "!!int x",
    "!!int ''", "!!float x", "!!bool maybe", "!!null 3", "!!timestamp x", "!!timestamp 2024-13-40", "!!binary '*'", "!!binary aGk=",
    "!!set {a, b}", "!!omap [a: 1]", "!!omap 3", "!!pairs [a: 1]", "!!seq {}", "!!map []", "!!str [a]", "!local x",
    "!<tag:yaml.org,2002:int> 4", "! 5", "!e!x 5", "!!merge x", "!!value =", "!!yaml x",
)  # fmt: skip
SCALARS = (
    "", "~", "null", "yes", "off", "=", "<<", "*", "&", "&a", "*nobody", "&a *a", "- 1", "? a", ": b", "@x", "`x`", "%x", "|", ">",
    "|9\n", "'", '"', "'a\n\n b'", '"\\ud800"', '"\\ud83d\\ude00"', '"\\x00"', '"\\U00110000"', '"\\q"', '"a\\\n  b"', "0", "-0", "1_000",
    "0x", "0x_", "0b_", "0b2", "08", "0o17", "1:60", "190:20:30", "1:99.5", "9" * 5000, "-" + "9" * 400, "0x" + "f" * 9000,
    "0b" + "1" * 9000, "1" + "_" * 900 + "1", "1e400", "1.0e+400", "-.inf", ".nan", "._", "4.e", "2024-01-01", "2024-13-45", "2024-02-30",
    "0000-00-00", "9999-12-31t23:59:60.9+99:99", "2001-12-14 21:59:43.10 -5", "x" * 200_000, "é" * 70, "\u202e", "a\u2028b", "\ufeff",
    "[" * DEEP, "[" * 3000, "[" * DEEP + "]" * DEEP, "[" * 150 + "]" * 150, "{a: " * DEEP + "1" + "}" * DEEP, "[" * 2000 + "]" * 2000,
    "- " * 900 + "1", "[" + "a, " * 900 + "a]", "{? [1]: 2}", "{{a: 1}: 2}", "{[]: 1}", "{1: 2}", "{a: 1, a: 2}", "{<<: {a: 1}}",
    "{<<: [{a: 1}, {b: 2}]}", "{<<: 3}", "&r [*r]", "&r {a: *r}", "{a: &r [*r, *r]}", "[{<<: &r {a: 1}}, *r]", "/", "ipc://",
    "ipc://" + "p" * 200, "tcp://0.0.0.0:1", "redis://u:secret@h/0", "http://[::1", "..\\..", "~root", "/dev/zero", "/proc/self/mem",
)  # fmt: skip
LINES = (
    "\t", "\ttabbed: 1\n", "---\n", "---\n---\n", "...\n", "%YAML 1.1\n---\n", "%YAML 9.9\n---\n", "%TAG ! tag:x,2024:\n---\n", "%X\n",
    "\ufeff", "\r", "\r\n", "\x85", "\x00", "\x07", "# é\n", "- a\n", "? a\n: b\n", "? [a]\n: b\n", "1: 2\n", "null: 1\n", "camera: 1\n",
    "camera: {credit: 3}\n", "station: &s {name: a}\nlogs: *s\n", "<<: {a: 1}\n", "a: &a 1\n<<: *a\n", "  over: 1\n", "station\n",
    "x: |\n",
)  # fmt: skip


def settings_text(defaults: dict[str, Any], random: Random) -> bytes:
    """Return one settings file: some sections, with something wrong in most of them."""
    names = random.sample(sorted(defaults), random.randint(1, MOST_SECTIONS))
    lines = [line for name in names for line in _section(name, defaults[name], "", random)]
    for _ in range(random.choice((0, 1, 1, 2))):
        lines.insert(random.randrange(len(lines) + 1), random.choice(LINES))
    text = "".join(lines)
    if random.random() < 0.02:
        text += "".join(_section("logs", defaults["logs"], "", random)) * 500
    data = (
        text.encode("utf-8", "surrogatepass")
        if random.random() < 0.97
        else text.encode(random.choice(("utf-16", "utf-32", "cp037")), "replace")
    )
    return mutated(data, random, random.choice(SCALARS).encode()) if random.random() < 0.35 else data


def _section(name: str, value: Any, indent: str, random: Random) -> list[str]:
    """Return the lines of one key, in YAML's block style."""
    if random.random() < 0.04:
        return [f"{indent}{name}: {_wrong(random)}\n"]
    if isinstance(value, dict):
        kept = [key for key in value if random.random() < 0.6]
        return [f"{indent}{name}:\n", *(line for key in kept for line in _section(key, value[key], indent + "  ", random))]
    plain = f"[{', '.join(value)}]" if isinstance(value, list | tuple) else {None: "null", True: "true", False: "false"}.get(value, value)
    return [f"{indent}{name}: {plain}\n"]


def _wrong(random: Random) -> str:
    """Return a value that belongs nowhere, alone or inside others."""
    scalar, tag = random.choice(SCALARS), random.choice(TAGS)
    ways = (
        scalar,
        scalar,
        tag,
        nested_aliases(random.randint(2, 12), random),
        f"{tag}\n    {scalar}",
        f"&x {scalar}",
        f"[{scalar}, {scalar}]",
        f"{{name: {scalar}}}",
    )
    return random.choice(ways)


def nested_aliases(levels: int, random: Random) -> str:
    """Return lists, or merging mappings, each of which names the one before ten times: 10 ** levels values in one line."""
    kind = random.randrange(3)
    inner = {0: "[x, x]", 1: "{a: 1}", 2: "{a: 1}"}[kind]
    steps = [f"&l0 {inner}"]
    for level in range(1, levels):
        names = ", ".join([f"*l{level - 1}"] * 10)
        steps.append(f"&l{level} " + {0: f"[{names}]", 1: f"{{<<: [{names}]}}", 2: f"{{z: [{names}]}}"}[kind])
    listed = f"[{', '.join(steps)}]"
    return listed if random.random() < 0.5 else f"{{z: {listed}}}"
