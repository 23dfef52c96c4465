"""Fields of events and their types: what a column becomes when it is stored, and what several files agree on.

Events know four types: integers (int64), numbers (double), text, and lists of text (multivalue fields). Booleans are
the texts `true` and `false`, as searches show them: DuckDB would make numbers of them beside integers.
Everything else is turned into one of them once, when it is ingested, so that a search meets nothing unexpected.
Field names are case-sensitive; Parquet readers such as DuckDB are not, so a file stores the second of `User` and
`user` under a physical name that no other field has.
"""

from collections.abc import Iterable, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

TIME = "_time"
RAW = "_raw"
INT, FLOAT, TEXT, MULTI = pa.int64(), pa.float64(), pa.string(), pa.list_(pa.string())

# Always there, in this order, before the event's own fields.
METADATA = ("index", "source", "sourcetype", "host")
LEADING = (TIME, RAW, *METADATA)
RESERVED = {TIME: FLOAT, RAW: TEXT, **dict.fromkeys(METADATA, TEXT)}

_NAMES = {INT: "int", FLOAT: "float", TEXT: "text", MULTI: "multi"}
_TYPES = {name: type_ for type_, name in _NAMES.items()}


def type_name(type_: pa.DataType) -> str:
    return _NAMES[type_]


def type_of(name: str) -> pa.DataType:
    return _TYPES[name]


def common_type(names: Iterable[str]) -> str:
    """The type that values of all these types become when one search reads them.

    The same as DuckDB's for files united by name, which is how searches read: numbers with fractions win over
    integers, text over both. Lists win here, but DuckDB cannot mix them with others: `fitted` sees to it that an
    index never has both under one name.
    """
    found = set(names)
    if len(found) == 1:
        return found.pop()
    return next(winner for winner in ("multi", "text", "float") if winner in found)


def fitted(table: pa.Table, known: Mapping[str, tuple[str, str]]) -> tuple[pa.Table, dict[str, str]]:
    """`table` so that it can join files whose fields are `known` (field -> column and type), and each field's column.

    A field that differs from an earlier one in case only gets a column of its own (`user~2`). Where the index has
    lists a scalar becomes a list of one; lists where it has scalars become the field `name{}`.
    """
    columns: dict[str, pa.ChunkedArray] = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        type_ = known[name][1] if name in known else ""
        if type_ == "multi":
            columns[name] = cast(column, MULTI)
        elif type_ and column.type == MULTI:
            columns[f"{name}{{}}"] = column
        else:
            columns[name] = column
    return pa.table(columns), physical_names(columns, known)


def physical_names(names: Iterable[str], known: Mapping[str, tuple[str, str]] | None = None) -> dict[str, str]:
    """Field to column: the `known` one, else the field itself, else, where another has it but for case, `user~2`."""
    known = known or {}
    taken = {physical.casefold() for physical, _ in known.values()}
    physical: dict[str, str] = {}
    for name in names:
        free, tries = name, 2
        if name in known:
            physical[name] = known[name][0]
            continue
        while free.casefold() in taken:
            free, tries = f"{name}~{tries}", tries + 1
        taken.add(free.casefold())
        physical[name] = free
    return physical


def cast(column: pa.ChunkedArray, to: pa.DataType) -> pa.ChunkedArray:
    """`column` (of an event type) as another event type that `common_type` may ask for."""
    if column.type == to:
        return column
    if to == MULTI:
        text = cast(column, TEXT)
        return pa.chunked_array([_wrap(chunk) for chunk in text.chunks], type=MULTI)
    if column.type == INT and to == FLOAT:
        return pc.cast(column, FLOAT, safe=False)
    if column.type == FLOAT and to == TEXT:
        # 3.0 is written 3, as it was before its file held a fraction somewhere else.
        whole = pc.and_kleene(pc.equal(column, pc.floor(column)), pc.less(pc.abs(column), 1e15))
        as_int = pc.cast(pc.cast(pc.if_else(whole, column, 0.0), INT), TEXT)
        return pc.if_else(pc.fill_null(whole, False), as_int, pc.cast(column, TEXT))
    return pc.cast(column, to)


def _wrap(texts: pa.Array) -> pa.Array:
    """Each text as a list of one; null stays null."""
    valid = pc.is_valid(texts)
    lengths = pc.cast(valid, pa.int32())
    ends = pc.cumulative_sum(lengths)
    offsets = pa.concat_arrays([pa.array([0], pa.int32()), ends])
    lists = pa.ListArray.from_arrays(offsets, pc.drop_null(texts))
    return pc.if_else(valid, lists, pa.scalar(None, MULTI))


def merge(tables: Sequence[pa.Table]) -> pa.Table:
    """One table below the other, by name: absent fields are null, differing types become their common type."""
    if len(tables) == 1:
        return tables[0]
    schema = common_schema([t.schema for t in tables])
    return pa.concat_tables([conform(t, schema) for t in tables])


def common_schema(schemas: Sequence[pa.Schema]) -> pa.Schema:
    """All fields in order of appearance, each with the common type."""
    types: dict[str, list[str]] = {}
    for schema in schemas:
        for field in schema:
            types.setdefault(field.name, []).append(type_name(field.type))
    return pa.schema([(name, type_of(common_type(found))) for name, found in types.items()])


def conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """`table` with exactly the columns of `schema`."""
    if table.schema.equals(schema):
        return table
    have = {name: i for i, name in enumerate(table.column_names)}
    columns = [
        cast(table.column(have[f.name]), f.type)
        if f.name in have
        else pa.chunked_array([pa.nulls(table.num_rows, f.type)])
        for f in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)
