"""Publishes the JSON Schemas of verdicts and frame headers; `python -m mdss.wire.schemas docs/schemas` writes them."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from mdss.wire.headers import NO_LINE_BREAK, FrameHeader
from mdss.wire.verdict import Verdict

SCHEMAS: dict[str, type[msgspec.Struct]] = {"verdict.v1.json": Verdict, "frame.v1.json": FrameHeader}


def schema_text(kind: type[msgspec.Struct]) -> str:
    """Return a type's JSON Schema as published."""
    document = {"$schema": "https://json-schema.org/draft/2020-12/schema", **msgspec.json.schema(kind)}
    text = msgspec.json.format(msgspec.json.encode(document), indent=2).decode()
    no_line_break = msgspec.json.encode(NO_LINE_BREAK).decode().strip('"')
    # without the look-ahead: the regular expressions of Go and Rust have none, and JSON Schema does not need it
    return text.replace(no_line_break, "") + "\n"


def write_all(directory: Path) -> None:
    """Write all schemas into a directory."""
    for name, kind in SCHEMAS.items():
        (directory / name).write_text(schema_text(kind))


if __name__ == "__main__":
    write_all(Path(sys.argv[1]))
