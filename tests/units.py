"""The systemd units in deploy/, as tests read them."""

from __future__ import annotations

from pathlib import Path
from string import Template

DEPLOY = Path(__file__).resolve().parents[1] / "deploy"
UNITS = ("mdss.service", "mdss@.service", "mdss-retrain@.service", "mdss-retrain@.timer")


def unit(name: str) -> dict[str, dict[str, str]]:
    """Return a unit's sections; the values of a key that is given several times are joined by lines."""
    sections: dict[str, dict[str, str]] = {}
    for line in (DEPLOY / name).read_text().splitlines():
        if line.startswith("["):
            section = sections.setdefault(line.strip("[]"), {})
        elif line and not line.startswith("#"):
            key, value = line.split("=", 1)
            section[key] = f"{section[key]}\n{value}" if key in section else value
    return sections


def start_line(name: str) -> list[str]:
    """Return the words of the one command that a service starts, with the variables that the unit itself gives."""
    service = unit(name)["Service"]
    given = dict(pair.split("=", 1) for pair in service.get("Environment", "").split())
    return Template(service["ExecStart"]).safe_substitute(given).split()
