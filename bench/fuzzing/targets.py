"""The parts of the real code that the fuzzer feeds."""

from __future__ import annotations

from bench.fuzzing.frames import FRAMES
from bench.fuzzing.links import CODEC, SNAPSHOT
from bench.fuzzing.settings_files import SETTINGS

TARGETS = {"frames": FRAMES, "codec": CODEC, "snapshot": SNAPSHOT, "settings": SETTINGS}
