"""Opens onnxruntime sessions, and says when one runs elsewhere than was asked.

onnxruntime-gpu falls back to the CPU with no more than a line on stderr; here the provider obtained is compared with
the one asked for, reported, and refused when `strict`.
"""

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import onnxruntime as ort

from detco_core.contract.errors import BundleError
from detco_core.inference.binding import Bound, Placement
from detco_core.inference.execution import CPU, CUDA, DEVICE, Execution, provider_options, session_options
from detco_core.inference.half import halved
from detco_core.inference.host_memory import gpu_buffers

log = logging.getLogger(__name__)


def start(model: bytes, execution: Execution, tensorrt: Mapping[str, str] | None = None) -> Any:
    """An onnxruntime session; raises `BundleError` when there is none, or (strict) none on the provider asked for."""
    if execution.order[0] != CPU:
        # Finds CUDA and cuDNN in the wheels they came in.
        ort.preload_dlls()
    options, providers = session_options(execution), provider_options(execution, tensorrt)
    try:
        session = ort.InferenceSession(model, options, providers=providers, enable_fallback=int(not execution.strict))
    # onnxruntime's exceptions share no base class but Exception.
    except Exception as error:
        raise BundleError(f"onnxruntime {ort.__version__} cannot open the model: {error}") from error
    # It would move to the CPU for good when one image fails on the GPU, and only print so.
    session.disable_fallback()
    # Kept for that move alone, and as large as the weights.
    session._model_bytes = None
    _check(session.get_providers()[0], execution)
    return session


def bound(model: bytes, execution: Execution, tensorrt: Mapping[str, str] | None = None) -> Bound:
    """A session with its memory, in the precision asked for; raises what `start` and `halved` raise."""
    order = execution.order
    if execution.precision == "fp16" and order[0] == CPU:
        raise BundleError("fp16 is for GPUs: a CPU would convert every number back and forth; use fp32")
    # TensorRT halves what it builds by itself.
    half = execution.precision == "fp16" and order[0] == CUDA
    session = start(halved(model) if half else model, execution, tensorrt)
    got = session.get_providers()[0]
    if execution.precision == "fp16" and got != order[0]:
        precision = "fp32" if got == CPU else execution.precision
        left = order[order.index(got) :] if got in order else (got,)
        return bound(model, replace(execution, providers=left, precision=precision))
    return Bound(session, None if got == CPU else Placement("cuda", DEVICE, gpu_buffers(DEVICE)))


def _check(got: str, execution: Execution) -> None:
    """Complain of another provider than the one asked for; raises `BundleError` where that is refused."""
    if got == execution.order[0]:
        return
    message = f"asked onnxruntime for {execution.order[0]}, got {got}: see its message above for the library it misses"
    if execution.strict:
        raise BundleError(message)
    log.warning(message)
