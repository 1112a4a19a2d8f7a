"""Damaged settings files, fed to the loader of settings through a real file."""

from __future__ import annotations

import tempfile
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from bench.fuzzing.promises import Input, Target, check, check_sentence
from bench.fuzzing.yaml_mutations import settings_text
from mdss.errors import BadInput
from mdss.settings import Settings, load_settings

DEFAULTS: dict[str, Any] = msgspec.to_builtins(Settings())
FOLDER = tempfile.TemporaryDirectory(prefix="fuzz-")


def settings_file(random: Random) -> Input:
    """Return one settings file."""
    return [[settings_text(DEFAULTS, random)]]


def feed_settings(messages: Input) -> bool:
    """Load the file; return whether it was accepted."""
    path = Path(FOLDER.name) / "station.yaml"
    path.write_bytes(messages[0][0])
    try:
        check(isinstance(load_settings(path), Settings), "settings are settings")
    except BadInput as error:
        check_sentence(error)
        return False
    return True


SETTINGS = Target(settings_file, feed_settings, share=0.04)
