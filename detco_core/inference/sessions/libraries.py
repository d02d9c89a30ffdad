"""The libraries that onnxruntime's GPU providers stand on: loaded from the wheels they came in, named when missing.

onnxruntime says on stderr alone which one it misses; here that is part of the error a person gets.
"""

import contextlib
import ctypes
import functools
import importlib.util
from pathlib import Path

import onnxruntime as ort

from detco_core.inference.sessions.execution import TENSORRT

_OF_TENSORRT = ("libnvinfer.so.10", "libnvonnxparser.so.10")


@functools.cache
def bring(*, tensorrt: bool = False) -> None:
    """Load CUDA and cuDNN, and TensorRT, from where pip put them; once, since onnxruntime prints what it does not find.

    Those of the system need nothing: the loader finds them when onnxruntime asks.
    """
    ort.preload_dlls()
    spec = importlib.util.find_spec("tensorrt_libs") if tensorrt else None
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for name in _OF_TENSORRT:
            with contextlib.suppress(OSError):
                ctypes.CDLL(str(Path(folder) / name))


def why_not(provider: str) -> str:
    """Why onnxruntime could not give a provider, as far as this machine tells, and what helps."""
    if provider not in ort.get_available_providers():
        return f"onnxruntime {ort.__version__} is installed without it: put onnxruntime-gpu in its place"
    name = provider.removesuffix("ExecutionProvider").lower()
    try:
        ctypes.CDLL(str(Path(ort.__file__).parent / "capi" / f"libonnxruntime_providers_{name}.so"))
    except OSError as error:
        return f"{error}; {_remedy(provider, str(error))}"
    return "its libraries are here; what the GPU or its driver refused stands above, in onnxruntime's words"


def _remedy(provider: str, error: str) -> str:
    if "libcuda.so" in error:
        return "NVIDIA's driver is not installed, or this container was started without it"
    if provider == TENSORRT and any(name in error for name in _OF_TENSORRT):
        return "install TensorRT 10 (pip install 'tensorrt-cu13<11')"
    return "pip install 'detco[gpu]' brings CUDA's libraries"
