"""Types of columns that came as text (CSV): a number only where no text is lost by it.

An integer column holds only canonical 64-bit integers: `007`, `+5` and ` 5` make it text. A number column may also
hold decimals, fractions with exponents, and NaN and infinities among numbers; `1e3` and `12e4` look like
identifiers, and integers beyond 2**53 among fractions would change, so both make it text.
"""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from labdock_search.data import fields

_NUMBER = (
    r"^-?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]+)?$"  # decimals
    r"|^-?[0-9]\.[0-9]+[eE][-+]?[0-9]{1,3}$|^-?[0-9][eE]-[0-9]{1,3}$"  # what programs write for large and small ones
)
_SPECIAL = pa.array(["nan", "NaN", "inf", "-inf", "Infinity", "-Infinity"])


@dataclass
class Guess:
    """What a column can still be, after the batches that were seen."""

    int_: bool = True
    float_: bool = True
    numbers: bool = False  # a regular number was seen, not just NaN

    def see(self, column: pa.ChunkedArray) -> None:
        """Look at some more of the column's texts (nulls are empty cells)."""
        if not (self.int_ or self.float_) or column.null_count == len(column):
            return
        if self.int_:
            self.int_ = _all_integers(column)
            self.numbers |= self.int_
        if self.float_ and not self.int_:
            self._see_floats(column)
        elif self.float_:
            longest = pc.max(pc.utf8_length(column)).as_py()
            self.float_ = longest <= 15 or bool(pc.all(pc.match_substring_regex(column, _NUMBER)).as_py())

    def _see_floats(self, column: pa.ChunkedArray) -> None:
        plain = pc.fill_null(pc.match_substring_regex(column, _NUMBER), True)
        self.numbers |= bool(pc.any(pc.and_(plain, pc.is_valid(column))).as_py())
        if not pc.all(plain).as_py():
            self.float_ = bool(pc.all(pc.or_(plain, pc.is_in(column, _SPECIAL))).as_py())

    @property
    def type(self) -> pa.DataType:
        if self.numbers and self.int_:
            return fields.INT
        return fields.FLOAT if self.numbers and self.float_ else fields.TEXT


def _all_integers(column: pa.ChunkedArray) -> bool:
    try:
        back = pc.cast(pc.cast(column, fields.INT), fields.TEXT)
    except pa.ArrowInvalid:
        return False
    return bool(pc.all(pc.equal(back, column)).as_py())


def typed(table: pa.Table) -> pa.Table:
    """A table of text columns with each column as what its texts are."""
    columns = []
    for column in table.columns:
        guess = Guess()
        guess.see(column)
        columns.append(pc.cast(column, guess.type))
    return pa.Table.from_arrays(columns, names=table.column_names)
