"""Model cards become HTML of a short list of elements, whatever stands in them."""

import time
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labdock_controller.dashboard import markdown

HEADINGS = {"h3", "h4", "h5", "h6"}
CELLS = {"table", "thead", "tbody", "tr", "th", "td"}
ELEMENTS = HEADINGS | CELLS | {"p", "em", "strong", "code", "pre", "a", "ul", "ol", "li", "blockquote", "hr", "br"}
ATTRIBUTES = {("a", "href"), ("a", "title"), ("code", "class"), ("ol", "start"), ("th", "class"), ("td", "class")}
HOSTILE = [
    "[x](javascript:hit())",
    "[x](JaVaScRiPt:hit())",
    "[x](&#106;avascript:hit())",
    "[x](java\tscript:hit())",
    "[x](<javascript:hit()>)",
    "[x](//elsewhere.example/)",
    "[x](data:text/html,<script>hit()</script>)",
    "[x][1]\n\n[1]: vbscript:hit()",
    "<javascript:hit()>",
    "![x](https://elsewhere.example/x.png)",
    "[x](https://a.example/\"onmouseover=hit() 'x')",
    "```<script>\nhit()\n```",
    "| <img src=x onerror=hit()> |\n| --- |\n| <script>hit()</script> |",
    "# <svg onload=hit()>",
]


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def elements(text: str) -> list[tuple[str, dict[str, str | None]]]:
    reader = Reader()
    reader.feed(str(markdown.html(text)))
    reader.close()
    return reader.tags


def check(text: str) -> None:
    for tag, attributes in elements(text):
        assert tag in ELEMENTS
        assert {(tag, name) for name in attributes} <= ATTRIBUTES
        target = (attributes.get("href") or "").lower() or None
        assert target is None or target.startswith(("http://", "https://", "mailto:", "/", "#"))
        assert target is None or not target.startswith("//")


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_stay_harmless(text: str) -> None:
    check(text)
    check(text.upper())


def test_texts_that_would_run_elsewhere(xss: list[str]) -> None:
    for text in xss:
        check(text)
        check(f"[{text}]({text})")
        check(f"* {text}\n\n> {text}\n\n| a |\n|---|\n| {text} |")


@given(st.text(alphabet="ab[]()<>!`*_#|-:/\\&;\"' \n\thttps", max_size=120))
def test_any_text_stays_harmless(text: str) -> None:
    check(text)


def test_a_card_has_headings_below_the_pages_own_and_tables() -> None:
    found = elements("# One\n\n## Two\n\nA *b* `c` [d](/models).\n\n| a | b |\n|:--|--:|\n| 1 | 2 |\n\n1. x")
    names = [tag for tag, _ in found]
    assert names[:2] == ["h3", "h4"]
    assert {"em", "code", "a", "table", "ol"} <= set(names)
    assert ("a", {"href": "/models"}) in found
    assert [attributes for tag, attributes in found if tag == "td"] == [{}, {"class": "number"}]


def test_what_is_too_long_stays_text() -> None:
    """Brackets within brackets cost their square: the longest that is read takes no more than a moment."""
    text = "<b>" + "[" * markdown.LONGEST
    assert [tag for tag, _ in elements(text)] == ["pre"]
    begun = time.process_time()
    markdown.html("[" * markdown.LONGEST)
    assert time.process_time() - begun < 2
