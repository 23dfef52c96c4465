"""What a command is: the grammar of its arguments, its planning step, its help and its examples."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from labdock_search import sql, syntax
from labdock_search.faults import Span, fault, shown, unknown
from labdock_search.frame import Frame
from labdock_search.kinds import Column, as_number
from labdock_search.plan import Plan
from labdock_search.splitter import Piece

REGISTRY: dict[str, "Command"] = {}

# Commands of Splunk that are known and not built: refused by name, never taken for search terms.
MISSING = frozenset(
    [
        "abstract",
        "accum",
        "addcoltotals",
        "addinfo",
        "addtotals",
        "analyzefields",
        "anomalies",
        "anomalousvalue",
        "anomalydetection",
        "arules",
        "associate",
        "audit",
        "autoregress",
        "bucketdir",
        "cluster",
        "cofilter",
        "collect",
        "concurrency",
        "contingency",
        "correlate",
        "datamodel",
        "dbinspect",
        "delete",
        "delta",
        "diff",
        "erex",
        "eventcount",
        "extract",
        "fieldformat",
        "fieldsummary",
        "filldown",
        "findtypes",
        "folderize",
        "foreach",
        "format",
        "from",
        "fromjson",
        "gauge",
        "gentimes",
        "geom",
        "geomfilter",
        "geostats",
        "highlight",
        "history",
        "iconify",
        "inputcsv",
        "iplocation",
        "kmeans",
        "kv",
        "kvform",
        "loadjob",
        "localize",
        "localop",
        "makecontinuous",
        "map",
        "mcatalog",
        "mcollect",
        "metadata",
        "meventcollect",
        "mpreview",
        "msearch",
        "mstats",
        "multikv",
        "multisearch",
        "mvcombine",
        "nomv",
        "outlier",
        "outputcsv",
        "outputtext",
        "overlap",
        "pivot",
        "predict",
        "rangemap",
        "redistribute",
        "reltime",
        "require",
        "rest",
        "return",
        "reverse",
        "rtorder",
        "savedsearch",
        "script",
        "scrub",
        "searchtxn",
        "selfjoin",
        "sendalert",
        "sendemail",
        "set",
        "setfields",
        "sichart",
        "sirare",
        "sistats",
        "sitimechart",
        "sitop",
        "snowincident",
        "strcat",
        "tags",
        "tojson",
        "trendline",
        "tscollect",
        "typeahead",
        "typelearner",
        "typer",
        "union",
        "uniq",
        "untable",
        "walklex",
        "where4",
        "x11",
        "xmlkv",
        "xmlunescape",
        "xpath",
        "xyseries",
    ]
) - {"where4"}


@dataclass(frozen=True)
class Example:
    """A search that the tests run. `rows` are its result (fields in order), or None where it depends on data."""

    search: str
    rows: Sequence[Mapping[str, Any]] | None = None
    note: str = ""


class Command(ABC):
    """One command. Instances are stateless; `register` puts one into the registry."""

    name: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]] = ()
    usage: ClassVar[str]
    summary: ClassVar[str]
    notes: ClassVar[str] = ""
    examples: ClassVar[tuple[Example, ...]] = ()
    generating: ClassVar[bool] = False  # it begins a pipeline
    runs: ClassVar[bool] = False  # planning it runs what is before it
    cuts: ClassVar[bool] = False  # it takes rows out of SQL

    @abstractmethod
    def parse(self, piece: Piece) -> Any:
        """Its arguments, from the text after its name. Raises `SearchError`."""

    @abstractmethod
    def plan(self, arguments: Any, frame: Frame, plan: Plan) -> Frame:
        """The frame after it. Generating commands ignore `frame`."""


def register(command: type[Command]) -> type[Command]:
    """Class decorator."""
    instance = command()
    for name in (command.name, *command.aliases):
        REGISTRY[name] = instance
    return command


@dataclass
class Arguments:
    """A parsed list, told apart into options and the rest."""

    options: dict[str, syntax.Option]
    items: list[Any]
    span: Span

    def text(self, name: str, default: str = "") -> str:
        option = self.options.get(name)
        return word(option.value) if option else default

    def choice(self, name: str, choices: Sequence[str], default: str) -> str:
        option = self.options.get(name)
        if option is None:
            return default
        found = word(option.value).lower()
        if found not in choices:
            raise fault(f"{name}={shown(found)} is not known", option.span, expected=" or ".join(choices))
        return found

    def truth(self, name: str, *, default: bool) -> bool:
        option = self.options.get(name)
        if option is None:
            return default
        found = word(option.value).lower()
        if found in {"t", "true", "1", "yes"}:
            return True
        if found in {"f", "false", "0", "no"}:
            return False
        raise fault(f"{name}={shown(found)} is neither true nor false", option.span, expected="true or false")

    def whole(self, name: str, default: int, least: int = 0, most: int = 2**53) -> int:
        option = self.options.get(name)
        if option is None:
            return default
        found = as_number(word(option.value))
        if not isinstance(found, int) or not least <= found <= most:
            expected = f"a whole number from {least} to {most:,}"
            raise fault(f"{name}={shown(word(option.value))} is not possible", option.span, expected=expected)
        return found

    def words(self) -> list[syntax.Word]:
        """The rest as words, commas left out; a call such as `predicted(x)` is the name of a field."""
        return [as_word(item) for item in self.items if not is_comma(item)]


def arranged(items: Sequence[Any], known: Sequence[str], span: Span) -> Arguments:
    """Split a list into options (each known, each once) and the rest."""
    options: dict[str, syntax.Option] = {}
    rest: list[Any] = []
    for item in items:
        if isinstance(item, syntax.Option):
            name = item.name.lower()
            if name not in known:
                raise unknown("option", item.name, known, item.span, remedy="This command takes no options.")
            if name in options:
                raise fault(f"Option {name!r} is given twice", item.span)
            options[name] = item
        else:
            rest.append(item)
    return Arguments(options, rest, span)


def is_comma(item: Any) -> bool:
    return isinstance(item, syntax.Word) and item.value == "," and not item.quote


def keyword(item: Any) -> str:
    """A bare word in lower case, for `as`, `by`, `over`, …; "" for anything else."""
    return item.value.lower() if isinstance(item, syntax.Word) and not item.quote else ""


def word(item: Any) -> str:
    """The text of an option's value."""
    if isinstance(item, syntax.Word):
        return item.value
    if isinstance(item, syntax.Call):
        return item.source
    raise fault("A [subsearch] cannot be used here", item.span)


