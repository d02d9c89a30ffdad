"""TensorRT through onnxruntime: engines for a range of sizes, built once for a model and a GPU and kept beside it.

Building takes minutes. An engine computes sizes within its profile only; others are the CUDA provider's.
"""

import hashlib
import re
from dataclasses import astuple, dataclass
from pathlib import Path

from detco_core.contract.errors import BundleError
from detco_core.contract.manifest import InputSpec
from detco_core.inference.sessions.arena import INPUT
from detco_core.inference.sessions.execution import DEVICE, Execution
from detco_core.inference.sessions.sizes import USUAL, default_sizes, padded

_LEAST = 32
"""Pixels: the smallest side of a profile."""


@dataclass(frozen=True, slots=True)
class Profile:
    """The shapes `[N, C, H, W]` an engine is built for: from `least` to `most`, fastest at `best`."""

    least: tuple[int, ...]
    best: tuple[int, ...]
    most: tuple[int, ...]

    def covers(self, shape: tuple[int, ...]) -> bool:
        return all(low <= side <= high for low, side, high in zip(self.least, shape, self.most, strict=True))


def profile_of(spec: InputSpec, execution: Execution) -> Profile:
    """For the sizes named in `execution`, the manifest's own and 224x224; fastest at the first of these there is."""
    sizes = [padded(size, spec) for size in (*execution.sizes, *default_sizes(spec), USUAL)]
    least = min(_LEAST, *(side for size in sizes for side in size))
    height, width = (max(side) for side in zip(*sizes, strict=True))
    return Profile(
        (1, spec.channels, least, least),
        (execution.batch, spec.channels, *sizes[0]),
        (execution.batch, spec.channels, height, width),
    )


def engine_folder(bundle: Path, model_sha256: str, gpu: str, profile: Profile, precision: str) -> Path:
    """Where the engines for that model, GPU, range of sizes and precision lie: in the bundle, and gone with it.

    Raises:
        BundleError: the folder cannot be made.
    """
    key = hashlib.sha256(repr((astuple(profile), precision)).encode()).hexdigest()[:12]
    model = model_sha256.removeprefix("sha256:")[:12]
    folder = bundle / "engines" / model / re.sub(r"[^A-Za-z0-9]+", "-", gpu) / key
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BundleError(f"no room for TensorRT's engines: {folder} cannot be made: {error.strerror}") from error
    return folder


def tensorrt_options(execution: Execution, profile: Profile, folder: Path) -> dict[str, str]:
    """Of onnxruntime's TensorRT provider, which spells its booleans so."""
    options = {
        "device_id": str(DEVICE),
        "trt_fp16_enable": str(execution.precision == "fp16"),
        "trt_engine_cache_enable": "True",
        "trt_engine_cache_path": str(folder),
        # Times of kernels measured for one engine serve the next.
        "trt_timing_cache_enable": "True",
        "trt_timing_cache_path": str(folder),
        "trt_profile_min_shapes": _named(profile.least),
        "trt_profile_opt_shapes": _named(profile.best),
        "trt_profile_max_shapes": _named(profile.most),
    }
    if execution.gpu_memory is not None:
        options["trt_max_workspace_size"] = str(execution.gpu_memory)
    return options


def _named(shape: tuple[int, ...]) -> str:
    return f"{INPUT}:{'x'.join(map(str, shape))}"
