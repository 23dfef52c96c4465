"""`fit MLTKContainer`: stage, fit or apply a notebook's module on the rows."""

from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from labdock.errors import NotFound
from labdock.names import ModelRef, check_name
from labdock.wire import FrameOptions
from labdock_search import modelling, syntax
from labdock_search.commands.base import Command, Example, as_word, fields_of, is_comma, keyword, register
from labdock_search.faults import Span, fault, shown, unknown
from labdock_search.frame import Frame
from labdock_search.grammar.parsers import parse_arguments
from labdock_search.modelling import Target
from labdock_search.plan import Plan
from labdock_search.splitter import Piece

MODES = ("stage", "fit", "apply")


@dataclass
class FitArguments:
    algo: str
    mode: str
    params: dict[str, str]
    environment: str
    target: list[syntax.Word]
    features: list[syntax.Word]
    into: Target
    span: Span = field(default_factory=lambda: Span(0))


@register
class Fit(Command):
    name = "fit"
    usage = (
        "fit MLTKContainer algo=<module> [mode=stage|fit|apply] [<option>=<value> …] [<target> from] "
        "<fields> [into [app:]<model>] [as <name>]"
    )
    summary = "Trains the module of a notebook on the rows and adds its columns as `predicted_<column>`."
    notes = (
        "`mode=stage` writes the rows into the environment's notebooks folder and passes them on; a model of that name "
        "that is already fitted is applied. `mode=apply` applies without training. Options may stand anywhere; all but "
        "algo, mode and environment go to the module."
    )
    runs = True
    cuts = True
    examples = (
        Example(
            "index=botsv3 | fit MLTKContainer mode=stage algo=a_threat_hunting_notebook _time EventCode "
            "into app:a_threat_hunt_model"
        ),
    )

    def parse(self, piece: Piece) -> FitArguments:
        span = Span(piece.start, piece.end - piece.start)
        items = [i for i in parse_arguments(piece) if not is_comma(i)]
        options = {i.name: i for i in items if isinstance(i, syntax.Option)}
        rest, into = modelling.tail([i for i in items if not isinstance(i, syntax.Option)], self.usage)
        if not rest or as_word(rest[0]).value != "MLTKContainer":
            at = rest[0].span if rest else span
            name = as_word(rest[0]).value if rest else ""
            raise fault(f"{shown(name)} is no algorithm", at, expected="MLTKContainer with algo=<module>")
        mode = _plain(options.pop("mode", None), "fit")
        if mode.value not in MODES:
            raise unknown("mode", mode.value, MODES, mode.span)
        algo = options.pop("algo", None)
        if algo is None:
            raise fault("No module is named", span, expected="algo=<module>")
        environment = _plain(options.pop("environment", None), "").value
        target, features = _fields(rest[1:], self.usage)
        if not features:
            raise fault("No field is named", span, expected="fields for the module")
        if into.ref is not None and into.ref.kind == "onnx":
            raise fault("An ONNX model cannot be fitted", into.span, remedy="Name a model without `onnx:`.")
        params = {name: _written(option) for name, option in options.items()}
        name = check_name(_plain(algo, "").value, "module")
        return FitArguments(name, mode.value, params, environment, target, features, into, span)

    def plan(self, arguments: FitArguments, frame: Frame, plan: Plan) -> Frame:
        target = fields_of(frame, arguments.target)
        features = [name for name in fields_of(frame, arguments.features) if name not in target]
        modelling.check_features(frame, [*features, *target], arguments.span)
        if not features:
            raise fault("The wildcards fit no field", arguments.span, expected="fields for the module")
        prefix = modelling.prefix_of(arguments.into.output)
        if plan.explaining or plan.executor is None:
            return modelling.expecting(frame, f"{prefix}_")
        ref = arguments.into.ref or ModelRef("default")
        options = FrameOptions(
            algo=arguments.algo,
            model=ref.name,
            features=features,
            target=target,
            params=dict(arguments.params),
            limits=dict(plan.host.settings.limits),
        )
        table = modelling.collected(plan, frame)
        sent = modelling.for_module(table, [*features, *target])
        if arguments.mode == "stage":
            return self._staged(arguments, frame, plan, table, sent, options, ref)
        environments = plan.host.environments
        run = environments.fit if arguments.mode == "fit" else environments.apply
        answer = run(sent, options, modelling.job(plan, arguments.environment, shared=ref.shared))
        for notice in answer.notices:
            plan.notice(notice)
        return modelling.with_predictions(plan, table, answer.table, prefix, frame)

    def _staged(
        self,
        arguments: FitArguments,
        frame: Frame,
        plan: Plan,
        table: pa.Table,
        sent: pa.Table,
        options: FrameOptions,
        ref: ModelRef,
    ) -> Frame:
        job = modelling.job(plan, arguments.environment, shared=ref.shared)
        staged = plan.host.environments.stage(sent, options, job)
        for notice in staged.notices:
            plan.notice(notice)
        plan.notice(f"{staged.rows:,} rows staged: {', '.join(staged.files)}.")
        prefix = modelling.prefix_of(arguments.into.output)
        kept = plan.scan_arrow(table, frame.kind).with_(missing=frame.missing)
        try:
            plan.host.models.resolve(ref, plan.request.caller)
        except NotFound:
            return modelling.lacking(kept, prefix, arguments.algo, ref.name)
        answer = plan.host.environments.apply(sent, options, job)
        plan.notice(f"The model {ref.name!r}, fitted before, was applied.")
        return modelling.with_predictions(plan, table, answer.table, prefix, frame)


def _plain(option: syntax.Option | None, default: str) -> syntax.Word:
    """An option's value as a word, without quotes."""
    if option is None:
        return syntax.Word(Span(0), default)
    if isinstance(option.value, syntax.Word):
        return option.value
    raise fault(f"{option.name} takes a name", option.span)


def _written(option: syntax.Option) -> str:
    """A parameter as the module gets it: with its quotes, as the peer sends it."""
    value: Any = option.value
    if isinstance(value, syntax.Word):
        return f"{value.quote}{value.value}{value.quote}"
    if isinstance(value, syntax.Call):
        return value.source
    raise fault("A [subsearch] cannot be a parameter", option.span)


def _fields(items: list[Any], usage: str) -> tuple[list[syntax.Word], list[syntax.Word]]:
    """`target from features`, or features alone."""
    at = next((i for i, item in enumerate(items) if keyword(item) == "from"), None)
    if at is None:
        return [], [as_word(i) for i in items]
    if at == 0:
        raise fault("No target before 'from'", items[0].span, expected=usage)
    return [as_word(i) for i in items[:at]], [as_word(i) for i in items[at + 1 :]]
