"""Turns a type error in settings or headers into words: where it is, what was found and what was expected."""

from __future__ import annotations

import re
from functools import cache
from types import NoneType
from typing import Any

import msgspec
from msgspec import inspect

LONGEST_SHOWN = 80  # most characters of a key or value repeated in a message
PLACE = re.compile(r" - at `\$\.?(?P<place>[^`]*)`$")
UNKNOWN = re.compile(r"^Object contains unknown field `(?P<key>.*?)`", re.DOTALL)
MISSING = re.compile(r"^Object missing required field `(?P<key>.*?)`")
PASSWORD = re.compile(r"(?<=password=)[^&]*")


def describe_misfit(error: msgspec.ValidationError, kind: type[msgspec.Struct], content: Any) -> tuple[str, str]:
    """Return the place of an error (such as branches.rgb.count) in content that did not fit a type, and a sentence on it."""
    found, unknown = PLACE.search(str(error)), UNKNOWN.match(str(error))
    place = found["place"] if found else ""
    if missing := MISSING.match(str(error)):
        place = f"{place}.{missing['key']}".lstrip(".")
    info, value = _look_up(_type_of(kind), content, place)
    if unknown:
        return f"{place}.{unknown['key']}".lstrip("."), f"found an unknown key, expected one of {', '.join(_keys(info))}"
    quotes = "; in quotes it would be text" if _is_text(info) and not isinstance(value, NoneType | str | list | dict) else ""
    return place, f"found {_shown(value)}, expected {_described(info)}{quotes}"


@cache  # cached because a camera may be refused a thousand times a second
def _type_of(kind: type[msgspec.Struct]) -> inspect.Type:
    return inspect.type_info(kind)


def _look_up(info: inspect.Type, value: Any, place: str) -> tuple[inspect.Type, Any]:
    """Return the expected type and the value found at a place such as branches.rgb.count or models.recipes[0].

    An unknown key may itself look like a place; then the search ends where nothing is found.
    """
    for step in re.findall(r"[^.\[\]]+", place):
        if isinstance(info, inspect.UnionType):  # a key that may also be null; null has no places within it
            info = next(each for each in info.types if not isinstance(each, inspect.NoneType))
        if isinstance(info, inspect.StructType):
            known = {field.name: field.type for field in info.fields}
            if step not in known or not isinstance(value, dict):
                break
            info, value = known[step], value.get(step)
        elif isinstance(info, inspect.VarTupleType):
            items = {str(number): item for number, item in enumerate(value)} if isinstance(value, list | tuple) else {}
            if step not in items:
                break
            info, value = info.item_type, items[step]
    return info, value


def _is_text(info: inspect.Type) -> bool:
    """Return whether text is allowed here: YAML reads a name of digits alone as a number, and 2026-05-01 as a date."""
    if isinstance(info, inspect.UnionType):
        return any(_is_text(each) for each in info.types)
    return isinstance(info.type if isinstance(info, inspect.Metadata) else info, inspect.StrType)


def _keys(info: inspect.Type) -> list[str]:
    return [field.name for field in info.fields] if isinstance(info, inspect.StructType) else []


def _described(info: inspect.Type) -> str:
    """Return a description of the allowed values."""
    text = {inspect.BoolType: "true or false", inspect.NoneType: "null"}.get(type(info), "text")
    match info:
        case inspect.Metadata():
            text = str((info.extra_json_schema or {}).get("description") or _described(info.type))
        case inspect.IntType():
            text = f"a whole number{_limits(info)}"
        case inspect.FloatType():
            text = f"a number{_limits(info)}"
        case inspect.LiteralType():
            text = f"one of {', '.join(map(str, info.values))}"
        case inspect.VarTupleType():
            text = f"a list{f' of at least {info.min_length}' if info.min_length else ''}, each {_described(info.item_type)}"
        case inspect.UnionType():
            text = ", or ".join(_described(each) for each in info.types)
        case inspect.StructType():
            text = f"a section with keys out of {', '.join(_keys(info))}"
    return text


def _limits(info: inspect.IntType | inspect.FloatType) -> str:
    """Return a description of a number's limits."""
    steps = "" if info.multiple_of is None else f", a multiple of {info.multiple_of}"
    if info.ge is not None and info.le is not None:
        return f" from {info.ge} to {info.le}{steps}"
    ends = {"of at least": info.ge, "above": info.gt, "of at most": info.le, "below": info.lt}
    return " and".join(f" {word} {end}" for word, end in ends.items() if end is not None) + steps


def _shown(value: Any) -> str:
    """Return a value as shown in messages: short, and without a password."""
    if isinstance(value, str):
        text = _without_password(value)
        whole = repr(text)
        return whole if len(whole) <= LONGEST_SHOWN else f"{whole[:LONGEST_SHOWN]}...{whole[-1]} ({len(text)} characters)"
    if isinstance(value, list | tuple):
        return "a list" if value else "an empty list"
    if isinstance(value, dict):
        return "a section"
    return {"None": "nothing", "True": "true", "False": "false"}.get(str(value), str(value)[:LONGEST_SHOWN])


def _without_password(text: str) -> str:
    """Return a text with the part between // and the last @ replaced by stars; takes linear time for any text."""
    scheme, slashes, rest = text.partition("//")
    _, at, place = rest.rpartition("@")  # a password may contain a slash or an @
    if at:
        text = f"{scheme}{slashes}***@{place}"
    return PASSWORD.sub("***", text)
