"""`search`: the events of indexes that fit terms; later in a pipeline, the rows that fit."""

from dataclasses import dataclass
from typing import Any

from labdock_search.commands.base import Command, Example, register
from labdock_search.expressions import Scope
from labdock_search.frame import Frame
from labdock_search.grammar.parsers import parse_search
from labdock_search.plan import Plan
from labdock_search.predicates import Predicates
from labdock_search.scan import scan_indexes, subsearch_terms
from labdock_search.splitter import Piece


@dataclass
class SearchArguments:
    terms: Any  # None: everything
    first: bool = False  # it begins the pipeline, so it reads indexes


@register
class Search(Command):
    name = "search"
    usage = "search <terms>"
    summary = "Keeps what fits the terms. At the beginning it reads indexes and may be left out."
    notes = (
        "Adjacent terms are ANDed; OR binds tighter than AND; NOT first; operators are upper case. Values are "
        "case-insensitive and `*` matches anything. `NOT f=x` keeps events without `f`, `f!=x` does not. "
        "`earliest=` and `latest=` limit the time."
    )
    examples = (
        Example(
            '| makeresults format=csv data="user,n\nAnna,1\nBert,2" | search user=a* | table user n',
            [{"user": "Anna", "n": 1}],
        ),
        Example('| makeresults format=csv data="a,b\n1,x\n,y" | search NOT a=1 | table b', [{"b": "y"}]),
        Example('| makeresults format=csv data="a,b\n1,x\n,y" | search a!=2 | table b', [{"b": "x"}]),
        Example('| makeresults format=csv data="a\n1\n2\n3" | search a IN (1, 3) | stats count', [{"count": 2}]),
    )

    def parse(self, piece: Piece) -> SearchArguments:
        if not piece.text[piece.start : piece.end].strip():
            return SearchArguments(None)
        return SearchArguments(parse_search(piece))

    def plan(self, arguments: SearchArguments, frame: Frame, plan: Plan) -> Frame:
        terms = arguments.terms
        if terms is not None:
            terms = subsearch_terms(terms, plan)
        if arguments.first:
            return scan_indexes(terms, plan)
        if terms is None:
            return frame
        scope = Scope(plan, frame)
        condition = Predicates(scope).tree(terms)
        return plan.filter(scope.frame, condition)
