"""Reads a YAML file and remembers the line of each key, so that every refusal names its place."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml

from mdss.errors import BadInput
from mdss.misfit import LONGEST_SHOWN, describe_misfit

Kind = TypeVar("Kind", bound=msgspec.Struct)
TAG = "tag:yaml.org,2002:"
TEXT = f"{TAG}str"
KINDS: dict[type[yaml.Node], tuple[str, ...]] = {
    yaml.ScalarNode: ("str", "int", "float", "bool", "null", "timestamp"),
    yaml.SequenceNode: ("seq",),
    yaml.MappingNode: ("map",),
}
# what the YAML reader raises for `!!int x`, 2026-02-30, 0x_ ...
NO_VALUE = (yaml.YAMLError, ValueError, LookupError, AttributeError, OverflowError)
LARGEST_BYTES = 32 * 1024  # seven times the size of all keys with their explanations; a limit because YAML is slow to read
DEEPEST = 20  # nested brackets


@dataclass(frozen=True)
class SettingsFile:
    """The content of a file, and the line of each key."""

    path: Path
    content: Any
    lines: dict[str, int]  # "section.field" -> line, counted from 1

    @classmethod
    def read(cls, path: Path) -> SettingsFile:
        """Read a file; BadInput if it is missing, no YAML, empty, or names a key twice."""
        try:
            root = yaml.compose(_text(path), Loader=_Loader)
        except OSError as error:
            raise BadInput(f"{path}: found no readable file ({error.strerror}), expected the station's settings in YAML") from error
        except UnicodeDecodeError as error:
            raise BadInput(f"{path}: found bytes that are no text, expected YAML in UTF-8") from error
        except (yaml.YAMLError, ValueError) as error:
            raise _not_yaml(path, error) from error
        except RecursionError as error:
            raise BadInput(f"{path}: found brackets within brackets without end, expected sections such as station:") from error
        if not isinstance(root, yaml.MappingNode) or not _is_plain(root):
            raise BadInput(f"{path}:1: found {'an empty file' if root is None else 'no sections'}, expected sections such as station:")
        reading = _Reading(path)
        reading.section(root, "")
        return cls(path, reading.constructor.construct_document(root), reading.lines)

    def convert(self, kind: type[Kind]) -> Kind:
        """Return the content as this type; BadInput for the first thing that does not fit."""
        try:
            return msgspec.convert(self.content, kind)
        except msgspec.ValidationError as error:
            raise self.refusal(*describe_misfit(error, kind, self.content)) from error

    def refusal(self, place: str, sentence: str) -> BadInput:
        """Return the error for one key; for a key that is not in the file, the line is that of its section, or the first."""
        known = re.sub(r"\[\d+\]$", "", place)
        while known and known not in self.lines:
            known = known.rpartition(".")[0]
        return BadInput(f"{self.path}:{self.lines.get(known, 1)}: {place[:LONGEST_SHOWN] + ': ' if place else ''}{sentence}")


class _Loader(yaml.SafeLoader):
    """Refuses deep nesting before it costs time: PyYAML checks all open brackets again for each new one."""

    def fetch_flow_collection_start(self, TokenClass: Any) -> None:  # noqa: N803 - the name that the base has
        if self.flow_level >= DEEPEST:
            raise RecursionError
        super().fetch_flow_collection_start(TokenClass)


def text_read_again(path: Path) -> str:
    """Return what a file holds that was refused, as far as it is text; "" if it cannot be read again."""
    with suppress(OSError):
        if path.is_file():  # a pipe would be waited for, and holds nothing any more
            with path.open("rb") as stream:
                return stream.read(LARGEST_BYTES).decode(errors="replace")
    return ""


def _text(path: Path) -> str:
    with path.open("rb") as stream:
        data = stream.read(LARGEST_BYTES + 1)
    if len(data) > LARGEST_BYTES:
        raise BadInput(f"{path}: found more than {LARGEST_BYTES} bytes, expected the station's settings, which are short")
    return data.decode()


def _not_yaml(path: Path, error: Exception) -> BadInput:
    mark = getattr(error, "problem_mark", None)
    line = f":{mark.line + 1}" if mark is not None else ""
    problem = getattr(error, "problem", None) or str(error).partition("\n")[0]
    return BadInput(f"{path}{line}: found no valid YAML ({problem[:LONGEST_SHOWN]}), expected sections such as station:")


class _Reading:
    """Checks each node before any value is made from it.

    Refused are duplicate keys, references to another list or section (a short file could expand beyond any memory), every kind of value
    but text, numbers, lists and sections, and numbers that YAML takes for others than people do.
    """

    def __init__(self, path: Path) -> None:
        self.lines: dict[str, int] = {}
        self.constructor = yaml.SafeLoader("")
        self._path, self._seen = path, set[int]()

    def section(self, node: yaml.MappingNode, above: str) -> None:
        """Record the line of each key; refuse a key that is no word, or that is there already."""
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag != TEXT or not _is_text(key.value):
                raise self._refusal(key, above.rstrip(".") or "file", "found a key that is no plain word, expected a name such as station")
            place, line = f"{above}{key.value}", key.start_mark.line + 1
            if place in self.lines:
                sentence = f"found the key a second time (first in line {self.lines[place]}), expected it once"
                raise self._refusal(key, place, sentence)
            self.lines[place] = line
            self._value(key, value, place)

    def _value(self, key: yaml.Node, value: yaml.Node, place: str) -> None:
        if not _is_plain(value):
            sentence = f"found a value of kind {value.tag[:LONGEST_SHOWN]!r}, expected plain text, a number, a list or a section"
            raise self._refusal(key, place, sentence)
        if isinstance(value, yaml.ScalarNode):
            return self._scalar(key, value, place)
        if id(value) in self._seen:
            raise self._refusal(key, place, "found a reference to another section or list, expected its own content")
        self._seen.add(id(value))
        if isinstance(value, yaml.MappingNode):
            return self.section(value, f"{place}.")
        for item in value.value:
            self._value(key, item, place)
        return None

    def _scalar(self, key: yaml.Node, value: yaml.ScalarNode, place: str) -> None:
        shown = value.value.encode("ascii", "backslashreplace").decode()[:LONGEST_SHOWN]
        try:
            found = self.constructor.construct_object(value)
            is_value, is_as_written = _is_text(str(found)), not isinstance(found, int | float) or _reads_so(value.value, found)
        except NO_VALUE:
            is_value = False
        if not is_value:
            raise self._refusal(key, place, f"found {shown!r}, which is no {value.tag.removeprefix(TAG)}, expected text or a number")
        if not is_as_written:
            sentence = f"found {shown!r}, which YAML reads as {str(found)[:LONGEST_SHOWN]}, expected a plain number, or text in quotes"
            raise self._refusal(key, place, sentence)

    def _refusal(self, key: yaml.Node, place: str, sentence: str) -> BadInput:
        return BadInput(f"{self._path}:{key.start_mark.line + 1}: {place[:LONGEST_SHOWN]}: {sentence}")


def _is_plain(node: yaml.Node) -> bool:
    return node.tag.removeprefix(TAG) in KINDS[type(node)]


def _reads_so(text: str, number: float) -> bool:
    """Return whether people read this number as YAML 1.1 does, to which 0500 is octal and 1:30 has sixties."""
    digits = text.lstrip("+-").replace("_", "")
    return ":" not in digits and (not digits.isdecimal() or int(digits) == abs(number))


def _is_text(text: str) -> bool:
    """Return whether a text can be encoded: half of a surrogate pair, as an escape may produce, cannot."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)
