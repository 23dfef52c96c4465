"""`summary`, `listmodels`, `deletemodel`: what models there are."""

import json
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from labdock.errors import NotFound
from labdock.names import ModelRef
from labdock_search import modelling
from labdock_search.commands.base import Command, Example, arranged, register
from labdock_search.faults import Span, fault, placed
from labdock_search.frame import Frame
from labdock_search.grammar.parsers import parse_arguments
from labdock_search.plan import Plan
from labdock_search.splitter import Piece


@dataclass
class ModelArguments:
    ref: ModelRef
    span: Span


def one_model(piece: Piece, command: Command) -> ModelArguments:
    span = Span(piece.start, piece.end - piece.start)
    words = arranged(parse_arguments(piece), (), span).words()
    if len(words) != 1:
        raise fault(
            f"{command.name} takes one model", words[1].span if len(words) > 1 else span, expected=command.usage
        )
    return ModelArguments(modelling.model_ref(words[0]), words[0].span)


@register
class Summary(Command):
    name = "summary"
    usage = "summary [app:][onnx:]<model>"
    summary = "What a model tells about itself, one row for each entry."
    generating = True
    runs = True
    examples = (Example("| summary app:a_threat_hunt_model"),)

    def parse(self, piece: Piece) -> ModelArguments:
        return one_model(piece, self)

    def plan(self, arguments: ModelArguments, frame: Frame, plan: Plan) -> Frame:
        model = modelling.resolve(plan, arguments.ref, arguments.span)
        facts: dict[str, Any] = {
            "model": model.name,
            "kind": model.kind,
            "owner": model.owner,
            "sharing": model.sharing,
            "version": model.version,
            "features": [f.name for f in model.features],
            "target": model.target,
        }
        if model.kind == "module" and not plan.explaining:
            told = plan.host.environments.summary(model.name, modelling.job(plan, model.environment))
            facts |= {f"summary.{key}": value for key, value in told.items()}
        names = list(facts)
        values = [v if isinstance(v, str) else json.dumps(v, default=str) for v in facts.values()]
        return plan.scan_arrow(pa.table({"name": names, "value": pa.array(values, pa.string())}))


@register
class ListModels(Command):
    name = "listmodels"
    usage = "listmodels"
    summary = "The models that the user can apply."
    generating = True
    examples = (Example("| listmodels"),)

    def parse(self, piece: Piece) -> None:
        items = parse_arguments(piece)
        if items:
            raise fault("listmodels takes no arguments", items[0].span, expected=self.usage)

    def plan(self, arguments: None, frame: Frame, plan: Plan) -> Frame:
        found = sorted(plan.host.models.list(plan.request.caller), key=lambda m: (m.name, m.kind))
        return plan.scan_arrow(
            pa.table(
                {
                    "name": pa.array([m.name for m in found], pa.string()),
                    "kind": pa.array([m.kind for m in found], pa.string()),
                    "owner": pa.array([m.owner for m in found], pa.string()),
                    "app": pa.array([m.app for m in found], pa.string()),
                    "sharing": pa.array([m.sharing for m in found], pa.string()),
                    "version": pa.array([m.version for m in found], pa.int64()),
                    "features": pa.array([[f.name for f in m.features] for m in found], pa.list_(pa.string())),
                    "target": pa.array([m.target or None for m in found], pa.string()),
                    "module": pa.array([m.module or None for m in found], pa.string()),
                    "created": pa.array([m.created or None for m in found], pa.float64()),
                }
            )
        )


@register
class DeleteModel(Command):
    name = "deletemodel"
    usage = "deletemodel [app:][onnx:]<model>"
    summary = "Deletes a model with all its versions."
    generating = True
    runs = True
    examples = (Example("| deletemodel old_model"),)

    def parse(self, piece: Piece) -> ModelArguments:
        arguments = one_model(piece, self)
        if arguments.ref.version:
            raise fault("deletemodel removes whole models, not versions", arguments.span, expected=self.usage)
        return arguments

    def plan(self, arguments: ModelArguments, frame: Frame, plan: Plan) -> Frame:
        if not plan.explaining:
            try:
                plan.host.models.delete(arguments.ref, plan.request.caller)
            except NotFound as error:
                raise placed(error, arguments.span) from None
            plan.notice(f"The model {str(arguments.ref)!r} was deleted.")
        return plan.scan_arrow(pa.table({"deleted": pa.array([str(arguments.ref)])}))
