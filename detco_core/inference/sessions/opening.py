"""Opens onnxruntime sessions, and says when one runs elsewhere than was asked.

onnxruntime-gpu falls back to the CPU with no more than a line on stderr; here the provider obtained is compared with
the one asked for, reported, and refused when `strict`. So is a node the provider leaves to the CPU.
"""

import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import onnxruntime as ort

from detco_core.contract.errors import BundleError
from detco_core.contract.shortage import is_out_of_memory
from detco_core.inference.sessions.binding import Bound, Placement
from detco_core.inference.sessions.execution import (
    CPU,
    CUDA,
    DEVICE,
    TENSORRT,
    Execution,
    provider_options,
    session_options,
)
from detco_core.inference.sessions.half import halved
from detco_core.inference.sessions.host_memory import gpu_buffers
from detco_core.inference.sessions.libraries import bring, why_not
from detco_core.inference.sessions.nodes import left_to_the_cpu

log = logging.getLogger(__name__)

TF32 = "NVIDIA_TF32_OVERRIDE"


def start(model: bytes, execution: Execution, tensorrt: Mapping[str, str] | None = None) -> Any:
    """An onnxruntime session; raises `BundleError` when there is none, or (strict) none on the provider asked for."""
    asked = execution.order[0]
    if asked != CPU:
        if asked == TENSORRT and execution.precision == "fp32":
            # TensorRT rounds to TF32 by itself, and onnxruntime's provider has no option against it. For the process.
            os.environ.setdefault(TF32, "0")
        bring(tensorrt=asked == TENSORRT)
    session = _opened(model, execution, tensorrt)
    # It would move to the CPU for good when one image fails on the GPU, and only print so.
    session.disable_fallback()
    # Kept for that move alone, and as large as the weights.
    session._model_bytes = None
    _check(session, execution)
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
    return Bound(session, None if got == CPU else Placement("cuda", DEVICE, gpu_buffers(DEVICE), f"gpu:{DEVICE}"))


def _opened(model: bytes, execution: Execution, tensorrt: Mapping[str, str] | None) -> Any:
    """With the best provider there is, each with its options; onnxruntime's own fallback opens the rest without any."""
    order = [name for name in execution.order if name in ort.get_available_providers()] or [CPU]
    left = (*order[1:], CPU)
    here = replace(execution, providers=tuple(order))
    try:
        return ort.InferenceSession(
            model, session_options(here), providers=provider_options(here, tensorrt), enable_fallback=0
        )
    # What it raises when a provider cannot be made; a model that cannot be opened is another matter, below.
    except (ValueError, RuntimeError) as error:
        # Memory that others hold comes back; a model that went to the CPU meanwhile would stay there.
        if order[0] == CPU or is_out_of_memory(error):
            raise _cannot(error) from error
        message = f"onnxruntime cannot make {order[0]}: {why_not(order[0])} ({error})"
        if execution.strict:
            raise BundleError(message) from error
        log.warning("%s; %s is next", message, left[0])
        return _opened(model, replace(execution, providers=tuple(dict.fromkeys(left))), tensorrt)
    # onnxruntime's exceptions share no base class but Exception.
    except Exception as error:
        raise _cannot(error) from error


def _cannot(error: Exception) -> BundleError:
    return BundleError(f"onnxruntime {ort.__version__} cannot open the model: {error}")


def _check(session: Any, execution: Execution) -> None:
    """Complain of another provider than the one asked for, or of one that computes a part of the model only.

    Raises:
        BundleError: that is refused (`strict`).
    """
    asked, got = execution.order[0], session.get_providers()[0]
    if got != asked:
        message = f"asked onnxruntime for {asked}, got {got}: {why_not(asked)}"
    elif got != CPU and (left := left_to_the_cpu(session)):
        message = f"{got} leaves a part of the model to the CPU: {left}"
    else:
        return
    if execution.strict:
        raise BundleError(message)
    log.warning(message)
