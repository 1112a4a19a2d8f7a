"""A YAML file that knows the line of each of its keys, so that whatever is refused is refused with its place."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml
from msgspec import inspect

from mdss.errors import BadInput

Kind = TypeVar("Kind", bound=msgspec.Struct)
PLACE = re.compile(r" - at `\$\.?(?P<place>[^`]*)`$")
UNKNOWN = re.compile(r"^Object contains unknown field `(?P<key>.*?)`", re.DOTALL)
PASSWORD = re.compile(r"//[^/@]*@")
TEXT = "tag:yaml.org,2002:str"
LONGEST_SHOWN = 80  # characters of a value that are repeated in a refusal


@dataclass(frozen=True)
class SettingsFile:
    """What a file says, and on which line it says it."""

    path: Path
    content: Any
    lines: dict[str, int]  # "section.field" -> line, counted from 1

    @classmethod
    def read(cls, path: Path) -> SettingsFile:
        """Read a file; BadInput where it is none, is no YAML, says nothing, or says one thing twice."""
        try:
            root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
        except OSError as error:
            raise BadInput(f"{path}: found no readable file ({error.strerror}), expected the station's settings in YAML") from error
        except UnicodeDecodeError as error:
            raise BadInput(f"{path}: found bytes that are no text, expected YAML in UTF-8") from error
        except yaml.YAMLError as error:
            raise _not_yaml(path, error) from error
        except RecursionError as error:
            raise BadInput(f"{path}: found brackets within brackets without end, expected sections such as station:") from error
        if not isinstance(root, yaml.MappingNode):
            raise BadInput(f"{path}:1: found {'an empty file' if root is None else 'no sections'}, expected sections such as station:")
        lines: dict[str, int] = {}
        for place, line in _places(root, path):
            if place in lines:
                raise BadInput(f"{path}:{line}: {place}: found the key a second time (first in line {lines[place]}), expected it once")
            lines[place] = line
        try:
            return cls(path, yaml.SafeLoader("").construct_document(root), lines)
        except yaml.YAMLError as error:
            raise _not_yaml(path, error) from error

    def convert(self, kind: type[Kind]) -> Kind:
        """Return the content as this type, or refuse the first thing that does not fit."""
        try:
            return msgspec.convert(self.content, kind)
        except msgspec.ValidationError as error:
            found = PLACE.search(str(error))
            place = found["place"] if found else ""
            unknown = UNKNOWN.match(str(error))
            info, value = _look_up(inspect.type_info(kind), self.content, place)
            if unknown:
                place = f"{place}.{unknown['key']}".lstrip(".")
                raise self.refusal(place, f"found an unknown key, expected one of {', '.join(_keys(info))}") from error
            raise self.refusal(place, f"found {_shown(value)}, expected {_described(info)}") from error

    def refusal(self, place: str, sentence: str) -> BadInput:
        """Return the error for one key; a key that is not in the file has the line of its section, or the first."""
        known = re.sub(r"\[\d+\]$", "", place)
        while known and known not in self.lines:
            known = known.rpartition(".")[0]
        return BadInput(f"{self.path}:{self.lines.get(known, 1)}: {place + ': ' if place else ''}{sentence}")


def _not_yaml(path: Path, error: yaml.YAMLError) -> BadInput:
    mark = getattr(error, "problem_mark", None)
    line = f":{mark.line + 1}" if mark is not None else ""
    problem = getattr(error, "problem", None) or str(error).partition("\n")[0]
    return BadInput(f"{path}{line}: found no valid YAML ({problem}), expected sections such as station:")


def _places(node: yaml.MappingNode, path: Path, above: str = "") -> Iterator[tuple[str, int]]:
    """Yield each key's place and line; a section that refers to another (an alias) is refused, as is a key that is no word."""
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode) or key.tag != TEXT:
            raise BadInput(f"{path}:{line}: {above or 'file'}: found a key that is no plain word, expected a name such as station")
        place = f"{above}{key.value}"
        yield place, line
        if isinstance(value, yaml.MappingNode):
            if value.start_mark.index < key.start_mark.index:
                raise BadInput(f"{path}:{line}: {place}: found a reference to another section, expected keys of its own")
            yield from _places(value, path, f"{place}.")


def _look_up(info: inspect.Type, value: Any, place: str) -> tuple[inspect.Type, Any]:
    """Return what was expected and what was found at a place such as branches.rgb.count or models.recipes[0]."""
    for step in re.findall(r"[^.\[\]]+", place):
        if isinstance(info, inspect.StructType):
            info = next(field.type for field in info.fields if field.name == step)
            value = value[step]
        elif isinstance(info, inspect.VarTupleType):
            info, value = info.item_type, value[int(step)]
    return info, value


def _keys(info: inspect.Type) -> list[str]:
    return [field.name for field in info.fields] if isinstance(info, inspect.StructType) else []


def _described(info: inspect.Type) -> str:
    """Return in words what a setting may be."""
    text = {inspect.BoolType: "true or false", inspect.NoneType: "null"}.get(type(info), "text")
    match info:
        case inspect.Metadata():
            text = str((info.extra_json_schema or {}).get("description") or _described(info.type))
        case inspect.IntType():
            text = f"a whole number from {info.ge} to {info.le}"
        case inspect.FloatType():
            text = f"a number from {info.ge} to {info.le}"
        case inspect.LiteralType():
            text = f"one of {', '.join(map(str, info.values))}"
        case inspect.VarTupleType():
            text = f"a list of at least {info.min_length or 0}, each {_described(info.item_type)}"
        case inspect.UnionType():
            text = " or ".join(_described(each) for each in info.types)
        case inspect.StructType():
            text = f"a section with keys out of {', '.join(_keys(info))}"
    return text


def _shown(value: Any) -> str:
    """Return what a file says, short and without a password."""
    if isinstance(value, str):
        return repr(PASSWORD.sub("//***@", value))[:LONGEST_SHOWN]
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    return {"None": "nothing", "True": "true", "False": "false"}.get(str(value), "a section" if isinstance(value, dict) else str(value))
