"""Want of memory is told from other faults by real errors: each library is asked for more than can be addressed."""

from collections.abc import Callable
from functools import partial

import numpy as np
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper

from detco_core.contract.shortage import is_out_of_memory


def run_in_onnxruntime(*, arena: bool, rows: int, bound: bool) -> None:
    """Repeat a vector of 1024 so often; a number of rows below one is no lawful shape."""
    expand = helper.make_node("Expand", ["image", "shape"], ["y"])
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 1024])
    made = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [rows, 1024])
    graph = helper.make_graph([expand], "greedy", [image], [made], [shape])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.enable_cpu_mem_arena = arena
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    given = np.zeros((1, 1024), np.float32)
    if not bound:
        session.run(None, {"image": given})
        return
    binding = session.io_binding()
    binding.bind_cpu_input("image", given)
    binding.bind_output("y")
    session.run_with_iobinding(binding)


ENDLESS = 2**46


@pytest.mark.parametrize(
    "ask",
    [
        partial(np.empty, (ENDLESS, 1024)),
        partial(torch.empty, (ENDLESS, 1024)),
        *(
            partial(run_in_onnxruntime, arena=arena, rows=ENDLESS, bound=bound)
            for arena in (False, True)
            for bound in (False, True)
        ),
    ],
)
def test_asking_for_too_much_is_known(ask: Callable[[], object]) -> None:
    with pytest.raises(Exception) as found:
        ask()
    assert is_out_of_memory(found.value), repr(found.value)


@pytest.mark.parametrize(
    "said",
    [
        "CUDA failure 2: out of memory ; GPU=0 ; hostname=x ; expr=cudaMalloc((void**)&p, size);",
        "CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0",
        "Available memory of 1048576 is smaller than requested bytes of 4194304",
    ],
)
def test_what_a_gpu_says_of_it(said: str) -> None:
    """In the words of onnxruntime's sources; no GPU is needed to read them."""
    assert is_out_of_memory(RuntimeError(f"Error in execution: Non-zero status code: {said}"))


def test_another_fault_is_not_taken_for_it() -> None:
    with pytest.raises(Exception) as found:
        run_in_onnxruntime(arena=False, rows=-3, bound=True)
    assert not is_out_of_memory(found.value)
