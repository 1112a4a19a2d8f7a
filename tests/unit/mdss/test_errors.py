"""How sentences write what they tell."""

from __future__ import annotations

import pytest

from mdss.errors import written_out


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (95_320.4, "95320"), (-1e6, "-1000000"), (0.00001234, "0.00001234"), (0.66951, "0.6695"), (12.0, "12"), (0.0, "0"),
        (3.4e38, "3.4e+38"), (1e-30, "1e-30"), (float("inf"), "inf"), (float("nan"), "nan"),
    ],
)  # fmt: skip
def test_a_number_is_written_without_an_exponent_as_far_as_anybody_can_read_its_zeros(value: float, text: str) -> None:
    assert written_out(value) == text
