"""`apply`: predictions of a fitted module or of an ONNX model."""

from dataclasses import dataclass

from labdock.names import ModelRef
from labdock.wire import FrameOptions
from labdock_search import modelling
from labdock_search.commands.base import Command, Example, arranged, as_word, register
from labdock_search.faults import Span, fault
from labdock_search.frame import Frame
from labdock_search.grammar.parsers import parse_arguments
from labdock_search.plan import Plan
from labdock_search.splitter import Piece


@dataclass
class ApplyArguments:
    ref: ModelRef
    output: str
    span: Span


@register
class Apply(Command):
    name = "apply"
    usage = "apply [app:][onnx:]<model>[@<version or alias>] [as <name>]"
    summary = "Adds a model's predictions: `predicted(<target>)` of an ONNX model, `predicted_<column>` of a module."
    notes = (
        "The user's own model comes before shared ones; `app:` takes only what is shared. A row that lacks a feature "
        "stays without a prediction. `@3` is the third version, `@champion` the one that has this alias; without them "
        "the version in use."
    )
    runs = True
    cuts = True
    examples = (
        Example("| inputlookup credit_card_test.csv | apply onnx:credit_card_fraud | table V* predicted(Class)"),
        Example("index=botsv3 | stats count by ComputerName | apply app:a_threat_hunt_model"),
    )

    def parse(self, piece: Piece) -> ApplyArguments:
        span = Span(piece.start, piece.end - piece.start)
        rest, target = modelling.tail(arranged(parse_arguments(piece), (), span).items, self.usage)
        if len(rest) != 1 or target.ref is not None:
            raise fault("apply takes one model", rest[1].span if len(rest) > 1 else span, expected=self.usage)
        word = as_word(rest[0])
        return ApplyArguments(modelling.model_ref(word), target.output, word.span)

    def plan(self, arguments: ApplyArguments, frame: Frame, plan: Plan) -> Frame:
        model = modelling.resolve(plan, arguments.ref, arguments.span)
        if model.kind == "onnx":
            return modelling.onnx_frame(plan, frame, model, arguments.output, arguments.span)
        prefix = modelling.prefix_of(arguments.output)
        features = [feature.name for feature in model.features]
        modelling.check_features(frame, features, arguments.span)
        if plan.explaining or plan.executor is None:
            return modelling.expecting(frame, f"{prefix}_")
        table = modelling.collected(plan, frame)
        options = FrameOptions(
            algo=model.module,
            model=model.name,
            features=features,
            limits=dict(plan.host.settings.limits),
            version=model.pinned,
        )
        sent = modelling.for_module(table, features or table.column_names)
        job = modelling.job(plan, model.environment, shared=arguments.ref.shared)
        answer = plan.host.environments.apply(sent, options, job)
        for notice in answer.notices:
            plan.notice(notice)
        return modelling.with_predictions(plan, table, answer.table, prefix, frame)
