"""From the syntax of an expression to SQL, in the meaning of eval and where."""

from typing import Any

from sqlglot import exp

from labdock_search import kinds, sql, syntax
from labdock_search.faults import Span, fault, unknown
from labdock_search.frame import Frame
from labdock_search.functions import EVAL, Arguments
from labdock_search.kinds import Kind, Value
from labdock_search.plan import Plan

MAX_OPERATORS = 1000
LARGE = 40  # nodes; what is larger and may be repeated becomes a column first
MAX_SIZE = 50_000
FLIP = {"=": "=", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


class Scope:
    """Where an expression is evaluated: the frame's fields, and inside mvmap and mvfilter a parameter.

    Compiling may extend the frame with columns for large sub-expressions: take `scope.frame` afterwards.
    """

    def __init__(self, plan: Plan, frame: Frame) -> None:
        self.plan = plan
        self.frame = frame
        self.parameters: dict[str, Value] = {}

    def value(self, node: Any) -> Value:
        """Compile a node."""
        if isinstance(node, syntax.Number):
            return kinds.number(kinds.as_number(node.text) or 0)
        if isinstance(node, syntax.Text):
            return kinds.text(node.value)
        if isinstance(node, syntax.Field):
            return self.field(node)
        if isinstance(node, syntax.Call):
            return self.call(node)
        if isinstance(node, syntax.Unary):
            return self.unary(node)
        if isinstance(node, syntax.Chain):
            return self.chain(node)
        if isinstance(node, syntax.Compare):
            return self.comparison(node)
        if isinstance(node, syntax.Among):
            return self.among(node)
        raise fault("This is no expression", node.span)

    def small(self, node: Any) -> Value:
        """Compile; a large result is computed in a column of its own, so that repeating it costs nothing."""
        return self.settle(self.value(node), node.span)

    def settle(self, value: Value, span: Span) -> Value:
        if value.size > MAX_SIZE:
            raise fault("This expression is too complex", span, remedy="Compute a part of it with eval first.")
        if value.size <= LARGE or self.parameters:
            return value
        self.frame, column = self.plan.compute(self.frame, value)
        return kinds.of_column(column)

    def condition(self, node: Any) -> Value:
        """Compile what must be true or false."""
        value = self.value(node)
        if value.kind is Kind.NULL:
            return Value(sql.cast(sql.null(), "BOOLEAN"), Kind.BOOL)
        if value.kind is not Kind.BOOL:
            raise fault("This is a value, not a condition", node.span, expected="a comparison such as x > 1")
        return value

    def result(self, node: Any) -> Value:
        """Compile what goes into a field."""
        value = self.value(node)
        if value.kind is Kind.BOOL:
            raise fault(
                "A condition cannot be stored in a field",
                node.span,
                remedy='Write if(condition, "true", "false").',
            )
        return value

    def field(self, node: syntax.Field) -> Value:
        if node.name in self.parameters:
            found = self.parameters[node.name]
            return Value(found.use(), found.kind)
        column = self.frame.find(node.name, node.span)
        return kinds.of_column(column) if column else kinds.null()

    def call(self, node: syntax.Call) -> Value:
        function = EVAL.get(node.name) or EVAL.get(node.name.lower())
        if function is None:
            raise unknown("function", node.name, EVAL, node.span)
        function.check(node)
        return function.build(Arguments(function, node, self))

    def unary(self, node: syntax.Unary) -> Value:
        if node.operator == "NOT":
            inner = self.condition(node.operand)
            return Value(sql.negate(inner.use()), Kind.BOOL, size=inner.size + 1)
        value = kinds.to_number(self.small(node.operand))
        if node.operator == "+":
            return value
        if isinstance(value.constant, int | float):
            return kinds.number(-value.constant)
        return Value(sql.binary("-", sql.number(0), value.use()), value.kind, size=value.size + 2)

    def chain(self, node: syntax.Chain) -> Value:
        first = node.operators[0]
        if first in {"AND", "OR", "XOR"}:
            return self.logic(node)
        if first == ".":
            return self.joined(node)
        if len(node.operators) > MAX_OPERATORS:
            raise fault(
                f"More than {MAX_OPERATORS} operators in one expression",
                node.span,
                remedy="Compute it in several steps with eval.",
            )
        value = self.small(node.parts[0])
        for operator, part in zip(node.operators, node.parts[1:], strict=True):
            value = self.settle(self.arithmetic(operator, value, self.small(part)), node.span)
        return value

    def logic(self, node: syntax.Chain) -> Value:
        nodes = merged(node.parts) if set(node.operators) == {"OR"} else node.parts
        if len(nodes) == 1:
            return self.condition(nodes[0])
        parts = [self.condition(part) for part in nodes]
        size = sum(part.size for part in parts) + len(parts)
        if "XOR" in node.operators:
            value = parts[0]
            for operator, part in zip(node.operators, parts[1:], strict=True):
                if operator == "XOR":
                    tree = sql.binary("!=", value.use(), part.use())
                else:
                    tree = sql.any_of([value.use(), part.use()])
                value = Value(tree, Kind.BOOL, size=value.size + part.size)
            return value
        join = sql.all_of if node.operators[0] == "AND" else sql.any_of
        return Value(join([part.use() for part in parts]), Kind.BOOL, size=size)

    def joined(self, node: syntax.Chain) -> Value:
        """`a . b`: text; null where a part is null."""
        parts = [kinds.to_string(self.small(part)) for part in node.parts]
        level = [part.use() for part in parts]
        while len(level) > 1:
            pairs = [sql.binary("||", a, b) for a, b in zip(level[0::2], level[1::2], strict=False)]
            level = pairs + ([level[-1]] if len(level) % 2 else [])
        return Value(level[0], Kind.STR, size=sum(part.size for part in parts) + len(parts))

    def arithmetic(self, operator: str, left: Value, right: Value) -> Value:
        if operator == "+" and Kind.STR in {left.kind, right.kind} and _worded(left, right):
            a, b = kinds.to_string(left), kinds.to_string(right)
            return Value(sql.binary("||", a.use(), b.use()), Kind.STR, size=a.size + b.size + 1)
        a, b = kinds.to_number(left), kinds.to_number(right)
        size = a.size + b.size + 1
        whole = a.kind is Kind.INT and b.kind is Kind.INT
        tree = sql.binary(operator, a.use(), b.use())
        if operator in {"/", "%"}:
            return Value(tree, Kind.INT if whole and operator == "%" else Kind.NUM, size=size)
        # 64-bit overflow gives null rather than an error; sums of fields are far from it.
        return Value(sql.call("try", tree) if whole else tree, Kind.INT if whole else Kind.NUM, size=size + 1)

    def comparison(self, node: syntax.Compare) -> Value:
        left, right = self.small(node.left), self.small(node.right)
        if node.operator == "LIKE":
            return self.like(left, right)
        return compare(node.operator, left, right)

    def like(self, left: Value, pattern: Value) -> Value:
        a, b = kinds.to_string(left), kinds.to_string(pattern)
        tree = sql.call("like_escape", a.use(), b.use(), sql.text("\\"))
        return Value(tree, Kind.BOOL, size=a.size + b.size + 2)

    def among(self, node: syntax.Among) -> Value:
        return among(self.small(node.operand), [self.small(choice) for choice in node.choices])


def merged(parts: list[Any]) -> list[Any]:
    """The parts of an OR, equalities of one field with literals as one IN: DuckDB is slow with long chains."""
    found: list[Any] = []
    lists: dict[str, syntax.Among] = {}
    for part in parts:
        literal = isinstance(part, syntax.Compare) and isinstance(part.right, syntax.Number | syntax.Text)
        if not (literal and part.operator == "=" and isinstance(part.left, syntax.Field)):
            found.append(part)
        elif part.left.name in lists:
            lists[part.left.name].choices.append(part.right)
        else:
            lists[part.left.name] = syntax.Among(part.span, part.left, [part.right])
            found.append(lists[part.left.name])
    return found


def _worded(left: Value, right: Value) -> bool:
    """Whether `+` joins texts: one side is a literal text that is no number."""
    return any(isinstance(v.constant, str) and kinds.as_number(v.constant) is None for v in (left, right))


def among(value: Value, choices: list[Value]) -> Value:
    """`value` equals one of `choices`; a plain IN where all are literals of the value's kind."""
    texts = [c.constant for c in choices]
    if value.kind is Kind.STR and all(isinstance(t, str) and kinds.as_number(t) is None for t in texts):
        return Value(sql.one_of(value.use(), [c.use() for c in choices]), Kind.BOOL, size=value.size + len(choices))
    if value.kind.numeric and all(c.kind.numeric and c.constant is not None for c in choices):
        return Value(sql.one_of(value.use(), [c.use() for c in choices]), Kind.BOOL, size=value.size + len(choices))
    parts = [compare("=", value, choice) for choice in choices]
    return Value(sql.any_of([p.use() for p in parts]), Kind.BOOL, size=sum(p.size for p in parts) + 1)


def compare(operator: str, left: Value, right: Value) -> Value:
    """A comparison: numeric where both sides are numbers, else by text; true where one of several values fits."""
    if Kind.NULL in {left.kind, right.kind}:
        return Value(sql.cast(sql.null(), "BOOLEAN"), Kind.BOOL)
    if Kind.LIST in {left.kind, right.kind}:
        return _compare_list(operator, left, right)
    if left.kind is right.kind is Kind.BOOL or (left.kind.numeric and right.kind.numeric):
        return _plain(operator, left, right)
    if isinstance(left.constant, str) and not isinstance(right.constant, str):
        return compare(FLIP[operator], right, left)
    if isinstance(right.constant, str):
        number = kinds.as_number(right.constant)
        if left.kind.numeric and number is not None:
            return _plain(operator, left, kinds.number(number))
        if number is None:
            return _plain(operator, kinds.to_string(left), right)
        right = kinds.number(number) if operator in {"=", "!="} else right
    if operator in {"=", "!="} and left.kind is Kind.STR and isinstance(right.constant, int | float):
        return _text_is_number(operator, left, right)
    if operator in {"=", "!="} and right.kind is Kind.STR and isinstance(left.constant, int | float):
        return _text_is_number(operator, right, left)
    return _either(operator, left, right)


def _text_is_number(operator: str, text: Value, number: Value) -> Value:
    """A text equals a number where it is written as one of that value; a text that is no number differs."""
    test = exp.NullSafeEQ if operator == "=" else exp.NullSafeNEQ
    same = test(this=sql.try_cast(text.use(), "DOUBLE"), expression=number.use())
    return Value(sql.case([(sql.not_null(text.use()), same)]), Kind.BOOL, size=2 * text.size + 4)


def _plain(operator: str, left: Value, right: Value) -> Value:
    return Value(sql.binary(operator, left.use(), right.use()), Kind.BOOL, size=left.size + right.size + 1)


def _either(operator: str, left: Value, right: Value) -> Value:
    """Decided row by row: numeric where both are numbers."""
    a, b = kinds.to_number(left), kinds.to_number(right)
    text = _plain(operator, kinds.to_string(left), kinds.to_string(right))
    checks = [sql.not_null(v.use()) for v in (a, b) if v.constant is None]
    if not checks:
        return _plain(operator, a, b)
    numeric = _plain(operator, a, b)
    tree = sql.case([(sql.all_of(checks), numeric.use())], text.use())
    return Value(tree, Kind.BOOL, size=2 * (a.size + b.size) + text.size + 4)


def _compare_list(operator: str, left: Value, right: Value) -> Value:
    """Whether any of several values compares."""
    if left.kind is not Kind.LIST:
        return _compare_list(FLIP[operator], right, left)
    item = Value(sql.column("item"), Kind.STR)
    if right.kind is Kind.LIST:
        tree: sql.E = sql.call("list_has_any", left.use(), right.use())
        return Value(tree, Kind.BOOL, size=left.size + right.size + 1)
    inner = compare(operator, item, right)
    found = sql.call("list_filter", left.use(), sql.each("item", inner.use()))
    tree = sql.binary(">", sql.call("len", found), sql.number(0))
    return Value(tree, Kind.BOOL, size=left.size + inner.size + 3)
