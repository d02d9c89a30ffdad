"""Models on a GPU, one command for the machine that has one: what the tests there say, then what computing costs.

    python -m benchmarks.gpu [--only tests figures serving] [--tiny] [--results FOLDER]

A bare checkout with NumPy, Pillow, onnx, onnxruntime, pytest, pytest-timeout and hypothesis is enough to begin. What a
part needs beyond that, such as onnxruntime-gpu, it says, and is left out. Fails when a test does, or when a part could
run and did not.
"""

import argparse
import importlib.util
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from benchmarks.machine import ROOT, describe
from benchmarks.serving.bundles import resnet50
from detco_core.contract.errors import BundleError
from detco_core.inference.sessions.execution import (
    CPU,
    CUDA,
    DEVICE,
    TENSORRT,
    Execution,
    Precision,
    cuda_devices,
    gpu_name,
)
from detco_core.inference.sessions.host_memory import gpu_buffers
from detco_core.inference.sessions.libraries import why_not
from detco_core.inference.sessions.session import Session, outputs_of
from detco_core.inference.tiny import write_tiny_bundle

PARTS = ("tests", "figures", "serving")
WAYS: tuple[tuple[str, Precision], ...] = ((CUDA, "fp32"), (CUDA, "tf32"), (CUDA, "fp16"), (TENSORRT, "fp16"))
SHAPES = ((1, 224, 224), (8, 224, 224), (1, 800, 1088), (8, 800, 1088))
TINY = ((1, 64, 64), (2, 64, 96))
LEAST = 0.5
"""Seconds that a figure is looked at."""
_SERVER = ("fastapi", "uvicorn", "sqlalchemy", "alembic", "httpx", "psutil")


def main(words: Sequence[str] | None = None) -> int:
    """Print the machine, then each part; 1 when one failed."""
    options = arguments(words)
    facts = describe("onnxruntime", "tensorrt-cu13") | {"cuda_devices": cuda_devices(), "gpu": gpu_name()}
    print(json.dumps(facts, indent=2), flush=True)
    found: dict[str, Any] = {"measured_with": facts}
    failed = False
    for part in options.only:
        print(f"== {part}", flush=True)
        if (reason := missing(part)) is not None:
            print(f"left out: {reason}", flush=True)
            found[part] = {"left_out": reason}
            continue
        found[part] = figures(options) if part == "figures" else run(part, options)
        failed = failed or bool(found[part].get("failed"))
    if options.results is not None:
        (options.results / "gpu.json").write_text(json.dumps(found, indent=2) + "\n", "utf-8")
    return int(failed)


def missing(part: str) -> str | None:
    """What a part lacks here, and what brings it; the tests say so one by one."""
    if part == "tests":
        return None
    if cuda_devices() == 0:
        return "no GPU: the CUDA driver shows none to this process"
    if CUDA not in ort.get_available_providers():
        return f"{CUDA}: {why_not(CUDA)}: pip install 'detco[gpu]'"
    absent = [name for name in _SERVER if importlib.util.find_spec(name) is None]
    if part == "serving" and absent:
        return f"the server needs {', '.join(absent)}: pip install 'detco[server,client]' psutil"
    return None


def run(part: str, options: argparse.Namespace) -> dict[str, Any]:
    """A part that is a command of its own."""
    size = "--tiny" if options.tiny else "--quick"
    commands = {
        "tests": ["pytest", "-m", "gpu", "tests/gpu", "-q", "-rs", "-p", "no:cacheprovider"],
        "serving": ["benchmarks.serving", "--device", "cuda", "--only", "cost", "burst", "hang_ups", size],
    }
    command = [sys.executable, "-m", *commands[part]]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    print(done.stdout, flush=True)
    return {"command": " ".join(commands[part]), "failed": done.returncode != 0, "printed": done.stdout.splitlines()}


def figures(options: argparse.Namespace) -> dict[str, Any]:
    """Images a second of each way and shape, ours and onnxruntime's own `run`; and of the copies."""
    found: dict[str, Any] = {"copies": copies()}
    print(json.dumps(found["copies"]), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(folder) / "tiny"
        if options.tiny:
            write_tiny_bundle(bundle)
        else:
            bundle = resnet50(0)
        for provider, precision in WAYS:
            name = f"{provider.removesuffix('ExecutionProvider')} {precision}"
            beside = (CUDA, CPU) if provider == TENSORRT else (CPU,)
            order = tuple(dict.fromkeys((provider, *beside)))
            execution = Execution(providers=order, precision=precision, batch=8, strict=True)
            try:
                session = Session.open(bundle, execution)
            except BundleError as error:
                print(f"{name}: left out: {error}", flush=True)
                # Without TensorRT there are figures enough; a GPU that CUDA cannot use is a failure.
                found[name] = {"left_out": str(error)}
                found["failed"] = found.get("failed", False) or provider == CUDA
                continue
            found[name] = [measure(session, shape) for shape in (TINY if options.tiny else SHAPES)]
            for line in found[name]:
                print(f"{name}: {json.dumps(line)}", flush=True)
    return found


def measure(session: Session, shape: tuple[int, int, int]) -> dict[str, Any]:
    """All levels of batches of one shape: one after another, one ahead, and by `InferenceSession.run`."""
    count, height, width = shape
    array = np.random.default_rng(0).standard_normal((count, 3, height, width)).astype(np.float32)
    outputs = outputs_of(session.manifest)
    stage: Callable[[], Any] = lambda: session.stage([array], outputs)  # noqa: E731 - two of a kind
    bare = session.stage([array], outputs).bound.session
    return {
        "shape": shape,
        "provider": session.stage([array], outputs).provider,
        "one_by_one": count / seconds(lambda: stage().compute()),
        "one_ahead": count / seconds_ahead(stage),
        "bare_run": count / seconds(lambda: bare.run(list(outputs), {"image": array})),
    }


def seconds(work: Callable[[], object]) -> float:
    """Of one piece of work: the median of as many as take `LEAST` seconds, after three that do not count."""
    for _ in range(3):
        work()
    times: list[float] = []
    while sum(times) < LEAST or len(times) < 5:
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def seconds_ahead(stage: Callable[[], Any], rounds: int = 20) -> float:
    """Of one batch, when the next is brought while it computes; the mean of `rounds`."""
    with ThreadPoolExecutor(1) as bringer:

        def brought() -> Iterator[Any]:
            coming = bringer.submit(stage)
            for _ in itertools.repeat(None, rounds):
                here, coming = coming.result(), bringer.submit(stage)
                yield here
            coming.result()

        began = time.perf_counter()
        for staged in brought():
            staged.compute()
        return (time.perf_counter() - began) / rounds


def copies(size: int = 2**26, device: str = "cuda") -> dict[str, float]:
    """GB a second from the host to the GPU, out of page-locked memory and of ordinary."""

    def rate(source: NDArray[np.float32]) -> float:
        value = ort.OrtValue.ortvalue_from_shape_and_type(source.shape, np.float32, device, DEVICE)
        return source.nbytes / seconds(lambda: value.update_inplace(source)) / 1e9

    locked = gpu_buffers(DEVICE).take((size // 4,), np.float32)
    locked[:] = 1
    return {"page_locked": rate(locked), "ordinary": rate(np.ones(size // 4, np.float32))}


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART")
    parser.add_argument("--tiny", action="store_true", help="a network of a few kilobytes, to see that it runs")
    parser.add_argument("--results", type=Path, help="keep what was found in gpu.json there")
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main())
