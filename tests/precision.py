"""Marks tests of what only some processors can."""

from __future__ import annotations

import pytest

from mdss.method.eight_bits import multiplies_eight_bits
from mdss.method.torch_device import cpu_has_bfloat16

needs_bfloat16 = pytest.mark.skipif(not cpu_has_bfloat16(), reason="this processor has no bfloat16")
needs_eight_bits = pytest.mark.skipif(not multiplies_eight_bits(), reason="this processor does not multiply in eight bits")
