"""Numbers as people read them."""

import math

import pytest

from labdock.figures import figure


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (1e6, "1,000,000"),
        (2861.0, "2,861"),
        (0.86561, "0.8656"),
        (12345.678, "12,345.7"),
        (-0.5, "-0.5"),
        (3e-7, "3e-07"),
        (1e20, "1e+20"),
        (math.nan, "nan"),
        (-math.inf, "-inf"),
    ],
)
def test_a_figure(value: float, shown: str) -> None:
    assert figure(value) == shown
