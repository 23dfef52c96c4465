"""Model cards as HTML: CommonMark and tables. A card is anybody's text, so what it may become is a short list: no HTML
of its own, no pictures (they would fetch), links to web pages and addresses in this controller only.
"""

import re
from functools import cache
from typing import TYPE_CHECKING

from markupsafe import Markup

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

_LINK = re.compile(r"(https?://|mailto:|/(?!/)|#)", re.IGNORECASE)
LONGEST = 20_000  # characters: what comes of brackets in brackets grows with their square
_BELOW = 2  # a card stands under a heading of the second level, so its own first one is of the third


def html(text: str) -> Markup:
    """`text` as HTML that is safe to put into a page; one longer than `LONGEST` stays the text it is."""
    if len(text) > LONGEST:
        return Markup("<pre>{}</pre>").format(text)
    markdown = _markdown()
    tokens = markdown.parse(text)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(6, int(token.tag[1:]) + _BELOW)}"
        elif str(token.attrs.pop("style", "")).endswith("right"):  # a column's side; the page's policy allows no style
            token.attrs["class"] = "number"
    return Markup(markdown.renderer.render(tokens, markdown.options, {}))  # noqa: S704 - the renderer escapes


@cache
def _markdown() -> "MarkdownIt":
    from markdown_it import MarkdownIt  # noqa: PLC0415 - only pages with a card need it

    markdown = MarkdownIt("js-default", {"html": False, "linkify": False}).disable(["image", "strikethrough"])
    markdown.validateLink = lambda url: _LINK.match(url.strip()) is not None  # type: ignore[method-assign]
    return markdown
