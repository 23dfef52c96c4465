"""`tstats`: aggregates straight from indexes."""

import re
from dataclasses import dataclass
from typing import Any

from labdock_search import syntax, times
from labdock_search.aggregation import Clause, clause, grouped
from labdock_search.commands.base import Command, Example, arranged, register
from labdock_search.commands.chart import spanned
from labdock_search.faults import Span, fault
from labdock_search.frame import Frame
from labdock_search.grammar.parsers import parse_arguments, parse_search
from labdock_search.plan import Plan
from labdock_search.scan import scan_indexes, subsearch_terms
from labdock_search.splitter import Piece

BOUNDARY = re.compile(r'"(?:[^"\\]|\\.)*"|\b(where|by|groupby)\b', re.DOTALL | re.IGNORECASE)


@dataclass
class TstatsArguments:
    clause: Clause
    terms: Any
    span: times.TimeSpan | None


@register
class Tstats(Command):
    name = "tstats"
    usage = "tstats <function>(<field>) [as <name>] … [where <search terms>] [by <fields> [span=<span>]]"
    summary = "Aggregates events of indexes; `span` rounds `_time` among the by-fields."
    generating = True
    examples = (Example("| tstats count where index=botsv3 by sourcetype, _time span=1h"),)

    def parse(self, piece: Piece) -> TstatsArguments:
        span = Span(piece.start, piece.end - piece.start)
        bounds = {m.group(1).lower(): m for m in BOUNDARY.finditer(piece.text, piece.start, piece.end) if m.group(1)}
        where, by = bounds.get("where"), bounds.get("by") or bounds.get("groupby")
        first = min([m.start() for m in (where, by) if m], default=piece.end)
        items = parse_arguments(piece.part(piece.start, first))
        terms = None
        if where is not None:
            end = by.start() if by is not None and by.start() > where.start() else piece.end
            if not piece.text[where.end() : end].strip():
                raise fault("No terms after 'where'", Span(where.start(), 5), expected="search terms")
            terms = parse_search(piece.part(where.end(), end))
        if by is not None:
            end = where.start() if where is not None and where.start() > by.start() else piece.end
            items += parse_arguments(piece.part(by.start(), end))
        known = ("span", "prestats", "local", "summariesonly", "allow_old_summaries", "append", "fillnull_value")
        found = arranged(items, known, span)
        size = times.parse_span(found.text("span"), found.options["span"].span) if "span" in found.options else None
        return TstatsArguments(clause(found.items, span), terms, size)

    def plan(self, arguments: TstatsArguments, frame: Frame, plan: Plan) -> Frame:
        terms = subsearch_terms(arguments.terms, plan) if arguments.terms is not None else None
        found = scan_indexes(terms, plan)
        if arguments.span is not None:
            found = spanned(plan, found, syntax.Word(Span(0), "_time"), arguments.span)
        return grouped(plan, found, arguments.clause.measures, arguments.clause.by)
