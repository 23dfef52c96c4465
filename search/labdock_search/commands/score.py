"""`score`: how well predictions fit what was so."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from labdock_search import modelling, syntax
from labdock_search.commands.base import Arguments, Command, Example, arranged, as_word, is_comma, keyword, register
from labdock_search.faults import Span, fault, unknown
from labdock_search.frame import Frame
from labdock_search.grammar.parsers import parse_arguments
from labdock_search.plan import Plan
from labdock_search.scores import CLASSES, METHODS, NUMBERS, confusion
from labdock_search.splitter import Piece

DATA = '| makeresults format=csv data="y,p\n1,1\n0,1\n1,1\n0,0"'


@dataclass
class ScoreArguments:
    method: str
    actual: list[syntax.Word]
    predicted: list[syntax.Word]
    options: Arguments


@register
class Score(Command):
    name = "score"
    usage = "score <method> <actual fields> against <predicted fields> [average=<way>] [pos_label=<value>]"
    summary = f"Scores predictions: {', '.join([*METHODS, 'confusion_matrix'])}."
    notes = (
        "Rows that lack one of both values are left out. `average` is binary (the default for two classes), macro, "
        "micro or weighted."
    )
    runs = True
    cuts = True
    examples = (
        Example(f"{DATA} | score accuracy_score y against p", [{"accuracy_score": 0.75}]),
        Example(f"{DATA} | score precision_score y against p", [{"precision_score": 2 / 3}]),
        Example(f"{DATA} | score mean_squared_error y against p", [{"mean_squared_error": 0.25}]),
    )

    def parse(self, piece: Piece) -> ScoreArguments:
        span = Span(piece.start, piece.end - piece.start)
        found = arranged(parse_arguments(piece), ("average", "pos_label"), span)
        items = [i for i in found.items if not is_comma(i)]
        if not items:
            raise fault("No method is named", span, expected=self.usage)
        method = as_word(items[0])
        known = [*METHODS, "confusion_matrix"]
        if method.value not in known:
            raise unknown("scoring method", method.value, known, method.span)
        at = next((i for i, item in enumerate(items) if keyword(item) in {"against", "~"}), None)
        if at is None:
            raise fault("'against' is missing", span, expected=self.usage)
        actual, predicted = [as_word(i) for i in items[1:at]], [as_word(i) for i in items[at + 1 :]]
        if not actual or (len(predicted) not in {1, len(actual)} and len(actual) != 1):
            raise fault(
                "The fields do not pair up", span, expected="as many actual as predicted fields, or one of either"
            )
        if not predicted:
            raise fault("No predicted field is named", span, expected=self.usage)
        return ScoreArguments(method.value, actual, predicted, found)

    def plan(self, arguments: ScoreArguments, frame: Frame, plan: Plan) -> Frame:
        actual, predicted = arguments.actual, arguments.predicted
        count = max(len(actual), len(predicted))
        pairs = [(actual[i % len(actual)], predicted[i % len(predicted)]) for i in range(count)]
        for pair in pairs:
            for word in pair:
                modelling.check_features(frame, [word.value], word.span)
        if plan.explaining or plan.executor is None:
            return plan.scan_arrow(pa.table({arguments.method: pa.array([], pa.float64())}))
        names = dict.fromkeys(word.value for pair in pairs for word in pair)
        table = modelling.collected(plan, frame.with_(fields={n: frame.fields[n] for n in names}))
        if arguments.method == "confusion_matrix":
            return plan.scan_arrow(confusion(*_pair(table, pairs[0])))
        method = METHODS[arguments.method]
        scores = [self._scored(arguments, method, table, pair) for pair in pairs]
        columns: dict[str, pa.Array] = {}
        if len(pairs) > 1:
            columns["actual"] = pa.array([a.value for a, _ in pairs])
            columns["predicted"] = pa.array([p.value for _, p in pairs])
        columns[arguments.method] = pa.array(scores, pa.float64())
        return plan.scan_arrow(pa.table(columns))

    def _scored(
        self,
        arguments: ScoreArguments,
        method: Callable[..., float | None],
        table: pa.Table,
        pair: tuple[syntax.Word, syntax.Word],
    ) -> float | None:
        y, p = _pair(table, pair)
        if arguments.method in NUMBERS:
            numbers = [_numbers(y, pair[0]), _numbers(p, pair[1])]
            return method(*numbers)
        average = arguments.options.choice("average", ("binary", "macro", "micro", "weighted"), "")
        if arguments.method in CLASSES:
            return method(y, p, average=average, positive=arguments.options.text("pos_label", "1"))
        return method(y, _numbers(p, pair[1]), positive=arguments.options.text("pos_label", "1"))


def _pair(table: pa.Table, pair: tuple[syntax.Word, syntax.Word]) -> tuple[list[object], list[object]]:
    """Both columns, where both have a value."""
    left, right = table.column(pair[0].value).to_pylist(), table.column(pair[1].value).to_pylist()
    kept = [(a, b) for a, b in zip(left, right, strict=True) if a is not None and b is not None]
    return [a for a, _ in kept], [b for _, b in kept]


def _numbers(values: list[object], word: syntax.Word) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    try:
        return np.array([float(str(v)) for v in values], dtype=np.float64)
    except ValueError:
        raise fault(f"{word.value!r} has values that are no numbers", word.span) from None
