"""`inputlookup` and `outputlookup`: tables kept by name."""

from dataclasses import dataclass
from typing import Any

from labdock.errors import NotFound
from labdock_search import syntax
from labdock_search.commands.base import Arguments, Command, Example, arranged, keyword, register
from labdock_search.expressions import Scope
from labdock_search.faults import Span, fault, placed
from labdock_search.frame import Frame
from labdock_search.grammar.parsers import parse_arguments, parse_expression
from labdock_search.plan import Files, Plan
from labdock_search.splitter import Piece


def open_lookup(plan: Plan, word: syntax.Word) -> Frame:
    """The frame of a lookup. Raises `NotFound` with the position."""
    try:
        found = plan.host.lookups.open(word.value, plan.request.caller)
    except NotFound as error:
        raise placed(error, word.span) from None
    if found.path is not None:
        files = Files([found.path], [found.name], union=False, rows=found.rows, lookup=True)
        return plan.scan_files(files, found.schema)
    if found.table is None:
        return plan.scan_arrow(found.schema.empty_table())
    return plan.scan_arrow(found.table)


@dataclass
class InputLookupArguments:
    lookup: syntax.Word
    options: Arguments
    condition: Any


@register
class InputLookup(Command):
    name = "inputlookup"
    usage = "inputlookup [append=<bool>] [start=<n>] [max=<n>] <lookup> [where <condition>]"
    summary = "The rows of a lookup."
    generating = True
    examples = (Example("| inputlookup credit_card_test.csv"), Example("| inputlookup hosts.csv where risk>5"))

    def parse(self, piece: Piece) -> InputLookupArguments:
        before, condition = split_where(piece)
        span = Span(piece.start, piece.end - piece.start)
        found = arranged(parse_arguments(before), ("append", "start", "max", "strict"), span)
        words = found.words()
        if len(words) != 1:
            at = words[1].span if len(words) > 1 else span
            raise fault("inputlookup takes one lookup", at, expected=self.usage)
        return InputLookupArguments(words[0], found, parse_expression(condition) if condition else None)

    def plan(self, arguments: InputLookupArguments, frame: Frame, plan: Plan) -> Frame:
        from labdock_search.commands.append import joined_rows  # noqa: PLC0415 - append imports this module's helper
        from labdock_search.commands.sort import limited  # noqa: PLC0415

        found = open_lookup(plan, arguments.lookup)
        if arguments.condition is not None:
            scope = Scope(plan, found)
            condition = scope.condition(arguments.condition)
            found = plan.filter(scope.frame, condition.use())
        options = arguments.options
        start = options.whole("start", 0)
        if start:
            from labdock_search import sql  # noqa: PLC0415

            found, position = plan.position(found)
            found = plan.filter(found, sql.binary(">", sql.column(position.id), sql.number(start)))
        if "max" in options.options:
            found = limited(plan, found, options.whole("max", 0))
        if options.truth("append", default=False) and frame.fields:
            return joined_rows(plan, frame, found)
        return found


def split_where(piece: Piece) -> tuple[Piece, Piece | None]:
    """The piece before a bare `where`, and the one after it."""
    import re  # noqa: PLC0415

    pattern = re.compile(r'"(?:[^"\\]|\\.)*"|\bwhere\b', re.DOTALL | re.IGNORECASE)
    for match in pattern.finditer(piece.text, piece.start, piece.end):
        if match.group()[0] != '"':
            return piece.part(piece.start, match.start()), piece.part(match.end())
    return piece, None


@dataclass
class OutputLookupArguments:
    lookup: syntax.Word
    append: bool


@register
class OutputLookup(Command):
    name = "outputlookup"
    usage = "outputlookup [append=<bool>] <lookup>"
    summary = "Writes the rows into a lookup of the user, whole or not at all, and passes them on."
    examples = (Example("| inputlookup hosts.csv | where risk>5 | outputlookup risky.csv"),)

    def parse(self, piece: Piece) -> OutputLookupArguments:
        known = ("append", "create_empty", "override_if_empty", "createinapp", "max", "key_field")
        found = arranged(parse_arguments(piece), known, Span(piece.start, piece.end - piece.start))
        words = found.words()
        if len(words) != 1 or keyword(words[0]) == "":
            raise fault(
                "outputlookup takes one lookup", Span(piece.start, piece.end - piece.start), expected=self.usage
            )
        return OutputLookupArguments(words[0], found.truth("append", default=False))

    def plan(self, arguments: OutputLookupArguments, frame: Frame, plan: Plan) -> Frame:
        if plan.explaining or plan.executor is None:
            return frame
        table = plan.executor.reader(frame, plan.select_ids(frame)).read_all()
        written = plan.host.lookups.write(
            arguments.lookup.value, table.to_reader(), plan.request.caller, append=arguments.append
        )
        plan.notice(f"{written:,} rows written to the lookup {arguments.lookup.value}.")
        return plan.scan_arrow(table, frame.kind).with_(missing=frame.missing)
