"""onnxruntime's own CUDA provider on a machine without a GPU, over stand-ins for CUDA's libraries.

    python -m scripts.stand_in_cuda [BUNDLE ...] 2>/dev/null

It reads our options, places every node, and manages memory as on a GPU; it computes nothing. So this shows that options
are taken, that no operator is left to the CPU (of a small pyramid, and of the bundles named), and that an arena full of
pieces is put together. Needs onnxruntime-gpu, a C compiler and `nm`; not part of the tests, which need neither.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper

from detco_core.contract.shortage import is_out_of_memory
from detco_core.inference.sessions.binding import Bound
from detco_core.inference.sessions.execution import CPU, CUDA, Execution, Precision, provider_options
from detco_core.inference.sessions.nodes import left_to_the_cpu
from detco_core.inference.sessions.opening import bound
from detco_core.inference.sessions.session import Session
from detco_core.inference.tiny import write_tiny_pyramid
from scripts.stand_in_cuda.build import build

INSIDE = "DETCO_STAND_IN"
PRECISIONS: tuple[Precision, ...] = ("fp32", "tf32", "fp16")
ARENA = 64 * 2**20


def require(what: str, *, holds: bool) -> None:
    print(f"{'holds' if holds else 'DOES NOT HOLD'}: {what}", flush=True)
    if not holds:
        raise SystemExit(1)


def check_nodes(bundle: Path) -> None:
    for precision in PRECISIONS:
        execution = Execution(providers=(CUDA, CPU), strict=True, precision=precision, gpu_memory=2**30)
        session = Session.open(bundle, execution)._whole.session
        ((_, asked), _) = provider_options(execution)
        taken = {name: session.get_provider_options()[CUDA][name] for name in asked}
        require(f"{bundle.name} in {precision}: {CUDA} has our options", holds=taken == asked)
        require(f"{bundle.name} in {precision}: all nodes are its", holds=left_to_the_cpu(session) is None)


def check_memory() -> None:
    opened = bound(_elementwise(), Execution(providers=(CUDA, CPU), strict=True, gpu_memory=ARENA))
    sides = range(512, 1152, 64)
    fit = [_run(opened, side) == (1, 3, side, side) for side in sides]
    require("sizes that fit one by one are computed one after another", holds=all(fit))
    for side in (1800, 4096):
        alone = _has_no_room(opened, side) and _run(opened, 64) == (1, 3, 64, 64)
        require(f"an image of {side} without room fails alone", holds=alone)


def _has_no_room(opened: Bound, side: int) -> bool:
    try:
        _run(opened, side)
    # onnxruntime's exceptions share no base class but Exception.
    except Exception as error:  # noqa: BLE001 - it is judged by its words
        return is_out_of_memory(error)
    return False


def _run(opened: Bound, side: int) -> tuple[int, ...]:
    return opened.stage([np.zeros((1, 3, side, side), np.float32)], ("y",)).compute()["y"].shape


def _elementwise() -> bytes:
    """Operators that need no cuDNN."""
    chain = (("Relu", "image", "a"), ("Sigmoid", "a", "b"), ("Neg", "b", "y"))
    nodes = [helper.make_node(kind, [source], [target]) for kind, source, target in chain]
    shape: list[str | int | None] = ["n", 3, "h", "w"]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("image", "y")]
    graph = helper.make_graph(nodes, "chain", ends[:1], ends[1:])
    model: bytes = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9
    ).SerializeToString()
    return model


def main(bundles: list[str]) -> int:
    with tempfile.TemporaryDirectory() as folder:
        if INSIDE not in os.environ:
            build(Path(folder))
            # The loader reads it when a process starts.
            environment = os.environ | {INSIDE: "1", "LD_LIBRARY_PATH": folder}
            command = [sys.executable, "-m", "scripts.stand_in_cuda", *bundles]
            return subprocess.run(command, env=environment, check=False).returncode
        # They would come before those of `LD_LIBRARY_PATH`.
        ort.preload_dlls = lambda: None
        write_tiny_pyramid(Path(folder) / "pyramid")
        for bundle in (Path(folder) / "pyramid", *map(Path, bundles)):
            check_nodes(bundle)
        check_memory()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
