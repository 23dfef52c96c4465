"""Three LALR parsers with separate start symbols, built once, and their errors in words."""

import functools
import re
from importlib.resources import files
from typing import Any

from lark import Lark, Token, Transformer, UnexpectedCharacters, UnexpectedInput, UnexpectedToken
from lark.utils import TextSlice

from labdock_search import syntax
from labdock_search.faults import Span, fault, shown
from labdock_search.grammar.nodes import ArgumentNodes, ExpressionNodes, SearchNodes
from labdock_search.splitter import Piece

MAX_PARENTHESES = 60
MAX_WORDS = 60_000
WORD = re.compile(r'"(?:[^"\\]|\\.)*"|[^\s",=]+', re.DOTALL)

WORDS = {
    "RPAR": "')'",
    "LPAR": "'('",
    "COMMA": "','",
    "NUMBER": "a number",
    "STRING": 'a text in "quotes"',
    "QUOTED": "a field in 'single quotes'",
    "NAME": "a field",
    "FUNCTION": "a function",
    "TARGET": "a field",
    "COMPARE": "a comparison (= != < > <= >=)",
    "_EQUAL": "'='",
    "WORD": "a word",
    "KEY": "a field",
    "QUOTED_KEY": "a field",
    "VALUE": "a value",
    "INNER": "a field",
    "CALL": "a function",
    "SUBSEARCH": "a [subsearch]",
    "RELATION": "'='",
    "TERM": "a term",
    "$END": "the end of the command",
}


def _grammar(*names: str) -> str:
    folder = files("labdock_search.grammar")
    return "\n".join((folder / f"{name}.lark").read_text("utf-8") for name in names)


def _build(text: str, start: list[str], nodes: Transformer[Any, Any]) -> Lark:
    return Lark(text, parser="lalr", lexer="contextual", start=start, transformer=nodes, maybe_placeholders=False)


@functools.cache
def expression_parser() -> Lark:
    return _build(_grammar("expression"), ["expression", "assignments"], ExpressionNodes())


@functools.cache
def arguments_parser() -> Lark:
    return _build(_grammar("arguments", "expression"), ["arguments"], ArgumentNodes())


@functools.cache
def search_parser() -> Lark:
    return _build(_grammar("search"), ["conjunction"], SearchNodes())


def parse_expression(piece: Piece) -> Any:
    """The expression of `where`."""
    return _parse(expression_parser(), "expression", piece)


def parse_assignments(piece: Piece) -> list[syntax.Assignment]:
    """The assignments of `eval`."""
    found: list[syntax.Assignment] = _parse(expression_parser(), "assignments", piece)
    return found


def parse_arguments(piece: Piece) -> list[Any]:
    """A list of Word, Option, Call, Subsearch."""
    items: list[Any] = _parse(arguments_parser(), "arguments", piece)
    for item in items:
        _attach(item, piece)
    return items


def parse_search(piece: Piece) -> Any:
    """Search terms."""
    node = _parse(search_parser(), "conjunction", piece)
    if piece.subsearches:
        _attach_all(node, piece)
    return node


def _attach(item: Any, piece: Piece) -> None:
    """Give subsearches their pieces and calls their text."""
    if isinstance(item, syntax.Option):
        item = item.value
    if isinstance(item, syntax.Subsearch):
        found = piece.subsearches[item.span.position]
        item.text, item.pieces, item.steps = found.text, found.pieces, found.steps
    elif isinstance(item, syntax.Call):
        item.source = piece.text[item.span.position : item.span.position + item.span.length]


def _attach_all(node: Any, piece: Piece) -> None:
    stack = [node]
    while stack:
        item = stack.pop()
        _attach(item, piece)
        if isinstance(item, syntax.And | syntax.Or):
            stack.extend(item.parts)
        elif isinstance(item, syntax.Not):
            stack.append(item.part)


def _parse(parser: Lark, start: str, piece: Piece) -> Any:
    _check_nesting(piece)
    _check_length(piece)
    try:
        return parser.parse(TextSlice(piece.text, piece.start, piece.end), start=start)
    except UnexpectedToken as error:
        raise _unexpected(error.token, error.accepts or error.expected, piece) from None
    except UnexpectedCharacters as error:
        at = error.pos_in_stream or 0
        found = Token("?", piece.text[at : at + 1], start_pos=at)
        raise _unexpected(found, error.allowed or set(), piece) from None
    except UnexpectedInput:
        raise fault("This cannot be read", Span(piece.start, piece.end - piece.start)) from None


def _unexpected(token: Token, expected: Any, piece: Piece) -> Exception:
    words = sorted({WORDS.get(name, repr(name) if name.isupper() else name) for name in expected})
    hint = " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
    if token.type == "$END":
        return fault("The command ends too early", Span(piece.end, 0), expected=hint)
    span = Span(token.start_pos or piece.start, len(token))
    if str(token) in {"and", "or", "not", "in", "like", "xor"}:
        return fault(f"Unexpected {shown(token)}", span, remedy=f"Operators are upper case: {token.upper()}.")
    return fault(f"Unexpected {shown(token)}", span, expected=hint or "something else here")


def _check_length(piece: Piece) -> None:
    """Bound the number of words: planning takes time for each."""
    if piece.end - piece.start <= MAX_WORDS:
        return
    for count, found in enumerate(WORD.finditer(piece.text, piece.start, piece.end), 1):
        if count > MAX_WORDS:
            raise fault(
                f"The command has more than {MAX_WORDS:,} words",
                Span(found.start(), 1),
                remedy="Put long lists of values into a lookup, and use a [subsearch] or lookup.",
            )


def _check_nesting(piece: Piece) -> None:
    """Bound the depth of parentheses, before anything recurses over them."""
    text = piece.text
    if text.count("(", piece.start, piece.end) <= MAX_PARENTHESES:
        return
    depth = 0
    quoted = False
    for at in range(piece.start, piece.end):
        char = text[at]
        if char == '"' and text[at - 1 : at] != "\\":
            quoted = not quoted
        elif not quoted and char == "(":
            depth += 1
            if depth > MAX_PARENTHESES:
                raise fault(
                    f"Parentheses are nested more than {MAX_PARENTHESES} deep",
                    Span(at, 1),
                    remedy="Compute a part of it with eval first.",
                )
        elif not quoted and char == ")":
            depth -= 1
