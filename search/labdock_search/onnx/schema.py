"""What is known of an ONNX model without running it, as JSON between processes and in the store."""

from dataclasses import asdict, dataclass, field
from typing import Any, Self

# Input types that a table can fill, as ONNX Runtime writes them, and numpy's names of them.
NUMPY_TYPES: dict[str, str] = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(int16)": "int16",
    "tensor(int8)": "int8",
    "tensor(uint8)": "uint8",
    "tensor(bool)": "bool",
    "tensor(string)": "object",
}


@dataclass(frozen=True)
class ModelLimits:
    """Caps on an uploaded model. `max_model_size_mb` counts the file itself (nothing is base64)."""

    max_model_size_mb: float = 100
    max_nodes: int = 20_000
    max_depth: int = 16  # graphs inside nodes inside graphs
    max_tensor_elements: int = 50_000_000
    max_memory_mb: int = 512  # beyond four times the file, while it is loaded and tried
    max_trial_seconds: float = 1.0  # one row
    max_check_seconds: float = 60.0  # everything; a hostile file is refused long before


@dataclass(frozen=True)
class TensorInfo:
    """One input or output: ONNX Runtime's type text (`tensor(float)`), shape with None for a free dimension."""

    name: str
    type: str
    shape: list[int | None]


@dataclass(frozen=True)
class ModelSchema:
    """Read from the file and from one trial run.

    `features` are the names the file gives (named inputs, or `feature_names` in its metadata), else empty;
    `width` is the number of feature columns it takes.
    """

    inputs: list[TensorInfo]
    outputs: list[TensorInfo]
    width: int
    features: list[str] = field(default_factory=list)
    opset: int = 0
    ir_version: int = 0
    producer: str = ""
    nodes: int = 0
    parameters: int = 0
    metadata: dict[str, str] = field(default_factory=dict)
    description: str = ""  # the file's own words about itself
    card: str = ""  # `model_card` in its metadata, Markdown

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Self:
        tensors = {key: [TensorInfo(**item) for item in value[key]] for key in ("inputs", "outputs")}
        return cls(**{**value, **tensors})
