"""Numbers as people read them."""

import math


def figure(value: float) -> str:
    """Four digits that count, and no exponent where the number can be read without: 0.8656, 1,000,000, 12,345.7."""
    if not math.isfinite(value) or abs(value) >= 1e15:
        return f"{value:.4g}"
    if value == int(value):
        return f"{value:,.0f}"
    return f"{value:,.1f}" if abs(value) >= 1000 else f"{value:.4g}"
