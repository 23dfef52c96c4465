"""Functions of eval and of stats, by family."""

from labdock_search.functions.base import EVAL, Arguments, Example, Function

__all__ = ["EVAL", "Arguments", "Example", "Function"]

from labdock_search.functions import (  # noqa: F401 - importing registers
    comparison,
    conversion,
    crypto,
    mathematical,
    moments,
    multivalue,
    statistical,
    textual,
)
