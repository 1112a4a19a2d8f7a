"""The published schemas say what the code says."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from mdss.wire.schemas import SCHEMAS, schema_text

PUBLISHED = Path(__file__).parents[3] / "docs" / "schemas"


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_the_published_schema_is_the_code_s(name: str) -> None:
    published = msgspec.json.decode((PUBLISHED / name).read_bytes())
    assert published == msgspec.json.decode(schema_text(SCHEMAS[name])), "run: python -m mdss.wire.schemas docs/schemas"


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_the_patterns_of_a_published_schema_are_those_that_any_language_can_read(name: str) -> None:
    assert "(?" not in (PUBLISHED / name).read_text("utf-8")
