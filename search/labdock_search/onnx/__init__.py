"""ONNX models: what a file holds, whether it may be kept, and predictions over Arrow tables.

What predicts is loaded when it is first used: checking and listing models needs no ONNX Runtime.
"""

from typing import TYPE_CHECKING, Any

from labdock_search.onnx.check import check_model
from labdock_search.onnx.schema import ModelLimits, ModelSchema, TensorInfo

if TYPE_CHECKING:
    from labdock_search.onnx.predict import OnnxModel, Predictions

__all__ = ["ModelLimits", "ModelSchema", "OnnxModel", "Predictions", "TensorInfo", "check_model"]


def __getattr__(name: str) -> Any:
    if name not in ("OnnxModel", "Predictions"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from labdock_search.onnx import predict  # noqa: PLC0415 - see above

    return getattr(predict, name)
