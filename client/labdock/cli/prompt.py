"""The prompt of `labdock shell`: history, completion and highlighting by prompt_toolkit."""

import re
from collections.abc import Callable, Iterable, Iterator

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.history import FileHistory
from prompt_toolkit.lexers import Lexer
from prompt_toolkit.styles import Style

from labdock.errors import LabdockError
from labdock.home import home
from labdock.lab import Lab

TOKENS = re.compile(
    r"(?P<comment>```.*?```)|(?P<string>\"(?:\\.|[^\"\\])*\"?)|(?P<pipe>\|)|(?P<number>\b\d+(?:\.\d+)?[a-z]*\b)"
    r"|(?P<keyword>\b(?:by|as|AS|BY|OR|AND|NOT|from|into|OUTPUT|OUTPUTNEW|against)\b)|(?P<word>\w+)|(?P<rest>.)",
    re.DOTALL,
)
STYLE = Style.from_dict(
    {
        "command": "bold ansicyan",
        "string": "ansigreen",
        "pipe": "bold",
        "number": "ansiyellow",
        "keyword": "ansimagenta",
        "comment": "italic ansibrightblack",
    }
)


class SearchCompleter(Completer):
    """Asks the controller what fits at the cursor; without an answer there is nothing to offer."""

    def __init__(self, lab: Lab, app: str) -> None:
        self._lab, self._app = lab, app

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        del complete_event
        try:
            found = self._lab.searches.complete(document.text, document.cursor_position, self._app)
        except LabdockError:
            return
        for each in found:
            start = int(each["start"]) - document.cursor_position
            yield Completion(str(each["text"]), start, display_meta=str(each["help"] or each["sort"]))


class SearchLexer(Lexer):
    """Colours commands, strings, numbers and keywords."""

    def lex_document(self, document: Document) -> Callable[[int], StyleAndTextTuples]:
        lines = document.lines

        def line(number: int) -> StyleAndTextTuples:
            styled: StyleAndTextTuples = []
            command = False
            for match in TOKENS.finditer(lines[number]):
                kind, text = match.lastgroup or "rest", match.group()
                named = "command" if kind == "word" and command else kind
                styled.append((f"class:{named}" if named not in ("word", "rest") else "", text))
                command = kind == "pipe" or (command and text.isspace())
            return styled

        return line


def prompt(lab: Lab, app: str) -> Iterator[str]:
    """Searches as they are typed; a line that ends with `|` or a backslash goes on."""
    folder = home()
    folder.mkdir(parents=True, exist_ok=True)
    session: PromptSession[str] = PromptSession(
        history=FileHistory(str(folder / "search_history")),
        completer=SearchCompleter(lab, app),
        complete_in_thread=True,
        lexer=SearchLexer(),
        style=STYLE,
    )
    pending = ""
    while True:
        try:
            text = session.prompt("search> " if not pending else "      > ")
        except KeyboardInterrupt:
            pending = ""
            continue
        except EOFError:
            return
        pending += text.removesuffix("\\") + "\n"
        if text.rstrip().endswith(("|", "\\")):
            continue
        whole, pending = pending.strip(), ""
        if whole in ("exit", "quit"):
            return
        if whole:
            yield whole
