"""The part of JSON Schema that the published schemas use, read as a program in another language would read it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

TYPES: dict[str | None, tuple[type, ...]] = {
    "object": (dict,), "array": (list,), "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,),
    "null": (type(None),), None: (object,),
}  # fmt: skip
KNOWN = {
    "$schema", "$ref", "$defs", "title", "description", "default", "type", "enum", "anyOf", "required", "properties",
    "additionalProperties", "prefixItems", "items", "minItems", "maxItems",
}  # fmt: skip
MOST = 10_000


def faults(value: Any, schema: dict[str, Any], root: dict[str, Any], place: str = "$") -> list[str]:
    """Return one sentence for each place where a value does not fit; a keyword that is not known here is an error of the test."""
    if schema.keys() - KNOWN:
        raise NotImplementedError(f"{place}: {', '.join(schema.keys() - KNOWN)}")
    if "$ref" in schema:
        return faults(value, root["$defs"][schema["$ref"].removeprefix("#/$defs/")], root, place)
    if "anyOf" in schema:
        return [] if any(not faults(value, kind, root, place) for kind in schema["anyOf"]) else [f"{place}: {value!r} fits no kind"]
    if not _is_of(value, schema.get("type")):
        return [f"{place}: found {value!r}, expected {schema['type']}"]
    if "enum" in schema and value not in schema["enum"]:
        return [f"{place}: found {value!r}, expected one of {schema['enum']}"]
    found = [f"{place}: lacks {name}" for name in schema.get("required", ()) if name not in value]
    if isinstance(value, list) and not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", MOST):
        found.append(f"{place}: found {len(value)} items")
    return found + [fault for name, part, rule in _parts(value, schema) for fault in faults(part, rule, root, f"{place}{name}")]


def _is_of(value: Any, kind: str | None) -> bool:
    is_confused = isinstance(value, bool) and kind in ("integer", "number")  # a bool is an int to Python, but not to JSON
    return isinstance(value, TYPES[kind]) and not is_confused


def _parts(value: Any, schema: dict[str, Any]) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """Yield what lies inside a value, each with the schema it must fit."""
    if isinstance(value, dict):
        for name, part in value.items():
            yield f".{name}", part, schema.get("properties", {}).get(name, schema.get("additionalProperties", {}))
    elif isinstance(value, list):
        heads = schema.get("prefixItems", ())
        for number, (part, rule) in enumerate(zip_longest(value, heads[: len(value)], fillvalue=schema.get("items") or {})):
            yield f"[{number}]", part, rule
