"""A model's graph in half precision: a GPU computes it several times faster, and half as much travels back."""

import sys

from detco_core.contract.errors import BundleError
from detco_core.inference.sessions.arena import INPUT


def halved(model: bytes) -> bytes:
    """The same network with weights, computation and outputs in float16; the input stays float32.

    Weights outside float16's range are moved to its ends. onnxruntime's own converter does it.

    Raises:
        BundleError: the `onnx` package, which it needs, is not installed, or it cannot convert this model.
    """
    path = list(sys.path)
    try:
        import onnx
        from onnxruntime.transformers.float16 import convert_float_to_float16
    except ImportError as error:
        raise BundleError(f"half precision needs the package onnx: pip install 'detco[fp16]' ({error})") from error
    finally:
        # That package adds its own folder, of modules with names such as `metrics`.
        sys.path[:] = path
    try:
        converted = convert_float_to_float16(onnx.load_from_string(model), keep_io_types=[INPUT])
        data: bytes = converted.SerializeToString()
    # Whatever it is, the model is what it cannot be applied to.
    except Exception as error:
        raise BundleError(f"the model cannot be brought to half precision: {error}") from error
    return data