def as_word(item: Any) -> syntax.Word:
    """A word; a call as the field it names (`predicted(botnet)`)."""
    if isinstance(item, syntax.Word):
        return item
    if isinstance(item, syntax.Call):
        return syntax.Word(item.span, item.source or item.name)
    raise fault("A field is expected here, not this", item.span, expected="a field")


def new_column(plan: Plan, column: Column) -> Column:
    return Column(plan.new_id(), column.kind)


def windowed(plan: Plan, frame: Frame, trees: Sequence[tuple[str, sql.E]]) -> Frame:
    """Add window columns; they disturb the natural order."""
    return plan.extend(frame, trees).with_(natural=False)


def fields_of(frame: Frame, words: Sequence[syntax.Word]) -> list[str]:
    """Names and wildcards as fields, each once, in the order given."""
    found: dict[str, None] = {}
    for item in words:
        for name in frame.expand(item.value) if item.quote != "'" else [item.value]:
            found.setdefault(name)
    return list(found)


def resolved(frame: Frame, words: Sequence[syntax.Word]) -> dict[str, Column | None]:
    """The fields that words name, with their columns (None: no row has it)."""
    span = words[0].span if words else Span(0)
    spans = {item.value: item.span for item in words}
    return {name: frame.find(name, spans.get(name, span)) for name in fields_of(frame, words)}
