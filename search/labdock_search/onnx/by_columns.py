"""A model that takes its features column by column, as tables hold them.

A table's columns lie one after the other, a model's input has rows: putting a million rows of 30 floats together in
numpy takes twice as long as a small network over them. One `Transpose` at the graph's front does it in ONNX Runtime's
own loops, and where a matrix product follows it costs nothing, for the product reads its operand transposed.
"""

from onnx import AttributeProto, ModelProto

from labdock_search.onnx.schema import ModelSchema


def by_columns(content: bytes, schema: ModelSchema) -> tuple[bytes, str] | None:
    """The model with the input `(features, rows)` instead of `(rows, features)`, and that input's name.

    None where it has not one input of two dimensions, or takes texts.
    """
    if len(schema.inputs) != 1 or len(schema.inputs[0].shape) != 2 or schema.inputs[0].type == "tensor(string)":
        return None
    model = ModelProto.FromString(content)
    if not any(each.domain in ("", "ai.onnx") for each in model.opset_import):
        return None  # only ai.onnx.ml: Transpose is not among its operators
    name = schema.inputs[0].name
    taken = next(value for value in model.graph.input if value.name == name)
    taken.name = f"{name}_by_columns"
    while taken.name.encode() in content:
        taken.name += "_"
    rows, features = taken.type.tensor_type.shape.dim
    del taken.type.tensor_type.shape.dim[:]
    taken.type.tensor_type.shape.dim.extend([features, rows])
    nodes = list(model.graph.node)
    del model.graph.node[:]
    first = model.graph.node.add(op_type="Transpose", input=[taken.name], output=[name])
    first.attribute.add(name="perm", ints=[1, 0], type=AttributeProto.INTS)
    model.graph.node.extend(nodes)
    return model.SerializeToString(), taken.name
